"""HTTPS for Kraken's REST: one request, one answer, and what a failure proves.

    DNS, connecting, TLS fail; deadline before the request begins      NotSent: nothing has left, safe to send again
    anything later: reset, deadline, torn or endless answer            InDoubt: it may have been carried out
    a complete answer, whatever its status                             HttpAnswer

A POST is sent once. aiohttp repeats GETs whose kept connection turned out dead, and nothing
else. Redirects are not followed, because a signature is made for one host and path.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from engine.clock import Clock
from engine.endpoints import check_rest_url
from engine.errors import EngineError
from engine.net.resolver import Resolver, Unreachable
from engine.net.tls import client_context

DEADLINE_S: Final = 10.0  # from the call to the last byte of the answer
CONNECT_DEADLINE_S: Final = 4.0  # DNS, TCP and TLS
KEPT_S: Final = 10.0  # an idle connection; the longer it is kept, the likelier it is dead when it is used
CONNECTIONS_MAX: Final = 4
BODY_BYTES_MAX: Final = 16 * 1024 * 1024  # all pairs of Kraken are 2 MB
CHUNK_BYTES: Final = 64 * 1024
RETRY_AFTER_S_MAX: Final = 3600
DETAIL_CHARS_MAX: Final = 200


class HttpAnswer(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes
    took_ns: int
    """From the call to the last byte, connecting included."""
    retry_after_s: int = 0
    """How long the server asks us to stay away; 0 when it does not."""


class RequestFailed(EngineError):
    """There is no complete answer; the subclass says what that proves."""


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
        self._session: aiohttp.ClientSession | None = None
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
        try:
            async with asyncio.timeout(patience_s):
                status, answer, retry_after_s = await self._ask(method, target, headers, body, attempt, body_bytes_max)
        except (aiohttp.ClientError, OSError, EngineError, ValueError, EOFError) as error:
            # Not chained: aiohttp's errors carry the request's headers, and with them the
            # signature.
            raise self._failure(attempt, error, f"{method} {target.partition('?')[0]}", patience_s) from None
        return HttpAnswer(status, answer, self._clock.mono_ns() - started_at, retry_after_s)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        attempt: _Attempt,
        body_bytes_max: int,
    ) -> tuple[int, bytes, int]:
        if self._session is None:
            self._session = self._open_session()
        async with self._session.request(
            method,
            URL(self.base_url + target, encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
            trace_request_ctx=attempt,
        ) as answer:
            received = bytearray()
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                received += chunk
                if len(received) > body_bytes_max:
                    answer.close()
                    raise ValueError(f"the answer is longer than {body_bytes_max:,} bytes")
            return answer.status, bytes(received), _retry_after_s(answer.headers.get("Retry-After", ""))

    def _open_session(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_beginning)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_KnownAddresses(self._resolver),
                use_dns_cache=False,  # the resolver remembers addresses itself
                ssl=self._tls,
                limit=CONNECTIONS_MAX,
                keepalive_timeout=KEPT_S,
            ),
            # `request` has the deadline of the whole.
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_DEADLINE_S, sock_connect=CONNECT_DEADLINE_S),
            headers={"User-Agent": _user_agent(), "Accept": "application/json", "Accept-Encoding": "gzip, deflate"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            trust_env=False,
        )

    def _failure(self, attempt: _Attempt, error: Exception, call: str, patience_s: float) -> RequestFailed:
        why = _words(error, patience_s)[:DETAIL_CHARS_MAX]
        if attempt.has_begun:
            self.in_doubt += 1
            return InDoubt(f"{self.base_url}: {call}: {why}")
        self.not_sent += 1
        return NotSent(f"{self.base_url}: {call}: {why}")


async def _note_beginning(_: object, context: SimpleNamespace, __: object) -> None:
    """aiohttp calls this right before it gives the first byte to the socket."""
    context.trace_request_ctx.has_begun = True


class _KnownAddresses(AbstractResolver):
    """Adapts our resolver, with its deadline and its memory, to aiohttp."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            addresses = await self._resolver.addresses(host, port)
        except Unreachable as error:
            raise OSError(str(error)) from None
        return [
            ResolveResult(hostname=host, host=sockaddr[0], port=sockaddr[1], family=kind, proto=0, flags=0)
            for kind, sockaddr in addresses
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """No effect: there is nothing to close."""


def _words(error: Exception, patience_s: float) -> str:
    """Describe what went wrong, without an address or a header."""
    match error:
        case aiohttp.ServerTimeoutError() | aiohttp.ConnectionTimeoutError():
            return f"no connection within {CONNECT_DEADLINE_S:g} s"
        case TimeoutError():
            return f"no answer within {patience_s:g} s"
        case aiohttp.ClientConnectorCertificateError():
            inner = error.certificate_error
            return f"certificate refused: {getattr(inner, 'verify_message', None) or inner}"
        case aiohttp.ClientConnectorSSLError():
            return f"TLS failed: {getattr(error.os_error, 'reason', None) or error.os_error}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {_system_words(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case aiohttp.ClientResponseError():
            return f"not an HTTP answer: {error.message}"
        case OSError():
            return _system_words(error)
        case _:
            return str(error) or type(error).__name__


def _system_words(error: OSError) -> str:
    """The operating system's message; event loops put words of their own into `strerror`."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error) or type(error).__name__


def _retry_after_s(wish: str) -> int:
    wish = wish.strip()
    with suppress(ValueError):
        if wish.isascii() and wish.isdigit() and len(wish) < 10:
            return min(int(wish), RETRY_AFTER_S_MAX)
    return 0


def _user_agent() -> str:
    with suppress(PackageNotFoundError):
        return f"kraken-engine/{version('kraken-engine')}"
    return "kraken-engine"
