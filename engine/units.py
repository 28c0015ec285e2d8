"""The units of the engine, one type for each: ticks are never added to lots.

Integers inside, text at the border. Kraken's text of a number at its pair's precision,
without the point and leading zeros, *is* `str(ticks)` and `str(lots)`.

A count of units means nothing without its scale, the decimals that it was made with, and
Kraken changes those of a pair while it trades. So a count that goes to another process, to
the disk or into a later hour carries its scale, and two counts meet only after `aligned`,
or as Decimals.
"""

import re
from collections.abc import Sequence
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from functools import lru_cache
from itertools import islice
from typing import NewType

PriceTicks = NewType("PriceTicks", int)
"""A price × 10**price_decimals, those of the record that it stands in."""

QtyLots = NewType("QtyLots", int)
"""A quantity × 10**qty_decimals, those of the record that it stands in."""

WallNs = NewType("WallNs", int)
"""Nanoseconds since 1970 UTC; may be compared across hosts."""

MonoNs = NewType("MonoNs", int)
"""Nanoseconds of CLOCK_MONOTONIC; compares only on this host, between any of its processes."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
PPM = 1_000_000  # parts of one

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1  # the range of a word of shared memory, of a record and of MessagePack
UNITS_MAX = INT64_MAX  # ticks or lots: no record, journal or database holds more
DIGITS_MAX = 30  # before and after the point: "1e999999999" is eleven bytes of text and gigabytes of integer

# Never rounds, whatever precision a strategy has set for its thread's arithmetic.
_EXACT = Context(prec=2 * DIGITS_MAX + 4, traps=[Inexact, InvalidOperation])

_multiply = _EXACT.multiply
_UNIT = tuple(
    Decimal(1).scaleb(-decimals) for decimals in range(2 * DIGITS_MAX)
)  # by decimals: twice what any pair has


def units_text(units: int, decimals: int) -> str:
    """Exact text of `units` × 10**-decimals: `units_text(5, 2) == "0.05"`, as Kraken writes
    it.
    """
    if decimals == 0:
        return str(units)
    sign, digits = ("-", -units) if units < 0 else ("", units)
    text = str(digits).zfill(decimals + 1)
    return f"{sign}{text[:-decimals]}.{text[-decimals:]}"


def units_decimal(units: int, decimals: int) -> Decimal:
    """`units` × 10**-decimals, exact: `units_decimal(50, 2) == Decimal("0.50")`."""
    return _multiply(units, _UNIT[decimals])


def decimals_of(number: Decimal) -> int:
    """How many decimals a number is written with: 2 for 0.50; 0 for one that is not finite."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def decimal_units(value: Decimal, decimals: int) -> int:
    """`value` as a whole number of 10**-decimals.

    Raises ValueError when it is finer than that, not finite, or of absurd size.
    """
    if not value.is_finite() or value.adjusted() > DIGITS_MAX or decimals > DIGITS_MAX:
        raise ValueError(f"{value} is not a number of units")
    try:
        return int(value.scaleb(decimals, _EXACT).to_integral_exact(None, _EXACT))
    except DecimalException:
        raise ValueError(f"{value} has more than {decimals} decimals") from None


def written_units(
    numbers: Sequence[Decimal], counts: tuple[int, ...], least_decimals: tuple[int, ...]
) -> tuple[list[int], tuple[int, ...]]:
    """(units, decimals) of groups of numbers, `counts` in each, one group after the other.

    All numbers of a group are in one scale: the coarsest of its `least_decimals` or more
    that has every decimal they are written with, so 0.50 needs two. Raises ValueError when
    one is not finite, of absurd size, or has absurdly many decimals.
    """
    # Hot: by text, since arithmetic of Decimals costs several times as much; and all at
    # once, since nearly always they are written with the decimals of their pair.
    joined = ",".join(map(str, numbers))
    if "E" in joined:  # of 0.00000000 and 0.00000012
        joined = ",".join(map(_plain_text, numbers))
    if _plain_numbers(counts, least_decimals).fullmatch(joined):
        return list(map(int, joined.replace(".", "").split(","))), least_decimals
    units: list[int] = []
    scales: list[int] = []
    texts = map(_plain_text, numbers)
    for count, least in zip(counts, least_decimals, strict=True):
        group = list(islice(texts, count))
        written = [len(text.partition(".")[2]) for text in group]
        decimals = max(least, *written)
        units += [int(text.replace(".", "")) * 10 ** (decimals - own) for text, own in zip(group, written, strict=True)]
        scales.append(decimals)
    return units, tuple(scales)


@lru_cache(maxsize=256)  # a few scales of pairs, times three kinds of messages
def _plain_numbers(counts: tuple[int, ...], decimals: tuple[int, ...]) -> re.Pattern[str]:
    """Matches numbers without an exponent and within DIGITS_MAX, each with the decimals of
    its group.
    """
    number = [rf"-?[0-9]{{1,{DIGITS_MAX}}}" + (rf"\.[0-9]{{{places}}}" if places else "") for places in decimals]
    return re.compile(",".join(text for text, count in zip(number, counts, strict=True) for _ in range(count)))


def _plain_text(number: Decimal) -> str:
    """The digits of a number without an exponent; ValueError beyond DIGITS_MAX before or
    after the point.
    """
    text = str(number)
    if len(text) <= DIGITS_MAX and text.lstrip("-").replace(".", "").isdigit():
        return text
    if number.is_finite() and -DIGITS_MAX <= number.adjusted() <= DIGITS_MAX:
        text = f"{number:f}"
        if len(text.partition(".")[2]) <= DIGITS_MAX:
            return text
    raise ValueError(f"{number} is not a number of units")


def rescaled(units: int, decimals: int, finer: int) -> int:
    """The same amount as a count of 10**-finer; raises ValueError when those units are
    coarser.
    """
    if finer < decimals:
        raise ValueError(f"{units} × 10**-{decimals} cannot be told in units of 10**-{finer}")
    factor: int = 10 ** (finer - decimals)
    return units * factor


def aligned(units: int, decimals: int, others: int, their_decimals: int) -> tuple[int, int]:
    """Two counts of different units as counts of the smaller unit, exact: comparable,
    addable.
    """
    if decimals == their_decimals:
        return units, others
    finer = max(decimals, their_decimals)
    return rescaled(units, decimals, finer), rescaled(others, their_decimals, finer)


def exact_units(value: Decimal, least_decimals: int) -> tuple[int, int]:
    """(units, decimals) of `value`, in the coarsest scale with `least_decimals` or more
    that is exact.

    Raises ValueError when it is not finite, absurd, finer than any scale, or more than
    `UNITS_MAX` units.
    """
    for decimals in range(least_decimals, DIGITS_MAX + 1):
        try:
            units = decimal_units(value, decimals)
        except ValueError:
            continue
        if abs(units) > UNITS_MAX:
            break
        return units, decimals
    raise ValueError(f"{value} cannot be told in whole units")
