"""The body of a REST request, form or JSON, and its parameters one by one.

Kraken's REST wants text where WebSocket wants numbers, and takes either: `"volume": "1.25"` and `"volume": 1.25` are
the same. A form writes nested parameters with brackets, `close[ordertype]=limit` or `orders[0][volume]=1`.
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
    """Is the body meant as JSON? One that begins like an object is, whatever its header says."""
    return content_type.startswith("application/json") or body.lstrip()[:1] == b"{"


def read_body(body: bytes, content_type: str) -> dict[str, Any] | None:
    """The parameters of a request; None when the body is neither form nor JSON object."""
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
    """`[("close[price]", "1")]` becomes `{"close": {"price": "1"}}`; a key that comes twice counts once, the first."""
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
    """Named parameters, asked for by type; VenueReject names the one that cannot be read.

    None and empty text mean that a parameter was not given, as clients fill in forms.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def has(self, name: str) -> bool:
        """Was it given, and not empty?"""
        return self._fields.get(name) not in (None, "")

    def raw(self, name: str) -> Any:
        """As it came; None when it did not."""
        return self._fields.get(name)

    def text(self, name: str) -> str | None:
        """A text; None when it was not given."""
        value = self._fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise invalid(name)
        return value

    def required(self, name: str) -> str:
        """A text that has to be there."""
        value = self.text(name)
        if value is None:
            raise invalid(name)
        return value

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """One of these texts."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise invalid(name)
        return value

    def flag(self, name: str) -> bool:
        """A yes or no: JSON's own, or a text; no when it was not given."""
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
        """A number without exponent."""
        value = self._fields.get(name)
        if value is None or value == "":
            return None
        number = to_decimal(value)
        if number is None:
            raise invalid(name)
        return number

    def integer(self, name: str) -> int | None:
        """A whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[+-]?\d{1,19}", value):
            raise invalid(name)
        return int(value)

    def elements(self, name: str) -> list[Any]:
        """The elements of a list; empty when it was not given."""
        return elements(self._fields[name], name) if self.has(name) else []

    def texts(self, name: str) -> list[str]:
        """The texts of a list; empty when it was not given."""
        values = self.elements(name)
        if not all(isinstance(value, (str, int)) for value in values):
            raise invalid(name)
        return [str(value) for value in values]

    def inner(self, name: str) -> "Params | None":
        """The parameters of an object; None when it was not given."""
        value = self._fields.get(name)
        if value is None or value == "" or value == {}:
            return None
        if not isinstance(value, dict):
            raise invalid(name)
        return Params(value)

    def moment(self, name: str, at: WallNs) -> WallNs | None:
        """A time in seconds since 1970, or `+n` seconds from now; None when it was not given or is 0."""
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
        """The parameter `deadline`: RFC 3339."""
        value = self.text("deadline")
        if value is None:
            return None
        at = wall_ns(value.replace("+00:00", "Z").replace(" ", "T")) if _DEADLINE.fullmatch(value) else 0
        if not at:
            raise invalid("deadline")
        return WallNs(at)


def to_decimal(value: object) -> Decimal | None:
    """A number of JSON or of text; None for what is none, or has an absurd number of digits."""
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
    """The nonce of a body as text, whether it came as number or text; None without a usable one."""
    nonce = fields.get("nonce")
    if isinstance(nonce, bool) or not isinstance(nonce, (int, str)):
        return None
    return str(nonce)


def unreadable() -> VenueReject:
    """What is said of a body that is neither form nor JSON object."""
    return VenueReject("EAPI:Bad request")
