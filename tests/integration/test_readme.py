"""The README's first strategy and its commands, as they stand there."""

import re
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.rig import CAPTURES, NOBODY_TOLD, Engines, summary_of
from tests.reference import summary_keys, summary_keys_told
from tests.waiting import PATIENCE_S

README = Path(__file__).parents[2] / "README.md"


def python_blocks() -> list[str]:
    """The README's code: two strategies, and a program."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    return blocks


def test_the_program_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Started as anybody would: it buys, is filled, and leaves nothing."""
    program = tmp_path / "my_program.py"
    program.write_text(python_blocks()[2])
    with tempfile.TemporaryDirectory(prefix="tm") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        ended = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=PATIENCE_S)

    assert ended.returncode == 0, ended.stderr
    parts = re.findall(r"^filled (\S+) at", ended.stdout, flags=re.MULTILINE)  # the best level may hold less
    assert sum(map(Decimal, parts)) == Decimal("0.001")
    assert "FILLED Balance(asset='BTC'" in ended.stdout
    assert "websocket" in ended.stdout


def test_the_first_strategy_runs_as_it_stands(engines: Engines, tmp_path: Path):
    """Twenty lines from the README: live on the venue, and over a genuine capture, unchanged."""
    code = python_blocks()[0]
    bot = tmp_path / "my_bot.py"
    bot.write_text(code)
    live = engines.call(
        "run", "--venue", "local", "--symbols", "BTC/USD,ETH/USD", "--strategy", bot, "--param", "ratio=2",
        "--seconds", 2, "--summary", tmp_path / "live.json",
    )  # fmt: skip
    capture = CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
    replayed = engines.call("replay", capture, "--strategy", bot, "--summary", tmp_path / "replay.json")

    assert live.returncode == replayed.returncode == 0, live.stderr + replayed.stderr
    for name in ("live.json", "replay.json"):
        assert summary_of(tmp_path / name)["strategies"]["Imbalance"]["errors"] == 0
    assert "buyers waiting" in replayed.stderr + replayed.stdout


def test_the_strategy_that_trades_does_so_as_it_stands(engines: Engines, tmp_path: Path):
    """The README's second strategy quotes, is filled, begins again; every record agrees; the summary has the keys
    that engine/docs/summary-and-status.md tells, and no others.
    """
    code = python_blocks()[1]
    bot = tmp_path / "my_bot.py"
    bot.write_text(code)
    config = tmp_path / "notices.toml"
    config.write_text(NOBODY_TOLD)
    engine = engines.start(
        config, "--venue", "local", "--symbols", "BTC/USD", "--strategy", bot, "--param", "pace_s=0.3",
        "--summary", tmp_path / "out.json",
    )  # fmt: skip
    engine.wait_for(lambda s: s["fills"], "it is filled")
    assert engine.stop() == 0, engines.logs()
    summary = summary_of(tmp_path / "out.json")

    assert summary["strategies"]["Turnover"]["errors"] == 0
    assert summary["orders"]["submitted"] > 0
    assert summary["ledger"]["agree"], summary["ledger"]["differences"]
    assert summary["ledger"]["fills"] == summary["fills"] > 0
    assert set(summary_keys(summary)) == summary_keys_told()
