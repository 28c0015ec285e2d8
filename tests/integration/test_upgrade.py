"""Another version's files, in both directions: one clear sentence each, and nothing is traded on a guess."""

import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from engine.history import SCHEMA_VERSION
from engine.orders.journal_format import HEADER_BYTES, VERSION, pack_record
from tests.integration.rig import ENGINE, PATIENCE_S, Engines
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.waiting import eventually

VERSION_AT = 8  # of the header: engine/orders/journal_format.py


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("upgrade"))
    yield TradingVenue(engines, "--no-rate-counter")
    engines.close()


@pytest.fixture
def stopped(venue: TradingVenue, tmp_path: Path) -> Iterator[TradingEngine]:
    """An engine that has traded and was stopped."""
    engine = TradingEngine(venue, tmp_path / "it", relay=False).start()
    engine.wish("order", name="a", away=-1.0, qty="0.003")
    engine.wait_for_state("a", "FILLED")
    engine.stop()
    yield engine
    engine.close()


def journal_of(engine: TradingEngine) -> Path:
    return max(engine.state_dir.glob("*.journal"))


def refusal_of(engine: TradingEngine) -> str:
    """The sentence of `engine run`, which ends at once; the journal stays as it is."""
    before = journal_of(engine).read_bytes()
    key = {"KRAKEN_API_KEY": engine.key["api_key"], "KRAKEN_API_SECRET": engine.key["api_secret"]}
    done = subprocess.run(
        (*ENGINE, "run", str(engine.config)),
        capture_output=True, text=True, env=engine.engines.environment | key, cwd=engine.folder, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert journal_of(engine).read_bytes() == before
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("engine: ")]
    return sentence


@pytest.mark.parametrize(("version", "whose"), [(VERSION + 1, "a newer"), (VERSION - 1, "an older")])
def test_a_journal_of_another_format_is_not_traded_on(stopped: TradingEngine, version: int, whose: str) -> None:
    """Which engine wrote it, what this one reads, and the two ways out; a copy of it is refused likewise."""
    journal = journal_of(stopped)
    content = bytearray(journal.read_bytes())
    struct.pack_into("<I", content, VERSION_AT, version)
    struct.pack_into("<I", content, HEADER_BYTES - 4, crc32(content[: HEADER_BYTES - 4]))
    journal.write_bytes(content)
    sentence = refusal_of(stopped)

    assert f"the journal {journal} has format {version} and was written by {whose} engine" in sentence
    assert f"this one reads format {VERSION}" in sentence
    assert "start with the engine that wrote it, or move all segments of the journal aside" in sentence
    copied = stopped.engines.call("backup", stopped.folder / "copy")
    assert (copied.returncode, copied.stderr.count("\n")) == (2, 1)
    assert f"was written by {whose} engine" in copied.stderr


def test_a_record_that_only_a_newer_engine_knows_is_not_skipped(stopped: TradingEngine) -> None:
    """It may be an order."""
    journal = journal_of(stopped)
    number = len(list(journal_records(journal)))
    with journal.open("ab") as file:
        file.write(pack_record(number + 1, b"\x92\xa6future\x01"))
    sentence = refusal_of(stopped)
    assert f"record {number + 1} of the journal {journal} is of a kind that this engine does not know" in sentence


def journal_records(path: Path) -> Iterator[int]:
    """The sequences of the records in a segment."""
    from engine.orders.journal_format import scan

    yield from (sequence for sequence, _ in scan(path.read_bytes()).payloads)


def test_a_history_of_a_newer_engine_is_kept_and_begun_anew(stopped: TradingEngine) -> None:
    """It decides nothing: trading goes on, and the journal tells again what it still has."""
    history = stopped.state_dir / "history.sqlite"
    with closing(sqlite3.connect(history)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    stopped.start()
    told = eventually(lambda: [line for line in stopped.log().splitlines() if "begun anew" in line], "it is said")
    assert f"a newer engine wrote it (version {SCHEMA_VERSION + 1})" in told[0]
    assert history.with_suffix(".broken").exists()
    rows = stopped.engines.call("fills", "--json")
    assert stopped.at_venue("a")[0]["order_id"] in rows.stdout


def test_a_history_of_an_older_engine_is_brought_up_to_date(stopped: TradingEngine) -> None:
    """With its rows, those too that the journal has forgotten."""
    history = stopped.state_dir / "history.sqlite"
    with closing(sqlite3.connect(history)) as connection:
        connection.execute("ALTER TABLE orders DROP COLUMN cash_qty")
        connection.execute("UPDATE orders SET id = 'forgotten by the journal'")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    stopped.start()
    eventually(lambda: version_of(history) == SCHEMA_VERSION, "it is written by this engine")
    assert "forgotten by the journal" in stopped.engines.call("orders", "--since", "1h", "--json").stdout


def version_of(history: Path) -> int:
    with closing(sqlite3.connect(history)) as connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return version


def test_a_setting_of_another_version_is_named(stopped: TradingEngine) -> None:
    """Unknown ones are never ignored: a limit that is not read is none."""
    stopped.config.write_text(stopped.config.read_text().replace("[risk]", "[risk]\nfuture_limit = 1"))
    sentence = refusal_of(stopped)
    assert str(stopped.config) in sentence
    assert "future_limit" in sentence
