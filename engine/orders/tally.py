"""A count and a digest of things told, in any order and in little memory: are two records of a day the same?

The digest is the sum of each thing's hash, so the order does not matter, and one thing missing or told twice shows.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

_MODULUS: Final = 1 << 128


class Tally:
    """What was told so far."""

    __slots__ = ("count", "digest")

    def __init__(self) -> None:
        self.count = 0
        self.digest = 0

    def add(self, *facts: object) -> None:
        """One thing more, as its facts."""
        self.count += 1
        self.digest = (self.digest + _hash(facts)) % _MODULUS

    def remove(self, *facts: object) -> None:
        """One thing that was told before is not so any more."""
        self.count -= 1
        self.digest = (self.digest - _hash(facts)) % _MODULUS

    @classmethod
    def sum(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Several tallies of different things as one."""
        total = cls()
        for tally in tallies:
            total.count += tally.count
            total.digest = (total.digest + tally.digest) % _MODULUS
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.count, self.digest) == (other.count, other.digest)

    def __hash__(self) -> int:
        return hash((self.count, self.digest))


def _hash(facts: tuple[object, ...]) -> int:
    text = "\x1f".join(map(str, facts))
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")
