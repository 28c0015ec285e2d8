"""The venue's REST door: HTTP on a loopback port of its own.

    /0/public/…     what needs no key                GET, or POST as some clients do
    /0/private/…    signed requests                  POST
    /venue/…        the venue's own, for tests: its ledger, more keys, faults, dead tokens, notices, precisions

Kraken answers HTTP 200 with `{"error":[…],"result":…}` whatever it thinks of a request; only faults and the venue's
own paths use other codes.
"""

import asyncio
import errno
import logging
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.clock import Clock
from engine.errors import ConfigError, UserError, VenueReject
from engine.units import NS_PER_MS, NS_PER_S, WallNs
from engine.venue.market.notices import Incident, Maintenance, NextStep, Notices
from engine.venue.rest.counter import RestCounter
from engine.venue.rest.names import NameBook
from engine.venue.rest.orders import RestCall, RestOrders, trading_calls
from engine.venue.rest.params import Params, is_json, nonce_of, read_body, read_form, unreadable
from engine.venue.rest.private import RestPrivate, reading_calls
from engine.venue.rest.public import RestPublic
from engine.venue.rest.requests import in_rest_words
from engine.venue.rest.unserved import unserved_calls
from engine.venue.setup.keys import ApiKey, KeyRing, KeySpec
from engine.venue.setup.settings import VenueSettings
from engine.venue.trading.order_checks import DEADLINE_NS_DEFAULT, INVALID
from engine.venue.trading.settlement import at_precision, default_funds
from engine.venue.websocket.private import TradingFloor

log = structlog.get_logger(__name__)

BODY_BYTES_MAX: Final = 1024 * 1024
HELD_S: Final = 60.0  # how long a request is left without an answer by a fault, if its client waits so long
WAITING_MAX: Final = 256  # requests that faults hold up at once
SHUTDOWN_S: Final = 1.0
CENTURY_S: Final = 100 * 366 * 86_400

UNKNOWN_METHOD: Final = "EGeneral:Unknown method"
UNAVAILABLE: Final = "EService:Unavailable"
INTERNAL: Final = "EGeneral:Internal error"

# The names that the WebSocket gives to the same requests: scripts of faults strike both ways in.
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
# Whose orders are objects: Kraken refuses them as forms (confirmed live in 2026; its words for it are not known).
JSON_ONLY: Final = frozenset({"AddOrderBatch", "CancelOrderBatch"})
# What can befall a trading request here; a token or a WebSocket's cut cannot.
_FAULTS: Final = ("drop-answer", "late", "unavailable", "unavailable-done", "lost")

_CLOUDFLARE_520: Final = """<!DOCTYPE html>
<html lang="en-US">
<head><title>api.kraken.com | 520: Web server is returning an unknown error</title></head>
<body><div id="cf-wrapper"><h1>Web server is returning an unknown error <span>Error code 520</span></h1>
<p>There is an unknown connection issue between Cloudflare and the origin web server.</p></div></body>
</html>
"""

_to_json = msgspec.json.Encoder().encode


class RestServer:
    """The HTTP side of one venue: `await start()`, then `url`, then `await stop()`."""

    def __init__(
        self,
        settings: VenueSettings,
        floor: TradingFloor,
        keys: KeyRing,
        clock: Clock,
        system: Callable[[], str],
        fault_counts: dict[str, int],
        notices: Notices,
    ) -> None:
        self._notices = notices
        self._settings = settings
        self._floor = floor
        self._keys = keys
        self._clock = clock
        self._fault_counts = fault_counts  # how often each kind of fault has struck
        self._rng = Random(f"{settings.seed} latency of REST")
        low_ms, high_ms = settings.engine_latency_ms
        self._latency_ns = (low_ms * NS_PER_MS, high_ms * NS_PER_MS)
        self._counters: dict[str, RestCounter] = {}  # by key, of which there are KEYS_MAX
        self._waiting: set[asyncio.Task[Any]] = set()  # requests that a fault holds up, their clients perhaps gone
        self._runner: web.ServerRunner | None = None
        book = NameBook(market.pair for market in floor.exchange.markets.values())
        self._public = RestPublic(floor.exchange, book, clock, settings.clock_offset_s, system, notices).calls()
        private = RestPrivate(floor.trading, book, floor.tokens, clock, clock.wall_ns() // NS_PER_S, self._as_of)
        self._trading_calls = trading_calls(RestOrders(floor.trading, floor.faults, book))
        self._calls = unserved_calls() | reading_calls(private) | self._trading_calls
        self._book = book
        for spec in settings.keys:
            self.open_account(spec)
        self.url = ""  # http://127.0.0.1:8767, set once it serves

    async def start(self) -> None:
        """Open the door; UserError when the port cannot be had."""
        settings = self._settings
        port = settings.rest_port
        if port is None:
            port = settings.port and settings.port + 2
        # A plain server, without routes: some ten thousand calls a second instead of half of it.
        server = web.Server(self._answer, access_log=None, logger=_http_log())
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, settings.host, port).start()
        except OSError as error:
            await self.stop()
            reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
            raise UserError(
                f"--rest-port {port}: this port of {settings.host} {reason}, choose another or 0 for any free one"
            ) from None
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Close it; requests under way are dropped."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
        for task in self._waiting:
            task.cancel()
        while self._waiting:
            await asyncio.sleep(0)

    # --- HTTP --------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _errors("EAPI:Bad request")
        except (ConnectionError, web.RequestPayloadError):
            return _errors("EAPI:Bad request", status=400)  # the client has gone in the middle of it: nobody reads this
        if path.startswith("/venue/"):
            return self._own(request, path, body)
        area, _, name = path.removeprefix("/0/").partition("/")
        if not path.startswith("/0/") or area not in ("public", "private"):
            return _errors(UNKNOWN_METHOD, status=404)
        if area == "public":
            return self._answer_public(request, name, body)
        return await self._answer_private(request, name, body)

    def _answer_public(self, request: web.BaseRequest, name: str, body: bytes) -> web.Response:
        call = self._public.get(name)
        if call is None:
            return _errors(UNKNOWN_METHOD)
        fields = read_form(request.query.items()) | (read_body(body, request.content_type) or {})
        if self._floor.faults.strikes("html-520", name):
            return _cloudflare()
        try:
            return _result(call(Params(fields)))
        except VenueReject as refusal:
            return _errors(str(refusal))

    async def _answer_private(self, request: web.BaseRequest, name: str, body: bytes) -> web.Response:
        entry = self._calls.get(name)
        if entry is None:
            return _errors(UNKNOWN_METHOD)
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
            return _errors(str(refusal))
        params = Params(fields)
        if name in self._trading_calls:
            return await self._trade(request, name, call, api_key, params)
        if self._floor.faults.strikes("html-520", name):
            return _cloudflare()
        return self._execute(name, call, api_key, params)

    def _execute(self, name: str, call: RestCall, api_key: ApiKey, params: Params) -> web.Response:
        try:
            return _result(call(api_key, params, self._floor.exchange.event_time()))
        except VenueReject as refusal:
            return _errors(str(in_rest_words(name, refusal)))

    def _counter(self, api_key: ApiKey) -> RestCounter:
        counter = self._counters.get(api_key.key)
        if counter is None:
            counter = self._counters[api_key.key] = RestCounter(api_key.tier)
        return counter

    # --- trading, and what can befall it -----------------------------------------------------------------------------

    async def _trade(
        self, request: web.BaseRequest, name: str, call: RestCall, api_key: ApiKey, params: Params
    ) -> web.Response:
        """Let the engine act, after its usual latency; the answer takes as long again."""
        fault = self._fault(name, params)
        if fault == "lost":
            return await self._hold(request)
        if fault == "unavailable":
            return _errors(UNAVAILABLE)
        if fault == "html-520" and self._floor.faults.coin():
            return _cloudflare()
        if fault == "late":
            await self._wait(self._late_s(params))
        await self._pass()
        response = self._execute(name, call, api_key, params)
        if fault == "drop-answer":
            return await self._hold(request)
        if fault == "unavailable-done":
            return _errors(UNAVAILABLE)
        if fault == "html-520":
            return _cloudflare()
        await self._pass()
        return response

    def _fault(self, name: str, params: Params) -> str | None:
        """What befalls this request; at most one thing."""
        faults = self._floor.faults
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
        """Up to the deadline, just short of it."""
        room_ns = DEADLINE_NS_DEFAULT
        try:
            deadline = params.deadline()
        except VenueReject:
            deadline = None
        if deadline is not None:
            room_ns = max(0, deadline - self._clock.wall_ns())
        return room_ns * (0.3 + 0.65 * self._floor.faults.share()) / NS_PER_S

    async def _hold(self, request: web.BaseRequest) -> web.Response:
        """Never answer: the client waits until it gives up, or is cut off after a minute."""
        await self._wait(HELD_S)
        if request.transport is not None:
            request.transport.abort()
        return _errors(INTERNAL)

    async def _wait(self, wait_s: float) -> None:
        """Hold a request up, unless too many are held already."""
        task = asyncio.current_task()
        if task is None or len(self._waiting) >= WAITING_MAX:
            return
        self._waiting.add(task)
        try:
            await asyncio.sleep(wait_s)
        finally:
            self._waiting.discard(task)

    async def _pass(self) -> None:
        """Half of the engine's latency."""
        low, high = self._latency_ns
        ns = low if low == high else low + (high - low) * self._rng.random()
        if ns:
            await asyncio.sleep(ns / 2 / NS_PER_S)

    def _as_of(self, at: WallNs) -> WallNs | None:
        """The moment that a look at the orders shows: now, unless the fault rest-lag strikes."""
        faults = self._floor.faults
        if faults.are_quiet or not faults.strikes("rest-lag"):
            return None
        near_ms, far_ms = self._settings.rest_lag_ms
        return WallNs(at - int((near_ms + (far_ms - near_ms) * faults.share()) * NS_PER_MS))

    # --- the venue's own paths ---------------------------------------------------------------------------------------

    def _own(self, request: web.BaseRequest, path: str, body: bytes) -> web.Response:
        """Not Kraken's: what tests ask of the venue, in plain JSON."""
        try:
            fields = read_body(body, "application/json")
            if fields is None:
                raise ConfigError(f"{path}: the body must be a JSON object")
            if (request.method, path) == ("GET", "/venue/ledger"):
                account = request.query.get("account")
                account_id = int(account) if account is not None and account.isdigit() else None
                return web.Response(body=self._floor.trading.ledger.as_json(account_id), content_type=_JSON)
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

    def _set_fault(self, fields: dict[str, Any]) -> web.Response:
        """`{"kind":"drop-answer","count":1,"method":"add_order"}`, `{"kind":"lost","rate":0.1}`, `{"clear":true}`"""
        wish = msgspec.convert(fields, _FaultWish)
        faults = self._floor.faults
        if wish.clear:
            faults.clear()
        if wish.kind and wish.rate is not None:
            faults.set(wish.kind, wish.rate)
        elif wish.kind:
            faults.script(wish.kind, wish.count, METHOD_OF_CALL.get(wish.method, wish.method))
        elif not wish.clear:
            raise ConfigError("/venue/faults: name a kind, with a rate or a count")
        return _json({"counts": self._fault_counts})

    def _relist(self, fields: dict[str, Any]) -> web.Response:
        """`{"symbol":"BTC/USD","price_decimals":2,"qty_decimals":8}`"""
        wish = msgspec.convert(fields, _PrecisionWish)
        at = self._floor.exchange.event_time()
        self._floor.trading.relist(wish.symbol, wish.price_decimals, wish.qty_decimals, at)
        return _json({})

    def _make_key(self, fields: dict[str, Any]) -> web.Response:
        """`{"permissions":["query-funds"],"nonce_window":0,"tier":"pro","account_id":2}`, all optional; and `funds`."""
        spec = msgspec.convert(fields, KeySpec)
        api_key = self._keys.add(spec)
        self.open_account(spec)
        return _json({"api_key": api_key.key, "api_secret": api_key.secret})

    def _plan(self, fields: dict[str, Any]) -> web.Response:
        """`{"event_id":21,"title":"…","starts_in_s":3600,"lasts_s":900}`; without a start it is called off."""
        wish = msgspec.convert(fields, _Window)
        if wish.starts_in_s is None:
            self._notices.call_off(wish.event_id)
        else:
            starts_at = self._ahead(wish.starts_in_s)
            ends_at = WallNs(starts_at + int(wish.lasts_s * NS_PER_S))
            self._notices.plan(
                Maintenance(event_id=wish.event_id, title=wish.title, starts_at=starts_at, ends_at=ends_at)
            )
        return _json(self._notices.rest_fields(self._clock.wall_ns()))

    def _report(self, fields: dict[str, Any]) -> web.Response:
        """`{"event_id":4821,"title":"…","incident_status":"identified","impact":"critical","restart_in_s":600}`"""
        wish = msgspec.convert(fields, _Trouble)
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
        """So far from now; ConfigError when it is further than a century."""
        if not abs(seconds) < CENTURY_S:
            raise ConfigError(f"{seconds:g} seconds from now: must be within a century")
        return WallNs(self._clock.wall_ns() + int(seconds * NS_PER_S))

    def open_account(self, spec: KeySpec) -> None:
        """Fund the account of a key, unless it is there."""
        trading = self._floor.trading
        if all(account.account_id != spec.account_id for account in trading.accounts):
            funds = {asset: at_precision(asset, amount) for asset, amount in spec.funds.items()}
            trading.open_account(spec.account_id, spec.tier, funds or default_funds(trading.markets))

    def _revoke(self, fields: dict[str, Any]) -> web.Response:
        """`{"token":"…"}`, or `{}` for all."""
        token = fields.get("token")
        tokens = self._floor.tokens
        return _json({"revoked": int(tokens.revoke(str(token))) if token is not None else tokens.revoke_all()})


class _FaultWish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/faults`."""

    kind: str = ""
    rate: float | None = None
    count: int = 1
    method: str = ""  # as the WebSocket names it, or as REST does; empty: any
    clear: bool = False


class _PrecisionWish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/precision`."""

    symbol: str
    price_decimals: int
    qty_decimals: int


class _Window(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/maintenance`."""

    event_id: int
    title: str = "Spot Exchange Maintenance"
    starts_in_s: float | None = None
    lasts_s: float = 900.0


class _Trouble(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /venue/emergency`; the same event_id again is the next word on the same incident."""

    event_id: int
    title: str = "Elevated API error rates"
    incident_status: str = "investigating"  # `resolved` ends it
    impact: str = "major"
    affected_services: tuple[str, ...] = ("spot_ws", "spot_rest", "spot_fix")
    began_in_s: float = 0.0  # from now; less than 0 for an earlier time
    restart_in_s: float | None = None  # the expected restart


def _http_log() -> logging.Logger:
    """aiohttp's complaints, without those about bytes that are not HTTP: they are the client's fault."""

    def is_ours(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

    http_log = logging.getLogger("venue.rest")
    http_log.filters = [is_ours]
    return http_log


# --- answers ---------------------------------------------------------------------------------------------------------

_JSON: Final = "application/json"


def _result(result: Any) -> web.Response:
    return web.Response(body=_to_json({"error": [], "result": result}), content_type=_JSON)


def _errors(error: str, status: int = 200) -> web.Response:
    return web.Response(body=_to_json({"error": [error]}), content_type=_JSON, status=status)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=_to_json(value), content_type=_JSON, status=status)


def _cloudflare() -> web.Response:
    return web.Response(text=_CLOUDFLARE_520, content_type="text/html", status=520, reason="Origin Error")
