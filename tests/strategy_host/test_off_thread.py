"""Orders have one writer, the strategy's own thread; what others ask for is refused, handed over, and told once."""

import asyncio
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import OrderState, Strategy, Trade
from engine.orders.rings.commands import Cancel, CancelAll
from engine.strategy.orders import Order
from engine.strategy_host import order_client
from engine.strategy_host.hosted_strategy import CALLS_WAITING_MAX
from engine.units import MonoNs
from tests.public_feed.rig import Market, frames, trade
from tests.strategy_host.rig import ClientRig

THREADS, ORDERS_EACH = 6, 150


def on_another_thread(what: Callable[[], Any]) -> Any:
    """Do it there, and bring back what it returns."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(what()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def rig() -> ClientRig:
    """An order client whose strategy's thread is this one."""
    rig = ClientRig()
    rig.client.bind(lambda: None)
    return rig


def test_orders_of_six_threads_are_refused_at_once_each_by_an_id_of_its_own_and_told_once(rig: ClientRig) -> None:
    """None is lost, none is on its way, and the sentence says what to do."""
    made: list[Order] = []

    def ask() -> None:
        made.extend(rig.submit(limit=60000) for _ in range(ORDERS_EACH))

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({order.id for order in made}) == THREADS * ORDERS_EACH
    assert {order.state for order in made} == {OrderState.REFUSED}
    assert "self.context.call_soon(self.buy" in made[0].reason
    assert rig.sent() == []
    assert Counter(order.id for order in rig.news()) == Counter(order.id for order in made)  # type: ignore[attr-defined]
    assert rig.client.refused == THREADS * ORDERS_EACH
    assert rig.client.open_orders == ()


def test_a_batch_of_another_thread_is_refused_order_by_order(rig: ClientRig) -> None:
    """As many orders come back as were asked for, whatever they were; none for what is no batch."""
    rows: Any = [("buy", "BTC/USD", "1", {"limit": 1, "tag": "a"}), ("sell", "BTC/USD"), None]
    made = on_another_thread(lambda: rig.client.submit_batch(rows))
    none = on_another_thread(lambda: rig.client.submit_batch(7))  # type: ignore[arg-type]

    assert [order.state for order in made] == [OrderState.REFUSED] * 3
    assert (made[0].tag, made[0].symbol, made[0].side) == ("a", "BTC/USD", "buy")
    assert none == []
    assert rig.news() == made


def test_an_amend_of_another_thread_is_refused_and_its_reason_is_told(rig: ClientRig) -> None:
    """The order is as it was, and says why."""
    order = rig.working()
    taken = on_another_thread(lambda: rig.client.amend(order, {"limit": 61000}))
    told = rig.news()

    assert taken is False
    assert told == [order]
    assert order.reason.startswith("amend refused: it was asked for on another thread")
    assert order.is_working
    assert rig.sent() == []


def test_cancels_of_another_thread_are_handed_over(rig: ClientRig) -> None:
    """They leave when the strategy's own thread comes to them."""
    order = rig.working()
    on_another_thread(lambda: rig.client.cancel([order]))
    on_another_thread(lambda: rig.client.cancel_all(""))
    before = rig.sent()
    rig.news()

    assert before == []
    assert rig.sent() == [Cancel("quoter", [order.id]), CancelAll("quoter", "")]


def test_cancels_of_another_thread_leave_while_an_async_callback_waits() -> None:
    """The end of an order does not wait for an answer that the strategy waits for."""

    class Waiting(Strategy):
        async def on_trade(self, trade: Trade) -> None:  # type: ignore[override]
            await asyncio.Event().wait()

    async def scenario() -> list[Any]:
        rig, market = ClientRig(), Market()
        market.take(*frames()[:20])
        hosted = market.host(Waiting())
        hosted.order_client = rig.client
        rig.client.bind(lambda: None)
        order = rig.working()
        market.take(trade("BTC/USD", 1))
        while hosted.waiting is None:
            hosted.do_work()
        await asyncio.sleep(0)
        on_another_thread(lambda: rig.client.cancel([order]))
        hosted.do_work()
        hosted.waiting.cancel()
        await asyncio.wait({hosted.waiting})
        return [rig.sent(), [Cancel("quoter", [order.id])]]

    sent, wanted = asyncio.run(scenario())

    assert sent == wanted


def test_a_process_that_was_forked_off_cannot_trade(rig: ClientRig) -> None:
    """It has the same rings in its memory, and must not write to them."""
    order = rig.working()

    def act() -> None:
        asked = rig.submit(limit=60000)
        rig.client.amend(order, {"limit": 61000})
        rig.client.cancel([order])
        rig.client.cancel_all("")
        assert asked.state is OrderState.REFUSED
        assert "forked" in asked.reason

    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    child.join()

    assert child.exitcode == 0
    assert rig.news() == []
    assert rig.sent() == []


def test_twelve_thousand_refusals_of_one_callback_are_told_once_each(rig: ClientRig) -> None:
    """More than the command ring holds, and more than a callback should ask for."""
    made = [rig.submit(limit=60000) for _ in range(12_000)]
    refused = [order for order in made if order.state is OrderState.REFUSED]

    assert len(refused) > 11_000
    assert rig.news() == refused
    assert rig.client.untold == 0


def test_refusals_beyond_the_bound_are_counted_and_said(rig: ClientRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their orders say it all the same."""
    monkeypatch.setattr(order_client, "NEWS_KEPT_MAX", 100)
    with capture_logs() as logs:
        made = [rig.submit("nothing") for _ in range(1000)]
        made += on_another_thread(lambda: [rig.submit("nothing") for _ in range(150)])
        told = rig.news()

    assert {order.state for order in made} == {OrderState.REFUSED}
    assert len(told) + rig.client.untold == 1150
    assert len(told) == 100
    said = [entry["untold"] for entry in logs if entry["event"] == "refusals are not told by on_order"]
    assert said == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_a_halted_strategys_orders_are_refused(rig: ClientRig) -> None:
    """A task of its own may still ask for one."""
    rig.client.end("it raised too often")
    order = rig.submit(limit=60000)

    assert order.state is OrderState.REFUSED
    assert order.reason == "the strategy was halted: it raised too often"


# --- call_soon


class Called(Strategy):
    """Notes the threads that it is called on."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def note(self, number: int) -> None:
        self.calls.append((number, threading.get_ident()))


def test_what_another_thread_wants_called_is_called_on_the_strategys_own_in_order() -> None:
    """Between two callbacks."""
    strategy = Called()
    hosted = Market().host(strategy)
    taken = on_another_thread(lambda: [hosted.context.call_soon(strategy.note, number) for number in range(3)])
    was_ready = hosted.ready(MonoNs(1))
    hosted.do_work()

    assert taken == [True] * 3
    assert was_ready
    assert strategy.calls == [(number, threading.get_ident()) for number in range(3)]


def test_more_calls_than_are_kept_are_refused_and_counted() -> None:
    """The caller is told; what waits is called."""
    strategy = Called()
    hosted = Market().host(strategy)
    taken = [hosted.context.call_soon(strategy.note, number) for number in range(CALLS_WAITING_MAX + 5)]
    hosted.do_work()

    assert taken == [True] * CALLS_WAITING_MAX + [False] * 5
    assert hosted.calls_refused == 5
    assert len(strategy.calls) == CALLS_WAITING_MAX
