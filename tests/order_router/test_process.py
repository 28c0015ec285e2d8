"""What the order router's process does around its core."""

import asyncio
import os
import subprocess
import sys

import pytest
import uvloop

from engine.order_router.process import orphan_with_journal, watch_engine
from engine.processes.fork_server import TITLE
from tests.waiting import eventually

# A router that holds a journal, and the fork server that it is a child of.
FAMILY = f"""
import os, sys, time
from pathlib import Path
from setproctitle import setproctitle
from engine.orders.journal import Journal

setproctitle({TITLE!r})
if os.fork() == 0:
    journal = Journal.open(Path(sys.argv[1]))
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
time.sleep(60)
"""


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


def test_only_the_router_of_a_killed_engine_is_waited_for(tmp_path) -> None:
    """That of one which runs is a mistake in the configuration, to be told at once."""
    assert orphan_with_journal(tmp_path) is None
    command = (sys.executable, "-c", FAMILY, tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        router = server.stdout.readline().strip()
        assert orphan_with_journal(tmp_path) is None
        server.kill()
        server.wait()
        assert orphan_with_journal(tmp_path) == router
        server.stdin.close()
        eventually(lambda: orphan_with_journal(tmp_path) is None, "it has ended")
