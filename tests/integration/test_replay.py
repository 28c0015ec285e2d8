"""Replay: genuine frames through the same sessions, books, ring and strategy, with and without damage."""

import json
import random
from pathlib import Path

import pytest

from tests.integration.rig import CAPTURES, STRATEGIES, Diary, Engines, summary_of

CROSSBOOK = CAPTURES / "capture_crossbook_kraken_btcusd_sample.jsonl"
FLASHBOOK = CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
UNSUBSCRIBED = '{"method":"unsubscribe","result":{"channel":"book","depth":25,"symbol":"BTC/USD"},"success":true}'
SUBSCRIBED = (
    '{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"BTC/USD"},"success":true}'
)


def replay(engines: Engines, *captures: Path, strategy: str = "Diary") -> tuple[dict, Diary]:
    """Replay with a diary; the summary and the diary."""
    folder = engines.folder
    diary = Diary(folder / f"diary-{len(list(folder.glob('diary-*')))}")
    call = engines.call(
        "replay", *captures, "--strategy", f"{STRATEGIES}:{strategy}", "--param", f"path={diary.path}",
        "--summary", folder / "out.json", "--log-level", "error",
    )  # fmt: skip
    assert call.returncode == 0, call.stderr
    return summary_of(folder / "out.json"), diary


def last_top(capture: Path, symbol: str) -> tuple[dict[str, str], dict[str, str]]:
    """Best bid and ask after a capture, by the text of its frames alone: a second opinion without our code."""
    bids: dict[str, str] = {}
    asks: dict[str, str] = {}
    depth = 10
    for line in capture.read_text().splitlines():
        message = json.loads(line, parse_float=str)
        if message.get("channel") != "book":
            continue
        for data in message["data"]:
            if data["symbol"] != symbol:
                continue
            if message["type"] == "snapshot":
                bids.clear()
                asks.clear()
                depth = len(data["bids"])
            for side, levels in ((bids, data["bids"]), (asks, data["asks"])):
                for level in levels:
                    side.pop(level["price"], None)
                    if float(level["qty"]):
                        side[level["price"]] = level["qty"]
            for side, best_first in ((bids, True), (asks, False)):
                for price in sorted(side, key=float, reverse=best_first)[depth:]:
                    del side[price]
    bid, ask = max(bids, key=float), min(asks, key=float)
    return {"price": bid, "qty": bids[bid]}, {"price": ask, "qty": asks[ask]}


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("captures", "updates"),
    [((CROSSBOOK,), {"BTC/USD": 2051}), ((FLASHBOOK,), {"BTC/USD": 561, "ETH/USD": 2399}),
     ((CROSSBOOK, FLASHBOOK), {"BTC/USD": 2612, "ETH/USD": 2399})],
    ids=["depth 25", "depth 10", "one after the other"],
)  # fmt: skip
def test_every_checksum_of_a_genuine_capture_verifies(engines: Engines, captures: tuple[Path, ...], updates: dict):
    """No mismatch, nothing unknown or malformed, and the last state is what the frames' own text says."""
    summary, diary = replay(engines, *captures)

    assert (summary["unknown"], summary["malformed"], summary["exit"]) == (0, 0, "clean")
    for symbol, count in updates.items():
        pair = summary["symbols"][symbol]
        assert (pair["updates"], pair["mismatches"], pair["resyncs"], pair["ignored"]) == (count, 0, 0, 0)
        assert pair["verified"] == pair["updates"] + pair["snapshots"]
        assert pair["state"] == "live"
        assert (pair["best_bid"], pair["best_ask"]) == last_top(captures[-1], symbol)
    books = sum(pair["verified"] for pair in summary["symbols"].values())
    assert len(diary.entries("book")) == books
    assert summary["latency_us"]["wire_to_strategy"]["count"] >= books
    assert summary["rings"]["market-0"]["gaps"] == 0


def test_a_replay_tells_the_same_story_every_time(engines: Engines):
    """P8: what a strategy is told does not depend on when it is replayed."""
    stories = []
    for _ in range(2):
        _, diary = replay(engines, FLASHBOOK)
        stories.append([{k: v for k, v in entry.items() if k != "at_ns"} for entry in diary.entries()])

    assert stories[0] == stories[1]


def test_async_strategies_are_waited_for(engines: Engines, tmp_path: Path):
    """A replay loses nothing to a strategy that awaits."""
    short = write(tmp_path / "short.jsonl", FLASHBOOK.read_text().splitlines()[:200])
    summary, diary = replay(engines, short, strategy="AsyncDiary")

    assert len(diary.entries("book")) == sum(pair["verified"] for pair in summary["symbols"].values())


@pytest.mark.parametrize("seed", range(4))
def test_a_hole_is_caught_and_the_book_is_not_live_until_a_snapshot(engines: Engines, tmp_path: Path, seed: int):
    """One update missing: the first checksum that can show it does, and no book follows before the snapshot."""
    lines = CROSSBOOK.read_text().splitlines()
    snapshot = next(line for line in lines if '"snapshot","data"' in line)
    updates = [n for n, line in enumerate(lines) if '"type":"update","data":[{"symbol"' in line]
    dropped = random.Random(seed).choice(updates[100:-600])
    # 500 frames on, the same subscription begins anew, as its recorder's client could have made it.
    again = dropped + 500
    fresh = [UNSUBSCRIBED, SUBSCRIBED, snapshot]
    damaged = write(tmp_path / "hole.jsonl", [*lines[:dropped], *lines[dropped + 1 : again], *fresh])
    summary, diary = replay(engines, damaged)
    pair = summary["symbols"]["BTC/USD"]

    if pair["mismatches"] == 0:  # the hole was below the ten levels that the checksum sees, until the snapshot
        assert diary.states("BTC/USD") == ["live", "stale", "live"]
    else:
        assert pair["mismatches"] == 1
        assert diary.states("BTC/USD") == ["live", "stale", "live"]
        assert pair["ignored"] > 0
    assert pair["state"] == "live"
    state = "stale"
    for entry in diary.entries("state", "book"):
        state = entry.get("state", state)
        assert entry["what"] == "state" or state == "live"


def test_without_a_snapshot_a_damaged_book_stays_stale(engines: Engines, tmp_path: Path):
    """After the mismatch nothing in the rest of the capture makes the book live again."""
    lines = FLASHBOOK.read_text().splitlines()
    eth = [n for n, line in enumerate(lines) if '"update","data":[{"symbol":"ETH/USD","bids"' in line]
    damaged = write(tmp_path / "hole.jsonl", [line for n, line in enumerate(lines) if n != eth[300]])
    summary, diary = replay(engines, damaged)

    assert summary["symbols"]["ETH/USD"]["state"] == "stale"
    assert summary["symbols"]["ETH/USD"]["mismatches"] == 1
    assert diary.states("ETH/USD") == ["live", "stale"]
    assert summary["symbols"]["BTC/USD"]["state"] == "live"
    assert summary["symbols"]["BTC/USD"]["mismatches"] == 0


def test_resubscribing_in_mid_stream_is_followed(engines: Engines, tmp_path: Path):
    """Unsubscribed: stale. Subscribed again, at once or twice: live with the snapshot, whatever depth it has."""
    lines = CROSSBOOK.read_text().splitlines()
    snapshot = next(line for line in lines if '"snapshot","data"' in line)
    story = [*lines[:400], UNSUBSCRIBED, SUBSCRIBED, UNSUBSCRIBED, SUBSCRIBED, '{"channel":"heartbeat"}', snapshot]
    summary, diary = replay(engines, write(tmp_path / "again.jsonl", story))

    assert diary.states("BTC/USD") == ["live", "stale", "live"]
    assert summary["symbols"]["BTC/USD"]["snapshots"] == 2
    assert summary["symbols"]["BTC/USD"]["mismatches"] == 0


def test_a_reconnect_in_mid_capture_ends_every_book(engines: Engines, tmp_path: Path):
    """A status of another connection: stale at once, though no checksum has had a chance to differ."""
    lines = FLASHBOOK.read_text().splitlines()
    reconnected = lines[0].replace('"connection_id":', '"connection_id":1')
    assert reconnected != lines[0]
    summary, diary = replay(engines, write(tmp_path / "twice.jsonl", [*lines[:900], reconnected, *lines[1:900]]))

    for symbol in ("BTC/USD", "ETH/USD"):
        assert diary.states(symbol) == ["live", "stale", "live"]
        assert summary["symbols"][symbol]["mismatches"] == 0
        assert summary["symbols"][symbol]["snapshots"] == 2


def test_bad_lines_among_good_ones_are_counted(engines: Engines, tmp_path: Path):
    """Proxy text, a cut line and an unknown channel: counted, and every book verified all the same."""
    lines = CROSSBOOK.read_text().splitlines()
    lines[50:50] = ["CloudFlare WebSocket proxy restarting", lines[50][:60], '{"channel":"news","data":[]}']
    summary, _ = replay(engines, write(tmp_path / "noisy.jsonl", lines))

    assert (summary["malformed"], summary["unknown"]) == (2, 1)
    assert summary["symbols"]["BTC/USD"]["mismatches"] == 0


def test_one_pair_of_a_capture_can_be_replayed_alone(engines: Engines, tmp_path: Path):
    """--symbols narrows the replay; the other pair's frames are no errors."""
    call = engines.call("replay", FLASHBOOK, "--symbols", "ETH/USD", "--summary", tmp_path / "out.json")
    summary = summary_of(tmp_path / "out.json")

    assert call.returncode == 0
    assert list(summary["symbols"]) == ["ETH/USD"]
    assert summary["symbols"]["ETH/USD"]["updates"] == 2399
    assert (summary["unknown"], summary["malformed"]) == (0, 0)


WALL_CLOCK = """
from engine import Strategy

class WallClock(Strategy):
    def on_start(self):
        self.began_at = self.context.wall_now()

    def on_book(self, book):
        self.last = self.context.wall_now(), book.kraken_time

    def on_stop(self):
        print(self.began_at, *self.last)
"""


def test_the_wall_clock_is_the_captures(engines: Engines, tmp_path: Path):
    """From the start on: what depends on the time of day is as it was."""
    (tmp_path / "wall_clock.py").write_text(WALL_CLOCK)
    call = engines.call("replay", FLASHBOOK, "--strategy", tmp_path / "wall_clock.py", "--log-level", "error")
    began_at, last_at, last_book_at = map(int, call.stdout.splitlines()[0].split())

    assert 0 <= last_book_at - began_at < 3600 * 10**9
    assert 0 <= last_at - last_book_at < 10**9


def test_a_parameter_of_the_command_line_wins_over_the_file_and_leaves_the_others(engines: Engines) -> None:
    """For one run: the other parameters, the name and the target stay those of the file."""
    folder = engines.folder
    (folder / "bot.py").write_text(
        "from decimal import Decimal\nfrom engine import Strategy\n\n\nclass Bot(Strategy):\n"
        "    qty: Decimal = Decimal(1)\n    pace_s: float = 1.0\n\n"
        "    def on_start(self) -> None:\n"
        "        self.context.log.info('begins', qty=str(self.qty), pace_s=self.pace_s)\n"
    )
    (folder / "bot.toml").write_text(
        '[[strategy]]\ntarget = "bot.py"\nname = "mine"\nparams = { qty = "2", pace_s = 0.5 }\n'
    )
    call = engines.call(
        "replay", CROSSBOOK, "--config", folder / "bot.toml", "--param", "qty=0.003", "--log-format", "json"
    )
    (said,) = [line for line in map(json.loads, call.stderr.splitlines()) if line["event"] == "begins"]

    assert call.returncode == 0, call.stderr
    assert (said["strategy"], said["qty"], said["pace_s"]) == ("mine", "0.003", 0.5)
