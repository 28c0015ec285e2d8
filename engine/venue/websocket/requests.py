"""Clients' requests on the public WebSocket, checked as strictly as Kraken does, and
Kraken's errors.

The texts are those of genuine replies where one was found; otherwise (an interval that is
not offered, unsubscribing what was never subscribed) they are Kraken's older ones, which v2
is believed to keep.
"""

from typing import Any, Final

import msgspec

from engine.venue.market.book_feed import DEPTHS
from engine.venue.market.candles import INTERVALS
from engine.venue.wire.stream import StreamKey

MALFORMED: Final = "Malformed request"
UNSUPPORTED_EVENT: Final = "Unsupported event"
SYMBOL_NOT_ARRAY: Final = "Symbol field must be an array"
DEPTH_REFUSED: Final = "Subscription depth not supported"
INTERVAL_MISSING: Final = "Subscription ohlc requires interval"
INTERVAL_REFUSED: Final = "Subscription ohlc interval not supported"
ALREADY_SUBSCRIBED: Final = "Already subscribed"
ALREADY_ONE_INTERVAL: Final = "Already subscribed to one ohlc interval on this symbol"
NOT_SUBSCRIBED: Final = "Subscription Not Found"
RATE_EXCEEDED: Final = "Exceeded msg rate"
PRIVATE_HERE: Final = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"

PRIVATE_CHANNELS: Final = frozenset({"executions", "balances", "level3"})
PRIVATE_METHODS: Final = frozenset(
    {
        "add_order",
        "amend_order",
        "batch_add",
        "batch_cancel",
        "cancel_after",
        "cancel_all",
        "cancel_all_orders_after",
        "cancel_order",
        "edit_order",
    }
)

# The parameters of each channel; any other key is refused.
_PARAMETERS: Final = {
    "book": frozenset({"channel", "symbol", "depth", "snapshot"}),
    "trade": frozenset({"channel", "symbol", "snapshot"}),
    "ticker": frozenset({"channel", "symbol", "event_trigger", "snapshot"}),
    "ohlc": frozenset({"channel", "symbol", "interval", "snapshot"}),
    "instrument": frozenset({"channel", "snapshot", "include_tokenized_assets", "execution_venue"}),
}
EXECUTION_VENUE: Final = "international"  # of the instrument channel, since 2026-04: the one whose pairs are listed
_TOP_LEVEL: Final = frozenset({"method", "params", "req_id"})

WARNINGS: Final = {
    "ohlc": ["timestamp is deprecated, use interval_begin"],
    "instrument": ["tick_size is deprecated, use price_increment"],
}


class Ping(msgspec.Struct, frozen=True):
    """`{"method":"ping"}`"""

    req_id: int | None


class SubscriptionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Subscribe or unsubscribe: one stream per symbol, all with the same parameter."""

    method: str
    req_id: int | None
    channel: str
    symbols: tuple[str, ...]  # empty for the instrument channel alone
    parameter: int | str | None  # depth, interval or trigger; None when the request names none
    snapshot: bool

    def streams(self) -> list[StreamKey]:
        """The streams that it names, with Kraken's default for a missing parameter."""
        parameter = self.parameter if self.parameter is not None else DEFAULT_PARAMETERS.get(self.channel, "")
        return [StreamKey(self.channel, symbol, parameter) for symbol in self.symbols or ("",)]


class Refusal(msgspec.Struct, frozen=True):
    """A request that is answered with an error only."""

    error: str
    method: str
    req_id: int | None = None
    symbol: str | None = None


DEFAULT_PARAMETERS: Final[dict[str, int | str]] = {"book": 10, "ticker": "trades"}
PARAMETER_NAMES: Final = {"book": "depth", "ticker": "event_trigger", "ohlc": "interval"}


def parse_request(text: bytes) -> Ping | SubscriptionRequest | Refusal:
    """Parse one frame of a client. Never raises: an invalid one becomes a `Refusal`."""
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal(MALFORMED, "error")
    if not isinstance(request, dict):
        return Refusal(MALFORMED, "error")
    req_id = request.get("req_id")
    if req_id is not None and (type(req_id) is not int or not -(1 << 63) <= req_id < 1 << 64):
        return Refusal(MALFORMED, "error")
    method = request.get("method")
    if method == "ping":
        stray = _stray(request, frozenset({"method", "req_id"}))
        return Refusal(_unsupported_field(stray, method), method, req_id) if stray else Ping(req_id)
    if method in ("subscribe", "unsubscribe"):
        return _parse_subscription(request, method, req_id)
    if isinstance(method, str) and method in PRIVATE_METHODS:
        return Refusal(PRIVATE_HERE, method, req_id)
    return Refusal(MALFORMED, "error", req_id)


def _parse_subscription(request: dict[str, Any], method: str, req_id: int | None) -> SubscriptionRequest | Refusal:
    params = request.get("params")
    if stray := _stray(request, _TOP_LEVEL):
        return Refusal(_unsupported_field(stray, method), method, req_id, _named_symbol(request, params))
    channel = params.get("channel") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(channel, str):
        return Refusal(UNSUPPORTED_EVENT, method, req_id)
    if channel in PRIVATE_CHANNELS:
        return Refusal(PRIVATE_HERE, method, req_id)
    if channel not in _PARAMETERS:
        return Refusal(UNSUPPORTED_EVENT, method, req_id)
    if stray := _stray(params, _PARAMETERS[channel]):
        return Refusal(_unsupported_field(stray, method), method, req_id, _named_symbol(request, params))

    symbols = params.get("symbol", [])
    snapshot = params.get("snapshot")
    if snapshot is None:
        snapshot = channel != "trade"  # measured: only trade has none unless asked for
    if channel != "instrument":
        if "symbol" not in params or not isinstance(symbols, list):
            return Refusal(SYMBOL_NOT_ARRAY, method, req_id)
        if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
            return Refusal(UNSUPPORTED_EVENT, method, req_id)
    if type(snapshot) is not bool:
        return Refusal(UNSUPPORTED_EVENT, method, req_id)
    if params.get("execution_venue", EXECUTION_VENUE) != EXECUTION_VENUE:
        return Refusal(UNSUPPORTED_EVENT, method, req_id)
    parameter = params.get(PARAMETER_NAMES.get(channel, ""))
    if error := _parameter_refusal(channel, method, parameter):
        return Refusal(error, method, req_id)
    return SubscriptionRequest(
        method=method, req_id=req_id, channel=channel, symbols=tuple(symbols), parameter=parameter, snapshot=snapshot
    )


def _parameter_refusal(channel: str, method: str, parameter: object) -> str | None:
    """Why a depth, trigger or interval is not offered; None if it is."""
    if channel == "book" and parameter is not None and (type(parameter) is not int or parameter not in DEPTHS):
        return DEPTH_REFUSED
    if channel == "ticker" and parameter not in (None, "trades", "bbo"):
        return UNSUPPORTED_EVENT
    if channel == "ohlc":
        if parameter is None:
            return INTERVAL_MISSING if method == "subscribe" else None
        if type(parameter) is not int or parameter not in INTERVALS:
            return INTERVAL_REFUSED
    return None


def _stray(fields: dict[str, Any], known: frozenset[str]) -> str | None:
    """The unknown key: the alphabetically first, because Kraken's JSON objects are sorted."""
    return min(fields.keys() - known, default=None)


def _unsupported_field(field: str, method: str) -> str:
    return f"Unsupported field: '{field}' for the given msg type: {method}"


def _named_symbol(request: dict[str, Any], params: object) -> str | None:
    """The symbol that such a refusal has: the first of the request, wherever it stands."""
    for fields in (params, request):
        symbols = fields.get("symbol") if isinstance(fields, dict) else None
        if isinstance(symbols, list) and symbols:
            symbols = symbols[0]
        if isinstance(symbols, str):
            return symbols
    return None
