"""Every order has one life, whatever becomes of a request, its answer and its link: every cell, under a clock by hand.

    deed        add, amend, cancel, batch add, batch cancel, add and cancel (the router makes no edits: it amends)
    fate        the request is lost · its answer is lost · it is executed late · after its deadline · its answer is late
    link        stays · all drop · the request's own drops · the private feed drops
    route       WebSocket · REST, while the WebSocket is down
    meanwhile   nothing trades · a part is filled · all is filled, while nobody listens

In each, after every step: no intent has two orders, no order is held for over without the exchange's evidence, and the
blotter is the fold of its journal (`World.judge`). Within two seconds of the link's return nothing is in doubt, and in
the end exchange, blotter and what the strategy was told are one.
"""

from decimal import Decimal
from itertools import product
from typing import Final

import pytest

from engine.kraken.connection.kraken_time import longest_ns
from engine.orders.intent import Amendment
from engine.orders.rings.commands import Amend, Cancel, Command, Submit, SubmitBatch
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.order_router.rig import STRATEGY
from tests.order_router.world import LATENCY_NS, Way, World
from tests.orders.rig import limit

RESOLVED_NS_MAX: Final = 2 * NS_PER_S
QUIET_NS: Final = 3 * NS_PER_S  # in which nothing may change any more
BEFORE_HEARTBEAT_NS: Final = 600 * NS_PER_MS
CANCEL_AFTER_NS: Final = 40 * NS_PER_MS
DROP_AFTER_NS: Final = 50 * NS_PER_MS  # the exchange has the request by then, and its answer is on its way
DOWN_NS: Final = 500 * NS_PER_MS
LONG_DOWN_NS: Final = 1200 * NS_PER_MS  # a request that is late begins, and its order ends, while nobody listens
TRADES_AFTER_NS: Final = 200 * NS_PER_MS  # while the links are down
TRADES_LATE_NS: Final = 1150 * NS_PER_MS
FILL_AFTER_NS: Final = 20 * NS_PER_MS  # of an order that begins later than that

DEEDS: Final = ("add", "amend", "cancel", "batch add", "batch cancel", "add and cancel")
LINKS: Final = ("stays", "all drop", "its own drops", "the feed drops")
ROUTES: Final = ("websocket", "rest")
MEANWHILE: Final = ("rests", "a part is filled", "is filled")
REST_LAG_NS: Final = {"rests": 400 * NS_PER_MS, "a part is filled": 0, "is filled": 400 * NS_PER_MS}
METHODS: Final = {
    "websocket": dict(
        zip(DEEDS, ("add_order", "amend_order", "cancel_order", "batch_add", "batch_cancel", "add_order"), strict=True)
    ),
    "rest": dict(
        zip(DEEDS, ("AddOrder", "AmendOrder", "CancelOrder", "AddOrderBatch", "CancelOrder", "AddOrder"), strict=True)
    ),
}
DEADLINE_NS: Final = {"websocket": NS_PER_S, "rest": 3 * NS_PER_S}
PATIENCE_NS: Final = {"websocket": 1500 * NS_PER_MS, "rest": 2500 * NS_PER_MS}
FATES: Final = ("lost", "answer lost", "executed late", "after its deadline", "answer late")


def way_of(fate: str, route: str, deed: str) -> Way:
    """What the network does to the request, in nanoseconds there and back."""
    names = (METHODS[route][deed],)
    # REST's answer is late, but in time for who waits for it; the WebSocket's comes after the request was given up.
    late_answer_ns = 1200 * NS_PER_MS if route == "rest" else 2000 * NS_PER_MS
    match fate:
        case "lost":
            return Way(names, there_ns=None)
        case "answer lost":
            return Way(names, back_ns=None)
        case "executed late":
            return Way(names, there_ns=900 * NS_PER_MS)  # not long before its deadline, by WebSocket
        case "after its deadline":
            return Way(names, there_ns=DEADLINE_NS[route] + 300 * NS_PER_MS)
        case _:
            return Way(names, back_ns=late_answer_ns)


class Deed:
    """One thing that a strategy does, to orders of its own."""

    def __init__(self, world: World, what: str) -> None:
        self.world, self.what = world, what
        self.keys = [f"quoter{number:012d}" for number in range(1, 4 if what.startswith("batch") else 2)]
        world.intents.update(self.keys)

    def prepare(self) -> None:
        """Orders that are there already, for what changes or ends them."""
        if not self.is_new:
            self.world.ask(*(self._submit(key) for key in self.keys))
            self.world.rest(NS_PER_S)
            assert all(self.world.is_settled(key) for key in self.keys)

    def do(self) -> None:
        """The deed."""
        self.world.ask(self._command())
        if self.what == "add and cancel":  # before anybody knows what became of it
            self.world.at(CANCEL_AFTER_NS, lambda: self.world.ask(Cancel(STRATEGY, self.keys)))

    @property
    def is_new(self) -> bool:
        """Does it begin with new orders?"""
        return self.what in ("add", "batch add", "add and cancel")

    @property
    def is_end(self) -> bool:
        """Are its orders to end?"""
        return self.what.endswith("cancel")

    def _submit(self, key: str) -> Submit:
        return Submit(STRATEGY, key, limit(), self.world.clock.mono_ns(), MonoNs(0))

    def _command(self) -> Command:
        now = self.world.clock.mono_ns()
        match self.what:
            case "add" | "add and cancel":
                return self._submit(self.keys[0])
            case "batch add":
                return SubmitBatch(STRATEGY, [(key, limit()) for key in self.keys], now, MonoNs(0))
            case "amend":
                change = Amendment(
                    price_decimals=1, qty_decimals=8, qty=QtyLots(2 * 10**8), limit_price=PriceTicks(995)
                )
                return Amend(self.keys[0], change, now, MonoNs(0))
            case _:
                return Cancel(STRATEGY, self.keys)

    def is_settled(self) -> bool:
        return all(self.world.is_settled(key) for key in self.keys)


def trade(world: World, deed: Deed, share: Decimal, deadline_ns: int) -> None:
    """Somebody trades with each of these orders, once, as soon as there is one."""
    for key in deed.keys:
        for order in world.exchange.of(key):
            if not order.filled:
                world.exchange.fill(order.order_id, share)
    if deadline_ns > 0:
        world.at(FILL_AFTER_NS, lambda: trade(world, deed, share, deadline_ns - FILL_AFTER_NS))


def run_cell(world: World, what: str, fate: str, link: str, route: str, meanwhile: str) -> None:
    """One cell, to its end."""
    deed = Deed(world, what)
    deed.prepare()
    world.exchange.rest_lag_ns = REST_LAG_NS[meanwhile]
    if meanwhile == "is filled":
        world.exchange.trades_told = 0  # as when others have traded more than a snapshot tells: REST has it alone
    if route == "rest":
        world.cut_trading()
        world.rest(NS_PER_S)
    # So that Kraken is heard while a request that is late is on its way: what has been heard until then proves nothing.
    world.run(BEFORE_HEARTBEAT_NS)
    way = world.way = way_of(fate, route, what)
    deed.do()
    if meanwhile != "rests":
        share = Decimal(1) if meanwhile == "is filled" else Decimal("0.25")
        after_ns = TRADES_LATE_NS if fate == "executed late" else TRADES_AFTER_NS
        world.at(after_ns, lambda: trade(world, deed, share, 4 * NS_PER_S))
    world.run(DROP_AFTER_NS)
    assert way.struck == 1
    own_drops, feed_drops = link in ("all drop", "its own drops"), link in ("all drop", "the feed drops")
    if own_drops:
        world.cut_trading() if route == "websocket" else world.cut_rest()
    if feed_drops:
        world.cut_feed()
    down_ns = LONG_DOWN_NS if fate == "executed late" else DOWN_NS
    world.run(down_ns)
    if own_drops:
        world.connect_trading() if route == "websocket" else world.mend_rest()
    if feed_drops:
        world.connect_feed()

    # What is to come by itself must have come first: a deadline that passes, a request or an answer that is late.
    # Of Kraken's time less is certain than passes here.
    patience_ns = max(longest_ns(DEADLINE_NS[route]), PATIENCE_NS[route], (way.there_ns or 0) + LATENCY_NS)
    story = f"nothing is in doubt after {what}, {fate}, {link}, {route}, {meanwhile}"
    world.run_until(deed.is_settled, RESOLVED_NS_MAX, story, max(patience_ns - DROP_AFTER_NS - down_ns, 0))
    world.rest(QUIET_NS)
    assert deed.is_settled(), world.story()
    world.agree()
    for key in deed.keys:
        made = world.exchange.of(key)
        assert len(made) == (not (deed.is_new and fate in ("lost", "after its deadline")))
        assert not deed.is_end or not any(order.is_open for order in made)


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize(("route", "what", "fate", "link"), list(product(ROUTES, DEEDS, FATES, LINKS)))
def test_every_order_has_one_life(route: str, what: str, fate: str, link: str, meanwhile: str) -> None:
    """Whatever becomes of the request, its answer and its link, and whoever trades meanwhile."""
    run_cell(World(), what, fate, link, route, meanwhile)
