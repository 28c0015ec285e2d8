"""Arithmetic of money that does not depend on the precision a thread has set: sums and products are exact.

Sixty digits hold any product of a price and a quantity that `engine.units` lets in. A quotient (an average price) is
rounded there, the same on every replay.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

MONEY: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

add = MONEY.add
subtract = MONEY.subtract
multiply = MONEY.multiply
divide = MONEY.divide

_QUOTIENT: Final = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
_ONE: Final = Decimal(1)


def average(total: Decimal, count: Decimal) -> Decimal:
    """A quotient for people: 28 digits at most, and no zeros behind them that say nothing."""
    quotient = _QUOTIENT.divide(total, count).normalize(_QUOTIENT)
    # 12E+3 is how an exponent begins to be seen by people.
    return quotient.quantize(_ONE, context=MONEY) if quotient == quotient.to_integral_value() else quotient
