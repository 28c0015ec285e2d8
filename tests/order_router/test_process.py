"""What the order router's process does around its core."""

import asyncio
import os
import sys

import pytest
import uvloop

from engine.order_router.process import watch_engine


class Counted(asyncio.Event):
    """How often it was set."""

    times = 0

    def set(self) -> None:
        self.times += 1
        super().set()


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_the_engines_death_is_noticed_once(new_loop) -> None:
    """A pidfd stays readable: a loop that went on looking at it would do nothing else."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    engine_fd = os.pidfd_open(pid)

    async def noticed() -> int:
        orphaned = Counted()
        watch_engine(asyncio.get_running_loop(), engine_fd, orphaned)
        await orphaned.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        return orphaned.times

    with asyncio.Runner(loop_factory=new_loop) as runner:
        times = runner.run(noticed())
    os.waitpid(pid, 0)
    os.close(engine_fd)

    assert times == 1
