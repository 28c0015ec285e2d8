"""What the venue's tests share: a client, a checker of the update law, the genuine
messages, a loop for async tests.
"""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.venue.warm_markets import warm_markets
from tests.virtual_time import VirtualTime

HANG_S = 120.0  # a test that takes longer hangs
VIRTUAL_HANG_S = 86_400.0  # likewise in virtual time


@pytest.fixture(scope="session")
def genuine() -> Path:
    """Where the genuine messages lie."""
    return Path(__file__).parents[1] / "data" / "kraken"


@pytest.fixture(autouse=True, scope="session")
def warm() -> Iterator[None]:
    """Markets of the same pair and seed are opened once in a process."""
    with warm_markets():
        yield


@pytest.fixture
def virtual_time() -> VirtualTime:
    """The clock of a test that waits for timers, to be given to its venue: see
    `tests.virtual_time`.
    """
    return VirtualTime()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test on the venue's own kind of loop, or in virtual time; it must leave
    no task behind.
    """
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    virtual_time = arguments.get("virtual_time")
    new_loop = uvloop.new_event_loop if virtual_time is None else virtual_time.new_loop

    async def guarded() -> None:
        async with asyncio.timeout(HANG_S if virtual_time is None else VIRTUAL_HANG_S):
            await pyfuncitem.obj(**arguments)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(guarded())
    return True
