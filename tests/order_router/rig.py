"""The order router of a test: the real core behind its real duty cycle and rings, under a clock that a test moves.

    .commands, .account ─► rings ─► OrderRouter ─► OrderCore ─► JournalInMemory, Socket, CallQueue, report rings

What stands in for the world is as small as its port: a socket that keeps what is written, a journal on no disk, books
that are what a test says. `begin_anew` is the death of the process and the start of the next: journal, rings and clock
stay, everything else is gone.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.instant import Instant
from engine.kraken.rest.replies import read_asset_pairs
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.kraken_rest.call_counter import CallCounter
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.market import Pair
from engine.order_router.core.new_orders import NewOrderSettings
from engine.order_router.core.order_core import OrderCore, build
from engine.order_router.core.ports import HistoryPort, JournalPort, Ports, WordsPort
from engine.order_router.core.settings import CoreSettings
from engine.order_router.router import OrderRouter
from engine.orders.blotter import Blotter, fold
from engine.orders.journal_format import pack_header, pack_record, scan
from engine.orders.journal_records import (
    JournalError,
    Record,
    RunBegan,
    Snapshot,
    decode_record,
    encode_record,
    records_of_run,
)
from engine.orders.rings.account_ring import ACCOUNT_FACTS, ACCOUNT_RECORD_BYTES
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMANDS, Command
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORTS, Report
from engine.orders.risk import RiskLimits, TopOfBook
from engine.orders.venue_facts import AccountFact, BalanceFact, ExecutionFact, FeedAlive, SnapshotBegan, SnapshotEnded
from engine.processes.balance_board import (
    BALANCE_BOARD_BYTES,
    BalanceBoardReader,
    BalanceBoardWriter,
    format_balance_board,
)
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks
from tests.clocks import ShellClock
from tests.orders.rig import AT, PAIRS

MONO_AT = 10**12
STRATEGY = "quoter"
TOKEN = "WW91ciBhdXRoZW50aWNhdGlvbiB0b2tlbiBnb2VzIGhlcmUu"
TICK_NS = 20 * NS_PER_MS  # how finely time passes here: the core's own timer

SETTINGS = CoreSettings(
    new_orders=NewOrderSettings(
        deadline_ns=NS_PER_S,
        command_ttl_ns=NS_PER_S,
        rest_fallback=True,
        queues_over_rate=False,
        queue_wait_ns_max=0,
    ),
    limits=RiskLimits(duplicate_window_ns=0, trade_while_unknown=True),
    queue_orders_max=10,
    tier="auto",
    cancel_reserve_percent=20,
    rest_lag_ns_max=60 * NS_PER_S,
    open_orders_check_ns=60 * NS_PER_S,
    dead_man_s=0,
    dead_man_refresh_ns=20 * NS_PER_S,
    token_refresh_ns=600 * NS_PER_S,
    breaker_failures=1000,
    breaker_open_ns=60 * NS_PER_S,
    hang_ns_max=5 * NS_PER_S,
    cancels_on_halt=True,
)
"""As configured by default, where that does not get into a test's way."""


def ring(record_bytes: int, slot_count: int = 64) -> bytearray:
    """A ring for one publisher and one subscriber."""
    memory = bytearray(ring_bytes(record_bytes, slot_count, gate_count=1))
    format_ring(memory, record_bytes=record_bytes, slot_count=slot_count, gate_count=1, is_zeroed=True)
    return memory


def balance_board() -> bytearray:
    """An empty board of balances."""
    memory = bytearray(BALANCE_BOARD_BYTES)
    format_balance_board(memory, is_zeroed=True)
    return memory


def asset_pairs_body(pairs: Mapping[str, Pair] = PAIRS) -> bytes:
    """Kraken's answer to AssetPairs."""
    rows = {
        pair.symbol.replace("/", ""): {
            "altname": pair.symbol.replace("/", ""),
            "wsname": pair.symbol,
            "base": pair.symbol.partition("/")[0],
            "quote": pair.symbol.partition("/")[2],
            "pair_decimals": pair.price_decimals,
            "lot_decimals": pair.qty_decimals,
            "status": "online",
        }
        for pair in pairs.values()
    }
    return msgspec.json.encode({"error": [], "result": rows})


Step = Callable[[str], None]
"""Called between two steps of the router, with their names: where a test has the process die, by raising."""


def _nothing(step: str) -> None:
    """The process lives on."""


class JournalInMemory:
    """A journal in bytes, as on disk: what a crash leaves is read from them."""

    wants_compaction = False

    def __init__(self) -> None:
        self.content = bytearray(pack_header(1, 1))
        self.segments = 1
        # The same records, each for itself.
        self.encoded: list[bytes] = []
        # Why nothing can be written; empty while it can.
        self.refuses = ""
        self.on_step: Step = _nothing

    def append(self, record: Record) -> None:
        self.append_all((record,))

    def append_all(self, records: Sequence[Record]) -> None:
        self.append_encoded(*map(encode_record, records))

    def append_encoded(self, *payloads: bytes) -> None:
        if self.refuses:
            raise JournalError(self.refuses)
        self.on_step("before the journal")
        for place, payload in enumerate(payloads):
            if place:
                self.on_step("between two records of one write")
            self.encoded.append(payload)
            self.content += pack_record(len(self.encoded), self.encoded[-1])
        self.on_step("after the journal")

    def compact(self, snapshot: Snapshot, unwritten: Sequence[Record] = ()) -> None:
        """What was before is gone: as of a segment that is no longer kept."""
        if self.refuses:
            raise JournalError(self.refuses)
        self.content = bytearray(pack_header(self.segments + 1, len(self.encoded) + 1))
        self.segments += 1
        encoded = tuple(msgspec.Raw(encode_record(record)) for record in unwritten)
        self.append(msgspec.structs.replace(snapshot, unwritten=encoded))

    def records(self) -> list[Record]:
        """Everything, from its bytes."""
        found = scan(bytes(self.content))
        assert found.damage is None
        assert not found.torn_bytes
        return [decode_record(payload) for _, payload in found.payloads]


class Socket:
    """The trading connection's write side: keeps what is written, for whoever is at its other end."""

    def __init__(self, session: TradingSession) -> None:
        self._session = session
        self.can_send = True
        # Whether `send` keeps what `can_send` promises: a connection may end in between.
        self.takes = True
        self.last_error = ""
        self.sent: list[bytes] = []
        self.on_step: Step = _nothing

    def send(self, request: bytes) -> bool:
        if not self.can_send or not self.takes:
            return False
        self.on_step("before the socket")
        self.sent.append(request)
        self.on_step("after the socket")
        return True

    def send_due(self) -> None:
        self.sent += self._session.to_send()

    def take(self) -> list[dict[str, Any]]:
        """What was written since the last time."""
        sent, self.sent = self.sent, []
        return [msgspec.json.decode(request) for request in sent]


class Reports:
    """A report ring's publishing side, with a step before and after each record."""

    def __init__(self, memory: bytearray) -> None:
        self._publisher = Publisher(memory)
        self.on_step: Step = _nothing

    def try_publish(self, payload: bytes) -> bool:
        self.on_step("before the report")
        has_room = self._publisher.try_publish(payload)
        self.on_step("after the report")
        return has_room

    def flush(self) -> None:
        self._publisher.flush()


class Place:
    """One pair on the boards."""

    def __init__(self, boards: "Boards", symbol: str) -> None:
        self._boards, self._symbol = boards, symbol

    def pair(self) -> Pair | None:
        return self._boards.pair(self._symbol)

    def best(self) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        return self._boards.best(self._symbol)


class Boards:
    """Books and rules of pairs, as a test says they are."""

    def __init__(self, pairs: Mapping[str, Pair] = PAIRS) -> None:
        self.pairs = dict(pairs)
        self.marks: dict[str, Decimal] = {}
        # The best prices of every pair (None: there is none), and whether books are live.
        self.bid: int | None = 100
        self.ask: int | None = 101
        self.is_live = True
        # False: books are told, and Kraken has not said yet what orders there may be.
        self.has_rules = True

    def follows_book(self, symbol: str) -> bool:
        return symbol in self.pairs

    def place(self, symbol: str) -> "Place | None":
        return Place(self, symbol) if symbol in self.pairs else None

    def pair(self, symbol: str) -> Pair | None:
        return self.pairs.get(symbol) if self.has_rules else None

    def top(self, symbol: str) -> TopOfBook | None:
        pair = self.pairs.get(symbol)
        if pair is None:
            return None
        bid, ask = (price and PriceTicks(price * 10**pair.price_decimals) for price in (self.bid, self.ask))
        return TopOfBook(bid, ask, pair.price_decimals, self.is_live, 0)

    def best(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        top = self.top(symbol)
        return top and (top.best_bid, top.best_ask, top.price_decimals, top.is_live, top.age_ns)

    def mark(self, symbol: str) -> Decimal | None:
        return self.marks.get(symbol)


class RouterRig:
    """One router after the other, on the same rings and the same journal."""

    def __init__(
        self,
        *,
        strategies: Sequence[str] = (STRATEGY,),
        settings: CoreSettings = SETTINGS,
        journal: JournalPort | None = None,
        words: WordsPort | None = None,
        history: HistoryPort | None = None,
        boards: Boards | None = None,
        clock: ShellClock | None = None,
        chance: Callable[[], float] = lambda: 0.5,
        on_step: Step = _nothing,
    ) -> None:
        """`journal`: one of a test's own, whose records it begins with are none."""
        self.clock = clock or ShellClock(MONO_AT, AT)
        self.settings = settings
        self.memory = JournalInMemory()
        self.journal: JournalPort = journal or self.memory
        self.boards = boards or Boards()
        self._words, self._history, self._chance, self._on_step = words, history, chance, on_step
        self.command_ring, self.account_ring = ring(COMMAND_RECORD_BYTES), ring(ACCOUNT_RECORD_BYTES)
        self.commands, self.account = Publisher(self.command_ring), Publisher(self.account_ring)
        self.report_rings = {strategy: ring(REPORT_RECORD_BYTES) for strategy in strategies}
        self.readers = {
            strategy: GatedSubscriber(memory, is_sized=True) for strategy, memory in self.report_rings.items()
        }
        self.balance_board = balance_board()
        self.balance_reader = BalanceBoardReader(self.balance_board)
        # Answers' latencies, as the core told them.
        self.took_ns: list[int] = []
        # Steps of orders' lives, and how long they took, likewise.
        self.took: list[tuple[str, int]] = []
        self.lives, self.run = 0, 1
        # Of the key, as the next router finds it noted.
        self.key_tier = "starter"
        self.begin_anew(Blotter() if journal is not None else None)

    @property
    def now(self) -> Instant:
        return self.clock.now

    def begin_anew(self, blotter: Blotter | None = None) -> None:
        """A router process begins: over what the journal comes to, or `blotter`, with nothing sent and nobody reached.

        `core.begin` must follow.
        """
        self.lives += 1
        before = self.memory.records() if blotter is None else ()
        began = RunBegan(self.run, "test", "key", self.clock.wall_ns())
        self.journal.append(began)
        blotter = fold(before) if blotter is None else blotter
        blotter.apply(began)
        self.session = TradingSession(TradingSettings(answer_deadline_ns=3 * NS_PER_S // 2))
        self.socket = Socket(self.session)
        self.calls = CallQueue(self.now, counter=CallCounter(self.key_tier))
        reports = {strategy: Reports(memory) for strategy, memory in self.report_rings.items()}
        for stepping in (self.memory, self.socket, *reports.values()):
            stepping.on_step = self._on_step
        self.calls.on_put = lambda: self._on_step("a call is put")
        ports = Ports(
            now=self.now,
            session=self.session,
            socket=self.socket,
            calls=self.calls,
            journal=self.journal,
            reports=reports,
            balances=BalanceBoardWriter(self.balance_board),
            boards=self.boards,
            words=self._words,
            history=self._history,
            on_sent=lambda issued_at, tick_at: None,
            on_acknowledged=self.took_ns.append,
            chance=self._chance,
            on_took=lambda step, ns: self.took.append((step, ns)),
        )
        of_run = records_of_run(before, self.run)
        self.core: OrderCore = build(self.settings, ports, blotter, written_in_run=of_run)
        self.router = OrderRouter(
            self.core,
            self.now,
            commands=GatedSubscriber(self.command_ring, is_sized=True),
            account=GatedSubscriber(self.account_ring, is_sized=True),
            clock=self.clock,
        )

    # --- in

    def command(self, *commands: Command) -> None:
        """A strategy asks, and the router takes it."""
        for command in commands:
            assert self.commands.try_publish(COMMANDS.pack(command))
        self.work()

    def fact(self, *facts: AccountFact) -> None:
        """The private feed tells, and the router takes it."""
        for fact in facts:
            assert self.account.try_publish(ACCOUNT_FACTS.pack(fact))
        self.work()

    def work(self) -> None:
        """Turns of the router, until there is nothing more to take."""
        while self.router.do_work():
            pass

    def connect(self) -> None:
        """The trading connection is up, and has its token."""
        self.session.opened(self.clock.mono_ns())
        self.session.authorise(TOKEN, self.clock.mono_ns())

    def frame(self, message: Mapping[str, Any]) -> None:
        """Kraken says so on the trading connection."""
        now = self.clock.mono_ns()
        self.router.on_trading_events(self.session.receive(msgspec.json.encode(message), now))
        self.core.end_burst()

    def snapshot(self, *listed: ExecutionFact) -> None:
        """The private feed is there (again), with these orders open."""
        asked_at = self.clock.mono_ns()
        self.fact(
            FeedAlive(asked_at, asked_at),
            SnapshotBegan("executions"),
            *listed,
            SnapshotEnded("executions", None, asked_at),
            SnapshotBegan("balances"),
            BalanceFact(asset="USD", balance=Decimal(1_000_000), is_snapshot=True),
            SnapshotEnded("balances"),
        )

    # --- REST, by hand

    def take_call(self, name: str = "") -> RestCall:
        """The next call that is due; of this name, if one is given."""
        call = self.calls.take_due()
        assert call is not None, f"nothing is asked where {name or 'a call'} is awaited"
        assert name in ("", call.request.name)
        return call

    def know_pairs(self) -> None:
        """REST has told how it names pairs: nothing else can be asked before."""
        self.work_for(TICK_NS)
        for _ in range(2):
            call = self.take_call("AssetPairs")
            self.calls.answered(call, 200, asset_pairs_body())
            self.router.end_answer()

    def answer(self, call: RestCall, result: Any) -> None:
        """Kraken's REST has answered."""
        self.router.look_at_clock()
        self.calls.answered(call, 200, msgspec.json.encode({"error": [], "result": result}))
        self.router.end_answer()

    # --- time

    def work_for(self, duration_ns: int, each: Callable[[], None] = lambda: None) -> None:
        """Let time pass, tick by tick; `each` is done before each turn."""
        for _ in range(-(-duration_ns // TICK_NS)):
            self.clock.advance(TICK_NS)
            each()
            self.router.on_trading_events(self.session.poll(self.clock.mono_ns()))
            self.socket.send_due()
            self.work()

    def keep_alive(self) -> None:
        """The private feed is heard, and has answered a ping."""
        now = MonoNs(self.clock.mono_ns())
        assert self.account.try_publish(ACCOUNT_FACTS.pack(FeedAlive(now, now)))

    # --- out

    def told(self, strategy: str = STRATEGY) -> list[Report]:
        """What this strategy finds in its ring."""
        self.core.end_burst()
        found: list[Report] = []
        while (record := self.readers[strategy].poll()) is not None:
            found.append(REPORTS.unpack(record))
        return found


assert read_asset_pairs(200, asset_pairs_body()) is not None
