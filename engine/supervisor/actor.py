"""An actor of the engine: what outlives its processes, and its current process.

start ─► alive ─► died ─► on_death ─► delay ─► start …        until `stop`
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from engine.clock import Clock
from engine.config import EngineConfig
from engine.processes.launch import ActorLaunch, News, decode_news, write_launch
from engine.ring import Segment
from engine.supervisor.children import Child, RestartDelay, exit_text
from engine.supervisor.fork_server import ForkServer
from engine.telemetry import Counters, Heartbeat, counters_bytes, format_counters
from engine.telemetry.warning_ring import warning_segment
from engine.topology import CONNECTION_LEVELS
from engine.units import NS_PER_S, MonoNs

NEWS_BYTES_MAX = 4096
START_UP_NS = 20 * NS_PER_S  # until a started process must show its first heartbeat
# That one look adds to a silence, at most: while the supervisor is held up itself, as with
# the whole machine, nothing is proved against others.
STEP_NS_MAX = NS_PER_S

log = structlog.get_logger("supervisor")


class Actor:
    """A child that is kept alive until the engine stops."""

    def __init__(
        self,
        name: str,
        kind: str,
        counter_names: tuple[str, ...],
        *,
        fork_server: ForkServer,
        make_launch: Callable[["Actor"], tuple[ActorLaunch, tuple[int, ...]]],
        on_death: Callable[[str, MonoNs], None],
        on_news: Callable[[News], None],
        settings: EngineConfig,
        clock: Clock,
    ) -> None:
        """`make_launch` returns the launch data of a process and the descriptors it
        inherits; `on_death` gets the reason.
        """
        self.name = name
        self._kind = kind
        self._fork_server = fork_server
        self._make_launch = make_launch
        self._on_death = on_death
        self._on_news = on_news
        self._clock = clock
        self.counters_segment = Segment.create(f"counters-{name}", counters_bytes(counter_names))
        format_counters(self.counters_segment.memory, counter_names)
        self.counters = Counters(self.counters_segment.memory, counter_names)
        self.warnings_segment = warning_segment(name)
        self._levels = [name for name in counter_names if name in CONNECTION_LEVELS]
        self._heartbeat = Heartbeat(self.counters)
        # The supervisor's and the child's end of the socket for news.
        self._news, self.news_of_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._news.setblocking(False)
        self.child: Child | None = None
        # Not set between the request for a process and its start, or failure.
        self._answered = asyncio.Event()
        self._answered.set()
        self.restarts = 0
        self._started_at = MonoNs(0)
        # When its heartbeat was looked at last; what was seen then: when the process was
        # started, and its beat; and for how long both have stood still, look by look.
        self._looked_at = MonoNs(0)
        self._seen = (MonoNs(0), MonoNs(0))
        self._silent_ns = 0
        self._delay = RestartDelay(settings.restart_delay_min_s, settings.restart_delay_max_s)
        # True once the engine stops: a process that ends has no successor.
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Pid of the current process; None while there is none."""
        return self.child.pid if self.child is not None and self.child.alive else None

    def start(self) -> None:
        """Start the process. A failed start is retried, as after a death."""
        if self._started_at == 0:
            asyncio.get_running_loop().add_reader(self._news, self._read_news)
        self._started_at = self._clock.mono_ns()
        self._answered.clear()
        launch, descriptors = self._make_launch(self)
        try:
            launch_fd = write_launch(launch)
        except OSError as error:
            log.error("actor cannot be started", name=self.name, reason=str(error))
            asyncio.get_running_loop().call_soon(self._ended, None)
            return
        try:
            self._fork_server.fork(self._kind, (launch_fd, *descriptors), self._started, self._ended)
        finally:
            os.close(launch_fd)

    async def stop(self, deadline_s: float) -> None:
        """Stop the process for good. It is killed if it has not ended by the deadline."""
        self.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._answered.wait()
        if self.child is not None:
            await self.child.stop(deadline_s)

    def release(self) -> None:
        """Start no successor when the process ends."""
        self._stopping = True

    def close(self) -> None:
        """Close the sockets."""
        if self._started_at:
            asyncio.get_running_loop().remove_reader(self._news)
        self._news.close()
        self.news_of_child.close()

    def kill_if_silent(self, now: MonoNs, silence_ns_max: int) -> None:
        """Kill the process if its heartbeat has not changed for longer than
        `silence_ns_max`; it is then restarted.
        """
        step_ns, self._looked_at = min(now - self._looked_at, STEP_NS_MAX), now
        is_asked_for = not self._answered.is_set()
        if not is_asked_for and (self.child is None or not self.child.alive):
            return
        heartbeat_at = self._heartbeat.last_at
        # None of this process yet: importing takes long on a loaded machine.
        if heartbeat_at < self._started_at:
            silence_ns_max = max(silence_ns_max, START_UP_NS)
        seen, self._seen = self._seen, (self._started_at, heartbeat_at)
        self._silent_ns = self._silent_ns + step_ns if self._seen == seen else 0
        if self._silent_ns <= silence_ns_max:
            return
        if is_asked_for or self.child is None:
            log.error("the fork server does not answer; it is killed and started again", name=self.name)
            self._fork_server.kill()
        else:
            log.error("actor gives no sign of life; it is killed and started again", name=self.name, pid=self.child.pid)
            self.child.signal(signal.SIGKILL)

    def _started(self, child: Child) -> None:
        self.child = child
        self._answered.set()
        log.info("actor started", name=self.name, pid=child.pid)

    def _ended(self, code: int | None) -> None:
        how = exit_text(code) if self._answered.is_set() else "it could not be started"
        self._answered.set()
        for name in self._levels:
            self.counters.set(name, 0)
        if self._stopping:
            return
        now = self._clock.mono_ns()
        self._on_death(f"{self.name} died ({how})", now)
        delay_s = self._delay.after_life(self._started_at, now)
        log.error("actor died", name=self.name, how=how, restart_in_s=delay_s)
        asyncio.get_running_loop().call_later(delay_s, self._restart)

    def _restart(self) -> None:
        if not self._stopping:
            self.restarts += 1
            self.start()

    def _read_news(self) -> None:
        try:
            news = decode_news(self._news.recv(NEWS_BYTES_MAX))
        except BlockingIOError:
            return
        self._on_news(news)
