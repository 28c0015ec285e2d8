"""Decodes Kraken's REST replies: each function takes the HTTP status and the body, and
returns its typed answer or a RestRefusal. Those about orders are in `order_replies`.

A body that is not a reply of Kraken's application (HTML of the proxy before it, an empty or
incomplete body, an unknown shape) leaves the outcome of a changing call unknown. Only an
error text of Kraken's own says more.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-intro
"""

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from engine.kraken.connection.error_catalog import UNREADABLE, Meaning, meaning
from engine.kraken.connection.messages import Notice, notices
from engine.kraken.connection.salvage import DECODE_ERRORS, Reader, Word, cut
from engine.kraken.connection.venue_status import SYSTEM_CHARS_MAX
from engine.kraken.rest.pairs import CURRENCY, RestPair, RestPairs, v2_asset
from engine.market import v2_symbol
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome
from engine.units import NS_PER_S, WallNs

BODY_CHARS_SHOWN_MAX = 120  # of a body that is not a reply
BODY_BYTES_READ_MAX = 2000
ERROR_BYTES_MAX = 240  # of Kraken's error text
STATUS_OK = 200
_TITLE: Final = re.compile(r"<title>([^<]*)", re.IGNORECASE)

T = TypeVar("T")


class RestRefusal(Struct, frozen=True):
    """A refusal by Kraken, or no reliable reply."""

    error: str
    """Kraken's error text, or what came instead of a reply."""
    meaning: Meaning
    status: int

    @property
    def outcome(self) -> Outcome:
        """The outcome of a changing call that ended like this."""
        return self.meaning.outcome

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        return self.meaning.sentence(self.error)


_NEVER_ARRIVED = Meaning(
    Outcome.NOT_PLACED, ErrorKind.TRANSPORT, "the call did not reach Kraken's application; check the REST address",
    is_krakens=False,
)  # fmt: skip
_IN_DOUBT = Meaning(
    Outcome.UNKNOWN, ErrorKind.TRANSPORT,
    "no answer of Kraken's application came, so it is looked up what became of it", is_krakens=False,
)  # fmt: skip
# Of the 4xx, these two may stand for a call that was passed on.
_TIMEOUTS = (408, 499)


class _Envelope(Struct):
    """{"error":[],"result":…}"""

    error: list[str]
    result: Raw = Raw(b"")


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def refusal_or_result(status: int, body: bytes) -> RestRefusal | bytes:
    """The text of `result`, or the refusal."""
    try:
        envelope = _decode_envelope(body)
    except DECODE_ERRORS:
        return _no_answer(status, body)
    errors = [error for error in envelope.error if not error.startswith("W")]
    if errors:
        return _refusal(errors, status)
    if status != STATUS_OK or not bytes(envelope.result):
        return _no_answer(status, body)
    return bytes(envelope.result)


def _refusal(errors: list[str], status: int) -> RestRefusal:
    """The refusal; of several errors the one that leaves most in doubt decides."""
    meanings = [meaning(error) for error in errors]
    worst = next((what for what in meanings if what.outcome is Outcome.UNKNOWN), meanings[0])
    return RestRefusal(cut("; ".join(errors), ERROR_BYTES_MAX), worst, status)


def _no_answer(status: int, body: bytes) -> RestRefusal:
    text = body[:BODY_BYTES_READ_MAX].decode(errors="replace")
    title = _TITLE.search(text)  # of an HTML page of Kraken's front end
    shown = " ".join((title[1] if title else text).split())[:BODY_CHARS_SHOWN_MAX]
    error = f"HTTP {status}: {shown}" if shown else f"HTTP {status} without a body"
    never_arrived = 300 <= status < 500 and status not in _TIMEOUTS
    return RestRefusal(error, _NEVER_ARRIVED if never_arrived else _IN_DOUBT, status)


def read_result(status: int, body: bytes, reader: Reader[T]) -> RestRefusal | T:
    """The decoded `result`; unreadable fields that are not essential are left at their
    defaults.
    """
    result = refusal_or_result(status, body)
    if isinstance(result, RestRefusal):
        return result
    try:
        return reader.decode(result)
    except DECODE_ERRORS as error:
        return RestRefusal(f"an answer that cannot be read ({error})", UNREADABLE, status)


def seconds_ns(seconds: Decimal | None) -> WallNs:
    """1769057759.97471 as nanoseconds, exactly; 0 for None."""
    return WallNs(int(seconds * NS_PER_S)) if seconds and seconds.is_finite() and seconds < 10**10 else WallNs(0)


# --- public


class _Time(Struct):
    unixtime: Annotated[int, Meta(ge=0, lt=2**33)]


class SystemStatus(Struct, frozen=True):
    """The status of Kraken's matching engine, and its notices, which do not affect the
    status.
    """

    status: str
    """online, post_only, cancel_only or maintenance."""
    upcoming: tuple[Notice, ...]
    """Maintenance within 72 hours; an entry leaves the list when its window begins."""
    emergency: tuple[Notice, ...]


class _Status(Struct):
    """{"status":"cancel_only","timestamp":"2026-05-08T14:28:00Z",
    "upcoming_maintenance":[],"emergency":[…]}
    """

    status: str
    upcoming_maintenance: Raw = Raw(b"[]")
    emergency: Raw = Raw(b"[]")


class _Pair(Struct):
    """A value of AssetPairs; its key is the id."""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(
        ("wsname", "cost_decimals", "status", "ordermin", "costmin", "tick_size")
    )

    altname: str
    base: str
    quote: str
    pair_decimals: int
    lot_decimals: int
    wsname: str = ""
    cost_decimals: int = 8
    status: str = "online"
    aclass_base: str = CURRENCY
    ordermin: Decimal = Decimal(0)
    costmin: Decimal = Decimal(0)
    tick_size: Decimal | None = None
    leverage_buy: tuple[int, ...] = ()
    leverage_sell: tuple[int, ...] = ()
    fees: tuple[tuple[Decimal, ...], ...] = ()
    fees_maker: tuple[tuple[Decimal, ...], ...] = ()


_decode_time = Reader(_Time)
_decode_status = Reader(_Status)
_decode_pairs = Reader(dict[str, Raw])
_decode_pair = Reader(_Pair, is_bounded=True).decode


def read_time(status: int, body: bytes) -> RestRefusal | WallNs:
    """Kraken's time, in whole seconds."""
    answer = read_result(status, body, _decode_time)
    return answer if isinstance(answer, RestRefusal) else WallNs(answer.unixtime * NS_PER_S)


def read_system_status(status: int, body: bytes) -> RestRefusal | SystemStatus:
    """The reply to SystemStatus."""
    answer = read_result(status, body, _decode_status)
    if isinstance(answer, RestRefusal):
        return answer
    upcoming, emergency = notices(answer.upcoming_maintenance), notices(answer.emergency)
    return SystemStatus(answer.status[:SYSTEM_CHARS_MAX], tuple(upcoming), tuple(emergency))


def read_asset_pairs(status: int, body: bytes) -> RestRefusal | RestPairs:
    """The reply to AssetPairs: every pair that can be decoded; others are left out."""
    answer = read_result(status, body, _decode_pairs)
    if isinstance(answer, RestRefusal):
        return answer
    pairs = []
    for pair_id, raw in answer.items():
        try:
            pairs.append(_rest_pair(pair_id, _decode_pair(raw)))
        except DECODE_ERRORS:
            continue
    return RestPairs(pairs)


def _rest_pair(pair_id: str, pair: _Pair) -> RestPair:
    base, quote = v2_asset(pair.base), v2_asset(pair.quote)
    return RestPair(
        id=pair_id,
        altname=pair.altname,
        symbol=v2_symbol(pair.wsname) if pair.wsname else f"{base}/{quote}",
        base=base,
        quote=quote,
        pair_decimals=pair.pair_decimals,
        lot_decimals=pair.lot_decimals,
        cost_decimals=pair.cost_decimals,
        status=pair.status,
        asset_class=pair.aclass_base,
        order_min=pair.ordermin,
        cost_min=pair.costmin,
        tick_size=pair.tick_size,
        leverage_buy=pair.leverage_buy,
        leverage_sell=pair.leverage_sell,
        taker_fee_pct=_first_fee(pair.fees),
        maker_fee_pct=_first_fee(pair.fees_maker),
    )


def _first_fee(tiers: tuple[tuple[Decimal, ...], ...]) -> Decimal | None:
    return tiers[0][1] if tiers and len(tiers[0]) > 1 else None


# --- the key and the account


class WebSocketToken(Struct, frozen=True):
    """A token, and the seconds within which it must be used. Its text is a secret."""

    token: str
    expires_s: int

    def __repr__(self) -> str:
        return f"WebSocketToken(…, expires_s={self.expires_s})"


class ApiKeyInfo(Struct, frozen=True, kw_only=True):
    """The permissions of a key."""

    name: str
    permissions: frozenset[str]
    nonce: int
    """The highest nonce that Kraken has received; 0 if it does not tell."""
    nonce_window: int
    valid_until: WallNs
    """0: no expiry."""
    ip_allowlist: tuple[str, ...]


class AssetBalance(Struct, frozen=True):
    """One asset; without `hold_trade` if only totals were requested."""

    asset: str
    """In v2's name, with a wallet's suffix."""
    balance: Decimal
    hold_trade: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    credit_used: Decimal = Decimal(0)

    @property
    def free(self) -> Decimal:
        """The amount that is available to orders."""
        return self.balance + self.credit - self.credit_used - self.hold_trade


class _ExtendedBalance(Struct):
    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("hold_trade", "credit", "credit_used"))

    balance: Decimal
    hold_trade: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    credit_used: Decimal = Decimal(0)


class _Token(Struct):
    token: str
    expires: Word = 900


_decode_token = Reader(_Token)
_decode_key = Reader(dict[str, Any])
_decode_balance = Reader(dict[str, Decimal], is_bounded=True)
_decode_balance_ex = Reader(dict[str, _ExtendedBalance], is_bounded=True)


def read_websockets_token(status: int, body: bytes) -> RestRefusal | WebSocketToken:
    """The reply to GetWebSocketsToken."""
    answer = read_result(status, body, _decode_token)
    return answer if isinstance(answer, RestRefusal) else WebSocketToken(answer.token, answer.expires)


def read_api_key_info(status: int, body: bytes) -> RestRefusal | ApiKeyInfo:
    """The reply to GetApiKeyInfo, whose fields are documented in camelCase and were seen in
    snake_case.
    """
    answer = read_result(status, body, _decode_key)
    if isinstance(answer, RestRefusal):
        return answer
    fields = {name.replace("_", "").lower(): value for name, value in answer.items()}
    permissions, addresses = fields.get("permissions"), fields.get("ipallowlist")
    if not isinstance(permissions, list):
        return RestRefusal("a key without a list of permissions", UNREADABLE, status)
    return ApiKeyInfo(
        name=str(fields.get("apikeyname") or ""),
        permissions=frozenset(map(str, permissions)),
        nonce=_whole(fields.get("nonce")),
        nonce_window=_whole(fields.get("noncewindow")),
        valid_until=WallNs(_whole(fields.get("validuntil")) * NS_PER_S),
        ip_allowlist=tuple(str(address) for address in addresses if address) if isinstance(addresses, list) else (),
    )


def _whole(value: object) -> int:
    """An integer that may be quoted; 0 for anything else."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


def read_balance(status: int, body: bytes) -> RestRefusal | tuple[AssetBalance, ...]:
    """The reply to Balance."""
    answer = read_result(status, body, _decode_balance)
    if isinstance(answer, RestRefusal):
        return answer
    return tuple(AssetBalance(v2_asset(asset), total) for asset, total in answer.items())


def read_balance_ex(status: int, body: bytes) -> RestRefusal | tuple[AssetBalance, ...]:
    """The reply to BalanceEx."""
    answer = read_result(status, body, _decode_balance_ex)
    if isinstance(answer, RestRefusal):
        return answer
    return tuple(
        AssetBalance(v2_asset(asset), row.balance, row.hold_trade, row.credit, row.credit_used)
        for asset, row in answer.items()
    )
