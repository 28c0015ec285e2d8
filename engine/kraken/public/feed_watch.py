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
        """All of `feeds` are watched at first."""
        # By pair index.
        self._feeds = {feed.pair_index: feed for feed in feeds}
        self._watched = set(self._feeds)
        # When each resting pair is due; and a heap of (due time, pair index), in which an
        # entry that was replaced by an earlier one, or whose pair was dropped, is void.
        self._due_at: dict[int, MonoNs] = {}
        self._resting: list[tuple[MonoNs, int]] = []

    def watch(self, feed: BookFeed) -> None:
        """Make the feed due on every tick, until `rest` or `drop`."""
        self._feeds[feed.pair_index] = feed
        self._watched.add(feed.pair_index)

    def drop(self, feed: BookFeed) -> None:
        """Never make the feed due any more, unless it is watched again."""
        if self._feeds.pop(feed.pair_index, None) is not None:
            self._watched.discard(feed.pair_index)
            self._due_at.pop(feed.pair_index, None)

    def rest(self, feed: BookFeed, until: MonoNs) -> None:
        """Make the feed due at `until`, or earlier if `watch` is called or an earlier time
        is known.
        """
        index = feed.pair_index
        self._watched.discard(index)
        due_at = self._due_at.get(index)
        # An earlier time is enough: `rest` is called again then.
        if due_at is None or due_at > until:
            self._due_at[index] = until
            heappush(self._resting, (until, index))

    def due(self, now: MonoNs) -> list[BookFeed]:
        """The feeds to check now, in the order of their pairs; they stay due until `rest`
        is called.
        """
        while self._resting and self._resting[0][0] <= now:
            due_at, index = heappop(self._resting)
            if due_at == self._due_at.get(index):
                del self._due_at[index]
                self._watched.add(index)
        return [self._feeds[index] for index in sorted(self._watched)]

    def check(self) -> None:
        """Assert that each feed is watched or has a due time."""
        for index in self._feeds:
            due_at = self._due_at.get(index)
            assert index in self._watched if due_at is None else (due_at, index) in self._resting
