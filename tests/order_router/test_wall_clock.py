"""A wall clock that is set back, or forward, changes no duration and no order of events."""

from engine.instant import Instant
from engine.kraken.connection.kraken_time import KrakenTime
from engine.order_router.core.lookup.questions import OrderQuestions
from engine.orders.blotter import Blotter
from engine.units import NS_PER_S, MonoNs, WallNs
from tests.orders.rig import AT, KEY, commit, submitted

HOUR_NS = 3600 * NS_PER_S
SENT_AT = MonoNs(1000 * NS_PER_S)


class Told:
    """What is known of executions; the order left at second 1000."""

    def __init__(self, unbroken_since=None, sent_at=SENT_AT):
        self.unbroken_since = unbroken_since
        self._sent_at = sent_at

    def has_heard_until(self, at):
        return True

    def sent_at(self, key):
        return self._sent_at


def in_doubt(told, now):
    """Questions about one order that was sent at AT with a second to live."""
    blotter = Blotter()
    commit(blotter, [submitted()])
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    questions = OrderQuestions(blotter, told, now, KrakenTime(now), life_ns=NS_PER_S, lag_ns_max=60 * NS_PER_S)
    questions.look_up(KEY, WallNs(AT + NS_PER_S))
    return questions


def test_an_order_in_doubt_is_looked_for_in_time_though_the_clock_was_set_back():
    """How long is waited is measured by the clock that nobody sets: an hour back must not leave it in doubt for one."""
    now = Instant(1000 * NS_PER_S, AT)
    questions = in_doubt(Told(), now)
    now.set(1003 * NS_PER_S, AT - HOUR_NS)

    assert questions.next_look() is not None


def test_a_deadline_has_not_passed_because_the_clock_was_set_forward():
    """Kraken may still begin with the order: a look that does not find it would prove nothing."""
    now = Instant(1000 * NS_PER_S, AT + HOUR_NS)
    questions = in_doubt(Told(), now)

    assert questions.next_look() is None


def test_an_order_of_an_earlier_life_waits_no_longer_than_it_had_to_live():
    """Only the wall clock knows when it left, and that was an hour ahead then."""
    now = Instant(1000 * NS_PER_S, AT - HOUR_NS)
    questions = in_doubt(Told(sent_at=None), now)
    now.set(1003 * NS_PER_S, AT - HOUR_NS)

    assert questions.next_look() is not None


def test_a_gap_after_an_order_left_is_one_though_the_clock_was_set_back():
    """Executions are whole since a moment after it left: closed orders are looked at too before it is held absent."""
    now = Instant(1000 * NS_PER_S, AT)
    told = Told()
    questions = in_doubt(told, now)
    told.unbroken_since = MonoNs(1001 * NS_PER_S)
    now.set(1010 * NS_PER_S, AT - HOUR_NS)
    question = questions.next_look()
    assert question.request.name == "OpenOrders"
    question.take([])

    assert questions.next_look().request.name == "ClosedOrders"
