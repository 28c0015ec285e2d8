"""From a host name to a connected socket: DNS with a deadline and a memory, every address
in turn.

A name server that is down must not keep us from a venue that is up: the last addresses that
DNS gave for a host are remembered and used when it fails. TLS still verifies the *name*, so
an address that now belongs to another host is refused.

getaddrinfo blocks its thread and cannot be interrupted. It runs in a daemon thread of its
own, at most one per host: the loop's executor would fill up with stuck lookups and delay
the end of the process.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple

from engine.errors import EngineError
from engine.net.dialed_socket import DialedSocket

LOOKUP_DEADLINE_S = 5.0  # the usual resolv.conf gives up on one server after 5 s
CONNECT_DEADLINE_S = 3.0  # per address; one lost SYN is resent after 1 s
ADDRESSES_PER_HOST_MAX = 8  # Cloudflare gives 2 to 4
HOSTS_MAX = 16  # the engine uses three


class Address(NamedTuple):
    """One address of a host."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


class Unreachable(EngineError):
    """No connection to the host; the text names the step and the address."""


Lookup = Callable[[str, int], Sequence[Address]]


def system_lookup(host: str, port: int) -> Sequence[Address]:
    """The addresses that getaddrinfo gives, in its order; raises OSError. Blocks."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [
        Address(family, (str(at[0]), port) if len(at) == 2 else (str(at[0]), port, *at[2:4]))
        for family, _, _, _, at in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


class Resolver:
    """Resolves and connects. One per process, so that connections to a host share its
    addresses.
    """

    def __init__(
        self,
        lookup: Lookup = system_lookup,
        *,
        lookup_deadline_s: float = LOOKUP_DEADLINE_S,
        connect_deadline_s: float = CONNECT_DEADLINE_S,
    ) -> None:
        self._lookup = lookup
        self._lookup_deadline_s = lookup_deadline_s
        self._connect_deadline_s = connect_deadline_s
        # Lookups that have not returned, so that a hanging DNS costs one thread per host
        # and no more.
        self._running: dict[tuple[str, int], Future[Sequence[Address]]] = {}
        # The last answer for each host, the address that worked last first. At most
        # HOSTS_MAX, the oldest is dropped.
        self._known: dict[tuple[str, int], list[Address]] = {}
        # Lookups that failed and were answered from memory.
        self.stale_answers = 0

    async def connect(self, host: str, port: int) -> DialedSocket:
        """A connected, non-blocking socket to the first address that answers; raises
        Unreachable.
        """
        failures = []
        for address in await self.addresses(host, port):
            try:
                sock = await self._connect_one(address)
            except TimeoutError:
                failures.append(f"{address.sockaddr[0]} did not answer within {self._connect_deadline_s:g} s")
            except OSError as error:
                failures.append(f"{address.sockaddr[0]}: {_words(error)}")
            else:
                self._prefer(host, port, address)
                return sock
        raise Unreachable(f"cannot connect to {host} port {port}: {', '.join(failures)}")

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host`, fresh or remembered; raises Unreachable when there are
        none.
        """
        key = (host, port)
        try:
            fresh = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            if key not in self._known:
                raise Unreachable(f"cannot resolve {host}: {_words(error)}") from None
            self.stale_answers += 1
            return self._known[key]
        preferred = self._known.pop(key, [])[:1]
        self._known[key] = sorted(fresh[:ADDRESSES_PER_HOST_MAX], key=lambda address: address not in preferred)
        if len(self._known) > HOSTS_MAX:
            del self._known[next(iter(self._known))]
        return self._known[key]

    async def _resolve(self, host: str, port: int) -> Sequence[Address]:
        key = (host, port)
        if key not in self._running:
            self._running[key] = self._start_lookup(host, port)
        running = self._running[key]
        answer = asyncio.wrap_future(running)
        try:
            await asyncio.wait({answer}, timeout=self._lookup_deadline_s)
        finally:
            if not answer.done():
                answer.cancel()  # ends this wait only; the lookup itself goes on and the next attempt joins it
        if answer.cancelled():
            raise TimeoutError(f"no answer within {self._lookup_deadline_s:g} s")
        self._running.pop(key, None)
        if not answer.result():
            raise OSError("the name has no address")
        return answer.result()

    def _start_lookup(self, host: str, port: int) -> Future[Sequence[Address]]:
        answer: Future[Sequence[Address]] = Future()
        answer.set_running_or_notify_cancel()  # from now on a waiter that gives up cannot cancel it

        def look_up() -> None:
            try:
                answer.set_result(self._lookup(host, port))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=look_up, name=f"lookup {host}", daemon=True).start()
        return answer

    def new_socket(self, family: int, kind: int = socket.SOCK_STREAM, proto: int = 0) -> DialedSocket:
        """A socket that is not connected yet; raises OSError."""
        return DialedSocket(family, kind, proto)

    async def _connect_one(self, address: Address) -> DialedSocket:
        sock = self.new_socket(address.family)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(self._connect_deadline_s):
                await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
            if sock.getsockname() == sock.getpeername():
                # No server listens, and the kernel has chosen that very port for our end:
                # TCP connects it to itself.
                raise ConnectionRefusedError("connection refused")
        except BaseException:
            sock.close()
            raise
        return sock

    def _prefer(self, host: str, port: int, address: Address) -> None:
        known = self._known.get((host, port), [])
        with suppress(ValueError):
            known.remove(address)
            known.insert(0, address)


def _words(error: Exception) -> str:
    """The operating system's message; event loops put words of their own into `strerror`."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(getattr(error, "strerror", None) or error).lower()
