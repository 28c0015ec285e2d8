"""HTTPS for Kraken's REST: one request, one answer, and what a failure proves.

    DNS, connecting, TLS fail; deadline before the request begins      NotSent: nothing has left, safe to send again
    anything later: reset, deadline, torn or endless answer            InDoubt: it may have been carried out
    a complete answer, whatever its status                             HttpAnswer

A POST is sent once. aiohttp repeats GETs whose kept connection turned out dead, and nothing
else. Redirects are not followed, because a signature is made for one host and path.
"""

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.clock import Clock
from engine.endpoints import check_rest_url
from engine.errors import EngineError
from engine.net.own_thread import on_own_thread
from engine.net.resolver import Resolver
from engine.net.tls import client_context
from engine.units import WallNs

if TYPE_CHECKING:
    from engine.net.http_session import HttpSession

DEADLINE_S: Final = 10.0  # from the call to the last byte of the answer
BODY_BYTES_MAX: Final = 16 * 1024 * 1024  # all pairs of Kraken are 2 MB
DETAIL_CHARS_MAX: Final = 200


class HttpAnswer(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes
    took_ns: int
    """From the call to the last byte, connecting included."""
    retry_after_s: int = 0
    """How long the server asks us to stay away; 0 when it does not."""
    sent_at: WallNs = WallNs(0)
    """By the server's clock, cut to the second; 0 when it does not say."""


class RequestFailed(EngineError):
    """There is no complete answer; the subclass says what that proves."""

    def __init__(self, call: str, why: str) -> None:
        super().__init__(f"{call}: {why}")
        self.why = why
        """What went wrong, without the address: that may be a secret."""


class NotSent(RequestFailed):
    """Not a byte of the request has left this process."""


class InDoubt(RequestFailed):
    """At least a part of the request has left; whether it was carried out is unknown."""


class _Attempt:
    """The progress of one request."""

    __slots__ = ("has_begun",)

    def __init__(self) -> None:
        # Set before the first byte is given to the socket.
        self.has_begun = False

    def begin(self) -> None:
        self.has_begun = True


class HttpsClient:
    """Kept connections to one service. Use it on one event loop; `close` it there."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        resolver: Resolver | None = None,
        ca_file: Path | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Raises ConfigError when the address is not allowed, or `ca_file` cannot be used."""
        endpoint = check_rest_url(base_url)
        self.base_url = base_url.rstrip("/")
        self._clock = clock
        self._deadline_s = deadline_s
        self._resolver = resolver or Resolver()
        self._tls: ssl.SSLContext | bool = client_context(ca_file) if endpoint.is_secure else True
        # Made with the first request, because it belongs to the loop that runs then.
        self._session: HttpSession | None = None
        self.requests = 0
        self.not_sent = 0
        self.in_doubt = 0

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        deadline_s: float | None = None,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> HttpAnswer:
        """Send one request and return its answer; raises NotSent or InDoubt. `target`
        begins with a slash.
        """
        patience_s = self._deadline_s if deadline_s is None else deadline_s
        self.requests += 1
        attempt = _Attempt()
        started_at = self._clock.mono_ns()
        http = await _http()
        try:
            async with asyncio.timeout(patience_s):
                if self._session is None:
                    self._session = http.HttpSession(self.base_url, self._resolver, self._tls)
                status, answer, retry_after_s, sent_at = await self._session.ask(
                    method, target, headers, body, attempt.begin, body_bytes_max
                )
        except http.FAILURES as error:
            # Not chained: aiohttp's errors carry the request's headers, and with them the
            # signature.
            why = http.words_for(error, patience_s)
            raise self._failure(attempt, why, f"{method} {target.partition('?')[0]}") from None
        return HttpAnswer(status, answer, self._clock.mono_ns() - started_at, retry_after_s, sent_at)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _failure(self, attempt: _Attempt, why: str, call: str) -> RequestFailed:
        why = why[:DETAIL_CHARS_MAX]
        if attempt.has_begun:
            self.in_doubt += 1
            return InDoubt(f"{self.base_url}: {call}", why)
        self.not_sent += 1
        return NotSent(f"{self.base_url}: {call}", why)


_loaded: list[ModuleType] = []  # `engine.net.http_session`, once a process has asked something


async def _http() -> ModuleType:
    """`engine.net.http_session`, loaded beside the event loop: others are served meanwhile."""
    if not _loaded:
        _loaded.append(await asyncio.wrap_future(on_own_thread(partial(import_module, "engine.net.http_session"))))
    return _loaded[0]
