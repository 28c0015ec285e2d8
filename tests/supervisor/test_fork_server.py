"""The supervisor's side of the fork server: what an actor is told of starts, ends and losses."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.clock import ManualClock
from engine.config import EngineConfig
from engine.processes.launch import News
from engine.supervisor.actor import START_UP_NS, Actor
from engine.supervisor.children import Child
from engine.supervisor.fork_server import ForkServer
from engine.topology import PRIVATE_FEED_COUNTERS
from engine.units import NS_PER_S, MonoNs
from tests.descriptors import none_free
from tests.waiting import eventually

KIND = "private_feed"  # with a launch that says nothing: it ends at once, with a traceback

NOT_OPEN = 1_000_000
LOOK_NS = NS_PER_S // 4


@pytest.fixture
def unwritten_launch() -> Iterator[int]:
    """A launch whose process waits for it, until somebody ends that."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


class Life:
    """One process that was asked for."""

    def __init__(self, server: ForkServer, launch: int) -> None:
        self.child: Child | None = None
        self.codes: list[int | None] = []
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        server.fork(KIND, [launch], self._started, self._ended)

    def _started(self, child: Child) -> None:
        self.child = child
        self.begun.set()

    def _ended(self, code: int | None) -> None:
        self.codes.append(code)
        self.over.set()


def run(scenario: Callable[[ForkServer, int], Awaitable[None]]) -> None:
    async def within() -> None:
        launch = os.memfd_create("launch")
        server = ForkServer((KIND,))
        try:
            async with asyncio.timeout(60):
                await scenario(server, launch)
        finally:
            server.close()
            os.close(launch)

    asyncio.run(within())


def look_for(actor: Actor, span_ns: int, silence_ns_max: int = 1, since: int = 1) -> None:
    """The supervisor's looks at an actor in that time, four a second."""
    for step in range(span_ns // LOOK_NS + 1):
        actor.kill_if_silent(MonoNs(since + step * LOOK_NS), silence_ns_max)


def test_the_end_of_a_process_is_told_once_with_its_exit_code() -> None:
    async def scenario(server: ForkServer, launch: int) -> None:
        lives = [Life(server, launch) for _ in range(3)]  # it is started by the first
        for life in lives:
            await life.over.wait()
        assert [life.codes for life in lives] == [[1]] * 3
        assert all(life.child is not None and not life.child.alive for life in lives)

    run(scenario)


def test_a_fork_server_that_dies_takes_its_processes_along_and_has_a_successor() -> None:
    """Those that were asked for and not started are told of, too."""

    async def scenario(server: ForkServer, launch: int) -> None:
        server.start()
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGSTOP)
        lives = [Life(server, launch) for _ in range(2)]
        server.kill()
        for life in lives:
            await life.over.wait()
            assert life.codes == [None]
            assert life.child is None
        again = Life(server, launch)
        assert server.pid != killed
        await again.over.wait()
        assert again.codes == [1]

    run(scenario)


def test_an_end_is_noticed_though_the_fork_server_stands_still(unwritten_launch: int) -> None:
    """Without its exit code, which nobody else knows, and once: the fork server tells of it
    later."""

    async def scenario(server: ForkServer, launch: int) -> None:
        life = Life(server, unwritten_launch)
        await life.begun.wait()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        assert life.child is not None
        await life.child.stop(20.0)
        assert life.codes == [None]
        os.kill(server.pid, signal.SIGCONT)
        again = Life(server, launch)
        await again.over.wait()
        assert again.codes == [1]
        assert life.codes == [None]

    run(scenario)


def test_one_that_stands_still_when_a_process_ends_and_is_killed_for_it_has_a_successor(unwritten_launch: int) -> None:
    async def scenario(server: ForkServer, launch: int) -> None:
        lives = [Life(server, unwritten_launch) for _ in range(2)]
        for life in lives:
            await life.begun.wait()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        assert lives[0].child is not None
        await lives[0].child.stop(20.0)
        asked = Life(server, launch)
        server.kill()
        for life in (*lives, asked):
            await life.over.wait()
        again = Life(server, launch)
        await again.over.wait()
        assert again.codes == [1]
        assert [life.codes for life in (*lives, asked)] == [[None]] * 3

    run(scenario)


def test_a_request_that_cannot_be_sent_is_refused_like_any_other_failure() -> None:
    async def scenario(server: ForkServer, launch: int) -> None:
        life = Life(server, NOT_OPEN)
        assert life.codes == []  # not before the caller is back
        await life.over.wait()
        assert life.codes == [None]
        again = Life(server, launch)
        await again.over.wait()
        assert again.codes == [1]

    run(scenario)


def test_a_process_that_cannot_be_watched_is_ended_and_told_of(unwritten_launch: int) -> None:
    """Where no descriptor is free to watch it by; it is not said to have started."""

    async def scenario(server: ForkServer, launch: int) -> None:
        server.start()
        with none_free():
            life = Life(server, unwritten_launch)
            await life.over.wait()
        assert life.codes == [-signal.SIGKILL]
        assert life.child is None
        again = Life(server, launch)
        await again.over.wait()
        assert again.codes == [1]

    run(scenario)


def test_a_process_that_cannot_be_watched_is_told_of_though_its_fork_server_dies(unwritten_launch: int) -> None:
    async def scenario(server: ForkServer, _: int) -> None:
        server.start()
        assert server.pid is not None
        life = Life(server, unwritten_launch)
        eventually(lambda: psutil.Process(server.pid).children(), "it is forked, and this loop does not know")
        os.kill(server.pid, signal.SIGKILL)
        with none_free():
            await life.over.wait()
        assert life.codes == [None]

    run(scenario)


def test_without_a_free_descriptor_a_fork_server_is_not_started_and_later_is() -> None:
    async def scenario(server: ForkServer, launch: int) -> None:
        with none_free():
            life = Life(server, launch)
            assert life.codes == []
            await life.over.wait()
        assert life.codes == [None]
        again = Life(server, launch)
        await again.over.wait()
        assert again.codes == [1]

    run(scenario)


def test_an_actor_that_finds_no_free_descriptor_is_started_when_there_is_one() -> None:
    """Nobody is blamed meanwhile: the fork server goes on."""

    async def scenario(server: ForkServer, _: int) -> None:
        clock, deaths, died = ManualClock(1), [], asyncio.Event()

        def note(reason: str, _: MonoNs) -> None:
            deaths.append(reason)
            died.set()

        actor = Actor(
            KIND, KIND, PRIVATE_FEED_COUNTERS, fork_server=server, make_launch=lambda _: (News("", ""), ()),  # type: ignore[arg-type, return-value]
            on_death=note, on_news=lambda _: None, settings=EngineConfig(restart_delay_min_s=0.1), clock=clock,
        )  # fmt: skip
        server.start()
        pid = server.pid
        with none_free():
            actor.start()
            await died.wait()
            look_for(actor, START_UP_NS + NS_PER_S)
        died.clear()
        await died.wait()
        await actor.stop(1.0)
        actor.close()

        assert deaths == [f"{KIND} died (it could not be started)", f"{KIND} died (exit code 1)"]
        assert server.pid == pid
        assert actor.restarts == 1

    run(scenario)


def test_nothing_of_it_is_left_behind() -> None:
    async def scenario(server: ForkServer, launch: int) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        life = Life(server, launch)
        await life.over.wait()
        server.close()
        server.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert server.pid is not None
        assert not psutil.pid_exists(server.pid)

    run(scenario)


def test_a_fork_server_that_does_not_answer_is_killed_and_the_actor_is_asked_for_again() -> None:
    """The same patience as for a process that shows no sign of life after its start."""

    async def scenario(server: ForkServer, _: int) -> None:
        clock, deaths, over = ManualClock(1), [], asyncio.Event()

        def died(reason: str, _: MonoNs) -> None:
            deaths.append(reason)
            if len(deaths) == 2:
                actor.release()
                over.set()

        actor = Actor(
            KIND, KIND, PRIVATE_FEED_COUNTERS, fork_server=server, make_launch=lambda _: (News("", ""), ()),  # type: ignore[arg-type, return-value]
            on_death=died, on_news=lambda _: None, settings=EngineConfig(restart_delay_min_s=0.1), clock=clock,
        )  # fmt: skip
        server.start()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        actor.start()
        look_for(actor, START_UP_NS)
        assert deaths == []
        look_for(actor, 2 * LOOK_NS, since=1 + START_UP_NS)
        await over.wait()
        await actor.stop(1.0)
        actor.close()

        assert deaths == [f"{KIND} died (it could not be started)", f"{KIND} died (exit code 1)"]
        assert actor.restarts == 1

    run(scenario)


def test_a_pause_of_the_supervisor_itself_proves_nothing_against_others() -> None:
    """A machine that stood still as a whole costs no process its life."""

    async def scenario(server: ForkServer, _: int) -> None:
        deaths, died = [], asyncio.Event()

        def note(reason: str, _: MonoNs) -> None:
            deaths.append(reason)
            actor.release()
            died.set()

        actor = Actor(
            KIND, KIND, PRIVATE_FEED_COUNTERS, fork_server=server, make_launch=lambda _: (News("", ""), ()),  # type: ignore[arg-type, return-value]
            on_death=note, on_news=lambda _: None, settings=EngineConfig(), clock=ManualClock(1),
        )  # fmt: skip
        server.start()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        actor.start()
        look_for(actor, START_UP_NS - 2 * NS_PER_S)
        look_for(actor, 0, since=10 * START_UP_NS)
        os.kill(server.pid, signal.SIGCONT)
        await died.wait()
        await actor.stop(1.0)
        actor.close()

        assert deaths == [f"{KIND} died (exit code 1)"]

    run(scenario)
