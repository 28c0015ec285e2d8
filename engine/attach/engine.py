"""A running engine, seen from another process.

    control socket ─ map and descriptors, once ─► AttachedEngine ─► summary(), counters, histograms, boards

Everything is read from memory that the engine's processes write anyway, mapped read-only.
What only the engine's own objects know is not here: of a hang, its line.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.clock import Clock, SystemClock
from engine.errors import ConfigError, MisuseError
from engine.net.control_socket import ANSWER_DEADLINE_S, NobodyListens, ask_shared
from engine.processes.callback_words import SEEN_NS, CallbackWords
from engine.processes.run_view import RunFacts, RunMap, RunView
from engine.readable import is_readable
from engine.ring import LayoutMismatch, Segment
from engine.summary import build_summary
from engine.telemetry import Histogram
from engine.units import NS_PER_S, MonoNs

OTHER_BUILD: Final = "the running engine is of another version; stop it and start it with this one, or use its own"
RUNNING, ENDED = "running", "ended"


class AttachedEngine:
    """A running engine's counters, latencies, rings and boards."""

    def __init__(
        self, mapped: RunMap, segments: Sequence[Segment], is_there: Callable[[], bool], clock: Clock | None = None
    ) -> None:
        """`segments` are those of the map's descriptors, in that order; raises
        LayoutMismatch for those of another build. `is_there`: whether the engine's own
        control socket is."""
        self._clock: Clock = clock or SystemClock()
        self._segments = dict(zip(mapped.descriptors, segments, strict=True))
        self.view = RunView(mapped, lambda fd: self._segments[fd].memory)
        if self.view.supervisor is None:
            raise MisuseError("the map of a replay: there is no engine to attach to")
        self.supervisor = self.view.supervisor.counters
        self.warned = self.view.supervisor.warned
        self.identity = self.view.supervisor.told
        self._words = {each.name: CallbackWords(self.view.host, each.name) for each in self.view.strategies}
        # Readable when the engine's process has ended; not affected by reuse of the pid.
        self._pidfd = os.pidfd_open(self.identity.pid)
        # An engine in a program may end, and another one begin, while that process lives.
        self._is_there = is_there

    @classmethod
    def open(cls, control_path: Path, deadline_s: float = ANSWER_DEADLINE_S) -> "AttachedEngine":
        """Attach to the engine behind a control socket, which has `deadline_s` seconds to
        answer.

        Raises NobodyListens if there is no engine. Raises ConfigError for an engine of
        another version, and with the reason if it cannot answer.
        """
        socket = _identity(control_path)
        answer, descriptors = ask_shared(control_path, {"command": "status"}, deadline_s)
        if "error" in answer:
            raise ConfigError(str(answer["error"]))
        segments: list[Segment] = []
        try:
            mapped = msgspec.convert(answer["map"], RunMap)
            # Who stays looks at each page again and again, but seldom at all of a ring.
            segments.extend(Segment.attach(fd, writable=False, populate=False) for fd in descriptors)
            return cls(mapped, segments, lambda: _identity(control_path) == socket)
        except ProcessLookupError:  # it has died since it answered
            raise NobodyListens("it has died") from None
        except (msgspec.ValidationError, LayoutMismatch, MisuseError, ValueError, KeyError):
            for fd in descriptors[len(segments) :]:
                os.close(fd)
            raise ConfigError(OTHER_BUILD) from None

    @property
    def is_alive(self) -> bool:
        """Whether the engine runs: its process, and in it this engine."""
        return not is_readable(self._pidfd) and self._is_there()

    def close(self) -> None:
        """Unmap the memory; nothing may be read afterwards."""
        os.close(self._pidfd)
        for segment in self._segments.values():
            segment.close()

    def summary(self) -> dict[str, Any]:
        """The summary, as `engine status --json` shows it; `exit` is `ended` for an engine
        that has ended.
        """
        now = self._clock.mono_ns()
        facts = RunFacts(
            seconds=(now - self.identity.began_ns) / NS_PER_S,
            restarts={child: self.supervisor.get(f"{child} restarts") for child in self.identity.children},
            exit_reason=RUNNING if self.is_alive else ENDED,
            pid=self.identity.pid,
            venue=self.identity.venue,
            processes=self.children(),
            hangs={name: self._conduct(name, words, now) for name, words in self._words.items()},
        )
        return build_summary(self.view, facts, now)

    def _conduct(self, name: str, words: CallbackWords, now: MonoNs) -> dict[str, Any]:
        began, callback = words.read()
        hangs = began and now - began > SEEN_NS
        present = {"callback": callback, "for_s": round((now - began) / NS_PER_S, 1), "line": ""}
        return {"hung": self.supervisor.get(f"{name} hung"), "hangs": present if hangs else None}

    @property
    def latency(self) -> dict[str, Histogram]:
        """The latencies by the names that the summary gives them."""
        wire = {f"wire_to_{name}": histogram for name, histogram in self.view.latency.items()}
        return wire if self.view.trading is None else wire | self.view.trading.histograms

    def children(self) -> dict[str, int | None]:
        """The process id of each child; None for one that does not run."""
        return {child: self.supervisor.get(f"{child} pid") or None for child in self.identity.children}


def _identity(socket_path: Path) -> tuple[int, int, int] | None:
    """Distinguishes a socket from others at the same path; None if there is none."""
    try:
        found = socket_path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
