"""The router sees who hangs by words that do not move, bars it, and ends its orders as configured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.order_router.core.hang_watch import STEP_NS_MAX, HangWatch
from engine.order_router.core.report_outbox import ReportOutbox
from engine.orders.intent import OrderIntent
from engine.orders.journal_records import Submitted
from engine.orders.rings.reports import REPORTS, TradingReport
from engine.processes.callback_words import NUMBER_OF, CallbackWords
from engine.telemetry import new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_MS, NS_PER_S, QtyLots, WallNs
from tests.orders.test_ring_records import AT, Router

HANG_NS_MAX = 5 * NS_PER_S
LOOK_NS = 20 * NS_PER_MS


class Host:
    """The words of two strategies, and a clock."""

    def __init__(self) -> None:
        self.clock = ManualClock(AT, AT)
        self.counters = new_counters(strategy_counter_names(["quoter", "other"]))
        self.words = {name: CallbackWords(self.counters, name) for name in ("quoter", "other")}
        self.watch = HangWatch(self.counters, ["quoter", "other"], HANG_NS_MAX)
        self.beats = True

    def enter(self, strategy: str, callback: str) -> None:
        self.words[strategy].begin(NUMBER_OF[callback], self.clock.mono_ns())

    def pass_time(self, seconds: float) -> dict[str, str]:
        """Looks at a steady pace; what the last one saw."""
        found: dict[str, str] = {}
        for _ in range(int(seconds * NS_PER_S) // LOOK_NS):
            self.clock.advance(LOOK_NS)
            if self.beats:
                self.counters.set("heartbeat_ns", self.clock.mono_ns())
            found = self.watch.look(self.clock.mono_ns())
        return found


def test_a_callback_that_holds_the_thread_hangs_all_who_share_it() -> None:
    """Not before it is time; then all are named with who holds them up; and it is over when the words move."""
    host = Host()
    host.pass_time(1)
    host.enter("quoter", "on_book")
    host.beats = False
    assert host.pass_time(4.9) == {}
    why = "quoter has not returned from on_book for 5 s"
    assert host.pass_time(0.2) == {"quoter": why, "other": why}
    host.beats = True
    host.words["quoter"].end()

    assert host.pass_time(0.1) == {}


def test_an_async_callback_that_waits_hangs_alone() -> None:
    """The thread goes on, and so do the others."""
    host = Host()
    host.enter("quoter", "on_fill")

    assert host.pass_time(5.1) == {"quoter": "quoter has not returned from on_fill for 5 s"}


def test_a_thread_that_no_callback_holds_hangs_all() -> None:
    """A task of a strategy's own, or a process that stands still."""
    host = Host()
    host.pass_time(1)
    host.beats = False

    assert set(host.pass_time(5.1).values()) == {"the engine's strategies have given no sign of life for 5 s"}


def test_callbacks_that_follow_one_another_are_no_hang() -> None:
    """Each word is another's."""
    host = Host()
    for _ in range(10):
        host.enter("quoter", "on_book")
        assert host.pass_time(2) == {}


def test_a_machine_that_stood_still_proves_nothing() -> None:
    """A look after a pause of an hour counts for a moment."""
    host = Host()
    host.enter("quoter", "on_book")
    host.beats = False
    host.pass_time(1)
    host.clock.advance(3600 * NS_PER_S)

    assert host.watch.look(host.clock.mono_ns()) == {}
    assert STEP_NS_MAX < HANG_NS_MAX / 10


# --- what the router does about it


class Rig:
    """A router that watches a host of two strategies."""

    def __init__(self, folder: Path, *, cancels: bool) -> None:
        self.host = Host()
        self.router_rig = Router(folder)
        self.host.clock = self.router_rig.clock
        self.router = self.router_rig.router
        self.router._hangs = self.host.watch
        self.router._cancels_on_halt = cancels
        self.router.records.lines["other"] = ReportOutbox("other", self.router_rig.line._publisher)  # type: ignore[index]
        self.host.pass_time(0.1)

    def order(self, key: str, strategy: str, at: int = AT) -> None:
        intent = OrderIntent(
            symbol="BTC/USD", side="buy", order_type="limit", price_decimals=1, qty_decimals=8, qty=QtyLots(1)
        )
        records = self.router.records
        records.commit([Submitted(key, strategy, intent, WallNs(at + NS_PER_S), "websocket", None, WallNs(at))])
        records.commit(records.blotter.on_acknowledged(key, f"O{key}", WallNs(at)))

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * NS_PER_S) // LOOK_NS):
            self.host.clock.advance(LOOK_NS)
            if self.host.beats:
                self.host.counters.set("heartbeat_ns", self.host.clock.mono_ns())
            self.router._watch_hangs(self.host.clock.mono_ns())

    def wanted_canceled(self) -> set[str]:
        return {key for key, order in self.router.blotter.open.items() if order.cancel_wanted}

    def told(self) -> list[TradingReport]:
        """What was told of trading."""
        self.router.flush()
        told = [REPORTS.unpack(record) for record in self.router_rig.reports.poll_many(64)]
        return [report for report in told if isinstance(report, TradingReport)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """As configured by default: their orders are canceled."""
    rig = Rig(tmp_path, cancels=True)
    yield rig
    rig.router_rig.journal.close()


def test_orders_of_who_hangs_are_canceled_and_it_is_barred_until_it_is_back(rig: Rig) -> None:
    """An async callback: the other strategy and its orders are not concerned."""
    rig.order("a", "quoter")
    rig.order("b", "other")
    rig.host.enter("quoter", "on_book")
    rig.pass_time(5.1)

    assert rig.wanted_canceled() == {"a"}
    assert list(rig.router.entry.barred) == ["quoter"]
    assert rig.router.hanging["quoter"].startswith("quoter has not returned from on_book for 5 s")
    assert [report.is_open for report in rig.told()] == [False]
    rig.order("a2", "quoter")  # it was in doubt, or closes what a fill opened
    rig.pass_time(0.1)
    assert rig.wanted_canceled() == {"a", "a2"}
    rig.host.words["quoter"].end()
    rig.pass_time(0.1)
    assert rig.router.entry.barred == {}
    assert rig.told() == [rig.router.gate.report]


def test_a_held_thread_ends_the_orders_of_all(rig: Rig) -> None:
    """They hang with it."""
    rig.order("a", "quoter")
    rig.order("b", "other")
    rig.host.enter("quoter", "on_book")
    rig.host.beats = False
    rig.pass_time(5.1)

    assert rig.wanted_canceled() == {"a", "b"}
    assert set(rig.router.entry.barred) == {"quoter", "other"}


def test_orders_are_kept_when_so_configured(tmp_path: Path) -> None:
    """Barred all the same."""
    rig = Rig(tmp_path, cancels=False)
    rig.order("a", "quoter")
    rig.host.enter("quoter", "on_book")
    rig.pass_time(5.1)
    rig.router_rig.journal.close()

    assert rig.wanted_canceled() == set()
    assert list(rig.router.entry.barred) == ["quoter"]
    assert not rig.router._is_left_alone()


def test_a_bar_for_good_is_not_lifted(rig: Rig) -> None:
    """A strategy that was halted stays halted."""
    rig.router.entry.barred["quoter"] = "the strategy was halted: it raised too often"
    rig.host.enter("quoter", "on_book")
    rig.pass_time(5.1)
    rig.host.words["quoter"].end()
    rig.pass_time(0.1)

    assert rig.router.entry.barred["quoter"] == "the strategy was halted: it raised too often"


def test_a_long_on_start_leaves_alone_what_an_earlier_run_left_open(rig: Rig) -> None:
    """Before the host has begun, only who has sent orders in this run hangs."""
    rig.router.blotter.run_began_at = WallNs(AT)
    rig.order("old", "quoter", AT - NS_PER_S)
    rig.host.counters.set("heartbeat_ns", 0)
    rig.host.beats = False
    rig.host.enter("quoter", "on_start")
    rig.pass_time(6)
    assert rig.wanted_canceled() == set()
    rig.order("new", "quoter", AT + 1)
    rig.pass_time(0.1)

    assert rig.wanted_canceled() == {"old", "new"}


def test_nobody_speaks_to_kraken_for_a_hung_engine_whose_orders_are_open(rig: Rig) -> None:
    """Our cancels went, and the order still is open: the dead man's switch is to end it. With none open it is fed."""
    rig.host.enter("quoter", "on_book")
    rig.host.beats = False
    rig.pass_time(5.1)
    assert not rig.router._is_left_alone()
    rig.order("a", "quoter")
    rig.pass_time(0.1)
    assert rig.router._is_left_alone()
    rig.host.beats = True
    rig.host.words["quoter"].end()
    rig.pass_time(0.1)

    assert not rig.router._is_left_alone()
