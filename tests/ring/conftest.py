"""Rings in plain memory, and children in processes of their own that never outlive a test."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import tests.ring.children
from engine.ring import format_ring, ring_bytes

CHILDREN = Path(__file__).with_name("children.py")

Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def children() -> ModuleType:
    """What children run, for the tests' own use."""
    return tests.ring.children


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function of children.py in a process of its own: `spawn("publish_gated", fd, 1000, fds=[fd])`."""
    started: list[subprocess.Popen[str]] = []

    def spawn_child(function: str, *numbers: int, fds: list[int]) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILDREN), function, *map(str, numbers)]
        child = subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, text=True)
        started.append(child)
        return child

    yield spawn_child
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
