"""News from a child to the supervisor."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from engine.processes.launch import News, decode_news
from engine.processes.news import NewsSender

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Pair]:
    """The child's end, and the supervisor's."""
    child, supervisor = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    supervisor.setblocking(False)
    with child, supervisor:
        yield child, supervisor


async def take(supervisor: socket.socket, count: int) -> list[News]:
    loop = asyncio.get_running_loop()
    return [decode_news(await loop.sock_recv(supervisor, 4096)) for _ in range(count)]


def refused(symbol: str, channel: str = "book") -> News:
    return News("refused", f"Kraken refuses {channel} of {symbol}", symbol)


def test_of_many_names_that_are_refused_at_once_none_is_lost(sockets: Pair) -> None:
    """However few the socket holds: whoever waits for one would wait for ever."""
    child, supervisor = sockets
    symbols = [f"P{number}/USD" for number in range(2_000)]

    async def scenario() -> list[News]:
        sender = NewsSender(child)
        for symbol in symbols:
            sender.tell(refused(symbol))
        return await take(supervisor, len(symbols))

    assert asyncio.run(scenario()) == [refused(symbol) for symbol in symbols]


def test_of_a_name_that_waits_one_refusal_is_enough(sockets: Pair) -> None:
    """Its channels are refused one by one."""
    child, supervisor = sockets

    async def scenario() -> list[News]:
        sender = NewsSender(child)
        for number in range(2_000):
            sender.tell(refused(f"P{number}/USD"))
        for _ in range(3):
            sender.tell(refused("X/USD", "trade"))
        sender.tell(News("fatal", "it cannot run"))
        return await take(supervisor, 2_002)

    *_, last, end = asyncio.run(scenario())
    assert last == refused("X/USD", "trade")
    assert end.kind == "fatal"


def test_a_supervisor_that_is_gone_is_told_nothing(sockets: Pair) -> None:
    child, supervisor = sockets
    supervisor.close()

    async def scenario() -> None:
        NewsSender(child).tell(refused("X/USD"))

    asyncio.run(scenario())


def test_news_that_cannot_be_sent_at_all_is_in_the_way_of_no_other(sockets: Pair) -> None:
    """Too long for a datagram, or for a supervisor that is gone: only what finds no room is tried again."""
    child, supervisor = sockets
    too_long = News("refused", "x" * 2**20, "X/USD")

    async def scenario() -> list[News]:
        sender = NewsSender(child)
        sender.tell(too_long)
        sender.tell(refused("Y/USD"))
        return await take(supervisor, 1)

    async def with_deadline() -> list[News]:
        async with asyncio.timeout(10.0):
            return await scenario()

    assert asyncio.run(with_deadline()) == [refused("Y/USD")]
