"""The venue misbehaves by seed; the engine keeps its word: no wrong book is ever live, and nobody else pays."""

from pathlib import Path

import pytest

from tests.integration.rig import STRATEGIES, Diary, Engines, eventually, summary_of


def story_of(diary: Diary, symbol: str) -> list[dict]:
    """States and books of one pair, in order."""
    return [entry for entry in diary.entries("state", "book") if entry["symbol"] == symbol]


def assert_books_only_while_live(diary: Diary, symbols: list[str]) -> None:
    """P1: between stale and live no book is called back."""
    for symbol in symbols:
        state = "stale"
        for entry in story_of(diary, symbol):
            state = entry.get("state", state)
            assert entry["what"] == "state" or state == "live", f"{symbol}: a book while {state}"


def start(engines: Engines, tmp_path: Path, fault: str, *options: str, rate: int = 500):
    """An engine with a diary on a venue with one fault."""
    diary = Diary(tmp_path / "diary")
    engine = engines.start(
        "--venue", "local", "--venue-options", f"--seed 3 --rate {rate} --fault {fault}",
        "--symbols", "BTC/USD,ETH/USD", "--strategy", f"{STRATEGIES}:Diary", "--param", f"path={diary.path}",
        "--summary", tmp_path / "out.json", *options,
    )  # fmt: skip
    return engine, diary


@pytest.mark.parametrize("kind", ["corrupt", "badcrc", "drop"])
def test_one_bad_pair_is_resynchronised_alone(engines: Engines, tmp_path: Path, kind: str):
    """Damage on one pair: that pair is stale, mended and live again; the other and the connection never notice."""
    engine, diary = start(engines, tmp_path, f"{kind}=0.002@ETH/USD")
    engine.wait_for(lambda s: s["symbols"]["ETH/USD"]["resyncs"] >= 1 and s["symbols"]["ETH/USD"]["snapshots"] >= 2,
                    "the damaged pair was resynchronised")  # fmt: skip
    engine.stop()
    summary = summary_of(tmp_path / "out.json")
    bad, good = summary["symbols"]["ETH/USD"], summary["symbols"]["BTC/USD"]

    assert bad["mismatches"] >= 1
    assert bad["resyncs"] <= bad["mismatches"]
    assert "checksum" in next(e["reason"] for e in story_of(diary, "ETH/USD") if e.get("state") == "stale")
    assert (good["mismatches"], good["resyncs"], good["snapshots"]) == (0, 0, 1)
    assert diary.states("BTC/USD") == ["live"]
    assert summary["feeds"]["public_feed-0"]["disconnects"] <= 1
    assert_books_only_while_live(diary, ["BTC/USD", "ETH/USD"])


def test_a_checksum_that_is_always_wrong_is_never_taken_for_good(engines: Engines, tmp_path: Path):
    """The pair never becomes live from a bad update on, ends untrusted, and asks at most once in five seconds."""
    engine, diary = start(engines, tmp_path, "badcrc=1.0@ETH/USD")
    engine.wait_for(lambda s: s["symbols"]["ETH/USD"]["state"] == "untrusted", "the pair is untrusted")
    status = engine.wait_for(lambda s: s["symbols"]["BTC/USD"]["updates"] > 500, "the other pair flows")
    engine.stop()

    assert status["symbols"]["ETH/USD"]["resyncs"] <= 1 + status["seconds"] / 5
    assert diary.states("BTC/USD") == ["live"]
    assert_books_only_while_live(diary, ["BTC/USD", "ETH/USD"])


@pytest.mark.parametrize("fault", ["cut@2", "close:1012@2", "silent@2"])
def test_a_lost_connection_is_made_again(engines: Engines, tmp_path: Path, fault: str):
    """Cut without a close frame, closed with a code, or open and silent: all pairs stale, then live again."""
    engine, diary = start(engines, tmp_path, fault)
    engine.wait_for(lambda s: all(p["snapshots"] >= 2 and p["state"] == "live" for p in s["symbols"].values()),
                    "both pairs are live again")  # fmt: skip
    engine.stop()
    summary = summary_of(tmp_path / "out.json")

    assert set(summary["restarts"].values()) == {0}
    assert summary["feeds"]["public_feed-0"]["connects"] >= 2
    for symbol in ("BTC/USD", "ETH/USD"):
        assert diary.states(symbol)[:3] == ["live", "stale", "live"]
        assert summary["symbols"][symbol]["mismatches"] == 0
    assert_books_only_while_live(diary, ["BTC/USD", "ETH/USD"])


def test_a_mute_subscription_is_noticed_while_heartbeats_go_on(engines: Engines, tmp_path: Path):
    """One pair's channel says nothing more: after book_silence_s it is unproved and live, and is asked for alone."""
    config = tmp_path / "engine.toml"
    # Books alone: the fault strikes whatever channel of the pair speaks next.
    config.write_text("[feed]\nbook_silence_s = 5.0\ntrades = false\ntickers = false\n")
    engine, diary = start(engines, tmp_path, "mute@2@ETH/USD", config)
    engine.wait_for(
        lambda s: s["symbols"]["ETH/USD"]["renewals"] >= 1 and s["symbols"]["ETH/USD"]["snapshots"] >= 2,
        "the mute pair has proved itself",
    )
    engine.stop()
    told = [(event["state"], event["reason"]) for event in story_of(diary, "ETH/USD") if "state" in event]

    assert [state for state, _ in told[:2]] == ["live", "live"]
    assert told[1][1].startswith("unproved: book silent for ")
    assert diary.states("BTC/USD") == ["live"]
    assert_books_only_while_live(diary, ["BTC/USD", "ETH/USD"])


def test_frames_that_nobody_understands_are_counted_and_harmless(engines: Engines, tmp_path: Path):
    """Proxy text and unknown channels: counted, logged rarely, and every book stays live."""
    engine, diary = start(engines, tmp_path, "noise=0.02 --fault unknown=0.02")
    status = engine.wait_for(lambda s: s["unknown"] >= 3 and s["malformed"] >= 3, "some of each")
    engine.stop()

    assert all(pair["mismatches"] == 0 for pair in status["symbols"].values())
    assert diary.states("BTC/USD") == ["live"]
    assert engines.logs().count("unknown frame") == 1


def test_maintenance_is_survived(engines: Engines, tmp_path: Path):
    """Kraken closes and comes back: the books are stale with that reason and come back, the status is told."""
    engine, diary = start(engines, tmp_path, "maintenance@5", rate=200)
    pairs = ("BTC/USD", "ETH/USD")
    eventually(
        lambda: all(diary.states(pair)[:3] == ["live", "stale", "live"] for pair in pairs), "both are live again"
    )
    engine.stop()

    for pair in pairs:
        stale = next(event for event in story_of(diary, pair) if event.get("state") == "stale")
        assert stale["reason"] == "Kraken is in maintenance"
    assert_books_only_while_live(diary, list(pairs))
    assert "maintenance" in engines.logs()
