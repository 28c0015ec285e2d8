"""From a name to a socket: DNS with a deadline and a memory, every address in turn."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from engine.net.resolver import ADDRESSES_PER_HOST_MAX, HOSTS_MAX, Address, Resolver, Unreachable, system_lookup
from tests.waiting import PATIENCE_S


def loopback(port: int) -> Address:
    return Address(socket.AF_INET, ("127.0.0.1", port))


class Dns:
    """Answers what it was last told to; notes how often it was asked."""

    def __init__(self, *answers: Address) -> None:
        self.answer: Sequence[Address] | OSError = answers
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked += 1
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def closed_port() -> int:
    with listener() as sock:
        return sock.getsockname()[1]


def test_every_address_is_tried_in_turn_and_the_good_one_first_next_time(run: Callable[..., None]) -> None:
    """One address that refuses costs one try, and only the first time."""

    async def scenario() -> None:
        with listener() as server:
            good, bad = loopback(server.getsockname()[1]), loopback(closed_port())
            resolver = Resolver(Dns(bad, good))
            with await resolver.connect("venue.test", 443) as sock:
                assert sock.getpeername() == good.sockaddr
                assert not sock.getblocking()

            assert list(await resolver.addresses("venue.test", 443)) == [good, bad]

    run(scenario())


def test_when_no_address_answers_each_is_named(run: Callable[..., None]) -> None:
    """The error says which addresses were tried and what each said."""

    async def scenario() -> None:
        resolver = Resolver(Dns(loopback(closed_port()), loopback(closed_port())))

        with pytest.raises(
            Unreachable,
            match=r"^cannot connect to venue.test port 443: "
            r"127.0.0.1: connection refused, 127.0.0.1: connection refused$",
        ):
            await resolver.connect("venue.test", 443)

    run(scenario())


def test_an_address_that_does_not_answer_has_a_deadline(run: Callable[..., None]) -> None:
    """A full backlog swallows the SYN, as a firewall would; the next address is tried."""

    async def scenario() -> None:
        with socket.socket() as deaf, listener() as server:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            port = deaf.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            good = loopback(server.getsockname()[1])
            resolver = Resolver(Dns(loopback(port), good), connect_deadline_s=0.5)
            with await resolver.connect("venue.test", 443) as sock:
                assert sock.getpeername() == good.sockaddr
            for filler in fillers:
                filler.close()

    run(scenario())


def test_the_last_known_addresses_serve_when_dns_fails(run: Callable[..., None]) -> None:
    """DNS that is down must not keep us from a venue that is up; an answer it gives later is used again."""

    async def scenario() -> None:
        dns = Dns(loopback(1), loopback(2))
        resolver = Resolver(dns)
        assert list(await resolver.addresses("venue.test", 443)) == [loopback(1), loopback(2)]
        dns.answer = OSError(-3, "Temporary failure in name resolution")
        assert list(await resolver.addresses("venue.test", 443)) == [loopback(1), loopback(2)]
        dns.answer = []
        assert list(await resolver.addresses("venue.test", 443)) == [loopback(1), loopback(2)]
        assert resolver.stale_answers == 2
        dns.answer = [loopback(3)]

        assert list(await resolver.addresses("venue.test", 443)) == [loopback(3)]
        assert resolver.stale_answers == 2

    run(scenario())


def test_a_name_never_known_is_an_error_that_says_so(run: Callable[..., None]) -> None:
    """Nothing to fall back on: one sentence with the host and what DNS said."""

    async def scenario() -> None:
        resolver = Resolver(Dns())
        with pytest.raises(Unreachable, match=r"^cannot resolve venue.test: the name has no address$"):
            await resolver.addresses("venue.test", 443)

    run(scenario())


def test_a_hanging_lookup_has_a_deadline_and_is_never_doubled(run: Callable[..., None]) -> None:
    """getaddrinfo cannot be interrupted: it keeps its one thread, later attempts join it and get its answer."""
    release, asked = threading.Event(), []

    def hangs(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        release.wait(PATIENCE_S)
        return [loopback(7)]

    async def scenario() -> None:
        resolver = Resolver(hangs, lookup_deadline_s=0.02)
        for _ in range(3):
            with pytest.raises(Unreachable, match=r"^cannot resolve venue.test: no answer within 0.02 s$"):
                await resolver.addresses("venue.test", 443)
        assert asked == ["venue.test"]
        release.set()
        found: Sequence[Address] = ()
        while not found:  # the thread may need more than one deadline to come back
            with suppress(Unreachable):
                found = await resolver.addresses("venue.test", 443)

        assert list(found) == [loopback(7)]
        assert asked == ["venue.test"]

    run(scenario())


def test_two_connections_share_one_lookup(run: Callable[..., None]) -> None:
    """Asked at the same time for the same host, DNS is asked once."""
    dns = Dns(loopback(1))

    async def scenario() -> None:
        resolver = Resolver(dns)
        first, second = await asyncio.gather(*[resolver.addresses("venue.test", 443) for _ in range(2)])

        assert list(first) == list(second) == [loopback(1)]
        assert dns.asked == 1

    run(scenario())


def test_what_is_remembered_is_bounded(run: Callable[..., None]) -> None:
    """So many hosts, so many addresses of each: without DNS the last ones are known, and no
    other.
    """

    async def scenario() -> None:
        dns = Dns(*[loopback(i) for i in range(1, 100)])
        resolver, hosts, known = Resolver(dns), [f"{i}.test" for i in range(3 * HOSTS_MAX)], []
        for host in hosts:
            assert len(await resolver.addresses(host, 443)) == ADDRESSES_PER_HOST_MAX
        dns.answer = []
        for host in hosts:
            with suppress(Unreachable):
                assert len(await resolver.addresses(host, 443)) == ADDRESSES_PER_HOST_MAX
                known.append(host)

        assert known == hosts[-HOSTS_MAX:]

    run(scenario())


def test_system_lookup_knows_loopback() -> None:
    """The operating system resolves what needs no network."""
    assert loopback(443) in system_lookup("localhost", 443)
    assert system_lookup("::1", 443) == [Address(socket.AF_INET6, ("::1", 443, 0, 0))]
    with pytest.raises(OSError):
        system_lookup("no such host", 443)
