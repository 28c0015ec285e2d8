"""Trades, candles and unusual pairs, from the command line to the strategy: told once, told whole, told as certain."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.rig import CAPTURES, STRATEGIES, Diary, Engines, eventually, summary_of

CASES = Path(__file__).parents[1] / "data" / "cases"
MINUTE_NS = 60 * 10**9


def replay(engines: Engines, capture: Path, *options: object) -> tuple[dict, Diary]:
    """Replay with a diary; the summary and the diary."""
    diary = Diary(engines.folder / "diary")
    call = engines.call(
        "replay", capture, "--strategy", f"{STRATEGIES}:Diary", "--param", f"path={diary.path}",
        "--summary", engines.folder / "out.json", *options,
    )  # fmt: skip
    assert call.returncode == 0, call.stderr
    return summary_of(engines.folder / "out.json"), diary


def run(engines: Engines, fault: str) -> tuple[object, Diary]:
    """An engine with a diary on a busy venue with one fault, and perhaps further options."""
    diary = Diary(engines.folder / "diary")
    engine = engines.start(
        "--venue", "local", "--venue-options", f"--seed 5 --rate 1000 --fault {fault}", "--symbols", "BTC/USD,ETH/USD",
        "--strategy", f"{STRATEGIES}:Diary", "--param", f"path={diary.path}", "--param", "books=false",
        "--summary", engines.folder / "out.json",
    )  # fmt: skip
    return engine, diary


def ids_of(diary: Diary) -> dict[str, list[int]]:
    """Trade ids by pair, in the order of their telling."""
    ids: dict[str, list[int]] = {"BTC/USD": [], "ETH/USD": []}
    for entry in diary.entries("trade"):
        ids[entry["symbol"]].append(entry["id"])
    return ids


def test_trades_that_the_venue_repeats_are_told_once_and_counted(engines: Engines):
    """A fifth of all frames comes twice: each id is told once, in order, none is missed, and status counts the rest."""
    engine, diary = run(engines, "duplicate=0.2")
    status = engine.wait_for(lambda s: s["trades_repeated"] > 20 and s["trades"] > 100, "trades came twice")
    engine.stop()
    summary = summary_of(engines.folder / "out.json")
    ids = ids_of(diary)

    assert all(told == list(range(told[0], told[-1] + 1)) for told in ids.values())
    assert summary["trades"] == sum(map(len, ids.values()))
    assert summary["trades_repeated"] >= status["trades_repeated"]
    assert summary["trades_missed"] == 0


def test_trades_that_the_venue_withholds_are_told_all_the_same(engines: Engines):
    """A fifth comes twice, a twentieth never: each id is told once and in order, what REST alone has told is marked."""
    engine, diary = run(engines, "repeat=0.2 --fault withhold=0.05 --rate 300")
    engine.wait_for(lambda s: s["trades_filled"] > 10 and s["trades_repeated"] > 20, "trades were filled in")
    engine.stop()
    summary = summary_of(engines.folder / "out.json")
    ids = ids_of(diary)
    marked = [entry for entry in diary.entries("trade") if entry["source"] == "rest"]

    assert all(told == list(range(told[0], told[-1] + 1)) for told in ids.values())
    assert all(entry["history"] for entry in marked)
    assert (len(marked), summary["trades_missed"]) == (summary["trades_filled"], 0)


def test_trades_of_a_short_outage_are_told_late_and_none_twice(engines: Engines):
    """The connection is cut: the snapshot of the next brings what fell in between, as far as it reaches."""
    engine, diary = run(engines, "cut@3")
    engine.wait_for(
        lambda s: (
            s["feeds"]["public_feed-0"]["connects"] >= 2
            and all(pair["state"] == "live" for pair in s["symbols"].values())
            and s["trades_repeated"]
        ),
        "connected again, and its snapshots have come",
    )
    engine.stop()
    summary = summary_of(engines.folder / "out.json")
    ids = ids_of(diary)

    assert all(len(told) == len(set(told)) for told in ids.values())
    assert summary["trades_missed"] == sum(max(told) - min(told) + 1 - len(told) for told in ids.values())


def test_no_trade_is_told_twice_over_the_deaths_of_a_feed(engines: Engines):
    """Killed three times in mid-stream: each id is told once, and those that fell in between are told or missed."""
    engine, diary = run(engines, "duplicate=0.05")
    for deaths in range(1, 4):
        engine.wait_for(lambda s: all(p["state"] == "live" for p in s["symbols"].values()), "live")
        told = len(diary.entries("trade"))
        eventually(lambda told=told: len(diary.entries("trade")) > told + 20, "trades flow")
        os.kill(engine.feed_pids()[0], signal.SIGKILL)
        engine.wait_for(lambda s, deaths=deaths: s["restarts"]["public_feed-0"] == deaths, "it was started again")
    engine.wait_for(lambda s: all(p["state"] == "live" for p in s["symbols"].values()), "live")
    engine.stop()
    ids = ids_of(diary)

    assert all(len(told) == len(set(told)) for told in ids.values())
    assert summary_of(engines.folder / "out.json")["strategies"]["Diary"]["gaps"] == 0


def test_a_candle_that_an_outage_cut_is_not_closed(engines: Engines):
    """Two trades of the outage are missing: the minutes that they may be of are told in part, and never closed."""
    summary, diary = replay(engines, CASES / "candles_reconnect.jsonl")
    told = [
        (e["begin"] // MINUTE_NS % 60, e["volume"], e["closed"], e["is_whole"])
        for e in diary.entries("candle")
        if e["begin"] // MINUTE_NS % 60 > 32
    ]

    assert told == [
        (33, "30.00000000", False, True), (33, "30.00000000", True, True), (34, "1.00000000", False, True),
        (36, "60.00000000", False, False), (37, "2.00000000", False, True), (37, "3.00000000", False, True),
        (37, "3.00000000", True, True), (38, "1.00000000", False, True),
    ]  # fmt: skip
    assert summary["trades_missed"] == 2


def test_candles_of_before_the_start_are_history(engines: Engines):
    """What a strategy counts as news is what closed while it ran."""
    _, diary = replay(engines, CASES / "candles_at_start.jsonl")
    closed = [(e["begin"] // MINUTE_NS % 60, e["history"]) for e in diary.entries("candle") if e["closed"]]

    assert closed == [(31, True), (32, True), (33, False)]


@pytest.mark.parametrize(
    ("case", "symbol", "ask_qty", "volumes"),
    [
        ("tiny_price_book.jsonl", "BTT/USD", "92300000000.00000000", ["150000000000.00000000"]),
        ("tiny_price_ticker.jsonl", "PEPE/USD", "98765432109.12345", ["9223372036854.77580", "99223372036854.77580"]),
    ],
)
def test_a_coin_worth_next_to_nothing_is_live_and_told_whole(engines: Engines, case, symbol, ask_qty, volumes):
    """Quantities and volumes beyond 63 bits: book, ticker and summary have every digit."""
    summary, diary = replay(engines, CASES / case)
    pair = summary["symbols"][symbol]

    assert (pair["state"], pair["mismatches"], pair["best_ask"]["qty"]) == ("live", 0, ask_qty)
    assert [entry["volume"] for entry in diary.entries("ticker")] == volumes
    assert summary["feeds"]["public_feed-0"]["unpublishable"] == 0


def test_a_tokenized_stock_is_followed_like_any_pair(engines: Engines, tmp_path: Path):
    """AAPLx/USD from the command line to the strategy; in capitals Kraken refuses it, and the advice is its letters."""
    genuine = CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
    lines = [line for line in genuine.read_text().splitlines() if '"BTC/USD"' not in line]
    capture = tmp_path / "stock.jsonl"
    capture.write_text("\n".join(lines).replace("ETH/USD", "AAPLx/USD") + "\n")
    config = tmp_path / "engine.toml"
    config.write_text("[feed]\ntickers = false\ncandle_intervals_min = []\n")
    _, url = engines.venue("--capture", capture)
    engine = engines.start(config, "--venue", url, "--symbols", "AAPLx/USD", "--summary", tmp_path / "out.json")
    engine.wait_until_live()
    engine.stop()
    wrong = engines.call("run", config, "--venue", url, "--symbols", "AAPLX/USD")
    summary, _ = replay(engines, capture, "--symbols", "AAPLx/USD")

    assert list(summary_of(tmp_path / "out.json")["symbols"]) == list(summary["symbols"]) == ["AAPLx/USD"]
    assert wrong.returncode == 2
    assert "check its letters (tokenized stocks have a small x, as AAPLx/USD)" in wrong.stderr
