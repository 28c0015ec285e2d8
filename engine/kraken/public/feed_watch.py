"""Which pairs have a deadline to check now: the cost follows what happens, not the number
of pairs.

    watch() ─► watched: due on every tick ── rest() ─► resting: due again at a given time

Healthy pairs rest, and each is due once per `book_silence_ns`. A pair in doubt, or one that
is being renewed, is watched: due on every tick until the session lets it rest again.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from engine.kraken.public.book_feed import BookFeed
from engine.units import MonoNs


class FeedWatch:
    """The schedule of all pairs: each is watched, or rests until a known time."""

    def __init__(self, feeds: Sequence[BookFeed]) -> None:
        """`feeds` are in the order of their pair index; all are watched at first."""
        self._feeds = feeds
        self._watched = set(range(len(feeds)))
        # When each pair is due, 0 without such a time; and a heap of (due time, pair
        # index), in which an entry that was replaced by an earlier one is void.
        self._due_at = [MonoNs(0)] * len(feeds)
        self._resting: list[tuple[MonoNs, int]] = []

    def watch(self, feed: BookFeed) -> None:
        """Make the feed due on every tick, until `rest`."""
        self._watched.add(feed.pair_index)

    def rest(self, feed: BookFeed, until: MonoNs) -> None:
        """Make the feed due at `until`, or earlier if `watch` is called or an earlier time
        is known.
        """
        index = feed.pair_index
        self._watched.discard(index)
        due_at = self._due_at[index]
        # An earlier time is enough: `rest` is called again then.
        if not 0 < due_at <= until:
            self._due_at[index] = until
            heappush(self._resting, (until, index))

    def due(self, now: MonoNs) -> list[BookFeed]:
        """The feeds to check now, in the order of their pairs; they stay due until `rest`
        is called.
        """
        while self._resting and self._resting[0][0] <= now:
            due_at, index = heappop(self._resting)
            if due_at == self._due_at[index]:
                self._due_at[index] = MonoNs(0)
                self._watched.add(index)
        return [self._feeds[index] for index in sorted(self._watched)]

    def check(self) -> None:
        """Assert that each feed is watched or has a due time."""
        for index, due_at in enumerate(self._due_at):
            assert (due_at, index) in self._resting if due_at else index in self._watched
