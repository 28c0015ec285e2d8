"""One pair's order book, as deep as it is subscribed, proved by Kraken's checksum.

A side keeps four columns in the order of its price, best first:

    _keys    SortedList   asks: ticks; bids: -ticks, so that both sides ascend from the best
    ticks    array        prices
    lots     array        quantities
    _tokens  list         checksum text of each level: "64525100877490"

The keys say where a price belongs; the other columns follow them, so the top of
the book is one slice a column. The checksum text and the packed units of the top
are rebuilt only when a change touches the top.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol
from zlib import crc32

from sortedcontainers import SortedList

from engine.units import PriceTicks, QtyLots

CHECKSUM_LEVELS = 10  # a side, whatever the subscribed depth
UNITS_MAX_OF_FLOAT = 2**50  # a float × 10**decimals is off by under ½ unit up to here, so rounding is exact
UNITS_MAX_OF_WORD = 2**63 - 1  # what a column of 64-bit words holds
UNBOUNDED = 10**40  # beyond any number Kraken writes


class PricedLevel(Protocol):
    """One level as it comes off the wire: numbers in the pair's currencies, or in units when they are exact."""

    @property
    def price(self) -> float: ...

    @property
    def qty(self) -> float: ...


class UnitsTooLarge(ValueError):
    """A level's number is too large to be exact as a float: the message must be read again as text."""


class Side:
    """One side of a book."""

    __slots__ = ("_descending", "_keys", "_levels", "_tokens", "depth", "lots", "ticks", "top_text", "top_units")

    def __init__(self, *, descending: bool, depth: int, publish_levels: int) -> None:
        # Bids have their best price highest.
        self._descending = descending
        # Levels kept; what falls beyond it is never deleted by Kraken, so we drop it.
        self.depth = depth
        # Levels in `top_units`.
        self._levels = publish_levels
        # The columns of the module's docstring. They become lists when a number needs more than 64 bits.
        self._keys = SortedList()
        self.ticks: array[int] | list[int] = array("q")
        self.lots: array[int] | list[int] = array("q")
        self._tokens: list[bytes] = []
        # The checksum's text of the ten best levels.
        self.top_text = b""
        # Prices, then quantities, of the best `publish_levels` levels, as 64-bit little-endian words.
        self.top_units = b""

    def __len__(self) -> int:
        return len(self._tokens)

    def clear(self) -> None:
        """Forget every level."""
        self.__init__(  # type: ignore[misc]
            descending=self._descending, depth=self.depth, publish_levels=self._levels
        )

    def apply(
        self, levels: Sequence[PricedLevel], price_scale: float, qty_scale: float, half: float, units_max: int
    ) -> bool:
        """Set or delete each level in wire order, drop what lies beyond the depth; did the top change?

        `price × price_scale + half`, cut to an integer, is the price in ticks, the
        same for quantities; numbers that are units already come with scales 1 and
        half 0. A level of more units than `units_max` raises UnitsTooLarge before it
        changes anything; what came before it stays applied, and applying the whole
        message again is harmless: levels are absolute.
        """
        # Hot: every book update runs through here once or twice; locals are one load each. The keys are changed
        # by SortedList's methods only, but searched in its one inner list directly (2×load = 2,000 keys fit in
        # it, twice the deepest book), which is four times as fast as its own bisect.
        keys, ticks_column, lots_column, tokens = self._keys, self.ticks, self.lots, self._tokens
        lists = keys._lists
        descending = self._descending
        changed_from = UNBOUNDED  # the best index that changed
        for level in levels:
            ticks = int(level.price * price_scale + half)
            lots = int(level.qty * qty_scale + half)
            if ticks > units_max or lots > units_max:
                raise UnitsTooLarge(f"{max(ticks, lots)} units")
            key = -ticks if descending else ticks
            inner = lists[0] if lists else ()
            index = bisect_left(inner, key)
            present = index < len(inner) and inner[index] == key
            if lots:
                if present:
                    lots_column[index] = lots
                    tokens[index] = b"%d%d" % (ticks, lots)
                else:
                    keys.add(key)
                    ticks_column.insert(index, ticks)
                    lots_column.insert(index, lots)
                    tokens.insert(index, b"%d%d" % (ticks, lots))
            elif present:
                keys.pop(index)
                del ticks_column[index], lots_column[index], tokens[index]
            else:
                continue  # a delete of a level that we dropped, or never had
            if index < changed_from:
                changed_from = index

        # Book guide: "truncate your book to the subscribed depth"; levels that fall out of it get no delete.
        while len(tokens) > self.depth:
            keys.pop()
            del ticks_column[-1], lots_column[-1], tokens[-1]

        if changed_from >= CHECKSUM_LEVELS and changed_from >= self._levels:
            return False
        self._rebuild_top()
        return True

    def widen(self) -> None:
        """Let the columns hold numbers of more than 64 bits: junk orders far from the top can have them."""
        self.ticks = list(self.ticks)
        self.lots = list(self.lots)

    def check(self) -> None:
        """Assert every invariant of a side; for tests, and for whoever doubts."""
        prices = list(self.ticks)
        assert list(self._keys) == [-t if self._descending else t for t in prices]
        assert all(a < b for a, b in pairwise(self._keys))
        assert len(prices) == len(self.lots) == len(self._tokens) <= self.depth
        assert all(lots > 0 for lots in self.lots)
        assert self._tokens == [b"%d%d" % level for level in zip(self.ticks, self.lots, strict=True)]
        assert self.top_text == b"".join(self._tokens[:CHECKSUM_LEVELS])
        top = array("q", [*self.ticks[: self._levels], *self.lots[: self._levels]])
        assert self.top_units == top.tobytes()

    def _rebuild_top(self) -> None:
        self.top_text = b"".join(self._tokens[:CHECKSUM_LEVELS])
        ticks, lots, levels = self.ticks, self.lots, self._levels
        if type(ticks) is array and type(lots) is array:
            self.top_units = ticks[:levels].tobytes() + lots[:levels].tobytes()
        else:
            # OverflowError when the top itself needs more than 64 bits: no record can carry it.
            self.top_units = array("q", [*ticks[:levels], *lots[:levels]]).tobytes()


class Book:
    """Both sides of one pair.

        messages ──► apply() ──► checksum(), crossed(), bids and asks

    The owner decides what a wrong checksum means; the book only knows its levels.
    """

    __slots__ = ("_asks_crc", "_price_scale", "_qty_scale", "asks", "bids", "depth", "price_decimals", "qty_decimals")

    def __init__(self, depth: int, price_decimals: int, qty_decimals: int, publish_levels: int = 10) -> None:
        self.depth = depth
        self.price_decimals = price_decimals
        self.qty_decimals = qty_decimals
        self._price_scale = 10.0**price_decimals
        self._qty_scale = 10.0**qty_decimals
        self.bids = Side(descending=True, depth=depth, publish_levels=publish_levels)
        self.asks = Side(descending=False, depth=depth, publish_levels=publish_levels)
        # CRC32 of the asks' text alone: the bids' text continues it, so a change of bids leaves it as it is.
        self._asks_crc = 0

    def apply(self, bids: Sequence[PricedLevel], asks: Sequence[PricedLevel]) -> None:
        """Apply one message, in wire order, both sides.

        UnitsTooLarge: a number is too large to be exact; apply the same message with `apply_units`.
        """
        if asks and self.asks.apply(asks, self._price_scale, self._qty_scale, 0.5, UNITS_MAX_OF_FLOAT):
            self._asks_crc = crc32(self.asks.top_text)
        if bids:
            self.bids.apply(bids, self._price_scale, self._qty_scale, 0.5, UNITS_MAX_OF_FLOAT)

    def apply_units(self, bids: Sequence[PricedLevel], asks: Sequence[PricedLevel]) -> None:
        """Apply one message whose prices are ticks and whose quantities are lots, of any size.

        OverflowError: the top of the book needs more than 64 bits.
        """
        for side, levels in ((self.asks, asks), (self.bids, bids)):
            try:
                side.apply(levels, 1, 1, 0, UNITS_MAX_OF_WORD)
            except UnitsTooLarge:
                side.widen()
                side.apply(levels, 1, 1, 0, UNBOUNDED)
        self._asks_crc = crc32(self.asks.top_text)

    def clear(self) -> None:
        """Forget every level: a snapshot replaces the book wholesale."""
        self.bids.clear()
        self.asks.clear()
        self._asks_crc = 0

    def checksum(self) -> int:
        """CRC32 over the ten best asks, then the ten best bids, fewer when the book is thin.

        Kraken: price and quantity at full precision, without the point and leading
        zeros, which is exactly `str(ticks)` and `str(lots)`.
        """
        return crc32(self.bids.top_text, self._asks_crc)

    def crossed(self) -> bool:
        """Is the best bid at or above the best ask? Only after a whole message: in between, a sweep may cross."""
        bids, asks = self.bids.ticks, self.asks.ticks
        return bool(bids and asks and bids[0] >= asks[0])

    def best_bid(self) -> tuple[PriceTicks, QtyLots] | None:
        """Price and quantity of the highest bid."""
        side = self.bids
        return (PriceTicks(side.ticks[0]), QtyLots(side.lots[0])) if side.ticks else None

    def best_ask(self) -> tuple[PriceTicks, QtyLots] | None:
        """Price and quantity of the lowest ask."""
        side = self.asks
        return (PriceTicks(side.ticks[0]), QtyLots(side.lots[0])) if side.ticks else None

    def check(self) -> None:
        """Assert every invariant of both sides, and that the book is not crossed."""
        self.bids.check()
        self.asks.check()
        assert self._asks_crc == crc32(self.asks.top_text)
        assert not self.crossed()
