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

    def put(self, order: Any, fill: Any = None) -> bool:
        self.woken_at.append(self.rig.woken_for)
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


def test_a_change_is_told_before_it_is_put_into_the_history() -> None:
    """The first of a burst at once, a fill with its position and its order."""
    watch = Watch()
    rig = watch.rig = WatchedRig(history=watch)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.told()
    rig.watch()
    told = rig.readers[STRATEGY].next_sequence - 1
    rig.command(Submit(STRATEGY, KEY, limit(price="95"), rig.clock.mono_ns(), 0))
    rig.fact(fact("new", order_id="O1", cl_ord_id=KEY))
    rig.fact(trade("T1", qty="0.01", order_id="O1", cl_ord_id=KEY))

    assert watch.woken_at == [told + 1, told + 2, told + 5]


def test_the_rest_of_a_burst_waits_for_its_end() -> None:
    """One waking more a burst, however long it is."""
    watch = Watch()
    rig = watch.rig = WatchedRig(history=watch)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.told()
    rig.watch()
    told = rig.readers[STRATEGY].next_sequence - 1
    for number in range(3):
        command = Submit(STRATEGY, f"{KEY[:-1]}{number}", limit(price="95"), rig.clock.mono_ns(), 0)
        assert rig.commands.try_publish(COMMANDS.pack(command))
    rig.work()

    assert watch.woken_at == [told + 1] * 3
    assert rig.woken_for == told + 3
