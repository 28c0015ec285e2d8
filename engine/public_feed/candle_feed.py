"""The candles of a feed's pairs: from its trades, by Kraken's clock, with REST and Kraken's
own channel beside them. Pure; time is passed in.

    trades, in their order ─► add() ────────────┐
    look(): what is over by the clock ──────────┼─► Candles of each pair ─► take(): to be published
    next_ask() ─► REST's OHLC ─► take_rows() ───┘
    ohlc channel ─► take_channel() ─► compared with ours some seconds after the interval's end
    ticker ─► take_ticker() ─► shows where a last trade is missing

The clock is Kraken's, as its quickest messages of the last minutes have told it, so a
calendar of this host that is wrong closes nothing early; nor does one message of Kraken's
whose time is wrong, for what moves the clock is confirmed by another. All trades up to a
second before Kraken was last heard are known, while the subscription holds, and no trade is
held behind a gap.
"""

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple

import structlog

from engine.kraken.public.candle_rows import begin_ns
from engine.kraken.public.events import TradePrinted
from engine.kraken.public.messages import CandleData, TickerData, TradeData
from engine.kraken.public.session import PublicSession
from engine.kraken.rest import market_data
from engine.kraken.rest.requests import RestRequest
from engine.market.candles import MINUTE_NS, ROWS_MAX, Bar, CandleCounts, Candles, CandleState, begin_of
from engine.timestamps import wall_ns
from engine.topology import Shard
from engine.units import NS_PER_S, MonoNs, WallNs, decimal_units, decimals_of, units_decimal

UNKNOWN: Final = -(1 << 63)
GRACE_NS: Final = NS_PER_S  # a trade may come so much later than the quickest ones
AHEAD_NS_MAX: Final = 60 * NS_PER_S  # of a trade's time before Kraken's
WINDOW_NS: Final = 600 * NS_PER_S  # the quickest message of this one and the last tells Kraken's time
SNAPSHOT_NS: Final = 5 * NS_PER_S  # after its subscription, a pair without a snapshot has no trade to tell
REST_AGE_NS: Final = 5 * NS_PER_S  # the trades of a reply of REST are complete up to so long before it
SETTLE_NS: Final = 3 * NS_PER_S  # REST is asked for an interval so long after its end
RENEW_NS: Final = 30 * NS_PER_S  # for the candles of a pair and interval, at the earliest
SCAN_NS: Final = NS_PER_S  # between two looks at what REST is to be asked for
TICKER_MINUTES_MAX: Final = 8  # of a pair, with a trade of which only the ticker has told: one or two
COMPARE_NS: Final = 5 * NS_PER_S  # after its end an interval is compared: both have told the last trade by then
ROWS_A_PAIR_MAX: Final = 8  # of Kraken's own channel, that wait to be compared: the newest
LOOKED_AT_MAX: Final = 4  # pairs at a time: some 0.2 ms where each has a candle to close and to publish

log = structlog.get_logger("public_feed")


class CandleAsk(NamedTuple):
    """Candles that REST is to be asked for."""

    pair_index: int
    interval_min: int
    since: WallNs
    request: RestRequest
    read: Callable[[int, bytes], Any]
    age_ns_max: int = 0
    """An answer that is known already is of no use."""


class ToldCandle(NamedTuple):
    """A candle to be published."""

    pair_index: int
    price_decimals: int
    qty_decimals: int
    state: CandleState
    is_newest: bool
    """Whether none of a later interval was told before."""


class _Pair:
    """The candles of one pair, and the scale that they are counted in."""

    def __init__(self, symbol: str, intervals_min: Sequence[int], history: int, counts: CandleCounts) -> None:
        self.symbol = symbol
        self.candles = Candles(intervals_min, history=history, counts=counts)
        self.price_decimals = 0
        self.qty_decimals = 0
        # By interval: the beginning of the latest candle published.
        self.newest: dict[int, int] = {}
        # Since when its trades are subscribed to, without their snapshot; the connection.
        self.served_from = MonoNs(0)
        self.connection = 0
        # The price of the newest trade; and for each minute that is not over, the time and
        # price of a later trade that only the ticker has shown.
        self.last_ticks = 0
        self.told_by_ticker: dict[int, tuple[WallNs, Decimal]] = {}

    def refine(self, price_decimals: int, qty_decimals: int) -> None:
        """Count in at least so many decimals."""
        price_decimals, qty_decimals = max(price_decimals, self.price_decimals), max(qty_decimals, self.qty_decimals)
        self.candles.refine(10 ** (price_decimals - self.price_decimals), 10 ** (qty_decimals - self.qty_decimals))
        self.last_ticks *= 10 ** (price_decimals - self.price_decimals)
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals


class CandleFeed:
    """The candles of one feed. At most 64 bars of each pair and interval are kept, and 800
    minutes and hours of a pair while REST is asked for the beginning of a longer interval.
    """

    def __init__(self, shard: Shard, session: PublicSession, *, history: int = 0, has_rest: bool = False) -> None:
        """`history`: the intervals before the first trade that REST is asked for.
        `has_rest`: whether it is asked at all."""
        self._session = session
        self._has_rest = has_rest
        self._intervals = shard.candle_intervals_min
        self._history = history if has_rest else 0
        # Of all pairs, also of those that were given back.
        self.counts = CandleCounts()
        # By pair index.
        self._pairs = {index: self._new_pair(symbol) for index, symbol in enumerate(shard.symbols)}
        self._index_of = {symbol: index for index, symbol in enumerate(shard.symbols)}
        # Pairs with something to tell.
        self.changed: dict[int, None] = {}
        # The minute up to which pairs are looked at, and those still to be; of them, those
        # whose trades have not all come yet: they are looked at again.
        self._minute = 0
        self._to_look = dict.fromkeys(self._pairs)
        self._not_served: dict[int, None] = {}
        # Of the newest trade that came at once: its arrival, and Kraken's time of it. And
        # how far Kraken's time was from the monotonic clock, by the quickest message of
        # this window and of the last; what a message of this window says beyond that, and
        # its arrival; when the window ends, and which book is looked at next.
        self._arrival = (MonoNs(0), WallNs(0))
        self._offsets = (UNKNOWN, UNKNOWN)
        self._unconfirmed = (UNKNOWN, MonoNs(0))
        self._window_until = MonoNs(0)
        self._looked_at = 0
        # What REST is to be asked for, and when that is looked at again.
        self._asks: deque[CandleAsk] = deque()
        self._scan_at = MonoNs(0)
        # Candles of Kraken's own channel that wait to be compared, by pair and begin; of
        # this connection; the minute up to which they are, and the pairs still to be.
        self._rows: dict[int, dict[int, CandleData]] = {}
        self._connections = 0
        self._compared_minute = 0
        self._to_compare: dict[int, None] = {}
        # Counted: candles published; of whole intervals that were compared with Kraken's,
        # and those that differed.
        self.told = 0
        self.compared = 0
        self.differing = 0

    # --- pairs at run time

    def follow(self, pair_index: int, symbol: str) -> None:
        """Make candles of this pair from now on; none any more for an empty symbol."""
        pair = self._pairs.get(pair_index)
        if pair is not None and pair.symbol != symbol:
            del self._pairs[pair_index], self._index_of[pair.symbol]
            self.changed.pop(pair_index, None)
            self._asks = deque(ask for ask in self._asks if ask.pair_index != pair_index)
            self._rows.pop(pair_index, None)
            pair = None
        if pair is None and symbol:
            self._pairs[pair_index] = self._new_pair(symbol)
            self._index_of[symbol] = pair_index

    def _new_pair(self, symbol: str) -> _Pair:
        return _Pair(symbol, self._intervals, self._history, self.counts)

    def follows(self, pair_index: int) -> bool:
        """Whether candles of this pair are made."""
        return pair_index in self._pairs

    # --- trades

    def resume_trade(self, pair_index: int, trade_id: int, at: WallNs) -> None:
        """Continue after the last trade that was published; call it after `resume_candle`."""
        self._pairs[pair_index].candles.begin(at, trade_id)

    def resume_candle(self, pair_index: int, interval_min: int, begin: WallNs, *, is_closed: bool) -> None:
        """Continue after the last candle of an interval that was published."""
        pair = self._pairs[pair_index]
        pair.newest[interval_min] = begin
        pair.candles.resume(interval_min, begin, is_closed=is_closed)

    def forget(self, symbol: str) -> None:
        """Discard the trades and candles of a pair."""
        index = self._index_of.get(symbol)
        if index is not None:
            self._pairs[index] = self._new_pair(symbol)

    def add(
        self, pair_index: int, event: TradePrinted, ticks: int, lots: int, price_decimals: int, qty_decimals: int
    ) -> None:
        """Count a trade; trades come in the order in which they are published."""
        trade = event.trade
        pair = self._pairs.get(pair_index)
        if pair is None:
            return
        if price_decimals != pair.price_decimals or qty_decimals != pair.qty_decimals:
            pair.refine(price_decimals, qty_decimals)
            ticks *= 10 ** (pair.price_decimals - price_decimals)
            lots *= 10 ** (pair.qty_decimals - qty_decimals)
        at, newest_at = wall_ns(trade.timestamp), pair.candles.newest_at
        if not 0 < at < newest_at + AHEAD_NS_MAX and newest_at:
            at = self._sensible(at, newest_at)
        pair.candles.add(trade.trade_id, at, ticks, lots)
        pair.last_ticks = ticks
        self.changed[pair_index] = None
        if not event.history:
            self._arrival = event.received_at, at

    def _sensible(self, at: WallNs, newest_at: WallNs) -> WallNs:
        """The time of a trade, or of the one before when it has none or is yet to come: one
        wrong time would end all intervals up to it.
        """
        now = self._kraken_time(self._session.heard_at)
        return newest_at if not at or 0 < now < at - AHEAD_NS_MAX else at

    def seed(self, trades: Sequence[TradeData]) -> None:
        """Add the trades of one pair that precede the first published one."""
        if trades[-1].symbol not in self._index_of:
            return
        first = len(trades) - 1  # ids of neighbours only: between others one is missing
        while first and trades[first - 1].trade_id == trades[first].trade_id - 1:
            first -= 1
        pair_index = self._index_of[trades[first].symbol]
        pair, known = self._pairs[pair_index], [trade for trade in trades[first:] if wall_ns(trade.timestamp)]
        pair.refine(
            max((decimals_of(trade.price) for trade in known), default=0),
            max((decimals_of(trade.qty) for trade in known), default=0),
        )
        pair.candles.seed(
            [
                (
                    trade.trade_id,
                    wall_ns(trade.timestamp),
                    decimal_units(trade.price, pair.price_decimals),
                    decimal_units(trade.qty, pair.qty_decimals),
                )
                for trade in known
            ]
        )
        if known and not pair.last_ticks:
            pair.last_ticks = decimal_units(known[-1].price, pair.price_decimals)
        self.changed[pair_index] = None

    # --- the clock

    def look(self, now: MonoNs) -> None:
        """Find what is to be looked at by the clock; `go_on` looks at it."""
        self._measure(now)
        minute = begin_of(max(0, self._kraken_time(self._session.heard_at) - GRACE_NS), 1)
        if minute > self._minute:
            self._minute = minute
            self._to_look = dict.fromkeys(self._pairs)
        else:
            self._to_look |= self._not_served
        self._not_served.clear()
        minute = begin_of(max(0, self._kraken_time(now) - COMPARE_NS), 1)
        if minute > self._compared_minute:
            self._compared_minute = minute
            self._to_compare = dict.fromkeys(self._rows)

    def go_on(self, now: MonoNs) -> bool:
        """For some pairs: close intervals that are over by the clock, give up what REST
        does not deliver, and compare. Returns whether pairs are left, which are done after
        the next frames.
        """
        heard = self._kraken_time(self._session.heard_at) - GRACE_NS
        for index in _taken(self._to_look):
            pair = self._pairs.get(index)
            if pair is None:
                continue
            self._count_again(index, heard)
            self._ask_ticker(pair, heard)
            if self._is_served(pair, now):
                self._know(index, heard)
            else:
                self._not_served[index] = None
            pair.candles.give_up(has_rest=self._has_rest)
        until = self._kraken_time(now) - COMPARE_NS
        for index in _taken(self._to_compare):
            self._compare(index, until)
        return bool(self._to_look or self._to_compare)

    def _count_again(self, pair_index: int, until: int) -> None:
        """Before an interval is closed: where Kraken's own channel counts more trades in it
        than have come, some were lost, and no number of a later trade shows it.
        """
        for begin, row in self._rows.get(pair_index, {}).items():
            end = begin + row.interval * MINUTE_NS
            if end > until:
                continue
            candles = self._pairs[pair_index].candles
            ours = candles.state(row.interval, begin)
            if row.trades > (ours.trades if ours is not None else 0):
                candles.lack(begin, end)

    def take_ticker(self, ticker: TickerData) -> None:
        """Record a trade that only the ticker shows so far; the trade itself may never
        arrive.
        """
        pair = self._pairs.get(self._index_of.get(ticker.symbol, -1))
        if pair is None or (at := wall_ns(ticker.timestamp)) <= pair.candles.newest_at:
            return
        waiting = pair.told_by_ticker
        waiting[begin_of(at, 1)] = at, ticker.last
        if len(waiting) > TICKER_MINUTES_MAX:
            del waiting[max(waiting)]  # a wrong time lasts long

    def _ask_ticker(self, pair: _Pair, until: int) -> None:
        """Before an interval is closed: if the ticker shows another price, later than the
        last trade received, a trade was lost.
        """
        for minute in [minute for minute in pair.told_by_ticker if minute + MINUTE_NS <= until]:
            at, price = pair.told_by_ticker.pop(minute)
            # The price decides, for the ticker's time may be that of its sending.
            if at > pair.candles.newest_at and price != units_decimal(pair.last_ticks, pair.price_decimals):
                pair.candles.lack(minute, minute + MINUTE_NS)

    def _know(self, pair_index: int, until: int) -> None:
        """Record that all trades of a pair up to this moment are known."""
        pair = self._pairs[pair_index]
        if until <= 0:
            return  # Kraken's time is not known yet
        if not pair.candles.has_begun:
            pair.candles.begin(until)
        pair.candles.know(until)
        if pair.candles.has_changed:
            self.changed[pair_index] = None

    def known_by_rest(self, symbol: str, rows: int, received_at: MonoNs) -> None:
        """Record that REST has delivered the trades of a pair. They are complete up to
        shortly before its answer, unless the answer was full.
        """
        if symbol not in self._index_of:
            return
        if rows < market_data.TRADES_MAX and not self._session.tape.is_behind(symbol):
            self._know(self._index_of[symbol], self._kraken_time(received_at) - REST_AGE_NS)

    def _measure(self, now: MonoNs) -> None:
        """Learn Kraken's time from the newest trade, and from one book after the other."""
        if not self._index_of:
            return
        self._looked_at = (self._looked_at + 1) % len(self._index_of)
        book = self._session.feeds[next(islice(self._index_of, self._looked_at, None))]
        if now >= self._window_until:
            self._window_until = MonoNs(now + WINDOW_NS)
            if self._offsets[0] != UNKNOWN:  # else what was known before holds on
                self._offsets = UNKNOWN, self._offsets[0]
            self._unconfirmed = UNKNOWN, MonoNs(0)
        self._take_offset(*self._arrival, is_trade=True)
        self._take_offset(book.heard_at, wall_ns(book.timestamp), is_trade=False)
        self._arrival = MonoNs(0), WallNs(0)

    def _take_offset(self, received_at: MonoNs, at: WallNs, *, is_trade: bool) -> None:
        """Learn from a message how far Kraken's time is from the monotonic clock: from a
        trade's that is sensible, and else no more than another message says as well.
        """
        offset, (newest, before) = at - received_at, self._offsets
        if not (received_at and at) or offset <= newest:
            return
        known = max(newest, before)
        if is_trade and (known == UNKNOWN or offset <= known + AHEAD_NS_MAX):
            self._offsets = offset, before
        elif (offset, received_at) != self._unconfirmed:  # the same book is looked at again
            self._offsets = max(newest, min(offset, self._unconfirmed[0])), before
            self._unconfirmed = max((offset, received_at), self._unconfirmed)

    def _kraken_time(self, mono: MonoNs) -> int:
        """Kraken's time at a moment, some milliseconds late; 0 before it is known."""
        offset = max(self._offsets)
        if offset == UNKNOWN:
            offset = self._unconfirmed[0]
        return mono + offset if offset != UNKNOWN else 0

    def _is_served(self, pair: _Pair, now: MonoNs) -> bool:
        """Whether the trades received of a pair on this connection are complete: not before
        its snapshot, which has those missed in between, and not behind a gap.
        """
        session, symbol = self._session, pair.symbol
        if not session.is_open or not session.is_confirmed("trade", symbol) or session.tape.is_behind(symbol):
            return False
        if session.tape.has_snapshot(symbol):
            return True
        if pair.connection != session.connections:
            pair.connection, pair.served_from = session.connections, now
        return now - pair.served_from >= SNAPSHOT_NS

    # --- REST

    def next_ask(self, now: MonoNs) -> CandleAsk | None:
        """What REST is to be asked for; None when nothing is due. Call `asked` when it was."""
        if not self._asks and now >= self._scan_at and self._has_rest:
            self._scan_at = MonoNs(now + SCAN_NS)
            kraken_now = self._kraken_time(now)
            for index, pair in self._pairs.items():
                while (wanted := pair.candles.wanted(kraken_now, SETTLE_NS, RENEW_NS)) is not None:
                    self._asks.append(_ask(index, pair.symbol, wanted.interval_min, wanted.since))
        return self._asks[0] if self._asks else None

    def asked(self) -> None:
        """Note that REST is being asked; if no answer comes, it is asked again later."""
        self._asks.popleft()

    def take_rows(self, ask: CandleAsk, rows: Sequence[CandleData]) -> None:
        """Take the candles of an answer, oldest first, the last one forming."""
        pair, span = self._pairs.get(ask.pair_index), ask.interval_min * MINUTE_NS
        if pair is None:
            return  # it was given back while REST was asked
        begins = [begin_ns(row.interval_begin) for row in rows]
        if not rows or any(begin % span for begin in begins):
            why = "they do not begin where an interval does" if rows else "there are none"
            log.warning("candles of REST cannot be used", symbol=pair.symbol, interval_min=ask.interval_min, reason=why)
            return
        pair.refine(
            max(decimals_of(number) for row in rows for number in (row.open, row.high, row.low, row.close, row.vwap)),
            max(decimals_of(row.volume) for row in rows),
        )
        traded = [
            self._bar(pair, begin, row) for begin, row in zip(begins, rows, strict=True) if row.trades and row.volume
        ]
        end = begins[-1]
        forming = traded.pop() if traded and traded[-1].begin == end else None
        for bar, row in zip(traded, (row for row in rows if row.trades and row.volume), strict=False):
            self._compare_one(pair, bar.begin, row)
        # Where fewer came than can, there are no older ones.
        begin = begins[0] if len(rows) >= ROWS_MAX else min(begins[0], ask.since)
        pair.candles.fill(ask.interval_min, traded, begin, end, forming)
        if pair.candles.has_changed:
            self.changed[ask.pair_index] = None

    @staticmethod
    def _bar(pair: _Pair, begin: WallNs, row: CandleData) -> Bar:
        opened, high, low, close, vwap = (
            decimal_units(number, pair.price_decimals) for number in (row.open, row.high, row.low, row.close, row.vwap)
        )
        lots = decimal_units(row.volume, pair.qty_decimals)
        return Bar.of_rest(begin, row.interval, (opened, high, low, close), vwap=vwap, lots=lots, trades=row.trades)

    # --- Kraken's own channel

    def take_channel(self, candle: CandleData) -> None:
        """Keep a candle of the ohlc channel until its interval is over."""
        if self._session.connections != self._connections:
            # The last candle of an earlier connection may not have been its final version.
            self._connections = self._session.connections
            self._rows.clear()
        is_made = candle.interval in self._intervals and candle.symbol in self._index_of
        if is_made:
            rows = self._rows.setdefault(self._index_of[candle.symbol], {})
            rows[begin_ns(candle.interval_begin)] = candle
            if len(rows) > ROWS_A_PAIR_MAX:
                del rows[min(rows)]

    def _compare(self, pair_index: int, until: int) -> None:
        rows = self._rows.get(pair_index, {})
        for begin in [begin for begin, row in rows.items() if begin + row.interval * MINUTE_NS <= until]:
            self._compare_one(self._pairs[pair_index], begin, rows.pop(begin))

    def _compare_one(self, pair: _Pair, begin: int, row: CandleData) -> None:
        """Compare a candle of Kraken's with ours, where that is made of all its trades."""
        ours = pair.candles.state(row.interval, begin)
        if ours is None or not ours.is_closed or ours.is_rest:
            return
        self.compared += 1
        known = self._session.feeds[pair.symbol].decimals_known
        step = Decimal(1).scaleb(-min(pair.price_decimals, known[0] if known else pair.price_decimals))
        if _is_equal(ours, row, step, pair.price_decimals, pair.qty_decimals):
            return
        self.differing += 1
        if self.differing & (self.differing - 1) == 0:  # the first, then ever more rarely
            shown = f"{ours.trades} trades, {units_decimal(ours.lots, pair.qty_decimals)}"
            log.warning(
                "a candle differs from Kraken's",
                symbol=pair.symbol,
                interval_min=row.interval,
                begin=row.interval_begin,
                ours=shown,
                kraken=f"{row.trades} trades, {row.volume}",
                differing=self.differing,
            )

    # --- what is to be published

    def take(self) -> list[ToldCandle]:
        """The candles that changed since the last call."""
        told: list[ToldCandle] = []
        for index in self.changed:
            pair = self._pairs[index]
            for state in pair.candles.take():
                is_newest = state.begin >= pair.newest.get(state.interval_min, 0)
                if is_newest:
                    pair.newest[state.interval_min] = state.begin
                told.append(ToldCandle(index, pair.price_decimals, pair.qty_decimals, state, is_newest))
        self.changed.clear()
        self.told += len(told)
        return told

    def check(self) -> None:
        """Assert what always holds."""
        for pair in self._pairs.values():
            pair.candles.check()


def _taken(waiting: dict[int, None]) -> list[int]:
    """Remove and return the first LOOKED_AT_MAX."""
    taken = list(islice(waiting, LOOKED_AT_MAX))
    for index in taken:
        del waiting[index]
    return taken


def _ask(pair_index: int, symbol: str, interval_min: int, since: WallNs) -> CandleAsk:
    def read(status: int, body: bytes) -> Any:
        return market_data.read_candles(status, body, symbol, interval_min)

    request = market_data.ohlc(symbol, interval_min, since // NS_PER_S - 1)  # Kraken tells those that begin after it
    return CandleAsk(pair_index, interval_min, since, request, read)


def _is_equal(ours: CandleState, row: CandleData, step: Decimal, price_decimals: int, qty_decimals: int) -> bool:
    """Whether two candles agree; the mean price to within `step`, because it is rounded."""
    prices = [units_decimal(ticks, price_decimals) for ticks in (ours.open, ours.high, ours.low, ours.close)]
    return (
        prices == [row.open, row.high, row.low, row.close]
        and ours.trades == row.trades
        and units_decimal(ours.lots, qty_decimals) == row.volume
        and abs(units_decimal(ours.vwap, price_decimals) - row.vwap) <= step
    )
