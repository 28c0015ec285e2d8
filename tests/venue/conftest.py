"""What the venue's tests share: a client, a checker of the update law, the genuine
messages, a loop for async tests.
"""

import asyncio
import inspect
from pathlib import Path

import pytest
import uvloop

HANG_S = 20.0  # a test that takes longer hangs


@pytest.fixture(scope="session")
def genuine() -> Path:
    """Where the genuine messages lie."""
    return Path(__file__).parents[1] / "data" / "kraken"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test on the venue's own kind of loop; it must leave no task behind."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def guarded() -> None:
        async with asyncio.timeout(HANG_S):
            await pyfuncitem.obj(**arguments)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())
    return True
