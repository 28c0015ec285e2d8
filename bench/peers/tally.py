"""What every client of bench/peers notes and tells. Standard library alone: it is imported
by the interpreters of the peers, too.

A client is called as `PYTHON FILE WS_URL REST_URL SECONDS` with the public WebSocket, REST
and how long to read the books of SYMBOLS at depth 10. It prints one line of JSON last.
"""

import json
import sys
import time
from datetime import datetime
from typing import NamedTuple

SYMBOLS = ("BTC/USD", "ETH/USD")
DEPTH = 10
WARM_UP_S = 1.5  # connecting, snapshots, imports, page faults


class Call(NamedTuple):
    """A client's arguments."""

    ws: str
    rest: str
    seconds: float


def called_with() -> Call:
    """The arguments of this process."""
    ws, rest, seconds = sys.argv[1:]
    return Call(ws, rest, float(seconds))


class Tally:
    """Messages, and how old each was when the user's code had it."""

    def __init__(self) -> None:
        self._first_at = 0.0
        self._from_at = 0.0
        self._until_at = 0.0
        self._messages = 0
        self._wrong = 0
        self._took_us: list[float] = []

    def message(self) -> bool:
        """A book message was applied; False while the client is warming up."""
        now = time.monotonic()
        if not self._first_at:
            self._first_at = now
        if now - self._first_at < WARM_UP_S:
            return False
        if not self._from_at:
            self._from_at = now
        self._messages += 1
        self._until_at = now
        return True

    def age(self, stamped_ns: int) -> None:
        """The user's code has a book that the venue stamped at this time (Unix, ns)."""
        self._took_us.append((time.time_ns() - stamped_ns) / 1000)

    def wrong(self) -> None:
        """The client took its book for wrong."""
        self._wrong += 1

    def tell(self, version: str) -> None:
        """Print what was found."""
        seconds = self._until_at - self._from_at
        per_s = self._messages / seconds if seconds > 0 else 0.0
        told = {"version": version, "per_s": per_s, "seconds": seconds, "wrong": self._wrong, "took_us": self._took_us}
        print(json.dumps(told), flush=True)


def unix_ns(stamp: str) -> int:
    """Kraken's `2026-01-22T06:06:20.832000Z` in nanoseconds."""
    at = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000_000 + at.microsecond * 1000
