"""Counters of the connections of one session; pure, so that actors can read them without a
socket.
"""

from operator import attrgetter
from typing import Final

# Names of shared counters, each with its attribute here. `connected` is a level: 0 or 1.
TRAFFIC_COUNTERS: Final = {
    "frames": "frames_received",
    "bytes": "bytes_received",
    "binary_frames": "binary_frames",
    "session_errors": "session_errors",
    "connects": "connects",
    "connect_failures": "connect_failures",
    "disconnects": "disconnects",
    "connected": "connected",
}
traffic_counts = attrgetter(*TRAFFIC_COUNTERS.values())


class Traffic:
    """Counted since the process started; none ever decreases."""

    def __init__(self) -> None:
        self.connects = 0  # handshakes completed
        self.connect_failures = 0  # attempts that ended before the handshake was completed
        self.disconnects = 0  # completed connections that have ended, whoever ended them
        self.frames_received = 0  # of every kind
        self.bytes_received = 0  # payload of text messages and their fragments
        self.binary_frames = 0  # ignored: Kraken sends none
        self.session_errors = 0  # exceptions that escaped the session or a callback

    @property
    def connected(self) -> bool:
        """Whether a connection is up."""
        return self.connects > self.disconnects
