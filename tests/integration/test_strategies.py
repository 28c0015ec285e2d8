"""Strategies that are slow, asynchronous or broken: nobody else pays for them."""

from pathlib import Path

from tests.integration.rig import STRATEGIES, Diary, Engines, eventually, summary_of

MISSED = 9_000  # records, while a strategy sleeps: three seconds of the venue's


def test_a_strategy_that_sleeps_is_lapped_told_and_given_the_newest_books(engines: Engines, tmp_path: Path):
    """The feed goes on for thousands of records, the gap is counted, and the next book is
    today's.
    """
    config = tmp_path / "engine.toml"
    config.write_text(
        f"""
        symbols = ["BTC/USD", "ETH/USD", "MINA/GBP"]
        [[strategy]]
        target = "{STRATEGIES}:Sleeper"
        params = {{ path = "{tmp_path / "sleeper"}", until = "{tmp_path / "wake"}" }}
        """
    )
    diary = Diary(tmp_path / "sleeper")
    engine = engines.start(
        config, "--venue", "local", "--venue-options", "--rate 3000", "--summary", tmp_path / "out.json"
    )
    eventually(lambda: diary.entries("sleep"), "it sleeps")
    published = engine.status()["rings"]["market-0"]["published"]
    engine.wait_for(lambda s: s["rings"]["market-0"]["published"] > published + MISSED, "the feed goes on")
    (tmp_path / "wake").touch()
    eventually(lambda: diary.entries("awake"), "it wakes")
    woke = len(diary.entries())
    eventually(lambda: len(diary.entries()) > woke + 500, "it goes on")
    engine.stop()
    summary = summary_of(tmp_path / "out.json")
    story = diary.entries()
    awake = next(index for index, entry in enumerate(story) if entry["what"] == "awake")
    before = {e["symbol"]: e["number"] for e in story[:awake] if e["what"] == "book"}
    after = {}
    for entry in story[awake + 2 :]:  # what follows `awake` at once is the book that it slept in
        if entry["what"] == "book":
            after.setdefault(entry["symbol"], entry["number"])

    conduct = summary["strategies"]["Sleeper"]
    assert conduct["laps"] == 1
    assert conduct["gaps"] == summary["rings"]["market-0"]["gaps"] > 1000
    assert conduct["received"] + conduct["gaps"] == summary["rings"]["market-0"]["published"]
    assert conduct["slow"] >= 1
    # The first book of a busy pair after waking is thousands of updates on, not the next one.
    assert after["BTC/USD"] > before["BTC/USD"] + 500
    assert all(pair["state"] == "live" and pair["mismatches"] == 0 for pair in summary["symbols"].values())
    # The feed never stopped: it published while the strategy slept.
    assert sum(pair["updates"] for pair in summary["symbols"].values()) > conduct["received"] / 2


def test_a_strategy_that_raises_is_halted_and_the_others_go_on(engines: Engines, tmp_path: Path):
    """After its allowance of errors it is called no more; the engine and the other strategy do not notice."""
    config = tmp_path / "engine.toml"
    config.write_text(
        f"""
        symbols = ["BTC/USD"]
        [engine]
        strategy_errors_per_minute_max = 3
        [[strategy]]
        target = "{STRATEGIES}:Raiser"
        [[strategy]]
        target = "{STRATEGIES}:Diary"
        params = {{ path = "{tmp_path / "diary"}" }}
        """
    )
    engine = engines.start(config, "--venue", "local", "--summary", tmp_path / "out.json")
    eventually(lambda: len(Diary(tmp_path / "diary").entries("book")) > 100, "the other strategy goes on")
    assert engine.stop() == 0
    summary = summary_of(tmp_path / "out.json")

    assert summary["strategies"]["Raiser"]["halted"]
    assert summary["strategies"]["Raiser"]["errors"] == 4
    assert not summary["strategies"]["Diary"]["halted"]
    assert summary["strategies"]["Diary"]["errors"] == 0
    assert "no good: BTC/USD" in engines.logs()


def test_an_async_strategy_is_called_in_order_and_never_twice_at_once(engines: Engines, tmp_path: Path):
    """While a callback waits the strategy's records stay in the ring: numbers grow, and what was missed is counted."""
    config = tmp_path / "engine.toml"
    config.write_text("[engine]\nstrategy_lag_s_max = 60.0\n")
    diary = Diary(tmp_path / "diary")
    engine = engines.start(
        config, "--venue", "local", "--symbols", "BTC/USD", "--strategy", f"{STRATEGIES}:AsyncDiary",
        "--param", f"path={diary.path}", "--summary", tmp_path / "out.json",
    )  # fmt: skip
    eventually(lambda: len(diary.entries("book")) > 200, "two hundred books")
    assert engine.stop() == 0
    numbers = [entry["number"] for entry in diary.entries("book")]

    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert summary_of(tmp_path / "out.json")["strategies"]["AsyncDiary"]["gaps"] == 0
