"""REST in virtual time: the real call queue, signatures and nonces; HTTP that lags, refuses, loses replies.

CallQueue ─► take_due ─► sign ─► on its way ─► RestApi ─► on its way back ─► answered, or failed
"""

from collections.abc import Callable
from random import Random
from typing import Final
from urllib.parse import parse_qsl

from engine.instant import Instant
from engine.kraken.rest.requests import sign
from engine.kraken.rest.signing import Signer
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.net.key_lock import KeyLock
from engine.units import NS_PER_S, WallNs
from engine.venue.rest.api import HttpReply, HttpRequest
from tests.simulate.kernel import BEGAN_MONO_NS, BEGAN_WALL_NS, Kernel, Process, SimClock, Timer
from tests.simulate.network import Weather
from tests.simulate.venue import SimVenue

ROUTE: Final = "rest"
LAG_NS_MAX: Final = 4 * NS_PER_S


class RestWeather:
    """What can happen to a call, as shares of all calls."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.lag_share = self.refused_share = self.lost_share = self.reply_lost_share = 0.0

    def heal(self) -> None:
        self.lag_share = self.refused_share = self.lost_share = self.reply_lost_share = 0.0


class SimRest:
    """What `RestCalls` and `KrakenRest` are in a process."""

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        weather: Weather,
        rest_weather: RestWeather,
        venue: SimVenue,
        clock: SimClock,
        now: Instant,
        queue: CallQueue,
        signer: Signer,
        key: KeyLock,
        after_answer: Callable[[], None],
        on_nonce: Callable[[int], None],
    ) -> None:
        self._kernel, self._process, self._weather, self._trouble = kernel, process, weather, rest_weather
        self._venue, self._clock, self._now = venue, clock, now
        self._queue, self._signer, self._key = queue, signer, key
        self._after_answer = after_answer
        self._life = process.life
        self._on_nonce = on_nonce
        self._is_woken = False
        self._timer: Timer | None = None
        queue.on_put = self._wake

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._process.after(0, self._send_due)

    def _send_due(self) -> None:
        self._is_woken = False
        self._look_at_clock()
        while (call := self._queue.take_due()) is not None:
            self._process.point()
            self._send(call)
        if self._timer is not None:
            self._timer.cancel()
        due = self._queue.next_due()
        self._timer = None if due is None else self._process.at(due, self._wake)

    def _look_at_clock(self) -> None:
        self._now.set(self._clock.mono_ns(), self._clock.wall_ns())

    def _send(self, call: RestCall) -> None:
        weather, trouble, kernel = self._weather, self._trouble, self._kernel
        exchange = _Exchange(self, call)
        deadline_ns = int(call.left_s(self._clock.mono_ns()) * NS_PER_S)
        if call.request.is_private:
            nonce = self._key.next_nonce(self._clock.wall_ns())
            self._on_nonce(nonce)
            signed = sign(call.request, self._signer, nonce)
            request = _http(signed.method, signed.target, signed.headers, signed.body)
        else:
            request = _http(call.request.method, call.request.target, {}, b"")
        kernel.note("rest>", f"{request.method} {request.path} {request.body.decode()}")
        rng = trouble.rng
        if weather.is_down(ROUTE) or rng.random() < trouble.refused_share:
            self._process.after(weather.latency_ns(), exchange.fail, "connection refused", False)
            return
        self._process.after(deadline_ns, exchange.fail, "no answer in time", True)
        if rng.random() < trouble.lost_share:
            return
        lag_ns = int(rng.random() * LAG_NS_MAX) if rng.random() < trouble.lag_share else 0
        at = max(kernel.now + weather.latency_ns() + lag_ns, weather.stalled_until)
        kernel.at(at, self._venue.call, request, exchange.reply)

    def come_back(self, exchange: "_Exchange", reply: HttpReply | None) -> None:
        """The venue has answered."""
        weather, trouble = self._weather, self._trouble
        if self._life != self._process.life:
            return  # who asked is dead
        if reply is not None and trouble.rng.random() < trouble.reply_lost_share:
            return
        at = max(self._kernel.now + weather.latency_ns(), weather.stalled_until)
        sent_at = WallNs((self._kernel.now - BEGAN_MONO_NS + BEGAN_WALL_NS) // NS_PER_S * NS_PER_S)
        self._process.at(at, exchange.arrive, reply, sent_at)

    def answered(
        self,
        call: RestCall,
        reply: HttpReply | None,
        why: str,
        *,
        is_in_doubt: bool,
        sent_at: WallNs = WallNs(0),  # noqa: B008
    ) -> None:
        """Tell the queue."""
        self._process.point()
        self._look_at_clock()
        if reply is None:
            self._kernel.note("rest fails", f"{call.request.name} {why}")
            self._queue.failed(call, why, is_in_doubt=is_in_doubt)
        else:
            self._kernel.note("rest<", reply.body)
            self._queue.answered(call, reply.status, reply.body, sent_at=sent_at)
        self._after_answer()


class _Exchange:
    """One request and its one answer."""

    def __init__(self, rest: SimRest, call: RestCall) -> None:
        self._rest = rest
        self._call: RestCall | None = call

    def reply(self, reply: HttpReply | None) -> None:
        self._rest.come_back(self, reply)

    def arrive(self, reply: HttpReply | None, sent_at: WallNs) -> None:
        if (call := self._end()) is not None:
            self._rest.answered(call, reply, "the connection was reset", is_in_doubt=True, sent_at=sent_at)

    def fail(self, why: str, is_in_doubt: bool) -> None:
        if (call := self._end()) is not None:
            self._rest.answered(call, None, why, is_in_doubt=is_in_doubt)

    def _end(self) -> RestCall | None:
        call, self._call = self._call, None
        return call


def _http(method: str, target: str, headers: dict[str, str], body: bytes) -> HttpRequest:
    path, _, query = target.partition("?")
    return HttpRequest(method, path, tuple(parse_qsl(query)), headers, body, headers.get("Content-Type", ""))
