"""What the order core needs from outside: plain calls that return at once, carried out by a
shell.

The process implements them with files, sockets and shared memory; the simulator and the
tests have their own.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from engine.instant import Instant
from engine.kraken.trading.session import TradingSession
from engine.kraken_rest.call_queue import CallQueue
from engine.market import Pair
from engine.orders.journal_records import Filled, Record, Snapshot
from engine.orders.rings.reports import Balance
from engine.orders.risk import TopOfBook
from engine.orders.tracked_order import TrackedOrder
from engine.units import MonoNs, PriceTicks


class JournalPort(Protocol):
    """The calls of `engine.orders.journal.Journal`. Raises JournalError for what could not
    be written.
    """

    @property
    def wants_compaction(self) -> bool: ...

    def append_encoded(self, *payloads: bytes) -> None: ...

    def append_all(self, records: Sequence[Record]) -> None: ...

    def compact(self, snapshot: Snapshot, unwritten: Sequence[Record] = ()) -> None: ...


class SocketPort(Protocol):
    """The trading connection's socket: it takes a request as a whole, or nothing of it."""

    @property
    def can_send(self) -> bool: ...

    @property
    def last_error(self) -> str:
        """Why it could not connect, or why the last connection ended; empty before that."""
        ...

    def send(self, request: bytes) -> bool: ...

    def send_due(self) -> None:
        """Write the frames that the session itself wants to send."""
        ...


class ReportPort(Protocol):
    """One strategy's report ring."""

    def try_publish(self, payload: bytes) -> bool: ...

    def flush(self) -> None: ...


class BalancePort(Protocol):
    """Where all strategies read the balances; see `engine.processes.balance_board`."""

    @property
    def assets(self) -> Sequence[str]:
        """All assets that were stored, by predecessors too."""
        ...

    def store(self, balance: Balance) -> None: ...

    def tell_all(self) -> None:
        """Mark the balances as complete: every asset of the account has been stored."""
        ...


class PlacePort(Protocol):
    """Where the book and the rules of one pair lie, for as long as the run lasts."""

    def pair(self) -> Pair | None: ...

    def best(self) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None: ...


class BoardsPort(Protocol):
    """Current books and rules of the pairs that this run follows."""

    def follows_book(self, symbol: str) -> bool:
        """Whether a book of this pair is there or to be expected."""
        ...

    def place(self, symbol: str) -> PlacePort | None:
        """The place of a pair, for repeated access; None for a pair that is not followed
        yet.
        """
        ...

    def pair(self, symbol: str) -> Pair | None: ...

    def top(self, symbol: str) -> TopOfBook | None: ...

    def best(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        """`top` as plain numbers: best bid, best ask, their decimals, whether the book is
        live, its age in ns.
        """
        ...

    def mark(self, symbol: str) -> Decimal | None: ...


class WordsPort(Protocol):
    """What the strategies are doing; see `engine.processes.callback_words`."""

    def callback(self, strategy: str) -> tuple[MonoNs, str]:
        """When the strategy's current callback began, and its name; (0, "") outside a
        callback.
        """
        ...

    def heartbeat_ns(self) -> int:
        """When the strategies' event loop last ran; 0 until all have returned from
        on_start.
        """
        ...


class HistoryPort(Protocol):
    """The order history, a database for people; its calls must not block."""

    def put(self, order: TrackedOrder, fill: Filled | None = None) -> bool:
        """Queue a change of an order to be stored; False if it was dropped."""
        ...


class Ports(NamedTuple):
    """Everything that the order core needs from outside."""

    now: Instant
    """The current time; the shell sets it before each input."""
    session: TradingSession
    """The trading session: numbers requests and decodes replies. The shell gives it its
    frames.
    """
    socket: SocketPort
    calls: CallQueue
    """The queue of calls to Kraken's REST API."""
    journal: JournalPort
    reports: Mapping[str, ReportPort]
    """Report rings by strategy."""
    balances: BalancePort
    boards: BoardsPort
    words: WordsPort | None
    """None: hanging strategies are not watched for."""
    history: HistoryPort | None
    on_sent: Callable[[MonoNs, MonoNs], None]
    """Called when an order's bytes were written, with the times of the strategy's command
    and of the market record that caused it; 0 where there is none.
    """
    on_acknowledged: Callable[[int], None]
    """Called with the time that an acknowledgement took, in nanoseconds."""
    chance: Callable[[], float]
    """Random numbers from 0 (inclusive) to 1, for jitter."""
    on_took: Callable[[str, int], None] | None = None
    """See `OrderRecords`; None: not measured."""
