"""Two ways to trade in tests: the bare core under a clock that stands still, and a client
on a real socket.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from engine.clock import Clock, ManualClock, SystemClock
from engine.units import NS_PER_S, WallNs
from engine.venue.market.exchange import Exchange
from engine.venue.market.matching import BUY, SELL
from engine.venue.market.pairs import pairs_of_symbols
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from engine.venue.trading.client_order import AmendSpec, ClientOrder, EditSpec, OrderSpec
from engine.venue.trading.trading import Trading
from tests.venue.venue_client import Client, connected
from tests.waiting import PATIENCE_S

SYSTEM_CLOCK = SystemClock()
OPENED_AT = 1_780_000_000 * NS_PER_S
FUNDS = {
    "USD": Decimal(1_000_000),
    "BTC": Decimal(10),
    "ETH": Decimal(100),
    "GBP": Decimal(1_000_000),
    "MINA": Decimal(1_000_000),
}


class Floor:
    """The trading core with one account, and what its listeners are told."""

    def __init__(self, *symbols: str, count_rates: bool = False, tier: str = "intermediate", **options: Any) -> None:
        self.clock = ManualClock(0, OPENED_AT)
        pairs = pairs_of_symbols(symbols or ("BTC/USD",))
        self.exchange = Exchange(pairs, 0, self.clock, _NoTimers(), lambda: 0.0)
        self.trading = Trading(self.exchange, count_rates=count_rates, **options)
        self.account = self.trading.open_account(1, tier, FUNDS)  # type: ignore[arg-type]
        self.told: list[dict[str, Any]] = []  # rows of executions
        self.moved: list[dict[str, Any]] = []  # rows of balances
        self.texts: list[str] = []
        self.account.listeners[self] = None
        self.symbol = pairs[0].symbol
        self.market = self.exchange.markets[self.symbol]
        self.book = self.market.book

    def execution(self, exec_type: str, row: str, symbol: str, at: WallNs) -> None:
        self.texts.append(row)
        self.told.append(json.loads(row, parse_float=Decimal))
        assert exec_type == self.told[-1]["exec_type"]

    def balance(self, row: str) -> None:
        self.moved.append(json.loads(row, parse_float=Decimal))

    @property
    def at(self) -> WallNs:
        return self.exchange.event_time()

    def wait(self, seconds: float) -> None:
        """Let time pass, and let what has become due happen."""
        self.clock.advance(int(seconds * NS_PER_S))
        self.trading.advance(self.at)

    def price(self, side: str, ticks_away: int = 0) -> Decimal:
        """The best price of a side, so many ticks into the book."""
        best = self.book.best(BUY if side == "buy" else SELL)
        assert best is not None
        away = -ticks_away if side == "buy" else ticks_away
        return Decimal(best + away).scaleb(-self.market.pair.price_decimals)

    def spec(self, order_type: str = "limit", side: str = "buy", qty: str | None = "0.01", **more: Any) -> OrderSpec:
        if order_type == "limit" and "limit_price" not in more:
            more["limit_price"] = self.price(side, 5_000)
        for name in ("limit_price", "display_qty", "cash_order_qty"):
            if isinstance(more.get(name), str):
                more[name] = Decimal(more[name])
        return OrderSpec(
            order_type=order_type,  # type: ignore[arg-type]
            side=side,  # type: ignore[arg-type]
            symbol=more.pop("symbol", self.symbol),
            order_qty=None if qty is None else Decimal(qty),
            **more,
        )

    def add(self, order_type: str = "limit", side: str = "buy", qty: str | None = "0.01", **more: Any) -> ClientOrder:
        return self.trading.add(1, self.spec(order_type, side, qty, **more), self.at)

    def amend(self, order: ClientOrder, **change: Any) -> None:
        numbers = {name: Decimal(value) if isinstance(value, str) else value for name, value in change.items()}
        self.trading.amend(1, AmendSpec(order_id=order.order_id, **numbers), self.at)

    def edit(self, order: ClientOrder, **change: Any) -> ClientOrder:
        numbers = {name: Decimal(value) if isinstance(value, str) else value for name, value in change.items()}
        return self.trading.edit(1, EditSpec(order_id=order.order_id, symbol=order.symbol, **numbers), self.at)

    def cancel(self, order: ClientOrder) -> None:
        self.trading.cancel(1, self.at, order_id=order.order_id)

    def crowd_takes(self, side: str, qty: str) -> None:
        """Somebody else trades at the market."""
        lots = int(Decimal(qty).scaleb(self.market.pair.qty_decimals))
        self.market.publish(self.book.market(0, BUY if side == "buy" else SELL, lots), self.at)

    def crowd_rests(self, side: str, price: Decimal, qty: str) -> None:
        """Somebody else's limit order."""
        lots = int(Decimal(qty).scaleb(self.market.pair.qty_decimals))
        ticks = int(price.scaleb(self.market.pair.price_decimals))
        self.market.publish(self.book.limit(0, BUY if side == "buy" else SELL, ticks, lots), self.at)

    def types(self, order: ClientOrder) -> list[str]:
        """What has been told of an order, in order."""
        return [row["exec_type"] for row in self.told if row["order_id"] == order.order_id]


class _NoTimers:
    def call_soon(self, callback: Any) -> Any:
        raise AssertionError("the core needs no timers")

    def call_later(self, delay: float, callback: Any) -> Any:
        raise AssertionError("the core needs no timers")


class Trader:
    """A client of the private WebSocket with its token."""

    def __init__(self, client: Client, token: str) -> None:
        self.client = client
        self.token = token
        self._req_id = 0

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One request, its answer."""
        req_id = self.send(method, **params)
        return (await self.answers(req_id))[0]

    def send(self, method: str, **params: Any) -> int:
        self._req_id += 1
        self.client.ask(method=method, params={"token": self.token, **params}, req_id=self._req_id)
        return self._req_id

    async def answers(self, req_id: int, count: int = 1) -> list[dict[str, Any]]:
        """The answers to a request, wherever they stand among the frames."""
        return await self._find(lambda message: message.get("req_id") == req_id, count)

    async def rows(self, wanted: Callable[[dict[str, Any]], bool], count: int = 1) -> list[dict[str, Any]]:
        """Rows of executions and balances, wherever they stand."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = [row for row in self.all_rows() if wanted(row)]
                if len(rows) >= count:
                    return rows
                await self.client.more()

    def all_rows(self, channel: str | None = None) -> list[dict[str, Any]]:
        return [
            row
            for message in map(json.loads, self.client.frames)
            if message.get("channel") in ((channel,) if channel else ("executions", "balances"))
            for row in message["data"]
        ]

    async def frame(self, channel: str, kind: str = "snapshot") -> dict[str, Any]:
        """The first frame of a channel of this kind."""
        found = await self._find(lambda message: message.get("channel") == channel and message["type"] == kind, 1)
        return found[0]

    async def limit(self, price: float = 50_000.0, qty: float = 0.01, **more: Any) -> dict[str, Any]:
        return await self.ask(
            "add_order",
            **{"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": price, "order_qty": qty}
            | more,
        )

    async def _find(self, wanted: Callable[[dict[str, Any]], bool], count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [message for message in map(json.loads, self.client.frames) if wanted(message)]
                if len(found) >= count:
                    return found
                await self.client.more()


STILL = VenueSettings(
    port=0,
    symbols=("BTC/USD", "ETH/USD"),
    rate=0,
    snapshot_delay_ms=(1, 2),
    engine_latency_ms=(0.5, 2),
    count_rates=False,
)


def later(seconds: float, clock: Clock = SYSTEM_CLOCK) -> str:
    """A moment from now, by the venue's clock, as a deadline is written."""
    moment = datetime.fromtimestamp(clock.wall_ns() / NS_PER_S, UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_token(venue: Venue) -> str:
    assert venue.trading_side is not None
    return venue.trading_side.tokens.issue(venue.keys.default, venue.clock.mono_ns())


@contextlib.asynccontextmanager
async def trading(venue: Venue, *channels: str, **params: Any) -> AsyncIterator[Trader]:
    """A trader on a connection of its own, subscribed to these channels, snapshots read;
    `params` are executions'.
    """
    async with connected(venue.private_url) as client:
        trader = Trader(client, new_token(venue))
        for channel in channels:
            answer = await trader.ask("subscribe", channel=channel, **(params if channel == "executions" else {}))
            assert answer["success"], answer
            await trader.frame(channel)
        yield trader
