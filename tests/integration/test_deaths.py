"""Whatever dies, strategies are told first, the feed comes back, and nothing is left behind."""

import os
import signal
from pathlib import Path

import psutil

from tests.integration.rig import CALM, PATIENCE_S, STRATEGIES, Diary, Engines, eventually, segments_of, summary_of


def test_a_killed_feed_is_stale_before_any_further_book_and_comes_back(engines: Engines, tmp_path: Path):
    """kill -9 of the public feed under load: `stale` in each pair's story, then live, and only then books again."""
    diary = Diary(tmp_path / "diary")
    engine = engines.start(
        "--venue", "local", "--venue-options", "--rate 2000", "--symbols", "BTC/USD,ETH/USD",
        "--strategy", f"{STRATEGIES}:Diary", "--param", f"path={diary.path}", "--summary", tmp_path / "out.json",
    )  # fmt: skip

    def wait_for_snapshot(number: int) -> None:
        """Until each pair's books of so many lives of the feed are counted, which it does
        ten times a second.
        """
        engine.wait_for(
            lambda s: all(pair["snapshots"] == number for pair in s["symbols"].values()), "it is live and counted"
        )

    wait_for_snapshot(1)
    for restarts in (1, 2):
        (pid,) = engine.feed_pids()
        os.kill(pid, signal.SIGKILL)
        engine.wait_for(lambda s, n=restarts: s["restarts"]["public_feed-0"] == n, "the feed was restarted")
        wait_for_snapshot(restarts + 1)
    engine.stop()
    summary = summary_of(tmp_path / "out.json")

    for symbol in ("BTC/USD", "ETH/USD"):
        story = [e for e in diary.entries("state", "book") if e["symbol"] == symbol]
        states = [e["state"] for e in story if e["what"] == "state"]
        assert states == ["live", "stale", "live", "stale", "live"]
        state = "stale"
        for entry in story:
            state = entry.get("state", state)
            assert entry["what"] == "state" or state == "live"
        assert "killed by SIGKILL" in next(e["reason"] for e in story if e.get("state") == "stale")
        # The counters outlive the processes.
        assert summary["symbols"][symbol]["snapshots"] == 3
        assert summary["symbols"][symbol]["mismatches"] == 0
    assert summary["rings"]["market-0"]["gaps"] == 0


def test_a_hung_feed_is_killed_and_replaced(engines: Engines, tmp_path: Path):
    """A feed that is stopped gives no sign of life: the supervisor ends it and starts another."""
    config = tmp_path / "engine.toml"
    config.write_text("[engine]\nactor_silence_s = 1.0\n")
    engine = engines.start(config, *CALM, "--symbols", "BTC/USD")
    engine.wait_until_live()
    (pid,) = engine.feed_pids()
    os.kill(pid, signal.SIGSTOP)

    engine.wait_for(lambda s: s["restarts"]["public_feed-0"] == 1, "the hung feed was replaced")
    assert engine.wait_until_live()["processes"]["public_feed-0"] != pid
    assert engine.stop() == 0


def test_a_killed_engine_leaves_no_process_and_no_shared_memory(engines: Engines, tmp_path: Path):
    """kill -9 of the engine: its children die with it, the segments with them, and its name is free again."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD,ETH/USD", "--shards", "2")
    engine.wait_until_live()
    children = engine.children()
    assert all(segments_of(pid) for pid in engine.feed_pids())
    # What has a name there would outlive them; other programs use the directory as well.
    assert not any("/dev/shm/" in Path(f"/proc/{child.pid}/maps").read_text() for child in children)
    engine.stop(signal.SIGKILL)

    assert len(children) >= 3
    eventually(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children),
               "no child is left")  # fmt: skip
    again = engines.start(*CALM, "--symbols", "BTC/USD")
    again.wait_until_live()
    assert again.stop() == 0


def test_a_stopped_engine_leaves_nothing(engines: Engines, tmp_path: Path):
    """SIGTERM and SIGINT end everything, cleanly, and the run directory is gone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        engine = engines.start(*CALM, "--symbols", "BTC/USD", "--name", "one")
        eventually(lambda: engines.call("status", "--name", "one").returncode == 0, "the engine answers")
        children = engine.children()

        assert engine.stop(number) == 0
        assert not any(child.is_running() for child in children)
        assert not (engines.runtime / "kraken-engine").exists()


def test_a_dead_local_venue_ends_the_run_with_its_reason(engines: Engines, tmp_path: Path):
    """The local venue is part of the run: when it dies the engine says so and does not wait for ever."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD", "--summary", tmp_path / "out.json")
    engine.wait_until_live()
    (venue,) = [child for child in engine.children() if "venue" in " ".join(child.cmdline())]
    venue.kill()

    assert engine.process.wait(PATIENCE_S) == 1
    assert "local venue" in summary_of(tmp_path / "out.json")["exit"]


def test_two_engines_of_one_name_do_not_meet(engines: Engines):
    """The second is refused with one sentence; the first goes on."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD")
    engine.wait_until_live()
    second = engines.call("run", *CALM, "--symbols", "BTC/USD")

    assert second.returncode == 2
    assert "already" in second.stderr
    assert engine.status()["exit"] == "running"
