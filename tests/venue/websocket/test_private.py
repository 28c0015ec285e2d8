"""The private WebSocket over real sockets: sessions, subscriptions, methods, and the
streams' own pace.
"""

import json
from datetime import datetime, timedelta

import msgspec
import pytest

from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from tests.venue.trading_rig import STILL, later, new_token, trading
from tests.venue.venue_client import connected
from tests.virtual_time import VirtualTime
from tests.waiting import until


def settings(**changes) -> VenueSettings:
    return msgspec.structs.replace(STILL, **changes)


# --- session


async def test_a_status_comes_first_and_heartbeats_after_the_first_subscription(virtual_time: VirtualTime):
    """Nothing else is said to a client who asks nothing."""
    async with Venue(settings(heartbeat_s=1.0), virtual_time) as venue, connected(venue.private_url) as client:
        first = await client.next()
        await virtual_time.passes(30)
        assert len(client.frames) == 1
        client.ask(method="subscribe", params={"channel": "balances", "token": new_token(venue)})
        await client.next(lambda message: message == {"channel": "heartbeat"})

    assert first["channel"] == "status"
    assert first["data"][0]["system"] == "online"


async def test_pings_keep_a_connection_that_is_closed_when_idle(virtual_time: VirtualTime):
    """A pong has neither success nor result."""
    async with Venue(settings(idle_close_s=60.0), virtual_time) as venue, connected(venue.private_url) as client:
        client.ask(method="ping", req_id=694480169830934)
        pong = await client.reply()
        await client.ended.wait()

    assert set(pong) == {"method", "req_id", "time_in", "time_out"}
    assert client.close_code == 1000


async def test_every_request_needs_a_living_token():
    """A wrong one, an old one, none at all."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        none = await trader.ask("cancel_all", token=None)
        trader.token = "nonsense"
        wrong = await trader.limit()
        subscription = await trader.ask("subscribe", channel="executions")

    assert none["error"] == "Token(s) not found"
    assert wrong["error"] == subscription["error"] == "ESession:Invalid session"
    assert wrong["method"] == "add_order"


async def test_a_subscription_with_a_dead_token_is_refused_as_on_the_wire(genuine):
    """It names its channel and has a status, which no other refusal has (2026-09-25)."""
    lines = (genuine / "errors.jsonl").read_text().splitlines()
    kraken = next(row for row in map(json.loads, lines) if row.get("channel") == "executions")
    async with Venue(STILL) as venue, connected(venue.private_url) as client:
        client.ask(method="subscribe", params={"channel": "executions", "token": "nonsense"})
        ours = await client.reply()

    assert list(ours) == list(kraken)
    assert {key: ours[key] for key in ours if key not in ("time_in", "time_out")} == {
        key: kraken[key] for key in kraken if key not in ("time_in", "time_out")
    }


async def test_a_token_lives_on_while_a_subscription_holds_it():
    """Fifteen minutes otherwise, counted on the venue's clock."""
    from engine.clock import ManualClock
    from engine.units import NS_PER_S

    class Shifted(ManualClock):
        """The system's clock, and what the test adds to it."""

        def __init__(self) -> None:
            from engine.clock import SystemClock

            super().__init__()
            self._real = SystemClock()

        def mono_ns(self):
            return self._real.mono_ns() + super().mono_ns()

        def wall_ns(self):
            return self._real.wall_ns() + super().wall_ns()

    clock = Shifted()
    async with Venue(STILL, clock) as venue, trading(venue, "executions") as holder, trading(venue) as other:
        clock.advance(901 * NS_PER_S)
        held, loose = await holder.limit(), await other.limit()

    assert held["success"]
    assert loose["error"] == "ESession:Invalid session"


async def test_permissions_of_the_key_count():
    """A key that may only look is refused with Kraken's words."""
    from engine.venue.setup.keys import KeySpec

    async with Venue(STILL) as venue, trading(venue) as trader:
        looker = venue.keys.add(KeySpec(permissions=("query-funds", "create-ws-token")))
        trader.token = venue.trading_side.tokens.issue(looker, venue.clock.mono_ns())
        add = await trader.limit()
        executions = await trader.ask("subscribe", channel="executions")
        balances = await trader.ask("subscribe", channel="balances")

    assert add["error"] == executions["error"] == "EGeneral:Permission denied"
    assert balances["success"]


# --- subscriptions


async def test_the_ack_of_executions_tells_the_tier():
    """maxratecount is the tier's threshold; the four warnings are genuine."""
    async with Venue(settings(tier="pro")) as venue, trading(venue) as trader:
        ack = await trader.ask("subscribe", channel="executions", snap_trades=True)
        snapshot = await trader.frame("executions")
        again = await trader.ask("subscribe", channel="executions")

    assert ack["result"] == {
        "channel": "executions",
        "maxratecount": 180,
        "snap_orders": True,
        "snap_trades": True,
        "snapshot": True,
        "warnings": [
            "cancel_reason is deprecated, use reason",
            "stop_price is deprecated, use triggers.price",
            "trigger is deprecated use triggers.reference",
            "triggered_price is deprecated use triggers.last_price",
        ],
    }
    assert snapshot == {"channel": "executions", "type": "snapshot", "data": [], "sequence": 1}
    assert again["error"] == "Already subscribed"


async def test_a_snapshot_holds_open_orders_and_the_last_fills():
    """Balances: all assets; each subscription counts its frames from one."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        await trader.limit(cl_ord_id="resting")
        await trader.ask("add_order", order_type="market", side="buy", symbol="BTC/USD", order_qty=0.001)
        async with trading(venue, "executions", "balances", snap_trades=True) as late:
            snapshot, balances = await late.frame("executions"), await late.frame("balances")
            await late.limit()
            await late.rows(lambda row: row.get("exec_type") == "new", 2)
            frames = [json.loads(text) for text in late.client.frames]

    order, fill = snapshot["data"]
    assert (order["cl_ord_id"], order["exec_type"], order["order_status"]) == ("resting", "new", "new")
    assert (fill["exec_type"], fill["order_status"]) == ("trade", "filled")
    assert "cum_qty" not in fill
    assert {row["asset"] for row in balances["data"]} == {"BTC", "ETH", "USD"}
    assert [frame["sequence"] for frame in frames if frame.get("channel") == "executions"] == [1, 2, 3]


async def test_unsubscribing_ends_the_stream():
    """No frame after the ack; another subscription begins anew."""
    async with Venue(STILL) as venue, trading(venue, "executions") as trader:
        await trader.limit()
        ended = await trader.ask("unsubscribe", channel="executions")
        count = len(trader.all_rows())
        await trader.limit()
        not_there = await trader.ask("unsubscribe", channel="executions")

    assert ended["result"] == {"channel": "executions"}
    assert not_there["error"] == "Subscription Not Found"
    assert len(trader.all_rows()) == count


async def test_order_status_and_ratecounter_shape_the_stream():
    """Without order_status only openings and endings; with ratecounter each row has the
    pair's counter.
    """
    async with (
        Venue(settings(count_rates=True)) as venue,
        trading(venue, "executions", order_status=False) as quiet,
        trading(venue, "executions", ratecounter=True) as counting,
    ):
        await counting.limit(cl_ord_id="x")
        await counting.ask("cancel_order", cl_ord_id=["x"])
        counted = await counting.rows(lambda row: row["exec_type"] == "canceled")
        await quiet.rows(lambda row: row["exec_type"] == "canceled")

        assert [row["exec_type"] for row in quiet.all_rows()] == ["new", "canceled"]
    assert 8.9 < counted[0]["ratecount"] <= 9


async def test_public_channels_are_not_here():
    """The private endpoint says where to go."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        reply = await trader.ask("subscribe", channel="book", symbol=["BTC/USD"])

    assert "Try ws.kraken.com" in reply["error"]


# --- methods


async def test_orders_from_first_to_last():
    """Add, amend, edit, cancel: each answer names what Kraken's does."""
    async with Venue(STILL) as venue, trading(venue, "executions") as trader:
        added = await trader.limit(cl_ord_id="one", deadline=later(3))
        amended = await trader.ask("amend_order", cl_ord_id="one", limit_price=51_000.0)
        order_id = added["result"]["order_id"]
        edited = await trader.ask("edit_order", order_id=order_id, symbol="BTC/USD", order_qty=0.02)
        new_id = edited["result"]["order_id"]
        canceled = await trader.ask("cancel_order", order_id=[new_id])
        again = await trader.ask("cancel_order", order_id=[new_id])
        rows = await trader.rows(lambda row: row.get("exec_type") == "canceled", 2)

    assert added["result"] == {"cl_ord_id": "one", "order_id": order_id}
    assert set(amended["result"]) == {"amend_id", "cl_ord_id"}
    assert edited["result"] == {"order_id": new_id, "original_order_id": order_id}
    assert canceled["result"] == {"order_id": new_id}
    assert again["error"] == "EOrder:Unknown order"
    assert set(again) == {"error", "method", "req_id", "success", "time_in", "time_out"}
    assert [row["reason"] for row in rows] == ["Order replaced", "User requested"]


async def test_a_cancel_is_answered_order_by_order():
    """All answers carry the same req_id; a failure does not say whose it is."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        for name in ("a", "b"):
            await trader.limit(cl_ord_id=name)
        answers = await trader.answers(trader.send("cancel_order", cl_ord_id=["a", "nobody", "b"]), 3)

    assert [answer.get("result") for answer in answers] == [{"cl_ord_id": "a"}, None, {"cl_ord_id": "b"}]


@pytest.mark.parametrize("shape", ["count", "orders_cancelled"])
async def test_batches(shape):
    """Rows in the order asked; the answer to a batch cancel in either of Kraken's shapes."""
    order = {"order_type": "limit", "side": "buy", "limit_price": 50_000.0, "order_qty": 0.01}
    async with Venue(settings(batch_cancel_shape=shape)) as venue, trading(venue) as trader:
        added = await trader.ask("batch_add", symbol="BTC/USD", orders=[order | {"cl_ord_id": "x"}, order])
        ids = [row["order_id"] for row in added["result"]]
        canceled = await trader.ask("batch_cancel", orders=ids)
        one_bad = await trader.ask("batch_add", symbol="BTC/USD", orders=[order, order | {"limit_price": 0.01}])

    assert added["result"][0]["cl_ord_id"] == "x"
    if shape == "count":
        assert canceled["result"] == {"count": 2}
    else:
        assert canceled["orders_cancelled"] == 2
        assert "result" not in canceled
    assert one_bad["success"] is False


async def test_validation_places_nothing():
    """All checks, an empty order id, no order."""
    async with Venue(STILL) as venue, trading(venue, "executions") as trader:
        good = await trader.limit(validate=True)
        bad = await trader.limit(validate=True, qty=1000.0)

        assert good["result"] == {"order_id": ""}
        assert bad["error"] == "EOrder:Insufficient funds"
        assert venue.trading_side.trading.ledger.orders() == []


async def test_deprecated_parameters_are_taken_with_a_warning():
    """no_mpp does nothing any more; the flat stop_price still works."""
    async with Venue(STILL) as venue, trading(venue) as trader:
        market = await trader.ask(
            "add_order", order_type="market", side="buy", symbol="BTC/USD", order_qty=0.001, no_mpp=True
        )
        stop = await trader.ask(
            "add_order", order_type="stop-loss", side="sell", symbol="BTC/USD", order_qty=0.001, stop_price=50_000.0
        )

    assert market["result"]["warnings"] == ["no_mpp is deprecated"]
    assert "stop_price is deprecated" in stop["result"]["warnings"][0]


async def test_deadlines_have_a_window(virtual_time: VirtualTime):
    """Half a second to a minute ahead; what is over is over."""
    async with Venue(STILL, virtual_time) as venue, trading(venue) as trader:
        over = await trader.limit(deadline=later(-1, virtual_time))
        near, far = (
            await trader.limit(deadline=later(0.2, virtual_time)),
            await trader.limit(deadline=later(90, virtual_time)),
        )

    assert over["error"] == "EService:Deadline elapsed"
    assert near["error"] == far["error"] == "EGeneral:Invalid arguments:deadline"


async def test_a_batch_cancel_is_answered_flat():
    """The count beside `success` and no result, as on the wire in 2024 and in 2026; nothing
    open counts as none.
    """
    async with Venue(settings()) as venue, trading(venue) as trader:
        order = await trader.limit()
        first = await trader.ask("batch_cancel", orders=[order["result"]["order_id"], "OAAAAA-BBBBB-CCCCCC"])
        again = await trader.ask("batch_cancel", orders=[order["result"]["order_id"], "OAAAAA-BBBBB-CCCCCC"])

    assert [answer["orders_cancelled"] for answer in (first, again)] == [1, 0]
    assert first.keys() == {"method", "orders_cancelled", "req_id", "success", "time_in", "time_out"}
    assert first["success"] is again["success"] is True


async def test_fok_is_for_orders_with_a_limit():
    """All of it at once or nothing; an order without a limit cannot ask for it."""
    async with Venue(settings()) as venue, trading(venue) as trader:
        asked = {"symbol": "BTC/USD", "side": "buy", "time_in_force": "fok"}
        filled = await trader.ask("add_order", order_type="limit", limit_price=90_000.0, order_qty=0.001, **asked)
        refused = await trader.ask("add_order", order_type="market", order_qty=0.001, **asked)

    assert filled["success"] is True
    assert refused["error"] == "EGeneral:Invalid arguments:time_in_force"


async def test_the_dead_mans_switch_is_driven_by_the_venues_own_timer(virtual_time: VirtualTime):
    """The orders are canceled without any request."""
    async with Venue(STILL, virtual_time) as venue, trading(venue, "executions") as trader:
        await trader.limit()
        armed = await trader.ask("cancel_all_orders_after", timeout=1)
        (row,) = await trader.rows(lambda row: row.get("exec_type") == "canceled")
        disarmed = await trader.ask("cancel_all_orders_after", timeout=0)

    moments = [datetime.fromisoformat(armed["result"][name]) for name in ("currentTime", "triggerTime")]
    assert moments[1] - moments[0] == timedelta(seconds=1)
    assert armed["result"]["currentTime"].endswith("Z")
    assert row["reason"] == "Cancel all orders after"
    assert disarmed["result"]["triggerTime"] == "0"


# --- the two paths


async def test_answers_and_streams_overtake_each_other():
    """Two independent paths: sometimes the ack is first, sometimes the row.

    Each keeps its own order.
    """
    async with Venue(STILL) as venue, trading(venue, "executions") as trader:
        for number in range(40):
            await trader.limit(cl_ord_id=f"o{number}")
        await trader.rows(lambda row: row["exec_type"] == "new", 40)
        frames = [json.loads(text) for text in trader.client.frames]
    acked = {frame["result"]["cl_ord_id"]: at for at, frame in enumerate(frames) if frame.get("method") == "add_order"}
    told = {
        frame["data"][0]["cl_ord_id"]: at
        for at, frame in enumerate(frames)
        if frame.get("channel") == "executions" and frame["data"] and frame["data"][0]["exec_type"] == "pending_new"
    }

    assert {acked[name] < told[name] for name in acked} == {True, False}
    sequences = [frame["sequence"] for frame in frames if frame.get("channel") == "executions"]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_the_front_end_answers_before_the_engine():
    """A malformed request is answered at once, even behind one that the engine still has."""
    async with Venue(settings(engine_latency_ms=(50, 50))) as venue, trading(venue) as trader:
        slow = trader.send("cancel_all")
        trader.client.say("{")
        await trader.answers(slow)
        frames = [json.loads(text) for text in trader.client.frames]

    assert [frame.get("error") for frame in frames if "method" in frame] == ["Malformed request", None]


async def test_a_clients_trade_is_public():
    """The order is in the public book, its fill is a public trade, with the same price and id."""
    async with Venue(STILL) as venue, connected(venue.public_url) as public:
        public.subscribe("book", "BTC/USD", depth=10)
        public.subscribe("trade", "BTC/USD", snapshot=False)
        snapshot = await public.of("book", "snapshot")
        async with trading(venue, "executions") as trader:
            await trader.ask("add_order", order_type="market", side="buy", symbol="BTC/USD", order_qty=0.001)
            (fill,) = await trader.rows(lambda row: row["exec_type"] == "trade")
        trade = (await public.of("trade", "update"))["data"][0]
        update = (await public.of("book", "update"))["data"][0]

    best = snapshot["data"][0]["asks"][0]
    assert (trade["trade_id"], trade["price"], trade["qty"]) == (fill["trade_id"], fill["last_price"], 0.001)
    assert trade["side"] == "buy"
    assert update["asks"][0] == {"price": best["price"], "qty": pytest.approx(best["qty"] - 0.001)}


async def test_requests_on_their_way_are_executed_when_the_client_goes():
    """A socket that drops takes no order back: that is what clients must be ready for."""
    async with Venue(settings(engine_latency_ms=(40, 40))) as venue:
        async with trading(venue) as trader:
            trader.send(
                "add_order", order_type="limit", side="buy", symbol="BTC/USD", limit_price=50_000.0, order_qty=0.01
            )
            trader.client.drop()
        await until(venue.trading_side.trading.ledger.orders)

        assert len(venue.trading_side.trading.account(1).open_orders) == 1
