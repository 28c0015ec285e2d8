"""The history for people: exact, complete after a mend, and of no concern to trading."""

import os
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import asdict, replace

from engine import history
from engine.history import (
    HistoryError,
    HistoryWriter,
    OrderRow,
    fill_object,
    fill_row,
    is_incomplete,
    order_row,
    query_fills,
    query_orders,
    rebuild,
)
from engine.orders.blotter import Blotter, fold
from engine.orders.journal import Journal, read_journal
from engine.orders.journal_records import Filled, Record, Rejected, RunBegan
from engine.orders.venue_facts import Fee
from engine.units import WallNs
from tests.filled_orders import AT, MS, life, submitted
from tests.waiting import eventually


def feed(writer: HistoryWriter, records: list[Record]) -> None:
    """What the router does with each record."""
    blotter = Blotter()
    for record in records:
        if (change := blotter.apply(record)) is not None:
            writer.put(change.order, change.fill)


def everything(path: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    return query_orders(path, WallNs(0)), query_fills(path, WallNs(0))


def test_fees_of_one_fill_in_the_same_asset_are_one_amount() -> None:
    """Whoever reads them by asset has all of them."""
    submitted_order, _, fill, *_ = life(1)
    order = fold([submitted_order]).get("quotesrun001000001")
    assert isinstance(fill, Filled)
    assert order is not None
    twice = replace(fill, fees=(*fill.fees, Fee("KFEE", Decimal(4)), *fill.fees))

    row = fill_row(order, twice)
    assert row.fees == "0.0210600260 USD, 4 KFEE"
    assert fill_object(asdict(row))["fees"] == {"USD": "0.0210600260", "KFEE": "4"}


def test_what_is_written_is_exact_and_can_be_asked_for(tmp_path: Path) -> None:
    """Text numbers as Kraken writes them; filters by time, strategy, symbol and state."""
    path = tmp_path / "state" / "history.sqlite"
    writer = HistoryWriter(path)
    feed(
        writer,
        [
            *life(1),
            *life(2, strategy="Other", symbol="ETH/USD"),
            submitted("quotesrun001000003", AT + 30 * MS),
            Rejected("quotesrun001000003", "insufficient funds", WallNs(AT + 31 * MS)),
        ],
    )
    writer.close()
    first, *rest = query_orders(path, WallNs(AT))

    assert first == {
        "id": "quotesrun001000001",
        "order_id": "O00001",
        "strategy": "Quoter",
        "symbol": "BTC/USD",
        "side": "buy",
        "type": "limit",
        "qty": "0.00100000",
        "cash_qty": None,
        "filled": "0.00100000",
        "limit_price": "81000.1",
        "avg_price": "81000.1",
        "cost": "81.000100000",
        "fees": "0.0210600260 USD",
        "state": "filled",
        "reason": "",
        "time_in_force": "gtc",
        "post_only": 1,
        "route": "websocket",
        "submitted_at": "2026-11-18T11:06:40.010000Z",
        "changed_at": "2026-11-18T11:06:40.012000Z",
        "submitted_ns": AT + 10 * MS,
        "changed_ns": AT + 12 * MS + 1,
    }
    assert [row["state"] for row in rest] == ["filled", "rejected"]
    assert len(query_orders(path, WallNs(AT + 20 * MS))) == 2
    assert [row["id"] for row in query_orders(path, WallNs(0), strategy="Other")] == ["quotesrun001000002"]
    assert [row["id"] for row in query_orders(path, WallNs(0), symbol="ETH/USD")] == ["quotesrun001000002"]
    assert [row["reason"] for row in query_orders(path, WallNs(0), state="rejected")] == ["insufficient funds"]
    assert [row["id"] for row in query_orders(path, WallNs(0), rows_max=1)] == ["quotesrun001000003"]
    assert [row["qty"] for row in query_fills(path, WallNs(0), symbol="BTC/USD")] == ["0.00040000", "0.00060000"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_history_that_is_deleted_is_the_same_again_from_the_journal(tmp_path: Path) -> None:
    """To the last letter."""
    records = [record for number in range(50) for record in life(number)]
    path = tmp_path / "history.sqlite"
    writer = HistoryWriter(path)
    feed(writer, records)
    writer.close()
    written = everything(path)
    for file in tmp_path.iterdir():
        file.unlink()

    assert is_incomplete(path, is_running=False)
    assert rebuild(path, records, is_running=False) == len(records)
    assert everything(path) == written
    assert not is_incomplete(path, is_running=False)


def test_a_journal_that_begins_with_a_snapshot_gives_what_that_knows(tmp_path: Path) -> None:
    """Its older segments may be gone: orders are told, their old fills are not."""
    old, new = [record for number in range(3) for record in life(number)], life(3)
    path = tmp_path / "history.sqlite"
    rebuild(path, [fold(old).snapshot(WallNs(AT)), RunBegan(2, "1", "f", WallNs(AT)), *new])

    assert [row["filled"] for row in query_orders(path, WallNs(0))] == ["0.00100000"] * 4
    assert len(query_fills(path, WallNs(0))) == 2


def test_a_hole_in_the_journal_costs_only_what_was_in_it(tmp_path: Path) -> None:
    """Records of orders whose beginning is lost are passed over."""
    path = tmp_path / "history.sqlite"
    rebuild(path, [*life(1)[1:], *life(2), *life(2)[:1]])

    assert [row["id"] for row in query_orders(path, WallNs(0))] == ["quotesrun001000002"]


@pytest.mark.parametrize("taken_max", [1, 7, 4096])
def test_changes_that_are_written_together_come_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_max: int
) -> None:
    """Of an order its last state, and every fill, however the lives of many are mixed and cut."""
    monkeypatch.setattr(history, "CHANGES_TAKEN_MAX", taken_max)
    monkeypatch.setattr(history, "BATCH_ROWS_MAX", 5)
    mixed = [record for step in zip(*(life(number) for number in range(1, 30)), strict=True) for record in step]
    writer = HistoryWriter(tmp_path / "written.sqlite", interval_s=0.001)
    feed(writer, mixed)
    writer.close()
    rebuild(tmp_path / "rebuilt.sqlite", mixed, is_running=False)

    assert writer.written == len(mixed)
    assert not writer.waiting
    assert everything(tmp_path / "written.sqlite") == everything(tmp_path / "rebuilt.sqlite")


def test_a_mend_beside_a_writer_never_brings_back_an_older_state(tmp_path: Path) -> None:
    """The journal as it was a moment ago, against rows of now."""
    path, records = tmp_path / "history.sqlite", life(1)
    writer = HistoryWriter(path)
    feed(writer, records)
    eventually(lambda: writer.written > 0 and not writer.waiting, "it is written")
    rebuild(path, records[:3])
    writer.close()

    assert [row["state"] for row in query_orders(path, WallNs(0))] == ["filled"]


@pytest.mark.parametrize("step_ns", [-3_600_000 * MS, 0], ids=["steps back", "stands still"])
def test_a_row_is_its_orders_last_state_though_the_wall_clock_does_not_go_on(tmp_path: Path, step_ns: int) -> None:
    """Whether a writer writes it after the older one, or a mend brings that after it."""
    path = tmp_path / "history.sqlite"
    records = [replace(record, at=WallNs(AT + step_ns * place)) for place, record in enumerate(life(1))]
    writer, blotter = HistoryWriter(path), Blotter()
    for record in records:
        change = blotter.apply(record)
        assert change is not None
        writer.put(change.order, change.fill)
        eventually(lambda: not writer.waiting, "it is written")
    written = query_orders(path, WallNs(0))
    for count in range(len(records)):
        rebuild(path, records[:count])
    writer.close()

    assert [row["state"] for row in written] == ["filled"]
    assert query_orders(path, WallNs(0)) == written


def test_rows_that_found_no_room_are_counted_and_mended(tmp_path: Path) -> None:
    """The router is never held up; the file says that it lacks something until the journal has been read."""
    path, records = tmp_path / "history.sqlite", [record for number in range(20) for record in life(number)]
    rebuild(path, [])
    writer = HistoryWriter(path, queue_rows_max=10, interval_s=3600)
    eventually(lambda: path.with_name("history.sqlite-wal").exists(), "it is written")
    feed(writer, records)
    assert writer.dropped >= 80
    writer.close()

    assert is_incomplete(path, is_running=False)
    assert len(query_orders(path, WallNs(0))) < 20
    rebuild(path, records, is_running=False)
    assert not is_incomplete(path, is_running=False)
    assert is_incomplete(path, is_running=True), "an engine without a writer: what it does is in the journal alone"
    assert len(query_orders(path, WallNs(0))) == 20


def test_what_a_killed_writer_left_behind_is_mended(tmp_path: Path) -> None:
    """Its rows of the last moment are in the journal."""
    path = tmp_path / "history.sqlite"
    rebuild(path, [])
    pid = os.fork()
    if pid == 0:
        writer = HistoryWriter(path)
        feed(writer, life(1))
        eventually(lambda: writer.written > 0, "it is written")
        feed(writer, life(2))
        os._exit(0)
    os.waitpid(pid, 0)

    assert is_incomplete(path, is_running=False)
    HistoryWriter(path).close()  # its successor takes notice
    assert is_incomplete(path, is_running=True)
    rebuild(path, [*life(1), *life(2)], is_running=False)
    assert not is_incomplete(path, is_running=False)
    assert len(query_orders(path, WallNs(0))) == 2


def test_what_was_traded_without_a_history_is_missed_by_no_reader(tmp_path: Path) -> None:
    """Whichever file was touched last: a copy, or a tool for SQL, may have been at it meanwhile."""
    path = tmp_path / "history.sqlite"
    journal, _, _ = Journal.open(tmp_path)
    journal.append_all(life(1))
    writer = HistoryWriter(path)
    feed(writer, life(1))
    writer.close()
    rebuild(path, life(1), is_running=False)
    os.utime(journal.path, (2**31, 2**31))
    assert not is_incomplete(path, is_running=False), "all is there, though the journal looks younger"

    journal.append_all(life(2))
    os.utime(journal.path, (0, 0))
    assert is_incomplete(path, is_running=False)
    rebuild(path, [record for _, record in read_journal(tmp_path)], is_running=False)
    assert not is_incomplete(path, is_running=False)
    journal.append_all(life(3))
    HistoryWriter(path).close()
    assert not is_incomplete(path, is_running=False), "a writer that has ended in order has written all"
    journal.close()


def test_a_history_that_never_told_how_far_it_reaches_is_judged_by_its_age(tmp_path: Path) -> None:
    """As one of an earlier version."""
    path = tmp_path / "history.sqlite"
    journal, _, _ = Journal.open(tmp_path)
    journal.append_all(life(1))
    rebuild(path, life(1), is_running=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE reach")

    os.utime(journal.path, (0, 0))
    assert not is_incomplete(path, is_running=False)
    os.utime(journal.path, (2**31, 2**31))
    assert is_incomplete(path, is_running=False)
    journal.close()


def test_a_disk_that_fails_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait; when it works again they are written."""
    monkeypatch.setattr(history, "RETRY_INTERVAL_S", 0.01)
    folder = tmp_path / "folder"
    folder.write_text("not a folder")
    writer = HistoryWriter(folder / "history.sqlite", interval_s=0.01)
    feed(writer, life(1))
    eventually(lambda: writer.errors > 1, "it is written")
    folder.unlink()
    eventually(lambda: writer.written > 0 and not writer.waiting, "it is written")
    writer.close()

    assert writer.dropped == 0
    assert len(query_orders(folder / "history.sqlite", WallNs(0))) == 1


def test_the_wal_is_bounded(tmp_path: Path) -> None:
    """Beside a journal of some kilobytes it was a megabyte; a reader in between does not make it grow for good."""
    path = tmp_path / "history.sqlite"
    writer = HistoryWriter(path, interval_s=0.001)
    for number in range(1, 400):
        feed(writer, life(number))
    eventually(lambda: not writer.waiting, "it is written")
    wal_bytes = path.with_name("history.sqlite-wal").stat().st_size
    writer.close()

    # What one transaction of 64 rows may add to it before it is moved into the file.
    assert wal_bytes <= 2 * history.WAL_PAGES_MAX * 4096 + 512 * 1024


def test_a_reader_that_does_not_end_holds_up_rows_and_not_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows wait while its snapshot keeps the WAL, and are written when it lets go."""
    monkeypatch.setattr(history, "RETRY_INTERVAL_S", 0.01)
    monkeypatch.setattr(history, "WAL_BYTES_MAX", 512 * 1024)
    path = tmp_path / "history.sqlite"
    writer = HistoryWriter(path, interval_s=0.001)
    feed(writer, life(1))
    eventually(lambda: writer.written > 0 and not writer.waiting, "it is written")
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM orders").fetchone()
    for number in range(2, 800):
        feed(writer, life(number))
    eventually(lambda: writer.errors > 0, "it is written")
    wal_bytes = path.with_name("history.sqlite-wal").stat().st_size
    reader.close()
    eventually(lambda: not writer.waiting, "it is written")
    writer.close()

    assert wal_bytes < 2 * 512 * 1024
    assert "reader" in writer.last_error
    assert writer.dropped == 0
    assert len(query_orders(path, WallNs(0))) == 799


def test_a_disk_that_is_nearly_full_is_left_to_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL is given back, nothing more is written; with room again, what waited is."""
    monkeypatch.setattr(history, "RETRY_INTERVAL_S", 0.01)
    path = tmp_path / "history.sqlite"
    writer = HistoryWriter(path, interval_s=0.001)
    feed(writer, life(1))
    eventually(lambda: writer.written > 0 and not writer.waiting, "it is written")
    rebuild(path, ())
    disk = os.statvfs(tmp_path)
    free = history.DISK_FREE_BYTES_MIN // disk.f_frsize
    full = os.statvfs_result([*disk[:4], free - 1, *disk[5:]])
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    # What had been looked at before the disk was full may still be written.
    eventually(lambda: writer.errors > 0, "the full disk is seen")
    feed(writer, life(2))
    errors = writer.errors
    eventually(lambda: writer.errors >= errors + 2, "it was tried with these rows")
    wal = path.with_name("history.sqlite-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    rows = len(query_orders(path, WallNs(0)))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    eventually(lambda: not writer.waiting, "it is written")
    writer.close()

    assert (wal_bytes, rows) == (0, 1)
    assert not is_incomplete(path, is_running=False)
    assert "for the journal" in writer.last_error
    assert len(query_orders(path, WallNs(0))) == 2


def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    """The history tells what somebody owns, and so does its WAL while it is written."""
    path = tmp_path / "history.sqlite"
    before = os.umask(0)
    try:
        writer = HistoryWriter(path, interval_s=0.001)
        feed(writer, life(1))
        eventually(lambda: writer.written > 0 and not writer.waiting, "it is written")
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        writer.close()
    finally:
        os.umask(before)

    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_a_damaged_file_is_moved_aside_and_begun_anew(tmp_path: Path) -> None:
    """A reader is told that the file can be moved; a writer does it himself, and replaces none that lies there."""
    path = tmp_path / "history.sqlite"
    path.with_suffix(".broken").write_bytes(b"of an earlier time")
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(HistoryError, match="made anew from the journal"):
        query_orders(path, WallNs(0))
    assert is_incomplete(path, is_running=False)
    writer = HistoryWriter(path)
    feed(writer, life(1))
    writer.close()

    assert len(query_orders(path, WallNs(0))) == 1
    assert path.with_suffix(".broken").read_bytes() == b"of an earlier time"
    assert path.with_suffix(".broken-2").read_bytes() == b"this is no database" * 1000


def test_no_history_is_one_sentence(tmp_path: Path) -> None:
    """It begins with the first order."""
    with pytest.raises(HistoryError, match="there is no history"):
        query_orders(tmp_path / "history.sqlite", WallNs(0))


def test_rows_have_the_columns_of_their_tables(tmp_path: Path) -> None:
    """A field that is added to one is added to the other."""
    path = tmp_path / "history.sqlite"
    rebuild(path, life(1))
    blotter = Blotter()
    changes = [change for record in life(1) if (change := blotter.apply(record)) is not None]
    fill = next(change.fill for change in changes if change.fill is not None)
    with sqlite3.connect(path) as connection:
        columns = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for table in ("orders", "fills")
        }
    connection.close()

    assert columns["orders"] == list(OrderRow.__struct_fields__) == list(order_row(changes[-1].order).__struct_fields__)
    assert columns["fills"] == list(fill_row(changes[-1].order, fill).__struct_fields__)


def test_a_history_of_the_first_format_is_gone_on_with(tmp_path: Path) -> None:
    """It lacks a column, and loses nothing."""
    path = tmp_path / "history.sqlite"
    for number in (1, 2):
        writer = HistoryWriter(path)
        feed(writer, life(number))
        writer.close()
        if number == 1:
            with sqlite3.connect(path) as connection:
                connection.execute("ALTER TABLE orders DROP COLUMN cash_qty")
                connection.execute("PRAGMA user_version = 1")
    rows = query_orders(path, WallNs(0))

    assert len(rows) == 2
    assert {row["cash_qty"] for row in rows} == {None}
    assert not path.with_suffix(".broken").exists()
