"""Every pair of Kraken in one feed, in one process: what a snapshot costs, what stalls a
frame, and how soon a book in doubt is asked for.

Targets: a snapshot costs ten times its decode at most; no periodic work takes longer than
0.2 ms at 1,450 pairs; a book in doubt among a thousand silent ones is asked for at once.
"""

import gc
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import pytest
import structlog
from feed_path import FeedPath
from rig import interleave
from scale_rig import SEED

from engine.clock import ManualClock
from engine.kraken.public.messages import decode_book, decode_instrument
from engine.public_feed.sources import Sources, SourceSettings
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs
from engine.venue.market.exchange import Exchange, instruments_frame
from engine.venue.market.listing import listing
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start

KRAKENS = 1450
FEW = 10
ROUNDS = 7
POLL_NS, WORK_NS = 20 * NS_PER_MS, 100 * NS_PER_MS  # of the connection's ticks and of the duty cycle
SECONDS = 20
MINUTES = 3
SILENT_S = 90  # in which each silent book is renewed
PIECES = ("poll", "work", "count", "look", "silence")
OPENED_AT = WallNs(1_785_641_751_000_000_000)

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


class _Told:
    """A client of the exchange that keeps what it is told."""

    paused, plain = False, True

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.frames: list[bytes] = []

    def deliver(self, key: StreamKey, frame: bytes) -> None:
        self.frames.append(frame[payload_start(frame) :])

    def deliver_chunk(self, chunk: bytes) -> None:
        raise AssertionError("only a capture sends chunks")

    def flush(self) -> None: ...


class _AtOnce:
    def call_soon(self, callback: Callable[[], None]) -> "_AtOnce":
        callback()
        return self

    def call_later(self, delay: float, callback: Callable[[], None]) -> "_AtOnce":
        return self.call_soon(callback)

    def cancel(self) -> None: ...


class Load:
    """So many pairs: their instruments, a snapshot of each, and updates by Zipf's law."""

    def __init__(self, pairs: int, depth: int = 10, updates: int = 0) -> None:
        listed = listing(pairs, SEED)
        exchange = Exchange(listed, SEED, ManualClock(wall_ns=OPENED_AT), _AtOnce(), lambda: 0.0, (), has_bursts=True)
        self.symbols = tuple(pair.symbol for pair in listed)
        self.instruments = (frame := instruments_frame(listed))[payload_start(frame) :]
        told = _Told()
        for symbol in self.symbols:
            exchange.start(told, StreamKey("book", symbol, depth), snapshot=True)
        self.snapshots = list(told.frames)
        told.frames.clear()
        for _ in range(updates):
            exchange.next_event()
        self.updates = told.frames

    def path(self, depth: int = 10) -> FeedPath:
        """A feed that knows the pairs, and has no book yet."""
        path = FeedPath(self.symbols, depth=depth)
        path.take([self.instruments])
        while events := path.session.tell_pairs(MonoNs(time.monotonic_ns())):
            path.feed.on_events(events)
        return path


def _confirmed(request: bytes) -> list[bytes]:
    """What Kraken answers: one confirmation a pair, or a pong."""
    asked = json.loads(request)
    if "params" not in asked:
        return [b'{"method":"pong"}']
    channel = {"channel": asked["params"]["channel"]}
    results = [channel | {"symbol": symbol} for symbol in asked["params"].get("symbol", [])] or [channel]
    answer = {"method": asked["method"], "req_id": asked["req_id"], "success": True}
    return [json.dumps(answer | {"result": result}).encode() for result in results]


@pytest.fixture(autouse=True)
def _no_collections() -> Any:
    """The load is a hundred thousand objects: to look through them would be measured."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("depth", [10, 100, 1000])
def test_snapshot(benchmark: Any, depth: int) -> None:
    """Received, verified, published, stored, in bursts, as after a subscription of fifty."""
    load = Load(200, depth)
    path = load.path(depth)

    def take() -> None:
        path.take(load.snapshots)

    def baseline() -> None:
        for frame in load.snapshots:
            decode_book(frame)

    take_s, decode_s = interleave(ROUNDS, take, baseline)
    assert path.verified == ROUNDS * len(load.snapshots)
    benchmark.pedantic(take, rounds=1)
    count = len(load.snapshots)
    benchmark.extra_info.update(
        snapshot_us=round(median(take_s) / count * 1e6, 1),
        decode_us=round(median(decode_s) / count * 1e6, 2),
        ratio=round(median(take_s) / median(decode_s), 1),
        bytes=sum(map(len, load.snapshots)) // count,
    )


def test_a_cut_and_all_that_follows_it(benchmark: Any) -> None:
    """The connection is lost with all books live, and comes back: each piece that no frame
    can come between, and per pair beside ten pairs.
    """

    def cut_us(load: Load) -> dict[str, float]:
        path = load.path()
        path.take(load.snapshots)
        now = MonoNs(time.monotonic_ns())
        found = {}

        def note(name: str, work: Callable[[], object]) -> None:
            began = time.thread_time()
            work()
            found[name] = (time.thread_time() - began) * 1e6

        def cut() -> None:
            path.feed.on_events(path.session.closed(now, "reset"))
            path.feed.on_burst_end()

        note("cut", cut)
        note("opened", lambda: path.session.opened(now))
        note("instruments", lambda: path.take([load.instruments]))
        note("instruments_decoded", lambda: decode_instrument(load.instruments))
        longest = found["instruments_piece"] = 0.0  # of few pairs there is but one
        while events := path.session.tell_pairs(now):
            note("instruments_piece", lambda events=events: path.feed.on_events(events))  # type: ignore[misc]
            longest = found["instruments_piece"] = max(longest, found["instruments_piece"])
        note("snapshots", lambda: path.take(load.snapshots))
        return found

    many, few = Load(KRAKENS), Load(FEW)
    rounds = [(cut_us(many), cut_us(few)) for _ in range(ROUNDS)]
    benchmark.pedantic(cut_us, args=(few,), rounds=1)
    us = {name: median(round_[0][name] for round_ in rounds) for name in rounds[0][0]}
    few_us = {name: median(round_[1][name] for round_ in rounds) for name in us}
    benchmark.extra_info.update(
        {f"{name}_ms": round(value / 1e3, 2) for name, value in us.items()},
        cut_us_a_pair=round(us["cut"] / KRAKENS, 2),
        ratio=round(us["cut"] / KRAKENS / (few_us["cut"] / FEW), 2),
    )


def test_periodic_work(benchmark: Any) -> None:
    """Twenty seconds of 2,000 updates each, and a silence of all pairs, with all that time
    brings: the longest piece of it, of the median round, for a slice of another process lengthens any one of them.
    """

    def stall_us(load: Load) -> dict[str, float]:
        path = load.path()
        path.take(load.snapshots)
        clock = time.monotonic_ns()
        session = path.session
        # Frames carry the time of this machine, and ticks that of the twenty seconds.
        settings = SourceSettings(limits_ns=(2 * SECONDS * NS_PER_S,) * 3)
        path.feed.sources = Sources(session, settings, MonoNs(clock))
        for symbol in load.symbols:  # Kraken sends each at once
            path.feed.sources.ticker_came(symbol)
        frames = iter(load.updates)
        longest: dict[str, list[float]] = {name: [] for name in PIECES}

        def note(name: str, work: Callable[..., Any], *arguments: object) -> Any:
            began = time.thread_time()
            result = work(*arguments)
            longest[name].append((time.thread_time() - began) * 1e6)
            return result

        for tick in range(SECONDS * NS_PER_S // POLL_NS):
            clock += POLL_NS
            path.take([frame for _ in range(40) if (frame := next(frames, None)) is not None])
            note("poll", session.poll, MonoNs(clock))
            for answer in map(_confirmed, session.to_send()):
                path.take(answer)
            note("look", path.feed.look_at_sources, MonoNs(clock))
            if tick % (WORK_NS // POLL_NS) == 0:
                left = note("work", path.feed.do_work)
                while left:
                    left = note("count", path.feed.count_pairs)

        def all_of_a_tick() -> list[bytes]:
            if events := session.poll(MonoNs(clock)):
                path.feed.on_events(events)
                path.feed.on_burst_end()
            return session.to_send()

        # Then nobody trades any more: all books are silent for too long at once.
        snapshots = {json.loads(frame)["data"][0]["symbol"]: frame for frame in load.snapshots}
        for _ in range(SILENT_S * NS_PER_S // POLL_NS):
            clock += POLL_NS
            path.take([b'{"channel":"heartbeat"}'])
            for request in note("silence", all_of_a_tick):
                asked = json.loads(request)
                path.take(_confirmed(request))
                if asked["method"] == "subscribe":
                    path.take([snapshots[symbol] for symbol in asked["params"]["symbol"]])
        assert sum(feed.renewals for feed in session.feeds.values()) >= len(load.symbols)
        # The first seconds are the start: all pairs are asked for, and none is settled.
        settled = {name: took if name == "silence" else took[len(took) // 2 :] for name, took in longest.items()}
        return {name: sorted(took)[-2] for name, took in settled.items() if took}

    many, few = Load(KRAKENS, updates=SECONDS * 2_000), Load(FEW, updates=SECONDS * 2_000)
    rounds = [(stall_us(many), stall_us(few)) for _ in range(3)]
    benchmark.pedantic(stall_us, args=(few,), rounds=1)
    us = {name: median(round_[0].get(name, 0.0) for round_ in rounds) for name in PIECES}
    few_us = {name: median(round_[1].get(name, 0.0) for round_ in rounds) for name in us}
    benchmark.extra_info.update(
        {f"{name}_us": round(value, 1) for name, value in us.items()},
        longest_us=round(max(us.values()), 1),
        few_longest_us=round(max(few_us.values()), 1),
        ratio=round(max(us.values()) / max(few_us.values()), 2),
    )


def test_doubt_among_silent_pairs(benchmark: Any) -> None:
    """Every pair has been silent for a minute and waits to be renewed when the checksum of
    one is wrong: how long until it is asked for, in the session's own time, and how many
    requests go before it. Beside it a session of ten pairs.
    """

    def asked_after(load: Load) -> tuple[float, int]:
        path = load.path()
        session = path.session
        now = MonoNs(time.monotonic_ns())

        def step() -> list[dict[str, Any]]:
            nonlocal now
            now = MonoNs(now + POLL_NS)
            session.poll(now)
            requests = session.to_send()
            for request in requests:
                for answer in _confirmed(request):
                    session.receive(answer, now)
            return [json.loads(request) for request in requests]

        while session.requests_waiting or session.requests_unanswered:
            step()
        for frame in load.snapshots:
            session.receive(frame, now)
        silent_until = now + 61 * NS_PER_S
        while now < silent_until:
            step()
            session.receive(b'{"channel":"heartbeat"}', now)
        doubted = load.symbols[0]
        frame = next(frame for frame in load.updates if f'"{doubted}"'.encode() in frame)
        began, before = now, 0
        session.receive(frame.replace(b'"checksum":', b'"checksum":1,"was":'), now)
        while True:
            requests = [request for request in step() if "params" in request]
            for request in requests:
                if request["method"] == "subscribe" and doubted in request["params"].get("symbol", ()):
                    return (now - began) / NS_PER_MS, before
                before += 1

    many, few = Load(KRAKENS, updates=200), Load(FEW, updates=200)
    asked_ms, before = benchmark.pedantic(asked_after, args=(many,), rounds=1)
    few_ms, _ = asked_after(few)
    benchmark.extra_info.update(asked_ms=asked_ms, requests_before=before, ratio=round(asked_ms / few_ms, 2))


def test_a_minute_of_candles(benchmark: Any) -> None:
    """Every pair has had a trade in each of three minutes: the longest piece of closing their
    candles when a minute ends, with the counting that follows.
    """

    def piece_us(load: Load) -> float:
        clock = ManualClock(time.monotonic_ns(), wall_ns=OPENED_AT)
        path = FeedPath(load.symbols, candle_intervals_min=(1, 5), clock=clock)
        session, feed = path.session, path.feed
        path.take([load.instruments])
        while session.requests_waiting or session.requests_unanswered:
            clock.advance(POLL_NS)
            session.poll(clock.mono_ns())
            for request in session.to_send():
                path.take(_confirmed(request))
        pieces: list[float] = []
        for minute in range(MINUTES):
            for symbol in load.symbols:
                path.take([_trade(symbol, minute + 1, clock.wall_ns())])
            pieces.clear()
            for _ in range(60 * NS_PER_S // WORK_NS):
                clock.advance(WORK_NS)
                path.take([b'{"channel":"heartbeat"}'])
                work, is_behind = feed.do_work, True
                while is_behind:
                    began = time.thread_time()
                    is_behind = work()
                    pieces.append((time.thread_time() - began) * 1e6)
                    work = feed.go_on
        assert feed.candles is not None
        assert feed.candles.told >= (2 * MINUTES - 2) * len(load.symbols)
        return sorted(pieces)[-2]

    many, few = Load(KRAKENS), Load(FEW)
    rounds = [(piece_us(many), piece_us(few)) for _ in range(3)]
    benchmark.pedantic(piece_us, args=(few,), rounds=1)
    longest, few_longest = (median(round_[number] for round_ in rounds) for number in (0, 1))
    benchmark.extra_info.update(longest_us=round(longest, 1), ratio=round(longest / few_longest, 2))


def _trade(symbol: str, number: int, at: WallNs) -> bytes:
    """A trade that has just happened."""
    stamp = datetime.fromtimestamp(at / NS_PER_S, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return (
        f'{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","side":"buy","price":10.5,"qty":0.5,'
        f'"ord_type":"market","trade_id":{number},"timestamp":"{stamp}"}}]}}'
    ).encode()
