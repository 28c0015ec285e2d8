"""One history: candles of every interval, the ticker's day and the trades come from the same bars, and agree."""

from itertools import groupby, pairwise
from typing import Any

import pytest

from engine.timestamps import wall_ns
from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.market.candles import CANDLES_KEPT, INTERVALS, Candles, folded
from engine.venue.market.history import LISTED_S, STAGES, Bar, History, Trade
from engine.venue.market.pairs import PAIR_OF_SYMBOL, PAIRS
from tests.venue.rest_client import THREE_PAIRS, RestClient, limit_buy, standing_venue
from tests.venue.venue_client import connected

OPENED_S = 1_785_641_871  # 2026-08-02T03:37:51Z
SUMMED = ("qty", "cost", "trades")


def history(symbol: str = "BTC/USD", seed: int = 1) -> History:
    return History(PAIR_OF_SYMBOL[symbol], seed, WallNs(OPENED_S * NS_PER_S), 100_000_000)


def summed(bars: list[Any]) -> tuple[int, ...]:
    """Open, high, low, close, trades, quantity and cost of them together."""
    return (
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        *(sum(getattr(bar, name) for bar in bars) for name in ("trades", "qty", "cost")),
    )


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.symbol)
def test_the_past_is_possible_and_leads_to_the_opening(pair: Any):
    """No gap in the prices, extremes that hold them, dense trade ids, the last price that of the opening."""
    bars = list(History(pair, 3, WallNs(OPENED_S * NS_PER_S), 10_000_000).bars(0))  # the lowest id to begin with

    assert bars[0].begin_s == LISTED_S
    assert bars[-1].close == pair.mid_ticks
    assert all(1 <= bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert all(older.close == newer.open for older, newer in pairwise(bars))
    assert all(older.begin_s + older.span_s <= newer.begin_s for older, newer in pairwise(bars))
    assert all(older.first_trade_id + older.trades == newer.first_trade_id for older, newer in pairwise(bars))
    assert bars[-1].first_trade_id + bars[-1].trades == 10_000_001
    assert bars[0].first_trade_id > 0


def test_a_bar_is_its_trades():
    """Told one by one, they sum to what the bar says, in the order of their time and within its span."""
    for bar in list(history("ETH/BTC").bars(OPENED_S - 20 * 86_400)):
        trades = list(bar.told())
        prices = [trade.price for trade in trades]

        assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
        assert sum(trade.qty for trade in trades) == bar.qty
        assert sum(trade.price * trade.qty for trade in trades) == bar.cost
        assert len(trades) == bar.trades
        assert all(older.at < newer.at for older, newer in pairwise(trades))
        assert bar.begin_s * NS_PER_S <= trades[0].at
        assert trades[-1].at < (bar.begin_s + bar.span_s) * NS_PER_S


@pytest.mark.parametrize("fall", [-7, -1, 0, 1, 7])
@pytest.mark.parametrize("trades", [4, 5, 6, 15])
def test_the_way_to_the_close_stays_within_the_extremes(fall: int, trades: int):
    """Whatever the distance and the number of trades: rounding never leads beyond the close."""
    close = 100 - fall
    bar = Bar(0, 60, 100, max(100, close) + 2, min(100, close) - 3, close, trades, 5, 1)
    prices = [trade.price for trade in bar.told()]

    assert (max(prices), min(prices)) == (bar.high, bar.low)
    assert sum(price * 5 for price in prices) == bar.cost


def test_every_interval_folds_from_the_finer_ones():
    """Where two intervals overlap, the coarser candle is the sum of the finer ones."""
    past = history()
    series = {interval: folded(past, interval, CANDLES_KEPT) for interval in INTERVALS}
    compared = 0
    for fine, coarse in ((a, b) for a in INTERVALS for b in INTERVALS if a < b and b % a == 0):
        span_s = coarse * 60
        covered_s = series[fine][0].begin_s
        buckets = {
            begin_s: list(group)
            for begin_s, group in groupby(series[fine], key=lambda candle: candle.begin_s // span_s * span_s)
        }
        for candle in series[coarse]:
            if candle.begin_s >= covered_s and candle.begin_s in buckets:
                assert summed([candle]) == summed(buckets[candle.begin_s])
                compared += 1

    assert compared > 2000


def test_720_candles_of_each_interval_as_far_as_the_pair_is_listed():
    """The longest ones begin with the listing instead of before anybody traded."""
    past = history()
    counts = {interval: len(folded(past, interval, CANDLES_KEPT)) for interval in INTERVALS}

    # One less where the interval of the opening has no past.
    assert {counts[interval] for interval in list(STAGES)[1:]} <= {CANDLES_KEPT - 1, CANDLES_KEPT}
    assert counts[10_080] == OPENED_S // 604_800 - LISTED_S // 604_800 + 1
    assert counts[21_600] == OPENED_S // 1_296_000 - LISTED_S // 1_296_000 + 1


def test_the_past_does_not_depend_on_who_asks_for_what():
    """Asked from far to near or from near to far: the same bars; another seed, other bars."""
    near_first, far_first = history(), history()
    for since_s in (OPENED_S - 3600, OPENED_S - 10**6, 0):
        list(near_first.bars(since_s))

    assert list(far_first.bars(0)) == list(near_first.bars(0))
    assert list(history(seed=2).bars(0)) != list(far_first.bars(0))


def test_candles_that_live_through_the_opening():
    """What was traded in a minute, an hour or a day before and after the opening is one candle."""
    past, candles = history(), Candles(history())
    before = {interval: folded(past, interval, CANDLES_KEPT) for interval in INTERVALS}
    candles.add(PriceTicks(9), QtyLots(10), WallNs(OPENED_S * NS_PER_S))

    for interval in INTERVALS[1:]:
        kept = list(candles.kept(interval))
        old = before[interval][-1]
        assert kept[-1].begin_s == old.begin_s == OPENED_S // (interval * 60) * interval * 60
        assert (kept[-1].open, kept[-1].low, kept[-1].close) == (old.open, 9, 9)
        assert (kept[-1].trades, kept[-1].qty) == (old.trades + 1, old.qty + 10)
        assert [candle.begin_s for candle in kept[:-1]] == [candle.begin_s for candle in before[interval][:-1]]


def test_the_order_of_questions_changes_no_candle():
    """The current candle first and the rest later, or all at once: the same candles."""
    bit_by_bit, at_once = Candles(history()), Candles(history())
    for later_s in (0, 1, 400, 90_000):
        for candles in (bit_by_bit, at_once):
            candles.add(PriceTicks(9), QtyLots(10), WallNs((OPENED_S + later_s) * NS_PER_S))
        newest = [bit_by_bit.current(interval) for interval in INTERVALS]

    assert [list(bit_by_bit.kept(interval)) for interval in INTERVALS] == [
        list(at_once.kept(interval)) for interval in INTERVALS
    ]
    assert newest == [at_once.current(interval) for interval in INTERVALS]


def test_trades_of_the_past_are_paged_without_a_gap():
    """Any moment leads on to the next trade, dense ids all the way, across bars and stages."""
    past = history()
    all_of_it: list[Trade] = list(past.trades(WallNs((OPENED_S - 100_000) * NS_PER_S)))
    middle = all_of_it[len(all_of_it) // 2]

    assert [trade.trade_id for trade in all_of_it] == list(range(all_of_it[0].trade_id, 100_000_001))
    assert next(past.trades(middle.at)).trade_id == middle.trade_id + 1
    assert past.last_trades(50) == all_of_it[-50:]
    assert next(past.trades(WallNs(0))).at // NS_PER_S // 86_400 == LISTED_S // 86_400


# --- as REST and the WebSocket tell it -------------------------------------------------------------------------------


async def rows_of(client: RestClient, interval: int) -> list[list[Any]]:
    reply = await client.public("OHLC", pair="XBTUSD", interval=interval)
    return list(reply["result"]["XXBTZUSD"])


async def test_the_tickers_day_is_the_daily_candle_and_the_minutes_of_24_hours():
    """Today: the last row of the daily candles. 24 hours: the sum of the 5-minute rows, when they begin together."""
    async with standing_venue() as (_, client):
        ticker = (await client.public("Ticker", pair="XBTUSD"))["result"]["XXBTZUSD"]
        today = (await rows_of(client, 1440))[-1]
        now_s = (await client.public("Time"))["result"]["unixtime"]
        fives = [row for row in await rows_of(client, 5) if row[0] >= now_s - 86_400]

    assert [float(ticker[key][0]) for key in "hlvt"] == [float(today[place]) for place in (2, 3, 6, 7)]
    assert float(ticker["o"]) == float(today[1])
    assert round(float(ticker["p"][0]), 1) == pytest.approx(float(today[5]), abs=0.1)
    assert float(ticker["c"][0]) == float(today[4])
    # At most four minutes of the oldest five are in the one and not in the other.
    assert ticker["t"][1] >= sum(row[7] for row in fives)
    assert ticker["t"][1] - sum(row[7] for row in fives) < 4 * 50
    assert float(ticker["h"][1]) >= max(float(row[2]) for row in fives)


async def test_trades_fold_to_the_candles():
    """Paged from an hour ago, the trades give the 1-minute rows: prices, volume, count."""
    async with standing_venue() as (_, client):
        rows = {row[0]: row for row in await rows_of(client, 1)}
        begin_s = sorted(rows)[-60]
        since, trades = str(begin_s * NS_PER_S - 1), []
        while page := (await client.public("Trades", pair="XBTUSD", since=since))["result"]:
            if not page["XXBTZUSD"]:
                break
            trades += page["XXBTZUSD"]
            since = page["last"]

    minutes = {at_s: list(group) for at_s, group in groupby(trades, key=lambda row: int(row[2]) // 60 * 60)}
    assert len(minutes) > 30
    for at_s, group in minutes.items():
        prices = [float(row[0]) for row in group]
        _, opened, high, low, close, _, volume, count = rows[at_s]
        assert [float(text) for text in (opened, high, low, close)] == [
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
        ]
        assert float(volume) == pytest.approx(sum(float(row[1]) for row in group), abs=1e-9)
        assert count == len(group)
    assert all(row[7] == 0 for at_s, row in rows.items() if at_s >= begin_s and at_s not in minutes)


@pytest.mark.parametrize("interval", INTERVALS)
async def test_the_websocket_tells_the_candles_of_rest(interval: int):
    """The snapshot's rows are REST's last ones that have trades, and an update is the current one."""
    async with standing_venue() as (venue, client), connected(venue.public_url) as socket:
        socket.subscribe("ohlc", "BTC/USD", interval=interval)
        snapshot = (await socket.of("ohlc", "snapshot"))["data"]
        rows = await rows_of(client, interval)
        await client.result("AddOrder", **limit_buy(ordertype="market", volume="0.01"))
        (update,) = (await socket.of("ohlc", "update"))["data"]
        after = (await rows_of(client, interval))[-1]

    traded = [row for row in rows if row[7]]
    assert len(snapshot) >= 10
    assert [told(candle) for candle in snapshot] == [numbers(row) for row in traded[-len(snapshot) :]]
    assert told(update) == numbers(after)
    assert update["trades"] > (snapshot[-1]["trades"] if after[0] == rows[-1][0] and rows[-1][7] else 0)


def told(candle: dict[str, Any]) -> list[float]:
    begin_s = wall_ns(candle["interval_begin"]) // NS_PER_S
    return [begin_s, *(float(candle[key]) for key in ("open", "high", "low", "close", "vwap", "volume", "trades"))]


def numbers(row: list[Any]) -> list[float]:
    return [float(value) for value in row]


async def test_the_websocket_tells_the_day_of_rest():
    """Volume, extremes, number of trades and last price of 24 hours are the same; the change is from their first."""
    async with standing_venue(symbols=THREE_PAIRS) as (venue, client), connected(venue.public_url) as socket:
        socket.subscribe("ticker", "BTC/USD", "ETH/USD", "DOGE/USD")
        told = {}
        while len(told) < 3:
            (row,) = (await socket.of("ticker"))["data"]
            told[row["symbol"]] = row
        names = ",".join(told)
        rest = (await client.public("Ticker", pair=names))["result"]

    for symbol, row in told.items():
        day = rest[symbol]
        assert [row[key] for key in ("volume", "low", "high")] == [float(day[key][1]) for key in "vlh"]
        assert (row["trades"], row["last"]) == (day["t"][1], float(day["c"][0]))
        assert row["vwap"] == pytest.approx(float(day["p"][1]), rel=1e-4)
        assert row["low"] <= row["last"] - row["change"] <= row["high"]
