"""One pair's order book at its subscribed depth, with Kraken's checksum.

A side keeps three columns in the order of its price, best first:

    _keys    SortedList   asks: ticks; bids: -ticks, so that both sides ascend from the best
    units    array        price in ticks, quantity in lots, price, quantity, …
    _tokens  list         checksum text of each level: "64525100877490"

The keys say where a price belongs; the other columns follow them, so the top of
the book is one slice of each. The checksum text and the packed units of the top
are rebuilt only when a change touches the top.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol
from zlib import crc32

from sortedcontainers import SortedList

from engine.units import PriceTicks, QtyLots
from engine.wide import pack_levels

CHECKSUM_LEVELS = 10  # a side, whatever the subscribed depth
# A float × 10**decimals is off by under ½ unit up to here, so rounding is exact.
UNITS_MAX_OF_FLOAT = 2**50
UNITS_MAX_OF_WORD = 2**63 - 1  # what a column of 64-bit words holds
UNBOUNDED = 10**40  # beyond any number Kraken writes


class PricedLevel(Protocol):
    """A level of a message: numbers in the pair's currencies, or ticks and lots when exact."""

    @property
    def price(self) -> float: ...

    @property
    def qty(self) -> float: ...


class UnitsTooLarge(ValueError):
    """A number of a level is too large to be exact as a float: decode the message again as
    text.
    """


class Side:
    """One side of a book."""

    __slots__ = ("_descending", "_keys", "_tokens", "_units_published", "depth", "top_text", "top_units", "units")

    def __init__(self, *, descending: bool, depth: int, publish_levels: int) -> None:
        # Bids have their best price highest.
        self._descending = descending
        # Levels kept; what falls beyond it is never deleted by Kraken, so we drop it.
        self.depth = depth
        # Words in `top_units`: two a level.
        self._units_published = 2 * publish_levels
        # The columns of the module's docstring. The units become a list when a number needs
        # more than 64 bits.
        self._keys = SortedList()
        self.units: array[int] | list[int] = array("q")
        self._tokens: list[bytes] = []
        # The checksum's text of the ten best levels.
        self.top_text = b""
        # Price and quantity of the best `publish_levels` levels, 16 bytes a level as
        # records have them.
        self.top_units = b""

    def __len__(self) -> int:
        return len(self._tokens)

    def levels(self) -> Iterator[tuple[PriceTicks, QtyLots]]:
        """Every level, best first."""
        for index in range(0, len(self.units), 2):
            yield PriceTicks(self.units[index]), QtyLots(self.units[index + 1])

    def best(self) -> tuple[PriceTicks, QtyLots] | None:
        """The best level; None of an empty side."""
        return next(self.levels(), None)

    def clear(self) -> None:
        """Remove every level."""
        self.__init__(  # type: ignore[misc]
            descending=self._descending, depth=self.depth, publish_levels=self._units_published // 2
        )

    def apply(
        self,
        levels: Sequence[PricedLevel],
        price_scale: float,
        qty_scale: float,
        half: float,
        units_max: int,
        changed_from: int,
    ) -> bool:
        """Set or delete each level in wire order and cut to the depth; returns whether the
        top changed.

        `price × price_scale + half`, cut to an integer, is the price in ticks, the
        same for quantities; numbers that are units already come with scales 1 and
        half 0. A level of more units than `units_max` raises UnitsTooLarge before it
        changes anything; what came before it stays applied, and applying the whole
        message again is harmless: levels are absolute. `changed_from` is the best
        index that such a first try may have changed; UNBOUNDED when there was none.
        """
        # Hot: every book update runs through here once or twice, so locals, and no calls
        # that can be spared.
        keys, units, tokens = self._keys, self.units, self._tokens
        place_of = keys.bisect_left
        descending = self._descending
        count = len(tokens)
        for level in levels:
            ticks = int(level.price * price_scale + half)
            lots = int(level.qty * qty_scale + half)
            if ticks > units_max or lots > units_max:
                raise UnitsTooLarge(f"{max(ticks, lots)} units")
            key = -ticks if descending else ticks
            index = place_of(key)
            if index < count and units[2 * index] == ticks:
                if lots:
                    units[2 * index + 1] = lots
                    tokens[index] = b"%d%d" % (ticks, lots)
                else:
                    del keys[index], units[2 * index : 2 * index + 2], tokens[index]
                    count -= 1
            elif lots:
                keys.add(key)
                units.insert(2 * index, lots)
                units.insert(2 * index, ticks)
                tokens.insert(index, b"%d%d" % (ticks, lots))
                count += 1
            else:
                continue  # a delete of a level that we dropped, or never had
            if index < changed_from:
                changed_from = index

        # Book guide: "truncate your book to the subscribed depth"; levels that fall out of
        # it get no delete.
        depth = self.depth
        if count > depth:
            del units[2 * depth :], tokens[depth:]  # at once, or the array keeps its memory
            while count > depth:
                count -= 1
                del keys[count]

        units_published = self._units_published
        if changed_from >= CHECKSUM_LEVELS and 2 * changed_from >= units_published:
            return False
        self.top_text = b"".join(tokens if count <= CHECKSUM_LEVELS else tokens[:CHECKSUM_LEVELS])
        top = units if 2 * count <= units_published else units[:units_published]
        # A column of words is what a record holds already; OverflowError of `pack_levels`:
        # no record can carry it.
        self.top_units = top.tobytes() if type(top) is array else pack_levels(top)
        return True

    def widen(self) -> None:
        """Make room for numbers of more than 64 bits, as in pairs of nearly worthless
        coins.
        """
        self.units = list(self.units)

    def check(self) -> None:
        """Assert every invariant of a side."""
        levels = list(self.levels())
        assert list(self._keys) == [-ticks if self._descending else ticks for ticks, _ in levels]
        assert all(a < b for a, b in pairwise(self._keys))
        assert len(levels) == len(self._tokens) <= self.depth
        assert all(lots > 0 for _, lots in levels)
        assert self._tokens == [b"%d%d" % level for level in levels]
        assert self.top_text == b"".join(self._tokens[:CHECKSUM_LEVELS])
        assert self.top_units == pack_levels(self.units[: self._units_published])


class Book:
    """Both sides of one pair.

        messages ──► apply() ──► checksum(), crossed(), bids and asks

    The owner compares the checksum and decides what a wrong one means.
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
        # CRC32 of the asks' text alone: the bids' text continues it, so a change of bids
        # leaves it as it is.
        self._asks_crc = 0

    def apply(self, bids: Sequence[PricedLevel], asks: Sequence[PricedLevel]) -> int:
        """Apply one message to both sides, in wire order; returns the checksum of the
        result.

        Raises UnitsTooLarge when a number is too large to be exact; apply the message with
        `apply_units` then.
        """
        # Hot: no calls that can be avoided.
        if asks and self.asks.apply(asks, self._price_scale, self._qty_scale, 0.5, UNITS_MAX_OF_FLOAT, UNBOUNDED):
            self._asks_crc = crc32(self.asks.top_text)
        if bids:
            self.bids.apply(bids, self._price_scale, self._qty_scale, 0.5, UNITS_MAX_OF_FLOAT, UNBOUNDED)
        return crc32(self.bids.top_text, self._asks_crc)

    def apply_units(self, bids: Sequence[PricedLevel], asks: Sequence[PricedLevel]) -> None:
        """Apply one message of ticks and lots, of any size.

        Raises OverflowError when a level of the top exceeds the 120 bits of a record, see
        `engine.wide`.
        """
        for side, levels in ((self.asks, asks), (self.bids, bids)):
            try:
                side.apply(levels, 1, 1, 0, UNITS_MAX_OF_WORD, 0)
            except UnitsTooLarge:
                side.widen()
                side.apply(levels, 1, 1, 0, UNBOUNDED, 0)
        self._asks_crc = crc32(self.asks.top_text)

    def clear(self) -> None:
        """Remove every level."""
        self.bids.clear()
        self.asks.clear()
        self._asks_crc = 0

    def checksum(self) -> int:
        """CRC32 over the ten best asks, then the ten best bids, fewer when the book is
        thin.

        Kraken: price and quantity at full precision, without the point and leading
        zeros, which is exactly `str(ticks)` and `str(lots)`.
        """
        return crc32(self.bids.top_text, self._asks_crc)

    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask; valid after a whole message
        only.
        """
        bids, asks = self.bids.units, self.asks.units
        return bids[0] >= asks[0] if bids and asks else False

    def check(self) -> None:
        """Assert every invariant of both sides, and that the book is not crossed."""
        self.bids.check()
        self.asks.check()
        assert self._asks_crc == crc32(self.asks.top_text)
        assert not self.crossed()
