"""Exact texts for requests: numbers, times and strings, as Kraken's front end accepts them.

Kraken wants JSON numbers, not strings, for prices and quantities. A whole number gets a
decimal point too: the front end asks for a `number_float`, and only the form with a point
is proven. There is never an exponent and never a float.
"""

from decimal import Decimal
from json.encoder import encode_basestring_ascii

from engine.errors import MisuseError
from engine.timestamps import second_text
from engine.units import DIGITS_MAX, NS_PER_MS, NS_PER_S, WallNs, units_text

quoted = encode_basestring_ascii
"""A JSON string with its quotes; C code of the standard library, as fast as a lookup."""


def units_number(units: int, decimals: int) -> str:
    """The JSON number of a count of ticks or lots.

    >>> units_number(5, 2), units_number(7, 0)
    ('0.05', '7.0')
    """
    return units_text(units, decimals) if decimals else f"{units}.0"


def decimal_text(value: Decimal) -> str:
    """The digits of a Decimal without an exponent, which REST takes as a string."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -DIGITS_MAX or value.adjusted() > DIGITS_MAX:
        raise MisuseError(f"{value} is not a number that can be sent")
    return f"{value:f}"


def decimal_number(value: Decimal) -> str:
    """The JSON number of a Decimal.

    >>> decimal_number(Decimal("1E+3")), decimal_number(Decimal("-0.50"))
    ('1000.0', '-0.50')
    """
    text = decimal_text(value)
    return text if "." in text else f"{text}.0"


def time_ms_text(at: WallNs) -> str:
    """RFC 3339 with milliseconds, rounded down, so that a deadline never becomes later.

    >>> time_ms_text(WallNs(1721555639050999999))
    '2024-07-21T09:53:59.050Z'
    """
    second, rest = divmod(at, NS_PER_S)
    return f"{second_text(second)}.{rest // NS_PER_MS:03d}Z"


def time_s_text(at: WallNs) -> str:
    """RFC 3339 in whole seconds, rounded down, for expire_time and effective_time.

    >>> time_s_text(WallNs(1721555639999999999))
    '2024-07-21T09:53:59Z'
    """
    return f"{second_text(at // NS_PER_S)}Z"
