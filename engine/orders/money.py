"""Arithmetic of money that does not depend on the precision a thread has set: sums and products are exact.

Sixty digits hold any product of a price and a quantity that `engine.units` lets in. A quotient (an average price) is
rounded there, the same on every replay.
"""

from decimal import ROUND_HALF_EVEN, Context, DivisionByZero, InvalidOperation, Overflow
from typing import Final

MONEY: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

add = MONEY.add
subtract = MONEY.subtract
multiply = MONEY.multiply
divide = MONEY.divide
average = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]).divide
"""A quotient for people: 28 digits."""
