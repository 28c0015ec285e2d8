"""The order path as one object: client, rings, router, private feed, each the real thing, in one process.

submit() ─► command ring ─► route() ─► frames
answer(frame) ─► router ─► report ring ─► news()
execute(frame) ─► private feed ─► account ring ─► route() ─► report ring ─► news()
"""

import os
import socket
import time
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from feed_path import FeedPath
from rig import CAPTURE_DEPTH_10, book_frames, symbols_of

from engine.clock import SystemClock
from engine.history import HistoryWriter
from engine.instant import Instant
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.kraken_rest.call_queue import CallQueue
from engine.order_router.core.new_orders import NewOrderSettings
from engine.order_router.core.order_core import build
from engine.order_router.core.ports import Ports, ReportPort
from engine.order_router.core.settings import CoreSettings
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.order_router.router import OrderRouter
from engine.orders.blotter import Blotter
from engine.orders.journal import Journal
from engine.orders.rate_counter import Tier
from engine.orders.rings.account_ring import ACCOUNT_RECORD_BYTES, ACCOUNT_SLOTS
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMAND_SLOTS
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORT_SLOTS
from engine.orders.risk import RiskLimits
from engine.private_feed.feed import PrivateFeed
from engine.processes.balance_board import (
    BALANCE_BOARD_BYTES,
    BalanceBoardReader,
    BalanceBoardWriter,
    format_balance_board,
)
from engine.records import PairRules, pack_pair
from engine.ring import BoardWriter, GatedSubscriber, Publisher, Segment, format_ring, open_eventfd, ring_bytes
from engine.strategy.order_options import OrderOptions
from engine.strategy.orders import Order
from engine.strategy_host.order_client import News, OrderClient, OrderPorts
from engine.telemetry import new_counters
from engine.topology import PRIVATE_FEED_COUNTERS, Shard
from engine.units import NS_PER_S, units_decimal

STRATEGY = "Bench"
TOKEN = "WW91ciBhdXRoZW50aWNhdGlvbiB0b2tlbiBnb2VzIGhlcmUu"  # as long as Kraken's
QTY = Decimal("0.001")
SYMBOL = "BTC/USD"
UNLIMITED = Tier("unlimited", 10**12, 10**12, 10**9)
FOREVER_NS = 10**15
OPEN_LIMITS = RiskLimits(  # every check is made, none ever refuses
    order_notional_max=Decimal(10**12),
    position_notional_max=Decimal(10**15),
    daily_loss_max=Decimal(10**15),
    price_collar_percent=Decimal(50),
    open_orders_max=10**9,
    orders_per_s_max=Decimal(10**9),
    book_age_ns_max=FOREVER_NS,
    duplicate_window_ns=1,
)


class MarkedPublisher(Publisher):
    """Notes when it last flushed a record: its subscriber, in a process of its own, goes on from there."""

    flushed_ns = 0
    flushed_cursor = 0

    def flush(self) -> None:
        super().flush()
        if self.cursor != self.flushed_cursor:
            self.flushed_cursor, self.flushed_ns = self.cursor, time.perf_counter_ns()


class Frames:
    """In place of the connection: writes every request to a socket whose other end nobody waits at."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    can_send = True
    last_error = ""

    def send_due(self) -> None:
        """The session has nothing of its own to send here."""

    def send(self, request: bytes) -> bool:
        """As the connection does, without a WebSocket's frame around it."""
        return self._ours.send(request) == len(request)

    def take(self) -> bytes:
        """What was written since."""
        return self._theirs.recv(1 << 20)

    def close(self) -> None:
        """Both ends."""
        self._ours.close()
        self._theirs.close()


class Stamps:
    """How long the calls inside a journey take, in their place: one number a name, of each journey."""

    def __init__(self) -> None:
        self._took_ns: dict[str, int] = {}
        self._began_ns: dict[str, int] = {}
        self.journeys: list[dict[str, int]] = []

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Have every call of `owner.method` measured under `name`, calls inside it included."""
        call, took, clock = getattr(owner, method), self._took_ns, time.perf_counter_ns

        def measured(*arguments: Any, **named: Any) -> Any:
            began = clock()
            try:
                return call(*arguments, **named)
            finally:
                took[name] = took.get(name, 0) + clock() - began

        setattr(owner, method, measured)

    def begin(self, name: str) -> None:
        """What `wrap_until` measures under `name` begins here."""
        self._began_ns[name] = time.perf_counter_ns()

    def note(self, name: str, took_ns: int) -> None:
        """What somebody else has measured."""
        self._took_ns[name] = took_ns

    def wrap_until(self, owner: Any, method: str, name: str) -> None:
        """Have the time from `begin(name)` to the end of a call of `owner.method` measured."""
        call, took, began, clock = getattr(owner, method), self._took_ns, self._began_ns, time.perf_counter_ns

        def measured(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            if name in began:
                took[name] = clock() - began[name]
            return result

        setattr(owner, method, measured)

    def begin_journey(self) -> None:
        """What was measured between two journeys belongs to none."""
        self._took_ns.clear()

    def end_journey(self) -> None:
        """What was measured since it began is one journey's."""
        self.journeys.append(dict(self._took_ns))

    def median_us(self, name: str) -> float:
        """Of all journeys but the first ones."""
        settled = self.journeys[len(self.journeys) // 5 :]
        return median(journey.get(name, 0) for journey in settled) / 1e3


SETTINGS = CoreSettings(
    new_orders=NewOrderSettings(
        deadline_ns=NS_PER_S, command_ttl_ns=FOREVER_NS, rest_fallback=False, queues_over_rate=False,
        queue_wait_ns_max=0,
    ),
    limits=OPEN_LIMITS, queue_orders_max=100, tier="auto", cancel_reserve_percent=0, rest_lag_ns_max=NS_PER_S,
    open_orders_check_ns=0,
    dead_man_s=0, dead_man_refresh_ns=NS_PER_S, token_refresh_ns=FOREVER_NS, breaker_failures=5,
    breaker_open_ns=60 * NS_PER_S, hang_ns_max=FOREVER_NS, cancels_on_halt=True,
)  # fmt: skip


class OrderPath:
    """Takes what a strategy asks for and what Kraken says, leaves frames and news."""

    def __init__(
        self, folder: Path, *, keeps_history: bool = False, more_pairs: int = 0, others: int = 0,
        are_called_with_balances: bool = False,
    ) -> None:  # fmt: skip
        """`more_pairs`: so many beside those of the capture are followed, without a book.

        `others`: so many strategies are there beside the one that trades; `are_called_with_balances`: all strategies.
        """
        clock = self.clock = SystemClock()
        boards = self._boards(clock, more_pairs)
        self.pair = boards.pair(SYMBOL)
        assert self.pair is not None
        self.journal = Journal.open(folder)[0]
        self.history = HistoryWriter(folder / "history.sqlite") if keeps_history else None
        self.eventfd = open_eventfd()
        command, account, report = (
            _gated(*sizes)
            for sizes in (
                (COMMAND_RECORD_BYTES, COMMAND_SLOTS),
                (ACCOUNT_RECORD_BYTES, ACCOUNT_SLOTS),
                (REPORT_RECORD_BYTES, REPORT_SLOTS),
            )
        )
        self.commands_in, self.reports_in = (
            MarkedPublisher(memory, [(0, self.eventfd)]) for memory in (command, report)
        )
        self.account_in = Publisher(account, [(0, self.eventfd)])  # for the lane, which takes no other kind
        self.commands_out, self.account_out, self.reports_out = (
            GatedSubscriber(memory, is_sized=True) for memory in (command, account, report)
        )

        self.frames = Frames()
        self.session = TradingSession(TradingSettings(answer_deadline_ns=FOREVER_NS))
        self.session.opened(clock.mono_ns())
        self.session.authorise(TOKEN, clock.mono_ns())
        self.boards = boards
        self.blotter = Blotter()
        now = self.now = Instant(clock.mono_ns(), clock.wall_ns())
        balances = bytearray(BALANCE_BOARD_BYTES)
        format_balance_board(balances)
        rings = {f"other{number:02}": _gated(REPORT_RECORD_BYTES, REPORT_SLOTS) for number in range(others)}
        self._reports_of_others = [GatedSubscriber(ring, is_sized=True) for ring in rings.values()]
        reports: dict[str, ReportPort] = {name: Publisher(ring) for name, ring in rings.items()}
        core_ports = Ports(
            now=now, session=self.session, socket=self.frames, calls=CallQueue(now), journal=self.journal,
            reports={STRATEGY: self.reports_in, **reports}, balances=BalanceBoardWriter(balances), boards=boards,
            words=None, history=self.history,
            on_sent=lambda issued_at, tick_at: None, on_acknowledged=lambda took_ns: None, chance=lambda: 0.5,
        )  # fmt: skip
        callers = frozenset((STRATEGY, *reports)) if are_called_with_balances else frozenset()
        settings = msgspec.structs.replace(SETTINGS, balance_callers=callers)
        self.core = build(settings, core_ports, self.blotter)
        self.core.rates.set_tier(UNLIMITED, clock.mono_ns())
        self.router = OrderRouter(self.core, now, commands=self.commands_out, account=self.account_out, clock=clock)
        self.core.begin()

        self.feed_session = PrivateSession(PrivateSettings())
        self.feed = PrivateFeed(
            self.feed_session,
            publisher=self.account_in,
            counters=new_counters(PRIVATE_FEED_COUNTERS),
            clock=clock,
            ask_token=_no_token,
        )
        self._begin_account()

        ports = OrderPorts(self.commands_in, self.reports_out, BalanceBoardReader(balances), "bench0", 1)
        self.client = OrderClient(STRATEGY, ports, {SYMBOL: self.pair}, clock)
        self.news()
        top = boards.top(SYMBOL)
        assert top is not None
        assert top.best_bid is not None
        self.bid = units_decimal(top.best_bid, top.price_decimals)
        self.options: OrderOptions = {"limit": self.bid, "post_only": True}
        self._executed = 0
        self._sequence = 1

    # --- the journey of an order

    def submit(self) -> Order:
        """The strategy's call: a limit order at the best bid, packed into the command ring."""
        return self.client.submit("buy", SYMBOL, QTY, self.options)

    def route(self) -> None:
        """One duty cycle of the router."""
        self.router.do_work()

    def answer(self, frame: bytes) -> None:
        """An answer on the trading connection."""
        events = self.session.receive(frame, self.clock.mono_ns())
        self.router.on_trading_events(events)
        self.core.end_burst()

    def execute(self, frame: bytes) -> None:
        """A frame on the private feed's connection, to the account ring."""
        if events := self.feed.receive(frame, self.clock.mono_ns()):
            self.feed.on_events(events)
        self.feed.on_burst_end()

    def news(self) -> list[News]:
        """All that the strategy would be called back with."""
        told = []
        while (one := self.client.next_news()) is not None:
            told.append(one)
        return told

    def take_reports_of_others(self) -> None:
        """What the others are told is taken, so that their rings never fill."""
        for reports in self._reports_of_others:
            reports.poll_many(REPORT_SLOTS)

    # --- Kraken's part

    def ack_frame(self, order: Order, number: int, method: str = "add_order") -> bytes:
        """Kraken's answer to the last request: it has done what `method` asked for."""
        return (
            f'{{"method":"{method}","req_id":{self.session._req_id},"result":{{"order_id":"{order_id(number)}",'
            f'"cl_ord_id":"{order.id}"}},"success":true,"time_in":"2026-01-22T06:06:19.832000Z",'
            f'"time_out":"2026-01-22T06:06:19.833000Z"}}'
        ).encode()

    def new_frames(self, order: Order, number: int) -> tuple[bytes, bytes]:
        """The rows that tell of an order's beginning, each a frame, as on the wire."""
        return (
            self._execution(
                f'"order_id":"{order_id(number)}","symbol":"{SYMBOL}","order_qty":0.00100000,"cum_cost":0.00000,'
                f'"time_in_force":"GTC","exec_type":"pending_new","side":"buy","order_type":"limit",'
                f'"cl_ord_id":"{order.id}","limit_price_type":"static","limit_price":{self.bid},"stop_price":0.0,'
                f'"order_status":"pending_new","fee_usd_equiv":0.0000,"fee_ccy_pref":"fciq",'
                f'"timestamp":"2026-01-22T06:06:19.833306Z","ratecount":1.00'
            ),
            self._execution(
                f'"timestamp":"2026-01-22T06:06:19.833306Z","order_status":"new","exec_type":"new",'
                f'"cl_ord_id":"{order.id}","order_id":"{order_id(number)}"'
            ),
        )

    def fill_frames(self, order: Order, number: int) -> tuple[bytes, bytes]:
        """The row of a fill, and that of the order's end by it."""
        self._executed += 1
        cost = QTY * self.bid
        return (
            self._execution(
                f'"order_id":"{order_id(number)}","cl_ord_id":"{order.id}","exec_id":"T{self._executed:06d}-BENCH-FILLED",'
                f'"exec_type":"trade","trade_id":{self._executed},"symbol":"{SYMBOL}","side":"buy","last_qty":0.00100000,'
                f'"last_price":{self.bid},"liquidity_ind":"m","cost":{cost},"order_type":"limit",'
                f'"timestamp":"2026-01-22T06:06:20.709993Z","order_status":"partially_filled","cum_qty":0.00100000,'
                f'"cum_cost":{cost},"avg_price":{self.bid},"fee_usd_equiv":0.1588,"fees":[{{"asset":"USD","qty":0.1588}}]'
            ),
            self._execution(
                f'"timestamp":"2026-01-22T06:06:20.709993Z","order_status":"filled","exec_type":"filled",'
                f'"cum_qty":0.00100000,"cum_cost":{cost},"fee_usd_equiv":0.1588,"avg_price":{self.bid},'
                f'"cl_ord_id":"{order.id}","order_id":"{order_id(number)}"'
            ),
        )

    def canceled_frame(self, order: Order, number: int) -> bytes:
        """The row of an order's end by a cancel, unfilled."""
        return self._execution(
            f'"timestamp":"2026-01-22T06:06:20.709993Z","order_status":"canceled","exec_type":"canceled",'
            f'"cum_qty":0.00000000,"cum_cost":0.00000,"fee_usd_equiv":0.0000,"avg_price":0.0,'
            f'"cl_ord_id":"{order.id}","order_id":"{order_id(number)}"'
        )

    def _execution(self, row: str) -> bytes:
        self._sequence += 1
        return f'{{"channel":"executions","type":"update","data":[{{{row}}}],"sequence":{self._sequence}}}'.encode()

    # --- making it

    def _boards(self, clock: SystemClock, more_pairs: int) -> MarketBoards:
        """The board as genuine frames have left it, and the pair's rules beside it."""
        frames = book_frames(CAPTURE_DEPTH_10)
        symbols = [*symbols_of(frames), *(f"P{number:04}/USD" for number in range(more_pairs))]
        memory = FeedPath.new_memory(symbols)
        FeedPath(symbols, memory).take(frames[:200])
        shard = Shard(0, tuple(symbols))
        index = symbols.index(SYMBOL)
        rules = PairRules(1, 1, 5000, Decimal("0.5"), "online", 5)
        BoardWriter(memory[1]).store(shard.pair_slot(index), pack_pair(index, 1, 8, rules, clock.mono_ns()))
        self.feed_counters = new_counters(shard.counter_names)
        self.feed_counters.set("heard_ns", clock.mono_ns())
        return MarketBoards([BoardPort(shard, memory[1], self.feed_counters)], clock)

    def _begin_account(self) -> None:
        """Both snapshots, empty."""
        now = self.clock.mono_ns()
        self.feed_session.opened(now)
        self.feed_session.authorise(TOKEN, now)
        self.feed_session.to_send()
        for channel in ("executions", "balances"):
            self.execute(f'{{"channel":"{channel}","type":"snapshot","data":[],"sequence":1}}'.encode())
        self.route()

    def close(self) -> None:
        """Give files back."""
        self.journal.close()
        self.frames.close()
        if self.history is not None:
            self.history.close()
        os.close(self.eventfd)


def order_id(number: int) -> str:
    """An order id as Kraken makes them."""
    return f"O{number:05d}-BENCH-ABCDEF"


def _gated(record_bytes: int, slot_count: int) -> memoryview:
    memory = Segment.create("bench", ring_bytes(record_bytes, slot_count, gate_count=1)).memory
    format_ring(memory, record_bytes=record_bytes, slot_count=slot_count, gate_count=1)
    return memory


async def _no_token() -> str:
    raise AssertionError
