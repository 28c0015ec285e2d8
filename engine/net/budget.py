"""Connection attempts that Kraken's edge allows, as a pure function of time.

"~150 connections per rolling 10 minutes per IP (Cloudflare); exceed it and the IP is banned
for 10 minutes":
https://docs.kraken.com/exchange/guides/websockets/introduction

The limit counts an IP address: its public, private and REST hosts, all processes together.
N processes get `ATTEMPTS_MAX // N` each.
"""

from collections import deque

from engine.errors import MisuseError
from engine.units import NS_PER_S, MonoNs

ATTEMPTS_MAX = 150  # per window, successful or not: Kraken's number
WINDOW_NS = 600 * NS_PER_S


class ConnectionBudget:
    """At most `attempts_max` attempts in any window of `window_ns`."""

    def __init__(self, attempts_max: int = ATTEMPTS_MAX, window_ns: int = WINDOW_NS) -> None:
        if attempts_max < 1 or window_ns < 1:
            raise MisuseError(f"a budget of {attempts_max} attempts per {window_ns} ns allows no connection at all")
        self._window_ns = window_ns
        # When the last attempts were made, oldest first; never longer than attempts_max,
        # because older ones cannot matter.
        self._spent: deque[MonoNs] = deque(maxlen=attempts_max)

    def earliest(self, now: MonoNs) -> MonoNs:
        """When the next attempt may start: `now`, or when the oldest attempt leaves the
        window.
        """
        if len(self._spent) < (self._spent.maxlen or 0):
            return now
        return max(now, MonoNs(self._spent[0] + self._window_ns))

    def spend(self, now: MonoNs) -> None:
        """Record an attempt that starts at `now`; raises MisuseError when it is not allowed
        yet.
        """
        if self.earliest(now) > now:
            raise MisuseError(f"connection attempt at {now} ns, allowed from {self.earliest(now)} ns")
        self._spent.append(now)
