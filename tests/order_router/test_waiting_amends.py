"""A strategy may amend at every tick: what cannot be sent yet waits, and the newest wins.

The judge of `World` looks at every step, as everywhere.
"""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.order_router.core.waiting_amends import WaitingAmends
from engine.orders.intent import Amendment
from engine.orders.life import OrderState
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.rings.commands import Amend, Cancel, Submit
from engine.orders.risk import RiskLimits
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.order_router.rig import SETTINGS, STRATEGY
from tests.order_router.world import World
from tests.orders.rig import limit

KEY = "quoter000000000001"
WAIT_NS_MAX = 30 * NS_PER_S
QUEUES = replace(
    SETTINGS, new_orders=replace(SETTINGS.new_orders, queues_over_rate=True, queue_wait_ns_max=WAIT_NS_MAX)
)


def change(price=None, qty=None):
    """To this limit in ticks, or this quantity."""
    return Amendment(
        price_decimals=1,
        qty_decimals=8,
        qty=None if qty is None else QtyLots(qty * 10**8),
        limit_price=None if price is None else PriceTicks(price),
    )


class Quote:
    """One open order, which a test amends."""

    def __init__(self, settings=QUEUES):
        self.world = World(settings, follows_amends=False)
        self.world.intents.add(KEY)
        world = self.world
        world.ask(Submit(STRATEGY, KEY, limit("buy", "1", "95"), world.clock.mono_ns(), MonoNs(0)))
        world.run(NS_PER_S)
        assert self.told.state is OrderState.WORKING

    @property
    def told(self):
        """The order, as the strategy was told."""
        return self.world.strategy.order(KEY)

    @property
    def made(self):
        """The order at the exchange."""
        return self.world.exchange.orders[0]

    def amend(self, price=None, qty=None):
        """Ask for this limit in ticks, or this quantity."""
        self.world.ask(Amend(KEY, change(price, qty), self.world.clock.mono_ns(), MonoNs(0)))


def test_an_amend_at_every_tick_ends_at_the_newest_price():
    """Hundred in a second, with half of them on their way at once: few are sent, and none is refused."""
    quote = Quote(replace(QUEUES, limits=RiskLimits(duplicate_window_ns=0, orders_per_s_max=Decimal(5))))
    for price in range(901, 950):
        quote.amend(price)
        quote.world.run(20 * NS_PER_MS)
        assert quote.told.error is None
    quote.world.run(3 * NS_PER_S)

    assert quote.made.price == Decimal("94.9")
    assert quote.made.amends < 20
    assert not quote.told.is_amending
    quote.world.agree()


def test_what_the_newer_one_leaves_the_older_one_says():
    """A price, and behind it a quantity: both hold."""
    quote = Quote()
    quote.amend(price=940)
    quote.amend(price=930)
    quote.amend(qty=2)
    quote.world.run(NS_PER_S)

    assert (quote.made.price, quote.made.qty, quote.made.amends) == (Decimal(93), Decimal(2), 2)
    quote.world.agree()


POST_ONLY = replace(change(price=930), post_only=True)


@pytest.mark.parametrize(
    ("newer", "merged"),
    [
        (change(qty=2), replace(change(930, 2), post_only=True)),
        (change(price=920), change(920)),
        (replace(change(price=920), post_only=True), replace(change(920), post_only=True)),
    ],
    ids=["a quantity", "another price", "another post-only price"],
)
def test_a_price_is_post_only_if_it_was_asked_for_so(newer, merged):
    """Without that Kraken lets an amended price take: a quantity behind it says nothing of the price."""
    waiting = WaitingAmends(WAIT_NS_MAX)
    why = Refusal(ErrorKind.BUSY, "an amend is under way")
    waiting.put(Amend(KEY, POST_ONLY, MonoNs(0), MonoNs(0)), why, MonoNs(0))

    assert waiting.on_top(Amend(KEY, newer, MonoNs(1), MonoNs(0))).amendment == merged


def test_one_that_changes_nothing_is_not_sent():
    """Neither the same twice, nor one that came to what the order is by now."""
    quote = Quote()
    quote.amend(940)
    quote.amend(940)
    quote.world.run(NS_PER_S)
    assert quote.made.amends == 1
    quote.amend(930)
    quote.amend(920)
    quote.amend(930)
    quote.world.run(NS_PER_S)

    assert (quote.made.amends, quote.made.price) == (2, Decimal(93))
    assert not quote.told.is_amending
    quote.world.agree()


def test_one_beyond_the_rate_counter_waits_for_room():
    """It is told as under way, and not as refused."""
    quote = Quote()
    quote.world.rig.core.rates.of("BTC/USD").exceeded(MonoNs(quote.world.clock.mono_ns()))
    quote.amend(940)
    quote.world.run(100 * NS_PER_MS)
    assert quote.told.is_amending
    assert quote.made.amends == 0
    quote.world.run_until(lambda: quote.made.amends == 1, WAIT_NS_MAX, "it is sent")
    quote.world.run(NS_PER_S)

    assert quote.told.error is None
    quote.world.agree()


@pytest.mark.parametrize("over_rate", [True, False])
def test_our_own_pace_delays_or_refuses_as_configured(over_rate):
    """`trading.over_rate` says which, as of new orders."""
    settings = replace(
        QUEUES,
        limits=RiskLimits(duplicate_window_ns=0, orders_per_s_max=Decimal(1)),
        new_orders=replace(QUEUES.new_orders, queues_over_rate=over_rate),
    )
    quote = Quote(settings)
    quote.world.run(NS_PER_S)
    quote.amend(940)
    quote.world.run(100 * NS_PER_MS)
    quote.amend(930)
    quote.world.run(100 * NS_PER_MS)

    assert quote.told.is_amending is over_rate
    assert (quote.told.error is None) is over_rate
    quote.world.run(2 * NS_PER_S)
    assert quote.made.price == (Decimal(93) if over_rate else Decimal(94))
    quote.world.agree()


def test_a_cancel_goes_before_an_amend_that_waits():
    """The order ends, and nothing is sent behind its end."""
    quote = Quote()
    quote.amend(940)
    quote.amend(930)
    quote.world.ask(Cancel(STRATEGY, [KEY]))
    quote.world.run(2 * NS_PER_S)

    assert quote.told.state is OrderState.CANCELED
    assert not quote.told.is_amending
    assert quote.made.amends == 1
    quote.world.agree()


def test_one_that_waits_too_long_is_refused_with_what_it_waited_for():
    """While trading is shut to amends it does not wait at all; behind an answer that never comes it waits its time."""
    quote = Quote(replace(QUEUES, new_orders=replace(QUEUES.new_orders, queue_wait_ns_max=100 * NS_PER_MS)))
    quote.world.cut_trading()
    quote.world.is_trading_reachable = False
    quote.world.cut_rest()
    quote.amend(940)
    quote.amend(930)
    quote.world.run(NS_PER_S)

    assert quote.told.reason.startswith("amend refused: ")
    assert not quote.world.rig.core.new_orders.waiting_amends


def test_a_router_that_dies_takes_them_with_it():
    """They are in no journal; the order is told as it stands, and may be amended again."""
    quote = Quote()
    quote.amend(940)
    quote.amend(930)
    quote.world.rig.begin_anew()
    quote.world.rig.core.begin()
    quote.world.has_trading = quote.world.has_feed = False
    quote.world.connect_trading()
    quote.world.connect_feed()
    quote.world.run(5 * NS_PER_S)

    assert not quote.told.is_amending
    quote.amend(920)
    quote.world.run(NS_PER_S)
    assert quote.made.price == Decimal(92)
    quote.world.agree()


def test_one_that_finds_room_does_not_leave_an_older_one_behind():
    """The older one waits for the rate counter; the newer one comes when there is room, and is the last word."""
    quote = Quote(replace(QUEUES, limits=RiskLimits(duplicate_window_ns=0, orders_per_s_max=Decimal(1))))
    quote.world.run(NS_PER_S)
    quote.amend(price=940)
    quote.world.run(100 * NS_PER_MS)
    quote.amend(price=930, qty=2)
    core, clock = quote.world.rig.core, quote.world.clock
    clock.advance(NS_PER_S)  # and nothing has looked at it yet
    core.take_command(Amend(KEY, change(price=920), MonoNs(clock.mono_ns()), MonoNs(0)))
    quote.world.run(3 * NS_PER_S)

    assert (quote.made.price, quote.made.qty) == (Decimal(92), Decimal(2))
    quote.world.agree()


def test_waiting_is_told_once():
    """Not at every look for room."""
    quote = Quote(replace(QUEUES, limits=RiskLimits(duplicate_window_ns=0, orders_per_s_max=Decimal(1))))
    quote.world.run(NS_PER_S)
    quote.amend(940)
    quote.world.run(100 * NS_PER_MS)
    quote.amend(930)
    quote.world.run(100 * NS_PER_MS)
    before = quote.world.rig.core.records.outboxes[STRATEGY].sent
    quote.world.run(500 * NS_PER_MS)

    assert quote.told.is_amending
    assert quote.world.rig.core.records.outboxes[STRATEGY].sent == before
