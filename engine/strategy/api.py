"""What a strategy is, and what it is given.

    class SpreadWatch(Strategy):
        symbol: str = "BTC/USD"                 # a parameter: a typed field, set in TOML under params

        def on_book(self, book: BookTop) -> None:
            if book.symbol == self.symbol:
                print(book.best_bid, book.best_ask, book.spread)

Orders are sent with `self.buy`, `self.sell`, `self.amend`, `self.cancel`; each returns at once, and what becomes of
an order is told by `on_order` (each change of its state, with the reason) and `on_fill`. None of them ever raises for
what the market or a limit says, nor for what it was handed: an order that cannot go out is `REFUSED`, and its `reason`
says what to change, in one sentence that names the option. That is so for a price of NaN, an option that is misspelt or
does not exist, a stop without trigger, a moment in the past. A refused order is over: `context.orders` never has it.

All of that is for the strategy's own thread, which calls its callbacks. A thread that a strategy started itself reads
what it likes, and hands over what it wants done: `self.context.call_soon(self.buy, "BTC/USD", qty)`. Orders that it
asks for itself are `REFUSED` and say so; its cancels are handed over.

Whatever a callback raises, SystemExit too, is counted as an error of the strategy. One that does not return is named
in log and status after half a second, and after `engine.hang_s_max` the strategy counts as one that hangs: its orders
are cancelled (or kept, as `trading.on_strategy_halt` says), and it sends none until it has returned.

Callbacks may be plain or `async`. One strategy's callbacks never overlap: while an
async one waits, later records stay in the ring, other strategies go on, and what the
ring overwrites meanwhile is counted and mended from the board.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, Unpack

from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, Ticker, Trade
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions
from engine.strategy.orders import Balance, Fill, Order, Position, TradingStatus
from engine.units import MonoNs, WallNs

Answer = Awaitable[None] | None
"""What a callback returns: nothing, now or later."""


class Logger(Protocol):
    """A structured logger: an event, and its facts by name."""

    def debug(self, event: str, **facts: object) -> object: ...

    def info(self, event: str, **facts: object) -> object: ...

    def warning(self, event: str, **facts: object) -> object: ...

    def error(self, event: str, **facts: object) -> object: ...


class Context(Protocol):
    """The engine, as one strategy sees it."""

    @property
    def symbols(self) -> Sequence[str]:
        """The pairs that this strategy follows."""
        ...

    @property
    def log(self) -> Logger:
        """Logs under the strategy's name."""
        ...

    def book(self, symbol: str) -> BookTop | None:
        """The newest book of a pair that this strategy was given.

        Its `state` says whether it is live, and `is_proved` whether Kraken has spoken of the pair lately: it is False
        from `feed.book_silence_s` of the pair's silence on until a message or a fresh snapshot proves the book.
        None before the first. KeyError, naming the pairs there are, for a symbol that is not followed.
        """
        ...

    def state(self, symbol: str) -> FeedState:
        """Whether the pair's book is live, stale or untrusted. KeyError as for `book`."""
        ...

    def pair(self, symbol: str) -> Pair | None:
        """Precisions, increments and status of a pair; None until the venue has told. KeyError as for `book`."""
        ...

    @property
    def venue_status(self) -> str:
        """online, cancel_only, post_only or maintenance; empty before the venue has told."""
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
        """An order by the engine's id, or by Kraken's; None when it is not known any more."""
        ...

    def position(self, symbol: str) -> Position:
        """What the strategy holds of a pair, by its own fills: what they credited. KeyError as for `book`."""
        ...

    def balance(self, asset: str) -> Balance | None:
        """One asset of the account, such as USD or BTC; all zero for one that it does not hold.

        None while Kraken has not told, which it has before orders are taken (`trading.is_open`); so in an engine that
        does not trade.
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
        """Have a function called on the strategy's own thread, between two callbacks; safe from any thread.

        False when it will not be: 1,024 calls wait already, or the strategy was halted. What the function raises
        counts as an error of the strategy's callbacks.
        """
        ...

    def now(self) -> MonoNs:
        """For durations: the clock that stamps `received_at`. In a replay, the capture's."""
        ...

    def wall_now(self) -> WallNs:
        """For calendars. In a replay, the capture's."""
        ...


class Strategy:
    """Derive from it, give parameters as typed fields, and override the callbacks that you want.

    Parameters are the annotated fields of the class and its bases, except names that
    begin with an underscore and ClassVars. A parameter without a default must be set.
    """

    context: Context
    """Set before `on_start`."""

    timer_s: float = 0.0
    """Seconds from one `on_timer` to the next; 0 means never."""

    def on_start(self) -> Answer:
        """Before the first record. An exception here stops the engine: the strategy is not ready to run."""
        return None

    def on_book(self, book: BookTop) -> Answer:
        """A pair's book changed, and its checksum verified. After a gap: the newest book of each pair."""
        return None

    def on_trade(self, trade: Trade) -> Answer:
        """A fill on the tape, told once. One that fell into an outage comes late, marked `history`, when Kraken's
        snapshot of the last fifty tells it; one that never comes is counted (`trades_missed`).
        """
        return None

    def on_ticker(self, ticker: Ticker) -> Answer:
        """A pair's ticker changed."""
        return None

    def on_candle(self, candle: Candle) -> Answer:
        """A candle changed, or was closed.

        `candle.history` tells what was over before it was told (at the start, after an outage) from news, and
        `candle.missed` how many intervals an outage hid; a candle of which something may be unknown is never `closed`.
        """
        return None

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> Answer:
        """A pair's book became live, stale or untrusted. After `stale` no book of the pair comes before `live`.

        It is also called, with LIVE and a reason that begins with "unproved:", when a pair has been silent for so long
        that its book is asked to prove itself; the next `on_book` of the pair is the proof. See `Context.book`.
        """
        return None

    def on_pair(self, pair: Pair) -> Answer:
        """What Kraken says of a pair changed: its precision, increments, minimums or status; at first, what it is.

        `context.pair` tells the same from now on. It comes before the pair's first book, and before any book in a new
        precision. Open orders keep what they have; new orders and amends must fit the pair as it is now, and one that
        was on its way meanwhile is refused with a reason that says so: round again, and ask again.
        """
        return None

    def on_order(self, order: Order) -> Answer:
        """One of the strategy's orders changed its state, or an amend or cancel of it was answered; see its reason."""
        return None

    def on_fill(self, fill: Fill) -> Answer:
        """One of the strategy's orders traded. Each fill is told once."""
        return None

    def on_balance(self, balance: Balance) -> Answer:
        """An asset of the account changed: by fills, deposits, or orders that hold it."""
        return None

    def on_trading(self, status: TradingStatus) -> Answer:
        """Orders are taken again, or not any more, as `status.reason` says."""
        return None

    def on_timer(self) -> Answer:
        """Every `timer_s` seconds."""
        return None

    def on_stop(self) -> Answer:
        """After the last record; the engine is stopping."""
        return None

    # --- orders

    def buy(self, symbol: str, qty: Amount, **options: Unpack[OrderOptions]) -> Order:
        """Send an order to buy `qty` of the base currency: at `limit` if it is given, else at the market.

        buy("BTC/USD", Decimal("0.01"), limit=book.best_bid.price, post_only=True)

        Always returns an order: on its way, or `REFUSED` with the reason. See `OrderOptions` for the options.
        """
        return self.context.submit("buy", symbol, qty, options)

    def sell(self, symbol: str, qty: Amount, **options: Unpack[OrderOptions]) -> Order:
        """Send an order to sell `qty` of the base currency; see `buy`."""
        return self.context.submit("sell", symbol, qty, options)

    def submit_batch(self, orders: Sequence[tuple[str, str, Amount, OrderOptions]]) -> list[Order]:
        """Send 2 to 15 orders of one pair in one request, each as (side, symbol, qty, options).

        Kraken checks them together, and one that cannot be is the end of all; after that each lives alone. Orders come
        back in the order given: all on their way, or all `REFUSED` with the reason, which says which one is wrong. What
        is no list of orders, or an empty one, gives an empty list and an error in the log.
        """
        return self.context.submit_batch(orders)

    def amend(self, order: Order, **options: Unpack[AmendOptions]) -> bool:
        """Change an order in place: `qty` (what has been filled included), `limit`, and so on.

        Less quantity keeps the place in the queue, another price or more quantity loses it. False when the order
        cannot be amended now: it is over, or an amend or cancel of it is under way; `is_working` says so before. False,
        too, when the change cannot be: then `order.reason` says why, and `on_order` tells it.
        """
        return self.context.amend(order, options)

    def cancel(self, *orders: Order) -> None:
        """Cancel orders that are open; one that is over already is left alone.

        A list of orders counts as its orders. What is no order (a variable that is still None) is told in the log, and
        keeps none of the others alive.
        """
        self.context.cancel(orders)

    def cancel_all(self, symbol: str = "") -> None:
        """Cancel all open orders of this strategy, on one pair or on all; another name is told in the log."""
        self.context.cancel_all(symbol)


CALLBACKS = (
    "on_start", "on_book", "on_trade", "on_ticker", "on_candle", "on_feed_state", "on_pair", "on_order", "on_fill",
    "on_balance", "on_trading", "on_timer", "on_stop",
)  # fmt: skip
