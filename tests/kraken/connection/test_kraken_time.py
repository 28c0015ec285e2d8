"""Kraken's clock is read off its own messages: deadlines are right though ours is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.instant import Instant
from engine.kraken.connection.kraken_time import ALONE_NS, DATE_BEHIND_NS, SLEW, WINDOW_NS, KrakenTime
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
    now = Instant(0, AT + KRAKEN_AHEAD_NS)
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
    assert (kraken.least(), kraken.is_told) == (AT, False)
    kraken.dated(WallNs(AT - 30 * NS_PER_S))
    now.set(MonoNs(NS_PER_S), WallNs(AT + NS_PER_S))
    kraken.dated(WallNs(0))
    assert kraken.least() == AT - 29 * NS_PER_S - NS_PER_S // 10
    assert kraken.is_told
    kraken.told(WallNs(AT - 28 * NS_PER_S))
    kraken.dated(WallNs(AT))

    assert (kraken.least(), kraken.now()) == (AT - 28 * NS_PER_S, AT - 28 * NS_PER_S)


@pytest.mark.parametrize("wrong_s", [-1700, -6, 7, 1700])
def test_a_deadline_is_by_the_last_date_where_our_clock_is_far_from_it(wrong_s: int) -> None:
    """With REST alone no message tells the time, and nobody takes an order whose deadline is half an hour away."""
    now = Instant(0, WallNs(AT + wrong_s * NS_PER_S))
    kraken = KrakenTime(now)
    for _ in range(2):  # one that lies far ahead of our clock needs a witness
        now.advance(NS_PER_MS)
        kraken.dated(AT)
    now.advance(NS_PER_S)

    assert kraken.now() == AT + NS_PER_S + DATE_BEHIND_NS
    now.set(now.mono, WallNs(AT + 4 * NS_PER_S))  # somebody has set it right, or nearly
    assert kraken.now() == AT + 4 * NS_PER_S


def test_a_date_ahead_of_the_messages_does_not_count() -> None:
    """It may be of a front end whose clock is ahead; the first message sets it right."""
    now = Instant(0, AT)
    kraken = KrakenTime(now)
    kraken.dated(WallNs(AT + 3 * NS_PER_S))
    kraken.told(AT)

    assert kraken.least() == AT


MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 30 * NS_PER_S),  # Kraken's time since the one before
        st.integers(-90_000, 110_000),  # by how much our clock gains meanwhile, in ppm
        st.integers(0, 3 * NS_PER_S),  # how long it was under way
        st.sampled_from(["message", "message", "late message", "date", "nothing"]),
        st.integers(0, 100 * NS_PER_S),  # how far a deadline is ahead
    ),
    max_size=40,
)


@given(MOMENTS, st.integers(-40 * NS_PER_S, 40 * NS_PER_S))
def test_what_is_certain_is_so_however_our_clock_is_slewed(moments, wall_ahead_ns: int) -> None:
    """And no moment is held to have come at Kraken that has not."""
    now = Instant(NS_PER_S, AT + wall_ahead_ns)
    kraken, kraken_now = KrakenTime(now), AT
    awaited: list[tuple[int, int]] = []
    for passed_ns, gain_ppm, way_ns, what, ahead_ns in moments:
        kraken_now += passed_ns
        before = now.mono
        now.advance(passed_ns + passed_ns * gain_ppm // 1_000_000)
        if what == "message":
            kraken.told(WallNs(kraken_now - way_ns))
        elif what == "late message":
            kraken.told(WallNs(kraken_now - passed_ns), before)
        elif what == "date":
            kraken.dated(WallNs((kraken_now - way_ns) // NS_PER_S * NS_PER_S))
        if not kraken.is_told:
            continue

        assert kraken.least() <= kraken_now
        assert not [at for at, reached_at in awaited if reached_at <= now.mono and at > kraken_now]
        at = WallNs(kraken_now + ahead_ns - 50 * NS_PER_S)
        awaited.append((at, kraken.reached_at(at)))
        assert kraken.reached_at(at) > now.mono or at <= kraken_now
        assert (kraken.reached_at(at) <= now.mono) == (at <= kraken.least())


def test_messages_set_it_back_where_our_clock_gains() -> None:
    """It is slewed by a tenth for minutes. Deadlines follow within two windows, doubts at once."""
    now = Instant(0, AT)
    kraken, kraken_now = KrakenTime(now), AT
    for _ in range(300):
        kraken_now += NS_PER_S
        now.advance(NS_PER_S + NS_PER_S // SLEW)
        kraken.told(WallNs(kraken_now))

        assert kraken.least() == kraken_now
        assert kraken_now <= kraken.now() <= kraken_now + 2 * (WINDOW_NS + NS_PER_S) // SLEW


def test_one_message_that_was_held_up_makes_no_deadline_short() -> None:
    """The first after an hour of quiet stood in a queue for seconds."""
    now = Instant(0, AT)
    kraken = KrakenTime(now)
    kraken.told(AT)
    now.advance(3600 * NS_PER_S)
    kraken.told(WallNs(AT + 3595 * NS_PER_S))

    assert kraken.now() == AT + 3600 * NS_PER_S


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "after another"])
def test_one_message_that_is_dated_far_ahead_does_not_count(is_first: bool) -> None:
    """Neither does a date; nor the two rows of one frame."""
    now = Instant(NS_PER_S, AT)
    kraken = KrakenTime(now)
    if not is_first:
        kraken.told(AT)
    now.advance(NS_PER_S)
    kraken.told(WallNs(now.wall + 30 * 86_400 * NS_PER_S))
    kraken.told(WallNs(now.wall + 30 * 86_400 * NS_PER_S))
    now.advance(NS_PER_S)
    kraken.told(WallNs(now.wall))
    now.advance(NS_PER_S)
    kraken.dated(WallNs(now.wall + 30 * 86_400 * NS_PER_S))

    assert kraken.now() == now.wall
    assert kraken.least() <= now.wall


def test_two_that_are_dated_far_ahead_count_one_after_the_other() -> None:
    """Our clock lost an hour, as of a machine that was suspended, or was wrong from the start."""
    now = Instant(NS_PER_S, AT)
    kraken = KrakenTime(now)
    hour_ns = 3600 * NS_PER_S
    kraken.dated(WallNs(AT + hour_ns - ALONE_NS // 2))
    assert not kraken.is_told
    now.advance(1)
    kraken.told(WallNs(AT + hour_ns))

    assert (kraken.now(), kraken.least()) == (AT + hour_ns, AT + hour_ns)


def test_what_two_have_told_wrongly_is_over_two_windows_later() -> None:
    """Otherwise Kraken would refuse every deadline until the next start."""
    now = Instant(NS_PER_S, AT)
    kraken = KrakenTime(now)
    kraken.told(AT)
    for _ in range(2):
        now.advance(NS_PER_S)
        kraken.told(WallNs(AT + 3600 * NS_PER_S))
    for _ in range(2):
        now.advance(WINDOW_NS + 1)
        kraken.told(WallNs(now.wall))

    assert (kraken.now(), kraken.least()) == (now.wall, now.wall)


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
    rig.calls.kraken_time.dated(WallNs(rig.clock.wall_ns() + KRAKEN_AHEAD_NS - 2 * NS_PER_S))
    rig.clock.advance(20 * NS_PER_MS)
    told_at = WallNs(rig.clock.wall_ns() + KRAKEN_AHEAD_NS)
    rig.fact(fact("new", told_at, order_id="OTHER", cl_ord_id=None))
    rig.clock.advance(20 * NS_PER_MS)
    rig.command(Submit(STRATEGY, "quoter000000000001", limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (request,) = [request for request in rig.socket.take() if request["method"] == "add_order"]

    deadline = wall_ns(request["params"]["deadline"])
    assert told_at < deadline <= told_at + 20 * NS_PER_MS + rig.settings.new_orders.deadline_ns


class Slewed:
    """A router whose clocks gain on Kraken's, and a row of somebody else's order every second."""

    def __init__(self, gain_percent: int) -> None:
        self.rig, self.kraken_now, self.rows = RouterRig(), AT, 0
        self.rig.core.begin()
        self.rig.connect()
        self.rig.snapshot()
        self.rig.know_pairs()
        self._gain_percent = gain_percent

    def tell(self, seconds: int) -> None:
        for _ in range(seconds):
            self.kraken_now += NS_PER_S
            self.rows += 1
            self.rig.clock.advance(NS_PER_S + NS_PER_S * self._gain_percent // 100)
            self.rig.fact(fact("new", WallNs(self.kraken_now), order_id=f"OTHER{self.rows}", cl_ord_id=None))
            self.rig.keep_alive()
            self.rig.work()

    def order(self, key: str) -> WallNs:
        """An order to which no answer comes; its deadline."""
        self.rig.socket.take()
        self.rig.command(Submit(STRATEGY, key, limit(price="95"), MonoNs(self.rig.clock.mono_ns()), MonoNs(0)))
        (request,) = [request for request in self.rig.socket.take() if request["method"] == "add_order"]
        return wall_ns(request["params"]["deadline"])

    def run_until_decided(self, key: str) -> None:
        """REST finds nothing."""
        order = self.rig.core.blotter.get(key)
        for _ in range(1000):
            if not order.is_open:
                return
            self.kraken_now += 50 * NS_PER_MS
            self.rig.work_for(50 * NS_PER_MS * (100 + self._gain_percent) // 100, self.rig.keep_alive)
            while (call := self.rig.calls.take_due()) is not None:
                what = {"OpenOrders": {"open": {}}, "ClosedOrders": {"closed": {}}}
                self.rig.answer(call, what.get(call.request.name, {}))
        raise AssertionError(order.state)


@pytest.mark.parametrize("gain_percent", [0, 8])
def test_no_order_is_held_absent_that_kraken_may_still_take(gain_percent: int) -> None:
    """Our clock is slewed while the engine runs: what it has gained by then must not count as Kraken's time."""
    slewed = Slewed(gain_percent)
    slewed.tell(130)
    deadline = slewed.order("quoter00001a000001")
    slewed.run_until_decided("quoter00001a000001")

    assert slewed.kraken_now >= deadline


def test_one_row_of_next_month_makes_no_deadline() -> None:
    """Kraken refuses what lies more than a minute ahead: no order would go out until the next start."""
    slewed = Slewed(0)
    slewed.tell(3)
    far = WallNs(slewed.kraken_now + 30 * 86_400 * NS_PER_S)
    slewed.rig.fact(fact("new", far, order_id="FAR", cl_ord_id=None))

    assert slewed.order("quoter00001a000001") <= slewed.kraken_now + NS_PER_S + NS_PER_MS


def test_an_order_is_found_though_our_clock_was_ahead_when_it_left() -> None:
    """It opened at a time before the one that we sent it at, by as much as a clock of ours may have been wrong."""
    blotter = Blotter()
    commit(blotter, [submitted()])
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    search = OrderSearch([blotter.open[KEY]], life_ns=DEADLINE_MAX_NS, asks_closed=False)
    row = OrderLookup(order_id=ORDER_ID, cl_ord_id=KEY, status="open", side="buy", opened_at=WallNs(AT - 40 * NS_PER_S))

    assert KEY in search.take([row], "")
