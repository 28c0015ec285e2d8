"""The baseline of the order benchmarks: one process on picows that decodes, and sends
add_order as text.

No book, no checksum, no risk, no rate counter, no journal, no report: what a client costs
that does nothing else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvloop
from msgspec import Struct
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rig import Message

from engine.clock import SystemClock
from engine.kraken.rest.signing import Signer
from engine.kraken_rest.client import KrakenRest
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.net.resolver import Resolver
from engine.secret import Secret
from engine.timestamps import wall_ns

TEXT = WSMsgType.TEXT
QTY = "0.00100000"
ENDS = ("filled", "canceled", "expired")


class Row(Struct, gc=False):
    """One row of executions, as far as the baseline looks."""

    exec_type: str
    order_id: str
    cl_ord_id: str = ""
    exec_id: str = ""


class Rows(Struct, gc=False):
    """A message of executions."""

    data: list[Row]


class Result(Struct, gc=False):
    """Of an answer."""

    order_id: str = ""
    cl_ord_id: str = ""


class Answer(Struct, gc=False):
    """To an order."""

    success: bool
    req_id: int = 0
    result: Result | None = None


decode_book = msgspec.json.Decoder(Message).decode
decode_rows = msgspec.json.Decoder(Rows).decode
decode_answer = msgspec.json.Decoder(Answer).decode


class Told(NamedTuple):
    """What the client noted, as bench/strategies.py's Trader does."""

    calls: list[tuple[str, int, int]]
    working: dict[str, int]
    filled: dict[str, int]
    ended: dict[str, int]
    send_us: list[float]
    """Of each order: from the call to the bytes in the socket's hands."""


class Connection(WSListener):
    """Gives its text frames away."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            self._take(frame.get_payload_as_bytes())


class BareClient:
    """Connected to both sides of a venue."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.told = Told([], {}, {}, {}, [])
        self.on_book: Callable[[Message], None] = _ignore
        self.on_answer: Callable[[Answer], None] = _ignore
        self._public: Any = None
        self._private: Any = None
        self._number = 0

    async def connect(self, public: str, private: str, symbol: str) -> None:
        self._public, _ = await ws_connect(lambda: Connection(self._take_public), public, use_aiofastnet=False)
        book = {"channel": "book", "symbol": [symbol], "depth": 10}
        self._public.send(TEXT, msgspec.json.encode({"method": "subscribe", "params": book}))
        self._private, _ = await ws_connect(lambda: Connection(self._take_private), private, use_aiofastnet=False)
        executions = {"channel": "executions", "snap_orders": True, "snap_trades": False, "token": self._token}
        self._private.send(TEXT, msgspec.json.encode({"method": "subscribe", "params": executions}))

    def send(self, side: str, symbol: str, price: str, qty: str = QTY) -> str:
        """An IOC order; its client order id."""
        self._number += 1
        key = f"bare00000000{self._number:06d}"
        at = time.gmtime(time.time() + 2)
        deadline = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", at)
        self._private.send(
            TEXT,
            (
                f'{{"method":"add_order","params":{{"order_type":"limit","side":"{side}","order_qty":{qty},'
                f'"limit_price":{price},"time_in_force":"ioc","cl_ord_id":"{key}","symbol":"{symbol}",'
                f'"deadline":"{deadline}","token":"{self._token}"}},"req_id":{self._number}}}'
            ).encode(),
        )
        return key

    async def close(self) -> None:
        """Leave."""
        for transport in (self._public, self._private):
            if transport is not None:
                transport.disconnect(graceful=False)
                await transport.wait_disconnected()

    def _take_public(self, frame: bytes) -> None:
        if frame.startswith(b'{"channel":"book"'):
            self.on_book(decode_book(frame))

    def _take_private(self, frame: bytes) -> None:
        told = self.told
        if frame.startswith(b'{"channel":"executions"'):
            for row in decode_rows(frame).data:
                told.working.setdefault(row.cl_ord_id, time.monotonic_ns())
                if row.exec_type == "trade":
                    told.filled.setdefault(row.exec_id, time.monotonic_ns())
                elif row.exec_type in ENDS:
                    told.ended.setdefault(row.cl_ord_id, time.monotonic_ns())
        elif b'"add_order"' in frame:
            answer = decode_answer(frame)
            if answer.result is not None:
                told.working.setdefault(answer.result.cl_ord_id, time.monotonic_ns())
            self.on_answer(answer)


def trade(ready: dict[str, str], folder: Path, seconds: float, every_ms: float, symbol: str) -> Told:
    """What bench/strategies.py's Trader does, without an engine; `ready` has the addresses
    and the key.
    """

    async def main(client: BareClient, _rest: KrakenRest) -> None:
        next_at = 0
        ask = bid = 0.0  # of the last update that had one: near enough for an order that is to trade

        def on_book(message: Message) -> None:
            nonlocal next_at, ask, bid
            book, now = message.data[0], time.monotonic_ns()
            if book.asks:
                ask = book.asks[0].price
            if book.bids:
                bid = book.bids[0].price
            if now < next_at or now < trades_from:
                return
            next_at = now + int(every_ms * 1e6)
            side, price = ("sell", bid * 0.99) if len(client.told.calls) % 2 else ("buy", ask * 1.01)
            began = time.monotonic_ns()
            key = client.send(side, symbol, f"{price:.1f}")
            client.told.send_us.append((time.monotonic_ns() - began) / 1e3)
            client.told.calls.append((key, began, wall_ns(book.timestamp)))

        trades_from = time.monotonic_ns() + 1_000_000_000  # the snapshots have come by then
        client.on_book = on_book
        await client.connect(ready["public"], ready["private"], symbol)
        await asyncio.sleep(1.0 + seconds)

    return run(ready, folder, main)


def run(ready: dict[str, str], folder: Path, main: Callable[[BareClient, KrakenRest], Awaitable[None]]) -> Told:
    """Run `main` with a client that has a token, and with the engine's own REST client,
    which fetched it.
    """

    async def whole() -> Told:
        clock = SystemClock()
        lock = KeyLock(ready["api_key"], folder / "keys")
        signer = Signer(ready["api_key"], Secret(ready["api_secret"]))
        https = HttpsClient(ready["rest"], clock=clock, resolver=Resolver())
        rest = KrakenRest(https, clock, signer=signer, key=lock)
        try:
            client = BareClient((await rest.websockets_token())[0])
            try:
                await main(client, rest)
            finally:
                await client.close()
        finally:
            await rest.close()
            lock.release()
        return client.told

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(whole())


def _ignore(_: object) -> None:
    pass
