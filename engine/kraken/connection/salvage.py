"""Decoding of messages whose shape differs from the documented one.

Kraken changes types and adds values without a version. A message is decoded as a whole
first, which is fast; when that fails, entry by entry and field by field:

    a field with a default      left at its default, unless the Struct names it in ESSENTIAL
    any other field             its entry cannot be read
    an entry of a list          skipped by `entries_reader`, which returns the error; the others are used

Limits of numbers and texts are part of a field's type (`Annotated[int, Meta(…)]`), so one
beyond them is an invalid value like any other. A message that is no JSON, or nested beyond
the decoder's stack, cannot be read.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

from engine.units import DIGITS_MAX, INT64_MAX, INT64_MIN

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoders raise for any bytes."""

Word = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)]
"""A whole number that a counter, a record and MessagePack can hold."""

ShortText = Annotated[str, Meta(max_length=64)]
"""An id, a name or a time; the longest genuine ones have about 40 characters."""

AssetName = Annotated[str, Meta(max_length=32)]

NULL_TEXTS: Final = frozenset({"", "none", "null", "nil", "0"})
EXACT_FLOAT_MAX = 2**53  # below it a float is the whole number that was written
OUT_OF_RANGE = "Number out of range"

# Maps a text to its form: every digit as 0, letters in lower case.
_FORM: Final = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"0000000000abcdefghijklmnopqrstuvwxyz"
)  # fmt: skip
# What the form of a number beyond the bounds contains: many digits in a row, an exponent,
# NaN or infinity; or an escape that may hide one. Most texts contain none of these, and
# need no check value by value (hot).
_SUSPECT: Final = (
    b"0" * (DIGITS_MAX + 1), b"0e0", b"0e-", b"0e+", b".e0", b".e-", b".e+", b"0_0", b"nan", b"inf", b"\\",
)  # fmt: skip

T = TypeVar("T")

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


class _Message(Struct):
    data: Raw


_decode_message = msgspec.json.Decoder(_Message).decode


def _entries(frame: bytes) -> list[Raw]:
    """The entries of {"data":[…]}, or the only one of {"data":{…}}, as in the instrument
    channel.
    """
    data = _decode_message(frame).data
    return _decode_list(data) if bytes(data).startswith(b"[") else [data]


def is_null(text: str) -> bool:
    """True for the texts with which Kraken's gateways print an absent value, such as
    Python's None.
    """
    return text.strip().lower() in NULL_TEXTS


def cut(text: str, bytes_max: int) -> str:
    """The beginning of a text, at most `bytes_max` bytes of UTF-8."""
    raw = text.encode(errors="replace")
    return text if len(raw) <= bytes_max else raw[:bytes_max].decode(errors="ignore")


class Reader(Generic[T]):
    """Decodes one type, leaving unreadable fields that are not essential at their defaults."""

    def __init__(self, shape: type[T], *, strict: bool = True, is_bounded: bool = False) -> None:
        """`strict=False` accepts numbers that are written as texts, as Kraken's REST does.

        `is_bounded`: a Decimal that is not finite, or has more than DIGITS_MAX digits
        before or after its point, is an invalid value.
        """
        self._shape = shape
        self._is_bounded = is_bounded
        self._decode = msgspec.json.Decoder(shape, strict=strict).decode

    def decode(self, text: bytes | Raw) -> T:
        """The decoded value; raises one of DECODE_ERRORS when an essential field cannot be
        read.
        """
        return self.read(text)[0]

    def read(self, text: bytes | Raw) -> tuple[T, Exception | None]:
        """The same, and the error of the fields that were left out; None when all were
        read.
        """
        try:
            value = self._decode(text)
        except msgspec.ValidationError as error:
            return cast(T, _salvage(self._shape, text)), error
        if self._is_bounded and _is_suspect(text) and not _fits(value):
            return cast(T, _salvage(self._shape, text)), msgspec.ValidationError(OUT_OF_RANGE)
        return value, None


def _is_suspect(text: bytes | Raw) -> bool:
    """Whether the text may contain a number that is not finite or exceeds DIGITS_MAX
    digits.
    """
    form = bytes(text).translate(_FORM)
    return not form.isascii() or any(sign in form for sign in _SUSPECT)


def entries_reader(shape: type[T]) -> Callable[[bytes], tuple[list[T], list[Exception]]]:
    """A function that returns the readable entries of {"data":[…]}, and the errors of the
    others.

    It raises one of DECODE_ERRORS without such a list. A Decimal that is not finite is an
    invalid value.
    """
    message = msgspec.defstruct("Message", [("data", list[shape])])  # type: ignore[valid-type]
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(message).decode

    numbers = [field.name for field in msgspec.structs.fields(cast(type[Struct], shape)) if field.type is Decimal]
    # One of them twice, so that a single one gives a tuple too.
    numbers_of = attrgetter(*numbers, numbers[0]) if numbers else None

    def read(frame: bytes) -> tuple[list[T], list[Exception]]:
        try:
            entries = decode(frame).data
        except msgspec.ValidationError:
            return _read_each(shape, _entries(frame))
        if numbers_of is None or all(all(map(Decimal.is_finite, numbers_of(entry))) for entry in entries):
            return entries, []
        return _read_each(shape, _entries(frame))

    return read


def read_list(shape: type[T], text: bytes | Raw) -> tuple[list[T], list[Exception]]:
    """The readable entries of a bare list, and the errors of the others."""
    return _read_each(shape, _decode_list(text))


def split(frame: bytes, head: bytes) -> list[bytes]:
    """One message per entry of a message, each beginning with `head`; raises one of
    DECODE_ERRORS.
    """
    return [b'%b"data":[%b]}' % (head, bytes(entry)) for entry in _entries(frame)]


def _read_each(shape: type[T], texts: list[Raw]) -> tuple[list[T], list[Exception]]:
    entries: list[T] = []
    errors: list[Exception] = []
    for text in texts:
        try:
            entries.append(cast(T, _salvage(shape, text)))
        except msgspec.ValidationError as error:
            errors.append(error)
    return entries, errors


@cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape, strict=False)


def _fits(value: Any) -> bool:
    """Whether all Decimals in a value are finite and within DIGITS_MAX digits."""
    if isinstance(value, Decimal):
        return (
            value.is_finite() and value.adjusted() <= DIGITS_MAX and cast(int, value.as_tuple().exponent) >= -DIGITS_MAX
        )
    if isinstance(value, Struct):
        return all(_fits(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    return not isinstance(value, list | tuple) or all(map(_fits, value))


def _salvage(shape: Any, text: bytes | Raw) -> Any:
    """Decode a value field by field; ValidationError when an essential field cannot be
    read.
    """
    try:
        value = _decoder(shape).decode(text)
        if not _fits(value):
            raise msgspec.ValidationError(OUT_OF_RANGE)
        return value
    except msgspec.ValidationError as error:
        origin, arguments = get_origin(shape), get_args(shape)
        if isinstance(shape, type) and issubclass(shape, Struct):
            return _salvage_struct(shape, text)
        if origin is list:
            return [_salvage(arguments[0], entry) for entry in _decode_list(text)]
        if origin is dict:
            entries = _decode_object(text)
            return {_key(arguments[0], key): _salvage(arguments[1], entry) for key, entry in entries.items()}
        if shape is int or (origin is Annotated and arguments[0] is int):
            return _whole(shape, text)
        if origin in (Union, UnionType):
            return _salvage_union([kind for kind in arguments if kind is not NoneType], text, error)
        raise


def _whole(shape: Any, text: bytes | Raw) -> Any:
    """A whole number that is written with a decimal point: 7.0 is 7."""
    number: float = _decoder(float).decode(text)
    if not number.is_integer() or abs(number) > EXACT_FLOAT_MAX:
        raise msgspec.ValidationError(OUT_OF_RANGE)
    return msgspec.convert(int(number), shape)


def _key(shape: Any, key: str) -> Any:
    return msgspec.convert(key, shape)


def _salvage_struct(shape: type[Struct], text: bytes | Raw) -> Struct:
    essential = getattr(shape, "ESSENTIAL", frozenset[str]())
    texts, known = _decode_object(text), {}
    for field in msgspec.structs.fields(shape):
        if field.encode_name not in texts:
            if field.required:
                raise msgspec.ValidationError(f"Object missing required field `{field.encode_name}`")
            continue
        try:
            known[field.name] = _salvage(field.type, texts[field.encode_name])
        except msgspec.ValidationError as error:
            if field.required or field.name in essential:
                raise msgspec.ValidationError(f"{error}: `{field.encode_name}`") from None
    try:
        return shape(**known)
    except ValueError as error:  # raised by the Struct's own check
        raise msgspec.ValidationError(str(error)) from None


def _salvage_union(kinds: list[Any], text: bytes | Raw, error: msgspec.ValidationError) -> Any:
    for kind in kinds:
        try:
            return _salvage(kind, text)
        except msgspec.ValidationError:
            continue
    raise error
