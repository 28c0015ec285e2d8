"""The paper venue on a market that another venue makes: real sockets, both in this process, and a crowd that the test
leads at the one that stands in for Kraken.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import uvloop

from engine.errors import UserError
from engine.paper import serve
from engine.paper.serve import serve_paper
from engine.venue.market.matching import BUY, SELL
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from engine.venue.trading.client_order import ClientOrder, OrderSpec
from tests.integration.public_relay import PublicRelay
from tests.venue.rest_client import RestClient
from tests.waiting import until

BTC = "BTC/USD"
SELLER = 2  # who sells in the crowd: nobody trades with himself
STAND_IN = VenueSettings(port=0, symbols=(BTC, "MINA/GBP"), rate=0, snapshot_delay_ms=(1, 2), engine_latency_ms=(0, 0),
                         count_rates=False, maintenance_phase_s=0.2)  # fmt: skip
PAPER = VenueSettings(port=0, symbols=(BTC, "MINA/GBP"), engine_latency_ms=(0, 0), count_rates=False,
                      funds={"USD": Decimal(1_000_000), "BTC": Decimal(5)})  # fmt: skip


def run(test: Coroutine[Any, Any, None]) -> None:
    """A test on a loop as the venue has it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test)


class StandIn(Venue):
    """A venue in Kraken's place, and its crowd."""

    def crowd(self, side: str, price: float | None, qty: str) -> ClientOrder:
        """Somebody trades there, at a limit or at the market."""
        assert self.trading_side is not None
        assert self.exchange is not None
        trading = self.trading_side.trading
        if len(list(trading.accounts)) == 1:
            trading.open_account(SELLER, "pro", {"BTC": Decimal(1000)})
        return trading.add(
            1 if side == "buy" else SELLER,
            OrderSpec(
                order_type="market" if price is None else "limit",
                side=side,  # type: ignore[arg-type]
                symbol=BTC,
                order_qty=Decimal(qty),
                limit_price=None if price is None else Decimal(str(price)),
            ),
            self.exchange.event_time(),
        )

    def levels(self, side: str) -> list[tuple[float, Decimal]]:
        """The levels of a side there, best first."""
        assert self.exchange is not None
        levels = self.exchange.markets[BTC].book.levels(BUY if side == "buy" else SELL)
        return [(price / 10, Decimal(lots).scaleb(-8)) for price, lots in levels]

    def best(self, side: str) -> tuple[float, Decimal]:
        """The best level there."""
        return self.levels(side)[0]


class Desk(RestClient):
    """The account on paper."""

    async def limit(self, side: str, price: float, qty: str, **more: Any) -> str:
        """A limit order; its id."""
        placed = await self.result(
            "AddOrder", pair="XBTUSD", type=side, ordertype="limit", price=price, volume=qty, **more
        )
        order_id: str = placed["txid"][0]
        return order_id

    async def filled(self, order_id: str) -> Decimal:
        """How much of an order is filled."""
        return Decimal((await self.result("QueryOrders", txid=order_id))[order_id]["vol_exec"])

    async def levels(self, pair: str = "XBTUSD", count: int = 100) -> dict[str, list[list[str]]]:
        """Price and rounded quantity of each level, both sides."""
        ((_, book),) = (await self.public("Depth", pair=pair, count=count))["result"].items()
        return {side: [row[:2] for row in book[side]] for side in ("bids", "asks")}


@asynccontextmanager
async def paper(url: str, settings: VenueSettings = PAPER) -> AsyncIterator[Desk]:
    """A paper venue that follows this public WebSocket, and its account."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    addresses: asyncio.Future[dict[str, str]] = loop.create_future()
    serving = asyncio.ensure_future(serve_paper(settings, url, None, addresses.set_result, stop))
    try:
        await asyncio.wait({serving, addresses}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        ready = addresses.result()
        async with aiohttp.ClientSession() as session:
            yield Desk(session, ready["rest"], ready["api_key"], ready["api_secret"])
    finally:
        addresses.cancel()
        stop.set()
        await asyncio.wait({serving})
    serving.result()


async def eventually(look: Callable[[], Coroutine[Any, Any, bool]], what: str) -> None:
    """Wait until an answer of the desk is true."""
    answers: list[bool] = []

    async def ask() -> None:
        while not await look():
            pass
        answers.append(True)

    asking = asyncio.ensure_future(ask())
    try:
        await until(lambda: answers or asking.done(), what)
    finally:
        asking.cancel()
        await asyncio.wait({asking})


def test_an_order_is_filled_when_the_real_queue_before_it_has_traded() -> None:
    """Not with the trade that the queue takes whole, but with the next one, and by no more than that."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk:
            price, ahead = kraken.best("buy")
            order = await desk.limit("buy", price, "0.5")
            kraken.crowd("buy", price, "0.3")  # behind us, who cannot know of it
            kraken.crowd("sell", price, str(ahead))
            kraken.crowd("sell", price, "0.2")
            await eventually(lambda: is_filled(desk, order, "0.2"), "what came after the queue")
            kraken.crowd("sell", price, "0.1")
            await eventually(lambda: is_filled(desk, order, "0.3"), "and what came then")
            trades = (await desk.result("TradesHistory"))["trades"].values()
            assert {(trade["maker"], Decimal(trade["price"])) for trade in trades} == {(True, Decimal(str(price)))}

    run(test())


def test_a_trade_meets_the_book_that_was_there() -> None:
    """Who left the queue before it, in the same moment, is not filled by it."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk:
            assert kraken.trading_side is not None
            assert kraken.exchange is not None
            best, _ = kraken.best("buy")
            price = round(best + 0.1, 1)
            assert price < kraken.best("sell")[0]
            ahead = kraken.crowd("buy", price, "0.4")

            async def is_shown() -> bool:
                return float((await desk.levels())["bids"][0][0]) == price

            await eventually(is_shown, "the better bid")
            order = await desk.limit("buy", price, "0.5")
            kraken.trading_side.trading.cancel(1, kraken.exchange.event_time(), order_id=ahead.order_id)
            kraken.crowd("sell", best, "0.01")
            await eventually(lambda: is_filled(desk, order, "0.01"), "who is first now")

    run(test())


def test_a_taker_walks_the_real_levels() -> None:
    """At their prices; what it took is not there for it again."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk:
            real = await desk.levels()
            first, second = (float(price) for price, _ in real["asks"][:2])
            _, exact = kraken.best("sell")
            order = await desk.limit("buy", second, str(exact + Decimal("0.001")), timeinforce="IOC")
            trades = (await desk.result("TradesHistory", consolidate_taker="false"))["trades"].values()
            assert sorted(Decimal(trade["price"]) for trade in trades) == [Decimal(str(first)), Decimal(str(second))]
            assert await desk.filled(order) == exact + Decimal("0.001")
            assert float((await desk.levels())["asks"][0][0]) == second
            assert kraken.best("sell") == (first, exact), "nobody there knows of it"
            kraken.crowd("sell", first, "0.7")
            await eventually(lambda: is_best_ask(desk, first, "0.700"), "what is new at the level")

    run(test())


def test_the_books_are_those_of_the_real_market() -> None:
    """After thousands of its events, level by level, and beside an order of ours."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk, aiohttp.ClientSession() as session:
            assert kraken.rest is not None
            assert kraken.exchange is not None
            there = Desk(session, kraken.rest.url, "", "")
            await desk.limit("buy", 1000.0, "0.001")
            for _ in range(50):
                for _ in range(40):
                    kraken.exchange.next_event()
                await desk.public("Time")
            for pair in ("XBTUSD", "MINAGBP"):
                real = await there.levels(pair)

                async def is_same(pair: str = pair, real: dict[str, list[list[str]]] = real) -> bool:
                    here = await desk.levels(pair)
                    return {side: rows[: len(real[side])] for side, rows in here.items()} == real

                await eventually(is_same, f"the book of {pair} is as it is there")

    run(test())


def test_without_a_connection_nothing_is_filled_and_orders_are_refused() -> None:
    """What was traded meanwhile is not ours; what then rests where ours would have met it fills it at its price."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken:
            relay = PublicRelay(kraken.public_url)
            try:
                async with paper(relay.url) as desk:
                    price, ahead = kraken.best("buy")
                    order = await desk.limit("buy", price, "0.5")
                    await asyncio.to_thread(relay.fail, "refuse")

                    async def is_closed() -> bool:
                        reply = await desk.form("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", price=1000,
                                                volume="0.001")  # fmt: skip
                        assert reply["error"] in ([], ["EService:Market in cancel_only mode"]), reply
                        return bool(reply["error"])

                    await eventually(is_closed, "orders are refused")
                    kraken.crowd("buy", price, "0.3")
                    kraken.crowd("sell", price, str(ahead + Decimal("0.3")))
                    assert await desk.filled(order) == 0
                    await asyncio.to_thread(relay.fail, "pass")

                    async def is_open() -> bool:
                        return not await is_closed()

                    await eventually(is_open, "orders are taken again")
                    await eventually(lambda: is_last(desk, price), "the trades of the outage are told")
                    assert await desk.filled(order) == 0
                    kraken.crowd("sell", price, "1")
                    await eventually(lambda: is_filled(desk, order, "0.5"), "the ask that rests at its price")
            finally:
                await asyncio.to_thread(relay.close)

    run(test())


def test_a_maintenance_there_is_one_here() -> None:
    """Its phases refuse as Kraken's do, and trading goes on after it."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk:
            errors: list[str] = []

            async def phase() -> str:
                reply = await desk.form("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", price=1000,
                                        volume="0.001")  # fmt: skip
                errors.extend(reply["error"])
                return "".join(reply["error"])

            async def is_down() -> bool:
                return await phase() == "EService:Unavailable"

            async def is_up() -> bool:
                return not await phase()

            kraken.begin_maintenance()
            await eventually(is_down, "orders are refused")
            await eventually(is_up, "orders are taken again")
            assert set(errors) <= {
                "EService:Unavailable", "EService:Market in cancel_only mode", "EService:Market in post_only mode",
            }  # fmt: skip

    run(test())


def test_a_pair_that_is_not_listed_is_one_sentence() -> None:
    """Kraken's own word on it."""

    async def test() -> None:
        settings = VenueSettings(port=0, symbols=(BTC, "FOO/BAR"))
        async with StandIn(STAND_IN) as kraken:
            with pytest.raises(UserError, match="FOO/BAR"):
                async with paper(kraken.public_url, settings):
                    pass

    run(test())


def test_a_market_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, with the reason."""
    monkeypatch.setattr(serve, "LISTING_WAIT_S", 0.5)

    async def test() -> None:
        with pytest.raises(UserError, match="has not told of every pair within"):
            async with paper("ws://127.0.0.1:9/v2"):
                pass

    run(test())


def test_a_change_of_precision_is_followed() -> None:
    """Orders that keep their value stay, behind all that is told then."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk:
            assert kraken.trading_side is not None
            assert kraken.exchange is not None
            price, ahead = kraken.best("buy")
            order = await desk.limit("buy", price, "0.5")
            kraken.trading_side.trading.relist(BTC, 2, 8, kraken.exchange.event_time())

            async def is_relisted() -> bool:
                reply = await desk.form("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", price="1000.25",
                                        volume="0.001")  # fmt: skip
                return not reply["error"]

            await eventually(is_relisted, "a price of two decimals is taken")
            here, there = (await desk.levels())["asks"], kraken.levels("sell")
            assert kraken.exchange.markets[BTC].pair.price_decimals == 2
            assert len(here) == 100
            rounded = Decimal("0.001")  # REST rounds
            assert all(abs(qty - Decimal(told)) <= rounded for (_, qty), (_, told) in zip(there, here, strict=False))
            kraken.crowd("sell", price, str(ahead))
            kraken.crowd("sell", price, "0.001")
            await eventually(lambda: is_filled(desk, order, "0.001"), "what came after the queue")

    run(test())


def test_a_stop_goes_by_the_real_trades() -> None:
    """Also by one that meets nothing here."""

    async def test() -> None:
        async with StandIn(STAND_IN) as kraken, paper(kraken.public_url) as desk:
            (first, first_qty), (second, second_qty) = kraken.levels("buy")[:2]
            await desk.limit("sell", second, str(first_qty + second_qty), timeinforce="IOC")
            placed = await desk.result("AddOrder", pair="XBTUSD", type="buy", ordertype="stop-loss", price=first,
                                       volume="0.001")  # fmt: skip
            order = placed["txid"][0]
            assert await desk.filled(order) == 0
            kraken.crowd("sell", first, "0.0001")
            await eventually(lambda: is_filled(desk, order, "0.001"), "it buys at the market")

    run(test())


async def is_filled(desk: Desk, order: str, qty: str) -> bool:
    """Whether exactly so much of it is filled."""
    return await desk.filled(order) == Decimal(qty)


async def is_best_ask(desk: Desk, price: float, qty: str) -> bool:
    """Whether this is the best ask, rounded as REST does."""
    best = (await desk.levels())["asks"][0]
    return (float(best[0]), best[1]) == (price, qty)


async def is_last(desk: Desk, price: float) -> bool:
    """Whether this is the price of the last trade."""
    ((_, ticker),) = (await desk.public("Ticker", pair="XBTUSD"))["result"].items()
    return float(ticker["c"][0]) == price
