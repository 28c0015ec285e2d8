"""What the venue accepts as WebSocket, byte by byte: clients differ more here than in what
they subscribe to.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from engine.venue.server import REQUEST_BYTES_MAX, Venue
from engine.venue.setup.settings import VenueSettings

STILL = VenueSettings(port=0, symbols=("BTC/USD",), rate=0, snapshot_delay_ms=(1, 3))
PING = b'{"method":"ping","req_id":7}'

TEXT, BINARY, CONTINUATION, CLOSE, PONG = 1, 2, 0, 8, 10
FIN, RSV1 = 0x80, 0x40

PROTOCOL_ERROR = (1002).to_bytes(2, "big")
MESSAGE_TOO_BIG = (1009).to_bytes(2, "big")


class Wire:
    """A client that writes its own bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def upgrade(self, path: str = "/v2", then: bytes = b"", **headers: str) -> str:
        """Ask for the upgrade, with `then` in the same segment; the status line of the
        answer.
        """
        asked = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
        self._writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() + then)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        self.extensions = [line for line in answer.lower().splitlines() if "extensions" in line]
        return answer.partition("\r\n")[0]

    def write(self, frames: bytes) -> None:
        self._writer.write(frames)

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        return first & 0x0F, await self._reader.readexactly(size)


@contextlib.asynccontextmanager
async def wired(venue: Venue) -> AsyncIterator[Wire]:
    """A TCP connection to the venue, not upgraded yet."""
    port = int(venue.public_url.rsplit(":", 1)[1].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(5):
            yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def frame(first_byte: int, payload: bytes) -> bytes:
    """A short frame of a client, masked with zeros."""
    return bytes((first_byte, 0x80 | len(payload))) + bytes(4) + payload


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "keep-alive,upgrade", "Upgrade": "WebSocket"},
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec_WebSocket_Protocol": "json", "Origin": "https://pro.kraken.com"},
    ],
)
async def test_every_usual_way_to_ask_for_the_upgrade(headers: dict[str, str]):
    """Browsers and proxies send `Connection: keep-alive, Upgrade`; no extension is ever
    taken up.
    """
    async with Venue(STILL) as venue, wired(venue) as wire:
        status = await wire.upgrade(**headers)
        _, greeting = await wire.frame()

    assert status == "HTTP/1.1 101 Switching Protocols"
    assert wire.extensions == []
    assert json.loads(greeting)["channel"] == "status"


@pytest.mark.parametrize("connection", ["keep-alive", "upgraded", "close"])
async def test_no_upgrade_where_none_is_asked_for(connection: str):
    """The word must be there, and be the word."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        status = await wire.upgrade(Connection=connection)

    assert status == "HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2?client=x"])
async def test_paths_of_the_public_websocket(path: str):
    """A slash at the end or a query make no difference."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        status = await wire.upgrade(path)

    assert status.endswith("101 Switching Protocols")


@pytest.mark.parametrize("path", ["/", "/?client=x"])
async def test_websocket_v1_is_closed_with_a_sentence(path: str):
    """Who connects to where v1 would be is told that it is not here, and what is."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        status = await wire.upgrade(path, then=frame(FIN | TEXT, b'{"event":"ping"}'))
        opcode, payload = await wire.frame()

    assert status.endswith("101 Switching Protocols")
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1008)
    assert payload[2:].decode() == (
        "WebSocket v1 is not served here: connect to /v2 and use the messages of WebSocket v2"
    )


async def test_other_paths_are_not_found():
    """A path that is neither v2 nor v1 gets 404."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        status = await wire.upgrade("/v3")

    assert status == "HTTP/1.1 404 Not Found"


@pytest.mark.parametrize(
    "frames",
    [
        frame(FIN | TEXT, PING),
        frame(FIN | BINARY, PING),
        frame(TEXT, PING[:9]) + frame(CONTINUATION, PING[9:]) + frame(FIN | CONTINUATION, b""),
        frame(TEXT, b"") + frame(FIN | CONTINUATION, PING),
    ],
)
async def test_a_request_in_any_number_of_frames(frames: bytes):
    """Even in the same segment as the upgrade."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        await wire.upgrade(then=frames)
        await wire.frame()
        _, reply = await wire.frame()

    assert json.loads(reply)["method"] == "pong"


async def test_a_ping_between_the_fragments_of_a_request():
    """Control frames may come anywhere."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        await wire.upgrade()
        await wire.frame()
        wire.write(frame(TEXT, PING[:9]) + frame(FIN | 9, b"between") + frame(FIN | CONTINUATION, PING[9:]))
        answers = [await wire.frame(), await wire.frame()]

    assert answers[0] == (PONG, b"between")
    assert json.loads(answers[1][1])["method"] == "pong"


@pytest.mark.parametrize(
    "frames",
    [
        frame(FIN | CONTINUATION, PING),
        frame(TEXT, b"") + frame(FIN | TEXT, PING),
        frame(TEXT, PING[:9]) + frame(FIN | BINARY, PING[9:]),
        frame(FIN | RSV1 | TEXT, PING),
    ],
    ids=["continues nothing", "begins twice", "begins twice, otherwise", "compressed"],
)
async def test_frames_that_make_no_message_end_the_connection(frames: bytes):
    """RFC 6455 §5.4 and §5.2: close code 1002, as for everything else that is not
    WebSocket, and nothing after it.
    """
    async with Venue(STILL) as venue, wired(venue) as wire:
        await wire.upgrade()
        await wire.frame()
        wire.write(frames + frame(FIN | TEXT, PING))
        end = await wire.frame()

    assert end[0] == CLOSE
    assert end[1][:2] == PROTOCOL_ERROR


async def test_a_request_without_an_end_ends_the_connection():
    """Close code 1009; what the client sends in its fragments is not kept for ever."""
    fragment = bytes((CONTINUATION, 0x80 | 126)) + (60_000).to_bytes(2, "big") + bytes(4) + b"a" * 60_000
    async with Venue(STILL) as venue, wired(venue) as wire:
        await wire.upgrade()
        await wire.frame()
        wire.write(frame(TEXT, b"") + (1 + REQUEST_BYTES_MAX // 60_000) * fragment)
        end = await wire.frame()

    assert end == (CLOSE, MESSAGE_TOO_BIG)


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2, "big") + b"bye", (4000).to_bytes(2, "big")])
async def test_a_close_is_answered_in_kind(payload: bytes):
    """With the client's own code, or with none; then the venue ends the connection."""
    async with Venue(STILL) as venue, wired(venue) as wire:
        await wire.upgrade()
        await wire.frame()
        wire.write(frame(FIN | CLOSE, payload))
        answer = await wire.frame()
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.frame()

    assert answer == (CLOSE, payload[:2])
