"""The body of a REST request, form or JSON, and its parameters by type.

Kraken's REST wants text where WebSocket wants numbers, and accepts either: `"volume":
"1.25"` and `"volume": 1.25` are the same. A form writes nested parameters with brackets,
`close[ordertype]=limit` or `orders[0][volume]=1`.
"""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from engine.errors import VenueReject
from engine.timestamps import wall_ns
from engine.units import NS_PER_S, WallNs
from engine.venue.trading.order_checks import invalid

FIELDS_MAX: Final = 2000  # of one form: 15 orders of a batch have some 200
DEPTH_MAX: Final = 4  # of brackets: orders[0][close][price]
DIGITS_MAX: Final = 40  # of one number

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_KEY: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_DEADLINE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?")


def is_json(body: bytes, content_type: str) -> bool:
    """Whether to read the body as JSON: a body that begins like an object is, whatever its
    header says.
    """
    return content_type.startswith("application/json") or body.lstrip()[:1] == b"{"


def read_body(body: bytes, content_type: str) -> dict[str, Any] | None:
    """The parameters of a request; None when the body is neither a form nor a JSON object."""
    if is_json(body, content_type):
        try:
            fields = _decode(body) if body.strip() else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation):
            return None
        return fields if isinstance(fields, dict) else None
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except (UnicodeDecodeError, ValueError):
        return None
    return read_form(pairs)


def read_form(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nest a form's pairs: `[("close[price]", "1")]` becomes `{"close": {"price": "1"}}`.

    Of a key that comes twice the first counts.
    """
    fields: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            continue
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        if len(path) > DEPTH_MAX:
            continue
        inner = fields
        for step in path[:-1]:
            child = inner.setdefault(step, {})
            if not isinstance(child, dict):
                break
            inner = child
        else:
            last = path[-1] or str(len(inner))  # orders[]=A&orders[]=B
            inner.setdefault(last, value)
    return fields


def elements(value: object, name: str) -> list[Any]:
    """The elements of a list: JSON's own, a form's `name[0]`, or a text with commas."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    raise invalid(name)


class Params:
    """Named parameters, read by type; VenueReject names the one that cannot be read.

    None and empty text count as not given, because clients fill in forms with them.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def has(self, name: str) -> bool:
        """Whether the parameter was given and is not empty."""
        return self._fields.get(name) not in (None, "")

    def raw(self, name: str) -> Any:
        """The value as it was received; None when it was not."""
        return self._fields.get(name)

    def text(self, name: str) -> str | None:
        """A text; None when not given."""
        value = self._fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise invalid(name)
        return value

    def required(self, name: str) -> str:
        """A text that must be given."""
        value = self.text(name)
        if value is None:
            raise invalid(name)
        return value

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """One of these texts; None when not given."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise invalid(name)
        return value

    def flag(self, name: str) -> bool:
        """True or false, from JSON's own or from text; False when not given."""
        value = self._fields.get(name)
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if value is None or text in ("", "false", "0", "no"):
            return False
        if text in ("true", "1", "yes"):
            return True
        raise invalid(name)

    def decimal(self, name: str) -> Decimal | None:
        """A number without exponent; None when not given."""
        value = self._fields.get(name)
        if value is None or value == "":
            return None
        number = to_decimal(value)
        if number is None:
            raise invalid(name)
        return number

    def integer(self, name: str) -> int | None:
        """A whole number; None when not given."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[+-]?\d{1,19}", value):
            raise invalid(name)
        return int(value)

    def elements(self, name: str) -> list[Any]:
        """The elements of a list; empty when not given."""
        return elements(self._fields[name], name) if self.has(name) else []

    def texts(self, name: str) -> list[str]:
        """The texts of a list; empty when not given."""
        values = self.elements(name)
        if not all(isinstance(value, (str, int)) for value in values):
            raise invalid(name)
        return [str(value) for value in values]

    def inner(self, name: str) -> "Params | None":
        """The parameters of an object; None when not given."""
        value = self._fields.get(name)
        if value is None or value == "" or value == {}:
            return None
        if not isinstance(value, dict):
            raise invalid(name)
        return Params(value)

    def moment(self, name: str, at: WallNs) -> WallNs | None:
        """A time in seconds since 1970, or `+n` seconds from now; None when not given or 0."""
        value = self.text(name)
        if value is None:
            return None
        number = self.decimal(name)
        if number is None or number < 0 or number.adjusted() > 12:
            raise invalid(name)
        if not number and not value.startswith("+"):
            return None
        ns = int(number * NS_PER_S)
        return WallNs(at + ns if value.startswith("+") else ns)

    def deadline(self) -> WallNs | None:
        """The parameter `deadline`, RFC 3339; None when not given."""
        value = self.text("deadline")
        if value is None:
            return None
        at = wall_ns(value.replace("+00:00", "Z").replace(" ", "T")) if _DEADLINE.fullmatch(value) else 0
        if not at:
            raise invalid("deadline")
        return WallNs(at)


def to_decimal(value: object) -> Decimal | None:
    """A number from JSON or text; None for anything else, and for an absurd number of
    digits.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if len(value) > DIGITS_MAX or not _NUMBER.fullmatch(value.strip()):
            return None
        return Decimal(value.strip())
    if isinstance(value, (int, Decimal)):
        try:
            number = Decimal(value)
        except InvalidOperation:
            return None
        return number if number.is_finite() and abs(number.adjusted()) < DIGITS_MAX else None
    return None


def nonce_of(fields: dict[str, Any]) -> str | None:
    """The nonce of a body as text, whether it was a number or text; None without a usable
    one.
    """
    nonce = fields.get("nonce")
    if isinstance(nonce, bool) or not isinstance(nonce, (int, str)):
        return None
    return str(nonce)


def unreadable() -> VenueReject:
    """The refusal of a body that is neither a form nor a JSON object."""
    return VenueReject("EAPI:Bad request")
