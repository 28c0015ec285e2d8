"""Whatever a strategy does, whatever the links do, whoever dies: days made by chance, each seed its own.

The judge of `World` looks at every step; when the weather is over nothing is in doubt, and all agree.
"""

import random
from decimal import Decimal
from typing import Final

import msgspec
import pytest

from engine.orders.intent import Amendment
from engine.orders.rings.commands import Amend, Cancel, Submit, SubmitBatch
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.order_router.rig import SETTINGS, STRATEGY
from tests.order_router.world import Way, World
from tests.orders.rig import limit

SEEDS: Final = 60
SETTLED_NS: Final = 15 * NS_PER_S  # after the weather; the rate counter may hold a queued order up for longer
DRAINED_NS: Final = 70 * NS_PER_S
QUEUES: Final = msgspec.structs.replace(
    SETTINGS,
    queue_orders_max=100,
    limits=msgspec.structs.replace(SETTINGS.limits, orders_per_s_max=Decimal(1000), open_orders_max=1000),
    new_orders=msgspec.structs.replace(
        SETTINGS.new_orders, queues_over_rate=True, queue_wait_ns_max=60 * NS_PER_S
    ),
)  # fmt: skip
REQUESTS: Final = (
    "add_order", "amend_order", "cancel_order", "batch_add", "batch_cancel", "AddOrder", "AmendOrder", "CancelOrder",
    "AddOrderBatch", "QueryOrders", "OpenOrders", "ClosedOrders", "QueryTrades", "GetWebSocketsToken",
)  # fmt: skip
DELAYS_MS: Final = (None, 30, 30, 30, 300, 700, 900, 1300, 2600)
PAUSES_MS: Final = (0, 1, 10, 35, 50, 100, 300, 700, 1500)
SHARES: Final = (Decimal("0.25"), Decimal("0.5"), Decimal(1))


class Weather:
    """One day."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(self.chance.choice((SETTINGS, QUEUES)), follows_amends=False)
        self.world.exchange.rest_lag_ns = self.chance.choice((0, 200, 400)) * NS_PER_MS
        self.world.exchange.trades_told = self.chance.choice((0, 50))
        self.keys: list[str] = []

    def pass_by(self) -> None:
        """Steps of all kinds; then the sun shines."""
        for _ in range(self.chance.randint(3, 25)):
            if self.chance.random() < 0.35:
                self._spoil_requests()
            self.chance.choices(
                (self._add, self._add_batch, self._amend, self._cancel, self._trade, self._cut_a_link, self._kill),
                (25, 10, 10, 15, 10, 20, 5),
            )[0]()
            self.world.run(self.chance.choice(PAUSES_MS) * NS_PER_MS)
            if self.chance.random() < 0.5:
                self._mend_links()
        self.world.way.strikes_left = self.world.step_to_die = 0
        self.world.run(NS_PER_S)
        self._mend_links()
        self.world.run(SETTLED_NS)
        if not self.is_settled():
            self.world.run(DRAINED_NS)

    def is_settled(self) -> bool:
        return all(self.world.is_settled(key) for key in self.keys)

    def _spoil_requests(self) -> None:
        """The next few of some kinds are lost, late, or their answers are."""
        there, back = (
            None if delay_ms is None else delay_ms * NS_PER_MS for delay_ms in self.chance.choices(DELAYS_MS, k=2)
        )
        names = self.chance.sample(REQUESTS, self.chance.randint(1, 8))
        self.world.way = Way(names, there_ns=there, back_ns=back)
        self.world.way.strikes_left = self.chance.randint(1, 4)

    def _submit(self) -> Submit:
        key = f"quoter{len(self.keys):012d}"
        self.keys.append(key)
        self.world.intents.add(key)
        price = str(self.chance.randint(80, 99))
        return Submit(STRATEGY, key, limit(price=price), self.world.clock.mono_ns(), MonoNs(0))

    def _add(self) -> None:
        self.world.ask(self._submit())

    def _add_batch(self) -> None:
        orders = [(it.key, it.intent) for it in (self._submit() for _ in range(self.chance.randint(2, 4)))]
        self.world.ask(SubmitBatch(STRATEGY, orders, self.world.clock.mono_ns(), MonoNs(0)))

    def _amend(self) -> None:
        if self.keys:
            change = Amendment(
                price_decimals=1, qty_decimals=8, qty=QtyLots(self.chance.randint(1, 4) * 10**8),
                limit_price=PriceTicks(self.chance.randint(800, 990)),
            )  # fmt: skip
            key = self.chance.choice(self.keys)
            self.world.ask(Amend(key, change, self.world.clock.mono_ns(), MonoNs(0)))

    def _cancel(self) -> None:
        if self.keys:
            keys = self.chance.sample(self.keys, min(len(self.keys), self.chance.randint(1, 3)))
            self.world.ask(Cancel(STRATEGY, keys))

    def _trade(self) -> None:
        for order in self.world.exchange.orders:
            if order.is_open and self.chance.random() < 0.5:
                self.world.exchange.fill(order.order_id, self.chance.choice(SHARES))

    def _cut_a_link(self) -> None:
        self.chance.choice((self.world.cut_trading, self.world.cut_feed, self.world.cut_rest))()

    def _kill(self) -> None:
        self.world.step_to_die = self.chance.randint(1, 12)

    def _mend_links(self) -> None:
        if not self.world.has_trading and not self.world.is_dead:
            self.world.connect_trading()
        self.world.mend_rest()
        self.world.connect_feed()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_when_the_weather_is_over_all_agree(seed: int) -> None:
    """And at no step was an order doubled, or held for over without the exchange's evidence."""
    weather = Weather(seed)
    weather.pass_by()

    assert weather.is_settled(), weather.world.story()
    weather.world.agree()
