"""A count and a digest of what was told, in any order: compares two records of a day in
little memory.

The digest is the sum of the hashes of all entries: their order does not matter; a missing
or repeated one shows.
"""

from collections.abc import Iterable
from decimal import Decimal
from hashlib import blake2b
from typing import Final

_MODULUS: Final = 1 << 128


class Tally:
    """Count and digest of what was told so far."""

    __slots__ = ("count", "digest")

    def __init__(self) -> None:
        self.count = 0
        self.digest = 0

    def add(self, *fields: object) -> None:
        """Add one entry, given as its fields. Decimals count by value: REST pads the price
        of a fill that the executions channel told without zeros.
        """
        self.count += 1
        self.digest = (self.digest + _hash(fields)) % _MODULUS

    def remove(self, *fields: object) -> None:
        """Subtract one entry that was added before."""
        self.count -= 1
        self.digest = (self.digest - _hash(fields)) % _MODULUS

    @classmethod
    def sum(cls, tallies: Iterable["Tally"]) -> "Tally":
        """One tally of the entries of several."""
        total = cls()
        for tally in tallies:
            total.count += tally.count
            total.digest = (total.digest + tally.digest) % _MODULUS
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.count, self.digest) == (other.count, other.digest)

    def __hash__(self) -> int:
        return hash((self.count, self.digest))


def _hash(fields: tuple[object, ...]) -> int:
    text = "\x1f".join([str(field.as_integer_ratio() if isinstance(field, Decimal) else field) for field in fields])
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")
