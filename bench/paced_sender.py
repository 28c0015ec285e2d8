"""A server that sends genuine book updates at a steady rate, each stamped with its time of
sending.

    python bench/paced_sender.py 2000

The checksum does not cover the timestamp, so the stream stays verifiable. When the
capture is at its end the books begin again with their snapshots.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from rig import CAPTURE_DEPTH_10, book_frames

STATUS = b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2"}]}'
HEARTBEAT = b'{"channel":"heartbeat"}'
# Without the pairs' rules a feed cannot verify a book, and holds its messages back: what it
# told then would be measured as seconds late.
INSTRUMENT = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":['
    b'{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","price_precision":1,"qty_precision":8},'
    b'{"symbol":"ETH/USD","base":"ETH","quote":"USD","status":"online","price_precision":2,"qty_precision":8}]}}'
)
STAMP_CHARS = len('2026-08-02T03:35:51.661460Z"}]}')


class Sender(WSListener):  # type: ignore[misc]
    """One client's stream; it begins with the client's first subscription to books."""

    def __init__(self, per_s: int, frames: list[bytes]) -> None:
        self._interval_s = 1 / per_s
        self._frames = frames
        self._task: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, STATUS)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        request = frame.get_payload_as_bytes()
        if b'"instrument"' in request:
            transport.send(WSMsgType.TEXT, INSTRUMENT)
        if b'"book"' in request and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _send(self, transport: WSTransport) -> None:
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        beat = due
        while not transport.is_disconnected:
            frame = self._frames[number % len(self._frames)]
            number += 1
            now_ns = time.time_ns()
            stamp = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            text = f'{stamp}.{now_ns // 1000 % 1_000_000:06d}Z"}}]}}'.encode()
            transport.send(WSMsgType.TEXT, frame[:-STAMP_CHARS] + text)
            due += self._interval_s
            if due > beat:
                beat += 1.0
                transport.send(WSMsgType.TEXT, HEARTBEAT)
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % 64 == 0:
                await asyncio.sleep(0)


async def main(per_s: int) -> None:
    """Serve until killed."""
    frames = book_frames(CAPTURE_DEPTH_10)

    def accept(request: WSUpgradeRequest) -> WSListener:
        return Sender(per_s, frames)

    server = await ws_create_server(accept, "127.0.0.1", 0)
    print(json.dumps({"public": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
