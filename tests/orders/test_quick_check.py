"""A quick yes is a yes of the general code too, whatever is open, held, limited or just now sent."""

from decimal import Decimal

from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.market import Pair
from engine.orders.blotter import Blotter
from engine.orders.intent import Amendment, OrderIntent, Trigger
from engine.orders.journal_records import Amended, AmendSent, Ended, Filled, InDoubt, Record, Submitted
from engine.orders.quick_check import QuickCheck
from engine.orders.risk import PairLimits, Risk, RiskLimits, TopOfBook, TradingMode
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import Fee
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots, WallNs
from tests.examples import times

SYMBOL = "BTC/USD"
COARSE = Pair(SYMBOL, 1, 4, qty_min_lots=3, cost_min=Decimal("0.02"), price_increment_ticks=5)
FINE = Pair(SYMBOL, 2, 5, qty_min_lots=30, cost_min=Decimal("0.02"), price_increment_ticks=1)
CLOSED = Pair(SYMBOL, 1, 4, status="post_only")
STRATEGIES = ("quoter", "taker")
AT = WallNs(1_800_000_000 * NS_PER_S)

amounts = st.one_of(st.none(), st.none(), st.decimals("0.001", "2", places=3))
quantities = st.one_of(st.none(), st.decimals("0.0005", "0.02", places=5))
limits = st.builds(
    RiskLimits,
    order_notional_max=amounts,
    position_notional_max=amounts,
    price_collar_percent=st.decimals("0", "7", places=4),
    open_orders_max=st.integers(2, 40),
    orders_per_s_max=st.sampled_from([Decimal("0.5"), Decimal(1000), Decimal(1000)]),
    self_trade_guard=st.booleans(),
    symbols=st.sampled_from([None, None, None, frozenset({SYMBOL}), frozenset({"ETH/USD"})]),
    pairs=st.one_of(
        st.just({}),
        st.builds(
            lambda qty, held, count: {
                SYMBOL: PairLimits(order_qty_max=qty, position_qty_max=held, open_orders_max=count)
            },
            quantities, quantities, st.one_of(st.none(), st.integers(1, 6)),
        ),
    ),
)  # fmt: skip


@st.composite
def intents(draw: st.DrawFn, usual: Pair) -> OrderIntent:
    """Plain limit orders mostly, near the market and on the step mostly."""
    pair = draw(st.sampled_from([usual] * 8 + [COARSE, FINE]))
    rare = draw(st.integers(0, 19))
    return OrderIntent(
        symbol=SYMBOL,
        side=draw(st.sampled_from(["buy", "sell"])),
        order_type="iceberg" if rare == 0 else "market" if rare == 1 else "stop-loss-limit" if rare == 2 else "limit",
        price_decimals=pair.price_decimals,
        qty_decimals=pair.qty_decimals,
        qty=QtyLots(draw(st.integers(1, 50)) * 10 ** (pair.qty_decimals - 4)),
        limit_price=None
        if rare == 1
        else PriceTicks(draw(st.integers(194, 206)) * 5 * 10 ** (pair.price_decimals - 1)),
        trigger=Trigger(Decimal(99)) if rare == 2 else None,
        time_in_force="ioc" if rare == 3 else "gtc",
        post_only=draw(st.booleans()),
        reduce_only=rare == 4,
    )


class World:
    """Orders, positions and the two judges of a new order."""

    def __init__(self, risk: Risk) -> None:
        self.risk = risk
        self.blotter = Blotter()
        self.top: TopOfBook | None = None
        self.quick = QuickCheck(risk, self.blotter.positions, self.best)
        self.now = MonoNs(10**12)
        self.count = 0

    def best(self, _: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        top = self.top
        return top and (top.best_bid, top.best_ask, top.price_decimals, top.is_live, top.age_ns)

    def apply(self, record: Record) -> None:
        change = self.blotter.apply(record)
        if change is not None:
            self.quick.changed(change.order, change.fill is not None)

    def open(self, strategy: str, intent: OrderIntent) -> None:
        self.count += 1
        key = f"key{self.count}"
        self.apply(Submitted(key, strategy, intent, WallNs(AT + NS_PER_S), "websocket", None, AT))

    def change(self, draw: st.DrawFn) -> None:
        """Something happens to one of the open orders."""
        if not self.blotter.open:
            return
        order = self.blotter.open[draw(st.sampled_from(sorted(self.blotter.open)))]
        match draw(st.sampled_from(["fill", "fill", "end", "doubt", "amend", "amended", "amended"])):
            case "fill":
                self.count += 1
                lots = draw(st.integers(1, max(order.remaining, 1)))
                fees = (Fee("BTC", Decimal("0.0000007")),) if draw(st.booleans()) else (Fee("USD", Decimal("0.1")),)
                self.apply(
                    Filled(order.key, f"T{self.count}", self.count, QtyLots(lots), order.qty_decimals, Decimal(100),
                           Decimal(100), fees, "maker", AT, AT)
                )  # fmt: skip
            case "end":
                self.apply(Ended(order.key, "canceled", "", None, order.qty_decimals, AT))
            case "doubt":
                if order.state.name == "SENT":
                    self.apply(InDoubt(order.key, "no answer", AT))
            case "amend":
                self.apply(
                    AmendSent(order.key, Amendment(price_decimals=1, qty_decimals=4, limit_price=PriceTicks(950)), AT)
                )
            case "amended":
                if order.amendment is not None:
                    self.amended(order)

    def amended(self, order: TrackedOrder) -> None:
        """Kraken has done what was asked."""
        asked = order.amendment
        assert asked is not None
        self.apply(Amended(order.key, asked.qty, asked.limit_price, asked.price_decimals, asked.qty_decimals, "", AT))


@st.composite
def amendments(draw: st.DrawFn, usual: Pair) -> Amendment:
    """Of price, quantity or both mostly, near the market and on the step mostly."""
    pair = draw(st.sampled_from([usual] * 8 + [COARSE, FINE]))
    qty = QtyLots(draw(st.integers(1, 60)) * 10 ** (pair.qty_decimals - 4))
    ticks = PriceTicks(draw(st.integers(194, 206)) * 5 * 10 ** (pair.price_decimals - 1))
    rare = draw(st.integers(0, 29))
    return Amendment(
        price_decimals=pair.price_decimals,
        qty_decimals=pair.qty_decimals,
        qty=draw(st.sampled_from([qty, None])),
        limit_price=draw(st.sampled_from([ticks, None])),
        limit_offset=Decimal(1) if rare == 0 else None,
        trigger_price=Decimal(99) if rare == 1 else None,
        display_qty=qty if rare == 2 else None,
        post_only=draw(st.booleans()),
    )


@times(4)
@given(st.data(), limits)
def test_a_quick_yes_to_an_amend_is_a_yes(data: st.DataObject, risk_limits: RiskLimits) -> None:
    """Whatever else is open, filled, limited or being amended."""
    world = World(Risk(risk_limits))
    world.risk.open_orders_cap = data.draw(st.sampled_from([None, 60]))
    usual = data.draw(st.sampled_from([COARSE, FINE]))
    for _ in range(data.draw(st.integers(1, 6))):
        resting = intents(usual).filter(lambda intent: intent.order_type == "limit")
        world.open(data.draw(st.sampled_from(STRATEGIES)), data.draw(resting))
    for _ in range(data.draw(st.integers(1, 10))):
        world.now = MonoNs(world.now + data.draw(st.sampled_from([0, NS_PER_S, NS_PER_S])))
        if data.draw(st.integers(0, 1)):
            world.change(data.draw)
        if not world.blotter.open:
            return
        world.risk.mode = data.draw(st.sampled_from([TradingMode.ACTIVE] * 8 + [TradingMode.REDUCING]))
        pair = data.draw(st.sampled_from([usual] * 20 + [COARSE, FINE, CLOSED]))
        decimals, step = pair.price_decimals, 10 ** (pair.price_decimals - 1)
        bid, ask = (data.draw(st.sampled_from([PriceTicks(price * step)] * 8 + [None])) for price in (995, 1005))
        book = TopOfBook(bid, ask, decimals, True, 0)
        world.top = data.draw(st.sampled_from([book] * 12 + [TopOfBook(bid, ask, decimals, False, 0), None]))
        order = world.blotter.open[data.draw(st.sampled_from(sorted(world.blotter.open)))]
        amendment = data.draw(amendments(usual))
        is_quick = world.quick.allows_amend(order, amendment, pair, world.now)
        why = world.risk.amend_refusal(
            order, amendment, pair=pair, top=world.top, open_orders=world.blotter.open_on(SYMBOL),
            position=world.blotter.positions.total_qty(SYMBOL), now=world.now,
        )  # fmt: skip
        event(f"quick {is_quick}, general {why is None}")

        assert not is_quick or why is None
        if why is None and order.amendment is None:
            world.risk.amend_approved(world.now)
            world.apply(AmendSent(order.key, amendment, AT))
            if data.draw(st.integers(0, 3)):
                world.amended(order)
            world.quick.check(world.blotter.open.values())


@times(4)
@given(st.data(), limits)
def test_a_quick_yes_is_a_yes(data: st.DataObject, risk_limits: RiskLimits) -> None:
    """And its numbers are those of the orders that are open, after every record."""
    world = World(Risk(risk_limits))
    world.risk.open_orders_cap = data.draw(st.sampled_from([None, None, 3, 60]))
    usual = data.draw(st.sampled_from([COARSE, FINE]))
    for _ in range(data.draw(st.integers(1, 16))):
        world.now = MonoNs(world.now + data.draw(st.sampled_from([0, 11 * NS_PER_MS, NS_PER_S, NS_PER_S])))
        if data.draw(st.integers(0, 2)) == 0:
            world.change(data.draw)
        world.quick.check(world.blotter.open.values())
        world.risk.mode = data.draw(st.sampled_from([TradingMode.ACTIVE] * 8 + [TradingMode.REDUCING]))
        pair = data.draw(st.sampled_from([usual] * 20 + [COARSE, FINE, CLOSED]))
        decimals, step = pair.price_decimals, 10 ** (pair.price_decimals - 1)
        bid, ask = (data.draw(st.sampled_from([PriceTicks(price * step)] * 8 + [None])) for price in (995, 1005))
        book = TopOfBook(bid, ask, decimals, True, 0)
        world.top = data.draw(st.sampled_from([book] * 12 + [TopOfBook(bid, ask, decimals, False, 0), None]))
        intent, strategy = data.draw(intents(usual)), data.draw(st.sampled_from(STRATEGIES))
        is_quick = world.quick.allows(strategy, intent, pair, world.now)
        why = world.risk.refusal(
            intent, strategy=strategy, pair=pair, top=world.top, open_orders=world.blotter.open_on(SYMBOL),
            position=world.blotter.positions.total_qty(SYMBOL), now=world.now,
        )  # fmt: skip
        event(f"quick {is_quick}, general {why is None}")

        assert not is_quick or why is None
        if why is None:
            world.risk.approved(strategy, intent, world.now)
            world.open(strategy, intent)


def test_most_plain_orders_are_answered_quickly() -> None:
    """On a pair whose orders are plain, within all limits: the general code is not asked."""
    world = World(Risk(RiskLimits(orders_per_s_max=Decimal(10**6))))
    world.top = TopOfBook(PriceTicks(995), PriceTicks(1005), 1, True, 0)
    world.now = MonoNs(world.now + NS_PER_S)
    assert not world.quick.allows("quoter", plain("buy", 990), COARSE, world.now)  # the pair was not known before
    for number in range(30):
        world.now = MonoNs(world.now + NS_PER_S)
        intent = plain("buy", 900 + 5 * (number % 10)) if number % 2 else plain("sell", 1100)

        assert world.quick.allows("quoter", intent, COARSE, world.now)
        world.open("quoter", intent)


def test_beside_a_stop_that_may_have_fired_the_general_code_decides() -> None:
    """About orders beyond its limit; the book may show it there, and no integer does."""
    world = World(Risk(RiskLimits(orders_per_s_max=Decimal(10**6))))
    world.top = TopOfBook(PriceTicks(995), PriceTicks(1005), 1, True, 0)
    world.open("quoter", replace(plain("sell", 1005), order_type="stop-loss-limit", trigger=Trigger(Decimal(98))))
    world.quick.allows("quoter", plain("buy", 1000), COARSE, world.now)  # the pair was not known before
    world.now = MonoNs(world.now + NS_PER_S)

    assert world.quick.allows("quoter", plain("buy", 1000), COARSE, world.now)
    assert not world.quick.allows("quoter", plain("buy", 1005), COARSE, world.now)


def plain(side: str, ticks: int) -> OrderIntent:
    """A limit order in the pair's scale."""
    return OrderIntent(
        symbol=SYMBOL, side="buy" if side == "buy" else "sell", order_type="limit", price_decimals=1, qty_decimals=4,
        qty=QtyLots(100), limit_price=PriceTicks(ticks),
    )  # fmt: skip
