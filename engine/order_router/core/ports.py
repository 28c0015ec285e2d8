"""What the order core needs of the world: plain calls, each answered at once, that a shell carries out.

A process gives it files, sockets and shared memory; the simulator and the tests give it theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from engine.instant import Instant
from engine.kraken.trading.session import TradingSession
from engine.kraken_rest.call_queue import CallQueue
from engine.market import Pair
from engine.orders.journal_records import Filled, Record, Snapshot
from engine.orders.risk import TopOfBook
from engine.orders.tracked_order import TrackedOrder
from engine.units import MonoNs, PriceTicks


class JournalPort(Protocol):
    """What `engine.orders.journal.Journal` does. JournalError, at once, for what could not be written."""

    @property
    def wants_compaction(self) -> bool: ...

    def append(self, record: Record) -> None: ...

    def append_all(self, records: Sequence[Record]) -> None: ...

    def compact(self, snapshot: Snapshot) -> None: ...


class SocketPort(Protocol):
    """The trading connection: it takes a request whole, or not at all."""

    @property
    def can_send(self) -> bool: ...

    def send(self, request: bytes) -> bool: ...

    def send_due(self) -> None:
        """Write what the session has to send of its own."""
        ...


class ReportPort(Protocol):
    """One strategy's report ring."""

    def try_publish(self, payload: bytes) -> bool: ...

    def flush(self) -> None: ...


class BoardsPort(Protocol):
    """Books and rules of the pairs that this run follows, as they are now."""

    @property
    def symbols(self) -> Sequence[str]: ...

    def pair(self, symbol: str) -> Pair | None: ...

    def top(self, symbol: str) -> TopOfBook | None: ...

    def best(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        """`top` as plain numbers: best bid and ask, their decimals, is the book live, its age in ns."""
        ...

    def mark(self, symbol: str) -> Decimal | None: ...


class WordsPort(Protocol):
    """What the strategies are in: see `engine.processes.callback_words`."""

    def callback(self, strategy: str) -> tuple[MonoNs, str]:
        """When the callback began that is under way, and its name; (0, "") while there is none."""
        ...

    def heartbeat_ns(self) -> int:
        """When the strategies' event loop last turned over; 0 before all have come back from on_start."""
        ...


class HistoryPort(Protocol):
    """The database for people; it must not wait."""

    def put(self, order: TrackedOrder, fill: Filled | None = None) -> bool:
        """Have a change of an order written; False when it was dropped."""
        ...


class Ports(NamedTuple):
    """All of them."""

    now: Instant
    """Set by the shell before each input."""
    session: TradingSession
    """Numbers requests and reads what comes back; the shell gives it its frames."""
    socket: SocketPort
    calls: CallQueue
    """To Kraken's REST."""
    journal: JournalPort
    reports: Mapping[str, ReportPort]
    """By strategy."""
    boards: BoardsPort
    words: WordsPort | None
    """None: nobody looks after hanging strategies."""
    history: HistoryPort | None
    on_sent: Callable[[MonoNs, MonoNs], None]
    """Told when an order's bytes have been written: when the strategy asked for it, and the record that moved it; 0
    where there is none."""
    on_acknowledged: Callable[[int], None]
    """Told how long an answer took, in nanoseconds."""
    chance: Callable[[], float]
    """Numbers from 0 up to 1, for pauses."""
