"""WebSocket tokens: asked for ahead of their end, and given to each new private connection.

                          age   0 ── refresh_ns (10 min) ── AGE_NS_MAX (13 min) ── 15 min
    given to a connection          yes      a new one is asked for     never        dead at Kraken

`give` gives a token that no connection has had, but that those who ask at the same time share. A failure makes all of
them wait: the next request goes out after a growing, jittered pause, and after several failures in a row not for a
minute; what only a person can mend is not asked again until `anew`. Tokens that Kraken refuses one after the other make
them wait as well: each costs a call of the key. No token is ever logged.
"""

from collections.abc import Callable
from typing import Any, Final

import structlog

from engine.errors import EngineError
from engine.instant import Instant
from engine.kraken.connection.error_catalog import ErrorKind
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS, Retry
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.secret import Secret
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

AGE_NS_MAX: Final = 780 * NS_PER_S  # Kraken's tokens die at 900 s; this leaves two minutes to connect and subscribe
REFRESH_NS: Final = 600 * NS_PER_S
DEADLINE_S: Final = 3.0  # of one request
PAUSE_NS_MIN: Final = 500 * NS_PER_MS  # ceiling of the first pause after a failure; it doubles with each
PASSING: Final = (ErrorKind.TRANSPORT, ErrorKind.SERVICE)  # Kraken's own trouble, or the network's
REFUSED_SOON_NS: Final = 5 * NS_PER_S  # a token that is refused at this age, or sooner, has hardly been of use
BREAKER_FAILURES: Final = 5
BREAKER_OPEN_NS: Final = 60 * NS_PER_S

log = structlog.get_logger("tokens")


class NoToken(EngineError):
    """There is no token to be had now; the text says why, and when the next is asked for."""


Taker = Callable[["Secret | NoToken"], None]


class TokenSource:
    """The tokens of one key. Call `ask_due` a few times a second."""

    def __init__(
        self, calls: CallQueue, now: Instant, chance: Callable[[], float], *, refresh_ns: int = REFRESH_NS
    ) -> None:
        self._calls = calls
        self._now = now
        self._refresh_ns = min(refresh_ns, AGE_NS_MAX)
        # The newest token, when it was asked for, and after which age it is not given away; None before the first, and
        # after it was refused.
        self._token: Secret | None = None
        self._asked_at = MonoNs(0)
        self._age_ns_max = 0
        # Has a connection had it?
        self._is_given = False
        # Who waits for the request that is under way; None while none is.
        self._takers: list[Taker] | None = None
        # When it may be asked for: after failures, and after tokens that were refused as soon as they were used.
        self._retry = Retry(chance, first_ns=PAUSE_NS_MIN)
        self._refusals = Retry(chance, first_ns=PAUSE_NS_MIN)
        self._refused_in_a_row = 0
        # What the last failure was about.
        self._failed_for = ErrorKind.UNKNOWN
        self._is_wanted = False
        self.refreshes = 0
        self.failures = 0
        self.invalidated = 0
        self.last_error = ""

    @property
    def token(self) -> str | None:
        """The newest token, for requests on a connection that stands; None when there is none that is sure to live."""
        if self._token is None or self._age_ns() >= self._age_ns_max:
            return None
        return self._token.reveal()

    @property
    def is_open(self) -> bool:
        """Is the breaker open: does nothing go out for a while?"""
        return self._retry.failures_in_a_row >= BREAKER_FAILURES and self._now.mono < self._retry_at

    @property
    def _retry_at(self) -> MonoNs:
        """No request before this."""
        return max(self._retry.at, self._refusals.at)

    def give(self, taker: Taker) -> None:
        """Give `taker` a token for a new connection, now or when it has come; NoToken when none can be had now."""
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
        """Kraken has refused this token (ESession, EAPI:Invalid token): the next one who asks gets another.

        At once; only when several in a row were refused as soon as they were used, after growing pauses.
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
        """Kraken has taken a connection: if it could not be reached before, ask at once, once."""
        if self._failed_for in PASSING and not self._retry.is_over:
            self._retry.at = MonoNs(0)

    def anew(self) -> None:
        """Something has changed, such as the key's permissions: ask again, whatever was refused before."""
        self._retry.anew()
        self._refusals.anew()
        self._refused_in_a_row = 0

    def ask_due(self) -> None:
        """Ask for the next token when the present one is old, or was refused."""
        if not self._is_wanted or self._takers is not None or self._now.mono < self._retry_at:
            return
        if self._token is None or self._age_ns() >= self._refresh_ns:
            self._ask([])

    def statistics(self) -> dict[str, Any]:
        """For `engine status`."""
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
        log.warning("no websocket credential", reason=reason, retry_in_s=retry_in_s, failures=self.failures)
