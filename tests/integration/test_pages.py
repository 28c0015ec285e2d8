"""Every page that has something to type or to run, walked through from an empty folder."""

import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.page_walk import PageWalk, commands_in, pattern_of, shows, with_functions, with_settings
from tests.integration.rig import CAPTURES, NOBODY_TOLD, Engines, summary_of
from tests.reference import summary_keys, summary_keys_told
from tests.snippets import ROOT, snippets_of, walked_pages
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("page", walked_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(engines: Engines, page: Path) -> None:
    """Its files, its commands, what they show; and nothing runs on at its end."""
    walk = PageWalk(engines)
    try:
        for snippet in snippets_of(page):
            walk.take(snippet)
        walk.end()
    finally:
        walk.close()


def code(page: str, file: str) -> str:
    """The code of a file on a page."""
    (found,) = [snippet for snippet in snippets_of(ROOT / page) if snippet.kind == "python" and snippet.file == file]
    return found.text


def test_the_program_buys_what_it_says(engines: Engines, tmp_path: Path) -> None:
    """Its order is filled whole, in as many fills as the best level needs."""
    program = tmp_path / "my_program.py"
    program.write_text(code("engine/docs/own-program.md", "my_program.py"))
    ended = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=PATIENCE_S, env=engines.environment
    )

    assert ended.returncode == 0, ended.stderr
    parts = re.findall(r"^filled (\S+) at", ended.stdout, flags=re.MULTILINE)
    assert sum(map(Decimal, parts)) == Decimal("0.001")


def test_the_first_strategy_runs_over_a_genuine_capture(engines: Engines, tmp_path: Path) -> None:
    """The README's file, unchanged."""
    bot = tmp_path / "my_bot.py"
    bot.write_text(code("README.md", "my_bot.py"))
    capture = CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
    replayed = engines.call(
        "replay", capture, "--strategy", bot, "--param", "ratio=2", "--summary", tmp_path / "replay.json"
    )

    assert replayed.returncode == 0, replayed.stderr
    assert summary_of(tmp_path / "replay.json")["strategies"]["Imbalance"]["errors"] == 0
    assert "buyers waiting" in replayed.stderr + replayed.stdout


def test_the_summary_has_the_keys_that_are_told(engines: Engines, tmp_path: Path) -> None:
    """A strategy that trades leaves a summary with every key of engine/docs/summary-and-status.md, and no others; every
    record of its orders agrees.
    """
    bot = tmp_path / "turnover.py"
    bot.write_text(code("engine/docs/orders.md", "turnover.py"))
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
    of_paper = {key for key in summary_keys_told() if key.startswith("paper.")}  # tests/integration/test_paper.py
    assert set(summary_keys(summary)) == summary_keys_told() - of_paper


# --- the walk itself


@pytest.mark.parametrize(
    ("page_line", "line", "fits"),
    [
        ("stopped my-bot (pid 4711)", "stopped my-bot (pid 99)", True),
        ("… fill … side=buy", "2026-11-29T15:13Z [info] fill   price=1.5 side=buy", True),
        ("… fill … side=buy", "2026-11-29T15:13Z [info] fill   price=1.5 side=sell", False),
        ("no open orders", "no open orders here", False),
        ("BTC  9.998", "BTC   10", True),
    ],
)
def test_a_number_stands_for_any_number_and_nothing_else_does(page_line: str, line: str, fits: bool) -> None:
    """What a page shows is compared word by word."""
    assert bool(pattern_of(page_line).fullmatch(line)) == fits
    assert shows(f"before\n{line}\nafter", [page_line]) == fits


def test_lines_are_shown_in_the_order_of_the_page() -> None:
    """The same lines the other way round are something else."""
    assert shows("a\nb\nc", ["a", "c"])
    assert not shows("a\nb\nc", ["c", "a"])


def test_a_block_on_a_terminal_is_commands_and_what_they_show() -> None:
    """With Ctrl-C where it stands."""
    first, second = commands_in("$ engine run\nit runs\n^C\nit ends\n$ engine status\n")

    assert (first.text, first.shown, first.is_interrupted, first.shown_after) == (
        "engine run", ["it runs"], True, ["it ends"],
    )  # fmt: skip
    assert (second.text, second.shown, second.is_interrupted) == ("engine status", [], False)


def test_a_block_that_changes_a_file_replaces_what_it_names() -> None:
    """Functions wherever they stand, new ones at the end; settings, commented out or not."""
    text = "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n"
    changed = with_functions(text, "# a.py\ndef f(self):\n    return 3\n\n\ndef h():\n    return 4\n")

    assert changed.splitlines() == [
        "class A:", "    def f(self):", "        return 3", "", "    def g(self):", "        return 2",
        "", "", "def h():", "    return 4",
    ]  # fmt: skip
    assert with_settings("[risk]\n# most = 1\n", "# a.toml\n[risk]\nmost = 2\n") == "[risk]\nmost = 2\n"
    assert with_settings("a = 1\n", "[risk]\nmost = 2\n") == "a = 1\n\n[risk]\nmost = 2\n"
