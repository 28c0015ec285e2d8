"""What the ohlc and ticker channels count."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.candles import CANDLES_TOLD, INTERVALS, Candles
from engine.venue.day import Day

MIDNIGHT_S = 1_785_628_800
trades = st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 200)), min_size=1, max_size=50)


@given(trades)
def test_a_candle_is_its_trades(fills):
    """Open, extremes, close, count, volume and volume-weighted price of the trades of its minute."""
    candles, at_s, by_minute = Candles(), MIDNIGHT_S, {}
    for price, qty, later_s in fills:
        at_s += later_s
        candles.add(PriceTicks(price), QtyLots(qty), WallNs(at_s * NS_PER_S + 999))
        by_minute.setdefault(at_s - at_s % 60, []).append((price, qty))
    expected = [
        (
            begin_s,
            group[0][0],
            max(price for price, _ in group),
            min(price for price, _ in group),
            group[-1][0],
            len(group),
            sum(qty for _, qty in group),
            sum(price * qty for price, qty in group),
        )
        for begin_s, group in by_minute.items()
    ][-CANDLES_TOLD:]
    told = [
        (one.begin_s, one.open, one.high, one.low, one.close, one.trades, one.qty, one.cost) for one in candles.last(1)
    ]

    assert told == expected
    for interval in INTERVALS:
        assert candles.current(interval).begin_s % (interval * 60) == 0
        assert candles.current(interval).close == fills[-1][0]


@given(trades)
def test_the_day_is_its_trades(fills):
    """Within 24 hours everything counts."""
    day, at_s = Day(), MIDNIGHT_S
    for price, qty, later_s in fills:
        at_s += later_s
        day.add(PriceTicks(price), QtyLots(qty), WallNs(at_s * NS_PER_S))
    totals = day.totals(WallNs(at_s * NS_PER_S))
    prices = [price for price, _, _ in fills]

    assert (totals.open, totals.last, totals.high, totals.low) == (prices[0], prices[-1], max(prices), min(prices))
    assert totals.qty == sum(qty for _, qty, _ in fills)
    assert totals.trades == len(fills)
    assert totals.low <= totals.vwap <= totals.high


def test_yesterday_is_forgotten():
    """After 24 hours an hour's trades are gone."""
    day = Day()
    day.add(PriceTicks(100), QtyLots(5), WallNs(MIDNIGHT_S * NS_PER_S))
    later = WallNs((MIDNIGHT_S + 25 * 3600) * NS_PER_S)
    day.add(PriceTicks(50), QtyLots(1), later)

    assert day.totals(later).qty == 1
    assert day.totals(later).high == 50


def test_change_is_rounded_half_away_from_zero():
    """Hundredths of a per cent."""
    day, moment = Day(), WallNs(MIDNIGHT_S * NS_PER_S)
    day.add(PriceTicks(20_000), QtyLots(1), moment)
    day.add(PriceTicks(20_001), QtyLots(1), moment)
    up = day.totals(moment).change_pct_hundredths()
    day.add(PriceTicks(19_999), QtyLots(1), moment)

    assert up == 1
    assert day.totals(moment).change_pct_hundredths() == -1


def test_an_invented_past_is_possible():
    """Extremes contain open and close; the last close leads to the price at which the venue opens."""
    candles, day = Candles(), Day()
    candles.invent_history(Random(1), PriceTicks(2794), QtyLots(10), WallNs(MIDNIGHT_S * NS_PER_S))
    day.invent_history(Random(1), PriceTicks(2794), QtyLots(10), WallNs(MIDNIGHT_S * NS_PER_S))
    totals = day.totals(WallNs(MIDNIGHT_S * NS_PER_S))

    for interval in INTERVALS:
        rows = list(candles.last(interval))
        assert rows
        assert all(one.low <= min(one.open, one.close, one.vwap()) for one in rows)
        assert all(one.high >= max(one.open, one.close, one.vwap()) for one in rows)
    assert totals.low <= totals.vwap <= totals.high
    assert totals.last == 2794
