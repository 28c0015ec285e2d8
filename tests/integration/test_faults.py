"""The venue misbehaves by seed; the engine keeps its word: no wrong book is ever live, and nobody else pays."""

import asyncio
from pathlib import Path

from engine.kraken.connection.messages import HEARTBEAT
from tests.integration.rig import STRATEGIES, Diary, Engines, eventually, json_lines, summary_of
from tests.kraken.wire import Tape, acks, error
from tests.net.rig import TEXT, Peer, Server, text


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


def test_one_bad_pair_is_resynchronised_alone(engines: Engines, tmp_path: Path):
    """Damage on one pair: that pair is stale, mended and live again; the other and the connection never notice."""
    engine, diary = start(engines, tmp_path, "corrupt=0.002@ETH/USD")
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


def test_a_lost_connection_is_made_again(engines: Engines, tmp_path: Path):
    """Cut without a close frame: all pairs stale, then live again."""
    engine, diary = start(engines, tmp_path, "cut@2", rate=200)
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


def test_an_engine_that_runs_goes_on_though_kraken_refuses_it_the_list_of_pairs(engines: Engines, tmp_path: Path):
    """Once, on a new connection: at its start that ends it, for then it is the address that is wrong."""
    tape, is_live = Tape("BTC/USD"), asyncio.Event()

    def beat(peer: Peer) -> None:
        peer.write(text(HEARTBEAT))
        asyncio.get_running_loop().call_later(0.5, beat, peer)

    async def answer(peer: Peer, refused: bytes = b"no channel") -> None:
        await peer.accept()
        beat(peer)
        while True:
            opcode, request = await peer.read()
            if opcode != TEXT or b'"ping"' in request:
                peer.write(text(b'{"method":"pong"}'))
            elif refused in request:
                peer.write(text(error(request, "Internal error")))
            else:
                peer.write(text(*acks(request)))
                if b'"book"' in request and b'"subscribe"' in request:
                    peer.write(text(tape.snapshot()))

    async def first(peer: Peer) -> None:
        answering = asyncio.ensure_future(answer(peer))
        await is_live.wait()
        answering.cancel()
        peer.reset()

    async def scenario() -> int:
        async with Server(first, lambda peer: answer(peer, b'"instrument"')) as server:
            engine = engines.start("--venue", server.url, "--symbols", "BTC/USD", "--log-format", "json")
            for count in (1, 2):
                await asyncio.to_thread(
                    engine.wait_for,
                    lambda s, count=count: s["symbols"]["BTC/USD"]["snapshots"] >= count,
                    f"snapshot {count}",
                )
                is_live.set()
            return await asyncio.to_thread(engine.stop)

    assert asyncio.run(scenario()) == 0
    refused = [line["channel"] for line in json_lines(engines.logs()) if line["event"] == "subscription refused"]
    assert refused == ["instrument"]
