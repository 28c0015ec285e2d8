"""What the ohlc and ticker channels count."""

from hypothesis import given
from hypothesis import strategies as st

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.market.candles import CANDLES_TOLD, INTERVALS, Candles
from engine.venue.market.day import Day

MIDNIGHT_S = 1_785_628_800
trades = st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 200)), min_size=1, max_size=50)


@given(trades)
def test_a_candle_is_its_trades(fills):
    """Open, extremes, close, count, volume and volume-weighted price of the trades of its
    minute.
    """
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


class TradedDay(Day):
    """A day, and the candles that it counts."""

    def __init__(self, asked: bool = True) -> None:
        self.candles = Candles()
        super().__init__(self.candles, lambda: self.candles.current(1).close)
        if asked:
            self.trade(1, 1, MIDNIGHT_S - 2 * 86_400)
            self.totals(WallNs((MIDNIGHT_S - 2 * 86_400) * NS_PER_S))

    def trade(self, price: int, qty: int, at_s: int) -> None:
        self.candles.add(PriceTicks(price), QtyLots(qty), WallNs(at_s * NS_PER_S))
        self.add(PriceTicks(price), QtyLots(qty))


@given(trades, st.booleans())
def test_the_day_is_its_trades(fills, asked):
    """Within 24 hours everything counts, whether it is watched from before the first trade
    or asked for at last.
    """
    day, at_s = TradedDay(asked), MIDNIGHT_S
    for price, qty, later_s in fills:
        at_s += later_s
        day.trade(price, qty, at_s)
    totals = day.totals(WallNs(at_s * NS_PER_S))
    prices = [price for price, _, _ in fills]

    assert (totals.open, totals.last, totals.high, totals.low) == (prices[0], prices[-1], max(prices), min(prices))
    assert totals.qty == sum(qty for _, qty, _ in fills)
    assert totals.trades == len(fills)
    assert totals.low <= totals.vwap <= totals.high


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 9), st.integers(0, 40_000)), min_size=1, max_size=60))
def test_the_window_moves_by_the_minute(fills):
    """At any moment the day is the 1-minute candles that began in its 24 hours: sums,
    extremes, first price.
    """
    day, at_s = TradedDay(), MIDNIGHT_S
    for price, qty, later_s in fills:
        at_s += later_s
        day.trade(price, qty, at_s)
        totals = day.totals(WallNs(at_s * NS_PER_S))
        minutes = [minute for minute in day.candles.kept(1) if minute.begin_s >= at_s - 86_400]

        assert totals.open == minutes[0].open
        assert totals.high == max(minute.high for minute in minutes)
        assert totals.low == min(minute.low for minute in minutes)
        assert totals.qty == sum(minute.qty for minute in minutes)
        assert totals.cost == sum(minute.cost for minute in minutes)
        assert totals.trades == sum(minute.trades for minute in minutes)


def test_yesterday_is_forgotten():
    """After 24 hours an hour's trades are gone."""
    day = TradedDay()
    day.trade(100, 5, MIDNIGHT_S)
    day.trade(50, 1, MIDNIGHT_S + 25 * 3600)
    totals = day.totals(WallNs((MIDNIGHT_S + 25 * 3600) * NS_PER_S))

    assert (totals.qty, totals.high) == (1, 50)


def test_a_day_without_a_trade_stands_at_the_last_price():
    """Nothing was traded today, nor in 24 hours: no volume, all prices those of the last
    trade.
    """
    day = TradedDay()
    day.trade(100, 5, MIDNIGHT_S)
    later = WallNs((MIDNIGHT_S + 3 * 86_400) * NS_PER_S)

    for totals in (day.totals(later), day.today(later)):
        assert (totals.open, totals.high, totals.low, totals.last, totals.vwap) == (100,) * 5
        assert (totals.qty, totals.cost, totals.trades) == (0, 0, 0)


def test_today_is_the_daily_candle():
    """It begins at midnight UTC, whatever came in the 24 hours before."""
    day = TradedDay()
    day.trade(100, 5, MIDNIGHT_S - 60)
    day.trade(50, 1, MIDNIGHT_S)
    day.trade(70, 1, MIDNIGHT_S + 3600)
    totals = day.today(WallNs((MIDNIGHT_S + 7200) * NS_PER_S))

    assert (totals.open, totals.high, totals.low, totals.last, totals.trades) == (50, 70, 50, 70, 2)


def test_change_is_rounded_half_away_from_zero():
    """Hundredths of a per cent."""
    day, moment = TradedDay(), WallNs(MIDNIGHT_S * NS_PER_S)
    day.trade(20_000, 1, MIDNIGHT_S)
    day.trade(20_001, 1, MIDNIGHT_S)
    up = day.totals(moment).change_pct_hundredths()
    day.trade(19_999, 1, MIDNIGHT_S)

    assert up == 1
    assert day.totals(moment).change_pct_hundredths() == -1
