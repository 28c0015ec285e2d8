"""Kraken's book guide, obeyed to the letter and without a thought for speed: the judge of
`Book`.

Text in, text out: a level is a pair of strings as the wire has them, and no code is
shared with the engine.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

import json
import zlib
from decimal import Decimal

CHECKSUM_LEVELS = 10


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
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, qty in levels:
                if Decimal(qty) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = (price, qty)
        # "Truncate your book to the subscribed depth."
        self.bids = dict(sorted(self.bids.items(), reverse=True)[: self.depth])
        self.asks = dict(sorted(self.asks.items())[: self.depth])

    def levels(self, side):
        """Texts of one side, best first."""
        return list({"bids": self.bids, "asks": self.asks}[side].values())

    def checksum(self):
        """Asks ascending, then bids descending, ten at most; without the point and leading
        zeros.
        """
        top = self.levels("asks")[:CHECKSUM_LEVELS] + self.levels("bids")[:CHECKSUM_LEVELS]
        text = "".join(number.replace(".", "").lstrip("0") for level in top for number in level)
        return zlib.crc32(text.encode("ascii"))

    def crossed(self):
        """Does the best bid reach the best ask?"""
        return bool(self.bids and self.asks and max(self.bids) >= min(self.asks))


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
