"""Which pair's order flow acts next.

Each pair gets its share of the turns by its weight. With bursts, now and then one pair,
mostly one that is quiet otherwise, has every other turn for a while, as when news come.

Deterministic: the same seed and pairs give the same turns.
"""

from bisect import bisect
from collections.abc import Iterable
from itertools import accumulate
from random import Random
from typing import Final

from engine.venue.market.pair_market import PairMarket

BURST_SHARE: Final = 0.002  # of the turns outside of a burst begin one
BURST_TURNS: Final = 80  # that it lasts, half of which are its pair's


class Turns:
    """The turns of the pairs that move."""

    def __init__(self, markets: Iterable[PairMarket], seed: int, *, has_bursts: bool = False) -> None:
        self._markets = list(markets)
        self._weights = list(accumulate(market.pair.weight for market in self._markets))
        self._random = Random(f"{seed} turns").random
        self._has_bursts = has_bursts
        self._burst_market: PairMarket | None = None  # None before the first burst
        self._burst_left = 0  # turns of the burst under way

    def add(self, market: PairMarket) -> None:
        """Give a further pair its turns."""
        self._markets.append(market)
        self._weights.append(self._weights[-1] + market.pair.weight)

    def next(self) -> PairMarket:
        """The pair whose turn it is."""
        if self._has_bursts and (market := self._of_burst()) is not None:
            return market
        turn = bisect(self._weights, self._random() * self._weights[-1])
        return self._markets[min(turn, len(self._markets) - 1)]

    def _of_burst(self) -> PairMarket | None:
        """The pair of the burst, where the turn is its; None otherwise."""
        if self._burst_left:
            self._burst_left -= 1
            return self._burst_market if self._burst_left % 2 else None
        if self._random() < BURST_SHARE:
            self._burst_market = self._markets[int(self._random() * len(self._markets))]
            self._burst_left = BURST_TURNS
        return None
