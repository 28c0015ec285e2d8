"""Kraken's clock, by the times that its own messages tell: ours may be wrong by minutes, or
be set while orders are under way.

A message takes its time, so what it tells is a little behind: the estimate is never ahead
of Kraken's clock, and gets better with each message. Before the first one our own clock
stands in; but a Date, which is cut to the second, tells what time it is at least.
"""

from enum import IntEnum

from engine.instant import Instant
from engine.units import MonoNs, WallNs


class Evidence(IntEnum):
    """What tells Kraken's time, best last."""

    OUR_CLOCK = 0
    DATE = 1
    MESSAGE = 2


class KrakenTime:
    """What time it is at Kraken."""

    def __init__(self, now: Instant) -> None:
        self._now = now
        # Kraken's time less our monotonic one, at least; None before anything was told. By
        # messages, and by dates.
        self.ahead_ns: int | None = None
        self._dated_ahead_ns: int | None = None
        # Since when it is known; None before that.
        self.known_since: MonoNs | None = None

    @property
    def evidence(self) -> Evidence:
        """The best that was told."""
        if self.ahead_ns is not None:
            return Evidence.MESSAGE
        return Evidence.OUR_CLOCK if self._dated_ahead_ns is None else Evidence.DATE

    def told(self, at: WallNs, received_at: MonoNs = MonoNs(0)) -> None:  # noqa: B008
        """Kraken has sent a message that it dates so; 0 where it does not say.

        `received_at` is when it came, 0 for just now: it may have waited for the router to
        begin.
        """
        ahead_ns = at - (received_at or self._now.mono)
        if at and self.known_since is None:
            self.known_since = self._now.mono
        if at and (self.ahead_ns is None or ahead_ns > self.ahead_ns):
            self.ahead_ns = ahead_ns

    def dated(self, at: WallNs) -> None:
        """An answer has just come that Kraken dates so, or later in the same second; 0
        where it does not say.
        """
        ahead_ns = at - self._now.mono
        if at and (self._dated_ahead_ns is None or ahead_ns > self._dated_ahead_ns):
            self._dated_ahead_ns = ahead_ns

    def now(self) -> WallNs:
        """Kraken's time, or a little before it; our clock's before a message has told it."""
        return self._now.wall if self.ahead_ns is None else WallNs(self._now.mono + self.ahead_ns)

    def least(self) -> WallNs:
        """What time it is at Kraken at least, by messages or dates; our clock's before
        either has told it.
        """
        ahead_ns = self.ahead_ns if self.ahead_ns is not None else self._dated_ahead_ns
        return self._now.wall if ahead_ns is None else WallNs(self._now.mono + ahead_ns)
