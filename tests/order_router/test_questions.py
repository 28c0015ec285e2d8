"""What REST is asked about orders: judged by a model of Kraken that knows the truth and counts calls, under a clock by
hand. No order is ever decided wrongly, and the cost is that of pages, not of orders."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.trading.order_requests import BATCH_ADD_MAX
from engine.kraken_rest.call_counter import Urgency, call_cost
from engine.order_router.core.lookup.questions import LAG_ALONE_NS, LAG_NS, OrderQuestions
from engine.orders.blotter import Blotter
from engine.orders.intent import Amendment
from engine.orders.journal_records import AmendSent, Submitted
from engine.orders.life import OrderState
from engine.orders.venue_facts import ExecutionFact, OrderLookup
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs
from tests.clocks import ShellClock
from tests.examples import times
from tests.orders.rig import AT, commit, limit

PAGE = 50
assert BATCH_ADD_MAX < PAGE


class Kraken:
    """Orders as REST tells them, as of `lag_ns` ago."""

    def __init__(self, clock: ShellClock) -> None:
        self.clock = clock
        self.lag_ns = 0
        # How far each call lags, when that differs from call to call.
        self.lags_ns: Iterator[int] = iter(())
        self.rows: list[tuple[OrderLookup, int]] = []  # with the moment of their end, 0 while open
        self.asked: list[str] = []
        self.page_sizes: list[int] = []

    def add(self, key: str, opened_at: int, closed_at: int = 0, trades: int = 0, status: str = "canceled") -> None:
        """An order that Kraken had."""
        row = OrderLookup(
            order_id=f"O{key}", status=status if closed_at else "open", cl_ord_id=key, side="buy", qty=Decimal(1),
            opened_at=WallNs(opened_at), filled_qty=Decimal(trades) / 10,
            trade_ids=tuple(f"T{key}{number}" for number in range(trades)),
        )  # fmt: skip
        self.rows.append((row, closed_at))

    def answer(self, question):
        """What REST says to a question."""
        name, fields = question.request.name, question.request.fields
        self.asked.append(name)
        as_of = self.clock.wall_ns() - next(self.lags_ns, self.lag_ns)
        known = [(row, end) for row, end in self.rows if row.opened_at <= as_of]
        named = fields.get("cl_ord_id")
        known = [(row, end) for row, end in known if named in (None, row.cl_ord_id)]
        if name == "OpenOrders":
            return [row for row, end in known if not 0 < end <= as_of]
        if name == "QueryOrders":
            asked = fields["txid"].split(",")
            return [
                row if 0 < end <= as_of else replace(row, status="open") for row, end in known if row.order_id in asked
            ]
        if name == "QueryTrades":
            return [_fill(trade_id) for trade_id in fields["txid"].split(",")]
        start, end = fields["start"] * NS_PER_S, fields.get("end", 2**40) * NS_PER_S
        closed = sorted(((row, at) for row, at in known if 0 < at <= as_of), key=lambda pair: -pair[1])
        if fields.get("closetime") == "open":
            closed = [(row, at) for row, at in closed if start < row.opened_at <= end]
        else:
            closed = [(row, at) for row, at in closed if row.opened_at > start or at > start]
        rows = [row for row, _ in closed][fields.get("ofs", 0) :][:PAGE]
        self.page_sizes.append(len(rows))
        return rows

    @property
    def points(self) -> int:
        """What all calls have cost."""
        return sum(map(call_cost, self.asked))


def _fill(trade_id: str) -> ExecutionFact:
    return ExecutionFact(exec_type="trade", order_id="O", timestamp=AT, exec_id=trade_id)


class Told:
    """Who is told what was found out."""

    def __init__(self, rig: "Rig") -> None:
        self.rig = rig
        self.unbroken_since: MonoNs | None = None
        self.sent: dict[str, MonoNs] = {}
        self.heard_until = 0
        self.found_keys: list[str] = []
        self.absent_keys: list[str] = []
        self.accounted: list[str] = []
        self.fills: dict[str, int] = {}

    @property
    def listed_since(self) -> MonoNs | None:
        return self.unbroken_since

    def is_complete_until(self, at: MonoNs) -> bool:
        return self.heard_until >= at

    def sent_at(self, key: str) -> MonoNs | None:
        return self.sent.get(key)

    def found(self, lookup: OrderLookup, fills: list[ExecutionFact]) -> None:
        self.found_keys.append(lookup.cl_ord_id)
        self.fills[lookup.cl_ord_id] = len(fills)
        blotter, at = self.rig.blotter, self.rig.clock.wall_ns()
        order = blotter.order_of(lookup)
        if not order.order_id:
            commit(blotter, blotter.on_acknowledged(order.key, lookup.order_id, at))
        commit(blotter, blotter.on_lookup(lookup, at))

    def absent(self, key: str) -> None:
        self.absent_keys.append(key)
        commit(self.rig.blotter, self.rig.blotter.on_absent(key, "never", self.rig.clock.wall_ns()))

    def accounted_for(self, keys) -> None:
        self.accounted += keys


class Rig:
    """Questions, their blotter and their Kraken."""

    def __init__(self, lag_ns_max: int = 60 * NS_PER_S) -> None:
        self.clock = ShellClock(mono_ns=10**12, wall_ns=AT)
        self.blotter = Blotter()
        self.kraken = Kraken(self.clock)
        self.told = Told(self)
        self.kraken_time = KrakenTime(self.clock.now)
        self.questions = OrderQuestions(
            self.blotter, self.told, self.clock.now, self.kraken_time, life_ns=NS_PER_S, lag_ns_max=lag_ns_max
        )
        self.failures = 0

    def send(self, key: str, deadline_ns: int = NS_PER_S) -> None:
        """An order leaves, and no answer comes."""
        now = self.clock.wall_ns()
        commit(self.blotter, [Submitted(key, "quoter", limit(), WallNs(now + deadline_ns), "websocket", None, now)])
        commit(self.blotter, self.blotter.on_doubt(key, "no answer", now))
        self.told.sent[key] = self.clock.mono_ns()
        self.questions.look_up(key, WallNs(now + deadline_ns))

    def run(self, seconds: float, fails=lambda: False, has_room=lambda question: True) -> None:
        """Ask whatever is due, and let time pass; `has_room`: whether the key's counter has room for a question."""
        for _ in range(int(seconds * 10)):
            for next_question in (self.questions.next_truth, self.questions.next_look):
                for _ in range(200):
                    question = next_question()
                    if question is None or not has_room(question):
                        break
                    if fails():
                        self.failures += 1
                        break
                    question.take(self.kraken.answer(question))
                else:
                    raise AssertionError("questions without end")
            self.clock.advance(100 * NS_PER_MS)

    def states(self) -> dict[str, str]:
        return {key: self.blotter.get(key).state.name for key in self.keys}

    keys: tuple[str, ...] = ()


def stalled(rig: Rig, count: int, *, executed) -> list[str]:
    """Orders in doubt after a stall of Kraken; `executed` says which it had. A snapshot has come since."""
    keys = [f"key{number:04d}" for number in range(count)]
    for number, key in enumerate(keys):
        rig.send(key)
        if executed(number):
            rig.kraken.add(key, rig.clock.wall_ns() + 1, rig.clock.wall_ns() + 2)
        rig.clock.advance(40 * NS_PER_MS)
    rig.told.unbroken_since = rig.clock.mono_ns()
    return keys


def test_a_feed_that_breaks_during_a_look_proves_nothing() -> None:
    """What came last of it, by its time of arrival, had been on its way for long; what came behind is lost. The order
    lived, and had ended when REST told what is open.
    """
    rig = Rig()
    rig.kraken_time.told(rig.clock.wall_ns())
    rig.told.unbroken_since = MonoNs(rig.clock.mono_ns() - 1)
    rig.send("key")
    rig.kraken.add("key", rig.clock.wall_ns() + 1, rig.clock.wall_ns() + 3 * NS_PER_S)
    rig.clock.advance(2 * NS_PER_S)
    rig.kraken_time.told(rig.clock.wall_ns())
    rig.told.heard_until = rig.clock.mono_ns()
    while (question := rig.questions.next_look()) is None:
        rig.clock.advance(100 * NS_PER_MS)
    assert question.request.name == "OpenOrders"
    rig.told.unbroken_since = None
    rig.clock.advance(2 * NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    question.take(rig.kraken.answer(question))
    rig.run(5)

    assert (rig.told.absent_keys, rig.told.found_keys) == ([], ["key"])


@pytest.mark.parametrize("count", [3, 49, 75, 125, 199])
@pytest.mark.parametrize("every", [1, 2, 1000], ids=["all there", "every second", "nearly none"])
def test_many_orders_in_doubt_cost_pages_and_not_calls_of_their_own(count: int, every: int) -> None:
    """A page holds fifty; each order is decided rightly."""
    rig = Rig()
    rig.kraken_time.told(rig.clock.wall_ns())
    rig.clock.advance(NS_PER_MS)
    keys = stalled(rig, count, executed=lambda number: number % every == 0)
    rig.kraken_time.told(rig.clock.wall_ns())
    rig.run(4)

    assert sorted(rig.told.absent_keys) == [key for number, key in enumerate(keys) if number % every]
    assert sorted(rig.told.found_keys) == [key for number, key in enumerate(keys) if number % every == 0]
    # What is left of the last second falls due in a few looks more.
    assert rig.kraken.points <= 1 + 4 * (count // PAGE + 1) + 4 * 5


def test_orders_that_closed_beside_them_are_paged_through() -> None:
    """Two hundred other orders closed since: an order on the fifth page is not taken for absent."""
    rig = Rig()
    rig.send("first")
    rig.send("never")
    rig.send("neither")
    rig.kraken.add("first", rig.clock.wall_ns() + 1, rig.clock.wall_ns() + 2)
    for number in range(220):
        rig.clock.advance(5 * NS_PER_MS)
        rig.kraken.add(f"other{number}", rig.clock.wall_ns() - 1, rig.clock.wall_ns())
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.run(4)

    assert rig.told.found_keys == ["first"]
    assert sorted(rig.told.absent_keys) == ["neither", "never"]


def test_a_page_that_tells_of_an_earlier_moment_leaves_nothing_out() -> None:
    """Orders move to earlier places then: one of the sixtieth is on neither page, if the second begins at fifty."""
    rig = Rig()
    keys = [f"key{number}" for number in range(3)]
    for key in keys:
        rig.send(key)
    at = rig.clock.wall_ns()
    rig.told.unbroken_since = MonoNs(rig.clock.mono_ns() + 1)
    for number in range(90):
        rig.kraken.add(f"before{number}", at - NS_PER_S, at + 1 + number)
    rig.kraken.add(keys[1], at + 1, at + 47)
    rig.clock.advance(1800 * NS_PER_MS)
    now = rig.clock.wall_ns()
    for number in range(12):
        rig.kraken.add(f"later{number}", now - NS_PER_S, now - 100 * NS_PER_MS)
    rig.kraken.lags_ns = iter([0, 0, *[300 * NS_PER_MS] * 20])
    rig.run(1)

    assert rig.told.found_keys == [keys[1]]
    assert sorted(rig.told.absent_keys) == [keys[0], keys[2]]


def test_what_was_learnt_before_a_failure_is_kept() -> None:
    """Every second call fails: the same pages are not asked for again."""
    rig = Rig()
    stalled(rig, 150, executed=lambda number: True)
    rig.clock.advance(2 * NS_PER_S)
    turn = iter(range(10_000))
    rig.run(10, fails=lambda: next(turn) % 2 == 0)

    assert len(rig.told.found_keys) == 150
    assert rig.told.absent_keys == []
    assert rig.failures >= 3
    assert rig.kraken.asked == ["OpenOrders", *["ClosedOrders"] * 4]


def test_orders_found_by_the_first_page_are_told_before_the_second_is_asked_for() -> None:
    """Each found order makes its pair certain, whatever the others wait for."""
    rig = Rig()
    stalled(rig, 120, executed=lambda number: True)
    rig.clock.advance(2 * NS_PER_S)
    for _ in range(2):  # open orders, the first page
        question = rig.questions.next_look()
        question.take(rig.kraken.answer(question))

    assert len(rig.told.found_keys) == PAGE


def test_fills_are_asked_for_twenty_a_call_whosever_they_are() -> None:
    """Forty orders with a fill each are two calls, not forty."""
    rig = Rig()
    now = rig.clock.wall_ns()
    for number in range(40):
        rig.send(f"key{number}")
        rig.kraken.add(f"key{number}", now + 1, now + 2, trades=1, status="closed")
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.run(4)

    assert rig.kraken.asked == ["OpenOrders", "ClosedOrders", "QueryTrades", "QueryTrades"]
    assert set(rig.told.fills.values()) == {1}


def test_a_fill_that_the_executions_told_meanwhile_is_not_asked_for() -> None:
    """A call for it waits for room in the key's counter: four points that others need."""
    rig = Rig()
    for key in ("unlisted", "changed"):
        rig.send(key)
        commit(rig.blotter, rig.blotter.on_acknowledged(key, f"O{key}", rig.clock.wall_ns()))
        rig.kraken.add(key, rig.clock.wall_ns() - 1, rig.clock.wall_ns(), trades=1, status="closed")
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.clock.advance(LAG_NS)
    rig.questions.reconcile(["unlisted"])
    rig.questions.settle("changed")
    rig.clock.advance(LAG_NS)
    for next_question in (rig.questions.next_truth, rig.questions.next_look):
        question = next_question()
        question.take(rig.kraken.answer(question))
    for key in ("unlisted", "changed"):
        fill = replace(_fill(f"T{key}0"), order_id=f"O{key}", last_qty=Decimal("0.1"), last_price=Decimal(1))
        commit(rig.blotter, rig.blotter.on_execution(fill, lambda _: None, AT))
    rig.run(1)

    assert rig.kraken.asked == ["QueryOrders", "QueryOrders"]
    assert rig.told.accounted == ["unlisted"]
    assert rig.told.fills == {"unlisted": 0, "changed": 0}


def test_orders_in_doubt_that_wait_for_room_share_a_call_for_open_orders() -> None:
    """Whether or not their looks end with it."""
    rig = Rig()
    rig.send("before")
    rig.clock.advance(NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.clock.advance(NS_PER_MS)
    rig.send("after")
    rig.told.heard_until = rig.clock.mono_ns() + 60 * NS_PER_S
    rig.run(5, has_room=lambda question: False)
    rig.run(2)

    assert rig.kraken.asked == ["OpenOrders", "ClosedOrders"]
    assert sorted(rig.told.absent_keys) == ["after", "before"]


def test_orders_in_doubt_that_wait_for_history_share_its_pages() -> None:
    """Two looks at open orders, a while apart, while the key's counter has no room for history: one page is enough."""
    rig = Rig()
    for key in ("first", "second"):
        rig.send(key)
        rig.kraken.add(key, rig.clock.wall_ns() + 1, rig.clock.wall_ns() + 2)
        rig.clock.advance(NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.run(12, has_room=lambda question: question.request.name == "OpenOrders")
    waited_for = list(rig.kraken.asked)
    rig.run(1)

    assert waited_for == ["OpenOrders"] * 2
    assert rig.kraken.asked == [*waited_for, "ClosedOrders"]
    assert sorted(rig.told.found_keys) == ["first", "second"]


def test_what_trading_waits_for_is_asked_beside_the_rest() -> None:
    """Orders that a snapshot did not list: fifty a call, told as they come, urgent."""
    rig = Rig()
    keys = [f"key{number}" for number in range(70)]
    for key in keys:
        rig.send(key)
        commit(rig.blotter, rig.blotter.on_acknowledged(key, f"O{key}", rig.clock.wall_ns()))
        rig.kraken.add(key, rig.clock.wall_ns() - 1, rig.clock.wall_ns())
    rig.questions.reconcile(keys)
    first = rig.questions.next_truth()
    first.take(rig.kraken.answer(first))
    told_first = list(rig.told.accounted)
    rig.run(1)

    assert first.urgency is Urgency.TRUTH
    assert len(told_first) == 50
    assert sorted(rig.told.accounted) == sorted(keys)
    assert rig.kraken.asked == ["QueryOrders", "QueryOrders"]


def test_an_unlisted_order_is_accounted_for_when_its_fills_are_told() -> None:
    """Not before: a position would be wrong. One that REST does not know is accounted for, if REST had time enough."""
    rig = Rig()
    for key in ("filled", "unknown"):
        rig.send(key)
        commit(rig.blotter, rig.blotter.on_acknowledged(key, f"O{key}", rig.clock.wall_ns()))
    rig.kraken.add("filled", rig.clock.wall_ns() - 1, rig.clock.wall_ns(), trades=3, status="closed")
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.clock.advance(LAG_NS)
    rig.questions.reconcile(["filled", "unknown"])
    orders = rig.questions.next_truth()
    orders.take(rig.kraken.answer(orders))
    before = list(rig.told.accounted)
    fills = rig.questions.next_truth()
    fills.take(rig.kraken.answer(fills))

    assert before == ["unknown"]
    assert rig.told.accounted == ["unknown", "filled"]
    assert rig.told.fills == {"filled": 3}


def test_an_order_that_cannot_be_settled_is_asked_for_less_and_less() -> None:
    """A fill that REST never has: not every two seconds for ever."""
    rig = Rig()
    rig.send("key")
    commit(rig.blotter, rig.blotter.on_acknowledged("key", "Okey", rig.clock.wall_ns()))
    rig.kraken.add("key", rig.clock.wall_ns() - 1)
    rig.kraken.rows[0] = (rig.kraken.rows[0][0].__class__(**{
        **{name: getattr(rig.kraken.rows[0][0], name) for name in rig.kraken.rows[0][0].__struct_fields__},
        "filled_qty": Decimal("0.5"),
    }), 0)  # fmt: skip
    for _ in range(600):
        rig.questions.settle("key")
        rig.run(1)

    assert 10 <= rig.kraken.asked.count("QueryOrders") <= 40


def test_an_order_that_rest_does_not_have_yet_is_asked_for_again() -> None:
    """Its amend is in doubt: an answer that leaves the order out tells nothing of it, and nobody else asks."""
    rig = Rig()
    rig.kraken.lag_ns = 5 * NS_PER_S
    rig.send("key")
    commit(rig.blotter, rig.blotter.on_acknowledged("key", "Okey", rig.clock.wall_ns()))
    rig.kraken.add("key", rig.clock.wall_ns())
    commit(rig.blotter, [AmendSent("key", Amendment(price_decimals=1, qty_decimals=8), rig.clock.wall_ns())])
    rig.questions.settle("key")
    rig.run(20)

    assert rig.told.found_keys == ["key"]
    assert 2 <= rig.kraken.asked.count("QueryOrders") <= 6


@pytest.mark.parametrize("lag_ms", [100, 300, 499])
@pytest.mark.parametrize("lived_ms", [900, 3], ids=["told as open", "not told at all"])
def test_what_rest_tells_as_of_before_the_snapshot_accounts_for_nothing(lag_ms: int, lived_ms: int) -> None:
    """The snapshot does not list it, so it is over: REST that still has it open, or has not got it yet, lags."""
    rig = Rig()
    rig.kraken.lag_ns = lag_ms * NS_PER_MS
    rig.send("key")
    commit(rig.blotter, rig.blotter.on_acknowledged("key", "Okey", rig.clock.wall_ns()))
    rig.clock.advance(NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    ended_at = rig.clock.wall_ns() - NS_PER_MS
    rig.kraken.add("key", ended_at - lived_ms * NS_PER_MS, ended_at)
    rig.questions.reconcile(["key"])
    rig.run(1)

    assert rig.blotter.get("key").state is OrderState.CANCELED
    assert rig.told.accounted == ["key"]


def test_an_order_that_rest_has_open_for_long_is_asked_for_once_more_when_it_can_lag_no_more() -> None:
    """Its pair is traded meanwhile; nobody else would ever tell that it is over."""
    rig = Rig(lag_ns_max=20 * NS_PER_S)
    rig.kraken.lag_ns = 10 * NS_PER_S
    rig.send("key")
    commit(rig.blotter, rig.blotter.on_acknowledged("key", "Okey", rig.clock.wall_ns()))
    rig.kraken.add("key", rig.clock.wall_ns() - 60 * NS_PER_S, rig.clock.wall_ns())
    rig.clock.advance(NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.questions.reconcile(["key"])
    rig.run(2)
    accounted, is_open = list(rig.told.accounted), rig.blotter.get("key").is_open
    rig.run(30)

    assert (accounted, is_open) == (["key"], True)
    assert rig.blotter.get("key").state is OrderState.CANCELED


# --- no order is decided wrongly

MOMENTS = st.integers(0, 4000)


@times(8)
@given(
    fates=st.lists(st.tuples(st.booleans(), MOMENTS, MOMENTS), min_size=1, max_size=130),
    lags_ms=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    others=st.integers(0, 200),
    failures=st.lists(st.booleans(), max_size=40),
    has_snapshot=st.booleans(),
)
def test_no_order_is_decided_wrongly(fates, lags_ms, others, failures, has_snapshot) -> None:
    """Whatever Kraken had and when it ended, however REST lags within its bound, whatever calls fail when.

    An order that Kraken had is found, open or closed; one that it never had is absent.
    """
    rig = Rig()
    rig.kraken.lags_ns = (lag_ms * NS_PER_MS for lag_ms in cycle(lags_ms))
    had = {}
    for number, (is_there, opens_ms, lives_ms) in enumerate(fates):
        key = f"key{number:03d}"
        rig.send(key)
        now = rig.clock.wall_ns()
        had[key] = is_there
        if is_there:  # at the latest when its deadline passes; it may end at any time after
            opened_at = now + min(opens_ms, 1000) * NS_PER_MS
            rig.kraken.add(key, opened_at, 0 if lives_ms > 3000 else opened_at + 1 + lives_ms * NS_PER_MS)
        rig.clock.advance(7 * NS_PER_MS)
    for number in range(others):
        at = rig.clock.wall_ns() + number * 20 * NS_PER_MS
        rig.kraken.add(f"other{number}", at, at + 1)
    told = set()
    if has_snapshot:  # of what is open then, the executions tell
        rig.clock.advance(1300 * NS_PER_MS)
        since, rig.told.unbroken_since = rig.clock.mono_ns(), rig.clock.mono_ns()
        told = {row.cl_ord_id for row, end in rig.kraken.rows if row.cl_ord_id in had and not 0 < end < since}
        for key in told:
            commit(rig.blotter, rig.blotter.on_acknowledged(key, f"O{key}", since))
    turn = iter(failures)
    rig.run(15, fails=lambda: next(turn, False))

    assert {key for key in had if rig.blotter.get(key).state is OrderState.UNKNOWN} == set()
    assert set(rig.told.absent_keys) == {key for key, is_there in had.items() if not is_there}
    assert set(rig.told.found_keys) == {key for key, is_there in had.items() if is_there} - told


def test_an_order_that_rest_tells_of_a_minute_late_lives_again() -> None:
    """REST lagged for longer than it ever should: the last look is chosen by when the orders were opened."""
    rig = Rig()
    for number in range(60):
        rig.send(f"key{number}")
    rig.kraken.add("key7", rig.clock.wall_ns() + 1, rig.clock.wall_ns() + 2)
    rig.kraken.lag_ns = 30 * NS_PER_S
    rig.told.unbroken_since = MonoNs(rig.clock.mono_ns() + 1)
    rig.run(5)
    wrongly = "key7" in rig.told.absent_keys
    before = rig.kraken.points
    for _ in range(600):
        rig.clock.advance(90 * NS_PER_MS)
        rig.kraken.add(f"later{_}", rig.clock.wall_ns(), rig.clock.wall_ns() + 1)
    rig.run(20)

    assert wrongly
    assert rig.told.found_keys == ["key7"]
    assert rig.kraken.points - before <= 1 + 2 * 4, "six hundred later orders are not looked through"


@pytest.mark.parametrize("is_told_later", [False, True], ids=["never told", "told later"])
@pytest.mark.parametrize("count", [1, 3])
def test_an_order_that_left_before_krakens_time_was_known_is_found_though_our_clock_was_ahead(
    count: int, is_told_later: bool
) -> None:
    """It opened and ended long before the deadline that our clock gave it: it is no order that never arrived."""
    rig = Rig()
    keys = [f"key{number}" for number in range(count)]
    for key in keys:
        rig.send(key)
        rig.kraken.add(key, rig.clock.wall_ns() - 20 * NS_PER_S, rig.clock.wall_ns() - 18 * NS_PER_S)
    if is_told_later:
        rig.kraken_time.told(WallNs(rig.clock.wall_ns() - 20 * NS_PER_S))
    rig.run(30)

    assert (rig.told.absent_keys, sorted(rig.told.found_keys)) == ([], keys)


@pytest.mark.parametrize("told_after_s", [0.5, 3.0])
@pytest.mark.parametrize("sent_by", ["this router", "an earlier one"])
@pytest.mark.parametrize("told_by", ["a message", "a date", "both"])
def test_a_deadline_that_our_clock_gave_is_waited_for_by_krakens_once_that_is_known(
    sent_by: str, told_after_s: float, told_by: str
) -> None:
    """Ours was 25 s ahead, so Kraken may begin with the order for as long as that."""
    rig = Rig()
    rig.send("key")
    if sent_by == "an earlier one":
        del rig.told.sent["key"]
    rig.run(told_after_s)
    if told_by != "a message":
        rig.kraken_time.dated(WallNs(rig.clock.wall_ns() - 26 * NS_PER_S))
    if told_by != "a date":
        rig.kraken_time.told(WallNs(rig.clock.wall_ns() - 25 * NS_PER_S))
    rig.run(25 - told_after_s)
    before = list(rig.told.absent_keys)
    rig.kraken.add("key", rig.clock.wall_ns() - 25 * NS_PER_S)
    rig.run(10)

    assert (before, rig.told.absent_keys, rig.told.found_keys) == ([], [], ["key"])


def test_an_order_that_left_by_a_clock_that_had_gained_is_found() -> None:
    """Ours gained 20 s since the last message: by its deadline the order opened long before it was sent."""
    rig = Rig()
    rig.kraken_time.told(WallNs(rig.clock.wall_ns()))
    rig.clock.advance(220 * NS_PER_S)
    rig.send("key")
    at = rig.clock.wall_ns() - 20 * NS_PER_S
    rig.kraken.add("key", at, at + NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.clock.advance(NS_PER_MS)
    rig.kraken_time.told(WallNs(at + NS_PER_MS))
    rig.run(30)

    assert (rig.told.absent_keys, rig.told.found_keys) == ([], ["key"])


def test_after_an_hour_of_quiet_a_lost_order_is_decided_in_seconds() -> None:
    """What is certain of Kraken's time is minutes behind by then. A look at what is open brings a Date."""
    rig = Rig()
    rig.kraken_time.told(rig.clock.wall_ns())
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.clock.advance(3600 * NS_PER_S)
    rig.send("key")
    rig.told.heard_until = rig.clock.mono_ns() + 60 * NS_PER_S

    def answer_is_dated() -> None:
        rig.kraken_time.dated(WallNs(rig.clock.wall_ns() // NS_PER_S * NS_PER_S - NS_PER_S))

    rig.run(1, fails=answer_is_dated)
    too_soon = list(rig.told.absent_keys)
    rig.run(4, fails=answer_is_dated)

    assert (too_soon, rig.told.absent_keys) == ([], ["key"])
    assert rig.kraken.asked == ["OpenOrders"] * 2


def test_no_deadline_is_waited_for_that_kraken_would_not_accept() -> None:
    """Our clock was minutes ahead when it gave the deadline; Kraken's time is known by now."""
    rig = Rig()
    rig.kraken_time.told(WallNs(rig.clock.wall_ns() - 300 * NS_PER_S))
    rig.send("key")
    rig.run(90)

    assert rig.told.absent_keys == ["key"]


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_wall_clock_that_is_set_holds_up_nothing(step_s: int) -> None:
    """Only deadlines are told by it; what is waited for is not: no order is settled an hour late."""
    rig = Rig()
    rig.send("key")
    commit(rig.blotter, rig.blotter.on_acknowledged("key", "Okey", rig.clock.wall_ns()))
    rig.questions.settle("key")
    rig.clock.step_wall(step_s * NS_PER_S)
    for _ in range(10):
        rig.clock.advance(100 * NS_PER_MS)
        if (question := rig.questions.next_look()) is not None:
            question.take([])
            rig.kraken.asked.append(question.request.name)

    assert rig.kraken.asked == ["QueryOrders"]


def test_nothing_is_absent_before_its_deadline_and_rests_lag() -> None:
    """Kraken may begin with it until then."""
    rig = Rig()
    rig.send("key", deadline_ns=2 * NS_PER_S)
    rig.told.unbroken_since = rig.clock.mono_ns()
    rig.run(2.2 + LAG_NS / NS_PER_S - 0.2)
    assert rig.told.absent_keys == []
    rig.run(1)
    assert rig.told.absent_keys == ["key"]

    alone = Rig()
    alone.send("key", deadline_ns=2 * NS_PER_S)
    alone.run(2.2 + LAG_ALONE_NS / NS_PER_S - 0.2)
    assert alone.told.absent_keys == []
    alone.run(1)
    assert alone.told.absent_keys == ["key"]
