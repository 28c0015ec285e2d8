"""Kraken's book guide, obeyed to the letter and without a thought for speed: the judge of
`Book`.

Text in, text out: a level is a pair of strings as the wire has them, and no code is
shared with the engine.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

import json
import zlib
from decimal import Decimal
from functools import lru_cache

CHECKSUM_LEVELS = 10

# Books of captures say the same few numbers again and again, each as the same text.
number = lru_cache(100_000)(Decimal)


@lru_cache(100_000)
def token(price, qty):
    """A level's part of the checksum's text: "remove the decimal point, then leading zeros" of both."""
    return "".join(each.replace(".", "").lstrip("0") for each in (price, qty))


class NaiveBook:
    """Two dicts of price to (price text, quantity text), sorted and cut after each message."""

    def __init__(self, depth):
        self.depth = depth
        self.bids = {}
        self.asks = {}

    def apply(self, bids, asks):
        """ "Process the entries in the order of the array": quantity 0 removes, anything
        else replaces.
        """
        if bids:
            self.bids = self._side(self.bids, bids, is_bid=True)
        if asks:
            self.asks = self._side(self.asks, asks, is_bid=False)

    def _side(self, side, levels, *, is_bid):
        for price, qty in levels:
            if number(qty) == 0:
                side.pop(number(price), None)
            else:
                side[number(price)] = (price, qty)
        # "Truncate your book to the subscribed depth."
        return dict(sorted(side.items(), reverse=is_bid)[: self.depth])

    def levels(self, side):
        """Texts of one side, best first."""
        return list({"bids": self.bids, "asks": self.asks}[side].values())

    def checksum(self):
        """Asks ascending, then bids descending, ten at most; without the point and leading
        zeros.
        """
        top = self.levels("asks")[:CHECKSUM_LEVELS] + self.levels("bids")[:CHECKSUM_LEVELS]
        return zlib.crc32("".join([token(*level) for level in top]).encode("ascii"))

    def crossed(self):
        """Does the best bid reach the best ask?"""
        return bool(self.bids and self.asks and next(iter(self.bids)) >= next(iter(self.asks)))


def text(units, decimals):
    """Kraken's text of a whole number of units: every decimal of the pair, no exponent."""
    digits = str(units).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def read(frame):
    """One frame as plain objects, its numbers as their text."""
    return json.loads(frame, parse_float=str, parse_int=str)


def sides(entry):
    """The bids and asks of one entry of `read`'s, as texts."""
    return tuple([(level["price"], level["qty"]) for level in entry[side]] for side in ("bids", "asks"))
