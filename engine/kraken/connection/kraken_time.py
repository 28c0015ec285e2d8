"""Kraken's clock, by the times that its own messages tell: ours may be wrong by minutes, or
be set while orders are under way.

A message takes its time, so what it tells is a little behind: the estimate is never ahead
of Kraken's clock, and gets better with each message. Answers of REST tell it by their Date,
cut to the second. Before the first message our own clock stands in.
"""

from engine.instant import Instant
from engine.units import MonoNs, WallNs


class KrakenTime:
    """What time it is at Kraken."""

    def __init__(self, now: Instant) -> None:
        self._now = now
        # Kraken's time less our monotonic one, at least; None before anything was told.
        self.ahead_ns: int | None = None
        # Since when it is known; None before that.
        self.known_since: MonoNs | None = None

    @property
    def is_known(self) -> bool:
        """True once a message has told it."""
        return self.known_since is not None

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

    def now(self) -> WallNs:
        """Kraken's time, or a little before it."""
        return self._now.wall if self.ahead_ns is None else WallNs(self._now.mono + self.ahead_ns)
