"""The router sees who hangs by words that do not move, bars it, and ends its orders as configured."""

from typing import Any

import msgspec

from engine.order_router.core.hang_watch import STEP_NS_MAX, HangWatch
from engine.orders.journal_records import RunBegan
from engine.orders.rings.commands import StrategyEnded
from engine.orders.rings.reports import TradingStatus
from engine.processes.callback_words import NUMBER_OF, CallbackWords, StrategyWords
from engine.telemetry import new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_MS, NS_PER_S
from tests.clocks import ShellClock
from tests.order_router.rig import SETTINGS, RouterRig
from tests.orders.rig import AT, submitted

HANG_NS_MAX = 5 * NS_PER_S
LOOK_NS = 20 * NS_PER_MS


class Host:
    """The words of two strategies, and a clock."""

    def __init__(self, clock: ShellClock | None = None, names: tuple[str, ...] = ("quoter", "other")) -> None:
        self.clock = clock or ShellClock(AT, AT)
        self.counters = new_counters(strategy_counter_names(names))
        self.words = {name: CallbackWords(self.counters, name) for name in names}
        self.told = StrategyWords(self.counters, names)
        self.watch = HangWatch(self.told, names, HANG_NS_MAX)
        self.beats = True

    def enter(self, strategy: str, callback: str) -> None:
        self.words[strategy].begin(NUMBER_OF[callback], self.clock.mono_ns())

    def beat(self) -> None:
        """The event loop turns over, unless something holds it."""
        if self.beats:
            self.counters.set("heartbeat_ns", self.clock.mono_ns())

    def pass_time(self, seconds: float) -> dict[str, str]:
        """Looks at a steady pace; what the last one saw."""
        found: dict[str, str] = {}
        for _ in range(int(seconds * NS_PER_S) // LOOK_NS):
            self.clock.advance(LOOK_NS)
            self.beat()
            found = self.watch.look(self.clock.mono_ns())
        return found


def test_an_engine_without_strategies_may_stand_still() -> None:
    """There is nobody to bar, and the router goes on: a person may have stopped the engine's process for a while."""
    host = Host(names=())
    host.pass_time(1)
    host.beats = False
    assert host.pass_time(6) == {}


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


class Watched:
    """A router that watches a host of two strategies."""

    def __init__(self, **settings: Any) -> None:
        self.host = Host()
        self.rig = RouterRig(
            strategies=("quoter", "other"),
            settings=msgspec.structs.replace(SETTINGS, hang_ns_max=HANG_NS_MAX, **settings),
            words=self.host.told,
            clock=self.host.clock,
        )
        self.rig.core.begin()
        self.pass_time(0.1)
        self.told()

    @property
    def barred(self) -> dict[str, str]:
        return self.rig.core.new_orders.barred

    def order(self, key: str, strategy: str, at: int | None = None) -> None:
        """It has an order open, which was sent at that moment."""
        records, sent_at = self.rig.core.records, self.host.clock.wall_ns() if at is None else at
        records.commit([submitted(key=key, strategy=strategy, at=sent_at)])
        records.commit(records.blotter.on_acknowledged(key, f"O{key}", sent_at))

    def pass_time(self, seconds: float) -> None:
        self.rig.work_for(int(seconds * NS_PER_S), self.host.beat)

    def wanted_canceled(self) -> set[str]:
        return {key for key, order in self.rig.core.blotter.open.items() if order.cancel_wanted}

    def told(self) -> list[TradingStatus]:
        """What one of them was told of trading."""
        return [report for report in self.rig.told("quoter") if isinstance(report, TradingStatus)]

    def refreshes(self) -> int:
        """How often Kraken was told that somebody lives, since the last time; each time it has heard it."""
        asked = [request for request in self.rig.socket.take() if request["method"] == "cancel_all_orders_after"]
        for request in asked:
            result = {"currentTime": "2026-01-01T00:00:00Z", "triggerTime": "2026-01-01T00:01:00Z"}
            self.rig.frame({"method": request["method"], "req_id": request["req_id"], "success": True,
                            "result": result})  # fmt: skip
        return len(asked)


def test_orders_of_who_hangs_are_canceled_and_it_is_barred_until_it_is_back() -> None:
    """An async callback: the other strategy and its orders are not concerned."""
    watched = Watched()
    watched.order("a", "quoter")
    watched.order("b", "other")
    watched.host.enter("quoter", "on_book")
    watched.pass_time(5.1)

    assert watched.wanted_canceled() == {"a"}
    assert list(watched.barred) == ["quoter"]
    assert watched.rig.core.hanging["quoter"].startswith("quoter has not returned from on_book for 5 s")
    assert [report.is_open for report in watched.told()] == [False]
    watched.order("a2", "quoter")  # it was in doubt, or closes what a fill opened
    watched.pass_time(0.1)
    assert watched.wanted_canceled() == {"a", "a2"}
    watched.host.words["quoter"].end()
    watched.pass_time(0.1)
    assert watched.barred == {}
    assert watched.told() == [watched.rig.core.gate.report]


def test_a_held_thread_ends_the_orders_of_all() -> None:
    """They hang with it."""
    watched = Watched()
    watched.order("a", "quoter")
    watched.order("b", "other")
    watched.host.enter("quoter", "on_book")
    watched.host.beats = False
    watched.pass_time(5.1)

    assert watched.wanted_canceled() == {"a", "b"}
    assert set(watched.barred) == {"quoter", "other"}


def test_orders_are_kept_when_so_configured() -> None:
    """Barred all the same; and Kraken's switch is fed, for they are to stay."""
    watched = Watched(cancels_on_halt=False, dead_man_s=60, dead_man_refresh_ns=NS_PER_S)
    watched.rig.connect()
    watched.order("a", "quoter")
    watched.host.enter("quoter", "on_book")
    watched.host.beats = False
    watched.pass_time(5.1)
    watched.refreshes()
    watched.pass_time(3)

    assert watched.wanted_canceled() == set()
    assert set(watched.barred) == {"quoter", "other"}
    assert watched.refreshes() > 0


def test_a_bar_for_good_is_not_lifted() -> None:
    """A strategy that was halted stays halted."""
    watched = Watched()
    watched.rig.command(StrategyEnded("quoter", "it raised too often"))
    watched.host.enter("quoter", "on_book")
    watched.pass_time(5.1)
    watched.host.words["quoter"].end()
    watched.pass_time(0.1)

    assert watched.barred["quoter"] == "the strategy was halted: it raised too often"


def test_a_long_on_start_leaves_alone_what_an_earlier_run_left_open() -> None:
    """Before the host has begun, only who has sent orders in this run hangs."""
    watched = Watched()
    run_began_at = watched.host.clock.wall_ns()
    watched.order("old", "quoter", run_began_at)
    watched.rig.core.records.commit([RunBegan(2, "test", "key", run_began_at - NS_PER_S)])  # the clock was set back
    watched.host.counters.set("heartbeat_ns", 0)
    watched.host.beats = False
    watched.host.enter("quoter", "on_start")
    watched.pass_time(6)
    assert watched.wanted_canceled() == set()
    watched.order("new", "quoter")
    watched.pass_time(0.1)

    assert watched.wanted_canceled() == {"old", "new"}


def test_nobody_speaks_to_kraken_for_a_hung_engine_whose_orders_are_open() -> None:
    """Our cancels went, and the order still is open: the dead man's switch is to end it. With none open it is fed."""
    watched = Watched(dead_man_s=60, dead_man_refresh_ns=NS_PER_S)
    watched.rig.connect()
    watched.host.enter("quoter", "on_book")
    watched.host.beats = False
    watched.pass_time(5.1)
    watched.refreshes()
    watched.pass_time(3)
    without_orders = watched.refreshes()
    watched.order("a", "quoter")
    watched.pass_time(0.1)
    watched.refreshes()
    watched.pass_time(3)
    left_alone = watched.refreshes()
    watched.host.beats = True
    watched.host.words["quoter"].end()
    watched.pass_time(3)

    assert without_orders > 0
    assert left_alone == 0
    assert watched.refreshes() > 0
