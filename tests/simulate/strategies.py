"""Strategies of the simulation: they trade by their dice, and compare what they are told with what may be told.

They behave, until the seed says otherwise: then one hangs in a callback, raises, waits in
an async callback, or asks for a hundred orders at once.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Final

from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, Trade
from engine.strategy.api import Strategy
from engine.strategy.orders import Conditional, Fill, Order, TradingStatus
from engine.units import NS_PER_S
from tests.simulate.kernel import Kernel, Process

if TYPE_CHECKING:
    from tests.simulate.venue import SimVenue

FLOOD: Final = 100  # orders at once
BRACKET_SHARE: Final = 0.15  # of orders
KIND_SHARE: Final = 0.15  # of orders, that are of a kind the others are not
TRIGGERED: Final = ("stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit")
TRIGGER_SHARE: Final = 0.3  # of changes to an order with a trigger, that move it
AGAIN_SHARE: Final = 0.4  # of changes, that another follows at once, as of one who quotes at every tick
OPEN_MAX: Final = 12  # that a strategy keeps open
CHANGE_S: Final = 1.0  # between two changes of what a strategy follows, on the days that have them
CHANNELS: Final = ("book", "candle", "ticker", "trade")
UNLISTED: Final = "NOSUCH/USD"
UNLISTED_SHARE: Final = 0.05


class Mistake(Exception):
    """What a strategy raises on purpose; anything else that it raises is a violation."""


class SimStrategy(Strategy):
    """Told of everything, it checks; on its timer, it trades."""

    def __init__(
        self,
        name: str,
        kernel: Kernel,
        venue: "SimVenue",
        process: Process,
        rng: Random,
        told: Callable[[str, Order], None],
    ) -> None:
        self.name = name
        self._kernel, self._venue, self._process, self._rng = kernel, venue, process, rng
        self._told = told
        # Dice of their own, so that the others fall as they would without brackets.
        self._bracket_rng = Random(f"brackets {rng.getstate()[1][:4]}")
        # And for what few orders are: stops, icebergs, for cash, with the fee in the base currency.
        self._kinds_rng = Random(f"kinds {rng.getstate()[1][:4]}")
        # And to change what it follows, if it does.
        self._pairs_rng = Random(f"pairs {rng.getstate()[1][:4]}")
        # And to change an order once more before the first change is answered.
        self._again_rng = Random(f"again {rng.getstate()[1][:4]}")
        self.changes_pairs = False
        # By its own calls: the channels of each pair that it follows.
        self._follows: dict[str, set[str]] = {}
        # The rules of each pair, as it saw them last.
        self._pairs: dict[str, Pair] = {}
        self.is_trading = True
        # What it shall do in its next callback instead of behaving.
        self.mood: list[Callable[[], None]] = []
        self._trades_seen: dict[str, int] = {}
        self._last_book: dict[str, tuple[int, int]] = {}
        self.books = 0
        # By exec_id.
        self.fills: dict[str, Fill] = {}
        # The last state that it was told of, by order id.
        self.orders: dict[str, Order] = {}

    # --- what it follows

    async def on_start(self) -> None:
        self._follows = {symbol: set(CHANNELS) for symbol in self.context.symbols}

    def _change_pairs(self) -> None:
        """Now and then follow a pair, or some of its channels, or no more; or one that Kraken does not list."""
        rng = self._pairs_rng
        if rng.random() > self.timer_s / CHANGE_S:
            return
        symbol = UNLISTED if rng.random() < UNLISTED_SHARE else rng.choice(sorted(self._venue.truths))
        channels = None if rng.random() < 0.6 else rng.sample(CHANNELS, rng.randint(1, len(CHANNELS)))
        is_subscribed = rng.random() < (0.4 if symbol in self._follows else 0.9)
        self._kernel.note("subscribes" if is_subscribed else "unsubscribes", f"{self.name} {symbol} {channels}")
        follows = self._follows.get(symbol, set())
        if not is_subscribed:
            if not self.context.unsubscribe(symbol, channels):
                return
            self._follows[symbol] = follows - set(channels or CHANNELS)
        elif self.context.subscribe(symbol, channels):
            self._follows[symbol] = follows | set(channels or CHANNELS)
        self._venue.interrupted.add(symbol)
        self._follows = {symbol: channels for symbol, channels in self._follows.items() if channels}
        if self._follows.keys() != set(self.context.symbols):
            self._kernel.accuse("a strategy follows what it asked for", f"{self.name}: {self.context.symbols}, and "
                                f"asked for {sorted(self._follows)}")  # fmt: skip

    def _check_followed(self, symbol: str, channel: str) -> None:
        if channel not in self._follows.get(symbol, ()):
            self._kernel.accuse("a strategy is told of what it follows", f"{self.name}: {channel} of {symbol}, and "
                                f"follows {self._follows}")  # fmt: skip

    # --- the market

    def on_book(self, book: BookTop) -> None:
        self._check_followed(book.symbol, "book")
        self.books += 1
        if self.context.state(book.symbol) is not FeedState.LIVE:
            self._kernel.accuse("a book in doubt says so", f"{self.name} was told a book of {book.symbol} while "
                            f"{self.context.state(book.symbol)}")  # fmt: skip
        now = (book.received_at, book.update_number)
        if now < self._last_book.get(book.symbol, (0, 0)):
            self._kernel.accuse("no book goes back", f"{self.name}: {book.symbol} {now} after {self._last_book}")
        self._last_book[book.symbol] = now
        self._venue.check_told(book)
        self._misbehave()

    def on_trade(self, trade: Trade) -> None:
        self._check_followed(trade.symbol, "trade")
        seen = self._trades_seen.get(trade.symbol, 0)
        if trade.trade_id <= seen and not trade.history:
            self._kernel.accuse(
                "every trade is told once", f"{self.name}: {trade.symbol} {trade.trade_id} after {seen}"
            )
        self._trades_seen[trade.symbol] = max(seen, trade.trade_id)

    def on_candle(self, candle: Candle) -> None:
        self._check_followed(candle.symbol, "candle")
        if candle.symbol in self._venue.interrupted and not candle.is_whole:
            return
        if candle.closed and not candle.is_whole:
            self._kernel.accuse("a closed candle is whole", f"{self.name}: {candle}")
        self._venue.check_candle(candle)

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self._kernel.note("state", f"{self.name} {symbol} {state} {reason}")
        if symbol == UNLISTED and symbol not in self.context.symbols:
            self._follows.pop(symbol, None)  # Kraken refuses it

    def _misbehave(self) -> None:
        if self.mood:
            self.mood.pop()()

    # --- orders

    def on_order(self, order: Order) -> None:
        self._kernel.note("order", f"{self.name} {order.id} {order.state.name} {order.reason}")
        self.orders[order.id] = order
        self._told(self.name, order)
        self._misbehave()

    def on_fill(self, fill: Fill) -> None:
        self._kernel.note("fill", f"{self.name} {fill.exec_id}")
        if fill.exec_id in self.fills:
            self._kernel.accuse("every fill is told once", f"{self.name}: {fill.exec_id}")
        self.fills[fill.exec_id] = fill

    def on_trading(self, status: TradingStatus) -> None:
        self._kernel.note("trading", f"{self.name} {status.is_open} {status.reason}")

    def on_timer(self) -> Any:
        self._misbehave()
        if self.is_trading and self.changes_pairs:
            self._change_pairs()
        if not self.is_trading or not self.context.trading.is_open or not self.context.symbols:
            return None
        dice = self._rng.random()
        if dice < 0.02:
            return self._ponder()
        self.act(dice)
        return None

    async def _ponder(self) -> None:
        """An async callback: this strategy's records wait meanwhile."""
        await asyncio.sleep(self._rng.random() * 0.05)
        if self.is_trading and self.context.symbols:
            self.place()

    def act(self, dice: float) -> None:
        """One thing that a strategy does."""
        working = [order for order in self.context.orders if order.is_working]
        if dice < 0.55 and len(self.context.orders) < OPEN_MAX:
            self.place()
        elif dice < 0.62 and len(self.context.orders) < OPEN_MAX:
            self.place_batch()
        elif dice < 0.76 and working:
            order = self._rng.choice(working)
            self.change(order)
            if self._again_rng.random() < AGAIN_SHARE:
                self.change(order)
        elif dice < 0.97 and self.context.orders:
            many = self._rng.random() < 0.1
            orders = list(self.context.orders)
            self.cancel(*(orders if many else [self._rng.choice(orders)]))
        elif dice > 0.985:
            self.cancel_all()

    def place(self) -> None:
        """A new order somewhere around the market."""
        symbol = self._rng.choice(self.context.symbols)
        if (made := self._order(symbol)) is not None:
            side, qty, options = made
            (self.buy if side == "buy" else self.sell)(symbol, qty, **options)

    def place_batch(self) -> None:
        symbol = self._rng.choice(self.context.symbols)
        rows = [made for _ in range(self._rng.randint(2, 5)) if (made := self._order(symbol)) is not None]
        if len(rows) > 1:
            self.submit_batch([(side, symbol, qty, options) for side, qty, options in rows])

    def _order(self, symbol: str) -> tuple[str, Decimal, Any] | None:
        rng, book, pair = self._rng, self.context.book(symbol), self.context.pair(symbol)
        if book is None or pair is None or book.best_bid is None or book.best_ask is None:
            return None
        self._pairs[symbol] = pair
        side = rng.choice(("buy", "sell"))
        options: dict[str, Any] = {}
        dice = rng.random()
        away = -1 if side == "buy" else 1
        near, far = book.best_bid.price, book.best_ask.price
        if side == "sell":
            near, far = far, near
        if dice < 0.5:
            options["limit"] = near + away * rng.randint(0, 8) * pair.tick
            options["post_only"] = rng.random() < 0.5
        elif dice < 0.8:
            options["limit"] = far - away * rng.randint(0, 3) * pair.tick
            if rng.random() < 0.3:
                options["time_in_force"] = "ioc"
        elif dice < 0.88:
            options["limit"] = near + away * rng.randint(5, 12) * pair.tick
            options["time_in_force"] = "gtd"
            options["expire_at"] = (self.context.wall_now() // NS_PER_S + rng.randint(2, 8)) * NS_PER_S
        if "limit" in options:
            options["limit"] = pair.round_price(options["limit"], "down")
            price = options["limit"]
        else:
            price = far
        if dice >= 0.93:
            closing = pair.round_price(price * (101 if side == "buy" else 99) / 100, "down")
            options["conditional"] = Conditional("limit", limit_price=closing)
        self._put_in_bracket(side, price, pair, options)
        least = max(pair.qty(pair.qty_min_lots), pair.cost_min / price * Decimal("1.02"))
        qty = pair.round_qty(least * rng.randint(100, 400) / 100, "up")
        if options.keys() <= {"limit", "post_only"} and self._kinds_rng.random() < KIND_SHARE:
            qty, options = self._of_a_rare_kind(side, price, qty, pair)
        return side, qty, options

    def _of_a_rare_kind(self, side: str, price: Decimal, qty: Decimal, pair: Pair) -> tuple[Decimal, Any]:
        """Quantity and options of a stop, a take-profit, an iceberg, an order for cash, one with its fee in the base
        currency or one that begins later: so near the market that it soon trades.
        """
        rng = self._kinds_rng
        away = 1 if side == "buy" else -1
        below, above = (pair.round_price(price + way * rng.randint(1, 8) * pair.tick, "down") for way in (-1, 1))
        stop, target = (above, below) if side == "buy" else (below, above)
        options: dict[str, Any]
        match rng.randrange(9):
            case 0:
                options = {"order_type": "stop-loss", "trigger": stop}
            case 1:
                limit = pair.round_price(stop + away * rng.randint(0, 4) * pair.tick, "down")
                options = {"order_type": "stop-loss-limit", "trigger": stop, "limit": limit}
            case 2:
                options = {"order_type": "take-profit", "trigger": target, "trigger_reference": "last"}
            case 3:
                options = {"order_type": "take-profit-limit", "trigger": target, "limit": price}
            case 4:
                options = {"order_type": "trailing-stop", "trigger": rng.randint(1, 5) * pair.tick}
            case 5:
                options = {"order_type": "iceberg", "limit": price, "display_qty": pair.round_qty(qty / 3, "up")}
            case 6 if side == "buy":
                qty, options = Decimal(0), {"cash_qty": (price * qty * 2).quantize(Decimal("0.01"))}
            case 7:
                options = {"limit": price, "effective_at": (self.context.wall_now() // NS_PER_S + 2) * NS_PER_S}
            case _:
                options = {"limit": price, "fee_preference": "base", "stp_type": "cancel_oldest"}
        return qty, options

    def _put_in_bracket(self, side: str, price: Decimal, pair: Pair, options: dict[str, Any]) -> None:
        """Give some orders a stop and a target so near that the market soon reaches one."""
        rng = self._bracket_rng
        if rng.random() > BRACKET_SHARE or options.get("conditional") is not None:
            return
        below, above = (rng.randint(2, 10) * pair.tick for _ in range(2))
        stop, target = (price - below, price + above) if side == "buy" else (price + below, price - above)
        if min(stop, target) > 0:
            options |= {"stop_loss": pair.round_price(stop, "down"), "take_profit": pair.round_price(target, "down")}

    def change(self, order: Order) -> None:
        """Amend an order: another price, or less of it."""
        pair = self._pairs.get(order.symbol)  # also of a pair that it follows no more
        if pair is None:
            return
        if order.order_type in TRIGGERED and self._kinds_rng.random() < TRIGGER_SHARE:
            self._move_trigger(order, pair)
            return
        if order.limit_price is None:
            return
        if self._rng.random() < 0.7:
            limit = order.limit_price + self._rng.choice((-2, -1, 1, 2)) * pair.tick
            self.amend(order, limit=pair.round_price(limit, "down"))
        else:
            self.amend(order, qty=pair.round_qty(order.qty * self._rng.randint(80, 120) / 100, "up"))

    def _move_trigger(self, order: Order, pair: Pair) -> None:
        book = self.context.book(order.symbol) if order.symbol in self.context.symbols else None
        if book is None or book.best_bid is None:
            return
        steps = self._kinds_rng.randint(2, 9) * (1 if (order.side == "buy") == ("stop" in order.order_type) else -1)
        self.amend(order, trigger=pair.round_price(book.best_bid.price + steps * pair.tick, "down"))

    # --- moods

    def hang(self, ns: int) -> None:
        """Keep the thread for so long; everybody else goes on."""
        self._kernel.note("hangs", f"{self.name} {ns / NS_PER_S:.3f}")
        self._process.hold(ns)

    def fail(self) -> None:
        """Raise."""
        self._kernel.note("raises", self.name)
        raise Mistake("a strategy's own mistake")

    def flood(self) -> None:
        """Ask for a hundred orders at once."""
        self._kernel.note("floods", self.name)
        if self.is_trading and self.context.symbols:
            for _ in range(FLOOD):
                self.place()
