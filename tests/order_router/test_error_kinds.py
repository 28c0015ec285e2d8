"""What was wrong with an order, by kind: said by our own checks and by Kraken, and kept over the router's death."""

from decimal import Decimal

import msgspec
import pytest

from engine import ErrorKind, OrderError
from engine.orders.intent import Amendment
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Submit
from engine.orders.risk import RiskLimits, TradingMode
from engine.units import NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.order_router.rig import SETTINGS, STRATEGY
from tests.order_router.world import Way, World
from tests.orders.rig import limit

KEY = "quoter000000000001"
FINAL = {
    "argument", "precision", "minimum", "duplicate", "funds", "margin", "limit", "reduce_only", "not_open", "unchanged",
    "canceled", "auth", "permission", "account",
}  # fmt: skip


def world_with(settings=SETTINGS):
    """A world in which the one order is ours."""
    world = World(settings)
    world.intents.add(KEY)
    return world


def ask(world, key=KEY, **intent):
    """Send an order; how it stands for the strategy afterwards."""
    given = {"side": "buy", "qty": "1", "price": "95", **intent}
    world.ask(Submit(STRATEGY, key, limit(**given), world.clock.mono_ns(), MonoNs(0)))
    world.run(NS_PER_S)
    return world.strategy.order(key)


def test_which_kinds_are_final():
    """Those that time alone does not mend."""
    assert {kind.value for kind in ErrorKind if kind.is_final} == FINAL
    assert OrderError(ErrorKind.FUNDS, "no money").is_final
    assert not OrderError(ErrorKind.RATE_LIMIT, "too fast").is_final


@pytest.mark.parametrize(
    ("intent", "kind"),
    [
        ({"qty": "0.00000001"}, ErrorKind.MINIMUM),
        ({"price": "200"}, ErrorKind.PRICE),
        ({"qty": "1000"}, ErrorKind.LIMIT),
    ],
)
def test_our_own_checks_tell_a_kind(intent, kind):
    """Beside the sentence."""
    limits = RiskLimits(duplicate_window_ns=0, order_notional_max=Decimal(1000))
    order = ask(world_with(msgspec.structs.replace(SETTINGS, limits=limits)), **intent)

    assert order.state is OrderState.REFUSED
    assert order.error.kind is kind
    assert str(order.error) == order.reason


def test_a_halt_is_told_as_one():
    """It ends by itself or by a person, not by another order."""
    world = world_with()
    world.rig.core.halt("a test")
    assert world.rig.core.risk.mode is TradingMode.HALTED
    order = ask(world)

    assert (order.error.kind, order.error.is_final) == (ErrorKind.NOT_TRADING, False)


def test_an_order_behind_the_probe_of_the_breaker_is_told_of_that():
    """There is a connection, and the first order since the breaker opened has no answer yet."""
    orders = msgspec.structs.replace(SETTINGS.new_orders, rest_fallback=False)
    settings = msgspec.structs.replace(
        SETTINGS, new_orders=orders, breaker_failures=1, breaker_open_ns=20 * NS_PER_S
    )  # fmt: skip
    world = world_with(settings)
    world.rig.core.breakers["websocket"].failed(world.clock.mono_ns())
    assert "is open for another 20 s" in ask(world).reason
    world.run(20 * NS_PER_S)
    world.way = Way(["add_order"], back_ns=None)
    ask(world, "quoter000000000002")
    order = ask(world, "quoter000000000003")

    assert order.state is OrderState.REFUSED
    assert order.reason == "the circuit breaker has let one request out, and waits for what becomes of it"


@pytest.mark.parametrize("probe", ["refused", "amend"])
def test_whatever_kraken_answers_by_rest_closes_its_breaker(probe):
    """Also that an order has no funds, and that an amend was carried out: Kraken is there, and the next order goes."""
    settings = msgspec.structs.replace(SETTINGS, breaker_failures=1, breaker_open_ns=20 * NS_PER_S)
    world = world_with(settings)
    ask(world)
    world.cut_trading()
    world.run(NS_PER_S)
    world.rig.core.breakers["rest"].failed(world.clock.mono_ns())
    assert ask(world, "quoter000000000002").state is OrderState.REFUSED
    world.run(20 * NS_PER_S)
    if probe == "amend":
        change = Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(940))
        world.ask(Amend(KEY, change, world.clock.mono_ns(), MonoNs(0)))
        world.run(NS_PER_S)
        assert world.strategy.order(KEY).limit_price == 94
    else:
        world.exchange.refuses = "EOrder:Insufficient funds"
        assert ask(world, "quoter000000000003").state is OrderState.REJECTED
        world.exchange.refuses = ""

    assert ask(world, "quoter000000000004").state is OrderState.WORKING


def rejection(world, *, dies):
    """The error of the order, which is rejected; after a death of the router, with `dies`."""
    if dies:
        world.rig.begin_anew()
        world.rig.core.begin()
        world.run(NS_PER_S)
    order = world.strategy.order(KEY)
    assert order.state is OrderState.REJECTED
    return order.error.kind, order.error.is_final


@pytest.mark.parametrize("dies", [False, True])
def test_krakens_word_has_its_kind_after_a_death_too(dies):
    """A rejection is in the journal with it."""
    world = world_with()
    world.exchange.refuses = "EOrder:Insufficient funds"
    ask(world)

    assert rejection(world, dies=dies) == (ErrorKind.FUNDS, True)


@pytest.mark.parametrize("dies", [False, True])
def test_an_order_that_never_reached_kraken_has_a_kind_too(dies):
    """Nobody has said no, but it is rejected, and may be sent again."""
    world = world_with()
    world.way = Way(["add_order"], there_ns=None)
    ask(world)
    world.run(120 * NS_PER_S)

    assert rejection(world, dies=dies) == (ErrorKind.TRANSPORT, False)


def test_an_order_that_kraken_took_has_none():
    """Neither while it works nor at its end."""
    world = world_with()
    order = ask(world)
    assert order.error is None
    world.exchange.fill(order.order_id, Decimal(1))
    world.run(NS_PER_S)

    assert world.strategy.order(KEY).error is None


def test_a_post_only_order_that_kraken_canceled_says_so():
    """It was acknowledged, and canceled at the same moment."""
    world = world_with()
    order = ask(world, post_only=True)
    world.exchange.end_reason = "Post only order"
    world.exchange.cancel(order.order_id)
    world.run(NS_PER_S)
    order = world.strategy.order(KEY)

    assert order.state is OrderState.CANCELED
    assert (order.error.kind, order.error.is_final) == (ErrorKind.POST_ONLY, False)


def test_an_amends_error_is_gone_with_the_next():
    """It is the last request's."""
    world = world_with()
    ask(world)

    def amend(price):
        change = Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(10**8), limit_price=PriceTicks(price))
        world.ask(Amend(KEY, change, world.clock.mono_ns(), MonoNs(0)))
        world.run(NS_PER_S)
        return world.strategy.order(KEY)

    assert amend(2000).error.kind is ErrorKind.PRICE
    assert amend(940).error is None
