"""Arithmetic of money, independent of the decimal context of the thread: sums and products
are exact.

Sixty digits hold any product of a price and a quantity that `engine.units` accepts.
Quotients (an average price, the share of a cost) are rounded, in the same way on every
replay.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import reduce
from typing import Final

MONEY: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

AVERAGE_DIGITS: Final = 16

add = MONEY.add
subtract = MONEY.subtract
multiply = MONEY.multiply
divide = MONEY.divide

_QUOTIENT: Final = Context(
    prec=AVERAGE_DIGITS, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]
)
_ONE: Final = Decimal(1)
_TRILLIONTH: Final = Decimal(1).scaleb(-12)


def average(total: Decimal, count: Decimal) -> Decimal:
    """A quotient of at most sixteen digits, without trailing zeros."""
    quotient = _QUOTIENT.divide(total, count).normalize(_QUOTIENT)
    # Without an exponent: 12E+3 becomes 12000.
    return quotient.quantize(_ONE, context=MONEY) if quotient == quotient.to_integral_value() else quotient


def total_of(amounts: Iterable[Decimal]) -> Decimal:
    """Their sum; 0 of none."""
    return reduce(add, amounts, Decimal(0))


def at_precision(amount: Decimal, decimals: int) -> Decimal:
    """An amount as Kraken's ledger books it: rounded to its asset's precision, a half to
    the even neighbour.

    So Kraken's support says, of a fill of 39148.13654 that credited 39148.1365:
    https://github.com/freqtrade/freqtrade/issues/11765
    """
    return amount.quantize(_ONE.scaleb(-decimals), ROUND_HALF_EVEN, context=MONEY)


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`amount` × `part` / `whole`, rounded to a trillionth; exactly `amount` when part is
    whole."""
    return (
        amount
        if part == whole
        else MONEY.divide(MONEY.multiply(amount, part), whole).quantize(_TRILLIONTH, context=MONEY)
    )


def plain(amount: Decimal) -> str:
    """Exact decimal text, without an exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
