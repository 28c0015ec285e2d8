"""Watches from another thread which callback each strategy is in, and reports those that
hang.

    callback words, heartbeat (shared memory) ─► CallbackWatch.look() ─► log, `engine status`, summary

It detects a hang within SEEN_NS and one interval of the supervisor's watch. A library that
keeps the interpreter's lock stops this thread too; then the order router, another process,
detects it by the same words.
"""

import sys
import sysconfig
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog
from msgspec import Struct

from engine.clock import Clock
from engine.processes.callback_words import SEEN_NS, CallbackWords
from engine.telemetry import Counters, Heartbeat
from engine.units import NS_PER_S, MonoNs

LOOK_INTERVAL_S: Final = 0.25
JOIN_S: Final = 1.0  # a look takes a millisecond
ENGINE: Final = Path(__file__).parents[1]
# Whose lines are nobody's own: the engine's, Python's and those of installed packages.
OTHERS: Final = (ENGINE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")))
# A strategy is called from here.
CALLER: Final = Path(__file__).parents[1] / "strategy_host"
NOBODY: Final = ""  # instead of a strategy: the thread is blocked outside of any callback

log = structlog.get_logger("supervisor")


class Watched(Struct, frozen=True):
    """A strategy to watch."""

    name: str
    words: CallbackWords
    file: str
    """The file of its class, whose line is reported if one is on the stack."""
    answer: Callable[[], Awaitable[None] | None]
    """Returns what an async callback of it awaits; None while there is none."""


class Hang(Struct, frozen=True):
    """A callback that has not returned."""

    callback: str
    began_at: MonoNs
    line: str
    """`bot.py:12 in on_book`; empty when it is unknown."""


class CallbackWatch:
    """Which strategies hang, in which callback, and how often that happened."""

    def __init__(self, strategies: Sequence[Watched], host_counters: Counters, thread_id: Callable[[], int]) -> None:
        """`thread_id` returns the id of the strategies' thread; 0 while there is none."""
        self._strategies = strategies
        self._counters = host_counters
        self._heartbeat = Heartbeat(host_counters)
        self._thread_id = thread_id
        # What hangs now, by strategy; under NOBODY a thread that is blocked outside of any
        # callback.
        self.hanging: dict[str, Hang] = {}
        # Callbacks that did not return in time, by strategy.
        self.hung = dict.fromkeys((watched.name for watched in strategies), 0)

    def look(self, now: MonoNs) -> None:
        """Log each callback that hangs, once, and each that has returned since the last
        look.
        """
        self._counters.set("watched_at_ns", now)
        heard_at = self._heartbeat.last_at
        is_held = now - heard_at > SEEN_NS
        found: dict[str, Hang] = {}
        for watched in self._strategies:
            began, callback = watched.words.read()
            if began and now - began > SEEN_NS:
                found[watched.name] = self._hang(watched, callback, began)
        # After a callback that has just returned no heartbeat may have come yet: the next
        # look decides.
        in_callback = self.hanging.keys() - {NOBODY} or any(self._holds(watched) for watched in self._strategies)
        if heard_at and is_held and not in_callback:
            found[NOBODY] = Hang("", heard_at, line_of(stack_of(self._frame()), ""))
        for name, hang in found.items():
            before = self.hanging.get(name)
            if before is None or before.began_at != hang.began_at:
                if name is not NOBODY:
                    self.hung[name] += 1
                self._report(name, hang, now)
        for name, hang in self.hanging.items():
            if name not in found:
                log.warning("callback returned", strategy=name, callback=hang.callback, took_s=_s(now - hang.began_at))
        self.hanging = found

    def conduct(self, name: str, now: MonoNs) -> dict[str, Any]:
        """A strategy's part of the summary about hangs: their number, and the current one."""
        hang = self.hanging.get(name)
        shown = hang and {"callback": hang.callback, "for_s": _s(now - hang.began_at), "line": hang.line}
        return {"hung": self.hung[name], "hangs": shown}

    @property
    def sentence(self) -> str:
        """A sentence about all present hangs; empty without any."""
        told = [
            f"{name or 'a task'} does not return from {hang.callback or 'what it does'} ({hang.line or 'line unknown'})"
            for name, hang in self.hanging.items()
        ]
        return "; ".join(told)

    def _report(self, name: str, hang: Hang, now: MonoNs) -> None:
        log.warning(
            "callback does not return" if name else "the strategies' thread is held by something that is no callback",
            strategy=name, callback=hang.callback, since_s=_s(now - hang.began_at), line=hang.line,
            hung=self.hung.get(name, 0),
        )  # fmt: skip

    def _hang(self, watched: Watched, callback: str, began: MonoNs) -> Hang:
        answer = watched.answer()
        # A coroutine that waits has its own frames; one that runs is on the thread's stack.
        waits_at = [] if answer is None else waits_of(answer)
        return Hang(callback, began, line_of(waits_at or stack_of(self._frame()), watched.file))

    def _holds(self, watched: Watched) -> bool:
        """Whether the thread is in a callback of this strategy."""
        began, _ = watched.words.read()
        answer = watched.answer()
        return bool(began) and (answer is None or not waits_of(answer))

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._thread_id())


class WatchThread:
    """Looks at callbacks from a thread of its own, for a program whose loop may be blocked
    by them."""

    def __init__(self, watch: CallbackWatch, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callback-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, after the look in progress. A thread that lived on would keep the
        strategies and their rings in memory.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_INTERVAL_S):
            self._watch.look(self._clock.mono_ns())


def waits_of(answer: object) -> list[FrameType]:
    """The frames at which a coroutine is suspended, innermost first; empty while it runs
    and after its end.
    """
    frames: list[FrameType] = []
    inner: Any = answer
    while inner is not None and getattr(inner, "cr_frame", None) is not None:
        if inner.cr_running:
            return []
        frames.insert(0, inner.cr_frame)
        inner = inner.cr_await
    return frames


def stack_of(frame: FrameType | None) -> list[FrameType]:
    """The frames of a thread, innermost first, up to the engine's call of the strategy. The
    innermost ones may be the engine's again, in a call that the strategy made.
    """
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    callers = [place for place, each in enumerate(frames) if Path(each.f_code.co_filename).is_relative_to(CALLER)]
    end = callers.pop() if callers else len(frames)
    while callers and callers.pop() == end - 1:
        end -= 1
    return frames[:end]


def line_of(frames: Sequence[FrameType], file: str) -> str:
    """`bot.py:12 in on_book`: the innermost line of `file`, followed by the innermost line
    of all if that is in another file. Without a file: the innermost line of the user's
    program, which is neither the engine's, nor Python's, nor an installed package's.
    """
    lines = [f"{Path(each.f_code.co_filename).name}:{each.f_lineno} in {each.f_code.co_name}" for each in frames]
    own = next((line for line, each in zip(lines, frames, strict=True) if _is_own(each, file)), "")
    innermost = lines[0] if lines else ""
    return f"{own}, in {innermost}" if own and own != innermost else innermost


def _is_own(frame: FrameType, file: str) -> bool:
    """Whether a frame is in `file`; without one, in the user's program."""
    place = frame.f_code.co_filename
    if file:
        return place == file
    if place.startswith("<"):  # a program that was typed in, or what Python or a library has made: `<string>`
        return frame.f_globals.get("__name__") == "__main__"
    return not any(Path(place).is_relative_to(other) for other in OTHERS)


def _s(ns: int) -> float:
    return round(ns / NS_PER_S, 1)
