"""Which pairs have a deadline to check now: the cost follows what happens, not the number
of pairs.

    watch() ─► watched: due on every tick ── rest() ─► resting: due again at a given time

Healthy pairs rest, and each is due once per `book_silence_ns`. A pair in doubt, or one that
is being renewed, is watched: due on every tick until the session lets it rest again. Of
many that are due at once, as all are a minute after a start, some are checked at a time, in
turn, so that frames come in between.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from engine.kraken.public.book_feed import BookFeed
from engine.units import MonoNs

DUE_MAX: Final = 32  # watched pairs that are checked at a time: some 0.05 ms
WOKEN_MAX: Final = 8  # pairs whose rest is over: each may be silent, and is told to be: some 0.1 ms


class FeedWatch:
    """The schedule of all pairs: each is watched, or rests until a known time."""

    def __init__(self, feeds: Sequence[BookFeed]) -> None:
        """All of `feeds` are watched at first."""
        # By pair index.
        self._feeds = {feed.pair_index: feed for feed in feeds}
        # In the order in which they are checked.
        self._watched: dict[int, None] = dict.fromkeys(self._feeds)
        # Whether more were due at the last tick than it has returned.
        self.is_behind = False
        # When each resting pair is due; and a heap of (due time, pair index), in which an
        # entry that was replaced by an earlier one, or whose pair was dropped, is void.
        self._due_at: dict[int, MonoNs] = {}
        self._resting: list[tuple[MonoNs, int]] = []

    def watch(self, feed: BookFeed) -> None:
        """Make the feed due on every tick, until `rest` or `drop`."""
        self._feeds[feed.pair_index] = feed
        self._watched[feed.pair_index] = None

    def drop(self, feed: BookFeed) -> None:
        """Never make the feed due any more, unless it is watched again."""
        if self._feeds.pop(feed.pair_index, None) is not None:
            self._watched.pop(feed.pair_index, None)
            self._due_at.pop(feed.pair_index, None)

    def rest(self, feed: BookFeed, until: MonoNs) -> None:
        """Make the feed due at `until`, or earlier if `watch` is called or an earlier time
        is known.
        """
        index = feed.pair_index
        self._watched.pop(index, None)
        due_at = self._due_at.get(index)
        # An earlier time is enough: `rest` is called again then.
        if due_at is None or due_at > until:
            self._due_at[index] = until
            heappush(self._resting, (until, index))

    def due(self, now: MonoNs) -> list[BookFeed]:
        """The feeds to check now, in the order of their pairs: DUE_MAX at most of those
        that are watched, and WOKEN_MAX of those whose rest is over. They stay due until
        `rest` is called.
        """
        taken = list(islice(self._watched, DUE_MAX))
        self.is_behind = len(taken) < len(self._watched)
        if self.is_behind:
            for index in taken:  # the others first at the next tick
                del self._watched[index]
                self._watched[index] = None
        woken = 0
        while self._resting and self._resting[0][0] <= now:
            if woken == WOKEN_MAX:
                self.is_behind = True
                break
            due_at, index = heappop(self._resting)
            if due_at == self._due_at.get(index):
                del self._due_at[index]
                if index not in self._watched:
                    self._watched[index] = None
                    taken.append(index)
                woken += 1
        return [self._feeds[index] for index in sorted(taken)]

    def check(self) -> None:
        """Assert that each feed is watched or has a due time."""
        for index in self._feeds:
            due_at = self._due_at.get(index)
            assert index in self._watched if due_at is None else (due_at, index) in self._resting
