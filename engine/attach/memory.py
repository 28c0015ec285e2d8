"""What a running engine tells a process that attaches: its segments, and what they are of.

    {"command":"attach"} ─► EngineMemory as JSON, and one read-only descriptor for each segment

Names of segments say what is in them; each is of a process, a ring, a latency or a shard.
"""

from typing import Final

from msgspec import Struct

from engine.topology import Shard

ATTACH: Final = "attach"  # the command of the engine's control socket
ENGINE: Final = "engine"  # the engine's own process, beside the names of its children
STATUS: Final = "status"  # the order router's board
HOST_COUNTERS: Final = "counters host"
SUPERVISOR_COUNTERS: Final = "counters supervisor"


def counters_of(process: str) -> str:
    """Segment of a child's counters."""
    return f"counters {process}"


def warnings_of(process: str) -> str:
    """Segment of the last warnings of a process: of a child, or of ENGINE."""
    return f"warnings {process}"


def ring_of(name: str) -> str:
    """Segment of a ring."""
    return f"ring {name}"


def board_of(shard: Shard) -> str:
    """Segment of a shard's board."""
    return f"board {shard.number}"


def pairs_of(shard: Shard) -> str:
    """Segment of a shard's pair table."""
    return f"pairs {shard.number}"


def histogram_of(latency: str) -> str:
    """Segment of a latency."""
    return f"histogram {latency}"


class EngineMemory(Struct, frozen=True, kw_only=True):
    """One run of an engine, for who attaches to it."""

    pid: int
    name: str
    url: str
    """Of the public WebSocket."""
    native: str
    began_ns: int
    """When the run began, by CLOCK_MONOTONIC."""
    shards: tuple[Shard, ...]
    strategies: tuple[str, ...]
    children: tuple[str, ...]
    """Names of its child processes."""
    trades: bool
    state_dir: str
    """Where its journal and history are; empty when it does not trade."""
    segments: tuple[str, ...]
    """Names of the segments, in the order of their descriptors."""
