"""The venue's REST API without a socket: takes a request, and gives its reply at once or
later.

    /0/public/…     what needs no key                GET, or POST as some clients do
    /0/private/…    signed requests                  POST
    /venue/…        the venue's own, for tests: its ledger, its terms, keys, faults, dead tokens, notices, precisions

Kraken answers every request with HTTP 200 and `{"error":[…],"result":…}`; only faults and
the venue's own paths use other codes.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec

from engine.clock import Clock
from engine.errors import ConfigError, UserError, VenueReject
from engine.units import NS_PER_MS, NS_PER_S, PPM, WallNs
from engine.venue.market.notices import Incident, Maintenance, NextStep, Notices
from engine.venue.market.pairs import ASSETS, named
from engine.venue.rest.counter import RestCounter
from engine.venue.rest.names import NameBook
from engine.venue.rest.orders import RestCall, RestOrders, trading_calls
from engine.venue.rest.params import Params, is_json, nonce_of, read_body, read_form, unreadable
from engine.venue.rest.private import RestPrivate, reading_calls
from engine.venue.rest.public import RestPublic
from engine.venue.rest.requests import in_rest_words
from engine.venue.rest.unserved import unserved_calls
from engine.venue.setup.keys import FUNDED_ACCOUNT, ApiKey, KeyRing, KeySpec
from engine.venue.setup.settings import VenueSettings
from engine.venue.trading.order_checks import DEADLINE_NS_DEFAULT, INVALID
from engine.venue.trading.settlement import at_precision, default_funds
from engine.venue.websocket.private import TradingSide
from engine.venue.wire.stream import Timer, Timers

HELD_S: Final = 60.0  # how long a fault keeps a request without an answer
WAITING_MAX: Final = 256  # requests delayed by faults at once
CENTURY_S: Final = 100 * 366 * 86_400

UNKNOWN_METHOD: Final = "EGeneral:Unknown method"
UNAVAILABLE: Final = "EService:Unavailable"

# The WebSocket's names of the same requests, so that scripted faults apply to both routes.
METHOD_OF_CALL: Final = {
    "AddOrder": "add_order",
    "AddOrderBatch": "batch_add",
    "AmendOrder": "amend_order",
    "EditOrder": "edit_order",
    "CancelOrder": "cancel_order",
    "CancelOrderBatch": "batch_cancel",
    "CancelAll": "cancel_all",
    "CancelAllOrdersAfter": "cancel_all_orders_after",
}
# Requests whose orders are objects: Kraken refuses them as forms (confirmed live in 2026;
# its exact error is not known).
JSON_ONLY: Final = frozenset({"AddOrderBatch", "CancelOrderBatch"})
# The faults of a trading request here; those of tokens and of WebSocket connections do not
# apply.
_FAULTS: Final = ("drop-answer", "late", "unavailable", "unavailable-done", "lost")

_CLOUDFLARE_520: Final = """<!DOCTYPE html>
<html lang="en-US">
<head><title>api.kraken.com | 520: Web server is returning an unknown error</title></head>
<body><div id="cf-wrapper"><h1>Web server is returning an unknown error <span>Error code 520</span></h1>
<p>There is an unknown connection issue between Cloudflare and the origin web server.</p></div></body>
</html>
"""

_to_json = msgspec.json.Encoder().encode


class HttpRequest(msgspec.Struct, frozen=True):
    """One request, as HTTP carried it."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = {}
    """`API-Key` and `API-Sign` are read; a case-insensitive mapping, as HTTP servers have,
    will do.
    """
    body: bytes = b""
    content_type: str = ""


class HttpReply(msgspec.Struct, frozen=True):
    """The reply, as HTTP carries it."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


Reply = Callable[[HttpReply | None], None]
"""Takes the reply, once; None: there is none, and the connection is cut."""

# Yields seconds to wait, and returns the reply.
_Steps = Generator[float, None, HttpReply | None]


class RestApi:
    """The REST API of one venue."""

    def __init__(
        self,
        settings: VenueSettings,
        trading_side: TradingSide,
        keys: KeyRing,
        clock: Clock,
        timers: Timers,
        system: Callable[[], str],
        fault_counts: dict[str, int],
        notices: Notices,
    ) -> None:
        self._notices = notices
        self._settings = settings
        self._trading_side = trading_side
        self._keys = keys
        self._clock = clock
        self._timers = timers
        self._fault_counts = fault_counts  # occurrences of each kind of fault
        self._rng = Random(f"{settings.seed} latency of REST")
        low_ms, high_ms = settings.engine_latency_ms
        self._latency_ns = (low_ms * NS_PER_MS, high_ms * NS_PER_MS)
        self._counters: dict[str, RestCounter] = {}  # by key; KEYS_MAX at most
        self._held = 0  # requests delayed by faults
        self._waiting: dict[Timer, Reply] = {}  # requests on their way
        book = NameBook(trading_side.exchange.markets.pairs())
        self._public = RestPublic(trading_side.exchange, book, clock, settings.clock_offset_s, system, notices).calls()
        private = RestPrivate(
            trading_side.trading, book, trading_side.tokens, clock, clock.wall_ns() // NS_PER_S, self._as_of
        )
        self._trading_calls = trading_calls(RestOrders(trading_side.trading, trading_side.faults, book))
        self._calls = unserved_calls() | reading_calls(private) | self._trading_calls
        self._book = book
        for spec in settings.keys:
            self._check_assets(spec)
            self.open_account(spec)

    # --- HTTP --------------------------------------------------------------------------------------------------------

    def answer(self, request: HttpRequest, reply: Reply) -> None:
        """Answer one request: `reply` is called once, at once or after the engine has
        processed it.
        """
        path = request.path
        if path.startswith("/venue/"):
            reply(self._own(request, path, request.body))
            return
        area, _, name = path.removeprefix("/0/").partition("/")
        if not path.startswith("/0/") or area not in ("public", "private"):
            reply(errors_reply(UNKNOWN_METHOD, status=404))
        elif area == "public":
            reply(self._answer_public(request, name, request.body))
        else:
            self._step(self._answer_private(request, name, request.body), reply)

    def close(self) -> None:
        """Cut the connections of all requests without a reply."""
        waiting, self._waiting = self._waiting, {}
        for timer, reply in waiting.items():
            timer.cancel()
            reply(None)

    def _step(self, steps: _Steps, reply: Reply) -> None:
        try:
            wait_s = next(steps)
        except StopIteration as end:
            reply(end.value)
            return

        def go_on() -> None:
            self._waiting.pop(timer, None)
            self._step(steps, reply)

        timer = self._timers.call_later(wait_s, go_on)
        self._waiting[timer] = reply

    def _answer_public(self, request: HttpRequest, name: str, body: bytes) -> HttpReply:
        call = self._public.get(name)
        if call is None:
            return errors_reply(UNKNOWN_METHOD)
        fields = read_form(request.query) | (read_body(body, request.content_type) or {})
        if self._trading_side.faults.strikes("html-520", name):
            return _cloudflare()
        try:
            return _result(call(Params(fields)))
        except VenueReject as refusal:
            return errors_reply(str(refusal))

    def _answer_private(self, request: HttpRequest, name: str, body: bytes) -> _Steps:
        entry = self._calls.get(name)
        if entry is None:
            return errors_reply(UNKNOWN_METHOD)
        permissions, call = entry
        fields = read_body(body, request.content_type)
        now = self._clock.mono_ns()
        headers = request.headers
        try:
            api_key = self._keys.authenticate(
                headers.get("API-Key", ""), headers.get("API-Sign", ""), request.path, nonce_of(fields or {}), body, now
            )
            if fields is None:
                raise unreadable()
            if self._settings.count_rates:
                self._counter(api_key).charge(name, now)
            for permission in permissions:
                api_key.require(*permission.split("|"))
            if name in JSON_ONLY and not is_json(body, request.content_type):
                raise VenueReject(INVALID)
        except VenueReject as refusal:
            return errors_reply(str(refusal))
        params = Params(fields)
        if name in self._trading_calls:
            return (yield from self._trade(name, call, api_key, params))
        if self._trading_side.faults.strikes("html-520", name):
            return _cloudflare()
        return self._execute(name, call, api_key, params)

    def _execute(self, name: str, call: RestCall, api_key: ApiKey, params: Params) -> HttpReply:
        try:
            return _result(call(api_key, params, self._trading_side.exchange.event_time()))
        except VenueReject as refusal:
            return errors_reply(str(in_rest_words(name, refusal)))

    def _counter(self, api_key: ApiKey) -> RestCounter:
        counter = self._counters.get(api_key.key)
        if counter is None:
            counter = self._counters[api_key.key] = RestCounter(api_key.tier)
        return counter

    # --- trading, and its faults -------------------------------------------------------------------------------------

    def _trade(self, name: str, call: RestCall, api_key: ApiKey, params: Params) -> _Steps:
        """Process a trading request after half of the engine's latency; the reply takes the
        other half.
        """
        fault = self._fault(name, params)
        if fault == "lost":
            return (yield from self._hold())
        if fault == "unavailable":
            return errors_reply(UNAVAILABLE)
        if fault == "html-520" and self._trading_side.faults.coin():
            return _cloudflare()
        if fault == "late":
            yield from self._wait(self._late_s(params))
        if round_trip_ns := self._trading_side.exchange.round_trip_ns:
            yield round_trip_ns / NS_PER_S
        yield from self._pass()
        response = self._execute(name, call, api_key, params)
        if fault == "drop-answer":
            return (yield from self._hold())
        if fault == "unavailable-done":
            return errors_reply(UNAVAILABLE)
        if fault == "html-520":
            return _cloudflare()
        yield from self._pass()
        return response

    def _fault(self, name: str, params: Params) -> str | None:
        """The fault of this request, at most one; None if it has none."""
        faults = self._trading_side.faults
        if faults.are_quiet:
            return None
        method, symbols = METHOD_OF_CALL[name], self._symbols(params)
        return next((kind for kind in ("html-520", *_FAULTS) if faults.strikes(kind, method, symbols)), None)

    def _symbols(self, params: Params) -> tuple[str, ...]:
        try:
            return (self._book.pair(params.required("pair")).symbol,)
        except VenueReject:
            return ()

    def _late_s(self, params: Params) -> float:
        """Seconds until just before the request's deadline."""
        room_ns = DEADLINE_NS_DEFAULT
        try:
            deadline = params.deadline()
        except VenueReject:
            deadline = None
        if deadline is not None:
            room_ns = max(0, deadline - self._clock.wall_ns())
        return room_ns * (0.3 + 0.65 * self._trading_side.faults.share()) / NS_PER_S

    def _hold(self) -> _Steps:
        """Give no reply: the connection is cut after HELD_S unless the client gives up
        earlier.
        """
        yield from self._wait(HELD_S)
        return None

    def _wait(self, wait_s: float) -> Generator[float, None, None]:
        """Delay a request, unless WAITING_MAX are delayed already."""
        if self._held >= WAITING_MAX:
            return
        self._held += 1
        try:
            yield wait_s
        finally:
            self._held -= 1

    def _pass(self) -> Generator[float, None, None]:
        """Wait for half of the engine's latency."""
        low, high = self._latency_ns
        ns = low if low == high else low + (high - low) * self._rng.random()
        if ns:
            yield ns / 2 / NS_PER_S

    def _as_of(self, at: WallNs) -> WallNs | None:
        """The time of the state that a query shows under the fault rest-lag; None without
        it, for the current state.
        """
        faults = self._trading_side.faults
        if faults.are_quiet or not faults.strikes("rest-lag"):
            return None
        near_ms, far_ms = self._settings.rest_lag_ms
        return WallNs(at - int((near_ms + (far_ms - near_ms) * faults.share()) * NS_PER_MS))

    # --- the venue's own paths ---------------------------------------------------------------------------------------

    def _own(self, request: HttpRequest, path: str, body: bytes) -> HttpReply:
        """Answer one of the venue's own requests, which Kraken does not have, in plain
        JSON.
        """
        try:
            fields = read_body(body, "application/json")
            if fields is None:
                raise ConfigError(f"{path}: the body must be a JSON object")
            if (request.method, path) == ("GET", "/venue/ledger"):
                account = dict(request.query).get("account")
                account_id = int(account) if account is not None and account.isdigit() else None
                return HttpReply(self._trading_side.trading.ledger.as_json(account_id))
            if (request.method, path) == ("GET", "/venue/terms"):
                return self._terms()
            if (request.method, path) == ("GET", "/venue/faults"):
                return _json({"counts": self._fault_counts})
            if (request.method, path) == ("POST", "/venue/faults"):
                return self._set_fault(fields)
            if (request.method, path) == ("POST", "/venue/precision"):
                return self._relist(fields)
            if (request.method, path) == ("POST", "/venue/keys"):
                return self._make_key(fields)
            if (request.method, path) == ("POST", "/venue/maintenance"):
                return self._plan(fields)
            if (request.method, path) == ("POST", "/venue/emergency"):
                return self._report(fields)
            if (request.method, path) == ("POST", "/venue/tokens/revoke"):
                return self._revoke(fields)
        except (UserError, msgspec.ValidationError) as error:
            return _json({"error": str(error)}, status=400)
        return _json({"error": f"{request.method} {path}: there is no such thing"}, status=404)

    def _terms(self) -> HttpReply:
        """`{"maker_fee_percent":0.25,"taker_fee_percent":0.4,"engine_latency_ms":[1,3],
        "round_trip_ms":0}`: of the funded account, now.
        """
        tier = self._trading_side.trading.account(FUNDED_ACCOUNT).fee_tier(self._clock.wall_ns())
        return _json(
            {
                "maker_fee_percent": tier.maker_ppm * 100 / PPM,
                "taker_fee_percent": tier.taker_ppm * 100 / PPM,
                "engine_latency_ms": self._settings.engine_latency_ms,
                "round_trip_ms": self._trading_side.exchange.round_trip_ns / NS_PER_MS,
            }
        )

    def _set_fault(self, fields: dict[str, Any]) -> HttpReply:
        """`{"kind":"drop-answer","count":1,"method":"add_order"}`,
        `{"kind":"lost","rate":0.1}`, `{"clear":true}`
        """
        wish = msgspec.convert(fields, _FaultRequest)
        faults = self._trading_side.faults
        if wish.clear:
            faults.clear()
        if wish.kind and wish.rate is not None:
            faults.set(wish.kind, wish.rate)
        elif wish.kind:
            faults.script(wish.kind, wish.count, METHOD_OF_CALL.get(wish.method, wish.method))
        elif not wish.clear:
            raise ConfigError("/venue/faults: name a kind, with a rate or a count")
        return _json({"counts": self._fault_counts})

    def _relist(self, fields: dict[str, Any]) -> HttpReply:
        """`{"symbol":"BTC/USD","price_decimals":2,"qty_decimals":8}`"""
        wish = msgspec.convert(fields, _PrecisionRequest)
        at = self._trading_side.exchange.event_time()
        self._trading_side.trading.relist(wish.symbol, wish.price_decimals, wish.qty_decimals, at)
        return _json({})

    def _make_key(self, fields: dict[str, Any]) -> HttpReply:
        """`{"permissions":["query-funds"],"nonce_window":0,"tier":"pro","account_id":2}`,
        all optional, and `funds`.
        """
        spec = msgspec.convert(fields, KeySpec)
        self._check_assets(spec)
        api_key = self._keys.add(spec)
        self.open_account(spec)
        return _json({"api_key": api_key.key, "api_secret": api_key.secret})

    def _plan(self, fields: dict[str, Any]) -> HttpReply:
        """`{"event_id":21,"title":"…","starts_in_s":3600,"lasts_s":900}`; without a start
        the maintenance is called off.
        """
        wish = msgspec.convert(fields, _MaintenanceRequest)
        if wish.starts_in_s is None:
            self._notices.call_off(wish.event_id)
        else:
            starts_at = self._ahead(wish.starts_in_s)
            ends_at = WallNs(starts_at + int(wish.lasts_s * NS_PER_S))
            self._notices.plan(
                Maintenance(event_id=wish.event_id, title=wish.title, starts_at=starts_at, ends_at=ends_at)
            )
        return _json(self._notices.rest_fields(self._clock.wall_ns()))

    def _report(self, fields: dict[str, Any]) -> HttpReply:
        """`{"event_id":4821,"title":"…","incident_status":"identified",
        "impact":"critical","restart_in_s":600}`
        """
        wish = msgspec.convert(fields, _EmergencyRequest)
        steps: tuple[NextStep, ...] = ()
        if wish.restart_in_s is not None:
            restart_at = self._ahead(wish.restart_in_s)
            steps = (NextStep(applies_to=("spot_trading",), type="expected_restart", expected_at=restart_at),)
        self._notices.report(
            Incident(
                event_id=wish.event_id,
                title=wish.title,
                incident_status=wish.incident_status,
                impact=wish.impact,
                affected_services=wish.affected_services,
                started_at=self._ahead(wish.began_in_s),
                next_steps=steps,
            )
        )
        return _json(self._notices.rest_fields(self._clock.wall_ns()))

    def _ahead(self, seconds: float) -> WallNs:
        """The time `seconds` from now. Raises ConfigError beyond a century."""
        if not abs(seconds) < CENTURY_S:
            raise ConfigError(f"{seconds:g} seconds from now: must be within a century")
        return WallNs(self._clock.wall_ns() + int(seconds * NS_PER_S))

    def open_account(self, spec: KeySpec) -> None:
        """Create and fund the account of a key, unless it exists."""
        trading = self._trading_side.trading
        if all(account.account_id != spec.account_id for account in trading.accounts):
            funds = {asset: at_precision(asset, amount) for asset, amount in spec.funds.items()}
            funds = funds or default_funds(trading.markets.pairs(), trading.markets)
            trading.open_account(spec.account_id, spec.tier, funds)

    def _check_assets(self, spec: KeySpec) -> None:
        """Raise ConfigError for funds in what is no asset here."""
        known = {**ASSETS, **dict.fromkeys(self._book.assets)}
        for asset in spec.funds:
            if asset not in known:
                raise ConfigError(f"API key: the funds in {asset} cannot be; assets are {named(tuple(known))}")

    def _revoke(self, fields: dict[str, Any]) -> HttpReply:
        """`{"token":"…"}`, or `{}` for all tokens."""
        token = fields.get("token")
        tokens = self._trading_side.tokens
        return _json({"revoked": int(tokens.revoke(str(token))) if token is not None else tokens.revoke_all()})


class _FaultRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/faults`."""

    kind: str = ""
    rate: float | None = None
    count: int = 1
    method: str = ""  # as the WebSocket names it, or as REST does; empty: any
    clear: bool = False


class _PrecisionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/precision`."""

    symbol: str
    price_decimals: int
    qty_decimals: int


class _MaintenanceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/maintenance`."""

    event_id: int
    title: str = "Spot Exchange Maintenance"
    starts_in_s: float | None = None
    lasts_s: float = 900.0


class _EmergencyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/emergency`; a repeated event_id updates the same incident."""

    event_id: int
    title: str = "Elevated API error rates"
    incident_status: str = "investigating"  # `resolved` ends it
    impact: str = "major"
    affected_services: tuple[str, ...] = ("spot_ws", "spot_rest", "spot_fix")
    began_in_s: float = 0.0  # from now; less than 0 for an earlier time
    restart_in_s: float | None = None  # the expected restart


# --- replies ---------------------------------------------------------------------------------------------------------


def errors_reply(error: str, status: int = 200) -> HttpReply:
    """Kraken's form of a refusal: `{"error":["EGeneral:Unknown method"]}`."""
    return HttpReply(_to_json({"error": [error]}), status=status)


def _result(result: Any) -> HttpReply:
    return HttpReply(_to_json({"error": [], "result": result}))


def _json(value: Any, status: int = 200) -> HttpReply:
    return HttpReply(_to_json(value), status=status)


def _cloudflare() -> HttpReply:
    return HttpReply(_CLOUDFLARE_520.encode(), "text/html", 520)
