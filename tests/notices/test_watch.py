"""What a look at a running engine's memory tells: each event once, in words that say what, where, and what follows."""

import re
from pathlib import Path

import pytest

from engine.notices import watch
from engine.notices.watch import (
    TOLD_BY_OTHERS,
    ConnectionWatch,
    CountWatch,
    OrderWatch,
    StatusWatch,
)
from engine.orders.life import OrderState
from engine.processes.status_board import STOPPING
from engine.ring import OLDEST, Subscriber
from engine.telemetry.counters import Counters, new_counters
from engine.units import NS_PER_S, MonoNs, WallNs
from tests.screen.rig import ReportRing, fill, report

ENGINE = Path(__file__).parents[2] / "engine"
NOW = WallNs(1_764_424_800 * NS_PER_S)


def orders_of(ring: ReportRing) -> OrderWatch:
    return OrderWatch({"Quoter": Subscriber(ring.memory, OLDEST)})


def test_a_fill_is_told_once_with_its_order_and_strategy() -> None:
    """A router that starts again reports it again."""
    ring = ReportRing()
    watch = orders_of(ring)
    ring.tell(fill("T1"), fill("T1"), fill("T2"))
    told = list(watch.look(NOW))
    ring.tell(fill("T2"))

    assert [each.event for each in told] == ["fill", "fill"]
    assert re.fullmatch(r"(bought|sold) \S+ \S+/\S+ at \S+.*; strategy Quoter, order \S+", told[0].text)
    assert list(watch.look(NOW)) == []


def test_a_rejection_and_a_refusal_are_told_with_their_reason() -> None:
    """Kraken's no and our own are two events; an order that is open is none."""
    ring = ReportRing()
    ring.tell(
        report("a", state=OrderState.WORKING),
        report("a", state=OrderState.REJECTED, reason="EOrder:Insufficient funds"),
        report("b", state=OrderState.REFUSED, reason="above risk.order_notional_max"),
        report("b", state=OrderState.REFUSED, reason="above risk.order_notional_max"),
    )
    told = list(orders_of(ring).look(NOW))

    assert [each.event for each in told] == ["rejected", "refused"]
    assert told[0].text.startswith("Kraken rejected buy ")
    assert ": EOrder:Insufficient funds; strategy Quoter, order a" in told[0].text
    assert told[1].text.startswith("the order router refused ")


def test_refusals_take_no_room_from_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy may be refused any number of orders; a new router then tells fills again."""
    monkeypatch.setattr(watch, "TOLD_ONCE_MAX", 3)
    ring = ReportRing()
    orders = orders_of(ring)
    ring.tell(fill("T1"), *[report(f"b{number}", state=OrderState.REFUSED) for number in range(9)])
    assert [each.event for each in orders.look(NOW)] == ["fill", *["refused"] * 9]
    ring.tell(fill("T1"), report("b8", state=OrderState.REFUSED))

    assert list(orders.look(NOW)) == []


def test_reports_that_were_overwritten_are_counted() -> None:
    """A storm beyond the ring between two looks."""
    ring = ReportRing()
    watch = orders_of(ring)
    list(watch.look(NOW))
    ring.tell(*(report(str(number)) for number in range(100)))
    list(watch.look(NOW))

    assert 100 - 16 <= watch.missed < 100


def status(mode: str = "ACTIVE", is_open: bool = True, reason: str = "", **more: object) -> dict[str, object]:
    return {"mode": mode, "is_open": is_open, "reason": reason, **more}


def told_of(*statuses: dict[str, object], from_the_beginning: bool = False) -> list[tuple[str, str]]:
    watch = StatusWatch(from_the_beginning=from_the_beginning)
    return [told for each in statuses for told in watch.look(each)]


def test_the_start_of_a_run_is_told_when_orders_are_taken() -> None:
    """That they are not yet is no news."""
    waiting = status(is_open=False, reason="waiting for the account's snapshot")

    assert told_of({}, waiting, waiting, status(), status()) == [("trading", "orders are taken")]


def test_a_start_that_was_not_seen_is_told_too() -> None:
    """The router may be ready before the notices' process is; one that starts again has told it."""
    assert told_of(status(), status(), from_the_beginning=True) == [("trading", "orders are taken")]
    assert told_of(status(), status()) == []


def test_a_halt_and_its_end_are_told_once_each() -> None:
    """With the reason, and what the engine does; that no order is taken goes without saying."""
    halted = status("HALTED", False, "the day's loss is 212 USD")
    told = told_of(status(), halted, halted, status())

    assert [event for event, _ in told] == ["halt", "resume"]
    assert told[0][1].startswith("trading is halted: the day's loss is 212 USD; no order is taken but cancels")


def test_a_run_that_begins_halted_says_so() -> None:
    """The halt of an earlier run holds on."""
    assert [event for event, _ in told_of(status("HALTED", False, "as a person asked"))] == ["halt"]


def test_reducing_is_a_halt_too() -> None:
    """It ends by the same command."""
    told = told_of(status(), status("REDUCING", True, "as a person asked"), status())

    assert [event for event, _ in told] == ["halt", "resume"]
    assert told[0][1].startswith("only orders that make a position smaller are taken")


def test_degraded_mode_is_told_at_both_ends() -> None:
    """With the WebSocket that is out."""
    told = told_of(status(), status("DEGRADED", True, "private WebSocket unreachable"), status())

    assert [event for event, _ in told] == ["degraded", "degraded"]
    assert "by REST, within [trading.degraded]: private WebSocket unreachable" in told[0][1]


def test_why_no_order_is_taken_is_told_but_not_at_the_end_of_a_run() -> None:
    """That is told by `stop`."""
    told = told_of(status(), status(is_open=False, reason="Kraken is in maintenance"), status(), status(
        is_open=False, reason=STOPPING
    ))  # fmt: skip

    assert told == [
        ("trading", "no order is taken but cancels: Kraken is in maintenance"),
        ("trading", "orders are taken"),
    ]


def test_a_strategy_that_hangs_is_told_and_that_it_has_returned() -> None:
    """As the router sees it."""
    told = told_of(status(), status(hanging={"Quoter": "on_book has not returned for 5 s"}), status(hanging={}))

    assert [event for event, _ in told] == ["strategy_hang", "strategy_hang"]
    assert "on_book has not returned for 5 s" in told[0][1]


def connection(*, pid: int) -> tuple[ConnectionWatch, Counters]:
    feed = new_counters(("disconnects", "connected"))
    supervisor = new_counters(("public_feed-0 pid",))
    supervisor.set("public_feed-0 pid", pid)
    feed.set("connected", 1)
    return ConnectionWatch("public_feed-0", feed, supervisor, from_the_beginning=True), feed


def looks(watch: ConnectionWatch, count: int, begin: int = 0) -> list[str]:
    """What this many looks tell, a second apart."""
    return [text for each in range(begin, begin + count) for _, text in watch.look(MonoNs(each * NS_PER_S))]


def test_a_lost_connection_and_its_return_are_told() -> None:
    """The loss of a process that lives, two looks later."""
    watch, feed = connection(pid=1)
    assert looks(watch, 3) == []
    feed.set("disconnects", 1)
    feed.set("connected", 0)
    lost = looks(watch, 4, 10)
    feed.set("connected", 1)

    assert lost == ["public_feed-0 lost its connection to Kraken, and connects again"]
    assert looks(watch, 2, 14) == ["public_feed-0 is connected to Kraken again, within 4.0 s"]


def test_several_losses_between_two_looks_are_told_as_such() -> None:
    """It is connected again already."""
    watch, feed = connection(pid=1)
    looks(watch, 1)
    feed.set("disconnects", 3)

    assert looks(watch, 3, 1) == [
        "public_feed-0 lost its connection to Kraken 3 times, and connects again",
        "public_feed-0 is connected to Kraken again, within 2.0 s",
    ]


def test_a_process_that_ends_is_no_lost_connection() -> None:
    """A restart, or the end of the run, tells it."""
    watch, feed = connection(pid=0)
    looks(watch, 1)
    feed.set("disconnects", 1)
    feed.set("connected", 0)

    assert looks(watch, 5, 1) == []


def test_a_count_that_grows_is_told_with_its_growth() -> None:
    """From the beginning of a run; later on only what is new."""
    counters = new_counters(("Quoter errors", "Other errors"))
    counters.set("Quoter errors", 3)
    names = {"Quoter": "Quoter errors", "Other": "Other errors"}
    first = CountWatch(counters, names, from_the_beginning=True)
    later = CountWatch(counters, names, from_the_beginning=False)
    assert list(first.look()) == [("Quoter", 3, 3)]
    assert list(later.look()) == []
    counters.set("Quoter errors", 5)

    assert list(first.look()) == list(later.look()) == [("Quoter", 5, 2)]


def test_lines_that_other_events_tell_are_lines_of_the_log() -> None:
    """So that a line whose words change is not told twice."""
    written = "".join(path.read_text() for path in ENGINE.rglob("*.py") if path.parent.name != "notices")

    assert [event for event in TOLD_BY_OTHERS if not re.search(rf'(error|critical)\("{event}', written)] == []
