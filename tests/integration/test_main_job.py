"""The main job: from the venue's wire to a strategy's callback, through all processes."""

import json
import os
from pathlib import Path

from tests.integration.rig import CALM, PATIENCE_S, STRATEGIES, Diary, Engines, eventually, summary_of

CPU = max(os.sched_getaffinity(0))
CONTRACT = {
    "seconds", "symbols", "trades", "tickers", "candles", "heartbeats", "unknown", "malformed", "rings",
    "latency_us", "restarts", "native", "exit",
}  # fmt: skip
PAIR_CONTRACT = {
    "snapshots", "updates", "verified", "mismatches", "resyncs", "state", "best_bid", "best_ask",
}  # fmt: skip


def test_a_run_on_the_local_venue_ends_with_the_summary_that_is_promised(engines: Engines, tmp_path: Path):
    """Every key of the contract, every checksum verified, nothing lost, nothing made up."""
    engine = engines.start(
        *CALM, "--symbols", "BTC/USD,ETH/USD,XRP/USD", "--strategy", f"{STRATEGIES}:Diary",
        "--param", f"path={tmp_path / 'diary'}", "--summary", tmp_path / "out.json",
    )  # fmt: skip
    engine.wait_for(lambda s: s["heartbeats"] >= 2 and s["latency_us"]["wire_to_strategy"]["count"] > 100, "it flows")
    engine.wait_for(lambda s: all(pair["updates"] > 10 for pair in s["symbols"].values()), "every pair flows")
    assert engine.stop() == 0, engines.logs()
    summary = summary_of(tmp_path / "out.json")

    assert set(summary) >= CONTRACT
    assert summary["exit"] == "clean"
    assert list(summary["symbols"]) == ["BTC/USD", "ETH/USD", "XRP/USD"]
    for pair in summary["symbols"].values():
        assert set(pair) >= PAIR_CONTRACT
        assert pair["state"] == "live"
        assert pair["snapshots"] == 1
        assert pair["updates"] > 10
        assert pair["verified"] == pair["snapshots"] + pair["updates"]
        assert pair["mismatches"] == pair["resyncs"] == 0
        assert float(pair["best_bid"]["price"]) < float(pair["best_ask"]["price"])
    assert summary["unknown"] == summary["malformed"] == 0
    assert summary["heartbeats"] >= 2
    assert summary["restarts"] == {"public_feed-0": 0, "order_router": 0, "private_feed": 0}
    assert set(summary["latency_us"]["wire_to_strategy"]) == {"count", "mean", "p50", "p99", "p999", "max"}
    assert summary["latency_us"]["wire_to_strategy"]["count"] > 100


def test_a_strategy_gets_everything_that_was_published_until_the_engine_stops(engines: Engines, tmp_path: Path):
    """Books verified and books called back are the same number, and in order, without a gap."""
    engine = engines.start(
        *CALM, "--symbols", "BTC/USD,ETH/USD", "--strategy", f"{STRATEGIES}:Diary",
        "--param", f"path={tmp_path / 'diary'}", "--summary", tmp_path / "out.json",
    )  # fmt: skip
    engine.wait_for(lambda s: s["trades"] and s["tickers"] and s["rings"]["market-0"]["published"] > 200, "it flows")
    engine.stop()
    summary, diary = summary_of(tmp_path / "out.json"), Diary(tmp_path / "diary")
    books = diary.entries("book")

    assert summary["rings"]["market-0"]["gaps"] == 0
    for symbol, pair in summary["symbols"].items():
        numbers = [entry["number"] for entry in books if entry["symbol"] == symbol]
        assert numbers == list(range(pair["updates"] + 1))
        assert diary.states(symbol) == ["live"]
    assert not any(entry["crossed"] for entry in books)
    assert len(diary.entries("trade")) == summary["trades"]
    assert len(diary.entries("ticker")) == summary["tickers"]


def test_the_last_word_of_a_diary_tells_pairs_and_venue(engines: Engines, tmp_path: Path):
    """At on_stop the context knows every pair's precision, 0 and 5 decimals included, and the venue's status."""
    engine = engines.start(
        *CALM, "--symbols", "BTC/JPY,VET/USDT,DOGE/USD", "--strategy", f"{STRATEGIES}:Diary",
        "--param", f"path={tmp_path / 'diary'}", "--depth", 25,
    )  # fmt: skip
    engine.wait_until_live()
    engine.stop()
    (stop,) = Diary(tmp_path / "diary").entries("stop")

    assert stop["pairs"] == {"BTC/JPY": [0, 8], "VET/USDT": [6, 5], "DOGE/USD": [7, 8]}
    assert stop["venue_status"] == "online"


def test_several_strategies_and_shards_each_get_their_pairs(engines: Engines, tmp_path: Path):
    """Two feeds, two strategies: one follows everything, the other one pair of each shard's."""
    config = tmp_path / "engine.toml"
    config.write_text(
        f"""
        symbols = ["BTC/USD", "ETH/USD", "XRP/USD", "SOL/USD"]
        [feed]
        shards = 2
        cpus = [{CPU}]
        [[strategy]]
        target = "{STRATEGIES}:Diary"
        name = "all"
        params = {{ path = "{tmp_path / "all"}" }}
        [[strategy]]
        target = "{STRATEGIES}:AsyncDiary"
        name = "some"
        symbols = ["ETH/USD", "XRP/USD"]
        params = {{ path = "{tmp_path / "some"}" }}
        """
    )
    engine = engines.start(
        config, "--venue", "local", "--venue-options", "--rate 200", "--summary", tmp_path / "out.json"
    )
    followed = {"all": {"BTC/USD", "ETH/USD", "XRP/USD", "SOL/USD"}, "some": {"ETH/USD", "XRP/USD"}}
    diaries = {name: Diary(tmp_path / name) for name in followed}
    for name, symbols in followed.items():
        eventually(
            lambda name=name, symbols=symbols: {e["symbol"] for e in diaries[name].entries("book")} >= symbols,
            f"{name} has a book of each of its pairs",
        )
    pinned = {"public_feed" in " ".join(child.cmdline()): child.cpu_affinity() for child in engine.children()}
    assert pinned[True] == [CPU]
    assert engine.stop() == 0, engines.logs()
    summary = summary_of(tmp_path / "out.json")

    assert {ring for ring in summary["rings"] if ring.startswith("market")} == {"market-0", "market-1"}
    assert {entry["symbol"] for entry in Diary(tmp_path / "all").entries("book")} == set(summary["symbols"])
    assert {entry["symbol"] for entry in Diary(tmp_path / "some").entries("book")} == {"ETH/USD", "XRP/USD"}
    assert Diary(tmp_path / "some").entries("start")[0]["symbols"] == ["ETH/USD", "XRP/USD"]


def test_status_and_stop_speak_to_a_running_engine(engines: Engines, tmp_path: Path):
    """`engine status --json` has the summary's keys while it runs; `engine stop` ends it cleanly."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD", "--summary", tmp_path / "out.json")
    engine.wait_until_live()
    status = json.loads(engines.call("status", "--json").stdout)
    text = engines.call("status")
    stopped = engines.call("stop")

    assert set(status) >= CONTRACT
    assert status["exit"] == "running"
    assert status["strategy_host"]["rescues"] == 0
    assert "BTC/USD" in text.stdout
    assert stopped.returncode == 0
    assert engine.process.wait(PATIENCE_S) == 0
    assert json.loads((tmp_path / "out.json").read_text())["exit"] == "clean"
    assert engines.call("status").returncode == 2


def test_timers_tick_and_conflation_keeps_the_newest(engines: Engines, tmp_path: Path):
    """With conflate = "burst" a strategy sees no more books than updates, and its timer is called."""
    config = tmp_path / "engine.toml"
    config.write_text('[feed]\nconflate = "burst"\n')
    diary = Diary(tmp_path / "diary")
    engine = engines.start(
        config, *CALM, "--symbols", "BTC/USD", "--strategy", f"{STRATEGIES}:Timed",
        "--param", f"path={diary.path}", "--param", "books=true", "--summary", tmp_path / "out.json",
    )  # fmt: skip
    eventually(lambda: len(diary.entries("timer")) >= 5 and diary.entries("book"), "five timers, and a book")
    engine.stop()
    numbers = [entry["number"] for entry in diary.entries("book")]

    assert numbers == sorted(set(numbers))
    assert numbers[-1] == summary_of(tmp_path / "out.json")["symbols"]["BTC/USD"]["updates"]


def test_the_first_book_of_a_run_can_be_quoted(engines: Engines, tmp_path: Path):
    """A strategy sees no market before its orders are taken."""
    engine = engines.start(
        *CALM, "--symbols", "BTC/USD", "--strategy", STRATEGIES.parent / "first_book.py",
        "--summary", tmp_path / "out.json",
    )  # fmt: skip
    engine.wait_for(lambda s: s["orders"]["acknowledged"] or s["orders"]["refused"], "its order is answered")
    assert engine.stop() == 0, engines.logs()
    summary = summary_of(tmp_path / "out.json")

    assert summary["orders"]["refused"] == 0
    assert summary["orders"]["acknowledged"] == summary["ledger"]["orders"] == 1
    assert summary["ledger"]["agree"] is True
