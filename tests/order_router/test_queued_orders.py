"""Orders that wait for Kraken's rate counter: none is forgotten, whatever is canceled and whoever dies meanwhile."""

from typing import Final

import msgspec
import pytest

from engine.order_router.core.new_orders import EXPIRED_WAITING
from engine.orders.life import OrderState
from engine.orders.rings.commands import Cancel, CancelAll, Command, Submit, SubmitBatch
from engine.orders.rings.reports import OrderReport
from engine.processes.status_board import STOPPING
from engine.units import NS_PER_S, MonoNs, WallNs
from tests.order_router.rig import SETTINGS, STRATEGY, RouterRig
from tests.order_router.world import World
from tests.orders.rig import limit

# Nearly all of the counter is kept for cancels, so that a few orders fill what is left.
QUEUES: Final = msgspec.structs.replace(
    SETTINGS,
    tier="starter",
    cancel_reserve_percent=95,
    new_orders=msgspec.structs.replace(
        SETTINGS.new_orders, queues_over_rate=True, queue_wait_ns_max=60 * NS_PER_S
    ),
)  # fmt: skip
SINGLE, BATCH = ["single00000000000"], ["batch100000000000", "batch200000000000", "batch300000000000"]
DRAINED_NS: Final = 12 * NS_PER_S  # until the counter has had room for all of them


def crowded() -> World:
    """A world whose counter is full."""
    world = World(QUEUES)
    for number in range(100):
        key = f"first{number:012d}"
        world.intents.add(key)
        world.ask(submit(world, key))
        if world.rig.core.blotter.is_queued(key):
            return world
    raise AssertionError("the counter is never full")


def submit(world: World, key: str) -> Submit:
    return Submit(STRATEGY, key, limit(), world.clock.mono_ns(), MonoNs(0))


def ask(world: World) -> None:
    """One order and a batch of three, which wait."""
    world.intents.update((*SINGLE, *BATCH))
    batch = SubmitBatch(STRATEGY, [(key, limit()) for key in BATCH], world.clock.mono_ns(), MonoNs(0))
    world.ask(submit(world, SINGLE[0]), batch)


def states(world: World) -> list[OrderState | None]:
    """What the strategy was told of the order, and of each of the batch."""
    told = [world.strategy.order(key) for key in (*SINGLE, *BATCH)]
    return [None if order is None else order.state for order in told]


W, R = OrderState.WORKING, OrderState.REFUSED
CANCELS: Final[dict[str, tuple[Command | None, list[OrderState]]]] = {
    "nothing": (None, [W, W, W, W]),
    "the order": (Cancel(STRATEGY, SINGLE), [R, W, W, W]),
    "the batch's first": (Cancel(STRATEGY, BATCH[:1]), [W, R, W, W]),
    "the batch's last": (Cancel(STRATEGY, BATCH[2:]), [W, W, W, R]),
    "the batch": (Cancel(STRATEGY, BATCH), [W, R, R, R]),
}


@pytest.mark.parametrize("canceled", CANCELS)
def test_who_is_canceled_while_it_waits_does_not_leave_and_the_others_do(canceled: str) -> None:
    """One of a batch as well; everything that waits has left or was refused when the counter has had room."""
    command, expected = CANCELS[canceled]
    world = crowded()
    ask(world)
    waiting = states(world)
    if command is not None:
        world.ask(command)
    world.run(DRAINED_NS)

    assert waiting == [None] * 4
    assert states(world) == expected
    world.agree()


def test_all_that_wait_are_dropped_by_a_cancel_of_all() -> None:
    """None is sent, and what is open ends."""
    world = crowded()
    ask(world)
    world.ask(CancelAll(STRATEGY, ""))
    world.run(DRAINED_NS)

    assert states(world) == [R] * 4
    assert not any(order.is_open for order in world.exchange.orders)
    assert world.rig.core.blotter.queued == {}


def test_all_that_wait_are_told_of_the_end_of_the_router() -> None:
    """Also where nothing is open that is to be canceled: nobody will send them, and their strategy asks in vain."""
    world = crowded()
    ask(world)
    world.do(lambda: world.rig.core.end(STOPPING))

    assert states(world) == [R] * 4
    assert world.rig.core.blotter.queued == {}


@pytest.mark.parametrize("canceled", ["nothing", "the batch's first", "the batch"])
def test_a_death_between_any_two_steps_forgets_no_order_that_waits(canceled: str) -> None:
    """The next router has it wait on: each is told as what it is, and none leaves twice."""
    command, _ = CANCELS[canceled]
    steps, died = 1, 0
    number = 0
    while number < steps:
        world = crowded()
        world.steps.clear()
        world.step_to_die = number
        ask(world)
        if command is not None:
            world.ask(command)
        world.run(DRAINED_NS)
        if number == 0:
            steps = len(world.steps)
        died += world.deaths
        world.agree()
        assert None not in states(world), f"forgotten after a death at step {number}: {states(world)}"
        assert all(world.is_settled(key) for key in world.intents)
        number += 1

    assert died == steps - 1


def test_a_batch_that_waits_is_not_refused_when_its_command_is_read_again() -> None:
    """The router died before the ring had its word that it was taken: all of the batch waits, not its first alone."""
    rig = RouterRig(settings=QUEUES)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.core.rates.of("BTC/USD").exceeded(rig.clock.mono_ns())
    batch = SubmitBatch(STRATEGY, [(key, limit()) for key in BATCH], rig.clock.mono_ns(), MonoNs(0))
    rig.command(batch)

    rig.begin_anew()
    rig.core.begin()
    rig.core.rates.of("BTC/USD").exceeded(rig.clock.mono_ns())
    rig.command(batch)
    assert [report for report in rig.told() if isinstance(report, OrderReport)] == []
    assert all(rig.core.blotter.is_queued(key) for key in BATCH)
    assert rig.core.new_orders.counts["commands_repeated"] == 1


def test_an_order_that_expires_while_it_waits_is_refused_and_not_sent() -> None:
    """Kraken would refuse it, and count it."""
    world = crowded()
    world.intents.add(SINGLE[0])
    expires = WallNs(world.rig.clock.wall_ns() + NS_PER_S // 100)
    order = limit(time_in_force="gtd", expire_at=expires)
    world.ask(Submit(STRATEGY, SINGLE[0], order, world.clock.mono_ns(), MonoNs(0)))
    world.run(DRAINED_NS)
    told = world.strategy.order(SINGLE[0])

    assert told is not None
    assert told.state is R
    assert told.reason == EXPIRED_WAITING.text
    assert world.exchange.of(SINGLE[0]) == []


def test_an_order_that_waited_too_long_for_a_router_is_refused_by_the_next() -> None:
    """Ten minutes later it would be a surprise: the time without a router counts."""
    rig = RouterRig(settings=QUEUES)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.core.rates.of("BTC/USD").exceeded(rig.clock.mono_ns())
    rig.command(Submit(STRATEGY, SINGLE[0], limit(), rig.clock.mono_ns(), MonoNs(0)))
    assert rig.core.blotter.is_queued(SINGLE[0])
    rig.told()
    rig.socket.take()

    rig.clock.advance(600 * NS_PER_S)
    rig.begin_anew()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.work_for(NS_PER_S, each=rig.keep_alive)
    assert "add_order" not in [request["method"] for request in rig.socket.take()]
    (told,) = [report for report in rig.told() if isinstance(report, OrderReport)]
    assert (told.state, told.reason) == (OrderState.REFUSED, "it waited too long for Kraken's rate counter")
    assert rig.core.blotter.queued == {}
