"""The process that sends notices: started by the engine, attached to it as any other
process could be.

    every LOOK_S                             RunWatch.look ─► the targets' mailboxes ─► what is due is sent
    SIGTERM, when all else has ended    ─►   the last look, and the last message
    the engine's process dies           ─►   the same: this one outlives it for as long as that takes,
                                             though it died before the first look
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from engine.attach.engine import AttachedEngine
from engine.clock import Clock, SystemClock
from engine.errors import ConfigError
from engine.net.control_socket import NobodyListens, ask
from engine.notices.formats import Sender
from engine.notices.notice import Notice, notice
from engine.notices.target import Target
from engine.notices.watch import RunWatch
from engine.processes.launch import NoticesLaunch
from engine.processes.notice_secrets import load_secret, take_over
from engine.ring import Segment
from engine.telemetry import Counters, Heartbeat
from engine.telemetry.log import say_left_out
from engine.telemetry.notice_events import NoticeEvent
from engine.topology import NOTICE_TARGET_COUNTERS, notices_counter_names

LOOK_S: Final = 0.25
FLUSH_AFTER_DEATH_S: Final = 10.0  # for the last message, when nobody waits
DYING_LOOK_S: Final = 0.05
DYING_LOOKS_MAX: Final = 100
REASON_S: Final = 1.0  # for the engine to tell why it ends
CLEAN: Final = "clean"  # why an engine ends that was asked to
PAIRS_SHOWN_MAX: Final = 10
RESTARTED: Final = (
    "the process that sends notices died and was started again; what happened meanwhile may not have been told"
)

log = structlog.get_logger("notices")


async def run_notices(launch: NoticesLaunch) -> None:
    """Tell the targets of one engine until it ends; raises ConfigError for an address or a
    token that cannot be one."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))  # a run may end while this process is starting
    clock = SystemClock()
    handed_over = take_over(launch.secrets_fd)
    sender = Sender(launch.name, launch.venue, launch.is_kraken)
    targets = [Target(each, load_secret(each, handed_over), sender, clock) for each in launch.targets]
    try:
        engine = await asyncio.to_thread(AttachedEngine.open, Path(launch.control_path))
    except NobodyListens:
        if await _has_died(launch.engine_pid, asked):  # before it could be looked at
            last = notice("stop", clock.wall_ns(), _death_text(launch))
            await _tell_last(targets, last, FLUSH_AFTER_DEATH_S)
            await _close(targets)
        return
    except ConfigError as error:  # it is of this version: it only cannot answer now, and starts us again
        log.error("the engine cannot be read", reason=str(error))
        return
    counters = NoticeCounters(
        Counters(
            Segment.attach(launch.counters_fd).memory, notices_counter_names([each.name for each in launch.targets])
        ),
        targets,
    )
    notices = EngineNotices(launch, engine, targets, counters, clock)
    try:
        await notices.run(asked)
    finally:
        await _close(targets)


class NoticeCounters:
    """The counters of measures.NOTICES and NOTICE_TARGET, over all lives of the process."""

    def __init__(self, counters: Counters, targets: Sequence[Target]) -> None:
        self._counters = counters
        self._targets = targets
        self._heartbeat = Heartbeat(counters)
        self.lives = counters.get("lives") + 1
        """Which life of the process this is, the first being 1."""
        counters.set("lives", self.lives)
        self._missed_before = counters.get("reports_missed")
        for target in targets:  # what waited when the last life ended is lost
            name = target.config.name
            counters.add(f"{name} lost", counters.get(f"{name} waiting"))
            counters.set(f"{name} waiting", 0)
        self._before = {
            (target.config.name, counter): counters.get(f"{target.config.name} {counter}")
            for target in targets
            for counter in NOTICE_TARGET_COUNTERS
        }

    def write(self, reports_missed: int, clock: Clock) -> None:
        """Store the current counts."""
        self._counters.set("reports_missed", self._missed_before + reports_missed)
        for target in self._targets:
            name = target.config.name
            for counter in NOTICE_TARGET_COUNTERS:
                count = getattr(target.mailbox, counter)
                self._counters.set(f"{name} {counter}", self._before[name, counter] + count)
        self._heartbeat.beat(clock.mono_ns())


class EngineNotices:
    """Watches the engine, and queues and sends notices to the targets."""

    def __init__(
        self,
        launch: NoticesLaunch,
        engine: AttachedEngine,
        targets: Sequence[Target],
        counters: NoticeCounters,
        clock: Clock,
    ) -> None:
        self._launch = launch
        self._engine = engine
        self._targets = targets
        self._counters = counters
        self._clock = clock
        is_first = counters.lives == 1
        self._watch = RunWatch(engine, from_the_beginning=is_first)
        if is_first:
            self._put("start", self._begin_text())
        else:
            self._put("restart", RESTARTED)

    async def run(self, asked: asyncio.Event) -> None:
        """Tell what happens until the engine ends, or `asked` is set."""
        while not asked.is_set() and self._engine.is_alive:
            self._look()
            for target in self._targets:
                target.send_due()
            self._counters.write(self._watch.reports_missed, self._clock)
            say_left_out()
            await _wait(asked, LOOK_S)
        has_died = not self._engine.is_alive
        self._look()
        last = notice("stop", self._clock.wall_ns(), _death_text(self._launch) if has_died else await self._end_text())
        await _tell_last(self._targets, last, FLUSH_AFTER_DEATH_S if has_died else self._launch.flush_s)
        self._counters.write(self._watch.reports_missed, self._clock)

    def _look(self) -> None:
        try:
            for each in self._watch.look(self._clock.mono_ns(), self._clock.wall_ns()):
                self._put_notice(each)
        except Exception as error:
            log.error("the engine cannot be read", reason=str(error) or type(error).__name__, exc_info=error)

    def _put(self, event: NoticeEvent, text: str) -> None:
        self._put_notice(notice(event, self._clock.wall_ns(), text))

    def _put_notice(self, each: Notice) -> None:
        for target in self._targets:
            target.put(each)

    def _begin_text(self) -> str:
        engine = self._engine
        pairs = [row.symbol for shard in engine.view.shards for row in shard.rows if row.symbol]
        strategies = ", ".join(each.name for each in engine.view.strategies) or "no strategy"
        shown = ", ".join(pairs[:PAIRS_SHOWN_MAX]) + (" …" if len(pairs) > PAIRS_SHOWN_MAX else "")
        trades = "it trades" if engine.view.trading is not None else "it does not trade"
        return f"the engine has started with {strategies} on {shown}; {trades} (pid {engine.identity.pid})"

    async def _end_text(self) -> str:
        try:
            path = Path(self._launch.control_path)
            facts = await asyncio.to_thread(ask, path, {"command": "status"}, REASON_S)
            reason = str(facts["facts"]["exit_reason"])
        except (NobodyListens, KeyError, TypeError):
            return "the engine ends, and does not say why"
        return "the engine ends, as it was asked to" if reason == CLEAN else f"the engine ends: {reason}"


async def _has_died(engine_pid: int, asked: asyncio.Event) -> bool:
    """Whether the engine that answers no more has died: then this process gets another
    parent, a moment after the sockets are closed. One that ends sets `asked`.
    """
    for _ in range(DYING_LOOKS_MAX):
        if os.getppid() != engine_pid:
            return True
        if asked.is_set():
            break
        await _wait(asked, DYING_LOOK_S)
    return False


def _death_text(launch: NoticesLaunch) -> str:
    orders = ""
    if launch.has_trading:
        does = "cancels" if launch.on_engine_loss == "cancel" else "keeps"
        orders = f"; the order router {does} its open orders and ends, too"
    return f"the engine's process (pid {launch.engine_pid}) has died without a word{orders}"


async def _tell_last(targets: Sequence[Target], last: Notice, deadline_s: float) -> None:
    for target in targets:
        target.put(last)
    await asyncio.gather(*(target.flush(deadline_s) for target in targets))


async def _close(targets: Sequence[Target]) -> None:
    await asyncio.gather(*(target.close() for target in targets))


async def _wait(asked: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asked.wait()
    except TimeoutError:
        pass
