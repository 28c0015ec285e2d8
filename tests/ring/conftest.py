"""Rings in plain memory, and children in processes of their own that never outlive a test."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tests.ring.children
from engine.native import CORE, PORTABLE_VARIABLE
from engine.ring import format_ring, ring_bytes
from tests.ring.implementations import IMPLEMENTATIONS, PAIRINGS, READERS, WRITERS

CHILDREN = Path(__file__).with_name("children.py")

Spawn = Callable[..., subprocess.Popen[str]]
WhenCopied = Callable[[Any, Callable[[], None]], None]


@pytest.fixture(autouse=True, params=PAIRINGS, ids=lambda pairing: f"{pairing[0]}-to-{pairing[1]}")
def pairing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Every test of this folder with each implementation of writer and reader, here and in its children.

    The names of the classes in the test's module are those of the pairing.
    """
    writer, reader = request.param
    for names, implementation in ((WRITERS, writer), (READERS, reader)):
        for name in names:
            if hasattr(request.module, name):
                monkeypatch.setattr(request.module, name, getattr(IMPLEMENTATIONS[implementation], name))
    return writer, reader


@pytest.fixture(scope="session")
def children() -> ModuleType:
    """What children run, for the tests' own use."""
    return tests.ring.children


@pytest.fixture
def when_copied(pairing: tuple[str, str]) -> Iterator[WhenCopied]:
    """Have something happen where the reader has copied a record, or several, and not yet looked at the stamp again."""

    def set_up(reader: Any, happen: Callable[[], None]) -> None:
        if pairing[1] == "native":
            CORE.call_when_copied(happen)
        else:
            tests.ring.children.act_after_copies(reader, happen)

    yield set_up
    if CORE is not None:
        CORE.call_when_copied(None)


@pytest.fixture
def spawn(pairing: tuple[str, str]) -> Iterator[Spawn]:
    """Run a function of children.py in a process of its own: `spawn("publish_gated", fd, 1000, fds=[fd])`.

    One that publishes or stores runs on the pairing's writer, any other on its reader. The first has the last core
    to itself as far as this test goes, the second shares the first core with the test: processes on one core never
    race, and the kernel likes to put those there that wait for one another.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    started: list[subprocess.Popen[str]] = []

    def spawn_child(function: str, *numbers: int, fds: list[int]) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILDREN), function, *map(str, numbers)]
        writes = function.startswith(("publish_", "store_until", "store_for"))
        is_portable = pairing[0 if writes else 1] == "portable"
        environment = os.environ | {PORTABLE_VARIABLE: "1" if is_portable else "0"}
        child = subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, text=True, env=environment)
        os.sched_setaffinity(child.pid, {cores[-1 - len(started) % len(cores)]})
        started.append(child)
        return child

    yield spawn_child
    os.sched_setaffinity(0, cores)
    for child in started:
        with child:  # waits for it and closes its pipe
            child.kill()


@pytest.fixture
def make_ring() -> Callable[..., bytearray]:
    """An empty ring in plain memory, of four slots and 16-byte records unless told otherwise."""

    def make(record_bytes: int = 16, slot_count: int = 4, gate_count: int = 0) -> bytearray:
        memory = bytearray(ring_bytes(record_bytes, slot_count, gate_count=gate_count))
        format_ring(memory, record_bytes=record_bytes, slot_count=slot_count, gate_count=gate_count)
        return memory

    return make
