"""Stands between a venue and its client, and notes when each frame that matters passed:
what is seen from outside.

    python bench/relay.py PUBLIC_URL PRIVATE_URL OUT

Prints one line of JSON with the addresses to use instead. On SIGTERM it writes to OUT, all
in CLOCK_MONOTONIC:

    books    kraken's timestamp → when the book update was sent on to the client
    orders   client order id    → when the order arrived
    words    client order id    → when the first word of it was sent on: the answer, or a row of executions
    fills    exec_id            → when its row was sent on
"""

import asyncio
import gc
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server

Note = Callable[[bytes, int], None]
TEXT = WSMsgType.TEXT
STAMP_BYTES = 60  # at the end of a book's frame, with its timestamp in them


class Notes:
    """Frames with the time at which they passed; read only when all is over."""

    def __init__(self) -> None:
        self._books: list[tuple[int, bytes]] = []
        self._asked: list[tuple[int, bytes]] = []
        self._told: list[tuple[int, bytes]] = []

    def public_down(self, frame: bytes, at: int) -> None:
        if frame.startswith(b'{"channel":"book"'):
            self._books.append((at, frame[-STAMP_BYTES:]))

    def private_up(self, frame: bytes, at: int) -> None:
        if frame.startswith(b'{"method":"add_order"'):
            self._asked.append((at, frame))

    def private_down(self, frame: bytes, at: int) -> None:
        if b'"cl_ord_id"' in frame:
            self._told.append((at, frame))

    def findings(self) -> dict[str, dict[str, int]]:
        decode = msgspec.json.decode
        books: dict[str, int] = {}
        for at, tail in self._books:
            found = tail.rpartition(b'"timestamp":"')[2]
            books.setdefault(found[: found.index(b'"')].decode(), at)
        orders = {decode(frame)["params"]["cl_ord_id"]: at for at, frame in self._asked}
        words: dict[str, int] = {}
        fills: dict[str, int] = {}
        for at, frame in self._told:
            message = decode(frame)
            rows = message["data"] if "data" in message else [message.get("result") or {}]
            for row in rows:
                if "cl_ord_id" in row:
                    words.setdefault(row["cl_ord_id"], at)
                if row.get("exec_type") == "trade":
                    fills.setdefault(row["exec_id"], at)
        return {"books": books, "orders": orders, "words": words, "fills": fills}


class Upstream(WSListener):
    """The venue's side of one connection."""

    def __init__(self, client: WSTransport, note: Note) -> None:
        self._client = client
        self._note = note

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            payload = frame.get_payload_as_bytes()
            self._note(payload, time.monotonic_ns())
            self._client.send(TEXT, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._client.disconnect(graceful=False)


class Downstream(WSListener):
    """The client's side; what it says before the venue is reached waits."""

    def __init__(self, url: str, up: Note, down: Note) -> None:
        self._url = url
        self._note = up
        self._note_down = down
        self._venue: WSTransport | None = None
        self._waiting: deque[bytes] = deque()
        self._dialing: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._dialing = asyncio.get_running_loop().create_task(self._dial(transport))

    async def _dial(self, client: WSTransport) -> None:
        self._venue, _ = await ws_connect(lambda: Upstream(client, self._note_down), self._url)
        while self._waiting:
            self._venue.send(TEXT, self._waiting.popleft())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            payload = frame.get_payload_as_bytes()
            self._note(payload, time.monotonic_ns())
            if self._venue is None:
                self._waiting.append(payload)
            else:
                self._venue.send(TEXT, payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._venue is not None:
            self._venue.disconnect(graceful=False)


def ignore(frame: bytes, at: int) -> None:
    """Nothing to do."""


async def main(public: str, private: str, out: Path) -> None:
    """Relay until SIGTERM."""
    notes = Notes()
    notes_of = {public: (ignore, notes.public_down), private: (notes.private_up, notes.private_down)}

    async def serve(url: str) -> str:
        def accept(request: WSUpgradeRequest) -> WSListener:
            return Downstream(url, *notes_of[url])

        server = await ws_create_server(accept, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    gc.disable()
    print(json.dumps({"public": await serve(public), "private": await serve(private)}), flush=True)
    await stopped.wait()
    with suppress(OSError):
        out.write_text(json.dumps(notes.findings()))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
