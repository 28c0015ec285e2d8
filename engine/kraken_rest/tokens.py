"""WebSocket tokens: requested before they expire, and given to each new private connection.

                          age   0 ── refresh_ns (10 min) ── AGE_NS_MAX (13 min) ── 15 min
    given to a connection          yes      a new one is asked for     never        dead at Kraken

`give` gives a token that no earlier connection was given; those who ask while one request
is under way share its token. A failed request fails all of them; the next goes out after a
growing, jittered pause, and after several failures in a row not for a minute. After an
error that only a person can mend, nothing is requested until `anew`. Tokens that Kraken
refuses one after the other cause pauses as well, since each costs a call of the key. No
token is logged.
"""

from collections.abc import Callable
from typing import Any, Final

import structlog

from engine.errors import EngineError
from engine.instant import Instant
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS, Retry
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.orders.refusal import ErrorKind
from engine.secret import Secret
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

AGE_NS_MAX: Final = 780 * NS_PER_S  # Kraken's tokens die at 900 s; this leaves two minutes to connect and subscribe
REFRESH_NS: Final = 600 * NS_PER_S
DEADLINE_S: Final = 3.0  # of one request
PAUSE_NS_MIN: Final = 500 * NS_PER_MS  # ceiling of the first pause after a failure; it doubles with each
PASSING: Final = (ErrorKind.TRANSPORT, ErrorKind.SERVICE)  # failures on Kraken's side or of the network
REFUSED_SOON_NS: Final = 5 * NS_PER_S  # a token refused within this age was as good as never valid
BREAKER_FAILURES: Final = 5
BREAKER_OPEN_NS: Final = 60 * NS_PER_S

log = structlog.get_logger("tokens")


class NoToken(EngineError):
    """No token can be had now; the text says why, and when the next is requested."""


Taker = Callable[["Secret | NoToken"], None]


class TokenSource:
    """The tokens of one key. Call `ask_due` a few times a second."""

    def __init__(
        self, calls: CallQueue, now: Instant, chance: Callable[[], float], *, refresh_ns: int = REFRESH_NS
    ) -> None:
        self._calls = calls
        self._now = now
        self._refresh_ns = min(refresh_ns, AGE_NS_MAX)
        # The newest token, when it was requested, and the age from which it is not given
        # away; None before the first, and after it was refused.
        self._token: Secret | None = None
        self._asked_at = MonoNs(0)
        self._age_ns_max = 0
        # Whether a connection was given it.
        self._is_given = False
        # The takers of the request that is under way; None if none is.
        self._takers: list[Taker] | None = None
        # When the next request may go out: after failures, and after tokens refused as soon
        # as they were used.
        self._retry = Retry(chance, first_ns=PAUSE_NS_MIN)
        self._refusals = Retry(chance, first_ns=PAUSE_NS_MIN)
        self._refused_in_a_row = 0
        # The kind of the last failure.
        self._failed_for = ErrorKind.UNKNOWN
        self._is_wanted = False
        self.refreshes = 0
        self.failures = 0
        self.invalidated = 0
        self.last_error = ""

    @property
    def token(self) -> str | None:
        """The newest token, for requests on an established connection; None if no token is
        certainly valid.
        """
        if self._token is None or self._age_ns() >= self._age_ns_max:
            return None
        return self._token.reveal()

    @property
    def is_open(self) -> bool:
        """True while the breaker is open, so that no request goes out."""
        return self._retry.failures_in_a_row >= BREAKER_FAILURES and self._now.mono < self._retry_at

    @property
    def _retry_at(self) -> MonoNs:
        """The earliest time of the next request."""
        return max(self._retry.at, self._refusals.at)

    def give(self, taker: Taker) -> None:
        """Call `taker` with a token for a new connection, at once or when one has arrived;
        with NoToken if none can be had.
        """
        self._is_wanted = True
        if self._takers is not None:
            self._takers.append(taker)
        elif self._token is not None and not self._is_given and self._age_ns() < self._refresh_ns:
            self._is_given = True
            taker(self._token)
        elif self._retry.is_over:
            taker(NoToken(f"{self.last_error} (asked again when that is mended: `engine resume`, or a new start)"))
        elif (left_ns := self._retry_at - self._now.mono) > 0:
            taker(NoToken(f"{self.last_error} (asked again in {left_ns / NS_PER_S:.1f} s)"))
        else:
            self._ask([taker])

    def invalidate(self, token: str, reason: str = "the token was refused") -> None:
        """Drop a token that Kraken refused (ESession, EAPI:Invalid token); the next `give`
        gives another.

        The next is requested at once; only if several in a row were refused as soon as they
        were used, after a growing pause.
        """
        if self._token is None or self._token != Secret(token):
            return
        if self._age_ns() > REFUSED_SOON_NS:
            self._refusals.succeeded()
            self._refused_in_a_row = 0
        self._token = None
        self.invalidated += 1
        self._refused_in_a_row += 1
        if self._refused_in_a_row > 1:
            self.last_error = reason
            self._refusals.failed(ErrorKind.TOKEN, self._now.mono)

    def reachable_again(self) -> None:
        """Kraken has accepted a connection: if it was unreachable before, make one request
        without a pause.
        """
        if self._failed_for in PASSING and not self._retry.is_over:
            self._retry.at = MonoNs(0)

    def anew(self) -> None:
        """Request again what was refused, because something has changed, such as the key's
        permissions.
        """
        self._retry.anew()
        self._refusals.anew()
        self._refused_in_a_row = 0

    def ask_due(self) -> None:
        """Request the next token if the present one is old or was refused."""
        if not self._is_wanted or self._takers is not None or self._now.mono < self._retry_at:
            return
        if self._token is None or self._age_ns() >= self._refresh_ns:
            self._ask([])

    def statistics(self) -> dict[str, Any]:
        """Counts and ages for `engine status`."""
        return {
            "age_s": None if self._token is None else round(self._age_ns() / NS_PER_S, 1),
            "refreshes": self.refreshes,
            "failures": self.failures,
            "invalidated": self.invalidated,
            "breaker": "open" if self.is_open else "closed",
            "last_error": self.last_error,
        }

    def _age_ns(self) -> int:
        return self._now.mono - self._asked_at

    def _ask(self, takers: list[Taker]) -> None:
        self._takers = takers
        asked_at = self._now.mono
        self._calls.put(RestCall(
            rest_requests.get_websockets_token(), rest_replies.read_websockets_token,
            lambda answer: self._take(answer, asked_at), deadline_s=DEADLINE_S,
        ))  # fmt: skip

    def _take(self, answer: Any, asked_at: MonoNs) -> None:
        takers, self._takers = self._takers or [], None
        given: Secret | NoToken
        if isinstance(answer, RestRefusal):
            self._note_failure(answer.sentence, answer.meaning.kind)
            given = NoToken(answer.sentence)
        else:
            given = self._token = Secret(answer.token)
            self._asked_at = asked_at
            self._age_ns_max = min(int(answer.expires_s * NS_PER_S), AGE_NS_MAX)
            self._is_given = bool(takers)
            self._retry.succeeded()
            self.refreshes += 1
        for taker in takers:
            taker(given)

    def _note_failure(self, reason: str, kind: ErrorKind) -> None:
        now = self._now.mono
        self.failures += 1
        self.last_error = reason
        self._failed_for = kind
        lockout_ns = int(self._calls.locked_out_s * NS_PER_S) or LOCKOUT_PAUSE_NS
        self._retry.failed(kind, now, lockout_ns)
        if self._retry.failures_in_a_row >= BREAKER_FAILURES:
            self._retry.at = max(self._retry.at, MonoNs(now + BREAKER_OPEN_NS))
        retry_in_s = None if self._retry.is_over else round(self._retry.wait_ns(now) / NS_PER_S, 1)
        log.warning("no WebSocket token", reason=reason, retry_in_s=retry_in_s, failures=self.failures)
