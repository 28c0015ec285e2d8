"""A client that knows nothing of the venue's code: it sends text and keeps every frame that
comes, in order.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tests.waiting import PATIENCE_S


class Client(WSListener):
    """Frames as text, in the order of their arrival, and how the connection ended."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[str] = []
        self.pongs: list[bytes] = []
        self.close_code: int | None = None  # None: no close frame came
        self.ended = asyncio.Event()
        self._seen = 0  # frames that `next` has given out
        self._came = asyncio.Event()
        self._transport: WSTransport

    # --- the socket

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.frames.append(frame.get_payload_as_utf8_text())
        elif frame.msg_type == WSMsgType.PONG:
            self.pongs.append(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.close_code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            transport.send_close()
            transport.disconnect()
        self._came.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ended.set()
        self._came.set()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    # --- what tests do

    def ask(self, **request: Any) -> None:
        self.say(json.dumps(request))

    def say(self, text: str) -> None:
        self._transport.send(WSMsgType.TEXT, text.encode())

    def subscribe(self, channel: str, *symbols: str, **params: Any) -> None:
        self.ask(method="subscribe", params={"channel": channel, "symbol": list(symbols), **params})

    def unsubscribe(self, channel: str, *symbols: str, **params: Any) -> None:
        self.ask(method="unsubscribe", params={"channel": channel, "symbol": list(symbols), **params})

    def ping(self, payload: bytes) -> None:
        self._transport.send_ping(payload)

    def stop_reading(self) -> None:
        self._transport.underlying_transport.pause_reading()

    def read_on(self) -> None:
        self._transport.underlying_transport.resume_reading()

    def drop(self) -> None:
        self._transport.disconnect(graceful=False)

    async def next(self, wanted: Callable[[dict[str, Any]], bool] = lambda message: True) -> dict[str, Any]:
        """The next frame that is wanted, heartbeats and others skipped."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._seen < len(self.frames):
                    self._seen += 1
                    message = json.loads(self.frames[self._seen - 1])
                    if wanted(message):
                        return message
                await self.more()

    async def reply(self) -> dict[str, Any]:
        """The next reply to a request."""
        return await self.next(lambda message: "method" in message)

    async def of(self, channel: str, kind: str | None = None) -> dict[str, Any]:
        """The next frame of a channel."""
        return await self.next(
            lambda message: message.get("channel") == channel and kind in (None, message.get("type"))
        )

    async def until(self, enough: Callable[["Client"], bool]) -> None:
        """Wait until what has come is enough."""
        async with asyncio.timeout(PATIENCE_S):
            while not enough(self):
                await self.more()

    async def more(self) -> None:
        """Wait until something has come; EOFError when the connection has ended."""
        if self.ended.is_set():
            raise EOFError(f"the connection ended after {len(self.frames)} frames")
        self._came.clear()
        await self._came.wait()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A client, connected; gone when the block ends."""
    # Without aiofastnet, which on uvloop does not notice a reset that comes together with
    # data.
    transport, client = await ws_connect(Client, url, use_aiofastnet=False, max_frame_size=1 << 24)
    assert isinstance(client, Client)
    try:
        yield client
    finally:
        transport.disconnect(graceful=False)
        with contextlib.suppress(Exception):
            await transport.wait_disconnected()
