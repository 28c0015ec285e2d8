"""The base class of strategies, and the context that each is given.

    class SpreadWatch(Strategy):
        symbol: str = "BTC/USD"         # a parameter: a typed field, set in TOML under params

        def on_book(self, book: BookTop) -> None:
            if book.symbol == self.symbol:
                print(book.best_bid, book.best_ask, book.spread)

Orders are sent with `self.buy`, `self.sell`, `self.amend` and `self.cancel`. Each returns
at once; `on_order` tells every change of an order's state, with the reason, and `on_fill`
every fill. None of them raises, whatever its arguments are: an order that cannot be sent is
`REFUSED`, and its `reason` says what to change, in one sentence that names the option. So
it is with a price of NaN, a misspelt option, a stop without trigger, a time in the past. A
refused order is over and never in `context.orders`.

Call them on the strategy's own thread, which calls its callbacks. A thread that the
strategy started itself may read everything; it sends orders with
`self.context.call_soon(self.buy, "BTC/USD", qty)`. Orders that it sends directly are
`REFUSED` and say so; its cancels are handed over to the strategy's thread.

Whatever a callback raises, SystemExit included, is counted as an error of the strategy. One
that does not return is named in log and status after half a second. After
`engine.hang_s_max` seconds the strategy counts as hanging: its orders are canceled (or
kept, as `trading.on_strategy_halt` says), and it sends none until the callback returns.

Callbacks may be plain or `async`. One strategy's callbacks never overlap: while an async
one waits, later records stay in the ring and other strategies go on. What the ring
overwrites meanwhile is counted, and the strategy is then told the newest state instead.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, Unpack

from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, Ticker, Trade, VenueStatus
from engine.strategy.events import Connection, ErrorReport
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions
from engine.strategy.orders import Balance, Fill, Order, Position, TradingStatus
from engine.units import MonoNs, WallNs

Answer = Awaitable[None] | None
"""What a callback returns: nothing, now or later."""


class Logger(Protocol):
    """A structured logger: an event, and its fields by name."""

    def debug(self, event: str, **facts: object) -> object: ...

    def info(self, event: str, **facts: object) -> object: ...

    def warning(self, event: str, **facts: object) -> object: ...

    def error(self, event: str, **facts: object) -> object: ...


class Context(Protocol):
    """What the engine offers one strategy: market data, its orders and balances, a clock, a
    log."""

    @property
    def symbols(self) -> Sequence[str]:
        """The pairs that this strategy follows now."""
        ...

    @property
    def log(self) -> Logger:
        """Logs under the strategy's name."""
        ...

    def book(self, symbol: str) -> BookTop | None:
        """The newest book of a pair that this strategy was given.

        Its `state` says whether it is live. `is_proved` is False when Kraken has sent
        nothing about the pair for `feed.book_silence_s` seconds, until a message or a fresh
        snapshot confirms the book. None before the first book. KeyError, naming the pairs
        there are, for a symbol that the strategy does not follow.
        """
        ...

    def ticker(self, symbol: str) -> Ticker | None:
        """The newest ticker of a pair; None before the first. KeyError as for `book`.

        `age_s` is the time since the ticker was last confirmed: while the pair is live, the
        time since Kraken's last frame, whether the ticker has changed or not.
        """
        ...

    def trades(self, symbol: str) -> Sequence[Trade]:
        """The last hundred trades of a pair since the start, newest last. KeyError as for
        `book`."""
        ...

    def candle(self, symbol: str, interval_min: int | None = None) -> Candle | None:
        """The newest candle of a pair, of one interval or, without `interval_min`, of the
        shortest; None before the first.

        For an interval that is not in `feed.candle_intervals_min` it is always None, and
        an error is logged. KeyError as for `book`.
        """
        ...

    def candles(self, symbol: str, interval_min: int = 1, count: int = 720) -> Sequence[Candle]:
        """The last candles of a pair and interval that this strategy received, oldest
        first, at most `count`; the last one may still be forming.

        At most 720 are kept. Soon after the start those of `feed.candle_history` arrive
        from REST. An interval without trades has no candle, and one with trades missing is
        never `closed`. After a gap in which the strategy missed the end of a candle, the
        list starts again from the newest. For an interval that is not in
        `feed.candle_intervals_min` it is always empty, and an error is logged. KeyError as
        for `book`.
        """
        ...

    def state(self, symbol: str) -> FeedState:
        """Whether the pair's book is live, stale or untrusted, or unsubscribed while other
        channels of the pair are followed. KeyError as for `book`."""
        ...

    def subscribe(self, symbol: str, channels: Iterable[str] | None = None) -> bool:
        """Follow a pair, or further channels of it: book, trade, ticker, candle; without
        `channels` those that the configuration follows.

        Returns at once; channels that are already followed are unaffected. `on_feed_state`
        reports the outcome: live with the first verified book, or unsubscribed, with
        Kraken's reason, if Kraken refuses the pair. Returns False for invalid arguments,
        and calls `on_feed_state` with a sentence that says what to change. The number of
        pairs that can be added is limited by `feed.pairs_added_max`.
        """
        ...

    def unsubscribe(self, symbol: str, channels: Iterable[str] | None = None) -> bool:
        """Stop following a pair, or these channels of it; channels that are not followed
        are ignored. False as for `subscribe`.

        `on_feed_state` is called with unsubscribed when the book is no longer followed, and
        the pair leaves `symbols` with its last channel; data of a channel are discarded
        with it. Open orders stay, and can be canceled or reduced. New orders and changes of
        price are refused, and targets of brackets are suspended, until the pair's book is
        subscribed again.
        """
        ...

    def pair(self, symbol: str) -> Pair | None:
        """Precisions, increments and status of a pair; None until Kraken has sent them.

        KeyError as for `book`.
        """
        ...

    @property
    def venue_status(self) -> str:
        """online, cancel_only, post_only or maintenance; empty until Kraken has said."""
        ...

    @property
    def orders(self) -> Sequence[Order]:
        """The strategy's open orders, oldest first; those in doubt are among them."""
        ...

    @property
    def trading(self) -> TradingStatus:
        """Whether orders are taken now, and if not, why."""
        ...

    def order(self, order_id: str) -> Order | None:
        """An order by its `id` or its `order_id`; None when it is unknown or ended too long
        ago."""
        ...

    def position(self, symbol: str) -> Position:
        """What the strategy holds of a pair, also of one that it no longer follows: by its
        own fills, and with `positions = "account"` what the account held at the start.

        `is_known` is False until the order router has reported the position, which it does
        before it accepts orders of the pair. KeyError as for `book`, except for a pair
        added in an earlier run, once its position or an open order has been reported.
        """
        ...

    def balance(self, asset: str) -> Balance | None:
        """One asset of the account, such as USD or BTC; all zero for one that is not held.

        None until Kraken has sent the balances, which happens before orders are accepted
        (`trading.is_open`); always None in an engine that does not trade.
        """
        ...

    def submit(self, side: str, symbol: str, qty: Amount, options: OrderOptions) -> Order:
        """See `Strategy.buy`."""
        ...

    def submit_batch(self, orders: Sequence[tuple[str, str, Amount, OrderOptions]]) -> list[Order]:
        """See `Strategy.submit_batch`."""
        ...

    def amend(self, order: Order, options: AmendOptions) -> bool:
        """See `Strategy.amend`."""
        ...

    def cancel(self, orders: Sequence[Order]) -> None:
        """See `Strategy.cancel`."""
        ...

    def cancel_all(self, symbol: str) -> None:
        """See `Strategy.cancel_all`."""
        ...

    def call_soon(self, function: Callable[..., Any], *arguments: object) -> bool:
        """Call a function on the strategy's own thread, between two callbacks. Safe from
        any thread.

        False when it will not be called: 1,024 calls wait already, or the strategy was
        halted, or stops. What the function raises counts as an error of a callback.
        """
        ...

    def now(self) -> MonoNs:
        """CLOCK_MONOTONIC in nanoseconds, the clock of `received_at`, for durations.

        In a replay, the capture's.
        """
        ...

    def wall_now(self) -> WallNs:
        """Nanoseconds since 1970 UTC, for dates and times. In a replay, the capture's."""
        ...


class Strategy:
    """Base class: parameters are typed fields, callbacks are the methods that you override.

    Parameters are the annotated fields of the class and its bases, except names that begin
    with an underscore and ClassVars. A parameter without a default must be set.
    """

    context: Context
    """Set before `on_start`."""

    timer_s: float = 0.0
    """Seconds from one `on_timer` to the next; 0 means never."""

    rest_books: ClassVar[bool] = False
    """Whether `on_book` and `context.book` are given books of REST too, while the WebSocket
    does not serve a pair. Kraken's checksum has not verified them: their `is_verified` is
    False, and their `state` never live.
    """

    def on_start(self) -> Answer:
        """Called before the first record. What it raises stops the engine."""
        return None

    def on_book(self, book: BookTop) -> Answer:
        """A pair's book changed, and its checksum verified; or, with `rest_books`, REST has
        sent an unverified one.

        After a gap: the newest book of each pair.
        """
        return None

    def on_trade(self, trade: Trade) -> Answer:
        """A trade of the market, reported once.

        A trade missed during an outage is reported late, marked `history`, from Kraken's
        snapshot of the last fifty. One that is not in the snapshot either is counted
        (`trades_missed`).
        """
        return None

    def on_ticker(self, ticker: Ticker) -> Answer:
        """A pair's ticker changed."""
        return None

    def on_candle(self, candle: Candle) -> Answer:
        """A candle changed or closed, for each interval of `feed.candle_intervals_min`.

        `candle.closed` marks its final numbers. `candle.history` marks candles that had
        ended before they were known: from before the start, from an outage, or corrected by
        a late trade. A candle that may be incomplete is never `closed`.
        """
        return None

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> Answer:
        """A pair's book became live, stale, untrusted or unsubscribed. After `stale` no
        book of the pair is delivered before `live`; after `unsubscribed` none at all. Also
        called, with the unchanged state, when a `Context.subscribe` was refused.

        It is also called, with LIVE and a reason that begins with "unproved:", when a pair
        has been silent for so long that its book is checked against a fresh snapshot; the
        next `on_book` of the pair confirms it. See `Context.book`.
        """
        return None

    def on_pair(self, pair: Pair) -> Answer:
        """Precision, increments, minimums or status of a pair changed, or became known.

        `context.pair` returns the same values. The call comes before the pair's first book,
        and before any book in a new precision. Open orders keep their precision. New orders
        and amends must fit the new one; one that was in transit during the change is
        refused with a reason that says so, and can be rounded and sent again.
        """
        return None

    def on_order(self, order: Order) -> Answer:
        """An order of the strategy changed its state, or an amend or cancel was answered;
        see `order.reason`."""
        return None

    def on_fill(self, fill: Fill) -> Answer:
        """An order of the strategy traded. Each fill is told once."""
        return None

    def on_balance(self, balance: Balance) -> Answer:
        """The account's balance of an asset changed: by fills, deposits or withdrawals, or
        because open orders reserve a different amount.
        """
        return None

    def on_trading(self, status: TradingStatus) -> Answer:
        """Order acceptance changed: orders are accepted again, no longer accepted, or sent
        by REST with tighter limits (the mode DEGRADED); `status.reason` says why.
        """
        return None

    def on_notice(self, status: VenueStatus) -> Answer:
        """Kraken's matching engine as a whole changed its mode: online, cancel_only,
        post_only or maintenance; `context.venue_status` has the new one.
        """
        return None

    def on_connection(self, connection: Connection) -> Answer:
        """A process of the engine connected to Kraken, or lost its connection."""
        return None

    def on_error(self, error: ErrorReport) -> Answer:
        """An error that no other callback reports: a process died, or a program's handler
        raised.
        """
        return None

    def on_timer(self) -> Answer:
        """Every `timer_s` seconds."""
        return None

    def on_stop(self) -> Answer:
        """Called after the last record, when the engine stops; not called for a strategy
        that was halted.

        By then the engine has canceled the open orders or kept them, according to
        `trading.on_stop`. An order submitted here is REFUSED, and a cancel of an order that
        was kept is logged as an error. `on_order` is not called for orders refused from
        this point on, including those submitted by an `on_order` that reports the end of
        the last orders.
        """
        return None

    # --- orders

    def buy(self, symbol: str, qty: Amount, **options: Unpack[OrderOptions]) -> Order:
        """Send an order to buy `qty` of the base currency: a limit order with `limit`, else
        a market order.

        buy("BTC/USD", Decimal("0.01"), limit=book.best_bid.price, post_only=True)

        Returns the order, on its way or `REFUSED` with the reason; never raises. See
        `OrderOptions`.
        """
        return self.context.submit("buy", symbol, qty, options)

    def sell(self, symbol: str, qty: Amount, **options: Unpack[OrderOptions]) -> Order:
        """Send an order to sell `qty` of the base currency; see `buy`."""
        return self.context.submit("sell", symbol, qty, options)

    def submit_batch(self, orders: Sequence[tuple[str, str, Amount, OrderOptions]]) -> list[Order]:
        """Send 2 to 15 orders of one pair in one request, each as (side, symbol, qty,
        options).

        Kraken checks them together: if one is invalid, none is placed. After that each is
        on its own. Returns the orders in the order given: all on their way, or all
        `REFUSED` with the reason, which names the invalid one. Anything but a list of
        orders, or an empty one, returns an empty list and logs an error.
        """
        return self.context.submit_batch(orders)

    def amend(self, order: Order, **options: Unpack[AmendOptions]) -> bool:
        """Change an open order in place: `qty` (filled part included), `limit`, and so on.

        A smaller quantity keeps the order's place in the queue; another price or a larger
        quantity loses it. It may be called at every tick: an amend that must wait, behind
        another of the same order or for Kraken's rate counter and [risk], is sent as soon
        as possible, and a newer amend replaces it. Returns False if the order cannot be
        amended because it is over or is being canceled (`is_working` tells beforehand).
        Also returns False if the change is invalid: then `order.reason` says why, and
        `on_order` is called.
        """
        return self.context.amend(order, options)

    def cancel(self, *orders: Order) -> None:
        """Cancel orders; those that are already over are skipped.

        A list of orders counts as its orders. Arguments that are not orders are logged and
        skipped; the others are canceled.
        """
        self.context.cancel(orders)

    def cancel_all(self, symbol: str = "") -> None:
        """Cancel all open orders of this strategy, on one pair or on all; an unknown symbol
        is logged."""
        self.context.cancel_all(symbol)


CALLBACKS = (
    "on_start", "on_book", "on_trade", "on_ticker", "on_candle", "on_feed_state", "on_pair", "on_order", "on_fill",
    "on_balance", "on_trading", "on_notice", "on_connection", "on_error", "on_timer", "on_stop",
)  # fmt: skip


def overrides(strategy: Strategy, callback: str) -> bool:
    """Whether a strategy has a callback of its own."""
    return getattr(type(strategy), callback) is not getattr(Strategy, callback)
