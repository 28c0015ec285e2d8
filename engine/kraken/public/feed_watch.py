"""Which pairs have something due now, so that the time it takes follows what happens and not how many are followed.

    watch() ─► watched: due on every tick ── rest() ─► resting: due again at a given time

A thousand healthy pairs rest: each is due once per `book_silence_ns`. A pair in doubt, or one that was asked for a
fresh snapshot, is watched until the session lets it rest again.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from engine.kraken.public.book_feed import BookFeed
from engine.units import MonoNs


class FeedWatch:
    """Every pair is watched, or rests until a time that is written down: none is forgotten."""

    def __init__(self, feeds: Sequence[BookFeed]) -> None:
        """`feeds` in the order of their pair index; all are watched at first."""
        self._feeds = feeds
        self._watched = set(range(len(feeds)))
        # When each pair is due, 0 for one without such a time; and these times with their pair index, a heap in which
        # one that has been replaced by an earlier is void.
        self._due_at = [MonoNs(0)] * len(feeds)
        self._resting: list[tuple[MonoNs, int]] = []

    def watch(self, feed: BookFeed) -> None:
        """Have the feed due on every tick from now on."""
        self._watched.add(feed.pair_index)

    def rest(self, feed: BookFeed, until: MonoNs) -> None:
        """Leave the feed alone until then, unless it is watched before."""
        index = feed.pair_index
        self._watched.discard(index)
        due_at = self._due_at[index]
        if not 0 < due_at <= until:  # an earlier one is enough: the feed then comes to rest anew
            self._due_at[index] = until
            heappush(self._resting, (until, index))

    def due(self, now: MonoNs) -> list[BookFeed]:
        """The feeds to be looked at now, in the order of their pairs; they are watched until they are let rest."""
        while self._resting and self._resting[0][0] <= now:
            due_at, index = heappop(self._resting)
            if due_at == self._due_at[index]:
                self._due_at[index] = MonoNs(0)
                self._watched.add(index)
        return [self._feeds[index] for index in sorted(self._watched)]

    def check(self) -> None:
        """Assert that each feed is watched, or will be due."""
        for index, due_at in enumerate(self._due_at):
            assert (due_at, index) in self._resting if due_at else index in self._watched
