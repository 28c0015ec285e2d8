"""A strategy is told of a change before anything that can wait: history, counts, the end of the burst."""

from typing import Any

from engine.orders.rings.commands import COMMANDS, Submit
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import fact, limit, trade

KEY = "quoter000000000001"


class Watch:
    """In place of the history: what the strategy had been woken for when each change was put."""

    def __init__(self) -> None:
        self.rig: Any = None
        self.woken_at: list[int] = []
        self.told_at: list[int] = []  # reports in the ring by then

    def put(self, order: Any, fill: Any = None) -> bool:
        self.woken_at.append(self.rig.woken_for)
        self.told_at.append(self.rig.readers[STRATEGY].lag)
        return True


class WatchedRig(RouterRig):
    """Notes up to which record of its report ring the strategy was woken."""

    woken_for = 0

    def watch(self) -> None:
        publisher: Any = self.core.records.outboxes[STRATEGY]._publisher
        flush = publisher.flush

        def noted() -> None:
            flush()
            self.woken_for = publisher._publisher.cursor

        publisher.flush = noted


def watched() -> tuple[WatchedRig, Watch]:
    """A router that trades, with nothing left to tell."""
    watch = Watch()
    rig = watch.rig = WatchedRig(history=watch)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.told()
    rig.watch()
    return rig, watch


def test_a_change_is_told_before_it_is_put_into_the_history() -> None:
    """The first of a burst at once, a fill with its position and its order."""
    rig, watch = watched()
    told = rig.readers[STRATEGY].next_sequence - 1
    rig.command(Submit(STRATEGY, KEY, limit(price="95"), rig.clock.mono_ns(), 0))
    rig.fact(fact("new", order_id="O1", cl_ord_id=KEY))
    rig.fact(trade("T1", qty="0.01", order_id="O1", cl_ord_id=KEY))

    assert watch.woken_at == [told + 1, told + 2, told + 5]


def test_the_rest_of_a_burst_waits_for_its_end() -> None:
    """One waking more a burst, however long it is."""
    rig, watch = watched()
    told = rig.readers[STRATEGY].next_sequence - 1
    for number in range(3):
        command = Submit(STRATEGY, f"{KEY[:-1]}{number}", limit(price="95"), rig.clock.mono_ns(), 0)
        assert rig.commands.try_publish(COMMANDS.pack(command))
    rig.work()

    assert watch.woken_at == [told + 1] * 3
    assert rig.woken_for == told + 3


def test_what_can_wait_waits_until_all_executions_of_a_turn_are_told() -> None:
    """An order's beginning, its fill and its end often come at once: the fill is what matters."""
    rig, watch = watched()
    rig.command(Submit(STRATEGY, KEY, limit(price="95", qty="0.01"), rig.clock.mono_ns(), 0))
    rig.told()
    watch.told_at.clear()
    rig.fact(
        fact("new", order_id="O1", cl_ord_id=KEY),
        trade("T1", qty="0.01", order_id="O1", cl_ord_id=KEY),
        fact("filled", order_id="O1", cl_ord_id=KEY, cum_qty="0.01"),
    )

    assert watch.told_at == [len(["new", "position", "order", "fill", "filled"])] * 3
    assert rig.core.records.counts["filled"] == rig.core.records.counts["fills"] == 1
    assert rig.core.records.sent_at(KEY) is None
    rig.core.quick_check.check(rig.core.blotter.open.values())
