"""`Engine`: the engine in a program of one's own.

    async with Engine.open(venue="local", symbols=["BTC/USD"]) as engine:
        book = await engine.book("BTC/USD")
        order = await engine.buy("BTC/USD", "0.001", limit=book.best_bid.price)
        await order.until_over(timeout_s=10)

It is the same engine as `engine run`: feeds and order router are processes of their own;
the supervisor and the program's strategies run on the loop that opened it, asyncio's or
uvloop's, in a script or a notebook. All calls are made on that loop's thread.

A call that cannot work raises CallError, and an order that is refused OrderRefused, each
with one sentence that says what to change. What does not come in time raises NotAvailable.
"""

import asyncio
import gc
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar, Unpack, overload
from weakref import WeakSet

import structlog

from engine.client.candle_history import CandleHistory, joined, suffices
from engine.client.handlers import Function, Registrations
from engine.client.program import Program
from engine.client.statistics import Statistics
from engine.clock import SystemClock
from engine.config import Config, load_config, override
from engine.errors import CallError, ConfigError, EngineStopped, NotAvailable, OrderRefused, StrategyError
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.public_calls import PublicCalls
from engine.market import Pair
from engine.market.candles import INTERVALS_MIN, ROWS_MAX
from engine.net.https import HttpsClient
from engine.net.own_thread import on_own_thread
from engine.records import BookTop, Candle, FeedState, Ticker, Trade
from engine.strategy.api import Strategy
from engine.strategy.events import ErrorReport
from engine.strategy.loader import check_strategy
from engine.strategy.option_rules import as_decimal
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions
from engine.strategy.orders import Balance, Fill, Order, OrderState, Position, TradingStatus
from engine.strategy.seconds import check_seconds
from engine.strategy_host.loading import NamedStrategy, free_name, make_strategies
from engine.supervisor.descriptors import open_descriptors
from engine.supervisor.local_venue import venue_plan
from engine.supervisor.run import Run, venue_settings
from engine.supervisor.supervisor import CLEAN, Supervisor
from engine.telemetry.log import configure_log
from engine.topology import NO_CHANNELS, Channel
from engine.units import NS_PER_S

ANSWER_S: Final = 5.0  # for the router's first word of an order: it decides in a millisecond, a new one in a second
LOOK_S: Final = 0.05
TICK_S: Final = 3600.0  # the supervisor's own report is not used here
NAME: Final = "program"
TOLD_OF_AMENDS: Final = {"qty", "limit", "post_only"}  # what an order that has ended shows of an amend

ELSEWHERE: Final = (
    "an engine works on the loop that opened it, while that runs; from another loop, or on another thread, hand the "
    "call over: asyncio.run_coroutine_threadsafe(engine.buy(...), loop)"
)

CLOSE_ELSEWHERE: Final = (
    "an engine is closed on the loop that opened it; from another one, hand the call over: "
    "asyncio.run_coroutine_threadsafe(engine.close(), loop)"
)
CLOSED_BEFORE: Final = (
    "the loop that opened the engine was closed before the engine, whose processes end with this program; close the "
    "engine first"
)

# Those that have ended and are in memory still: their objects refer to one another, so that
# rings and descriptors are kept until Python collects them, which may be never.
_ENDED: Final[WeakSet[Supervisor]] = WeakSet()

# The strategies of engines that run, by their ids: an object has one context, through which
# it trades.
_IN_USE: Final[dict[int, Strategy]] = {}
os.register_at_fork(after_in_child=_IN_USE.clear)  # their engines run in the other process

T = TypeVar("T")

log = structlog.get_logger("engine")


class Engine:
    """An engine that runs in this program; see `Engine.open`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.config = run.config
        """As read from file, arguments and defaults."""
        # The loop that opened it.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._supervisor: Supervisor | None = None
        self._program: Program | None = None
        # REST's candles; None where it is not to be asked.
        self._candle_history: CandleHistory | None = None
        # By an order's id, the newest amend that is waited for.
        self._newest_amends: dict[str, object] = {}
        # The strategies that it was given.
        self._strategies: list[Strategy] = []
        # The supervisor's run, until the engine has ended.
        self._running: asyncio.Task[Any] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        # The end of what surrounds the supervisor, once that has ended.
        self._ending: Future[None] | None = None
        # Who waits for the closing.
        self._closers: set[asyncio.Task[Any] | None] = set()
        # The summary of the run, once it is over.
        self._last_summary: dict[str, Any] = {}

    # --- from its start to its end

    @classmethod
    def open(
        cls,
        config: "str | Path | Config | None" = None,
        *,
        venue: str | None = None,
        symbols: Sequence[str] | None = None,
        name: str | None = None,
        strategies: Iterable[Strategy] = (),
        venue_options: str = "",
        settings: Mapping[str, object] | None = None,
    ) -> "_Opening":
        """Open an engine: `async with Engine.open(…) as engine`, or `engine = await
        Engine.open(…)` and later `await engine.close()`.

        `config` is a TOML file as for `engine run`. `venue` is "local" for the built-in
        exchange and play money, "paper" for Kraken's market and simulated fills, "live" for
        Kraken with real money, or the URL of a public WebSocket; Kraken's data without
        orders unless given. `settings` changes single
        settings by their path: {"feed.depth": 25}. `strategies` run beside the program, on
        its loop, as do those of the configuration.

        Raises ConfigError or StrategyError, whose text is one sentence for the user.
        """
        _check_arguments(venue, symbols, strategies, venue_options, settings)
        return _Opening(cls, config, venue, symbols, name, tuple(strategies), venue_options, settings or {})

    async def close(self) -> None:
        """End the orders as configured, the processes, and the engine; may be called
        again.

        A program that is canceled meanwhile, by Ctrl-C say, still ends all of them, and is
        canceled then. Raises CallError on another loop than the one that opened it, unless
        the engine has ended with that.
        """
        if self._running is not None and not self._running.done() and self._loop is not asyncio.get_running_loop():
            raise CallError(CLOSED_BEFORE if self._loop is not None and self._loop.is_closed() else CLOSE_ELSEWHERE)
        me = asyncio.current_task()
        before = me.cancelling() if me is not None else 0
        self._closers.add(me)  # it may be a handler's: then it is not waited for
        while self._closing is None or not self._closing.done() or self._closing.cancelled():
            if self._closing is None or self._closing.cancelled():  # a loop that ends cancels all tasks
                self._closing = asyncio.ensure_future(self._close())
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._closing)
        self._closing.result()
        if me is not None and me.cancelling() > before:
            raise asyncio.CancelledError

    async def _start(self, strategies: Sequence[Strategy]) -> None:
        config = self.config
        self._loop = asyncio.get_running_loop()
        handlers = Registrations(
            SystemClock(),
            timeout_s=config.engine.hang_s_max,
            errors_per_minute_max=config.engine.strategy_errors_per_minute_max,
        )
        self._program = Program(handlers)
        named = await self._load(strategies)
        await asyncio.wrap_future(on_own_thread(self._run.wait_for_venue))
        self._supervisor = supervisor = self._run.supervisor(named, in_loop=True)
        self._candle_history = _candle_history(config, supervisor)
        self._running = asyncio.ensure_future(supervisor.run(None, lambda _: None, TICK_S))
        self._running.add_done_callback(lambda _: self._ended())
        self._watching = asyncio.ensure_future(self._run.watch_venue(supervisor))
        begun = asyncio.ensure_future(supervisor.has_begun.wait())
        try:
            await asyncio.wait({begun, self._running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()
        if self._running.done() and (mistake := self._running.result()) is not None:
            # What a child could not run with (a key, a file) is of the configuration.
            raise mistake if isinstance(mistake, (ConfigError, StrategyError)) else ConfigError(str(mistake))

    async def _load(self, strategies: Sequence[Strategy]) -> list[NamedStrategy]:
        config = self.config
        named = [NamedStrategy(NAME, self._told, config.symbols, config.trading.positions)]
        named += make_strategies(config, config.symbols, log.info)
        if any(one.name == NAME for one in named[1:]):
            raise ConfigError(f"a strategy is named {NAME}, as the program itself is; give it another name")
        taken = {one.name for one in named}
        for strategy in strategies:
            if not isinstance(strategy, Strategy):
                raise CallError(
                    f"strategies takes objects of classes that derive from engine.Strategy, not {strategy!r}"
                )
            if any(one.strategy is strategy for one in named):
                raise CallError(f"strategies has {strategy!r} twice; make one object for each")
            if id(strategy) in _IN_USE:
                raise CallError(f"{strategy!r} is a strategy of another engine that runs; make one object for each")
            name = free_name(type(strategy).__name__, taken)
            taken.add(name)
            check_strategy(strategy, name)
            named.append(NamedStrategy(name, strategy, config.symbols, config.trading.positions))
        self._strategies = list(strategies)
        _IN_USE.update((id(strategy), strategy) for strategy in strategies)
        return named

    async def _close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._program is not None:
            self._program.handlers.begin_end(self._closers)
        if self._supervisor is not None:
            self._supervisor.request_stop(CLEAN)
        if self._candle_history is not None:
            with suppress(RuntimeError):  # its connections were of a loop that is closed
                await self._candle_history.close()
        if self._running is not None:
            if not self._running.done():
                await asyncio.wait({self._running})  # what went wrong is the exit reason
            self._ended()
        if self._program is not None:
            await self._program.handlers.end(self._closers)
        await asyncio.wrap_future(self._end_run())

    def _ended(self) -> None:
        """Handle the end of the supervisor, whatever caused it: end the venue, release the
        name, and wake all waiting calls.
        """
        if self._ending is not None or self._running is None or self._supervisor is None:
            return
        self._last_summary = self._supervisor.summary()
        _ENDED.add(self._supervisor)
        ending = self._end_run()
        if self._program is not None:
            self._program.wake_all()
        if self._running.cancelled():  # with all tasks of its loop: nobody may come to wait for it
            ending.result()
        elif self._program is not None and self._closing is None:
            text = f"the engine has ended: {self._supervisor.exit_reason}"
            self._program.handlers.tell("error", ErrorReport("engine", text, SystemClock().wall_ns()))

    def _end_run(self) -> "Future[None]":
        if self._ending is None:
            for strategy in self._strategies:
                _IN_USE.pop(id(strategy), None)
            self._ending = on_own_thread(self._end_surroundings)
        return self._ending

    def _end_surroundings(self) -> None:
        try:
            if self._supervisor is not None and self._last_summary:
                self._last_summary = self._last_summary | self._run.venue_facts(self._supervisor)
        finally:
            self._run.end()

    @property
    def _told(self) -> Program:
        if self._program is None:
            raise EngineStopped("the engine has not been opened; write `async with Engine.open(…) as engine`")
        return self._program

    @property
    def _live(self) -> Program:
        """The program, of an engine that runs; raises EngineStopped otherwise."""
        if self._running is None or self._running.done() or self._closing is not None:
            reason = self._supervisor.exit_reason if self._supervisor is not None else "it has not begun"
            raise EngineStopped(f"the engine has ended ({reason}); open another one")
        return self._told

    # --- what is followed

    @property
    def symbols(self) -> tuple[str, ...]:
        """The pairs that the program follows now."""
        return tuple(self._told.context.symbols)

    async def subscribe(self, symbol: str, channels: Iterable[str] | None = None, *, timeout_s: float = 10.0) -> None:
        """Follow a pair, or further channels of it, and wait until Kraken has confirmed
        them: book, trade, ticker, candle; without `channels` those that the configuration
        follows.

        Channels that are already followed are unaffected. From then on the pair is treated
        like one from the start: it is subscribed again after every lost connection, has
        REST as its second source, and can be traded. Raises CallError for a name that
        Kraken does not list, an unknown channel, or more pairs than `feed.pairs_added_max`.
        Raises NotAvailable if Kraken has not answered within `timeout_s`; the subscription
        then stays requested, and is made as soon as Kraken can be reached.
        """
        program, context = self._live, self._told.context
        symbol = context.following.subscribe(symbol, channels)
        program.refusals.pop(symbol, None)
        wanted = context.channels[symbol]

        def confirmed() -> bool | None:
            if wanted & ~context.channels.get(symbol, NO_CHANNELS):
                raise CallError(program.refusals.get(symbol, f"{symbol} was unsubscribed meanwhile"))
            return True if not wanted & ~context.confirmed(symbol) else None

        await self._when(confirmed, "feed_state", timeout_s,
                         lambda: f"{symbol} stays wanted, but Kraken has not confirmed its subscription")  # fmt: skip

    async def unsubscribe(self, symbol: str, channels: Iterable[str] | None = None) -> None:
        """Stop following a pair, or these channels of it; channels that are not followed
        are ignored. Handlers of feed_state are called; open orders are untouched.

        Kraken's subscription lasts while a strategy of this engine follows it. Raises
        CallError for a name that is not a pair of this run.
        """
        self._live.context.following.unsubscribe(symbol, channels)

    # --- market data

    async def book(
        self, symbol: str, *, rest: bool = False, age_s_max: float | None = None, timeout_s: float = 10.0
    ) -> BookTop:
        """The newest verified book of a pair. Waits for the first one, and while the pair
        is in doubt.

        `rest`: accept an unverified book of REST while the WebSocket does not serve the
        pair; its `source` says so. `age_s_max`: accept no book that was last confirmed
        longer ago than this. Raises NotAvailable after `timeout_s`, CallError for a pair
        that is not followed.
        """
        context = self._followed(symbol, Channel.BOOK).context
        check_seconds("age_s_max", age_s_max)

        def newest() -> BookTop | None:
            book = context.book(symbol)
            if book is None or (not rest if not book.is_verified else context.state(symbol) is not FeedState.LIVE):
                return None
            return book if age_s_max is None or book.age_s <= age_s_max else None

        return await self._when(newest, "book", timeout_s, lambda: f"no live book of {symbol}{_young(age_s_max)}")

    async def ticker(self, symbol: str, *, age_s_max: float | None = None, timeout_s: float = 10.0) -> Ticker:
        """The newest ticker of a pair; as `book`."""
        context = self._followed(symbol, Channel.TICKER).context
        check_seconds("age_s_max", age_s_max)

        def newest() -> Ticker | None:
            ticker = context.ticker(symbol)
            return ticker if ticker is None or age_s_max is None or ticker.age_s <= age_s_max else None

        return await self._when(newest, "ticker", timeout_s, lambda: f"no ticker of {symbol}{_young(age_s_max)}")

    async def trades(self, symbol: str, *, timeout_s: float = 10.0) -> Sequence[Trade]:
        """The last trades of a pair, newest last, at most a hundred; waits for the
        first."""
        context = self._followed(symbol, Channel.TRADE).context
        return await self._when(lambda: context.trades(symbol) or None, "trade", timeout_s,
                                lambda: f"no trade of {symbol}")  # fmt: skip

    async def candles(
        self, symbol: str, *, interval_min: int = 1, count: int = 200, timeout_s: float = 10.0
    ) -> Sequence[Candle]:
        """The last candles of a pair, oldest first, at most `count`, which is at most 720;
        the last one may still be forming. An interval without trades has no candle.

        Candles made of the pair's trades, for the intervals of `feed.candle_intervals_min`,
        are returned at once. Missing ones, and other intervals, are requested from Kraken's
        REST, within its rate limit. Raises NotAvailable if there is nothing after
        `timeout_s`, CallError for an interval that Kraken does not offer.
        """
        context, intervals = self._followed(symbol, Channel.CANDLE).context, self.config.feed.candle_intervals_min
        if interval_min not in INTERVALS_MIN:
            offered = ", ".join(map(str, INTERVALS_MIN))
            raise CallError(f"interval_min is one of {offered}, not {interval_min!r}: Kraken has no other candles")
        check_seconds("timeout_s", timeout_s)
        if not isinstance(count, int) or not 1 <= count <= ROWS_MAX:
            raise CallError(f"count is 1 to {ROWS_MAX}, not {count!r}: Kraken tells no more candles of an interval")
        told = context.candles_told(symbol, interval_min, count)
        is_live = context.state(symbol) is FeedState.LIVE
        if suffices(told, count, is_live=is_live, now=SystemClock().wall_ns()):
            return told
        if self._candle_history is None:
            if interval_min not in intervals:
                built = ", ".join(map(str, intervals)) or "none"
                raise CallError(
                    f"candles of {interval_min} minutes are neither made of trades (feed.candle_intervals_min has "
                    f"{built}), nor may REST be asked (fallback.enabled, or a venue.rest_url of the same venue)"
                )
            return await self._when(
                lambda: context.candles_told(symbol, interval_min, count) or None,
                "candle",
                timeout_s,
                lambda: f"no candle of {symbol}",
            )
        try:
            async with asyncio.timeout(timeout_s):
                by_rest = await self._candle_history.candles(symbol, interval_min)
        except (TimeoutError, NotAvailable) as error:
            if told := self._followed(symbol, Channel.CANDLE).context.candles_told(symbol, interval_min, count):
                return told
            why = str(error) or f"no candles of {symbol} within {timeout_s:g} s"
            raise NotAvailable(why) from None
        self._followed(symbol, Channel.CANDLE)  # raises when it is not any more, or the engine has ended meanwhile
        return tuple(joined(context.candles_told(symbol, interval_min), by_rest)[-count:])

    async def pair(self, symbol: str, *, timeout_s: float = 10.0) -> Pair:
        """A pair's precisions, increments, minimums and status."""
        context = self._followed(symbol).context
        return await self._when(lambda: context.pair(symbol), "pair", timeout_s, lambda: f"no rules of {symbol}")

    # --- the account

    @property
    def trading(self) -> TradingStatus:
        """Whether orders are taken now, and if not, why."""
        return self._told.context.trading

    async def until_trading(self, timeout_s: float = 10.0) -> TradingStatus:
        """Wait until orders are taken; raises NotAvailable with the reason why they are
        not."""
        context = self._live.context
        return await self._when(lambda: context.trading if context.trading.is_open else None, "trading", timeout_s,
                                lambda: f"no orders are taken: {context.trading.reason}")  # fmt: skip

    async def balance(self, asset: str, *, timeout_s: float = 10.0) -> Balance:
        """One asset of the account; waits until Kraken has sent the balances. All zero for
        an asset that is not held.
        """
        context = self._live.context
        if not isinstance(asset, str):
            raise CallError(f"balance takes the name of an asset, such as USD, not {asset!r}")
        return await self._when(
            lambda: context.balance(asset),
            "balance",
            timeout_s,
            lambda: f"no balances: {context.trading.reason or 'Kraken has not told them'}",
        )

    def position(self, symbol: str) -> Position:
        """What this program holds of a pair, also of one that it no longer follows: by its
        own fills, and with `positions = "account"` what the account held at the start; see
        `Position.is_known`.
        """
        return self._known(symbol).context.position(symbol)

    @property
    def orders(self) -> Sequence[Order]:
        """The program's open orders, oldest first."""
        return self._told.context.orders

    def order(self, order_id: str) -> Order | None:
        """An order by its `id` or its `order_id`; None when it is unknown or ended too long
        ago."""
        if not isinstance(order_id, str):
            raise CallError(f"order takes the id of an order, not {order_id!r}")
        return self._told.context.order(order_id)

    def fills(self, limit: int = 50) -> list[Fill]:
        """The last fills of the program's orders, newest last; a thousand are kept."""
        if not isinstance(limit, int):
            raise CallError(f"limit is a whole number, not {limit!r}")
        return list(self._told.recent_fills)[-limit:] if limit > 0 else []

    # --- orders

    async def buy(self, symbol: str, qty: Amount, **options: Unpack[OrderOptions]) -> Order:
        """Send an order to buy `qty` of the base currency: a limit order with `limit`, else
        a market order.

        Returns the order when it is on its way, with the answer of the engine's own checks;
        `order.until_acknowledged` waits for Kraken's. Right after the start it waits for
        the pair's rules and its first book. Raises OrderRefused when it was not sent.
        Options as of `Strategy.buy`.
        """
        self._check_loop()
        await self._until_known(symbol)
        return await self._send(self._live.buy(symbol, qty, **options))

    async def sell(self, symbol: str, qty: Amount, **options: Unpack[OrderOptions]) -> Order:
        """Send an order to sell `qty` of the base currency; see `buy`."""
        self._check_loop()
        await self._until_known(symbol)
        return await self._send(self._live.sell(symbol, qty, **options))

    async def submit_batch(self, orders: Sequence[tuple[str, str, Amount, OrderOptions]]) -> list[Order]:
        """Send 2 to 15 orders of one pair in one request; see `Strategy.submit_batch` and
        `buy`."""
        self._check_loop()
        for row in orders if isinstance(orders, (list, tuple)) else ():
            if isinstance(row, (list, tuple)) and len(row) > 1:
                await self._until_known(row[1])
        made = self._live.submit_batch(orders)
        if not made:
            raise CallError("submit_batch takes a list of (side, symbol, qty, options)")
        for order in made:
            await self._send(order)
        return made

    async def amend(self, order: Order, *, timeout_s: float = 10.0, **options: Unpack[AmendOptions]) -> Order:
        """Change an open order in place, and wait for Kraken's answer; see
        `Strategy.amend`. Right after the start it waits as `buy` does.

        Raises OrderRefused when it was not changed, TimeoutError when no answer came. An
        order that ends meanwhile counts as changed when it shows the quantity and the limit
        that were asked for; other changes it does not show.
        """
        self._check_loop()
        self._check_order(order)
        check_seconds("timeout_s", timeout_s)
        await self._until_known(order.symbol)
        program = self._live
        if not order.is_working:
            why = "it is over" if not order.is_open else "it is not acknowledged, or a cancel is under way"
            raise OrderRefused(f"{order.id} cannot be amended now: {why}", order)
        if not program.amend(order, **options):
            raise OrderRefused(order.reason or f"{order.id} cannot be amended now", order)
        mine = self._newest_amends[order.id] = object()

        def is_answered(it: Order) -> bool:
            # An open order that shows other terms, and no reason: the report is older than
            # the amend, or a router that died took it along. Of several amends the newest
            # wins.
            is_newest = self._newest_amends.get(it.id) is mine
            is_unheard = it.is_working and not it.reason and is_newest and _differs(it, options)
            return not it.is_amending and not is_unheard

        try:
            await order.until(is_answered, timeout_s)
        finally:
            if self._newest_amends.get(order.id) is mine:
                del self._newest_amends[order.id]
        if order.is_working and order.reason:
            raise OrderRefused(order.reason, order)
        asked = {name for name, value in options.items() if value is not None}
        if not order.is_working and (_differs(order, options) or asked - TOLD_OF_AMENDS):
            why = f"it is {order.state}" if not order.report.is_ending else "a cancel of it is under way"
            raise OrderRefused(f"{order.id} does not show the change: {order.reason or why}", order)
        return order

    async def cancel(self, *orders: Order) -> None:
        """Ask for orders to be canceled; `order.until_over` waits for the end. Orders that
        are over are skipped."""
        program = self._live
        for order in orders:
            self._check_order(order)
        program.cancel(*orders)

    async def cancel_all(self, symbol: str = "") -> None:
        """Ask for all open orders of the program to be canceled, on one pair or on all."""
        program = self._known(symbol) if symbol != "" else self._live
        program.cancel_all(symbol)

    # --- handlers

    @overload
    def on(self, event: str, handler: Function, *, symbol: str | None = None) -> Function: ...

    @overload
    def on(self, event: str, *, symbol: str | None = None) -> Callable[[Function], Function]: ...

    def on(
        self, event: str, handler: Function | None = None, *, symbol: str | None = None
    ) -> Function | Callable[[Function], Function]:
        """Have a function called, plain or async, with each event of a kind: book,
        rest_book, ticker, trade, candle, feed_state, pair, order, fill, balance, trading,
        notice, connection, error.

        `symbol`: only those of one pair. Any number of handlers may be registered. Without
        a handler it decorates one: `@engine.on("fill")`. Raises CallError.
        """
        if symbol is not None:
            self._followed(symbol)
        handlers = self._live.handlers

        def register(function: Function) -> Function:
            handlers.add(event, function, symbol)
            return function

        return register if handler is None else register(handler)

    def off(self, event: str, handler: Function) -> None:
        """Remove a handler. Raises CallError if it was not registered."""
        if not self._told.handlers.remove(event, handler):
            raise CallError(f"{handler!r} is no handler of {event}; give the function that `on` was given")

    # --- figures

    def sources(self) -> dict[str, Any]:
        """Where the market data come from, as `engine sources --json` prints it."""
        return dict(self.status().get("sources", {}))

    def statistics(self) -> Statistics:
        """The figures of the run so far: orders, times, messages, errors, gaps, sources;
        after the end those of the whole run. `status` has them by process and strategy."""
        self._told  # noqa: B018 - raises when the engine was never opened
        return Statistics.of(self.status())

    def status(self) -> dict[str, Any]:
        """What `engine status --json` prints, and the program's handlers; after the end the
        summary of the run.
        """
        if self._supervisor is None:
            return {}
        summary = self._last_summary or self._supervisor.summary()
        return summary | {"handlers": self._told.handlers.conduct()}

    # --- steps

    def _known(self, symbol: str) -> Program:
        """The program. Raises CallError for a pair that it neither follows nor has
        followed.
        """
        program = self._live
        is_known = isinstance(symbol, str) and program.context.knows(symbol)
        return program if is_known else self._followed(symbol)

    def _followed(self, symbol: str, channel: Channel = NO_CHANNELS) -> Program:
        """The program. Raises CallError for a pair, or a channel of it, that it does not
        follow.
        """
        program = self._live
        if not isinstance(symbol, str) or symbol not in program.context.symbols:
            told = ", ".join(program.context.symbols) or "none"
            raise CallError(f"{symbol!r} is not followed; this engine follows {told}")
        if channel and channel not in program.context.channels[symbol]:
            name = (channel.name or "").lower()
            raise CallError(f"the {name} channel of {symbol} is not followed; engine.subscribe follows it")
        return program

    async def _when(self, value: Callable[[], T | None], event: str, timeout_s: float, missing: Callable[[], str]) -> T:
        """Wait until `value` returns something other than None, and return that. It is
        called again after each event.
        """
        program = self._live
        check_seconds("timeout_s", timeout_s)
        found = value()
        if found is not None:
            return found
        self._check_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while (found := value()) is None:
                    with suppress(TimeoutError):  # what is too old may be proved without an event
                        async with asyncio.timeout(LOOK_S):
                            await program.news(event)
                    self._live  # noqa: B018 - raises when the engine has ended meanwhile
        except TimeoutError:
            raise NotAvailable(f"{missing()} within {timeout_s:g} s") from None
        except KeyError as error:  # of a pair that was given back while it was waited for
            raise CallError(f"{error.args[0]}; it was given back meanwhile") from None
        return found

    def _check_loop(self) -> None:
        """Raise CallError on an event loop other than the engine's, where no event would
        arrive.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise CallError(ELSEWHERE)

    async def _until_known(self, symbol: object) -> None:
        """Wait a moment for a pair's rules and its first book, without which no order is
        sent or amended. A wrong symbol is reported by the order itself.
        """
        context = self._live.context
        if isinstance(symbol, str) and symbol in context.symbols:

            def is_known() -> bool | None:
                return symbol not in context.symbols or bool(context.pair(symbol) and context.book(symbol)) or None

            with suppress(NotAvailable):
                await self._when(is_known, "book", ANSWER_S, lambda: "")

    async def _send(self, order: Order) -> Order:
        """Wait for the router's first report of an order. Raises OrderRefused if the router
        refused it.
        """
        if order.state is OrderState.NEW:
            with suppress(TimeoutError):  # a router that starts again has not told yet
                await order.until(lambda it: it.state is not OrderState.NEW, ANSWER_S)
        if order.state is OrderState.REFUSED:
            raise OrderRefused(order.reason, order)
        return order

    def _check_order(self, order: Order) -> None:
        if not isinstance(order, Order):
            raise CallError(f"{order!r} is no order, as buy and sell return it; engine.order(id) finds one by its id")


def _check_arguments(
    venue: object, symbols: object, strategies: object, venue_options: object, settings: object
) -> None:
    """Raise ConfigError, or CallError for `strategies`, if an argument of `Engine.open` has
    a wrong type.
    """
    if venue is not None and not isinstance(venue, str):
        raise ConfigError(f"venue is a text, such as 'local', not {venue!r}")
    if symbols is not None and (isinstance(symbols, str) or not isinstance(symbols, Iterable)):
        raise ConfigError(f"symbols is a list of pairs, such as ['BTC/USD'], not {symbols!r}")
    if not isinstance(venue_options, str):
        raise ConfigError(f"venue_options is a text, such as '--rate 200', not {venue_options!r}")
    if settings is not None and not (isinstance(settings, Mapping) and all(isinstance(key, str) for key in settings)):
        raise ConfigError(
            f"settings is a dict of settings by their path, such as {{'feed.depth': 25}}, not {settings!r}"
        )
    if not isinstance(strategies, Iterable):
        raise CallError(f"strategies is a list of strategies, not {strategies!r}")


def _differs(order: Order, asked: AmendOptions) -> bool:
    """Whether an order's quantity or limit differs from what an amend asked for."""
    terms = {"qty": order.qty, "limit": order.limit_price}
    return any(
        as_decimal(name, value) != terms[name] for name, value in asked.items() if name in terms and value is not None
    )


def _young(age_s_max: float | None) -> str:
    return "" if age_s_max is None else f", not older than {age_s_max:g} s,"


def _candle_history(config: Config, supervisor: Supervisor) -> CandleHistory | None:
    """A REST client for candles, within the program's share of the calls that Kraken
    allows.
    """
    if supervisor.rest_url is None:
        return None
    clock = SystemClock()
    ca_file = Path(config.venue.ca_file) if config.venue.ca_file else None
    https = HttpsClient(supervisor.rest_url, clock=clock, ca_file=ca_file)
    calls = PublicCalls(calls_per_s=supervisor.calls_per_s, cache_ns=int(config.fallback.cache_s * NS_PER_S))
    return CandleHistory(KrakenRest(https, clock), calls, clock)


class _Opening:
    """An engine that is about to be opened, with `await` or `async with`."""

    def __init__(
        self,
        kind: type[Engine],
        config: "str | Path | Config | None",
        venue: str | None,
        symbols: Sequence[str] | None,
        name: str | None,
        strategies: Sequence[Strategy],
        venue_options: str,
        settings: Mapping[str, object],
    ) -> None:
        self._kind = kind
        self._config = config
        self._venue = venue
        self._strategies = strategies
        self._venue_options = venue_options
        self._changes = {
            "name": name,
            "symbols": tuple(symbols) if symbols is not None else None,
            **venue_settings(venue),
            **settings,
        }
        self._engine: Engine | None = None

    def __await__(self) -> Generator[Any, None, Engine]:
        return self._open().__await__()

    async def __aenter__(self) -> Engine:
        self._engine = await self._open()
        return self._engine

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            await self._engine.close()

    async def _open(self) -> Engine:
        config = self._read()
        run = Run(config, venue_plan(self._venue, self._venue_options, config))
        if not structlog.is_configured():  # else the program logs in its own way
            configure_log(config.log.level, config.log.format, "engine", levels=config.log.levels, is_guest=True)
        engine = self._kind(run)
        if _ENDED:
            gc.collect()
        try:
            run.begin(len(config.strategies) + len(self._strategies) + 1, beside=open_descriptors())
            await engine._start(self._strategies)
        except BaseException:
            await engine.close()
            raise
        return engine

    def _read(self) -> Config:
        if isinstance(self._config, Config):
            config = self._config
        elif self._config is None:
            config = override(Config(), **{"log.level": "warning"})
        elif isinstance(self._config, (str, Path)):
            config = load_config(Path(self._config))
        else:
            raise ConfigError(f"the configuration is the path of a TOML file, not {self._config!r}")
        return override(config, **self._changes)
