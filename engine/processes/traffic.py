"""What a feed counts of its connection, whichever class carries the bytes."""

from typing import Protocol


class TrafficPort(Protocol):
    """What a connection counts."""

    frames_received: int
    bytes_received: int
    binary_frames: int
    session_errors: int
    connects: int
    connect_failures: int
    disconnects: int
