"""The link to the engine of one name: attaches to it, and again when it has started again.

    waiting ─ its control socket answers ─► attached ─ its supervisor is silent ─► asked again
       ▲                                                     │ nobody listens          │ the same run
       └─────────────────────────────────────────────────────┘                 "gives no sign of life"

Everything here blocks for a moment, and is called from a thread of its own.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.attach.engine import AttachedEngine
from engine.attach.process_usage import ProcessUsage, usage_of
from engine.clock import Clock, SystemClock
from engine.errors import ConfigError
from engine.net.control_socket import ANSWER_DEADLINE_S, NobodyListens, ask
from engine.screen.watcher import Picture, Watcher
from engine.telemetry import Heartbeat
from engine.telemetry.warning_ring import Warned
from engine.units import NS_PER_S, MonoNs

SILENCE_NS: Final = 3 * NS_PER_S  # of a supervisor, which beats four times a second
ATTACH_EVERY_NS: Final = NS_PER_S
# The router is asked for its orders when the rings cannot tell them all; that takes it up
# to twenty milliseconds when it has a thousand.
ORDERS_EVERY_NS: Final = 10 * NS_PER_S
SILENT_ANSWER_S: Final = 0.2
ORDERS_ANSWER_S: Final = 2.0
MEGABYTE: Final = 1_000_000


class Shown(Struct, frozen=True):
    """What the screen shows."""

    picture: Picture | None
    """The newest; the last one of an engine that has stopped. None before the first."""
    name: str
    url: str
    condition: str
    """What is wrong with the link, as a sentence; empty while it is well."""
    usage: Mapping[str, str]
    """Processor and memory of each process, as text."""
    unreadable: int
    """Reports that could not be read."""
    warnings: Sequence[tuple[str, Warned]]
    """Of the logs of all processes, each with the process's name, oldest first."""


class Link:
    """The engine of one name, as it is now."""

    def __init__(self, name: str, control_path: Path, router_path: Path, clock: Clock | None = None) -> None:
        self.name = name
        self.router_path = router_path
        self._control_path = control_path
        self._clock: Clock = clock or SystemClock()
        self._engine: AttachedEngine | None = None
        self._watcher: Watcher | None = None
        self._picture: Picture | None = None
        self._condition = ""
        self._attach_at = MonoNs(0)
        self._orders_at = MonoNs(0)
        self._warnings: Sequence[tuple[str, Warned]] = ()
        # What each process had used, and when.
        self._used: dict[int, tuple[ProcessUsage, MonoNs]] = {}
        self._usage: dict[str, str] = {}

    def open(self) -> None:
        """Attach; raises NobodyListens when there is no engine, ConfigError for one of
        another version."""
        self._take(AttachedEngine.open(self._control_path))

    def close(self) -> None:
        """Let go of the engine's memory."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._watcher = None

    def look(self, symbol: str) -> Shown:
        """What is to be shown now, with the ladder of this pair."""
        now = self._clock.mono_ns()
        self._keep_attached(now)
        if self._engine is not None and self._watcher is not None:
            summary = self._engine.summary()
            self._ask_for_orders(self._engine, self._watcher, now)
            self._picture = self._watcher.look(summary, symbol, now)
            self._measure(self._engine, now)
            self._warnings = self._engine.warned()
        return Shown(
            picture=self._picture,
            name=self.name,
            url=self._engine.identity.venue if self._engine is not None else "",
            condition=self._condition,
            usage=self._usage,
            unreadable=self._watcher.tape.unreadable if self._watcher is not None else 0,
            warnings=self._warnings,
        )

    def _take(self, engine: AttachedEngine) -> None:
        self.close()
        self._engine = engine
        self._watcher = Watcher(engine.view.shards, engine.view.reports)
        self._condition = ""
        self._orders_at = MonoNs(0)
        self._used.clear()

    def _keep_attached(self, now: MonoNs) -> None:
        engine = self._engine
        if engine is not None and engine.is_alive:
            silence_ns = now - Heartbeat(engine.supervisor).last_at
            if silence_ns < SILENCE_NS:
                self._condition = ""
                return
        if now - self._attach_at < ATTACH_EVERY_NS:
            return
        self._attach_at = now
        # One that lives and is silent may stand still: what is known is shown meanwhile.
        deadline_s = SILENT_ANSWER_S if engine is not None and engine.is_alive else ANSWER_DEADLINE_S
        try:
            found = AttachedEngine.open(self._control_path, deadline_s)
        except NobodyListens:
            self._lose(engine)
        except ConfigError as error:
            self.close()
            self._condition = str(error)
        else:
            self._take_or_drop(found, engine)

    def _lose(self, engine: AttachedEngine | None) -> None:
        """Nobody listens: the engine has stopped, or its process stands still."""
        if engine is not None and engine.is_alive and self._control_path.exists():
            self._condition = f"the engine named {self.name} (pid {engine.identity.pid}) gives no sign of life"
            return
        self.close()
        self._condition = f"the engine named {self.name} has stopped; waiting for it to start again"

    def _take_or_drop(self, found: AttachedEngine, engine: AttachedEngine | None) -> None:
        if engine is not None and found.identity.began_ns == engine.identity.began_ns:
            found.close()  # the same run: it was slow
            return
        self._take(found)

    def _ask_for_orders(self, engine: AttachedEngine, watcher: Watcher, now: MonoNs) -> None:
        """Ask the router for its open orders, where the rings do not tell all of them."""
        trading = engine.view.trading
        if trading is None or now - self._orders_at < ORDERS_EVERY_NS:
            return
        watcher.tape.poll()
        if not watcher.tape.wants_orders(trading.counters.get("open"), trading.counters.get("own_open")):
            return
        self._orders_at = now
        asked_at = self._clock.wall_ns()
        with suppress(NobodyListens):
            answer = ask(self.router_path, {"command": "orders"}, ORDERS_ANSWER_S)
            watcher.tape.told_orders(answer.get("orders", ()), asked_at)

    def _measure(self, engine: AttachedEngine, now: MonoNs) -> None:
        """What each process has used since it was last looked at, once a second."""
        pids = {"engine": engine.identity.pid, **engine.children()}
        for name, pid in pids.items():
            used_before, at = self._used.get(pid or 0, (None, MonoNs(0)))
            if pid is None or now - at < NS_PER_S:
                continue
            used = usage_of(pid)
            if used is None:
                continue
            self._used[pid] = used, now
            memory = f"{used.resident_bytes / MEGABYTE:.0f} MB"
            if used_before is None:
                self._usage[name] = memory
            else:
                percent = 100 * (used.cpu_s - used_before.cpu_s) * NS_PER_S / (now - at)
                self._usage[name] = f"{percent:.0f} %, {memory}"
        if len(self._used) > 2 * len(pids):
            self._used = {pid: self._used[pid] for pid in pids.values() if pid in self._used}
