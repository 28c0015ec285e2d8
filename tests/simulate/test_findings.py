"""What the simulator found in the order core and is not mended yet, each as small as it gets.

An entry leaves with its mend: then `xfail(strict)` makes it fail, and it becomes a test of its room.
"""

from decimal import Decimal

import pytest

from engine.instant import Instant
from engine.order_router.core.questions import OrderQuestions
from engine.orders.blotter import Blotter
from engine.orders.intent import Conditional
from engine.orders.journal_records import Acknowledged
from engine.units import NS_PER_MS, NS_PER_S, WallNs
from tests.orders.rig import AT, KEY, ORDER_ID, commit, fact, limit, submitted, tell
from tests.simulate.simulation import Simulation, silent_logs

HOUR_NS = 3600 * NS_PER_S


class Told:
    """Nobody has told of any execution."""

    unbroken_since = None

    def has_heard_until(self, at):
        return False


@pytest.mark.xfail(
    strict=True, reason="an order's deadline is waited for by the wall clock, however far that was set back"
)
def test_an_order_in_doubt_is_looked_for_soon_though_the_wall_clock_was_set_back():
    """How long is waited is measured by the monotonic clock: an hour back must not leave an order in doubt for one."""
    now, blotter = Instant(10**12, AT), Blotter()
    commit(blotter, [submitted()])
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    questions = OrderQuestions(blotter, Told(), now, lag_ns_max=60 * NS_PER_S)
    questions.look_up(KEY, WallNs(AT + NS_PER_S))
    now.set(now.mono + 30 * NS_PER_S, AT - HOUR_NS)

    assert questions.next_look() is not None


@pytest.mark.xfail(strict=True, reason="what a snapshot counts as filled of a closing order is taken for another's")
def test_what_a_closing_order_has_filled_in_a_gap_is_ours():
    """A closing order of ours that a snapshot tells for the first time: its fills so far are missing, not foreign."""
    blotter = Blotter()
    closing = Conditional("limit", limit_price=Decimal(110))
    commit(blotter, [submitted(intent=limit(conditional=closing), userref=7), Acknowledged(KEY, ORDER_ID, AT)])
    tell(
        blotter,
        fact(
            "new", order_id="OCLOSE-00000-000000", cl_ord_id=None, order_userref=7, ord_ref_id=ORDER_ID, side="sell",
            symbol="BTC/USD", order_qty=Decimal(2), cum_qty=Decimal(1), limit_price=Decimal(110), is_snapshot=True,
            order_type="limit",
        ),
    )  # fmt: skip
    order = blotter.find("OCLOSE-00000-000000")

    assert order.strategy == "quoter"
    assert order.filled_before == 0
    assert order.fills_missing


@pytest.mark.xfail(strict=True, reason="orders that wait for the rate counter are known to the router's memory alone")
def test_an_order_that_waits_for_the_rate_counter_survives_the_router():
    """It is sent, or refused, by whoever comes after a router that died: its strategy is told."""
    with silent_logs():
        simulation = next(
            each
            for seed in range(1, 100)
            if (each := Simulation(seed, frozenset(), orders_per_s=60.0)).world.trading.over_rate == "queue"
            and each.venue.trading_side.trading.account(1).limits.threshold == 60
        )
        router = simulation.run.router

        def kill_while_one_waits():
            if router.core is not None and len(router.core.new_orders._queue):
                router.process.die()
            else:
                simulation.kernel.after(20 * NS_PER_MS, kill_while_one_waits)

        simulation.kernel.after(NS_PER_S, kill_while_one_waits)
        simulation.go()
