"""A plain order goes the quick way, and nothing but its speed differs from the general one.

The ways: the general code alone, the quick way in plain Python, and where it is compiled that over both.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from engine import native
from engine.order_router.core.settings import CoreSettings
from engine.orders.intent import OrderIntent
from engine.orders.rate_counter import PRO
from engine.orders.rings.commands import COMMANDS, PLAIN_NUMBERS, Submit, pack_plain, shape_in, unpack_shape
from engine.orders.risk import RiskLimits
from engine.units import INT64_MAX, NS_PER_MS, NS_PER_S, MonoNs
from tests.examples import times
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


class General:
    """In place of the quick way: leaves everything to the general code."""

    taken = 0

    def take(self, record: bytes) -> bool:
        return False


GENERAL, PORTABLE, COMPILED = "general", "portable", "compiled"
QUICK_WAYS = [PORTABLE] if native.ORDERS is None else [PORTABLE, COMPILED]
WAYS = [*QUICK_WAYS, GENERAL]
each_quick_way = pytest.mark.parametrize("way", QUICK_WAYS)


def begun(settings: CoreSettings = SETTINGS, *, way: str) -> RouterRig:
    """A router that takes orders, plain ones in this way."""
    rig = RouterRig(settings=settings)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.clock.advance(20 * NS_PER_MS)
    if way == GENERAL:
        rig.core.plain_orders = General()
        rig.core.quick_check.allows = lambda *_: False  # type: ignore[method-assign]
    elif way == PORTABLE and native.ORDERS is not None:
        rig.core.plain_orders = rig.core.plain_orders.portable  # type: ignore[attr-defined]
    elif way == COMPILED:
        watch_portable(rig)
    return rig


def watch_portable(rig: RouterRig) -> None:
    """What the compiled way leaves to the portable one is what that leaves too, but for what is new or wide."""
    portable: Any = rig.core.plain_orders.portable  # type: ignore[attr-defined]
    take, checks = portable.take, rig.core.quick_check

    def watched(record: bytes) -> bool:
        symbol = unpack_shape(shape_in(record)).symbol
        pair, bounds = rig.boards.pair(symbol), checks.bounds.get(symbol)
        is_known = (
            bounds is not None
            and bounds.pair is pair
            and bounds.cap == rig.core.risk.open_orders_cap
            and symbol in checks.own
            and symbol in rig.core.rates.counters
        )
        numbers = [*PLAIN_NUMBERS.unpack_from(record)[3:5], portable.kraken.now() + NS_PER_S]
        if is_known:
            own = checks.own[symbol]
            numbers += [own.buy_lots, own.sell_lots, *map(abs, own.position), *own.buys, *own.sells]
        is_wide = max(numbers) >= 2**62
        taken: bool = take(record)
        assert not (taken and is_known and not is_wide)
        return taken

    portable.take = watched


def run(orders: list[OrderIntent], *, way: str) -> RouterRig:
    """The orders, ten milliseconds apart."""
    rig = begun(way=way)
    for number, intent in enumerate(orders):
        ask(rig, f"quoter{number:012d}", intent)
        rig.clock.advance(9 * NS_PER_MS)
    rig.clock.advance(20 * NS_PER_MS)
    rig.work()
    return rig


def left_by(rig: RouterRig) -> dict[str, object]:
    """Journal and requests to the byte, blotter, reports and counts."""
    rig.core.quick_check.check(rig.core.blotter.open.values())
    return {
        "journal": bytes(rig.memory.content),
        "requests": rig.socket.sent,
        "reports": rig.told(STRATEGY),
        "blotter": rig.core.blotter.state_hash(),
        "counts": (rig.core.records.counts, rig.core.new_orders.counts),
        "rates": rig.core.rates.counts(rig.now.mono),
        "budget": rig.core.risk.budget.level,
        "pending": [request.purpose for request in rig.session.pending],
        "commands": rig.core.commands_taken + rig.core.plain_orders.taken,
    }


def assert_alike(rigs: list[RouterRig]) -> None:
    """Whatever each has left is the same, though they have gone other ways; the last one the general."""
    *quick, general = map(left_by, rigs)
    for left in quick:
        assert left == general
    assert rigs[-1].core.plain_orders.taken == 0


@pytest.mark.parametrize("kind", ORDERS)
def test_the_quick_way_leaves_what_the_general_one_leaves(kind: str) -> None:
    """Whatever the order says."""
    assert_alike([run(ORDERS[kind], way=way) for way in WAYS])


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


@times(8)
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
    rigs = [begun(how, way=way) for way in WAYS]
    for number, step in enumerate(steps):
        for rig in rigs:
            if isinstance(step, str):
                HAPPENINGS[step](rig)
                rig.work()
            else:
                ask(rig, f"quoter{number:012d}", step)
    event(f"quick: {rigs[0].core.plain_orders.taken}")

    assert_alike(rigs)


def opened(way: str) -> RouterRig:
    """A router that takes orders, and has taken one."""
    rig = begun(way=way)
    ask(rig, "quoter000000000001", PLAIN)
    rig.clock.advance(20 * NS_PER_MS)
    return rig


@each_quick_way
def test_a_plain_order_is_not_seen_by_the_general_checks(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is journalled and on the wire, though they would refuse everything."""
    rig = opened(way)
    monkeypatch.setattr(rig.core.risk, "refusal", lambda *_, **__: "no")
    ask(rig, "quoter000000000002", limit(price="94"))

    assert [request["method"] for request in rig.socket.take()][-1] == "add_order"
    assert "quoter000000000002" in rig.core.blotter.open


WRONG_KEYS = ('quoter00000000000"', "quoter 00000000001", "quoter00000000000\0", "quoter0000000001é"[:17])


@each_quick_way
@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_key_that_is_no_client_order_id_is_never_written_into_a_request_as_it_is(way: str, key: str) -> None:
    """The ring holds what somebody put there: the general code quotes it."""
    rig = opened(way)
    rig.socket.take()
    ask(rig, key, limit(price="94"))

    for request in rig.socket.take():
        assert request["params"]["cl_ord_id"] == key
    assert rig.core.plain_orders.taken == 1


@each_quick_way
def test_what_closes_trading_closes_it_for_plain_orders(way: str) -> None:
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
        rig = opened(way)
        rig.socket.take()
        close(rig)
        ask(rig, "quoter000000000002", limit(price="94"))

        assert rig.core.plain_orders.taken == 1
