"""Every scenario runs on both event loops."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from tests.waiting import turns

HANG_S = 120.0  # a scenario that takes longer hangs


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Run a scenario on each event loop; it must end, and leave no task behind."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def guarded(scenario: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(HANG_S):
            await scenario
        await turns(5)  # transports close in them
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda scenario: runner.run(guarded(scenario))
