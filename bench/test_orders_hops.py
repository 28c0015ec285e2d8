"""Where the time of an order goes, hop by hop, in one process: the real parts side by side, no socket but a pair.

Each hop is measured in its place in the journey, not in a loop of its own, which would flatter it by a half: back to
back, and after a millisecond of sleep before each step, as a process is found that waited for something to do. Waking
up across processes is in test_ring.py (`test_hop`). Baselines: on the way out, writing the order's text and sending
it; on the way back, decoding the same frames with msgspec.
"""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from bare_client import decode_answer, decode_rows
from order_path import QTY, SYMBOL, TOKEN, OrderPath, Stamps
from rig import interleave

from engine.strategy.orders import Order
from engine.units import NS_PER_S, MonoNs

JOURNEYS = 1500
OPEN_ORDERS = (0, 50, 200)
FEW_JOURNEYS = 200
NAP_S = {"back to back": 0.0, "after 1 ms of sleep": 0.001}


@pytest.fixture
def path(tmp_path: Path) -> Any:
    """A path of one's own."""
    path = OrderPath(tmp_path)
    yield path
    path.close()


def bare_text(key: str, number: int) -> bytes:
    """The same order, written down with no thought."""
    return (
        f'{{"method":"add_order","params":{{"order_type":"limit","side":"buy","order_qty":{QTY},"limit_price":63501.6,'
        f'"post_only":true,"cl_ord_id":"{key}","symbol":"{SYMBOL}","deadline":"2026-01-22T06:06:20.832Z",'
        f'"token":"{TOKEN}"}},"req_id":{number}}}'
    ).encode()


def nap(seconds: float) -> None:
    """Sleep, or go straight on."""
    if seconds:
        time.sleep(seconds)


def end(path: OrderPath, order: Order, number: int) -> None:
    """Have the order acknowledged and filled, so that none stays open."""
    path.answer(path.ack_frame(order, number))
    for frame in path.fill_frames(order, number):
        path.execute(frame)
    path.route()
    path.news()


def journeys(path: OrderPath, stamps: Stamps, nap_s: float, first: int) -> list[float]:
    """JOURNEYS orders to the socket, each with a nap before the call and before the router's turn; `first` numbers
    them. Returns what the baseline took beside each, in µs.
    """
    bare_us = []
    for number in range(first, first + JOURNEYS):
        stamps.begin_journey()
        nap(nap_s)
        called_at = time.perf_counter_ns()
        order = path.submit()
        stamps.note("to_ring", path.commands_in.flushed_ns - called_at)
        nap(nap_s)
        stamps.begin("to_bytes")
        stamps.begin("to_journal")
        path.route()
        stamps.end_journey()
        path.frames.take()
        began = time.perf_counter_ns()
        path.frames._ours.send(bare_text(order.id, number))
        bare_us.append((time.perf_counter_ns() - began) / 1e3)
        path.frames.take()
        end(path, order, number)
    return bare_us


@pytest.mark.parametrize("pace", NAP_S)
def test_strategy_to_wire(benchmark: Any, path: OrderPath, pace: str) -> None:
    """`to_bytes` is the strategy's call up to the record in the ring, where the router's own process goes on, and the
    router's turn up to the bytes, with nothing measured between. The hops are of a second pass, whose stamps cost
    something themselves: `client` is the whole call, the rest is the router's. What is compiled has no hops.
    """
    whole, stamps, nap_s = Stamps(), Stamps(), NAP_S[pace]
    whole.wrap_until(path.frames, "send", "to_bytes")
    bare_us = benchmark.pedantic(journeys, args=(path, whole, nap_s, 0), rounds=1)

    stamps.wrap(path, "submit", "client")
    stamps.wrap(path, "route", "router")
    stamps.wrap_until(path.core.records, "write_encoded", "to_journal")
    stamps.wrap(path.core.records, "write_encoded", "journal")
    stamps.wrap(path.core.records, "apply", "apply")
    stamps.wrap(path.frames, "send", "socket")
    journeys(path, stamps, nap_s, JOURNEYS)

    us = stamps.median_us
    found = {
        "client": us("client"),
        "checks_and_text": us("to_journal") - us("journal"),
        "journal": us("journal"),
        "send": us("socket"),
        "apply_and_report": us("apply"),
        "all": us("client") + us("router"),
        "to_ring": whole.median_us("to_ring"),
        "to_bytes": whole.median_us("to_ring") + whole.median_us("to_bytes"),
    }
    bare = median(bare_us)
    benchmark.extra_info.update({name: round(took, 1) for name, took in found.items()})
    benchmark.extra_info.update(bare_us=round(bare, 1), ratio=round(found["to_bytes"] / bare, 1))


@pytest.mark.parametrize("pace", NAP_S)
def test_changes_to_wire(benchmark: Any, path: OrderPath, pace: str) -> None:
    """An amend of an open order, then its cancel: the strategy's call and the router's turn up to the bytes; the ratio
    is to sending the same bytes.
    """
    nap_s, bare_us = NAP_S[pace], []
    changes: dict[str, Callable[[Order], object]] = {
        "amend": lambda order: path.client.amend(order, {"limit": path.bid - 1}),
        "cancel": lambda order: path.client.cancel([order]),
    }
    stamps = Stamps()
    stamps.wrap_until(path.frames, "send", "to_bytes")
    found: dict[str, list[float]] = {name: [] for name in changes}

    def changed() -> None:
        for number in range(JOURNEYS):
            order = path.submit()
            path.route()
            path.frames.take()
            path.answer(path.ack_frame(order, number))
            path.news()
            for name, change in changes.items():
                nap(nap_s)
                began = time.perf_counter_ns()
                change(order)
                called_ns = time.perf_counter_ns() - began
                nap(nap_s)
                stamps.begin_journey()
                stamps.begin("to_bytes")
                path.route()
                stamps.end_journey()
                found[name].append(called_ns / 1e3 + stamps.journeys[-1]["to_bytes"] / 1e3)
                request = path.frames.take()
                nap(nap_s)
                began = time.perf_counter_ns()
                path.frames._ours.send(request)
                bare_us.append((time.perf_counter_ns() - began) / 1e3)
                path.frames.take()
                path.answer(path.ack_frame(order, number, f"{name}_order"))
            path.execute(path.canceled_frame(order, number))
            path.route()
            path.news()
            assert not order.is_open

    benchmark.pedantic(changed, rounds=1)
    us, bare = {name: median(took[JOURNEYS // 5 :]) for name, took in found.items()}, median(bare_us)
    benchmark.extra_info.update({f"{name}_us": round(took, 1) for name, took in us.items()})
    benchmark.extra_info.update(
        bare_us=round(bare, 1), **{f"{name}_ratio": round(took / bare, 1) for name, took in us.items()}
    )


@pytest.mark.parametrize("open_orders", OPEN_ORDERS)
def test_risk_beside_open_orders(benchmark: Any, path: OrderPath, open_orders: int) -> None:
    """The checks of a new order when so many are open on its pair; the ratio is to none open."""
    order = path.submit()
    path.route()
    intent = path.blotter.open[order.id].intent
    end(path, order, 0)
    path.frames.take()
    judge, pair = path.core.new_orders._judge, path.pair
    mono_ns = path.clock.mono_ns

    def check_all() -> None:
        for _ in range(1000):
            assert judge("Bench", (("other", intent),), mono_ns()) == pair

    check_all()
    (with_none_s,) = interleave(5, check_all)
    for _ in range(open_orders):
        path.submit()
        path.route()
        path.frames.take()
        path.news()
    benchmark.pedantic(check_all, rounds=5)
    took_us = benchmark.stats.stats.median * 1e6 / 1000
    benchmark.extra_info.update(us=round(took_us, 1), ratio=round(took_us / (median(with_none_s) * 1000), 1))


@pytest.mark.parametrize("pace", NAP_S)
def test_wire_to_callback(benchmark: Any, path: OrderPath, pace: str) -> None:
    """An order's answer, and the two frames of its fill, until the strategy would be called.

    `answer_told` and `fill_told` are the router's turn up to the waking of the strategy: of the answer, and of the
    trade's row.
    """
    stamps, nap_s = Stamps(), NAP_S[pace]
    bare: dict[str, list[float]] = {"answer": [], "fill": []}
    for owner, method, name in (
        (path.session, "receive", "session"), (path, "answer", "router"), (path, "news", "client"),
        (path, "execute", "private_feed"), (path, "route", "router"), (path.feed_session, "receive", "session"),
        (path.core.records, "write_facts", "journal"), (path.blotter, "apply", "blotter"),
        (path.blotter, "on_execution", "decide"), (path.blotter, "on_acknowledged", "decide"),
        (path.core.records.outboxes["Bench"], "send", "report"),
    ):  # fmt: skip
        stamps.wrap(owner, method, name)
    acks, fills = Stamps(), Stamps()

    def timed(kind: str, decode: Callable[[bytes], object], frame: bytes) -> None:
        began = time.perf_counter_ns()
        decode(frame)
        bare[kind].append((time.perf_counter_ns() - began) / 1e3)

    def journeys() -> None:
        for number in range(JOURNEYS):
            order = path.submit()
            path.route()
            path.frames.take()
            path.news()
            answer, (trade, filled) = path.ack_frame(order, number), path.fill_frames(order, number)
            stamps.begin_journey()
            nap(nap_s)
            began = time.perf_counter_ns()
            path.answer(answer)
            stamps.note("told", path.reports_in.flushed_ns - began)
            nap(nap_s)
            path.news()
            stamps.end_journey()
            acks.journeys.append(stamps.journeys[-1])
            stamps.begin_journey()
            for frame in (trade, filled):
                nap(nap_s)
                path.execute(frame)
                nap(nap_s)
                began = time.perf_counter_ns()
                path.route()
                if frame is trade:
                    stamps.note("told", path.reports_in.flushed_ns - began)
                nap(nap_s)
                path.news()
            stamps.end_journey()
            fills.journeys.append(stamps.journeys[-1])
            nap(nap_s)
            timed("answer", decode_answer, answer)
            timed("fill", decode_rows, trade)
            timed("fill", decode_rows, filled)

    benchmark.pedantic(journeys, rounds=1)
    ack, fill = acks.median_us, fills.median_us
    found = {
        "answer": ack("router") + ack("client"),
        "answer_session": ack("session"),
        "answer_router": ack("router") - ack("session"),
        "answer_told": ack("told"),
        "answer_client": ack("client"),
        "fill": fill("private_feed") + fill("router") + fill("client"),
        "fill_private_feed": fill("private_feed"),
        "fill_router": fill("router"),
        "fill_told": fill("told"),
        "fill_router_decide": fill("decide"),
        "fill_router_journal": fill("journal"),
        "fill_router_blotter": fill("blotter"),
        "fill_router_reports": fill("report"),
        "fill_client": fill("client"),
    }
    base = median(bare["answer"]) + 2 * median(bare["fill"])
    benchmark.extra_info.update({name: round(took, 1) for name, took in found.items()})
    benchmark.extra_info.update(
        decode_answer_us=round(median(bare["answer"]), 1),
        decode_fill_us=round(2 * median(bare["fill"]), 1),
        ratio=round((found["answer"] + found["fill"]) / base, 1),
    )


def lives(path: OrderPath) -> tuple[float, float]:
    """Of an order that is acknowledged and filled, and of the balances after each of its
    steps: reports to all strategies, and µs of the router.
    """
    records, took_ns = path.core.records, 0

    def step(do: Callable[[], object]) -> None:
        nonlocal took_ns
        began = time.thread_time_ns()
        do()
        records.tell_balances(MonoNs(path.clock.mono_ns() + next(later) * NS_PER_S))
        path.core.end_burst()
        took_ns += time.thread_time_ns() - began

    later = count(1)
    before = sum(outbox.sent for outbox in records.outboxes.values())
    for number in range(FEW_JOURNEYS):
        order = path.submit()
        step(path.route)
        path.answer(path.ack_frame(order, number))
        for frame in path.fill_frames(order, number):
            path.execute(frame)
        step(path.route)
        path.news()
        path.frames.take()
        path.take_reports_of_others()
    sent = sum(outbox.sent for outbox in records.outboxes.values()) - before
    return sent / FEW_JOURNEYS, took_ns / FEW_JOURNEYS / 1e3


@pytest.mark.parametrize("balances", ["on_balance", "read"])
@pytest.mark.parametrize("strategies", [9, 64])
def test_reports_of_an_order(benchmark: Any, tmp_path: Path, strategies: int, balances: str) -> None:
    """Of which the balances after each step are told to every strategy that overrides
    `on_balance`, and once on their board for those that read them."""
    is_called = balances == "on_balance"
    alone = OrderPath(tmp_path / "alone", are_called_with_balances=is_called)
    among = OrderPath(tmp_path / "among", others=strategies - 1, are_called_with_balances=is_called)
    one, one_us = lives(alone)
    all_of_them, all_us = benchmark.pedantic(lives, args=(among,), rounds=1)
    alone.close()
    among.close()

    benchmark.extra_info.update(
        reports=round(all_of_them, 1),
        alone_reports=round(one, 1),
        ratio=round(all_of_them / one, 2),
        router_us=round(all_us, 1),
        ratio_us=round(all_us / one_us, 2),
    )
