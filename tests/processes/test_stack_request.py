"""The stack of a thread that nobody in its process can look at, asked for by another process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.processes.callback_words import NUMBER_OF, CallbackWords
from engine.processes.stack_request import StackRequests
from engine.ring import Segment
from engine.telemetry import Counters, counters_bytes, format_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_S, MonoNs
from tests.waiting import PATIENCE_S

NAMES = strategy_counter_names(["bot", "other"])
# A thread that allows it, tells so, and keeps the interpreter's lock until it is killed.
PROGRAM = """
import ctypes, os, sys, threading
from engine.processes.stack_request import allow_stack_requests
from engine.ring import Segment
from engine.telemetry import Counters
from engine.topology import strategy_counter_names

def hang():
    allow_stack_requests(Counters(Segment.attach(int(sys.argv[1])).memory, strategy_counter_names(["bot", "other"])))
    os.write(1, b".")
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

threading.Thread(target=hang).start()
"""
AFTER_NS = 5 * NS_PER_S
BEGAN = MonoNs(100 * NS_PER_S)
LATE = MonoNs(BEGAN + AFTER_NS)


class Engine:
    """The process above, and what a router does about it."""

    def __init__(self) -> None:
        self._segment = Segment.create("host", counters_bytes(NAMES))
        format_counters(self._segment.memory, NAMES)
        self.counters = Counters(self._segment.memory, NAMES)
        self.process = subprocess.Popen(
            (sys.executable, "-c", PROGRAM, f"{self._segment.fd}"),
            pass_fds=[self._segment.fd], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.read(1) == b"."
        pidfd = os.pidfd_open(self.process.pid)
        self.requests = StackRequests(self.counters, ["bot", "other"], self.process.pid, pidfd, AFTER_NS)
        CallbackWords(self.counters, "bot").begin(NUMBER_OF["on_book"], BEGAN)
        self.counters.set("watched_at_ns", BEGAN)

    def end(self) -> str:
        """Kill it; what it has written."""
        self.process.kill()
        return self.process.communicate(timeout=PATIENCE_S)[1].decode()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.end()


def test_the_thread_that_hangs_writes_its_own_stack_once(engine: Engine) -> None:
    assert engine.requests.look(LATE)
    assert not engine.requests.look(MonoNs(LATE + AFTER_NS))
    assert engine.process.stderr is not None
    written = b""
    while b"in run" not in written:  # the end of it; a pipe may bring it in pieces
        written += os.read(engine.process.stderr.fileno(), 65_536)

    assert re.search(rb'File "<string>", line 1[0-3] in hang', written)
    assert engine.process.poll() is None


def test_who_can_be_looked_at_from_within_is_not_asked(engine: Engine) -> None:
    """Its supervisor looks; or nothing hangs, or not for long."""
    engine.counters.set("watched_at_ns", MonoNs(LATE - 1))
    assert not engine.requests.look(LATE)
    engine.counters.set("watched_at_ns", BEGAN)
    assert not engine.requests.look(MonoNs(LATE - 1))
    CallbackWords(engine.counters, "bot").end()
    assert not engine.requests.look(LATE)

    assert engine.end() == ""


def test_a_process_that_has_ended_or_never_allowed_it_is_sent_nothing(engine: Engine) -> None:
    """A signal that nobody handles would end it."""
    thread = engine.counters.get("thread_id")
    engine.counters.set("thread_id", 0)
    assert not engine.requests.look(LATE)
    engine.counters.set("thread_id", thread)
    engine.end()
    assert not engine.requests.look(LATE)
