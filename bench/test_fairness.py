"""What a strategy pays for the others, for records that are not for it, and for being
looked at.

    records    a record that nobody takes, alone and of a hundred, to each of sixty-four strategies
    places     sixty-four strategies through all processes: p50 of the last and of the second
    looking    the p99 of eight strategies while another process reads the engine's status
               five times a second, with 1,450 pairs followed
    positions  the router's periodic status with 4,000 positions open

The baselines are of the same run: copying the record out of the ring, the second strategy,
the same strategies unobserved, an empty status.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from rig import ENGINE, STRATEGIES, percentiles
from test_latency import SETTINGS, PacedSender, settled

from engine import BookTop, Strategy
from engine.clock import SystemClock
from engine.orders.positions import PositionState
from engine.processes.position_board import (
    POSITIONS_WRITTEN_MAX,
    PositionBoardWriter,
    format_position_board,
    position_board_bytes,
)
from engine.records import FeedState, pack_feed_state
from engine.ring import (
    BoardWriter,
    Publisher,
    Subscriber,
    board_bytes,
    format_board,
    format_ring,
    ring_bytes,
)
from engine.strategy_host.followed_ring import MarketPort
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.hosted_strategy import HostedStrategy, wire_latency
from engine.telemetry import new_counters
from engine.topology import market_record_bytes, plan_shards, strategy_counter_names

STRATEGY_COUNT = 64
PAIR_COUNT = 20
ROUNDS = 200
BURST = 100
SECONDS = 10.0
LOOKS_PER_S = 5
PAIRS_FOLLOWED = 1450
LOOKER = """
import sys, time
from pathlib import Path
from engine.cli.ask import summary_at
from engine.processes.scheduling import give_way
from engine.net.control_socket import NobodyListens
give_way()
took = []
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    began = time.monotonic()
    try:
        summary_at(Path(sys.argv[1]))
        took.append(time.monotonic() - began)
    except NobodyListens:
        pass
    time.sleep(max(0.0, began + float(sys.argv[3]) - time.monotonic()))
print(len(took), sorted(took)[len(took) // 2] if took else 0.0)
"""


class Empty(Strategy):
    """Is told, and does nothing."""

    def on_book(self, book: BookTop) -> None:
        pass


class OneRing:
    """A ring that sixty-four strategies share, each of which follows the first pair of
    twenty; `record` is of the last.
    """

    def __init__(self) -> None:
        symbols = [f"C{number}/USD" for number in range(PAIR_COUNT)]
        (shard,) = plan_shards(symbols, 1)
        record_bytes = market_record_bytes(10)
        ring = bytearray(ring_bytes(record_bytes, 8192))
        format_ring(ring, record_bytes=record_bytes, slot_count=8192)
        board = bytearray(board_bytes(record_bytes, shard.board_slots))
        format_board(board, record_bytes=record_bytes, slot_count=shard.board_slots)
        self.publisher, self.reader = Publisher(ring), Subscriber(ring)
        self.record = pack_feed_state(PAIR_COUNT - 1, FeedState.LIVE, "for nobody", 1)
        clock, names = SystemClock(), [f"s{number}" for number in range(STRATEGY_COUNT)]
        port, latency = MarketPort(shard, ring, board), wire_latency()
        self.host = StrategyHost(
            [
                HostedStrategy(Empty(), name, symbols=symbols[:1], ports=[port], clock=clock, latency=latency)
                for name in names
            ],
            new_counters(strategy_counter_names(names, [shard.ring_name])),
            clock,
        )
        self.host.do_work()

    def turn_us(self, records: int) -> float:
        """Of a turn that finds so many records for nobody, and of the look before sleep."""
        self.host.do_work()  # the caches are warm
        for _ in range(records):
            self.publisher.publish(self.record)
        began = time.thread_time()
        self.host.do_work()
        self.host.ready()
        return (time.thread_time() - began) * 1e6

    def copy_us(self, records: int) -> float:
        """The baseline: copying as many out of the ring, once."""
        for _ in range(records):
            self.publisher.publish(self.record)
        self.reader.jump_to(self.publisher.cursor + 1 - records)
        began = time.thread_time()
        for _ in range(records):
            self.reader.poll()
        return (time.thread_time() - began) * 1e6


def least_of(*works: Callable[[], float]) -> list[float]:
    """The medians of works that are done in turn."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for each, work in zip(took, works, strict=True):
            each.append(work())
    return [median(each) for each in took]


def test_records_for_nobody(benchmark: Any) -> None:
    """µs that a record which no strategy takes costs each of sixty-four."""
    ring = OneRing()

    def measure() -> list[float]:
        return least_of(
            lambda: ring.turn_us(0), lambda: ring.turn_us(1), lambda: ring.turn_us(BURST), lambda: ring.copy_us(BURST)
        )

    idle, one, burst, copied = benchmark.pedantic(measure, rounds=1)
    copy_us = copied / BURST
    record_us = (one - idle) / STRATEGY_COUNT
    benchmark.extra_info.update(
        record_us=round(record_us, 4),
        of_a_burst_us=round((burst - idle) / BURST / STRATEGY_COUNT, 4),
        turn_and_look_us=round(idle / STRATEGY_COUNT, 3),
        copy_us=round(copy_us, 4),
        ratio=round(record_us / copy_us, 3),
    )


def run_many(
    folder: Path, count: int, per_s: int, *, symbols: int = 2, looks: bool = False, more: str = ""
) -> tuple[list[list[float]], dict[str, Any], str]:
    """Run so many strategies: the delays of each in µs, the summary, what the looker said."""
    folder.mkdir()
    config, out = folder / "engine.toml", folder / "summary.json"
    tables = "".join(
        f'[[strategy]]\ntarget = "{STRATEGIES}:WireLatency"\nname = "s{number}"\nsymbols = ["BTC/USD", "ETH/USD"]\n'
        f'params = {{ out = "{folder / str(number)}" }}\n'
        for number in range(count)
    )
    names = ["BTC/USD", "ETH/USD", *(f"C{number}/USD" for number in range(symbols - 2))]
    config.write_text(f'symbols = {json.dumps(names)}\n{SETTINGS}{more}[log]\nlevel = "error"\n{tables}')
    own = os.environ | {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    said = ""
    with PacedSender(per_s) as sender:
        command = (*ENGINE, "run", config, "--venue", sender.url, "--seconds", SECONDS, "--summary", out)
        run = subprocess.Popen([str(part) for part in command], env=own)
        if looks:
            control = folder / "kraken-engine" / "default" / "control"
            looker = (sys.executable, "-P", "-c", LOOKER, str(control), str(SECONDS), str(1 / LOOKS_PER_S))
            said = subprocess.run(looker, env=own, capture_output=True, text=True, check=True).stdout
        assert run.wait() == 0
    delays = [settled(json.loads((folder / str(number)).read_text())["took_us"]) for number in range(count)]
    return delays, json.loads(out.read_text()), said


def test_the_last_of_sixty_four(benchmark: Any, tmp_path: Path) -> None:
    """p50 of the last of sixty-four strategies over that of the second."""
    found, _, _ = benchmark.pedantic(run_many, args=(tmp_path / "many", STRATEGY_COUNT, 200), rounds=1)
    p50s = [percentiles(each)["p50"] for each in found]

    benchmark.extra_info.update(
        last_p50_us=p50s[-1],
        second_p50_us=p50s[1],
        worst_p50_us=max(p50s),
        best_p50_us=min(p50s),
        ratio=round(p50s[-1] / p50s[1], 2),
    )


def test_looking_at_the_status(benchmark: Any, tmp_path: Path) -> None:
    """p99 of eight strategies, with and without a process that reads the status."""
    args = (8, 500)
    alone, _, _ = run_many(tmp_path / "alone", *args, symbols=PAIRS_FOLLOWED)
    looked, _, said = benchmark.pedantic(
        run_many, args=(tmp_path / "looked", *args), kwargs={"symbols": PAIRS_FOLLOWED, "looks": True}, rounds=1
    )
    before, after = (percentiles([us for each in found for us in each]) for found in (alone, looked))
    looks, took_s = said.split()

    benchmark.extra_info.update(
        p50_us=[before["p50"], after["p50"]],
        p99_us=after["p99"],
        alone_p99_us=before["p99"],
        ratio=round(after["p99"] / before["p99"], 2),
        ratio_p50=round(after["p50"] / before["p50"], 2),
        looks=int(looks),
        look_ms=round(float(took_s) * 1e3, 1),
    )


def test_positions_on_their_board(benchmark: Any) -> None:
    """µs of one writing of what has changed, at most, however many positions there are."""
    positions = [(f"s{number % 64}", f"C{number}/USD", PositionState(Decimal(1), Decimal(2))) for number in range(4000)]
    memory = bytearray(position_board_bytes(len(positions)))
    format_position_board(memory, len(positions))
    writer = PositionBoardWriter(memory)
    writer.store(positions)
    plain = bytearray(board_bytes(512, 64))
    format_board(plain, record_bytes=512, slot_count=64)
    board, text = BoardWriter(plain), b"x" * 100

    def write() -> float:
        began = time.thread_time()
        writer.store(positions[:POSITIONS_WRITTEN_MAX])
        return (time.thread_time() - began) * 1e6

    def store() -> float:
        began = time.thread_time()
        for slot in range(POSITIONS_WRITTEN_MAX):
            board.store(slot, text)
        return (time.thread_time() - began) * 1e6

    wrote, stored = benchmark.pedantic(lambda: least_of(write, store), rounds=1)
    benchmark.extra_info.update(stall_us=round(wrote, 1), ratio=round(wrote / stored, 2))
