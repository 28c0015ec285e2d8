"""What the simulator found in the engine and is not mended yet, as small as it gets.

An entry leaves with its mend: then `xfail(strict)` makes it fail, and it becomes a test of its room.
"""

import pytest

from engine.order_router.core.search import OrderSearch
from engine.orders.blotter import Blotter
from engine.orders.venue_facts import OrderLookup
from engine.units import NS_PER_S, WallNs
from tests.orders.rig import AT, KEY, ORDER_ID, commit, submitted

SKEW_NS = 40 * NS_PER_S


@pytest.mark.xfail(
    strict=True, reason="an order opened more than five seconds before we say that we sent it is not ours"
)
def test_an_order_is_found_though_our_clock_was_ahead_when_it_left():
    """Kraken takes orders of a clock up to a minute ahead, and they open at a time before the one that we sent them at:
    a look that passes over them would prove an order absent that lives.
    """
    blotter = Blotter()
    commit(blotter, [submitted()])
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    search = OrderSearch([blotter.get(KEY)], asks_closed=False)
    row = OrderLookup(
        order_id=ORDER_ID, cl_ord_id=KEY, order_userref=None, status="open", side="buy", opened_at=WallNs(AT - SKEW_NS),
    )  # fmt: skip

    assert KEY in search.take([row], "")
