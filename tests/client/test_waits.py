"""Waits of a program that end before anything comes, again and again."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from engine.client.handlers import Registrations
from engine.client.program import Program
from engine.clock import ManualClock
from engine.errors import CallError
from engine.orders.rings.reports import OrderReport
from engine.strategy.orders import Order
from engine.units import WallNs

WAITS = 200


def next_balance() -> Callable[[], Awaitable[object]]:
    """Waits of a program to which nothing is told."""
    program = Program(Registrations(ManualClock(), timeout_s=1.0, errors_per_minute_max=10))
    return lambda: program.news("balance")


def end_of_an_order() -> Callable[[], Awaitable[object]]:
    """Waits for an order that rests."""
    order = Order(OrderReport(key="k", symbol="BTC/USD", side="buy", changed_at=WallNs(1)))
    return order.until_over


def futures() -> int:
    """How many there are in memory."""
    gc.collect()
    return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())


@pytest.mark.parametrize("kind", [next_balance, end_of_an_order])
def test_a_wait_that_is_given_up_leaves_nothing(kind: Callable[[], Callable[[], Awaitable[object]]]) -> None:
    """A program may look every moment for days whether something has come."""
    wait = kind()

    async def story() -> None:
        before = futures()
        for _ in range(WAITS):
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await wait()
        assert futures() - before < WAITS // 10

    asyncio.run(story())


@pytest.mark.parametrize("given", ["x", float("nan"), True, []])
def test_a_time_that_is_none_is_one_sentence(given: Any) -> None:
    """nan would be a timer that no loop can put in order."""
    order = Order(OrderReport(key="k", symbol="BTC/USD", side="buy", changed_at=WallNs(1)))

    with pytest.raises(CallError, match="timeout_s is a number of seconds, not"):
        asyncio.run(order.until_over(timeout_s=given))
