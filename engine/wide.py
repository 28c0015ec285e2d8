"""Numbers beyond 64 bits in records of fixed size: Kraken lists coins of which a billion
cost a cent.

A level of a book has 16 bytes. Nearly always they are two words:

    bit  0                            64                           127
         ┌────────────────────────────┬────────────────────────────┬───┐
         │ price in ticks             │ quantity in lots           │ 0 │
         └────────────────────────────┴────────────────────────────┴───┘

A level of which a number needs more than 63 bits is one number of 128 bits, which says
itself where it is cut:

    bit  0              p                                120       127
         ┌──────────────┬────────────────────────────────┬─────────┬───┐
         │ price        │ quantity                       │ p       │ 1 │
         └──────────────┴────────────────────────────────┴─────────┴───┘

So price and quantity may have 120 bits together: a level worth 10**18 of the quote currency
at ten price and eight quantity decimals. *Instead of* 32 bytes a level, which would double
each slot of the ring for a handful of pairs.

The numbers of other records, which are rarer, have 128 bits each, with their sign: 38
digits.
"""

from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct as Packing
from struct import error as PackingError
from typing import Final

from engine.units import PriceTicks, QtyLots

LEVEL_BYTES: Final = 16
NUMBER_BYTES: Final = 16
LEVEL_BITS_MAX: Final = 120  # of price and quantity together

_TWO_WORDS: Final = Packing("<qq")
_WORD_MAX: Final = 2**63 - 1
_WORD_MASK: Final = 2**64 - 1
_WIDE: Final = 1 << 127


def pack_levels(units: Sequence[int]) -> bytes:
    """Pack price in ticks, quantity in lots, price, quantity, … into 16 bytes a level.

    Raises OverflowError when a price and its quantity have more than 120 bits together.
    """
    return b"".join(_pack_level(ticks, lots) for ticks, lots in zip(units[::2], units[1::2], strict=True))


def _pack_level(ticks: int, lots: int) -> bytes:
    if ticks <= _WORD_MAX and lots <= _WORD_MAX:
        return _TWO_WORDS.pack(ticks, lots)
    price_bits = ticks.bit_length()
    if price_bits + lots.bit_length() > LEVEL_BITS_MAX:
        raise OverflowError(f"a level of {ticks} ticks and {lots} lots has more than {LEVEL_BITS_MAX} bits")
    return (_WIDE | price_bits << LEVEL_BITS_MAX | lots << price_bits | ticks).to_bytes(LEVEL_BYTES, "little")


def wide_level(first_word: int, second_word: int) -> tuple[PriceTicks, QtyLots]:
    """Ticks and lots of a wide level: one whose second word is negative as a signed number."""
    level = (second_word & _WORD_MASK) << 64 | (first_word & _WORD_MASK)
    price_bits = level >> LEVEL_BITS_MAX & 0x7F
    both = level & (1 << LEVEL_BITS_MAX) - 1
    return PriceTicks(both & (1 << price_bits) - 1), QtyLots(both >> price_bits)


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Pack signed numbers into 128 bits each; raises OverflowError when one needs more."""
    try:  # hot: nearly always none is negative or needs more than 64 bits
        return _word_packer(len(numbers))(*numbers)
    except PackingError:
        return pack_signed(numbers)


@cache
def _word_packer(count: int) -> Callable[..., bytes]:
    """Packs so many numbers of 64 bits without a sign into 128 bits each."""
    return Packing("<" + "Q8x" * count).pack


def pack_signed(numbers: Sequence[int]) -> bytes:
    """The same as `pack_numbers`; faster for numbers of which some are negative."""
    return b"".join(number.to_bytes(NUMBER_BYTES, "little", signed=True) for number in numbers)


def unpack_numbers(record: bytes, offset: int, count: int) -> list[int]:
    """Unpack `count` signed numbers of 128 bits, from `offset` on."""
    end = offset + count * NUMBER_BYTES
    return [
        int.from_bytes(record[start : start + NUMBER_BYTES], "little", signed=True)
        for start in range(offset, end, NUMBER_BYTES)
    ]
