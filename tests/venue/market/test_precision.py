"""A live pair is listed in another precision: orders, books, candles, REST and the
instrument channel agree on it.
"""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, VenueReject
from engine.venue.server import Venue
from engine.venue.setup.settings import FaultSpec, VenueSettings
from engine.venue.trading.client_order import Conditional, Triggers
from engine.venue.websocket.faults import parse_fault
from tests.venue.market.update_law import LawBook, read
from tests.venue.rest_client import limit_buy, standing_venue
from tests.venue.trading_rig import STILL, Floor, trading
from tests.venue.venue_client import connected

D = Decimal
CALM = Decimal("0.01")


def relist(floor: Floor, price_decimals: int, qty_decimals: int = 8) -> None:
    floor.trading.relist(floor.symbol, price_decimals, qty_decimals, floor.at)
    floor.trading.check_invariants()
    floor.market.check()


def terms(order: Any) -> tuple[Any, ...]:
    return order.order_qty, order.cum_qty, order.limit_price, order.trigger_price, order.display_qty, order.hold


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(5, 9)), min_size=1, max_size=6))
def test_the_books_stay_sound_through_any_changes(scales: list[tuple[int, int]]) -> None:
    """Never crossed, and the order flow continues: finer, coarser, and back again."""
    floor = Floor()
    for price_decimals, qty_decimals in scales:
        relist(floor, price_decimals, qty_decimals)
        for _ in range(50):
            floor.exchange.next_event()
        floor.book.check()

    assert 60_000 < floor.price("buy") < floor.price("sell") < 67_000


def test_resting_orders_are_the_same_in_a_finer_precision() -> None:
    """Quantity, fills, limit, trigger, shown part and what they hold; a fill afterwards is
    one of theirs.
    """
    floor = Floor()
    plain = floor.add(limit_price=floor.price("buy"), qty="0.5")
    iceberg = floor.add("iceberg", limit_price=floor.price("buy", 1000), qty="0.1", display_qty="0.01")
    stop = floor.add("stop-loss", "sell", triggers=Triggers(floor.price("buy", 9000)))
    floor.crowd_takes("sell", str(plain.order_qty + floor_ahead(floor, plain)))
    before = [terms(order) for order in (plain, iceberg, stop)]
    relist(floor, 2, 9)

    assert [terms(order) for order in (plain, iceberg, stop)] == before
    assert (plain.pair.price_decimals, plain.pair.qty_decimals) == (2, 9)
    floor.amend(iceberg, limit_price=str(floor.price("buy", 5000) + CALM), order_qty="0.100000001")
    assert iceberg.order_qty == D("0.100000001")
    floor.trading.check_invariants()


def floor_ahead(floor: Floor, order: Any) -> Decimal:
    """What stands before an order, halved: a fill takes a part of it."""
    level = floor.book.level_qty(order.side, order.limit_ticks)
    return Decimal(level).scaleb(-8) - order.order_qty - order.order_qty / 2


def test_an_order_that_would_become_another_one_ends() -> None:
    """64000.05 is no price of one decimal: canceled with the reason, what it held is free;
    the others go on.
    """
    floor = Floor()
    relist(floor, 2, 9)
    price = floor.price("buy", 100_000).quantize(D("0.1"))
    stays = floor.add(limit_price=price, qty="0.01")
    by_price = floor.add(limit_price=price + D("0.05"), qty="0.01")
    by_qty = floor.add(limit_price=price, qty="0.010000001")
    by_trigger = floor.add("stop-loss", "sell", triggers=Triggers(price + D("0.05")))
    by_close = floor.add(limit_price=price, conditional=Conditional("limit", D("99000.05")), order_userref=7)
    relist(floor, 1, 8)

    assert stays.is_open
    assert {order.reason for order in (by_price, by_qty, by_trigger, by_close)} == {"Pair precision changed"}
    assert floor.types(by_price)[-1] == "canceled"
    assert floor.account.held("USD") == stays.hold


def test_prices_are_judged_by_the_present_tick() -> None:
    """On it before, off it now, and the other way round."""
    floor = Floor()
    fine = floor.price("buy", 5000) + CALM
    with pytest.raises(VenueReject, match="Tick size check failed"):
        floor.add(limit_price=fine)
    relist(floor, 2)

    assert floor.add(limit_price=fine).limit_price == fine
    relist(floor, 1)
    with pytest.raises(VenueReject, match="Tick size check failed"):
        floor.add(limit_price=fine)


def test_a_precision_that_cannot_tell_the_price_is_refused() -> None:
    """The pair continues in its old precision."""
    floor = Floor("DOGE/USD")
    for decimals, sentence in (((0, 8), "DOGE/USD stands at 0.1463215"), ((13, 8), "decimals are from 0 to 12")):
        with pytest.raises(ConfigError, match=sentence):
            floor.trading.relist("DOGE/USD", *decimals, floor.at)
    with pytest.raises(ConfigError, match="does not list 'XBT/USD'"):
        floor.trading.relist("XBT/USD", 1, 8, floor.at)

    assert floor.market.pair.price_decimals == 7


async def test_the_instrument_channel_tells_and_books_go_on_in_the_new_precision() -> None:
    """An update with the pair alone; a book that is begun anew verifies, number by number
    in the new decimals.
    """
    lively = VenueSettings(port=0, seed=3, symbols=("BTC/USD", "ETH/USD"), rate=2000, snapshot_delay_ms=(1, 3))
    async with Venue(lively) as venue, connected(venue.public_url) as client:
        client.ask(method="subscribe", params={"channel": "instrument"})
        client.subscribe("book", "BTC/USD", depth=10)
        await client.of("instrument", "snapshot")
        await client.of("book", "update")
        assert venue.trading_side is not None
        venue.trading_side.trading.relist("BTC/USD", 2, 6, venue.trading_side.exchange.event_time())
        told = await client.of("instrument", "update")
        client.unsubscribe("book", "BTC/USD", depth=10)
        await client.reply()
        client.subscribe("book", "BTC/USD", depth=10)
        begun = len(client.frames)
        await client.until(lambda it: sum(frame.startswith('{"channel":"book"') for frame in it.frames[begun:]) > 100)
        frames = [frame for frame in client.frames[begun:] if frame.startswith('{"channel":"book"')]

    (pair,) = told["data"]["pairs"]
    assert told["data"]["assets"] == []
    assert (pair["symbol"], pair["price_precision"], pair["qty_precision"]) == ("BTC/USD", 2, 6)
    assert (pair["price_increment"], pair["qty_increment"], pair["qty_min"]) == (0.01, 0.000001, 0.00005)
    book = LawBook(10)
    for frame in frames:
        book.take(read(frame))
    (entry,) = json.loads(frames[0], parse_float=str)["data"]
    assert {len(level["price"].partition(".")[2]) for level in entry["bids"]} == {2}
    assert {len(level["qty"].partition(".")[2]) for level in entry["asks"]} == {6}


async def test_rest_and_the_private_channel_tell_open_orders_in_the_new_precision() -> None:
    """AssetPairs, OpenOrders, Ticker, Trades and OHLC; and the venue's own path does what
    the fault does.
    """
    async with standing_venue() as (_, client):
        (txid,) = (await client.result("AddOrder", **limit_buy()))["txid"]
        before = await client.public("OHLC", pair="XBTUSD")
        assert (
            await client.own("POST", "precision", {"symbol": "BTC/USD", "price_decimals": 2, "qty_decimals": 9}) == {}
        )
        pair = (await client.public("AssetPairs", pair="XBTUSD"))["result"]["XXBTZUSD"]
        row = (await client.result("OpenOrders"))["open"][txid]
        after = await client.public("OHLC", pair="XBTUSD")
        trades = (await client.public("Trades", pair="XBTUSD"))["result"]["XXBTZUSD"]
        ticker = (await client.public("Ticker", pair="XBTUSD"))["result"]["XXBTZUSD"]
        wrong = await client.own("POST", "precision", {"symbol": "BTC/USD", "price_decimals": 2})

    assert (pair["pair_decimals"], pair["lot_decimals"], pair["tick_size"]) == (2, 9, "0.01")
    assert (row["descr"]["price"], row["vol"]) == ("50000.00", "0.010000000")
    old, new = ([[D(n) for n in row[1:5]] for row in it["result"]["XXBTZUSD"]] for it in (before, after))
    assert new == old
    assert {len(row[1].partition(".")[2]) for row in trades} == {9}
    assert len(ticker["v"][0].partition(".")[2]) == 9
    assert "qty_decimals" in wrong["error"]


async def test_an_order_tells_its_end_in_the_precision_of_now() -> None:
    """On the private channel too, where it was opened in another."""
    async with Venue(STILL) as venue, trading(venue, "executions") as trader:
        await trader.limit(price=50_000.0, qty=0.01)
        assert venue.trading_side is not None
        venue.trading_side.trading.relist("BTC/USD", 2, 9, venue.trading_side.exchange.event_time())
        answer = await trader.ask("amend_order", order_id=open_id(venue), limit_price=50_000.05, order_qty=0.010000001)
        (row,) = await trader.rows(lambda row: row.get("exec_type") == "amended")

    assert answer["success"], answer
    assert (row["limit_price"], row["order_qty"]) == (50_000.05, 0.010000001)


def open_id(venue: Venue) -> str:
    assert venue.trading_side is not None
    (order,) = venue.trading_side.trading.account(1).open_orders
    return order


def test_the_fault_is_told_in_one_word() -> None:
    """precision:PRICExQTY@SECONDS@SYMBOL, and a sentence for everything else."""
    assert parse_fault("precision:2x8@5@BTC/USD") == FaultSpec("precision", at_s=5.0, symbol="BTC/USD", decimals=(2, 8))
    for text in ("precision@5@BTC/USD", "precision:2@5@BTC/USD", "precision:2x8=0.1@BTC/USD", "precision:2x8@5"):
        with pytest.raises(ConfigError, match=f"^--fault {text}: write precision:PRICExQTY@SECONDS@SYMBOL"):
            parse_fault(text)


async def test_the_fault_strikes_once_at_its_moment() -> None:
    """Counted from the first client on; one that cannot be is told in the log, and harms
    nobody.
    """
    faults = tuple(map(parse_fault, ("precision:2x7@0.01@BTC/USD", "precision:0x8@0.02@DOGE/USD")))
    chosen = VenueSettings(port=0, symbols=("BTC/USD", "DOGE/USD"), rate=0, snapshot_delay_ms=(1, 2), faults=faults)
    async with Venue(chosen) as venue, connected(venue.public_url) as client:
        client.ask(method="subscribe", params={"channel": "instrument"})
        told = await client.next(
            lambda message: (
                message.get("channel") == "instrument" and message["data"]["pairs"][0]["price_precision"] == 2
            )
        )

    assert told["data"]["pairs"][0]["symbol"] == "BTC/USD"
    assert venue.fault_counts == {"precision": 1}
