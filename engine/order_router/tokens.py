"""WebSocket tokens: fetched in the router, ahead of their end, and given to each new private connection.

                          age   0 ── refresh_s (10 min) ── AGE_S_MAX (13 min) ── 15 min
    given to a connection          yes      a new one is fetched      never        dead at Kraken

`fresh` gives a token that no connection has had, but that those who ask at the same time share. A failure makes all of
them wait: the next request goes out after a growing, jittered pause, and after several failures in a row not for a
minute; what only a person can mend is not asked again until `anew`. Tokens that Kraken refuses one after the other make
them wait as well: each costs a call of the key. The private feed asks over a Unix socket, mode 0600, for this user's
processes only. No token is ever logged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog

from engine.clock import Clock
from engine.errors import EngineError
from engine.kraken.connection.error_catalog import ErrorKind
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS, Retry
from engine.net.control_socket import Answer, Request, serve_control
from engine.processes.token_socket import ASK_DEADLINE_S, NoToken
from engine.secret import Secret
from engine.units import NS_PER_S, MonoNs

AGE_S_MAX: Final = 780.0  # Kraken's tokens die at 900 s; this leaves two minutes to connect and subscribe
REFRESH_S: Final = 600.0
PAUSE_S_MIN: Final = 0.5  # ceiling of the first pause after a failure; it doubles with each
PASSING: Final = (ErrorKind.TRANSPORT, ErrorKind.SERVICE)  # Kraken's own trouble, or the network's
REFUSED_SOON_S: Final = 5.0  # a token that is refused at this age, or sooner, has hardly been of use
BREAKER_FAILURES: Final = 5
BREAKER_OPEN_S: Final = 60.0

Fetch = Callable[[], Awaitable[tuple[str, int]]]

log = structlog.get_logger("tokens")


class TokenSource:
    """The tokens of one key. Use it on one event loop, and call `do_work` a few times a second."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        clock: Clock,
        rng: Random,
        refresh_s: float = REFRESH_S,
        breaker_failures: int = BREAKER_FAILURES,
        breaker_open_s: float = BREAKER_OPEN_S,
        on_refresh: Callable[[str], None] | None = None,
    ) -> None:
        """`fetch` gives a new token and its seconds to live, or EngineError; `on_refresh` is told each new token."""
        self._fetch = fetch
        self._clock = clock
        self._refresh_ns = int(min(refresh_s, AGE_S_MAX) * NS_PER_S)
        self._breaker_failures = breaker_failures
        self._breaker_open_s = breaker_open_s
        self._on_refresh = on_refresh
        # The newest token, when it was asked for, and after which age it is not given away; None before the first, and
        # after it was refused.
        self._token: Secret | None = None
        self._fetched_at = MonoNs(0)
        self._age_ns_max = 0
        # Has a connection had it?
        self._is_given = False
        self._fetching: asyncio.Task[Secret] | None = None
        # When it may be asked for: after failures, and after tokens that were refused as soon as they were used.
        self._retry = Retry(rng.random, first_ns=int(PAUSE_S_MIN * NS_PER_S))
        self._refusals = Retry(rng.random, first_ns=int(PAUSE_S_MIN * NS_PER_S))
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
        return self._retry.failures_in_a_row >= self._breaker_failures and self._clock.mono_ns() < self._retry_at

    @property
    def _retry_at(self) -> MonoNs:
        """No request before this."""
        return max(self._retry.at, self._refusals.at)

    async def fresh(self) -> str:
        """A token for a new connection; NoToken when none can be had now."""
        self._is_wanted = True
        if self._fetching is None:
            if self._token is not None and not self._is_given and self._age_ns() < self._refresh_ns:
                self._is_given = True
                return self._token.reveal()
            self._begin_fetch()
        assert self._fetching is not None
        # Shielded: who gives up waiting must not take the token from the others.
        token = await asyncio.shield(self._fetching)
        self._is_given = True
        return token.reveal()

    def invalidate(self, token: str, reason: str = "the token was refused") -> None:
        """Kraken has refused this token (ESession, EAPI:Invalid token): the next one who asks gets another.

        At once; only when several in a row were refused as soon as they were used, after growing pauses.
        """
        if self._token is None or self._token != Secret(token):
            return
        if self._age_ns() > REFUSED_SOON_S * NS_PER_S:
            self._refusals.succeeded()
            self._refused_in_a_row = 0
        self._token = None
        self.invalidated += 1
        self._refused_in_a_row += 1
        if self._refused_in_a_row > 1:
            self.last_error = reason
            self._refusals.failed(ErrorKind.TOKEN, self._clock.mono_ns())

    def reachable_again(self) -> None:
        """Kraken has taken a connection: if it could not be reached before, ask at once, once."""
        if self._failed_for in PASSING and not self._retry.is_over:
            self._retry.at = MonoNs(0)

    def anew(self) -> None:
        """Something has changed, such as the key's permissions: ask again, whatever was refused before."""
        self._retry.anew()
        self._refusals.anew()
        self._refused_in_a_row = 0

    def do_work(self) -> None:
        """Fetch the next token when the present one is old, or was refused."""
        if not self._is_wanted or self._fetching is not None or self._clock.mono_ns() < self._retry_at:
            return
        if self._token is None or self._age_ns() >= self._refresh_ns:
            self._begin_fetch()

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

    async def close(self) -> None:
        """Give up a request that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError, EngineError):
                await self._fetching

    def _age_ns(self) -> int:
        return self._clock.mono_ns() - self._fetched_at

    def _begin_fetch(self) -> None:
        left_ns = self._retry_at - self._clock.mono_ns()
        if self._retry.is_over:
            raise NoToken(f"{self.last_error} (asked again when that is mended: `engine resume`, or a new start)")
        if left_ns > 0:
            raise NoToken(f"{self.last_error} (asked again in {left_ns / NS_PER_S:.1f} s)")
        self._fetching = asyncio.get_running_loop().create_task(self._fetch_one())
        self._fetching.add_done_callback(self._fetched)

    async def _fetch_one(self) -> Secret:
        asked_at = self._clock.mono_ns()
        try:
            text, expires_s = await self._fetch()
        except EngineError as error:
            kind, lockout_ns = (
                (error.kind, error.lockout_ns)
                if isinstance(error, NoToken)
                else (ErrorKind.TRANSPORT, LOCKOUT_PAUSE_NS)
            )
            self._note_failure(str(error), kind, lockout_ns)
            raise NoToken(str(error), kind) from None
        self._token = Secret(text)
        self._fetched_at = asked_at
        self._age_ns_max = int(min(expires_s, AGE_S_MAX) * NS_PER_S)
        self._is_given = False
        self._retry.succeeded()
        self.refreshes += 1
        if self._on_refresh is not None:
            self._on_refresh(text)
        return self._token

    def _fetched(self, fetching: "asyncio.Task[Secret]") -> None:
        self._fetching = None
        error = None if fetching.cancelled() else fetching.exception()
        if error is not None and not isinstance(error, NoToken):  # a fault of ours; perhaps nobody waits to be told
            log.error("fetching failed", error=repr(error))
            self._note_failure(type(error).__name__, ErrorKind.UNKNOWN, LOCKOUT_PAUSE_NS)

    def _note_failure(self, reason: str, kind: ErrorKind, lockout_ns: int) -> None:
        now = self._clock.mono_ns()
        self.failures += 1
        self.last_error = reason
        self._failed_for = kind
        self._retry.failed(kind, now, lockout_ns)
        if self._retry.failures_in_a_row >= self._breaker_failures:
            self._retry.at = max(self._retry.at, MonoNs(now + int(self._breaker_open_s * NS_PER_S)))
        retry_in_s = None if self._retry.is_over else round(self._retry.wait_ns(now) / NS_PER_S, 1)
        log.warning("no websocket credential", reason=reason, retry_in_s=retry_in_s, failures=self.failures)


async def serve_tokens(path: Path, tokens: TokenSource) -> asyncio.AbstractServer:
    """Give each of this user's processes that asks a fresh token, until the server is closed."""

    async def give(_: Request) -> Answer:
        return {"token": await tokens.fresh()}

    return await serve_control(path, {"token": give}, ASK_DEADLINE_S)
