"""A child of the engine that only looks on: it is there for the whole run."""

import asyncio
import os
import sys

from engine.clock import SystemClock
from engine.config import EngineConfig
from engine.supervisor.onlooker import Onlooker
from tests.descriptors import none_free, open_fds


def test_one_that_finds_no_free_descriptor_is_started_when_there_is_one() -> None:
    """Nothing is left of the first try."""
    reading, writing = os.pipe()

    async def scenario() -> None:
        loop, has_run = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(reading, has_run.set)
        command = (sys.executable, "-c", f"import os, signal; os.write({writing}, b'!'); signal.pause()")
        settings = EngineConfig(restart_delay_min_s=0.1)
        onlooker = Onlooker("metrics", command, settings, SystemClock(), descriptors=(writing,))
        open_before = open_fds()
        with none_free():
            onlooker.start()
        assert open_fds() == open_before
        async with asyncio.timeout(60):
            await has_run.wait()
            await onlooker.stop(20.0)
        loop.remove_reader(reading)
        assert open_fds() == open_before

    asyncio.run(scenario())
    os.close(reading)
    os.close(writing)
