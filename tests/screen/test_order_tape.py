"""Open orders and fills, read from the report rings beside the strategies."""

from decimal import Decimal

from engine.orders.life import OrderState
from engine.orders.rings.reports import ResyncBegan, ResyncEnded
from engine.screen.order_tape import ENDED_KEPT, FILLS_KEPT, OrderTape
from tests.screen.rig import ReportRing, fill, report, row


def test_orders_and_fills_are_what_the_strategy_is_told():
    """An order is open until its report says that it has ended; a fill is there once."""
    ring = ReportRing()
    tape = OrderTape({"s": ring.memory})
    ring.tell(report("a", state=OrderState.SENT), report("b"), report("a"), fill("T1"), fill("T1"), fill("T2"))
    tape.poll()

    assert [order.key for order in tape.open.values()] == ["a", "b"]
    assert tape.open["a"].state is OrderState.WORKING
    assert (tape.open["a"].limit, tape.open["a"].remaining) == (Decimal("100.0"), Decimal("0.5"))
    assert [shown.fill.exec_id for shown in tape.fills] == ["T1", "T2"]

    ring.tell(report("a", state=OrderState.FILLED, filled_lots=50_000_000))
    tape.poll()

    assert list(tape.open) == ["b"]
    assert [order.key for order in tape.ended] == ["a"]


def test_who_comes_late_finds_what_the_ring_still_holds():
    """Nothing has to be asked as long as it holds everything."""
    ring = ReportRing()
    ring.tell(report("a"), report("b"))
    tape = OrderTape({"s": ring.memory})
    tape.poll()

    assert list(tape.open) == ["a", "b"]
    assert not tape.wants_orders(open_count=2, own_count=2)


def test_what_the_ring_no_longer_holds_is_asked_of_the_router():
    """It was overwritten before the tape began, or while it did not look."""
    ring = ReportRing()
    watching = OrderTape({"s": ring.memory})
    watching.poll()
    ring.tell(report("a"), *(report("b", changed_at=at) for at in range(2, 60)))
    late = OrderTape({"s": ring.memory})
    for tape in (watching, late):
        tape.poll()
        assert tape.wants_orders(2, 2)
        tape.told_orders([row("a"), row("b", changed_ns=59)], asked_at=100)

        assert list(tape.open) == ["a", "b"]
        assert not tape.wants_orders(2, 2)


def test_orders_of_nobody_here_are_asked_of_the_router():
    """No ring tells of orders that another program has sent."""
    tape = OrderTape({"s": ReportRing().memory})
    assert tape.wants_orders(open_count=1, own_count=0)
    tape.told_orders([row("x", strategy="")], asked_at=100)

    assert tape.open["x"].strategy == ""
    assert not tape.wants_orders(open_count=1, own_count=0)


def test_an_answer_undoes_nothing_that_a_report_has_told_since():
    """Answer and reports come on two ways."""
    ring = ReportRing()
    tape = OrderTape({"s": ring.memory})
    ring.tell(
        report("ended", state=OrderState.CANCELED, changed_at=150),
        report("newer", filled_lots=10, changed_at=150),
        report("new", changed_at=150),
        report("gone", changed_at=50),
    )
    rows = [row("ended", changed_ns=90), row("newer", changed_ns=90), row("open", changed_ns=90)]
    tape.told_orders(rows, asked_at=100)

    assert set(tape.open) == {"newer", "new", "open"}
    assert tape.open["newer"].filled == Decimal("0.0000001")


def test_a_resynchronisation_tells_everything_anew():
    """An order that ended unseen is not told again."""
    ring, other = ReportRing(), ReportRing()
    tape = OrderTape({"s": ring.memory, "t": other.memory})
    ring.tell(report("a"), report("b"))
    other.tell(report("c"))
    tape.poll()
    ring.tell(ResyncBegan(), report("b"), ResyncEnded())
    tape.poll()

    assert set(tape.open) == {"b", "c"}


def test_what_is_kept_is_bounded_and_what_is_unreadable_is_counted():
    """The newest are kept."""
    ring = ReportRing(slots=4096)
    tape = OrderTape({"s": ring.memory})
    for number in range(3 * FILLS_KEPT):
        ring.tell(fill(f"T{number}"), report(f"o{number}", state=OrderState.CANCELED))
        tape.poll()
    ring.tell_nonsense()
    tape.poll()

    assert len(tape.fills) == FILLS_KEPT
    assert tape.fills[-1].fill.exec_id == f"T{3 * FILLS_KEPT - 1}"
    assert len(tape.ended) == ENDED_KEPT
    assert tape.unreadable == 1
