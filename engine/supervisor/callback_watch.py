"""Watches from another thread what the strategies are in, and names whoever does not come back.

    callback words, heartbeat (shared memory) ─► CallbackWatch.look() ─► log, `engine status`, summary

It sees a hang within SEEN_NS and one interval of the supervisor's watch. A library that keeps the interpreter's lock
for itself stops this thread too: then the order router, another process, sees the words stand still, and acts.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog
from msgspec import Struct

from engine.processes.callback_words import CallbackWords
from engine.telemetry import Counters, Heartbeat
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

SEEN_NS: Final = 500 * NS_PER_MS  # a callback that has not returned for so long is named
CALLER: Final = Path(__file__).parents[1] / "strategy_host"  # a strategy is called from here
NOBODY: Final = ""  # in place of a strategy: what holds the thread is in no callback

log = structlog.get_logger("supervisor")


class Watched(Struct, frozen=True):
    """One strategy, as it is watched."""

    name: str
    words: CallbackWords
    file: str
    """Of its class; where it is, is said by a line of this file if there is one."""
    answer: Callable[[], Awaitable[None] | None]
    """What an async callback of it is in; None while there is none."""


class Hang(Struct, frozen=True):
    """A callback that has not returned."""

    callback: str
    began_at: MonoNs
    line: str
    """`bot.py:12 in on_book`; empty where it cannot be had."""


class CallbackWatch:
    """Who hangs, in what, and how often that was."""

    def __init__(self, strategies: Sequence[Watched], host_counters: Counters, thread_id: Callable[[], int]) -> None:
        """`thread_id`: of the strategies' thread; 0 while there is none."""
        self._strategies = strategies
        self._heartbeat = Heartbeat(host_counters)
        self._thread_id = thread_id
        # By name: what hangs now. NOBODY for a thread that is held by something else than a callback.
        self.hanging: dict[str, Hang] = {}
        # Callbacks that did not return in time.
        self.hung = dict.fromkeys((watched.name for watched in strategies), 0)

    def look(self, now: MonoNs) -> None:
        """Name whoever has not come back, once each time, and who has."""
        heard_at = self._heartbeat.last_at
        is_held = now - heard_at > SEEN_NS
        found: dict[str, Hang] = {}
        for watched in self._strategies:
            began, callback = watched.words.read()
            if began and now - began > SEEN_NS:
                found[watched.name] = self._hang(watched, callback, began)
        # A callback that has just returned had no time yet for a heartbeat: looked at once more before it is told.
        in_callback = self.hanging.keys() - {NOBODY} or any(self._holds(watched) for watched in self._strategies)
        if heard_at and is_held and not in_callback:
            found[NOBODY] = Hang("", heard_at, line_of(stack_of(self._frame()), ""))
        for name, hang in found.items():
            before = self.hanging.get(name)
            if before is None or before.began_at != hang.began_at:
                if name is not NOBODY:
                    self.hung[name] += 1
                self._name(name, hang, now)
        for name, hang in self.hanging.items():
            if name not in found:
                log.warning("callback returned", strategy=name, callback=hang.callback, took_s=_s(now - hang.began_at))
        self.hanging = found

    def conduct(self, name: str, now: MonoNs) -> dict[str, Any]:
        """What the summary says of a strategy: how often it hung, and how it hangs now."""
        hang = self.hanging.get(name)
        shown = hang and {"callback": hang.callback, "for_s": _s(now - hang.began_at), "line": hang.line}
        return {"hung": self.hung[name], "hangs": shown}

    @property
    def sentence(self) -> str:
        """Who hangs in what; empty when nobody does."""
        told = [
            f"{name or 'a task'} does not return from {hang.callback or 'what it does'} ({hang.line or 'line unknown'})"
            for name, hang in self.hanging.items()
        ]
        return "; ".join(told)

    def _name(self, name: str, hang: Hang, now: MonoNs) -> None:
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
        """Is it this strategy's callback that the thread is in?"""
        began, _ = watched.words.read()
        answer = watched.answer()
        return bool(began) and (answer is None or not waits_of(answer))

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._thread_id())


def waits_of(answer: object) -> list[FrameType]:
    """The frames at which a coroutine waits, innermost first; none while it runs, or when it has ended."""
    frames: list[FrameType] = []
    inner: Any = answer
    while inner is not None and getattr(inner, "cr_frame", None) is not None:
        if inner.cr_running:
            return []
        frames.insert(0, inner.cr_frame)
        inner = inner.cr_await
    return frames


def stack_of(frame: FrameType | None) -> list[FrameType]:
    """The frames of a thread, innermost first, up to where the engine called the strategy."""
    frames: list[FrameType] = []
    while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(CALLER):
        frames.append(frame)
        frame = frame.f_back
    return frames


def line_of(frames: Sequence[FrameType], file: str) -> str:
    """`bot.py:12 in on_book`: the innermost line of a file, and the innermost of all when that is in another."""
    told = [
        (frame.f_code.co_filename, f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}")
        for frame in frames
    ]
    own = next((line for place, line in told if place == file), "")
    innermost = told[0][1] if told else ""
    return f"{own}, in {innermost}" if own and own != innermost else innermost


def _s(ns: int) -> float:
    return round(ns / NS_PER_S, 1)
