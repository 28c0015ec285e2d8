"""A feed's candles: made of trades, closed by the clock, filled by REST, compared with Kraken's."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from zlib import crc32

import pytest

from engine.kraken.rest.market_data import read_candles
from engine.public_feed.candle_feed import CandleAsk
from engine.records import Candle, Trade
from engine.strategy.api import Strategy
from tests.kraken.wire import acks, book_frame
from tests.public_feed.rig import Market, drain, trade

SYMBOL = "BTC/USD"
BEGIN_S = int(datetime(2026, 7, 7, 23, 0, tzinfo=UTC).timestamp())
S = 1_000_000_000
HEARTBEAT = b'{"channel":"heartbeat"}'


class Listener(Strategy):
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[Candle | Trade] = []

    def on_trade(self, trade: Trade) -> None:
        self.told.append(trade)

    def on_candle(self, candle: Candle) -> None:
        self.told.append(candle)


class Story:
    """A feed of one pair, whose subscriptions are confirmed, at a time of the day."""

    def __init__(
        self, *intervals: int, at: str = "23:10:00", confirmed: bool = True, wrong_s: int = 0, **settings
    ) -> None:
        hours, minutes, seconds = map(int, at.split(":"))
        self.wrong_s = wrong_s  # how far the host's calendar is ahead
        wall_ns = (BEGIN_S + wrong_s + (hours - 23) * 3600 + minutes * 60 + seconds) * S
        self.market = Market(symbols=(SYMBOL,), candles=intervals, wall_ns=wall_ns, **settings)
        self.clock = self.market.clock
        self.hosted = self.market.host(Listener())
        self.context = self.hosted.context
        self.number = 0
        if confirmed:
            self.confirm()

    def confirm(self) -> None:
        self.market.take(*[ack for request in self.market.session.to_send() for ack in acks(request)])

    def at(self, time: str) -> None:
        """Let the clock go on to this time, Kraken's heartbeats and all."""
        hours, minutes, seconds = time.split(":")
        until = (BEGIN_S + self.wrong_s + (int(hours) - 23) * 3600 + int(minutes) * 60) * S + int(float(seconds) * S)
        while self.clock.wall_ns() < until:
            self.clock.advance(min(S, until - self.clock.wall_ns()))
            self.market.take(HEARTBEAT)
            self.market.feed.do_work()
            drain(self.hosted)

    def trade(self, at: str, price: str = "100.0", qty: str = "1.00000000", number: int | None = None) -> None:
        """A trade happens, and arrives at once."""
        self.at(at)
        self.number = self.number + 1 if number is None else number
        self.take(trade(SYMBOL, self.number, price=price, qty=qty, at=at))

    def take(self, *frames: bytes) -> None:
        """A burst of frames arrives."""
        self.market.take(*frames)
        drain(self.hosted)

    @property
    def told(self) -> list[Candle | Trade]:
        return self.hosted.strategy.told  # type: ignore[attr-defined,no-any-return]

    def candles(self, interval_min: int = 1) -> list[tuple[str, str, int, str]]:
        """What was told of an interval: its begin, its prices, its trades, and what is known."""
        return [shown(one) for one in self.told if isinstance(one, Candle) and one.interval_min == interval_min]

    def counts(self) -> dict[str, int]:
        self.market.feed.do_work()
        return self.market.counters.snapshot()

    def asks(self) -> list[CandleAsk]:
        """What REST is asked for now."""
        assert self.market.feed.candles is not None
        self.market.feed.do_work()
        found = []
        while (ask := self.market.feed.candles.next_ask(self.clock.mono_ns())) is not None:
            self.market.feed.candles.asked()
            found.append(ask)
        return found

    def answer(self, ask: CandleAsk, *rows: tuple[str, str, str, int]) -> None:
        """REST's answer: (begin, price, volume, trades) of each interval."""
        body = {
            "error": [],
            "result": {
                "XXBTZUSD": [
                    [second(begin), price, price, price, price, price if count else "0.0", volume, count]
                    for begin, price, volume, count in rows
                ],
                "last": 1,
            },
        }
        reply = ask.read(200, json.dumps(body).encode())
        self.market.feed.take_candles(ask, reply)
        drain(self.hosted)


def second(time: str) -> int:
    hours, minutes = map(int, time.split(":"))
    return BEGIN_S + (hours - 23) * 3600 + minutes * 60


def shown(one: Candle) -> tuple[str, str, int, str]:
    begin = datetime.fromtimestamp(one.interval_begin / S, UTC)
    prices = " ".join(f"{price.normalize():f}" for price in (one.open, one.high, one.low, one.close))
    known = ("closed",) * one.closed + ("history",) * one.history + ("rest",) * (one.source == "rest")
    return f"{begin:%H:%M}", prices, one.trades, " ".join(known + ("in part",) * (not one.is_whole))


def channel(*rows: tuple[str, str, str, int], kind: str = "update", interval: int = 1) -> bytes:
    """Kraken's own candles: (begin, price, volume, trades)."""
    text = ",".join(
        f'{{"symbol":"{SYMBOL}","open":{price},"high":{price},"low":{price},"close":{price},"trades":{count},'
        f'"volume":{volume},"vwap":{price},"interval_begin":"2026-07-07T{begin}:00.000000000Z","interval":{interval}}}'
        for begin, price, volume, count in rows
    )
    return f'{{"channel":"ohlc","type":"{kind}","timestamp":"2026-07-07T23:59:00Z","data":[{text}]}}'.encode()


def ticker(at: str, last: str, kind: str = "update") -> bytes:
    """The ticker, as it is because of a trade."""
    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{SYMBOL}","bid":100.0,"bid_qty":1.0,"ask":100.2,'
        f'"ask_qty":1.0,"last":{last},"volume":5.0,"vwap":100.0,"low":99.0,"high":101.0,"change":0.5,"change_pct":0.50,'
        f'"timestamp":"2026-07-07T{at}.000000Z"}}]}}'
    ).encode()


def book(at: str, qty: int = 1, kind: str = "update", day: str = "2026-07-07") -> bytes:
    """A book of one level a side, of this time."""
    lots = f"{qty}.00000000"
    checksum = crc32(f"1010{qty}000000001000{qty}00000000".encode())
    return book_frame(kind, (SYMBOL, [("100.0", lots)], [("101.0", lots)], checksum, f"{day}T{at}.000000Z"))


def fill(number: int, at: str) -> bytes:
    return trade(SYMBOL, number, price="100.0", at=at)


def snapshot(*trades: bytes) -> bytes:
    rows = [frame.partition(b'"data":[')[2].removesuffix(b"]}") for frame in trades]
    return b'{"channel":"trade","type":"snapshot","data":[' + b",".join(rows) + b"]}"


# --- trades, and the clock


def test_a_sweep_of_fills_is_told_as_one_candle_of_each_interval():
    """After the trades of the burst; one interval after the other."""
    story = Story(1, 5)
    story.trade("23:10:50")
    before = len(story.told)
    story.at("23:11:00")
    frames = [trade(SYMBOL, 2 + n, price=f"{100 + n}.0", at="23:11:00.5") for n in range(12)]
    story.take(*frames)
    news = [one for one in story.told[before:] if not (isinstance(one, Candle) and one.closed)]

    assert [type(one) for one in news] == [Trade] * 12 + [Candle] * 2
    assert story.candles(1)[-1] == ("23:11", "100 111 100 111", 12, "")
    assert story.candles(5)[-1] == ("23:10", "100 111 100 111", 13, "in part")
    candle = news[-2]
    assert (candle.vwap, candle.volume) == (Decimal("105.5"), Decimal("0.012"))


@pytest.mark.parametrize(
    ("day", "at"), [("2026-07-07", "23:11:55"), ("2026-07-07", "23:21:25"), ("2026-07-08", "23:11:25")]
)
def test_one_book_whose_time_is_ahead_closes_nothing_early(day, at):
    """By half a minute, ten minutes or a day: no other message says so, whether more of its pair come or none."""
    story = Story(1)
    story.trade("23:10:10")
    story.trade("23:11:05", price="101.0")
    story.at("23:11:10")
    story.take(book("23:11:10", kind="snapshot"))
    story.at("23:11:25")
    story.take(book(at, qty=2, day=day))
    story.at("23:11:30")
    story.take(book("23:11:30", qty=3))
    story.trade("23:11:40", price="150.0")
    story.at("23:11:59")
    forming = story.candles()
    story.at("23:12:02")

    assert forming[-2:] == [("23:11", "101 101 101 101", 1, ""), ("23:11", "101 150 101 150", 2, "")]
    assert story.candles()[len(forming) :] == [("23:11", "101 150 101 150", 2, "closed")]
    story.trade("23:45:10", price="160.0")
    assert story.candles()[-1] == ("23:45", "160 160 160 160", 1, "")


def test_a_wrong_book_that_is_the_only_message_for_long_moves_the_clock_no_more():
    """What was known holds on, for as long as nothing else confirms another time."""
    story = Story(1)
    story.trade("23:10:10")
    story.at("23:11:25")
    story.take(book("23:11:25", kind="snapshot", day="2026-07-08"))
    story.at("23:59:50")
    story.trade("23:59:55", price="101.0")

    assert story.candles()[-1] == ("23:59", "101 101 101 101", 1, "")


def test_what_two_books_say_moves_the_clock():
    """This host slept for ten minutes, and its monotonic clock with it: no trade comes, but books do."""
    story = Story(1)
    story.trade("23:10:10")
    story.trade("23:11:05", price="101.0")
    story.at("23:11:10")
    story.take(book("23:11:10", kind="snapshot"))
    story.at("23:11:20")
    story.take(book("23:21:20", qty=2))
    story.at("23:11:21")
    before = story.candles()
    story.take(book("23:21:21", qty=3))
    story.at("23:11:22")

    assert before[-1] == ("23:11", "101 101 101 101", 1, "")
    assert story.candles()[len(before) :] == [("23:11", "101 101 101 101", 1, "closed")]


def test_a_candle_is_closed_by_the_clock():
    """Two seconds after its end at the latest, on a connection that brings heartbeats alone."""
    story = Story(1, 5, at="23:14:28")
    story.trade("23:14:30")
    story.trade("23:15:30")
    story.at("23:16:00")
    assert story.candles()[-1] == ("23:15", "100 100 100 100", 1, "")
    story.at("23:16:02")
    assert story.candles()[-1] == ("23:15", "100 100 100 100", 1, "closed")
    story.at("23:20:02")
    assert story.candles(5)[-1] == ("23:15", "100 100 100 100", 1, "closed")
    assert len(story.candles()) == 3  # in part, forming, closed
    assert story.counts()["candles_missed"] == 2  # of both intervals the first, of which no REST tells the beginning


@pytest.mark.parametrize("wrong_s", [-86_400, -4, 4, 86_400])
def test_a_calendar_that_is_wrong_changes_nothing(wrong_s):
    """The host's clock is not Kraken's: intervals end by Kraken's."""
    story = Story(1, at="23:10:48", wrong_s=wrong_s)
    story.trade("23:10:50")
    story.trade("23:11:30")
    story.at("23:11:59")
    assert not any("closed" in row[3] for row in story.candles())
    story.trade("23:11:59")
    story.at("23:12:02")
    assert [row for row in story.candles() if "closed" in row[3]] == [("23:11", "100 100 100 100", 2, "closed")]
    assert story.counts()["candles_amended"] == 0


@pytest.mark.parametrize("why", ["no connection", "not confirmed", "a gap"])
def test_nothing_is_closed_by_the_clock_while_trades_may_be_missing(why):
    """Until the next trade says that there was none between, or the missing ones have come."""
    story = Story(1, confirmed=why != "not confirmed", fills_gaps=why == "a gap")
    story.trade("23:10:30")
    story.trade("23:11:30")
    if why == "no connection":
        story.market.feed.on_events(story.market.session.closed(story.clock.mono_ns(), "cut"))
    if why == "a gap":
        story.at("23:11:58")
        story.take(fill(4, at="23:11:58"))
    story.at("23:12:02")
    assert not any("closed" in row[3] for row in story.candles())
    if why == "a gap":
        story.take(fill(3, at="23:11:57"))
        story.at("23:12:04")
    else:
        story.trade("23:12:10")
    trades = 3 if why == "a gap" else 1
    assert ("23:11", "100 100 100 100", trades, "closed") in story.candles()


def test_after_an_outage_nothing_is_closed_before_the_snapshot():
    """The subscription is confirmed, and the interval is over; its last trades come with the snapshot."""
    story = Story(1)
    story.trade("23:10:30")
    story.trade("23:11:30")
    session = story.market.session
    story.market.feed.on_events(session.closed(story.clock.mono_ns(), "cut"))
    story.at("23:12:05")
    session.opened(story.clock.mono_ns())
    story.confirm()
    story.at("23:12:07")
    assert not any("closed" in row[3] for row in story.candles())
    story.take(snapshot(fill(2, at="23:11:30"), fill(3, at="23:11:40")))
    story.at("23:12:08")
    assert story.candles()[-1] == ("23:11", "100 100 100 100", 2, "closed")


def test_the_snapshot_of_fifty_trades_begins_the_candles():
    """What it covers is told as history, and the forming candle is whole; its trades themselves are not told."""
    story = Story(1, 5)
    fills = [trade(SYMBOL, n, price=f"{n}.0", at=at) for n, at in enumerate(("23:07:10", "23:08:10", "23:09:10"), 1)]
    story.take(snapshot(*fills, trade(SYMBOL, 4, price="4.0", at="23:09:59")))
    drain(story.hosted)
    assert story.candles() == [("23:08", "2 2 2 2", 1, "closed history"), ("23:09", "3 4 3 4", 2, "")]
    assert story.candles(5) == [("23:05", "1 4 1 4", 4, "in part")]
    assert not any(isinstance(one, Trade) for one in story.told)
    story.number = 4
    story.trade("23:10:01", price="5.0")
    assert story.candles()[2:] == [("23:09", "3 4 3 4", 2, "closed"), ("23:10", "5 5 5 5", 1, "")]


def test_a_trade_of_a_time_to_come_ends_no_interval():
    """Nor does one without a time: both count as of the time of the trade before."""
    story = Story(1)
    story.trade("23:10:30")
    story.trade("23:11:30")
    story.take(fill(3, at="23:59:30"), fill(4, at="nonsense"))
    story.trade("23:11:40", number=5)
    assert story.candles()[-1] == ("23:11", "100 100 100 100", 4, "")


def test_the_context_keeps_them_in_order():
    """The newest of an interval, the last ones, each as it was told last."""
    story = Story(1, 5)
    for minute in range(10, 18):
        story.trade(f"23:{minute}:30", price=f"{minute}.0")
    context = story.context
    assert shown(context.candle(SYMBOL)) == ("23:17", "17 17 17 17", 1, "")
    assert shown(context.candle(SYMBOL, 5))[:1] == ("23:15",)
    assert [shown(one)[0] for one in context.candles(SYMBOL, 1, 3)] == ["23:15", "23:16", "23:17"]
    assert [one.closed for one in context.candles(SYMBOL, 1, 3)] == [True, True, False]
    assert [shown(one)[0] for one in context.candles(SYMBOL, 5)] == ["23:10", "23:15"]
    assert context.candles(SYMBOL, 60) == ()
    assert context.candles(SYMBOL, 1, 0) == ()
    with pytest.raises(KeyError, match="not followed"):
        context.candles("DOGE/USD")


def test_a_strategy_that_fell_behind_has_no_hole_in_its_candles():
    """Those that it was told before the gap are forgotten; the newest are on the board."""
    story = Story(1, 5, slot_count=64)
    story.trade("23:10:30")
    story.trade("23:11:30")
    for minute in range(12, 15):
        story.at(f"23:{minute}:30")
        story.take(*[trade(SYMBOL, minute * 100 + n, at=f"23:{minute}:30") for n in range(90)])
    drain(story.hosted)
    assert story.hosted.gaps > 0
    assert [shown(one)[0] for one in story.context.candles(SYMBOL)] == ["23:14"]


# --- REST


def test_history_is_asked_for_once_and_told_as_such():
    """Each interval; what is before the first trade, and what was forming when it came."""
    story = Story(1, 5, candle_history=3, fills_gaps=True)
    assert story.asks() == []
    story.trade("23:10:30")
    asks = story.asks()
    assert [(ask.interval_min, ask.since // S - BEGIN_S) for ask in asks] == [(1, 7 * 60), (5, -5 * 60)]
    assert asks[0].request.target == f"/0/public/OHLC?pair=BTC%2FUSD&interval=1&since={second('23:07') - 1}"
    story.answer(
        asks[0], ("23:07", "7", "1.5", 2), ("23:08", "7", "0", 0), ("23:09", "9", "1", 1), ("23:10", "9", "9", 9)
    )
    assert story.candles()[1:] == [
        ("23:07", "7 7 7 7", 2, "closed history rest"),
        ("23:09", "9 9 9 9", 1, "closed history rest"),
        ("23:10", "9 100 9 100", 9, "rest in part"),
    ]
    story.answer(
        asks[1], ("22:55", "5", "1", 2), ("23:00", "5", "0", 0), ("23:05", "9", "2.5", 3), ("23:10", "9", "9", 9)
    )
    assert story.candles(5)[1:] == [
        ("22:55", "5 5 5 5", 2, "closed history rest"),
        ("23:05", "9 9 9 9", 3, "closed history rest"),
        ("23:10", "9 100 9 100", 9, "rest in part"),
    ]
    story.at("23:11:05")
    (ask,) = story.asks()
    assert (ask.interval_min, ask.since // S - BEGIN_S) == (1, 10 * 60)
    story.answer(ask, ("23:10", "9", "9", 9), ("23:11", "9", "1", 1))
    assert story.candles()[-1] == ("23:10", "9 9 9 9", 9, "closed history rest")
    assert story.asks() == []
    assert story.candles(5)[-1] == ("23:10", "9 9 9 9", 9, "rest")  # the five minutes are whole from then on
    story.trade("23:12:00")
    assert story.candles(5)[-1] == ("23:10", "9 100 9 100", 10, "rest")
    counts = story.counts()
    assert (counts["candles_missed"], counts["candles_filled"] > 3) == (0, True)


def test_rest_that_never_answers_costs_the_first_interval_alone():
    """It is asked every thirty seconds, five times; then the interval is missed."""
    story = Story(1, fills_gaps=True)
    story.trade("23:10:30")
    asked = 0
    for minute in range(11, 16):
        for half in ("10", "40"):
            story.trade(f"23:{minute}:{half}")
            asked += len(story.asks())
    story.at("23:16:10")
    assert (asked, story.counts()["candles_missed"]) == (5, 1)
    assert [row[0] for row in story.candles() if "closed" in row[3]] == [f"23:{minute}" for minute in range(11, 16)]


def test_candles_that_are_not_aligned_are_not_taken():
    """REST's candles that do not begin where ours do say nothing of them."""
    story = Story(5, candle_history=1, fills_gaps=True)
    story.trade("23:10:30")
    (ask,) = story.asks()
    before = len(story.told)
    story.answer(ask, ("23:03", "7", "1.5", 2), ("23:08", "7", "1", 1))
    assert len(story.told) == before


# --- Kraken's own channel


def test_candles_are_compared_with_krakens_own():
    """The last word on each interval, some seconds after its end; one that was seen whole by both."""
    story = Story(1)
    story.trade("23:10:30")
    story.trade("23:11:20")
    story.take(channel(("23:11", "100.0", "1", 1)))
    story.trade("23:11:40")
    story.take(channel(("23:11", "100.0", "2", 2)))
    story.trade("23:12:20")
    story.at("23:12:30")
    counts = story.counts()
    assert (counts["candles_compared"], counts["candles_differing"]) == (1, 0)

    story.take(channel(("23:12", "101.0", "1", 1)))  # it knows of another price
    story.at("23:13:10")
    counts = story.counts()
    assert (counts["candles_compared"], counts["candles_differing"]) == (2, 1)


def test_an_interval_of_which_kraken_counts_more_trades_is_not_closed():
    """The last message before a quiet minute was lost: no later id shows it, but its own channel does."""
    story = Story(1)
    story.trade("23:10:30")
    story.trade("23:11:20")
    story.take(channel(("23:11", "100.0", "2", 2)))
    story.at("23:12:30")

    assert not any("closed" in row[3] for row in story.candles())
    assert story.counts()["candles_missed"] == 2  # the first, of which no REST tells the beginning, and this one


@pytest.mark.parametrize(
    ("at", "price", "is_whole"),
    [
        ("23:11:50", "100.1", False),  # the last trade of the minute, of which only the ticker tells
        ("23:11:50", "100.0", True),  # its time may be that of its sending
        ("23:11:20", "100.1", True),  # of a trade among others of the same microsecond
        ("23:12:00", "100.1", True),  # of the next minute
    ],
)
def test_an_interval_whose_last_price_another_than_the_tickers_is_not_closed(at: str, price: str, is_whole: bool):
    """Trades and candles are both mute, and no later id shows it."""
    story = Story(1)
    story.trade("23:10:30")
    story.trade("23:11:20")
    story.at("23:11:52")
    story.take(ticker(at, price))
    story.at("23:12:30")

    assert [row[3] for row in story.candles() if row[0] == "23:11" and "closed" in row[3]] == ["closed"] * is_whole


def test_a_trade_that_comes_after_its_ticker_is_missed_by_nobody():
    story = Story(1)
    story.trade("23:10:30")
    story.at("23:11:50")
    story.take(ticker("23:11:50", "100.1"))
    story.trade("23:11:50", price="100.1")
    story.at("23:12:30")

    assert story.candles()[-1] == ("23:11", "100.1 100.1 100.1 100.1", 1, "closed")


def test_tickers_of_times_to_come_take_no_room_from_others():
    story = Story(1)
    story.trade("23:10:30")
    for minute in range(20, 50):
        story.take(ticker(f"23:{minute}:00", "100.1"))
    story.trade("23:11:20")
    story.take(ticker("23:11:21", "100.1"))
    story.at("23:12:30")

    assert not any("closed" in row[3] for row in story.candles() if row[0] == "23:11")


def test_what_an_earlier_connection_told_last_is_not_compared():
    """The candle went on while there was none."""
    story = Story(1)
    story.trade("23:10:30")
    story.trade("23:11:20")
    story.take(channel(("23:11", "100.0", "1", 1)))
    session = story.market.session
    story.market.feed.on_events(session.closed(story.clock.mono_ns(), "cut"))
    session.opened(story.clock.mono_ns())
    story.confirm()
    story.take(fill(3, at="23:11:50"), channel(("23:12", "100.0", "1", 1)))
    story.at("23:12:20")
    assert story.counts()["candles_compared"] == 0


def test_genuine_rows_of_rest_can_be_taken():
    """A row without trades has the price of before, and no mean."""
    rows = [[1762777020, "106038.2", "106038.2", "106038.2", "106038.2", "0.0", "0.00000000", 0]]
    told = read_candles(200, json.dumps({"error": [], "result": {"XBTUSDT": rows, "last": 1}}).encode(), "BTC/USDT", 1)
    assert [(one.trades, one.volume, one.vwap, one.close) for one in told] == [(0, 0, 0, Decimal("106038.2"))]
