"""One ping on a WebSocket of Kraken's, and what its pong says about our clock.

A pong of WebSocket v2 has the microseconds at which Kraken took the ping and answered it;
REST reports whole seconds only.
"""

from typing import Final

import msgspec
from msgspec import Struct

from engine.clock import Clock
from engine.kraken.connection import requests
from engine.kraken_rest.preflight import ClockOffset
from engine.timestamps import wall_ns
from engine.units import WallNs

PING_ID: Final = 1_000_000  # beyond the numbers of a session's own requests


class _Pong(Struct):
    """{"method":"pong","req_id":1000000,"time_in":"2026-…Z","time_out":"2026-…Z"}"""

    req_id: int = 0
    time_in: str = ""
    time_out: str = ""


_decode_pong = msgspec.json.Decoder(_Pong).decode


class ClockPing:
    """The ping of one probe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[bytes] = []
        self._sent_at = WallNs(0)
        # None until a pong has told it.
        self.offset: ClockOffset | None = None

    def begin(self) -> None:
        """The connection is open: a ping is due."""
        self._due = [requests.ping(PING_ID)]

    def to_send(self) -> list[bytes]:
        """The ping, to be sent now; nothing when it was sent already."""
        due, self._due = self._due, []
        if due:
            self._sent_at = self._clock.wall_ns()
        return due

    def take(self, frame: bytes) -> None:
        """Look for the pong in a frame."""
        if b'"pong"' not in frame or str(PING_ID).encode() not in frame:
            return
        pong = _decode_pong(frame)
        kraken_in, kraken_out = wall_ns(pong.time_in), wall_ns(pong.time_out)
        if kraken_in and kraken_out:
            self.offset = ClockOffset.of_exchange(self._sent_at, kraken_in, kraken_out, self._clock.wall_ns())
