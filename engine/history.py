"""Orders and fills for people, in SQLite: `engine fills`, `engine orders --since 12h`, or
any SQL tool.

    router ─► put ─► bounded queue ─► thread ─► history.sqlite (WAL)
                         └─ full: counted, and rebuilt from the journal by the next reader

Trading does not depend on this file: it can be deleted at any time, and is rebuilt from the
journal. A slow or full disk only loses rows here. The file does not take the journal's
room: the WAL is bounded, and while the disk is nearly full it is truncated and nothing is
written. Numbers are exact text, as Kraken writes them; times are UTC text to the
microsecond, beside nanoseconds since 1970 in the columns that end in `_ns`.
"""

import errno
import itertools
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from msgspec import Struct
from msgspec.structs import astuple, replace

from engine.errors import EngineError, UserError
from engine.orders.blotter import Blotter
from engine.orders.journal import SUFFIX, journal_end
from engine.orders.journal_records import Filled, Record, Snapshot
from engine.orders.tracked_order import TrackedOrder
from engine.timestamps import time_us_text
from engine.units import WallNs, units_text

SCHEMA_VERSION: Final = 2
QUEUE_ROWS_MAX: Final = 50_000  # some minutes of the busiest trading; about 30 MB
CHANGES_TAKEN_MAX: Final = 4096  # at once: of an order that changed several times only its last state is written
BATCH_ROWS_MAX: Final = 64  # of one transaction: some 2 ms, in which the router's own thread gets its turns
REBUILD_ROWS_MAX: Final = 1000
WRITE_INTERVAL_S: Final = 0.25
RETRY_INTERVAL_S: Final = 1.0  # after a failed write
BUSY_MS: Final = 5000  # how long one writer waits for another
CLOSE_DEADLINE_S: Final = 5.0
ROWS_MAX: Final = 10_000  # of one query
WAL_PAGES_MAX: Final = 64  # of 4 kB, before they are moved into the file; readers may hold that up for a while
WAL_BYTES_KEPT: Final = 256 * 1024  # of a WAL that was moved into the file
WAL_BYTES_MAX: Final = 8 * 1024 * 1024  # behind a reader that does not end; then rows wait, and at last are dropped
PRIMARY_CODE: Final = 0xFF  # of SQLite's result codes; what is beyond says more
DISK_FREE_BYTES_MIN: Final = 2 * 1024 * 1024  # less is for the journal alone

log = structlog.get_logger("history")


class OrderRow(Struct, frozen=True):
    """One order as it stands. The columns of `orders`, in their order."""

    id: str
    """The engine's key: its client order id; of an order that is not ours, Kraken's id."""
    order_id: str
    strategy: str
    symbol: str
    side: str
    type: str
    qty: str
    """0 for an order that names the money, in `cash_qty`."""
    cash_qty: str | None
    filled: str
    limit_price: str | None
    avg_price: str | None
    cost: str
    fees: str
    """As `0.0026 USD`; several assets with a comma between them."""
    state: str
    reason: str
    time_in_force: str
    post_only: bool
    route: str
    submitted_at: str
    changed_at: str
    submitted_ns: int
    changed_ns: int


class FillRow(Struct, frozen=True):
    """One fill. The columns of `fills`, in their order."""

    exec_id: str
    id: str
    """Of its order, as in `orders`."""
    order_id: str
    trade_id: int
    strategy: str
    symbol: str
    side: str
    qty: str
    price: str
    cost: str
    fees: str
    liquidity: str
    kraken_time: str
    kraken_ns: int


class HistoryError(UserError):
    """The history cannot be read; the text says what to do."""


class _NoRoom(OSError):
    """The room that is left on the disk is for the journal."""


def _columns(row: type[Struct]) -> str:
    return ", ".join(row.__struct_fields__)


def _marks(row: type[Struct]) -> str:
    return ", ".join("?" * len(row.__struct_fields__))


_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, order_id TEXT, strategy TEXT, symbol TEXT, side TEXT, type TEXT, qty TEXT, cash_qty TEXT,
    filled TEXT, limit_price TEXT, avg_price TEXT, cost TEXT, fees TEXT, state TEXT, reason TEXT, time_in_force TEXT,
    post_only INTEGER, route TEXT, submitted_at TEXT, changed_at TEXT, submitted_ns INTEGER, changed_ns INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (submitted_ns);
CREATE INDEX IF NOT EXISTS orders_by_strategy ON orders (strategy, submitted_ns);
CREATE INDEX IF NOT EXISTS orders_by_symbol ON orders (symbol, submitted_ns);
CREATE INDEX IF NOT EXISTS orders_by_order_id ON orders (order_id);
CREATE TABLE IF NOT EXISTS fills (
    exec_id TEXT PRIMARY KEY, id TEXT, order_id TEXT, trade_id INTEGER, strategy TEXT, symbol TEXT, side TEXT,
    qty TEXT, price TEXT, cost TEXT, fees TEXT, liquidity TEXT, kraken_time TEXT, kraken_ns INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fills_by_order ON fills (id);
CREATE INDEX IF NOT EXISTS fills_by_time ON fills (kraken_ns);
-- How many times rows were lost, and how many of those were rebuilt from the journal; is a writer at work?
CREATE TABLE IF NOT EXISTS condition (one INTEGER PRIMARY KEY CHECK (one = 1), lost INTEGER, mended INTEGER,
    is_open INTEGER);
PRAGMA user_version = {SCHEMA_VERSION};
"""

# Where the journal ended when all of it was here; without a row in files that nobody has
# brought up to date since they have this table.
_REACH = "CREATE TABLE IF NOT EXISTS reach (one INTEGER PRIMARY KEY CHECK (one = 1), journal TEXT)"
_PUT_REACH = "INSERT OR REPLACE INTO reach VALUES (1, ?)"

# An older state never replaces a newer one: the writer and a mend may run side by side.
_PUT_ORDER = (
    f"INSERT INTO orders ({_columns(OrderRow)}) VALUES ({_marks(OrderRow)}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in OrderRow.__struct_fields__ if name != "id")
    + " WHERE excluded.changed_ns >= orders.changed_ns"
)
_PUT_FILL = f"INSERT OR REPLACE INTO fills ({_columns(FillRow)}) VALUES ({_marks(FillRow)})"


# --- rows


def order_row(order: TrackedOrder) -> OrderRow:
    """An order as it stands now."""
    intent, decimals = order.intent, order.qty_decimals
    avg_price = order.avg_price
    return OrderRow(
        id=order.key,
        order_id=order.order_id,
        strategy=order.strategy,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.order_type,
        qty=units_text(order.qty, decimals),
        cash_qty=None if intent.cash_qty is None else f"{intent.cash_qty:f}",
        filled=units_text(order.filled + order.filled_before, decimals),
        limit_price=None if order.limit_price is None else units_text(order.limit_price, order.price_decimals),
        avg_price=None if avg_price is None else f"{avg_price:f}",
        cost=f"{order.cost:f}",
        fees=_fees_text(order.fees.items()),
        state=order.state.value,
        reason=order.reason,
        time_in_force=intent.time_in_force,
        post_only=intent.post_only,
        route=order.route,
        submitted_at=time_us_text(order.submitted_at),
        changed_at=time_us_text(order.changed_at),
        submitted_ns=order.submitted_at,
        changed_ns=order.changed_at,
    )


def order_object(columns: Mapping[str, Any], pending: str = "") -> dict[str, Any]:
    """An order as JSON: its columns, with fees as an object of asset and amount."""
    fees = _fees_object(columns)
    return {"cash_qty": None, **columns, "fees": fees, "post_only": bool(columns["post_only"]), "pending": pending}


def fill_row(order: TrackedOrder, fill: Filled) -> FillRow:
    """One fill of an order."""
    return FillRow(
        exec_id=fill.exec_id,
        id=order.key,
        order_id=order.order_id,
        trade_id=fill.trade_id,
        strategy=order.strategy,
        symbol=order.intent.symbol,
        side=order.intent.side,
        qty=units_text(fill.qty, fill.qty_decimals),
        price=f"{fill.price:f}",
        cost=f"{fill.cost:f}",
        fees=_fees_text(fill.fees_by_asset().items()),
        liquidity=fill.liquidity,
        kraken_time=time_us_text(fill.kraken_time),
        kraken_ns=fill.kraken_time,
    )


def fill_object(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A fill as JSON: its columns, with fees as an object of asset and amount."""
    return {**columns, "fees": _fees_object(columns)}


class _Change(NamedTuple):
    """A copy of an order, and the fill that changed it."""

    order: TrackedOrder
    fill: Filled | None


def _fees_text(fees: Iterable[tuple[str, Decimal]]) -> str:
    return ", ".join(f"{qty:f} {asset}" for asset, qty in fees)


def _fees_object(columns: Mapping[str, Any]) -> dict[str, str]:
    return dict(reversed(fee.split(" ")) for fee in columns["fees"].split(", ") if fee)


# --- writing


class HistoryWriter:
    """Writes rows in a thread of its own; `put` appends to its queue and never waits."""

    def __init__(
        self, path: Path, *, queue_rows_max: int = QUEUE_ROWS_MAX, interval_s: float = WRITE_INTERVAL_S
    ) -> None:
        self.path = path
        self._queue: deque[_Change] = deque()
        # What was taken from the queue comes to these rows; and how much was taken that is
        # not all written.
        self._rows: list[OrderRow | FillRow] = []
        self._taken = 0
        self._queue_rows_max = queue_rows_max
        self._interval_s = interval_s
        self._stop = threading.Event()
        # Rows dropped for a full queue; the next successful write marks the file as
        # incomplete.
        self.dropped = 0
        self._dropped_marked = 0
        self.written = 0
        self.errors = 0
        self.last_error = ""
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Changes that are not written yet."""
        return len(self._queue) + self._taken

    def put(self, order: TrackedOrder, fill: Filled | None = None) -> bool:
        """Queue an order as it stands now, with the fill that changed it; False when the
        queue is full."""
        if self.waiting >= self._queue_rows_max:
            self.dropped += 1
            return False
        # The texts are made by the thread, from a copy: the order goes on changing.
        self._queue.append(_Change(replace(order, fees=dict(order.fees)), fill))
        return True

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write the queue and end the thread; after `deadline_s` seconds it is abandoned,
        and rebuilt later."""
        self._stop.set()
        self._thread.join(deadline_s)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        has_begun = False
        while True:
            is_last = self._stop.is_set()
            try:
                if connection is None:
                    connection = _open_to_write(self.path)
                _check_room(self.path, connection)
                if not has_begun:
                    _begin_writing(connection)
                    has_begun = True  # opened again later, the file lacks nothing for that
                self._write(connection, CHANGES_TAKEN_MAX - 1 if not is_last else 0)
            except (sqlite3.Error, OSError) as error:
                # The rows are kept and tried again; meanwhile the queue fills up, and then
                # rows are dropped.
                self._note_failure(error)
                if connection is not None:
                    with suppress(sqlite3.Error):
                        connection.close()
                connection = None
                if is_last:
                    return
                self._stop.wait(RETRY_INTERVAL_S)
                continue
            if is_last:
                with suppress(sqlite3.Error, OSError):
                    with connection:
                        connection.execute("UPDATE condition SET is_open = 0")
                        connection.execute(_PUT_REACH, (journal_end(self.path.parent),))
                    connection.close()
                return
            self._stop.wait(self._interval_s)

    def _write(self, connection: sqlite3.Connection, left_max: int) -> None:
        """Write what the queue holds, until no more than `left_max` changes have come
        meanwhile: they wait for what changes the same orders next.
        """
        while True:
            if not self._rows:
                self._take()
            dropped = self.dropped
            if not self._rows and dropped == self._dropped_marked:
                return
            with connection:
                _put_rows(connection, self._rows[:BATCH_ROWS_MAX])
                if dropped != self._dropped_marked:
                    connection.execute("UPDATE condition SET lost = lost + 1")
            self._dropped_marked = dropped
            del self._rows[:BATCH_ROWS_MAX]
            if not self._rows:
                self.written += self._taken
                self._taken = 0
            _check_room(self.path, connection)
            if not self._rows and len(self._queue) <= left_max:
                return

    def _take(self) -> None:
        """Take the next changes, as the rows that they come to."""
        self._taken = min(len(self._queue), CHANGES_TAKEN_MAX)
        changes = [self._queue.popleft() for _ in range(self._taken)]
        orders = {order.key: order for order, _ in changes}
        fills = [fill_row(order, fill) for order, fill in changes if fill is not None]
        self._rows = [*map(order_row, orders.values()), *fills]

    def _note_failure(self, error: Exception) -> None:
        self.errors += 1
        if str(error) != self.last_error:
            log.error("history not written, trading goes on", path=str(self.path), reason=str(error))
        self.last_error = str(error)


def _check_room(path: Path, connection: sqlite3.Connection) -> None:
    """Truncate the WAL if need be; _NoRoom when the disk is nearly full or a reader keeps
    the WAL too long."""
    disk = os.statvfs(path.parent)
    is_short = disk.f_bavail * disk.f_frsize < DISK_FREE_BYTES_MIN
    wal = _wal_of(path)
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    if wal_bytes > (0 if is_short else WAL_BYTES_MAX):
        # Never waits for a reader: what it holds up is tried again with the next rows.
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            is_held_up = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if is_held_up and not is_short:
            raise _NoRoom(f"{wal.name} has {wal_bytes:,} bytes, which a reader does not let go; end that program")
    if is_short:
        raise _NoRoom(f"less than {DISK_FREE_BYTES_MIN // 1024**2} MB are free, which are for the journal; make room")


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _open_to_write(path: Path) -> sqlite3.Connection:
    """Open the file, or create it; one that is damaged or not ours is moved aside and begun
    anew."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        raise  # locked, full, read-only: it may pass
    except sqlite3.DatabaseError as error:
        aside = _free_name(path.with_suffix(".broken"))
        log.error("history cannot be used and is begun anew", path=str(path), reason=str(error), moved_to=str(aside))
        path.replace(aside)
        for left in (_wal_of(path), path.with_name(path.name + "-shm")):
            left.unlink(missing_ok=True)
        return _connect(path)


def _free_name(path: Path) -> Path:
    """This path, or with the first number behind it that nothing has."""
    if not os.path.lexists(path):
        return path
    names = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(name for name in names if not os.path.lexists(name))


def _connect(path: Path) -> sqlite3.Connection:
    # Made here, for SQLite would let everybody read it, and gives the WAL the permissions
    # that the file has.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"a newer engine wrote it (version {version})")
        if version == 1:
            connection.execute("ALTER TABLE orders ADD COLUMN cash_qty TEXT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        if version != SCHEMA_VERSION:
            connection.executescript(_SCHEMA)
        with connection:
            # A file that begins is incomplete until the journal has been read into it.
            connection.execute("INSERT OR IGNORE INTO condition VALUES (1, 1, 0, 0)")
            connection.execute(_REACH)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_writing(connection: sqlite3.Connection) -> None:
    """Mark the file as being written; one that a killed writer left so is counted as
    incomplete."""
    with connection:
        connection.execute("UPDATE condition SET lost = lost + is_open, is_open = 1")


def _put_rows(connection: sqlite3.Connection, rows: Sequence[OrderRow | FillRow]) -> None:
    connection.executemany(_PUT_ORDER, [astuple(row) for row in rows if isinstance(row, OrderRow)])
    connection.executemany(_PUT_FILL, [astuple(row) for row in rows if isinstance(row, FillRow)])


def copy_history(path: Path, target: Path) -> bool:
    """Copy a history that may be written meanwhile, as it is at one moment; False when
    there is none. Raises HistoryError when it cannot be read, OSError when the copy cannot
    be written.
    """
    if not path.exists():
        return False
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(_open_to_read(path)) as source, closing(sqlite3.connect(target)) as copy:
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL beside it
        except sqlite3.Error as error:
            if _is_damage(error):
                raise _unreadable(path, error) from None
            number = errno.ENOSPC if error.sqlite_errorcode == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(number, str(error), str(target)) from None
    return True


# --- rebuilding and reading: in the process of the reader, never in the router


def is_incomplete(path: Path, *, is_running: bool) -> bool:
    """True if the file may lack rows that the journal has.

    So it is after dropped rows, after a killed writer, and while an engine runs without a
    writer (`trading.history = false`), or has run so.
    """
    try:
        with closing(_open_to_read(path)) as connection:
            lost, mended, is_open = connection.execute("SELECT lost, mended, is_open FROM condition").fetchone()
            is_behind = not is_running and _is_behind(path, connection)
    except (HistoryError, sqlite3.Error, TypeError):
        return True  # it is not there, or damaged: `rebuild` begins it anew
    return bool(lost > mended or bool(is_open) != is_running or is_behind)


def _is_behind(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether the journal has grown since the file was last brought up to date: an engine
    has run that writes none."""
    with suppress(sqlite3.Error):  # no such table: nobody has written into it since it exists
        reach = connection.execute("SELECT journal FROM reach").fetchone()
        if reach is not None:
            return bool(reach[0] != journal_end(path.parent))

    def newest(files: Iterable[Path]) -> float:
        return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)

    return newest(path.parent.glob(f"*{SUFFIX}")) > newest((path, _wal_of(path)))


def rebuild(path: Path, records: Iterable[Record], *, is_running: bool = True, lacks: Collection[str] = ()) -> int:
    """Write everything that the journal tells into the file; returns the number of records
    read.

    A writer may be at work meanwhile. `records` are those of
    `engine.orders.journal.read_journal`. No row is removed: those that the journal has
    forgotten stay. When `lacks` has come to hold something once they are read, the journal
    was not whole, and the file stays incomplete. HistoryError when the file cannot be
    written.
    """
    try:
        connection = _open_to_write(path)
        with closing(connection):
            lost = connection.execute("SELECT lost FROM condition").fetchone()[0]
            reach = journal_end(path.parent)
            count = _write_records(connection, records)
            with connection:
                if lacks:
                    connection.execute("UPDATE condition SET lost = max(lost, mended + 1)")
                    return count
                connection.execute(
                    "UPDATE condition SET mended = max(mended, ?), is_open = is_open AND ?", (lost, is_running)
                )
                connection.execute(_PUT_REACH, (reach,))
            return count
    except (sqlite3.Error, OSError) as error:
        raise HistoryError(
            f"the history {path} cannot be written: {error}; make room there, and see that the file may be written"
        ) from None


def _write_records(connection: sqlite3.Connection, records: Iterable[Record]) -> int:
    blotter = Blotter()
    orders: dict[str, OrderRow] = {}
    fills: list[FillRow] = []
    count = 0

    def flush() -> None:
        with connection:
            _put_rows(connection, [*orders.values(), *fills])
        orders.clear()
        fills.clear()

    for record in records:
        count += 1
        with suppress(EngineError):  # a hole in the journal: the next snapshot sets it right
            change = blotter.apply(record)
            if change is not None:
                orders[change.order.key] = order_row(change.order)
                if change.fill is not None:
                    fills.append(fill_row(change.order, change.fill))
            elif isinstance(record, Snapshot):
                known = (*blotter.open.values(), *blotter.ended.values())
                orders |= {order.key: order_row(order) for order in known}
        if len(orders) + len(fills) >= REBUILD_ROWS_MAX:
            flush()
    flush()
    return count


def fills_of(path: Path) -> int:
    """How many fills the history knows; 0 when there is none that can be read."""
    with suppress(HistoryError, sqlite3.Error), closing(_open_to_read(path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM fills").fetchone()[0]
        return count
    return 0


def query_orders(
    path: Path,
    since: WallNs,
    *,
    strategy: str | None = None,
    symbol: str | None = None,
    state: str | None = None,
    rows_max: int = ROWS_MAX,
) -> list[dict[str, Any]]:
    """The newest `rows_max` orders submitted since then, oldest first, as dicts with the
    names in OrderRow."""
    return _query(path, "orders", "submitted_ns", since, rows_max, strategy=strategy, symbol=symbol, state=state)


def query_fills(
    path: Path, since: WallNs, *, strategy: str | None = None, symbol: str | None = None, rows_max: int = ROWS_MAX
) -> list[dict[str, Any]]:
    """The newest `rows_max` fills since then, oldest first, as dicts with the names in
    FillRow."""
    return _query(path, "fills", "kraken_ns", since, rows_max, strategy=strategy, symbol=symbol)


def _query(
    path: Path, table: str, time_column: str, since: WallNs, rows_max: int, **wanted: str | None
) -> list[dict[str, Any]]:
    given = {column: value for column, value in wanted.items() if value is not None}
    where = " AND ".join([f"{time_column} >= ?", *(f"{column} = ?" for column in given)])
    query = f"SELECT * FROM {table} WHERE {where} ORDER BY {time_column} DESC LIMIT ?"
    with closing(_open_to_read(path)) as connection:
        try:
            rows = connection.execute(query, (since, *given.values(), rows_max)).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None
    return [dict(row) for row in reversed(rows)]


def _open_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise HistoryError(
            f"there is no history at {path}; it begins with the first order, that of a run on the local venue ends "
            "with the run, and --state-dir names another place (trading.state_dir of the configuration)"
        )
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_MS / 1000)
        connection.row_factory = sqlite3.Row
        connection.execute("SELECT lost FROM condition").fetchone()
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None
    return connection


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is at fault, and not the disk, a permission or another program."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & PRIMARY_CODE
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _unreadable(path: Path, error: sqlite3.Error) -> HistoryError:
    mend = "see that it may be read, that its disk has room, and that no program holds it"
    if _is_damage(error):
        mend = (
            f"move it aside (mv {path} {path}.damaged), it is made anew from the journal, as far back as that reaches"
        )
    return HistoryError(f"the history {path} cannot be read ({error}); {mend}")
