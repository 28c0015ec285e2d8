"""Brackets: a stop at Kraken for whatever has filled, the target in its place, and never both.

After every change at the exchange: what the exits of an entry have closed and may still close is no more than it has
filled.
"""

from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from engine.orders.client_order_id import EXIT_TAG
from engine.orders.intent import Amendment, Conditional
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Cancel, CancelAll, StrategyEnded, Submit
from engine.orders.venue_facts import ExecutionFact
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks
from tests.order_router.rig import SETTINGS, STRATEGY, TOKEN
from tests.order_router.world import LATENCY_NS, Way, World
from tests.orders.rig import AT, limit

D = Decimal
ENTRY = "quoter000001000001"
STOP, TARGET = 90, 120
SOON_NS = NS_PER_S
TIGHT = replace(SETTINGS, dead_man_s=60)


def bracket(side="buy", qty="1", price="100", stop=STOP, target=TARGET):
    return limit(
        side, qty, price, conditional=Conditional("stop-loss", trigger_price=D(stop)),
        take_profit=PriceTicks(target * 10),
    )  # fmt: skip


class Bracketed(World):
    """A world with one bracket, whose exits are counted at each change."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.rest_there = self.exchange._set
        self.exchange._set = self._changed

    def _changed(self, order):
        self.rest_there(order)
        entry = self.entry
        taken = sum((exit.filled + (exit.qty - exit.filled) * exit.is_open for exit in self.exits), D(0))
        assert taken <= entry.filled, f"{taken} of {entry.filled}: {self.exits}"

    @property
    def entry(self):
        return next(order for order in self.exchange.orders if order.stops_at is not None)

    @property
    def exits(self):
        return [
            order for order in self.exchange.orders
            if order.ref_id is not None or (order.cl_ord_id or "").startswith(EXIT_TAG)
        ]  # fmt: skip

    def enter(self, intent=None):
        self.ask(Submit(STRATEGY, ENTRY, intent or bracket(), MonoNs(self.clock.mono_ns()), MonoNs(0)))
        self.run(SOON_NS)
        return self

    def fill_entry(self, share="1"):
        self.exchange.fill(self.entry.order_id, D(share))
        self.run(SOON_NS)

    def move(self, bid, ask=None):
        self.rig.boards.bid, self.rig.boards.ask = bid, bid + 1 if ask is None else ask
        self.run(SOON_NS)

    def open_exits(self):
        return [(order.order_type, order.side, order.qty - order.filled, order.price) for order in self.exits
                if order.is_open]  # fmt: skip

    @property
    def brackets(self):
        return self.rig.core.blotter.brackets


def fill_one(world, entry):
    """Somebody takes one of an entry's base currency, to the last digit."""
    with localcontext(prec=60):
        share = 1 / (entry.qty - entry.filled)
    world.exchange.fill(entry.order_id, share)


def entered(share="1", **more):
    world = Bracketed(**more).enter()
    world.fill_entry(share)
    return world


STOPPED = [("stop-loss", "sell", D(1), D(STOP))]


def test_a_fill_gets_its_stop_from_kraken_and_the_strategy_is_told_of_it():
    """By the conditional close; nothing of ours is sent for it."""
    world = entered()

    assert world.open_exits() == STOPPED
    (stop,) = world.strategy.open_orders
    assert (stop.parent_id, stop.order_type) == (ENTRY, "stop-loss")
    assert world.rig.core.blotter.exits_sent == 0


def test_the_target_takes_the_place_of_the_stop():
    """Canceled first, then closed at the target or better; the bracket is over, and the position nothing."""
    world = entered()
    world.move(TARGET)

    assert [(order.order_type, order.status, order.filled) for order in world.exits] == [
        ("stop-loss", "canceled", 0), ("limit", "closed", 1),
    ]  # fmt: skip
    assert world.exits[-1].price == TARGET
    assert not world.brackets
    assert world.rig.core.blotter.positions.qty(STRATEGY, "BTC/USD") == 0
    world.run(10 * NS_PER_S)
    assert len(world.exits) == 2


def test_what_the_book_does_not_take_gets_a_stop_again():
    """A part at the target, a stop for what is left; and the next try waits, for each costs a cancel."""
    world = entered()
    world.exchange.takes_at_once = D("0.25")
    world.move(TARGET)

    assert world.open_exits() == [("stop-loss", "sell", D("0.75"), D(STOP))]
    count = len(world.exits)
    world.run(2 * NS_PER_S)
    assert len(world.exits) == count
    world.run(5 * NS_PER_S)
    assert sum(order.filled for order in world.exits) == D("0.4375")
    world.exchange.takes_at_once = D(1)
    world.run(6 * NS_PER_S)
    assert not world.brackets
    assert sum(order.filled for order in world.exits) == 1


def test_the_stop_ends_the_bracket():
    """Kraken closes at the stop; the engine puts nothing beside it, and cancels what is left of the entry."""
    world = entered("0.5")
    assert world.entry.is_open
    world.exchange.fill(world.exits[0].order_id, D(1))
    world.run(SOON_NS)

    assert not world.entry.is_open
    assert not world.brackets
    assert world.rig.core.blotter.positions.qty(STRATEGY, "BTC/USD") == 0


def test_partial_fills_size_the_exits():
    """Each has a stop of its own; the target closes all of them, and ends the entry."""
    world = entered("0.5")
    world.fill_entry("0.5")
    assert [qty for _, _, qty, _ in world.open_exits()] == [D("0.5"), D("0.25")]
    world.move(TARGET)

    assert not world.entry.is_open
    assert sum(order.filled for order in world.exits) == D("0.75") == world.entry.filled
    assert not world.brackets


def test_a_sold_bracket_is_the_mirror():
    """Its exits buy: the stop above, the target below."""
    world = Bracketed()
    world.enter(bracket("sell", price="101", stop=110, target=90))
    world.fill_entry()
    assert world.open_exits() == [("stop-loss", "buy", D(1), D(110))]
    world.move(89, ask=90)

    assert world.exits[-1].side == "buy"
    assert world.exits[-1].filled == 1
    assert not world.brackets


@pytest.mark.parametrize("what", ["stale", "halted", "degraded", "stopping", "no rules"])
def test_the_target_waits_where_it_cannot_be_had_for_sure(what):
    """The stop stays where it is."""
    world = entered()
    match what:
        case "stale":
            world.rig.boards.is_live = False
        case "halted":
            world.do(lambda: world.rig.core.halt("as a person asked"))
        case "degraded":
            world.cut_feed(trouble="unreachable")
            world.run(5 * NS_PER_S)
            assert world.rig.core.gate.report.mode == "DEGRADED"
        case "stopping":
            world.do(lambda: world.rig.core.shut("the engine is stopping"))
        case "no rules":  # of the pair: no exit could be written
            world.rig.boards.has_rules = False
    world.move(TARGET)

    assert world.open_exits() == STOPPED


def test_a_target_whose_book_does_not_come_is_told_once():
    """Its strategy gave the pair back, or its feed is out."""
    world = entered()
    world.rig.boards.is_live = False
    with capture_logs() as early:
        world.run(50 * NS_PER_S)
    with capture_logs() as late:
        world.run(90 * NS_PER_S)
    what = "the target of a bracket waits for its book"

    assert [entry for entry in early if entry["event"] == what] == []
    assert [(entry["id"], entry["symbol"]) for entry in late if entry["event"] == what] == [(ENTRY, "BTC/USD")]


def test_a_bracket_whose_pair_nobody_follows_any_more_is_told_and_stopped_as_soon_as_somebody_does():
    """A pair that was added while an earlier engine ran; its stop is gone."""
    world = entered()
    world.rig.boards.has_rules = False
    world.exchange.cancel(world.exits[0].order_id)
    with capture_logs() as lines:
        world.run(20 * NS_PER_S)
        assert told(lines) == []
        world.run(60 * NS_PER_S)
    assert [(line["symbol"], line["open"]) for line in told(lines)] == [("BTC/USD", "1.00000000")]
    assert world.rig.core.brackets.unwritable == world.rig.core.brackets.unprotected == [ENTRY]
    world.rig.boards.has_rules = True
    world.run(SOON_NS)

    assert world.open_exits() == STOPPED
    assert world.rig.core.brackets.unprotected == []


def told(lines):
    return [line for line in lines if line["event"] == "a bracket has no exit, and its pair is not followed"]


@pytest.mark.parametrize("what", ["halt", "end", "stop"])
def test_a_halt_ends_the_entry_and_not_what_protects(what):
    """Of a person or the day's loss, of the strategy, of the engine; a stop that is on its way is put back."""
    world = entered("0.5")
    match what:
        case "halt":
            world.do(lambda: world.rig.core.halt("as a person asked"))
        case "end":
            world.ask(StrategyEnded(STRATEGY, "it raises"))
        case "stop":
            world.do(lambda: world.rig.core.shut("the engine is stopping"))
            world.do(lambda: world.rig.core.cancel_all_but_exits(None))
    world.run(SOON_NS)

    assert not world.entry.is_open
    assert world.open_exits() == [("stop-loss", "sell", D("0.5"), D(STOP))]
    assert world.brackets
    assert not world.rig.core.own_to_end


def test_a_stop_is_put_back_after_a_halt_in_between():
    """The target had it canceled, and then no order may be taken."""
    world = entered()
    world.exchange.takes_at_once = D(0)
    world.rig.boards.bid = TARGET
    world.run_until(lambda: not world.open_exits(), NS_PER_S, "the stop is canceled")
    world.do(lambda: world.rig.core.halt("as a person asked"))
    world.run(SOON_NS)

    assert world.open_exits() == STOPPED
    assert world.rig.core.brackets.unprotected == []


@pytest.mark.parametrize("what", ["cancel", "cancel_all", "person"])
def test_who_cancels_an_exit_ends_the_bracket(what):
    """Nothing is put back."""
    world = entered()
    (stop,) = world.strategy.open_orders
    match what:
        case "cancel":
            world.ask(Cancel(STRATEGY, [stop.id]))
        case "cancel_all":
            world.ask(CancelAll(STRATEGY, ""))
        case "person":
            world.do(lambda: world.rig.core.cancel_by_id(stop.order_id))
    world.run(5 * NS_PER_S)

    assert not world.open_exits()
    assert not world.brackets


def test_who_cancels_all_between_two_exits_ends_the_bracket():
    """The stop is gone, the next exit is not sent yet: it never is."""
    world = entered()
    world.exchange.takes_at_once = D(0)
    world.rig.boards.bid = TARGET
    world.run_until(lambda: not world.open_exits(), NS_PER_S, "the stop is canceled")
    world.ask(CancelAll(STRATEGY, ""))
    world.run(5 * NS_PER_S)

    assert not world.brackets
    assert not world.open_exits()


def test_while_the_journal_cannot_be_written_nothing_is_sent_or_told():
    """No storm of refusals; the stop is put back as soon as it can."""
    world = entered()
    world.rig.memory.refuses = "disk full"
    world.exchange.cancel(world.exits[0].order_id)
    world.run(3 * NS_PER_S)
    assert len(world.exits) == 1
    assert not [order for order in world.strategy._ended.values() if order.state is OrderState.REFUSED]
    world.rig.memory.refuses = ""
    world.run(3 * NS_PER_S)

    assert world.open_exits() == STOPPED


def test_who_cancels_the_entry_ends_the_entry():
    """What has filled stays protected, and its target is taken."""
    world = entered("0.5")
    world.ask(Cancel(STRATEGY, [ENTRY]))
    world.run(SOON_NS)
    assert world.open_exits() == [("stop-loss", "sell", D("0.5"), D(STOP))]
    world.move(TARGET)

    assert world.exits[-1].filled == D("0.5")


@pytest.mark.parametrize("is_filled", [True, False])
@pytest.mark.parametrize("lose_feed", [World.cut_feed, World.silence_feed])
def test_a_cancel_of_an_entry_in_doubt_leaves_the_stop_of_its_fill_alone(is_filled, lose_feed):
    """The network was gone before Kraken answered. The entry has no name but its userref, which its stop has too; the
    snapshot tells the one from the other, also when nobody knew yet that executions were missing.
    """
    world = Bracketed()
    world.ask(Submit(STRATEGY, ENTRY, bracket(), MonoNs(world.clock.mono_ns()), MonoNs(0)))
    world.run(LATENCY_NS // 2)
    world.cut_trading()
    lose_feed(world)
    world.run(SOON_NS)
    if is_filled:
        world.exchange.fill(world.entry.order_id, D(1))
    world.ask(Cancel(STRATEGY, [ENTRY]))
    world.connect_trading()
    world.run(SOON_NS)
    world.connect_feed()
    world.run(SOON_NS)

    assert not world.entry.is_open
    assert [exit.status for exit in world.exits] == ["open"] * is_filled


def test_an_entry_in_doubt_of_which_nobody_tells_is_canceled_all_the_same():
    """Neither the executions come nor REST, for long after Kraken could have begun with it."""
    world = Bracketed()
    world.ask(Submit(STRATEGY, ENTRY, bracket(), MonoNs(world.clock.mono_ns()), MonoNs(0)))
    world.run(LATENCY_NS // 2)
    world.cut_trading()
    world.cut_feed()
    world.run(SOON_NS)
    world.cut_rest()
    world.ask(Cancel(STRATEGY, [ENTRY]))
    world.connect_trading()
    world.do(lambda: world.rig.session.authorise(TOKEN, world.clock.mono_ns()))
    world.run(5 * NS_PER_S)
    assert world.entry.is_open
    world.run(10 * NS_PER_S)

    assert not world.entry.is_open


def test_a_stop_that_somebody_else_canceled_is_put_back():
    """By hand at Kraken, or by the dead man's switch after an outage: to end a bracket, tell the engine."""
    world = entered()
    world.exchange.cancel(world.exits[0].order_id)
    world.run(SOON_NS)

    assert world.open_exits() == STOPPED
    assert world.exits[-1].cl_ord_id.startswith(EXIT_TAG)


@pytest.mark.parametrize("route", ["websocket", "rest"])
def test_a_breaker_that_lets_one_request_out_lets_an_exit_out(route):
    """It is the first to ask once the breaker has been open for long enough."""
    orders = replace(SETTINGS.new_orders, rest_fallback=route == "rest")
    world = entered(settings=replace(SETTINGS, new_orders=orders, breaker_failures=1, breaker_open_ns=20 * NS_PER_S))
    if route == "rest":
        world.cut_trading()
    world.rig.core.breakers[route].failed(world.clock.mono_ns())
    world.exchange.cancel(world.exits[0].order_id)
    world.run(10 * NS_PER_S)
    assert len(world.exits) == 1
    world.run(15 * NS_PER_S)

    assert world.open_exits() == STOPPED
    assert len(world.exits) == 2
    assert not [order for order in world.strategy._ended.values() if order.state is OrderState.REFUSED]


def test_a_stop_that_the_price_has_passed_is_closed_at_the_market():
    """No trigger would be on the right side."""
    world = entered()
    world.rig.boards.bid = STOP - 1
    world.exchange.cancel(world.exits[0].order_id)
    world.run(SOON_NS)

    assert [order for order, *_ in world.open_exits()] == ["market"]


def test_an_amended_stop_stays_where_it_was_put():
    """A stop that is put back has the trigger of the last amend; its strategy is told where each one stands."""
    world = entered()
    (stop,) = world.strategy.open_orders
    triggers = [stop.trigger]
    moved = Amendment(price_decimals=1, qty_decimals=8, trigger_price=D(95))
    world.ask(Amend(stop.id, moved, MonoNs(world.clock.mono_ns()), MonoNs(0)))
    world.run(SOON_NS)
    triggers.append(stop.trigger)
    world.exchange.cancel(world.exits[0].order_id)
    world.run(SOON_NS)
    triggers += [order.trigger for order in world.strategy.open_orders]

    assert [price for *_, price in world.open_exits()] == [D(95)]
    assert triggers == [STOP, D(95), D(95)]


def test_an_amend_of_the_stop_in_doubt_does_not_hold_the_target():
    """It came to nothing, and with REST away nobody decides it: the stop is canceled all the same."""
    world = entered()
    world.cut_rest()
    world.way = Way(["amend_order"], there_ns=None)
    (stop,) = world.strategy.open_orders
    moved = Amendment(price_decimals=1, qty_decimals=8, trigger_price=D(95))
    world.ask(Amend(stop.id, moved, MonoNs(world.clock.mono_ns()), MonoNs(0)))
    world.move(TARGET)
    world.run(2 * NS_PER_S)

    assert [(order.order_type, order.status) for order in world.exits] == [
        ("stop-loss", "canceled"), ("limit", "closed"),
    ]  # fmt: skip
    assert not world.brackets


def test_a_rejected_exit_is_tried_again_ever_more_rarely():
    """For as long as there is something to close; each no is told."""
    world = entered()
    world.exchange.refuses = "EOrder:Insufficient funds"
    world.exchange.cancel(world.exits[0].order_id)
    world.run(8 * NS_PER_S)
    rejected = [order for order in world.rig.core.blotter.ended.values() if order.state is OrderState.REJECTED]
    waits = [later.submitted_at - earlier.submitted_at for earlier, later in pairwise(rejected)]

    assert 3 <= len(rejected) <= 5
    assert all(later >= 1.8 * earlier for earlier, later in pairwise(waits))
    world.exchange.refuses = ""
    world.run(20 * NS_PER_S)
    assert world.open_exits() == STOPPED


def test_an_exit_that_finds_krakens_rate_counter_full_is_soon_tried_again():
    """It falls by itself, and meanwhile nothing protects what is held: cancels of many young orders fill it for
    minutes.
    """
    world = entered()
    world.exchange.refuses = "EOrder:Rate limit exceeded"
    world.exchange.cancel(world.exits[0].order_id)
    world.run(120 * NS_PER_S)
    rejected = [order for order in world.rig.core.blotter.ended.values() if order.state is OrderState.REJECTED]
    waits = [later.submitted_at - earlier.submitted_at for earlier, later in pairwise(rejected)]
    assert 12 < len(rejected) < 20
    assert max(waits) < 10 * NS_PER_S

    world.exchange.refuses = ""
    world.run(10 * NS_PER_S)
    assert world.open_exits() == STOPPED


def test_an_exit_that_somebody_ends_again_and_again_is_no_storm():
    """It is put back ever more rarely; and an own order in its way ends instead of it."""
    world = entered()
    for _ in range(5):
        for order in world.exits:
            world.exchange.cancel(order.order_id)
        world.run(3 * NS_PER_S)

    assert 3 <= len(world.exits) <= 5
    (sent,) = [order for order in world.rig.core.blotter.open.values() if order.parent] or [None]
    assert sent is None or sent.intent.stp_type == "cancel_oldest"


def test_a_fill_without_a_closing_order_gets_a_stop_of_ours():
    """Kraken could not make one; once REST has told so after its longest lag."""
    world = Bracketed().enter()
    world.exchange.makes_closing_orders = False
    world.fill_entry()
    world.run(10 * NS_PER_S)
    assert not world.exits
    world.run(90 * NS_PER_S)

    assert world.open_exits() == STOPPED


def test_fills_that_go_on_do_not_put_off_the_stop_of_those_before():
    """None of them gets one from Kraken, as each may be too small: those of the last minutes alone are without."""
    world = Bracketed().enter(bracket(qty="10"))
    world.exchange.makes_closing_orders = False
    bare = []
    for _ in range(30):
        world.exchange.fill(world.entry.order_id, D("0.2") / (world.entry.qty - world.entry.filled))
        world.rest(10 * NS_PER_S)
        bare.append(world.entry.filled - sum(qty for _, _, qty, _ in world.open_exits()))
    world.rest(170 * NS_PER_S)

    assert max(bare) <= D("3.2")
    assert bare[-1] < world.entry.filled / 2
    assert sum(qty for _, _, qty, _ in world.open_exits()) == world.entry.filled
    assert {(kind, side, price) for kind, side, _, price in world.open_exits()} == {("stop-loss", "sell", D(STOP))}


def test_stops_that_kraken_makes_a_moment_later_are_awaited_while_fills_go_on():
    """At each moment the last fill is without, and each gets one: none of ours, with which more could be closed than
    was filled.
    """
    world = Bracketed().enter(bracket(qty="200"))
    make_stop = world.exchange.make_closing_order
    world.exchange.make_closing_order = lambda *closing: world.at(1_500 * NS_PER_MS, lambda: make_stop(*closing))
    for _ in range(140):
        fill_one(world, world.entry)
        world.run(NS_PER_S)
    world.run(2 * NS_PER_S)

    assert world.rig.core.blotter.exits_sent == 0
    assert sum(qty for _, _, qty, _ in world.open_exits()) == world.entry.filled == 140


def test_entries_that_go_on_filling_do_not_keep_the_last_from_its_stop():
    """None gets one from Kraken, and a poor key has few pages of history for who looks for it."""
    world = World()
    world.exchange.makes_closing_orders = False
    entries = [ENTRY, "quoter000001000002", "quoter000001000003", "quoter000001000004"]
    for key in entries:
        world.ask(Submit(STRATEGY, key, bracket(qty="20"), MonoNs(world.clock.mono_ns()), MonoNs(0)))
        world.run(SOON_NS)
        fill_one(world, world.exchange.orders[-1])
        world.run(SOON_NS)
    for turn in range(50):
        fill_one(world, world.exchange.orders[turn % 3])
        world.rest(5 * NS_PER_S)

    assert world.rig.core.blotter.brackets[entries[-1]].exits


def test_an_entry_that_is_over_without_a_fill_leaves_nothing():
    """No bracket, no exit."""
    world = Bracketed().enter()
    assert world.brackets
    world.ask(Cancel(STRATEGY, [ENTRY]))
    world.run(SOON_NS)

    assert not world.brackets
    assert not world.exits


@pytest.mark.parametrize("left", ["0.00001", "0.005"])
def test_dust_stays_in_the_position(left):
    """What is less than Kraken's minimum, of quantity or of worth, cannot be an order."""
    world = entered()
    world.exchange.takes_at_once = D(1) - D(left)
    world.move(TARGET)
    world.run(10 * NS_PER_S)

    assert not world.brackets
    assert world.rig.core.blotter.positions.qty(STRATEGY, "BTC/USD") == D(left)
    assert len(world.exits) == 2


def test_the_dead_mans_switch_rests_while_stops_alone_are_open():
    """It would cancel what protects; with anything else open it is armed. Off five seconds after the last of that, on
    at once.
    """
    world = Bracketed(TIGHT)
    timeouts = []
    request = world.exchange.request

    def overhear(frame):
        if frame["method"] == "cancel_all_orders_after":
            timeouts.append(frame["params"]["timeout"])
            return {"method": frame["method"], "req_id": frame["req_id"], "success": True, "result": {}}
        return request(frame)

    world.exchange.request = overhear
    world.enter()
    world.run(21 * NS_PER_S)
    assert set(timeouts) == {60}
    timeouts.clear()
    world.fill_entry()
    world.run(41 * NS_PER_S)
    assert timeouts == [0, 0]
    timeouts.clear()
    world.ask(Submit(STRATEGY, "quoter000001000002", limit("buy", "1", "95"), MonoNs(world.clock.mono_ns()), MonoNs(0)))
    world.run(SOON_NS)

    assert timeouts == [60]


def live_through(die_at, die_again_at=0, fate=""):
    """A bracket to its end, of which the book takes the half at first; the router dies at that step."""
    world = Bracketed(tick_ns=80 * NS_PER_MS)
    world.exchange.rest_lag_ns = 200 * NS_PER_MS
    world.enter()
    if fate:
        back = {"answer lost": None, "answer late": 2 * NS_PER_S, "lost": None}[fate]
        there = {"there_ns": None} if fate == "lost" else {}
        world.way = Way(["cancel_order", "batch_cancel", "add_order"], back_ns=back, **there)
    world.steps.clear()
    world.step_to_die, world.step_to_die_again = die_at, die_again_at
    world.exchange.takes_at_once = D("0.5")
    for after_ms, share in ((0, "0.5"), (100, "0.5")):
        world.at(after_ms * NS_PER_MS, lambda share=share: world.exchange.fill(world.entry.order_id, D(share)))
    world.at(400 * NS_PER_MS, lambda: setattr(world.rig.boards, "bid", TARGET))
    world.run(3 * NS_PER_S)
    world.exchange.takes_at_once = D(1)
    world.run_until(lambda: not world.is_dead and not world.brackets, 60 * NS_PER_S, f"over after a death at {die_at}")
    world.rest(2 * NS_PER_S)
    assert not world.entry.is_open
    assert not world.open_exits()
    assert sum(order.filled for order in world.exits) == world.entry.filled > 0
    assert world.rig.core.blotter.positions.qty(STRATEGY, "BTC/USD") == 0
    world.rig.core.blotter.check()
    return world


@pytest.mark.parametrize("fate", ["", "lost", "answer lost", "answer late"])
def test_a_death_between_any_two_steps_closes_everything_once(fate):
    """Journal, requests, reports: the next router goes on from what is known, and never closes twice."""
    steps = list(live_through(0, fate=fate).steps)
    deaths = [live_through(number, fate=fate).deaths for number in range(1, len(steps) + 1)]

    assert len(steps) > 30
    assert deaths == [1] * len(steps)


@pytest.mark.parametrize("again_at", [1, 3, 8])
def test_the_next_router_may_die_as_well(again_at):
    """While it takes up the bracket."""
    steps = list(live_through(0).steps)
    assert all(live_through(number, again_at).deaths == 2 for number in range(1, len(steps) + 1, 3))


class LateToAnswer(Bracketed):
    """REST lists open orders as they are, and tells the state of one as it was a while ago."""

    def __init__(self, lag_ns, **more):
        super().__init__(**more)
        self.lag_ns, self.answer_there = lag_ns, self.exchange.call
        self.exchange.call = self._answer

    def _answer(self, name, fields):
        self.exchange.rest_lag_ns = self.lag_ns if name == "QueryOrders" else 0
        return self.answer_there(name, fields)


@pytest.mark.parametrize("lag_ns", [0, 6 * NS_PER_S])
@pytest.mark.parametrize("after_ns", [step * 2 * NS_PER_S for step in range(5)])
def test_a_stop_that_is_told_before_its_fill_is_left_alone(after_ns, lag_ns):
    """Without executions REST lists the stop with the open orders, and tells the fill that made it when it is asked
    for the entry: seconds later, with a key of few calls or a REST that lags.
    """
    world = LateToAnswer(lag_ns).enter()
    world.cut_feed("connection refused", "unreachable")
    world.run(25 * NS_PER_S + after_ns)
    assert world.strategy.status.mode == "DEGRADED"
    world.exchange.fill(world.entry.order_id, D(1))
    world.run(20 * NS_PER_S)

    assert [(order.order_type, order.status) for order in world.exits] == [("stop-loss", "open")]
    assert world.rig.core.blotter.positions.qty(STRATEGY, "BTC/USD") == 1
    assert world.rig.core.brackets.unprotected == []


def test_a_stop_whose_fill_is_never_told_is_canceled_once_rest_can_lag_no_more():
    """What it would sell is not there, as far as anybody knows."""
    world = Bracketed().enter()
    world.rig.fact(ExecutionFact(
        exec_type="new", order_id="OSTRAY-00001", timestamp=AT, order_userref=world.entry.userref,
        ord_ref_id=world.entry.order_id, symbol="BTC/USD", side="sell", order_type="stop-loss", order_qty=D(1),
        cum_qty=D(0),
    ))  # fmt: skip
    world.run(50 * NS_PER_S)
    stop = world.rig.core.blotter.open["OSTRAY-00001"]
    assert not stop.cancel_wanted
    world.run(15 * NS_PER_S)
    assert stop.cancel_wanted
