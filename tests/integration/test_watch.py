"""`engine watch`: verified books and trades of a venue, without a key, until somebody has seen enough."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

from engine.readable import is_readable
from tests.integration.rig import ENGINE, PATIENCE_S, Engines
from tests.waiting import eventually


def test_lines_of_json_are_what_the_venue_said(engines: Engines, tmp_path: Path) -> None:
    """Trades in order and once; books with their checksums counted; nobody trades."""
    _, url = engines.venue("--symbols", "BTC/USD,ETH/USD")
    output = tmp_path / "lines"
    with output.open("w") as out:
        process = engines.spawn("watch", "BTC/USD", "ETH/USD", "--venue", url, "--json", stdout=out)

    def told() -> list[dict[str, object]]:
        whole, _, _ = output.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def verified() -> set[object]:
        return {row["symbol"] for row in told() if row["type"] == "book" and row["verified"] and row["bids"]}

    def all_came() -> bool:
        return verified() == {"BTC/USD", "ETH/USD"} and any(row["type"] == "trade" for row in told())

    eventually(all_came, "books and trades came")
    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE_S) == 0, engines.logs()
    rows = told()
    for symbol in ("BTC/USD", "ETH/USD"):
        books = [row for row in rows if row["type"] == "book" and row["symbol"] == symbol]
        ids = [row["trade_id"] for row in rows if row["type"] == "trade" and row["symbol"] == symbol]
        assert books[-1]["state"] == "live"
        assert books[-1]["mismatches"] == 0
        assert ids == sorted(set(ids))


def test_whoever_reads_no_further_ends_it(engines: Engines) -> None:
    """`| head` is an end that was asked for."""
    command = " ".join((*ENGINE, "watch", "BTC/USD", "--venue", "local"))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -3"], capture_output=True, text=True, timeout=PATIENCE_S,
        env=engines.environment,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr


def test_a_terminal_gets_a_ladder(engines: Engines) -> None:
    """Which redraws; Ctrl-C ends it cleanly."""
    ours, theirs = pty.openpty()
    process = engines.spawn("watch", "BTC/USD", "--venue", "local", stdin=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""

    def read_on() -> bool:
        """Take what it has drawn; whether the other end is closed."""
        nonlocal shown
        try:
            while is_readable(ours):
                shown += os.read(ours, 65536)
        except OSError:
            return True
        return False

    eventually(lambda: read_on() or b"checksums verified" in shown, "it draws")
    assert process.poll() is None, engines.logs()
    process.send_signal(signal.SIGINT)
    eventually(read_on, "it has ended")
    os.close(ours)

    assert process.wait(PATIENCE_S) == 0, engines.logs()
    assert b"spread" in shown


def test_a_mistake_is_one_sentence(engines: Engines) -> None:
    """A name that is none, a pair that the venue does not list, a venue that is none."""
    _, url = engines.venue("--symbols", "BTC/USD")
    for arguments, names in (
        (("BTCUSD",), "BTCUSD"),
        (("ETH/USD", "--venue", url), "ETH/USD"),
        (("BTC/USD", "--venue", "kraken"), "kraken"),
        ((), "SYMBOL"),
    ):
        done = engines.call("watch", *arguments)
        assert done.returncode == 2, done.stderr
        assert names in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_it_needs_no_key_and_reads_none(engines: Engines) -> None:
    """Two watches and an engine run side by side; no order router is started."""
    first = engines.spawn("watch", "BTC/USD", "--venue", "local")
    second = engines.spawn("watch", "BTC/USD", "--venue", "local")
    eventually(lambda: engines.logs().count("checksums verified") >= 2, "both watch")

    for process in (first, second):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert engines.logs().count("checksums verified") >= 2
    assert "order_router" not in engines.logs()
