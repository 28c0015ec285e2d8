"""What faults do to trading requests, each as an exact script: what the ledger says, and
what the client saw.
"""

import json

import msgspec
import pytest

from engine.errors import ConfigError
from engine.venue.server import Venue
from engine.venue.websocket.faults import parse_fault
from engine.venue.websocket.private_faults import PrivateFaults
from tests.venue.trading_rig import STILL, later, trading
from tests.virtual_time import VirtualTime


def accepted(venue: Venue) -> list[str | None]:
    """The client ids of what the venue has really accepted."""
    return [order.cl_ord_id for order in venue.trading_side.trading.ledger.orders()]


def replies(trader) -> list[dict]:
    return [message for message in map(json.loads, trader.client.frames) if message.get("method") == "add_order"]


@pytest.mark.parametrize(
    ("kind", "executed", "error"),
    [
        ("drop-answer", True, None),
        ("lost", False, None),
        ("unavailable", False, "EService:Unavailable"),
        ("unavailable-done", True, "EService:Unavailable"),
        ("token-death", False, "ESession:Invalid session"),
    ],
)
async def test_what_was_done_and_what_was_said(kind, executed, error, virtual_time: VirtualTime):
    """Exactly the next request suffers; the one after it does not."""
    async with Venue(STILL, virtual_time) as venue, trading(venue) as trader:
        venue.trading_side.faults.script(kind, method="add_order")
        trader.send(
            "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50_000.0, order_qty=0.01,
            cl_ord_id="struck",
        )  # fmt: skip
        await virtual_time.passes(30)
        said = [reply.get("error") for reply in replies(trader)]
        await trader.limit(cl_ord_id="spared")

        assert said == ([] if error is None else [error])
        assert accepted(venue) == (["struck"] if executed else []) + ([] if kind == "token-death" else ["spared"])
    assert venue.fault_counts == {kind: 1}


async def test_a_late_request_is_executed_before_its_deadline(virtual_time: VirtualTime):
    """Overtaken by what came after it, answered when it was done."""
    async with Venue(STILL, virtual_time) as venue, trading(venue) as trader:
        venue.trading_side.faults.script("late")
        late = trader.send(
            "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50_000.0, order_qty=0.01,
            cl_ord_id="late", deadline=later(0.6, virtual_time),
        )  # fmt: skip
        await trader.limit(cl_ord_id="soon")
        answer = (await trader.answers(late))[0]

        assert answer["success"]
        assert accepted(venue) == ["soon", "late"]


EXECUTED_SEEDS = (0, 3)


@pytest.mark.parametrize("seed", range(4))
async def test_a_cut_on_a_request_executes_it_or_not(seed):
    """By coin: both happen, and the client cannot tell."""
    async with Venue(msgspec.structs.replace(STILL, seed=seed)) as venue, trading(venue) as trader:
        venue.trading_side.faults.script("private-cut")
        trader.send("add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50_000.0, order_qty=0.01)
        await trader.client.ended.wait()

        assert trader.client.close_code is None
        assert replies(trader) == []
        assert len(accepted(venue)) == (1 if seed in EXECUTED_SEEDS else 0)


async def test_a_frame_is_missing_from_the_sequence():
    """Numbered, but never sent."""
    async with Venue(STILL) as venue, trading(venue, "executions") as trader:
        venue.trading_side.faults.script("sequence-gap")
        await trader.limit()
        await trader.rows(lambda row: row["exec_type"] == "new")
        sequences = [
            message["sequence"]
            for message in map(json.loads, trader.client.frames)
            if message.get("channel") == "executions"
        ]

    assert sequences == [1, 3]


async def test_a_snapshot_tells_its_fills_twice():
    """The same exec_id, the same frame."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        await trader.ask("add_order", order_type="market", side="buy", symbol="BTC/USD", order_qty=0.001)
        venue.trading_side.faults.script("snapshot-again")
        await trader.ask("subscribe", channel="executions", snap_trades=True)
        snapshot = await trader.frame("executions")

    first, second = snapshot["data"]
    assert first == second


async def test_a_reordered_amend_is_overtaken_by_the_cancel():
    """Unacknowledged changes of one order have no order on a WebSocket."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        await trader.limit(cl_ord_id="x")
        venue.trading_side.faults.script("reorder", method="amend_order")
        amend = trader.send("amend_order", cl_ord_id="x", limit_price=51_000.0)
        cancel = trader.send("cancel_order", cl_ord_id=["x"])
        canceled, amended = (await trader.answers(cancel))[0], (await trader.answers(amend))[0]

    assert canceled["success"]
    assert amended["error"] == "EOrder:Unknown order"


async def test_one_row_of_a_batch_is_refused_while_others_live():
    """Rows with an error among rows with an id; a lower count for a batch cancel."""
    order = {"order_type": "limit", "side": "buy", "limit_price": 50_000.0, "order_qty": 0.01}
    async with Venue(STILL) as venue, trading(venue) as trader:
        venue.trading_side.faults.script("batch-refusal", count=2)
        added = await trader.ask("batch_add", symbol="BTC/USD", orders=[order] * 3)
        ids = [row["order_id"] for row in added["result"] if "order_id" in row]
        canceled = await trader.ask("batch_cancel", orders=ids)

    assert added["success"]
    assert [row["error"] for row in added["result"] if "error" in row] == ["EOrder:Insufficient funds"]
    assert (len(ids), canceled["orders_cancelled"]) == (2, 1)


def test_rates_are_seeded_and_can_be_switched():
    """The same seed strikes the same requests; a symbol narrows it; set and clear take
    effect at once.
    """
    specs = (parse_fault("drop-answer=0.3"), parse_fault("lost=1@ETH/USD"))

    def struck(seed: int) -> list[str | None]:
        faults = PrivateFaults(specs, seed, {})
        return [faults.request_fault("add_order", ("BTC/USD",)) for _ in range(50)]

    assert struck(1) == struck(1) != struck(2)
    assert set(struck(1)) == {None, "drop-answer"}
    faults = PrivateFaults(specs, 0, {})
    assert faults.request_fault("add_order", ("ETH/USD",)) == "lost"
    faults.clear()
    assert faults.are_quiet
    faults.set("late", 1.0)
    assert faults.request_fault("cancel_all") == "late"
    with pytest.raises(ConfigError, match="there is none of this name"):
        faults.set("latte", 1.0)


async def test_timed_cuts_and_closes_hit_private_connections_too():
    """`cut@S` and `close:CODE@S` are for every connection then open."""
    settings = msgspec.structs.replace(STILL, faults=(parse_fault("close:1012@0.1"), parse_fault("lost@0")))
    async with Venue(settings) as venue, trading(venue) as trader:
        await trader.client.ended.wait()

    assert trader.client.close_code == 1012
