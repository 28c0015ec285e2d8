"""A private WebSocket is out and REST answers: orders go on, each fill counts once, and the mode says what it is.

The judge of `World` looks at every step, as everywhere.
"""

from decimal import Decimal
from typing import Final

import msgspec
import pytest

from engine.kraken_rest.call_counter import COUNTER_MAX
from engine.order_router.core.degraded import OPEN_ORDERS_NS, REST_SILENCE_NS, UNEXPLAINED_NS, DegradedSettings
from engine.orders.intent import Amendment, Conditional
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Cancel, Submit
from engine.orders.risk import TightLimits
from engine.orders.venue_facts import FeedLost
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.order_router.rig import SETTINGS, STRATEGY
from tests.order_router.world import Way, World
from tests.orders.rig import limit

REFUSED: Final = "ws://127.0.0.1:1: connection refused"
AFTER_NS: Final = SETTINGS.degraded.after_ns
POLLED_NS: Final = SETTINGS.degraded.poll_ns + NS_PER_S  # a look, and its answers
ENTERED_NS: Final = AFTER_NS + NS_PER_S
LOOSE: Final = msgspec.structs.replace(
    SETTINGS, degraded=DegradedSettings(limits=TightLimits(open_orders_max=100, orders_per_s_max=Decimal(100)))
)


class Trader:
    """A strategy in a world whose links a test cuts."""

    def __init__(self, settings=LOOSE, **world):
        self.world = World(settings, **world)
        self.number = 0

    @property
    def core(self):
        return self.world.rig.core

    def submit(self, side="buy", qty="1", price="95", **intent):
        """A new order; returns its key."""
        self.number += 1
        key = f"quoter{self.number:012d}"
        self.world.intents.add(key)
        intent = limit(side, qty, price, **intent)
        self.world.ask(Submit(STRATEGY, key, intent, self.world.clock.mono_ns(), MonoNs(0)))
        return key

    def refusal(self, *args, **intent):
        """Why a new order is refused; empty if it is not."""
        key = self.submit(*args, **intent)
        order = self.world.strategy.order(key)
        return order.reason if order is not None and order.state is OrderState.REFUSED else ""

    def state(self, key):
        return self.world.rig.core.blotter.get(key).state

    def made(self, key):
        """The order at the exchange."""
        (order,) = self.world.exchange.of(key)
        return order

    def lose_private(self, reason=REFUSED, trouble="unreachable"):
        """Both private WebSockets, from now on."""
        self.world.is_trading_reachable = self.world.is_feed_reachable = False
        self.world.rig.socket.last_error = reason
        self.world.cut_trading()
        self.world.cut_feed(reason, trouble)

    def find_private(self):
        """Both are back."""
        self.world.is_trading_reachable = self.world.is_feed_reachable = True
        self.world.connect_trading()
        self.world.connect_feed()
        self.world.run(NS_PER_S)

    @property
    def status(self):
        return self.core.gate.report

    @property
    def calls(self):
        return self.world.exchange.called


def test_an_account_trades_though_no_private_websocket_was_ever_there():
    """Orders are acknowledged, amended, filled and canceled by REST alone; ledger, journal and callbacks agree."""
    trader = Trader(is_private_reachable=False)
    world = trader.world
    world._publish(FeedLost(REFUSED, trouble="unreachable"))
    world.run(ENTERED_NS)
    assert (trader.status.mode, trader.status.is_open) == ("DEGRADED", True)
    assert trader.status.reason == f"private WebSocket unreachable: {REFUSED}"
    filled, canceled, amended = trader.submit(), trader.submit(price="94"), trader.submit(price="93")
    world.run(NS_PER_S)
    assert {trader.state(key) for key in (filled, canceled, amended)} == {OrderState.WORKING}
    world.exchange.fill(trader.made(filled).order_id, Decimal("0.5"))
    world.run(POLLED_NS)
    assert trader.state(filled) is OrderState.PARTIAL
    world.exchange.fill(trader.made(filled).order_id, Decimal(1))
    world.ask(Cancel(STRATEGY, [canceled]))
    change = Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(2 * 10**8), limit_price=PriceTicks(925))
    world.ask(Amend(amended, change, world.clock.mono_ns(), MonoNs(0)))
    world.run(POLLED_NS)

    assert [trader.state(key) for key in (filled, canceled, amended)] == [
        OrderState.FILLED, OrderState.CANCELED, OrderState.WORKING,
    ]  # fmt: skip
    assert trader.core.records.counts["by_rest"] == 3
    assert trader.core.records.balances.total("USD") == world.exchange.dollars
    world.agree()


def test_an_amend_that_nobody_told_of_is_learned_once_rest_cannot_lag_behind_it():
    """Its answer was lost, or somebody else asked for it; before, what REST tells may be older than what is known."""
    trader = Trader()
    world = trader.world
    key = trader.submit()
    world.run(NS_PER_S)
    trader.lose_private()
    world.run(ENTERED_NS)
    world.exchange.amend(trader.made(key).order_id, "5", "94")
    world.run(LOOSE.rest_lag_ns_max + 10 * NS_PER_S)
    order = trader.core.blotter.get(key)

    assert (order.order_qty, order.limit) == (5, 94)
    assert world.strategy.order(key).limit_price == 94


def test_private_websockets_that_die_in_mid_trading_are_missed_by_nobody():
    """For a minute: what was open is looked after, what is new goes by REST, and the snapshot afterwards tells nothing
    twice."""
    trader = Trader()
    world = trader.world
    before, during_before = trader.submit(), trader.submit(price="94")
    world.run(NS_PER_S)
    trader.lose_private()
    world.exchange.fill(trader.made(before).order_id, Decimal("0.25"))
    world.run(ENTERED_NS)
    assert world.fills_told == [trader.world.exchange.orders[0].trades[0]]  # which the executions had no way to tell
    during = [trader.submit(price=str(price)) for price in range(80, 90)]
    for second in range(60):
        world.run(NS_PER_S)
        if second % 7 == 0:
            world.exchange.fill(trader.made(during[second // 7]).order_id, Decimal(1))
    world.ask(Cancel(STRATEGY, [during_before]))
    world.exchange.fill(trader.made(before).order_id, Decimal("0.5"))  # nobody has told of it when the feed is back
    trader.find_private()
    world.run(5 * NS_PER_S)

    assert (trader.status.mode, trader.status.is_open, trader.status.reason) == ("ACTIVE", True, "")
    assert trader.core.records.counts["by_rest"] == 10
    assert len(world.fills_told) == len(set(world.fills_told)) == len(world.exchange.trades)
    world.agree()


def test_a_strategy_is_told_of_the_mode_and_of_its_end():
    """Closed while nobody knows, then DEGRADED with the reason, then ACTIVE."""
    trader = Trader()
    trader.world.statuses.clear()
    trader.lose_private()
    trader.world.run(ENTERED_NS)
    trader.find_private()
    told = [(status.mode, status.is_open, status.reason) for status in trader.world.statuses]
    reason = f"private WebSocket unreachable: {REFUSED}"

    assert told[:2] == [("ACTIVE", False, reason), ("DEGRADED", True, reason)]
    assert told[-1] == ("ACTIVE", True, "")


@pytest.mark.parametrize(
    ("trouble", "not_yet_ns"), [("unreachable", AFTER_NS - NS_PER_MS), ("", UNEXPLAINED_NS - NS_PER_MS)]
)
def test_a_reconnect_is_no_reason(trouble, not_yet_ns):
    """REST is not asked, nor a limit tightened, for a connection that is back soon; sooner where it says why."""
    trader = Trader()
    trader.world.cut_feed(REFUSED, trouble)
    trader.world.run(not_yet_ns)
    closed = trader.status

    assert not closed.is_open
    assert "BalanceEx" not in trader.calls
    trader.world.run(NS_PER_S)
    assert trader.status.mode == "DEGRADED"


def test_told_to_halt_it_waits_for_the_feed():
    """As it is without this mode."""
    trader = Trader(msgspec.structs.replace(SETTINGS, degraded=DegradedSettings(is_allowed=False)))
    trader.lose_private()
    trader.world.run(60 * NS_PER_S)

    assert (trader.status.mode, trader.status.is_open) == ("ACTIVE", False)
    assert trader.refusal() == f"private WebSocket unreachable: {REFUSED}"
    assert "BalanceEx" not in trader.calls


def test_a_refused_token_does_not_end_trading():
    """Both sockets stand, and Kraken gives nobody a token."""
    trader = Trader()
    world = trader.world
    world.exchange.refuses_tokens = "EGeneral:Permission denied"
    world.cut_trading()
    trader.core.tokens.invalidate(trader.core.tokens.token)
    world.connect_trading()
    world.cut_feed("EGeneral:Permission denied", "has no token")
    world.run(ENTERED_NS)
    key = trader.submit()
    world.run(NS_PER_S)

    assert trader.status.mode == "DEGRADED"
    assert trader.status.reason == "private WebSocket has no token: EGeneral:Permission denied"
    assert trader.state(key) is OrderState.WORKING
    assert trader.core.blotter.get(key).route == "rest"


def test_only_the_trading_connection_is_out():
    """Executions tell of what goes by REST, so nothing is polled; the mode and its limits are the same."""
    trader = Trader(SETTINGS)
    world = trader.world
    world.rig.socket.last_error = REFUSED
    world.cut_trading()
    world.run(ENTERED_NS)
    key = trader.submit()
    world.run(NS_PER_S)
    world.exchange.fill(trader.made(key).order_id, Decimal(1))
    world.run(NS_PER_S)

    assert trader.status.mode == "DEGRADED"
    assert trader.status.reason == f"trading WebSocket unreachable: {REFUSED}"
    assert trader.state(key) is OrderState.FILLED
    assert "QueryOrders" not in trader.calls
    assert "BalanceEx" not in trader.calls
    world.connect_trading()
    world.run(NS_PER_S)
    assert trader.status.mode == "ACTIVE"


def test_only_the_executions_are_out():
    """Orders go on by WebSocket, which answers; what becomes of them is polled."""
    trader = Trader()
    world = trader.world
    world.cut_feed(REFUSED, "unreachable")
    world.run(ENTERED_NS)
    key, canceled = trader.submit(), trader.submit(price="94")
    world.run(NS_PER_S)
    world.exchange.fill(trader.made(key).order_id, Decimal(1))
    world.ask(Cancel(STRATEGY, [canceled]))
    world.run(POLLED_NS)

    assert trader.core.blotter.get(key).route == "websocket"
    assert (trader.state(key), trader.state(canceled)) == (OrderState.FILLED, OrderState.CANCELED)
    world.agree()


def test_a_rest_that_lags_has_no_cancel_repeated_that_kraken_has_confirmed():
    """Each would cost its points, until the orders that really are open could not be canceled."""
    trader = Trader(msgspec.structs.replace(LOOSE, tier="starter"))
    world = trader.world
    world.cut_feed(REFUSED, "unreachable")
    world.run(ENTERED_NS)
    first, second = trader.submit(), trader.submit(price="94")
    world.run(25 * NS_PER_S)
    world.exchange.rest_lag_ns = 20 * NS_PER_S
    world.ask(Cancel(STRATEGY, [first]))
    world.run(10 * NS_PER_S)
    assert trader.core.cancels.sent <= 4  # after one second, two, four
    assert trader.state(first) is OrderState.WORKING  # as far as REST tells
    assert world.strategy.order(first).reason == ""

    world.ask(Cancel(STRATEGY, [second]))
    world.run(NS_PER_S)
    assert not trader.made(second).is_open
    world.run(60 * NS_PER_S)
    assert (trader.state(first), trader.state(second)) == (OrderState.CANCELED, OrderState.CANCELED)


def test_without_rest_trading_is_closed_and_says_both_reasons():
    """And opens by itself once REST answers."""
    trader = Trader()
    world = trader.world
    key = trader.submit()
    world.run(NS_PER_S)
    trader.lose_private()
    world.cut_rest()
    world.run(30 * NS_PER_S)
    closed = trader.status
    world.mend_rest()
    world.run(20 * NS_PER_S)

    assert not closed.is_open
    assert closed.reason == f"private WebSocket unreachable: {REFUSED}; nor can REST stand in: unreachable"
    assert trader.status.mode == "DEGRADED"
    assert trader.state(key) is OrderState.WORKING


def test_a_rest_that_falls_silent_does_not_stand_in_any_more():
    """What is known of the account grows too old for new orders."""
    trader = Trader()
    world = trader.world
    trader.lose_private()
    world.run(ENTERED_NS)
    world.cut_rest()
    world.run(REST_SILENCE_NS + NS_PER_S)
    closed = trader.status
    world.mend_rest()
    world.run(20 * NS_PER_S)

    assert not closed.is_open
    assert trader.status.mode == "DEGRADED"
    assert trader.core.degraded.counts["degraded"] == 2


def test_orders_wait_for_their_pair_until_what_is_open_there_was_looked_up():
    """Kraken may have filled it while nobody listened."""
    trader = Trader()
    world = trader.world
    key = trader.submit()
    world.run(NS_PER_S)
    trader.lose_private()
    world.exchange.fill(trader.made(key).order_id, Decimal(1))
    world.way = Way(["QueryOrders"], back_ns=1500 * NS_PER_MS)
    world.run(ENTERED_NS)
    refused = trader.refusal()
    world.run(2 * NS_PER_S)

    assert refused == "open orders on BTC/USD are looked up by REST before others are taken"
    assert trader.state(key) is OrderState.FILLED
    assert trader.refusal() == ""


def test_limits_are_tighter_and_say_so():
    """Count, share of the largest order; and no order whose closing order nobody would tell of."""
    limits = TightLimits(open_orders_max=2, order_percent=Decimal(50))
    settings = msgspec.structs.replace(
        SETTINGS,
        limits=msgspec.structs.replace(SETTINGS.limits, order_notional_max=Decimal(200)),
        degraded=DegradedSettings(limits=limits),
    )
    trader = Trader(settings)
    world = trader.world
    assert trader.refusal(qty="2") == ""
    trader.lose_private()
    world.run(ENTERED_NS)
    close = Conditional("stop-loss", trigger_price=Decimal(90))
    large, closing = trader.refusal(qty="1.1"), trader.refusal(conditional=close)
    world.run(NS_PER_S)
    assert trader.refusal() == ""
    too_many = trader.refusal()

    assert "more than trading.degraded.order_percent = 50 of risk.order_notional_max = 200" in large
    assert closing == "an order with a conditional close needs the private WebSocket, which is out"
    assert too_many == "2 orders are open on BTC/USD, as many as trading.degraded.open_orders_max = 2 allows"
    trader.find_private()
    assert trader.refusal(qty="2") == ""


def test_the_pace_is_slower():
    """Amends count too; with the last of the mode, the usual pace is back."""
    trader = Trader(SETTINGS)
    world = trader.world
    trader.lose_private()
    world.run(ENTERED_NS)
    paced = [trader.refusal() for _ in range(3)]
    trader.find_private()

    assert paced == ["", "", "orders and amends come faster than trading.degraded.orders_per_s_max = 2"]
    assert [trader.refusal() for _ in range(3)] == ["", "", ""]


def test_an_order_of_another_program_is_seen():
    """It counts for the account, as one of the snapshot does, and its end is told too."""
    trader = Trader()
    world = trader.world
    trader.lose_private()
    world.run(ENTERED_NS)
    theirs = world.exchange.place("BTC/USD", "sell", "3", "120")
    world.run(OPEN_ORDERS_NS + NS_PER_S)
    seen = trader.core.blotter.find(order_id=theirs)
    assert seen is not None
    assert (seen.is_external, seen.is_open, seen.order_qty, seen.limit) == (True, True, Decimal(3), Decimal(120))
    world.exchange.cancel(theirs)
    world.run(POLLED_NS)

    assert not seen.is_open


def test_an_answer_that_is_older_than_the_snapshot_is_not_taken():
    """The balances of before would stand until the next change."""
    trader = Trader()
    world = trader.world
    world.way = Way(["BalanceEx"], back_ns=1900 * NS_PER_MS)
    trader.lose_private()
    world.run(AFTER_NS + 100 * NS_PER_MS)
    world.exchange.dollars = Decimal(7)
    trader.find_private()
    world.run(3 * NS_PER_S)

    assert world.way.struck == 1
    assert trader.core.records.balances.total("USD") == 7
    assert trader.status.mode == "ACTIVE"


def test_the_balances_are_asked_for_after_a_fill_and_now_and_then():
    """Nobody tells of them otherwise."""
    trader = Trader()
    world = trader.world
    trader.lose_private()
    world.run(ENTERED_NS)
    key = trader.submit()
    world.run(NS_PER_S)
    world.exchange.dollars = Decimal(999_905)
    world.exchange.fill(trader.made(key).order_id, Decimal(1))
    world.run(POLLED_NS + 2 * NS_PER_S)
    after_fill = trader.core.records.balances.total("USD")
    world.exchange.dollars = Decimal(5)
    world.run(SETTINGS.degraded.balances_ns)

    assert after_fill == 999_905
    assert trader.core.records.balances.total("USD") == 5


@pytest.mark.parametrize("tier", ["starter", "pro"])
def test_polling_leaves_room_in_the_keys_counter(tier):
    """For minutes, with more open orders than a call tells: what is urgent never waits for it."""
    limits = msgspec.structs.replace(SETTINGS.limits, open_orders_max=100, orders_per_s_max=Decimal(1000))
    trader = Trader(msgspec.structs.replace(LOOSE, tier=tier, limits=limits))
    world = trader.world
    trader.lose_private()
    world.run(ENTERED_NS)
    for number in range(60):
        trader.submit(price=f"{20 + number}")
        world.run(300 * NS_PER_MS)
    most = 0.0
    for _ in range(180):
        world.rest(NS_PER_S)
        most = max(most, world.rig.calls.counter.level(world.clock.mono_ns()).points)

    assert most < COUNTER_MAX[tier] - 4
    assert trader.core.degraded.counts["polls_orders"] > 20
    assert trader.status.mode == "DEGRADED"


def test_the_dead_mans_switch_is_refreshed_by_rest():
    """Else Kraken would cancel everything in the middle of the outage."""
    trader = Trader(msgspec.structs.replace(LOOSE, dead_man_s=60))
    trader.lose_private()
    trader.world.run(120 * NS_PER_S)

    assert trader.calls["CancelAllOrdersAfter"] >= 5
    assert trader.core.dead_man.late == 0


def test_a_router_that_begins_anew_in_the_outage_takes_over():
    """From its journal and REST alone."""
    trader = Trader()
    world = trader.world
    key = trader.submit()
    world.run(NS_PER_S)
    trader.lose_private()
    world.run(ENTERED_NS)
    world.step_to_die = 1
    second = trader.submit(price="94")
    world.exchange.fill(trader.made(key).order_id, Decimal(1))
    world.run(UNEXPLAINED_NS + POLLED_NS)
    third = trader.submit(price="93")
    world.run(NS_PER_S)

    assert world.deaths == 1
    assert [trader.state(each) for each in (key, third)] == [OrderState.FILLED, OrderState.WORKING]
    assert not world.exchange.of(second)
