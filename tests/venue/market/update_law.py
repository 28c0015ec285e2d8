"""The update law and the checksum of Kraken's book channel, checked from the text of the
frames alone.

Written from the protocol's description and proved on genuine captures; it shares no line
with the venue. A number is the text that came over the wire, so a lost zero is a wrong
checksum.
"""

import json
import zlib
from bisect import bisect_left, insort
from decimal import Decimal
from functools import lru_cache
from typing import Any

CHECKSUM_LEVELS = 10

number = lru_cache(100_000)(Decimal)
"""A price or quantity: a book says the same ones again and again."""


@lru_cache(100_000)
def token(price: str, qty: str) -> str:
    """A level's part of the checksum's text: both numbers without their point and leading zeros."""
    return price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")


def read(frame: str) -> dict[str, Any]:
    """A message with its numbers as text."""
    message = json.loads(frame, parse_float=str, parse_int=str)
    assert isinstance(message, dict)
    return message


class LawBook:
    """One symbol at one depth as a client holds it: every entry must obey the law, every
    message its checksum.

    `shorter` says that the venue's own book may have fewer levels than the depth, so a full
    window need not stay so.
    """

    def __init__(self, depth: int, shorter: bool = False) -> None:
        self.depth = depth
        self.shorter = shorter
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}
        # The prices of each side, ascending: a deep book cannot be sorted anew for each message.
        self.prices: dict[str, list[Decimal]] = {"bids": [], "asks": []}
        self.last_timestamp = ""
        self.tally = {"modify": 0, "delete": 0, "insert": 0, "refill": 0, "grown refill": 0, "both sides": 0}

    def take(self, message: dict[str, Any]) -> None:
        """Apply a snapshot or an update."""
        (entry,) = message["data"]
        if message["type"] == "snapshot":
            self._snapshot(entry)
        else:
            assert entry["timestamp"] > self.last_timestamp, "timestamps increase strictly"
            assert entry["bids"] or entry["asks"], "no message without a change"
            self.tally["both sides"] += bool(entry["bids"] and entry["asks"])
            for name in ("bids", "asks"):
                self._update(name, entry[name])
        self.last_timestamp = entry["timestamp"]
        self._check_shape()
        assert int(entry["checksum"]) == self.checksum()

    def checksum(self) -> int:
        """The best ten asks, then the best ten bids: number text without its point and
        leading zeros.
        """
        best = [("asks", key) for key in self.prices["asks"][:CHECKSUM_LEVELS]]
        best += [("bids", key) for key in self.prices["bids"][: -CHECKSUM_LEVELS - 1 : -1]]
        levels = [self.sides[name][key] for name, key in best]
        return zlib.crc32("".join([token(*level) for level in levels]).encode())

    def levels(self, name: str) -> list[tuple[str, str]]:
        """Price and quantity text, best first."""
        return [self.sides[name][key] for key in sorted(self.sides[name], reverse=name == "bids")]

    def _snapshot(self, entry: dict[str, Any]) -> None:
        for name in ("bids", "asks"):
            prices = [number(level["price"]) for level in entry[name]]
            assert prices == sorted(prices, reverse=name == "bids"), "a snapshot is told best first"
            assert len(prices) == len(set(prices)) <= self.depth
            self.sides[name] = {number(level["price"]): (level["price"], level["qty"]) for level in entry[name]}
            self.prices[name] = sorted(prices)

    def _update(self, name: str, entries: list[dict[str, str]]) -> None:
        side, prices = self.sides[name], self.prices[name]
        worst_of, worst = (min, 0) if name == "bids" else (max, -1)
        must_refill: Decimal | None = None  # the worst price before the delete that must be followed by its refill
        refilled: Decimal | None = None  # the refill just told, which may grow order by order
        for entry in entries:
            key, gone = number(entry["price"]), number(entry["qty"]) == 0
            if must_refill is not None and not self.shorter:
                assert not gone, "a delete at full depth is followed by its refill"
            if gone:
                assert key in side, "a delete hits a level that is there"
                must_refill = prices[worst] if len(side) == self.depth else None
                del side[key], prices[bisect_left(prices, key)]
                refilled = None
                self.tally["delete"] += 1
            elif key in side:
                assert number(side[key][1]) != number(entry["qty"]), "a modify changes the quantity"
                if key == refilled:
                    assert number(entry["qty"]) > number(side[key][1]), "a refill told order by order grows"
                    self.tally["grown refill"] += 1
                else:
                    refilled = None
                    self.tally["modify"] += 1
                side[key] = (entry["price"], entry["qty"])
            else:
                if must_refill is not None and not self.shorter:
                    assert key == worst_of(key, must_refill) != must_refill, "a refill comes from beyond the worst"
                    refilled = key
                    self.tally["refill"] += 1
                elif len(side) == self.depth:
                    assert worst_of(key, prices[worst]) != key, "an insert lands inside the window"
                    self.tally["insert"] += 1
                must_refill = None
                side[key] = (entry["price"], entry["qty"])
                insort(prices, key)
                if len(side) > self.depth:
                    del side[prices.pop(worst)]
        assert must_refill is None or self.shorter, "a delete at full depth is followed by its refill"

    def _check_shape(self) -> None:
        for name, side in self.sides.items():
            assert len(side) == self.depth or (self.shorter and len(side) < self.depth)
            assert len(side) == len(self.prices[name])
        if self.sides["bids"] and self.sides["asks"]:
            assert self.prices["bids"][-1] < self.prices["asks"][0], "never crossed after a message"
