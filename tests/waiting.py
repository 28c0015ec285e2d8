"""Waiting in tests: for a condition, never for a fixed time.

    eventually    a condition outside this thread: a process, a file, a socket
    until         a condition on this event loop
    turns         a counted number of turns of this event loop
    moment        no waiting: the moment of the next blow, or the pace of a load
    stall         no waiting: this process stands still, which is what the test is about

This is the only module of the tests that sleeps; `tests/test_tidy.py` names the few other places
that may. A deadline only decides when a test that has failed gives up, so it is generous: no
claim of any test depends on it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 60.0  # until a wait is given up; a loaded machine may take its time
LOOK_INTERVAL_S = 0.02  # between the first two looks at another process
LOOK_INTERVAL_S_MAX = 0.1  # what takes long is looked at less often: most looks ask a process, which takes its time
LOOK_GROWTH = 1.1
LOOP_LOOK_INTERVAL_S = 0.001  # the same of an object of this process
LOOP_LOOK_INTERVAL_S_MAX = 0.02

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Wait until `condition` is true; what it returned. AssertionError that names `what`
    after `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    interval_s = LOOK_INTERVAL_S
    while True:
        if found := condition():
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"never came true: {what}")
        time.sleep(interval_s)
        interval_s = min(LOOK_GROWTH * interval_s, LOOK_INTERVAL_S_MAX)


async def until(condition: Callable[[], T], what: str = "the condition", patience_s: float = PATIENCE_S) -> T:
    """`eventually` for the event loop, by the loop's own clock: other tasks go on
    meanwhile.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    interval_s = LOOP_LOOK_INTERVAL_S
    while True:
        if found := condition():
            return found
        if loop.time() >= deadline:
            raise AssertionError(f"never came true: {what}")
        await asyncio.sleep(interval_s)
        interval_s = min(LOOK_GROWTH * interval_s, LOOP_LOOK_INTERVAL_S_MAX)


async def turns(count: int = 1) -> None:
    """Let the event loop go round so many times: what was ready has run, and what that made
    ready.
    """
    for _ in range(count):
        await asyncio.sleep(0)


def moment(seconds: float) -> None:
    """Let time pass before the next blow or order: when it comes is the test's input, not a
    wait for anything.
    """
    time.sleep(seconds)


def stall(seconds: float) -> None:
    """Hold up this whole thread, event loop included, as a suspended machine would."""
    time.sleep(seconds)
