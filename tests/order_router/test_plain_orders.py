"""A plain order goes the quick way, and nothing but its speed differs from the general one."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from engine.order_router.core.settings import CoreSettings
from engine.orders.intent import OrderIntent
from engine.orders.rate_counter import PRO
from engine.orders.rings.commands import COMMANDS, Submit, pack_plain
from engine.orders.risk import RiskLimits
from engine.units import INT64_MAX, NS_PER_MS, NS_PER_S, MonoNs
from tests.order_router.rig import SETTINGS, STRATEGY, RouterRig
from tests.orders.rig import AT, PAIRS, fact, limit, plain_shape, trade

PLAIN = limit(price="95", post_only=True)
ORDERS: dict[str, list[OrderIntent]] = {
    "one": [PLAIN],
    "both sides": [PLAIN, limit("sell", price="105")],
    "the same twice": [PLAIN, PLAIN],
    "into its own order": [limit("sell", price="98"), limit(price="99")],
    "too far": [limit(price="500"), PLAIN],
    "rare words": [limit(price="95", fee_preference="base", reduce_only=True, stp_type="cancel_both")],
    "a market order between": [PLAIN, limit(price=None, order_type="market"), limit(price="94")],
    "off the tick": [msgspec.structs.replace(PLAIN, qty=1), PLAIN],
    "immediate": [limit(price="95", time_in_force="ioc")],
    "of no quantity": [limit(qty="0", price="95"), PLAIN],
}  # fmt: skip


def ask(rig: RouterRig, key: str, intent: OrderIntent) -> None:
    """The strategy asks for an order, in the plain layout if that can say it."""
    at = MonoNs(rig.clock.mono_ns())
    shape, ticks = plain_shape(STRATEGY, intent), intent.limit_price
    if shape is None or ticks is None:
        record = COMMANDS.pack(Submit(STRATEGY, key, intent, at, MonoNs(0)))
    else:
        record = pack_plain(shape, key, ticks, intent.qty, at, MonoNs(0))
    assert rig.commands.try_publish(record)
    rig.work()


def begun(settings: CoreSettings = SETTINGS, *, is_quick: bool = True) -> RouterRig:
    """A router that takes orders; not quick: the general code decides about all of them."""
    rig = RouterRig(settings=settings)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.clock.advance(20 * NS_PER_MS)
    if not is_quick:
        rig.core.plain_orders.take = lambda _: False  # type: ignore[method-assign]
        rig.core.quick_check.allows = lambda *_: False  # type: ignore[method-assign]
    return rig


def run(orders: list[OrderIntent], *, is_quick: bool) -> RouterRig:
    """The orders, ten milliseconds apart."""
    rig = begun(is_quick=is_quick)
    for number, intent in enumerate(orders):
        ask(rig, f"quoter{number:012d}", intent)
        rig.clock.advance(9 * NS_PER_MS)
    rig.clock.advance(20 * NS_PER_MS)
    rig.work()
    return rig


def assert_alike(quick: RouterRig, general: RouterRig) -> None:
    """The same journal, the same blotter, the same requests, the same reports, the same counts."""
    assert quick.memory.records() == general.memory.records()
    assert quick.socket.take() == general.socket.take()
    assert quick.told(STRATEGY) == general.told(STRATEGY)
    assert quick.core.blotter.state_hash() == general.core.blotter.state_hash()
    assert quick.core.records.counts == general.core.records.counts
    assert quick.core.new_orders.counts == general.core.new_orders.counts
    assert quick.core.rates.counts(quick.now.mono) == general.core.rates.counts(general.now.mono)
    assert [it.purpose for it in quick.session.pending] == [it.purpose for it in general.session.pending]
    assert quick.core.commands_taken + quick.core.plain_orders.taken == general.core.commands_taken
    quick.core.quick_check.check(quick.core.blotter.open.values())


@pytest.mark.parametrize("kind", ORDERS)
def test_the_quick_way_leaves_what_the_general_one_leaves(kind: str) -> None:
    """Whatever the order says."""
    assert_alike(*(run(ORDERS[kind], is_quick=is_quick) for is_quick in (True, False)))


def replaced(rig: RouterRig, **changes: Any) -> None:
    """Kraken tells other rules of the pair."""
    rig.boards.pairs["BTC/USD"] = msgspec.structs.replace(rig.boards.pairs["BTC/USD"], **changes)


HAPPENINGS: dict[str, Callable[[RouterRig], object]] = {
    "a person halts": lambda rig: rig.core.halt("by hand"),
    "a person wants less": lambda rig: rig.core.reduce("by hand"),
    "a person resumes": lambda rig: rig.core.resume(),
    "maintenance": lambda rig: rig.core.gate.enter("maintenance"),
    "post_only": lambda rig: rig.core.gate.enter("post_only"),
    "online": lambda rig: rig.core.gate.enter("online"),
    "finer prices": lambda rig: replaced(rig, price_decimals=2),
    "prices as before": lambda rig: replaced(rig, price_decimals=1),
    "the pair is closed": lambda rig: replaced(rig, status="cancel_only"),
    "the pair is open": lambda rig: replaced(rig, status="online"),
    "the disk is full": lambda rig: setattr(rig.memory, "refuses", "the disk is full"),
    "the disk has room": lambda rig: setattr(rig.memory, "refuses", ""),
    "the socket is full": lambda rig: setattr(rig.socket, "can_send", False),
    "the socket takes nothing": lambda rig: setattr(rig.socket, "takes", False),
    "the socket has room": lambda rig: (setattr(rig.socket, "can_send", True), setattr(rig.socket, "takes", True)),
    "one order more is too many": lambda rig: setattr(rig.core.risk, "open_orders_cap", len(rig.core.blotter.open)),
    "a fast tier": lambda rig: rig.core.rates.set_tier(PRO, rig.now.mono),
    "too fast": lambda rig: rig.core.rates.of("BTC/USD").exceeded(rig.now.mono),
    "the strategy hangs": lambda rig: rig.core.new_orders.barred.update({STRATEGY: "it hangs"}),
    "Kraken's clock is absurd": lambda rig: tell_oldest(rig, "canceled", INT64_MAX),
    "a moment passes": lambda rig: rig.clock.advance(11 * NS_PER_MS),
    "a second passes": lambda rig: rig.clock.advance(NS_PER_S),
    "the oldest is filled in part": lambda rig: tell_oldest(rig, "trade"),
    "the oldest is canceled": lambda rig: tell_oldest(rig, "canceled"),
}


def tell_oldest(rig: RouterRig, what: str, at: int = AT) -> None:
    """Kraken tells of the oldest open order."""
    if not (order := next(iter(rig.core.blotter.open.values()), None)):
        return
    ids = {"order_id": f"O{order.key}", "cl_ord_id": order.key}
    if what == "trade":
        rig.fact(trade(f"T{len(rig.memory.encoded)}", qty="0.01", **ids))
    else:
        rig.fact(fact(what, at, **ids))


one_order = st.builds(
    lambda side, price, qty, how, at_once: limit(
        side, qty, price, post_only=how, time_in_force="ioc" if at_once and not how else "gtc"
    ),
    st.sampled_from(["buy", "sell"]),
    st.sampled_from(["96", "97", "98", "99", "100.5", "101", "103", "104", "500", "0.1"]),
    st.sampled_from(["1", "1.5", "0.02", "0.03", "0.04", "0.00000001", "92233720368.54775807"]),
    st.booleans(),
    st.booleans(),
)
some_settings = st.builds(
    lambda limits, **more: msgspec.structs.replace(
        SETTINGS, limits=limits, new_orders=msgspec.structs.replace(SETTINGS.new_orders, **more)
    ),
    st.builds(
        RiskLimits,
        duplicate_window_ns=st.sampled_from([0, 10 * NS_PER_MS]),
        orders_per_s_max=st.sampled_from([Decimal(2), Decimal(1000)]),
        open_orders_max=st.sampled_from([3, 40]),
        order_notional_max=st.sampled_from([None, None, Decimal(120)]),
    ),
    rest_fallback=st.booleans(),
    queues_over_rate=st.booleans(),
    queue_wait_ns_max=st.just(10 * NS_PER_S),
)


@settings(max_examples=300, deadline=None)
@example(
    SETTINGS,
    ["the disk is full", limit("buy", "1", "96"), "the disk has room", "a person resumes", limit("buy", "1", "95")],
)
@given(
    some_settings,
    st.lists(st.one_of(one_order, one_order, one_order, st.sampled_from(list(HAPPENINGS))), min_size=3, max_size=16),
)
def test_the_quick_way_leaves_what_the_general_one_leaves_whatever_happens(
    how: CoreSettings, steps: list[OrderIntent | str]
) -> None:
    """Between two orders anything may change, and be as before again."""
    quick, general = begun(how), begun(how, is_quick=False)
    for number, step in enumerate(steps):
        for rig in (quick, general):
            if isinstance(step, str):
                HAPPENINGS[step](rig)
                rig.work()
            else:
                ask(rig, f"quoter{number:012d}", step)
    event(f"quick: {quick.core.plain_orders.taken}")

    assert_alike(quick, general)


def opened() -> RouterRig:
    """A router that takes orders, and has taken one."""
    rig = begun()
    ask(rig, "quoter000000000001", PLAIN)
    rig.clock.advance(20 * NS_PER_MS)
    return rig


def test_a_plain_order_is_not_seen_by_the_general_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is journalled and on the wire, though they would refuse everything."""
    rig = opened()
    monkeypatch.setattr(rig.core.risk, "refusal", lambda *_, **__: "no")
    ask(rig, "quoter000000000002", limit(price="94"))

    assert [request["method"] for request in rig.socket.take()][-1] == "add_order"
    assert "quoter000000000002" in rig.core.blotter.open


WRONG_KEYS = ('quoter00000000000"', "quoter 00000000001", "quoter00000000000\0", "quoter0000000001é"[:17])


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_key_that_is_no_client_order_id_is_never_written_into_a_request_as_it_is(key: str) -> None:
    """The ring holds what somebody put there: the general code quotes it."""
    rig = opened()
    rig.socket.take()
    ask(rig, key, limit(price="94"))

    for request in rig.socket.take():
        assert request["params"]["cl_ord_id"] == key
    assert rig.core.plain_orders.taken == 1


def test_what_closes_trading_closes_it_for_plain_orders() -> None:
    """Each of these is looked at anew for every order."""
    closings: list[Any] = [
        lambda rig: rig.core.halt("by hand"),
        lambda rig: rig.core.reduce("by hand"),
        lambda rig: rig.core.shut("stopping"),
        lambda rig: rig.core.gate.enter("maintenance"),
        lambda rig: rig.core.gate.enter("post_only"),
        lambda rig: rig.core.new_orders.barred.update({STRATEGY: "it hangs"}),
        lambda rig: setattr(rig.core.gate, "uncertain", frozenset({"BTC/USD"})),
        lambda rig: setattr(rig.core.risk, "open_orders_cap", 1),
        lambda rig: setattr(rig.memory, "refuses", "the disk is full"),
        lambda rig: rig.boards.pairs.update({"BTC/USD": msgspec.structs.replace(PAIRS["BTC/USD"], status="post_only")}),
        lambda rig: rig.boards.pairs.update({"BTC/USD": msgspec.structs.replace(PAIRS["BTC/USD"], price_decimals=2)}),
        lambda rig: setattr(rig.socket, "can_send", False),
        lambda rig: rig.session.closed(rig.clock.mono_ns(), "gone"),
        lambda rig: rig.core.rates.of("BTC/USD").exceeded(rig.clock.mono_ns()),
        lambda rig: [rig.core.breakers["websocket"].failed(rig.clock.mono_ns()) for _ in range(1000)],
    ]
    for close in closings:
        rig = opened()
        rig.socket.take()
        close(rig)
        ask(rig, "quoter000000000002", limit(price="94"))

        assert rig.core.plain_orders.taken == 1
