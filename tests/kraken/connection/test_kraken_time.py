"""Kraken's clock is read off its own messages: deadlines are right though ours is wrong."""

from engine.instant import Instant
from engine.kraken.connection.kraken_time import Evidence, KrakenTime
from engine.kraken.rest.requests import DEADLINE_MAX_NS
from engine.order_router.core.lookup.search import OrderSearch
from engine.orders.blotter import Blotter
from engine.orders.rings.commands import Submit
from engine.orders.venue_facts import OrderLookup
from engine.timestamps import wall_ns
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import AT, KEY, ORDER_ID, commit, fact, limit, submitted

KRAKEN_AHEAD_NS = 29 * NS_PER_S


def test_before_anything_was_told_our_own_clock_stands_in() -> None:
    """And follows where it is set."""
    now = Instant(5, AT)
    kraken = KrakenTime(now)
    now.set(MonoNs(6), WallNs(AT + NS_PER_S))

    assert kraken.now() == AT + NS_PER_S


def test_it_goes_on_by_the_clock_that_nobody_sets() -> None:
    """A message that was long under way does not set it back; neither does our wall clock."""
    now = Instant(0, AT)
    kraken = KrakenTime(now)
    kraken.told(WallNs(AT + KRAKEN_AHEAD_NS))
    now.set(MonoNs(NS_PER_S), WallNs(AT - 3600 * NS_PER_S))
    kraken.told(WallNs(AT))

    assert kraken.now() == AT + KRAKEN_AHEAD_NS + NS_PER_S


def test_a_message_that_waited_for_the_router_is_of_when_it_came() -> None:
    """A router that begins finds it in its ring: Kraken's clock has gone on since."""
    now = Instant(3 * NS_PER_S, AT)
    kraken = KrakenTime(now)
    kraken.told(WallNs(AT), MonoNs(NS_PER_S))

    assert kraken.now() == AT + 2 * NS_PER_S


def test_a_date_tells_what_time_it_is_at_least() -> None:
    """It is cut to the second: a deadline by it would be over too soon. A message tells better."""
    now = Instant(0, AT)
    kraken = KrakenTime(now)
    assert (kraken.least(), kraken.evidence) == (AT, Evidence.OUR_CLOCK)
    kraken.dated(WallNs(AT - 30 * NS_PER_S))
    now.set(MonoNs(NS_PER_S), WallNs(AT + NS_PER_S))
    kraken.dated(WallNs(0))
    assert (kraken.least(), kraken.now()) == (AT - 29 * NS_PER_S, AT + NS_PER_S)
    assert kraken.evidence is Evidence.DATE
    kraken.told(WallNs(AT - 28 * NS_PER_S))
    kraken.dated(WallNs(AT))

    assert (kraken.least(), kraken.now()) == (AT - 28 * NS_PER_S, AT - 28 * NS_PER_S)
    assert kraken.evidence is Evidence.MESSAGE


def test_a_date_of_rest_shortens_no_deadline() -> None:
    """The token is the first that a router asks for; the order goes out before any message has a time."""
    rig = RouterRig()
    rig.core.begin()
    rig.calls.kraken_time.dated(WallNs(rig.clock.wall_ns() - 2 * NS_PER_S))
    rig.connect()
    rig.snapshot()
    rig.command(Submit(STRATEGY, "quoter000000000001", limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (request,) = [request for request in rig.socket.take() if request["method"] == "add_order"]

    assert (
        wall_ns(request["params"]["deadline"]) >= rig.clock.wall_ns() + rig.settings.new_orders.deadline_ns - NS_PER_MS
    )


def test_the_deadline_of_an_order_is_by_krakens_clock() -> None:
    """Ours is half a minute behind: Kraken would refuse every order as too late."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    told_at = WallNs(rig.clock.wall_ns() + KRAKEN_AHEAD_NS)
    rig.fact(fact("new", told_at, order_id="OTHER", cl_ord_id=None))
    rig.clock.advance(20 * NS_PER_MS)
    rig.command(Submit(STRATEGY, "quoter000000000001", limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (request,) = [request for request in rig.socket.take() if request["method"] == "add_order"]

    deadline = wall_ns(request["params"]["deadline"])
    assert told_at < deadline <= told_at + 20 * NS_PER_MS + rig.settings.new_orders.deadline_ns


def test_an_order_is_found_though_our_clock_was_ahead_when_it_left() -> None:
    """It opened at a time before the one that we sent it at, by as much as a clock of ours may have been wrong."""
    blotter = Blotter()
    commit(blotter, [submitted()])
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    search = OrderSearch([blotter.open[KEY]], life_ns=DEADLINE_MAX_NS, asks_closed=False)
    row = OrderLookup(order_id=ORDER_ID, cl_ord_id=KEY, status="open", side="buy", opened_at=WallNs(AT - 40 * NS_PER_S))

    assert KEY in search.take([row], "")
