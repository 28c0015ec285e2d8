"""HTTP itself: one request over kept connections, by aiohttp, and words for failures.

`engine.net.https` imports this module with the first request that a process makes: aiohttp
is a third of a feed's start, and a feed whose WebSocket serves asks nothing.
"""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from engine.errors import EngineError
from engine.net.resolver import Resolver, Unreachable
from engine.telemetry.version import PACKAGE, engine_version
from engine.units import NS_PER_S, WallNs

CONNECT_DEADLINE_S: Final = 4.0  # DNS, TCP and TLS
KEPT_S: Final = 10.0  # an idle connection; the longer it is kept, the likelier it is dead when it is used
CONNECTIONS_MAX: Final = 4
CHUNK_BYTES: Final = 64 * 1024
RETRY_AFTER_S_MAX: Final = 3600
FAILURES: Final = (aiohttp.ClientError, OSError, EngineError, ValueError, EOFError)
"""What `HttpSession.ask` raises when there is no complete answer."""


class HttpSession:
    """Kept connections to one service, on one event loop."""

    def __init__(self, base_url: str, resolver: Resolver, tls: ssl.SSLContext | bool) -> None:
        self._base_url = base_url
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_beginning)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_KnownAddresses(resolver),
                socket_factory=lambda address: resolver.new_socket(*address[:3]),
                use_dns_cache=False,  # the resolver remembers addresses itself
                ssl=tls,
                limit=CONNECTIONS_MAX,
                keepalive_timeout=KEPT_S,
            ),
            # The caller has the deadline of the whole.
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_DEADLINE_S, sock_connect=CONNECT_DEADLINE_S),
            headers={
                "User-Agent": f"{PACKAGE}/{engine_version()}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        begin: Callable[[], None],
        body_bytes_max: int,
    ) -> tuple[int, bytes, int, WallNs]:
        """Status and body of a complete answer, seconds to stay away, and when it was sent
        by the server's clock, 0 if it does not say; raises one of FAILURES.

        `begin` is called before the first byte is given to the socket.
        """
        async with self._session.request(
            method,
            URL(self._base_url + target, encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
            trace_request_ctx=begin,
        ) as answer:
            received = bytearray()
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                received += chunk
                if len(received) > body_bytes_max:
                    answer.close()
                    raise ValueError(f"the answer is longer than {body_bytes_max:,} bytes")
            told = answer.headers
            stay_away_s = _retry_after_s(told.get("Retry-After", ""))
            return answer.status, bytes(received), stay_away_s, _sent_at(told.get("Date", ""))


async def _note_beginning(_: object, context: SimpleNamespace, __: object) -> None:
    """aiohttp calls this right before it gives the first byte to the socket."""
    context.trace_request_ctx()


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


def words_for(error: Exception, patience_s: float) -> str:
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


def _sent_at(date: str) -> WallNs:
    """What a Date header says, such as `Sun, 06 Nov 1994 08:49:37 GMT`; 0 if that is no
    date.
    """
    with suppress(ValueError, OverflowError):
        if date.endswith(" GMT"):
            return WallNs(max(0, int(parsedate_to_datetime(date).timestamp())) * NS_PER_S)
    return WallNs(0)
