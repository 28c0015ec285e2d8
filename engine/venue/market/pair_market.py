"""One pair of the exchange: its matching engine, and everything public about it.

Every engine event goes through `publish`: the trade frame first, then at once the book
frames that it causes (measured on genuine captures), then ticker and candles. A stream
without subscribers is not written.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import Final

from engine.units import NS_PER_S, PriceTicks, WallNs
from engine.venue.market.book_feed import BookFeed
from engine.venue.market.candles import Candle, Candles
from engine.venue.market.day import Day
from engine.venue.market.history import History, Trade
from engine.venue.market.matching import BUY, SELL, OrderBook, Outcome, Side
from engine.venue.market.order_flow import OrderFlow
from engine.venue.market.pairs import PairSpec
from engine.venue.market.precision import Change
from engine.venue.wire.stream import StreamKey, Subscriber
from engine.venue.wire.text import (
    book_text,
    candle_row,
    candle_text,
    number_text,
    signed_text,
    ticker_text,
    trade_row,
    trade_text,
    utc_us,
)
from engine.venue.wire.wire import text_frame

TRADES_KEPT: Final = 20_000  # since the opening (4 MB); the history before it is computed on request
TRADES_TOLD: Final = 50  # in the trade channel's snapshot
SPREADS_KEPT: Final = 200  # as many as REST's Spread returns
NOTHING_CHANGED: Final = 1 << 62  # a rank beyond every level
NEVER: Final[Mapping[Side, Mapping[PriceTicks, int]]] = {BUY: {}, SELL: {}}  # no level was changed
WARM_UP_NS: Final = 50 * NS_PER_S  # over which the actions before the first client are spread


BestPrices = tuple[PriceTicks | None, PriceTicks | None]
"""Best bid and ask; None of an empty side."""

TradesHandler = Callable[["PairMarket", Outcome, int, WallNs], None]
"""Takes an event with fills: market, what happened, id of the first trade, time."""


class PairMarket:
    """One pair's engine, feeds and subscribers."""

    def __init__(self, pair: PairSpec, seed: int, opened_at: WallNs, *, is_mirrored: bool = False) -> None:
        """`is_mirrored`: the market begins empty and without a past, and what is traded in
        it comes from elsewhere, see `mirror`.
        """
        rng = Random(f"{seed} history of {pair.symbol}")
        self.pair = pair
        self.book = OrderBook()
        self._flow = None if is_mirrored else OrderFlow(pair, self.book, seed)
        self._last_trade_id = rng.randint(10_000_000, 110_000_000)
        self._past = None if is_mirrored else History(pair, seed, WallNs(opened_at - WARM_UP_NS), self._last_trade_id)
        self._candles = Candles(self._past)
        self._day = Day(self._candles, lambda: self.last)
        self._tape: deque[Trade] = deque(maxlen=TRADES_KEPT)  # trades since the opening, oldest first
        self._bbo: BestPrices = (None, None)  # that were published last
        self._spreads: deque[tuple[int, PriceTicks, PriceTicks]] = deque(maxlen=SPREADS_KEPT)
        # Called for every event with fills, with the id of its first trade, once it is
        # published: `order_life`.
        self.on_trades: TradesHandler | None = None
        self.last = pair.mid_ticks  # price of the last trade, which triggers go by
        # online, or which requests this pair alone accepts, in Kraken's words: `admission`.
        self.mode = "online"
        self._changed_at = opened_at  # time of the last change of the book, at any depth
        self._subscribers: dict[StreamKey, dict[Subscriber, None]] = {}  # only streams that have some
        self._key_of_depth: dict[int, StreamKey] = {}  # of the windows that have subscribers
        self._trade_key = StreamKey("trade", pair.symbol)
        self._ticker_keys = (StreamKey("ticker", pair.symbol, "trades"), StreamKey("ticker", pair.symbol, "bbo"))
        if self._flow is None:
            self._begin_feed()
        else:
            self._open(self._flow, opened_at)

    def _begin_feed(self, changed_s: Mapping[Side, Mapping[PriceTicks, int]] = NEVER, else_s: int = 0) -> None:
        """Create the public view in the pair's present precision.

        `changed_s` is the second in which a level was changed, by side and price, and
        `else_s` that of the levels which are not in it.
        """
        pair = self.pair
        self._price_text = number_text(pair.price_decimals)
        self._qty_text = number_text(pair.qty_decimals)
        self._feed = BookFeed(pair.price_decimals, pair.qty_decimals, self.book.orders_at)
        for side in (BUY, SELL):
            self._feed.load(side, self.book.levels(side), changed_s[side], else_s)
        for depth in self._key_of_depth:
            self._feed.watch(depth)

    def relist(self, pair: PairSpec) -> None:
        """Continue in another precision. Book updates use it from the next one on, without
        another snapshot.
        """
        change = Change(self.pair, pair)
        self.pair = pair
        self.book.relist(change)
        if self._flow is not None:
            self._flow.relist(change)
        if self._past is not None:
            self._past.relist(change)
        self._candles.relist(change)
        self._day.relist()
        self._tape = deque(
            (trade._replace(price=change.price(trade.price), qty=change.qty(trade.qty)) for trade in self._tape),
            maxlen=TRADES_KEPT,
        )
        self._spreads = deque(
            ((at_s, bid and change.price(bid), ask and change.price(ask)) for at_s, bid, ask in self._spreads),
            maxlen=SPREADS_KEPT,
        )
        self.last = change.price(self.last)
        self._begin_feed()
        self._bbo = self._best_prices()

    def _open(self, flow: OrderFlow, opened_at: WallNs) -> None:
        """Fill the book, and let the order flow trade for a while before the first client.
        Nobody is told yet, so the public view is made behind it, at once.
        """
        self._changed_at = began_at = WallNs(opened_at - WARM_UP_NS)
        changed_s: dict[Side, dict[PriceTicks, int]] = {BUY: {}, SELL: {}}
        self._bbo, warm_up = self.warm_up(flow)
        for action, (outcome, bbo) in enumerate(warm_up):
            if not outcome.changes:
                continue
            self._changed_at = now = WallNs(began_at + WARM_UP_NS * action // len(warm_up))
            now_s = now // NS_PER_S
            if outcome.fills:
                self._tell_trades(outcome, now)
                self.last = outcome.fills[-1].price
            for change in outcome.changes:
                changed_s[change.side][change.price] = now_s
            if bbo != self._bbo:
                self._note_spread(bbo, now_s)
        self._begin_feed(changed_s, began_at // NS_PER_S)

    def warm_up(self, flow: OrderFlow) -> tuple[BestPrices, list[tuple[Outcome, BestPrices]]]:
        """Fill an empty book, and let the order flow act in it. Returns the best prices of
        the filled book, and each action with the best prices behind it.

        A function of pair and seed alone: time plays no part.
        """
        best = self.book.best
        flow.open_book()
        return (best(BUY), best(SELL)), [
            (flow.act(), (best(BUY), best(SELL))) for _ in range(self.pair.warm_up_actions)
        ]

    def check(self) -> None:
        """Assert what must hold of the book and of its public view."""
        self.book.check()
        self._feed.check()

    # --- engine events -----------------------------------------------------------------------------------------------

    def act(self, now: WallNs) -> int:
        """Let the order flow take one action; returns the best rank that changed, see
        `BookFeed.apply`.
        """
        assert self._flow is not None
        return self.publish(self._flow.act(), now)

    def act_quietly(self, now: WallNs) -> int:
        """Let the order flow take an action that matches nothing; returns the best rank
        that changed.
        """
        assert self._flow is not None
        return self.publish(self._flow.withdraw(), now)

    def publish(self, outcome: Outcome, now: WallNs) -> int:
        """Publish one engine event; returns the best rank that changed, see
        `BookFeed.apply`.
        """
        first_trade_id = self._last_trade_id + 1
        if outcome.fills:
            self._tell_trades(outcome, now)
            self.last = outcome.fills[-1].price
        best_rank = self._tell_book(outcome, now)
        if outcome.fills and self.on_trades is not None:
            self.on_trades(self, outcome, first_trade_id, now)
        return best_rank

    def _tell_book(self, outcome: Outcome, now: WallNs) -> int:
        """Publish book, ticker and candles. An iceberg that shows its next part may change
        no level.
        """
        if not outcome.changes and not outcome.fills:
            return NOTHING_CHANGED
        best_rank = NOTHING_CHANGED
        if outcome.changes:
            self._changed_at = now
            feed = self._feed
            best_rank = feed.apply(outcome.changes, now // NS_PER_S)
            if self._key_of_depth:
                for update in feed.updates():
                    key = self._key_of_depth[update.depth]
                    frame = text_frame(
                        book_text(self.pair.symbol, "update", update.bids, update.asks, feed.checksum(), now)
                    )
                    for subscriber in self._subscribers[key]:
                        subscriber.deliver(key, frame)
        if outcome.fills:
            self._tell_ticker(self._ticker_keys[0], now)
            self._tell_candles(now)
        if best_rank == 0 and (bbo := self._best_prices()) != self._bbo:
            self._note_spread(bbo, now // NS_PER_S)
            self._tell_ticker(self._ticker_keys[1], now)
        return best_rank

    def _note_spread(self, bbo: BestPrices, now_s: int) -> None:
        self._bbo = bbo
        self._spreads.append((now_s, bbo[0] or PriceTicks(0), bbo[1] or PriceTicks(0)))

    def _tell_trades(self, outcome: Outcome, now: WallNs) -> None:
        fills, tape = outcome.fills, self._tape
        # The same microsecond for all of them, but distinct nanoseconds: a cursor must fit
        # between them.
        at = max(now, tape[-1].at + 1) if tape else now
        for rank, fill in enumerate(fills):
            self._last_trade_id += 1
            self._candles.add(fill.price, fill.qty, now)
            self._day.add(fill.price, fill.qty)
            tape.append(
                Trade(
                    WallNs(at + rank),
                    fill.price,
                    fill.qty,
                    fill.taker_side,
                    outcome.order_type,
                    self._last_trade_id,
                )
            )
        if subscribers := self._subscribers.get(self._trade_key):
            rows = [self._trade_row(trade) for trade in self.last_trades(len(fills))]
            frame = text_frame(trade_text("update", rows))
            for subscriber in subscribers:
                subscriber.deliver(self._trade_key, frame)

    def _tell_ticker(self, key: StreamKey, now: WallNs) -> None:
        if subscribers := self._subscribers.get(key):
            frame = text_frame(self._ticker_text("update", now))
            for subscriber in subscribers:
                subscriber.deliver(key, frame)

    def _tell_candles(self, now: WallNs) -> None:
        for key, subscribers in self._subscribers.items():
            if key.channel == "ohlc":
                interval = int(key.parameter)
                row = self._candle_row(self._candles.current(interval), interval)
                frame = text_frame(candle_text("update", now, [row]))
                for subscriber in subscribers:
                    subscriber.deliver(key, frame)

    # --- subscribers

    def join(self, key: StreamKey, subscriber: Subscriber) -> None:
        """Send this stream's updates to `subscriber` from now on."""
        self._subscribers.setdefault(key, {})[subscriber] = None
        if key.channel == "book":
            depth = int(key.parameter)
            self._key_of_depth[depth] = key
            self._feed.watch(depth)

    def leave(self, key: StreamKey, subscriber: Subscriber) -> None:
        """Stop sending this stream to `subscriber`; without effect when it was not sent."""
        subscribers = self._subscribers.get(key)
        if subscribers is None:
            return
        subscribers.pop(subscriber, None)
        if not subscribers:
            del self._subscribers[key]
            if key.channel == "book":
                depth = int(key.parameter)
                del self._key_of_depth[depth]
                self._feed.unwatch(depth)

    @property
    def subscribed(self) -> Collection[StreamKey]:
        """The streams that somebody receives."""
        return self._subscribers.keys()

    def snapshot(self, key: StreamKey, now: WallNs) -> bytes:
        """The first frame of a stream."""
        if key.channel == "book":
            levels = self._feed.snapshot(int(key.parameter))
            # The time of the last change, which for a quiet pair is before the
            # subscription.
            text = book_text(
                self.pair.symbol, "snapshot", levels.bids, levels.asks, self._feed.checksum(), self._changed_at
            )
        elif key.channel == "trade":
            text = trade_text("snapshot", map(self._trade_row, self.last_trades(TRADES_TOLD)))
        elif key.channel == "ticker":
            text = self._ticker_text("snapshot", now)
        else:
            interval = int(key.parameter)
            rows = [self._candle_row(candle, interval) for candle in self._candles.last(interval)]
            text = candle_text("snapshot", now, rows)
        return text_frame(text)

    # --- for REST

    def last_trades(self, count: int) -> list[Trade]:
        """The newest trades, oldest first."""
        tape = self._tape
        if len(tape) < count and self._past is not None:
            return [*self._past.last_trades(count - len(tape)), *tape]
        return list(islice(reversed(tape), count))[::-1]

    def trades(self, after: int) -> Iterator[Trade]:
        """The trades after a moment, oldest first; of those since the opening the last
        TRADES_KEPT.
        """
        tape = self._tape
        if self._past is not None and (not tape or tape[0].at > after):
            yield from self._past.trades(WallNs(after))
        yield from (trade for trade in tape if trade.at > after)

    @property
    def spreads(self) -> Iterable[tuple[int, PriceTicks, PriceTicks]]:
        """Changes of the best prices: second, bid, ask, oldest first; 0 for an empty side."""
        return self._spreads

    def level_changed_s(self, side: Side, price: PriceTicks) -> int:
        """When the level at this price last changed, in seconds."""
        return self._feed.changed_s(side, price)

    @property
    def day(self) -> Day:
        """Today and the last 24 hours."""
        return self._day

    @property
    def candles(self) -> Candles:
        """The candles of every interval."""
        return self._candles

    # --- rows

    def _best_prices(self) -> BestPrices:
        bid, ask = self._feed.best(BUY), self._feed.best(SELL)
        return bid and bid[0], ask and ask[0]

    def _trade_row(self, trade: Trade) -> str:
        price, qty = self._price_text(trade.price), self._qty_text(trade.qty)
        return trade_row(self.pair.symbol, trade.side.value, price, qty, trade.order_type, trade.trade_id, trade.at)

    def _ticker_text(self, kind: str, now: WallNs) -> str:
        price_text, qty_text = self._price_text, self._qty_text
        bid, ask = self._feed.best(BUY) or (0, 0), self._feed.best(SELL) or (0, 0)
        day = self._day.totals(now)
        return ticker_text(
            kind,
            (
                ("symbol", f'"{self.pair.symbol}"'),
                ("bid", price_text(bid[0])),
                ("bid_qty", qty_text(bid[1])),
                ("ask", price_text(ask[0])),
                ("ask_qty", qty_text(ask[1])),
                ("last", price_text(day.last)),
                ("volume", qty_text(day.qty)),
                ("vwap", price_text(day.vwap)),
                ("low", price_text(day.low)),
                ("high", price_text(day.high)),
                ("change", signed_text(day.last - day.open, self.pair.price_decimals)),
                ("change_pct", signed_text(day.change_pct_hundredths(), 2)),
                ("trades", str(day.trades)),
                ("timestamp", f'"{utc_us(now)}"'),
            ),
        )

    def _candle_row(self, candle: Candle, interval: int) -> str:
        price_text = self._price_text
        return candle_row(
            self.pair.symbol,
            (price_text(candle.open), price_text(candle.high), price_text(candle.low), price_text(candle.close)),
            candle.trades,
            self._qty_text(candle.qty),
            price_text(candle.vwap()),
            candle.begin_s,
            interval,
        )
