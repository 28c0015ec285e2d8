"""A fast approval of plain limit orders and of their amends, by comparing integers;
`Risk.refusal` and `Risk.amend_refusal` decide about all others.

    allows(order) is True  ⇒  Risk.refusal(order) is None        never the other way round

Most orders are limit orders in their pair's scale, on pairs whose other open orders are so
too. For these, everything that a limit is compared with is kept as an integer: the open
lots of each side, the nearest own prices in ticks, the position rounded against us, and
each limit scaled once. Any other open order, on either side, marks its pair as odd, and
then the general code decides about all its orders.

Pure, as `risk` is; `changed` must be called for every order that a record has changed.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, Protocol

from engine.market import Pair
from engine.native import ORDERS
from engine.orders.intent import Amendment, OrderIntent
from engine.orders.life import OrderState
from engine.orders.positions import Positions
from engine.orders.risk import IMMEDIATE, NO_LIMITS, Risk, TradingMode
from engine.orders.tracked_order import TrackedOrder
from engine.units import MonoNs, PriceTicks

Part = tuple[bool, int, int]
"""Of an open order: whether it is a buy, the lots left of it, and its limit in ticks (0:
none), at which it may be in the book.
"""

NO_BOUND: Final = 1 << 200
PLAIN_TIMES: Final = ("gtc", "ioc")  # `Risk` judges them alike
REACH_UNIT: Final = 100_000  # the collar counts thousandths of a per cent


class Best(Protocol):
    """The best prices of a pair in ticks (None: that side is empty), their decimals,
    whether the book is live, and how many nanoseconds ago its feed was heard; None before
    the first book.
    """

    def __call__(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None: ...


class _Open:
    """The open orders and the position of one pair, in one scale."""

    __slots__ = (
        "buy_lots", "buys", "numbers", "odd", "parts", "position", "price_decimals", "qty_decimals", "sell_lots",
        "sells",
    )  # fmt: skip

    def __init__(self, price_decimals: int, qty_decimals: int) -> None:
        self.price_decimals = price_decimals
        self.qty_decimals = qty_decimals
        self.parts: dict[str, Part] = {}
        # Orders that cannot be counted here.
        self.odd: set[str] = set()
        self.buy_lots = 0
        self.sell_lots = 0
        # Prices of own orders in the book, in ticks, lowest first: few enough for plain
        # lists.
        self.buys: list[int] = []
        self.sells: list[int] = []
        # The position of all strategies, rounded down and up to lots.
        self.position = (0, 0)
        # The same for the compiled path, after every change; None where there is none.
        self.numbers: Any = None if ORDERS is None else ORDERS.OwnNumbers()

    def tell(self) -> None:
        """Update `numbers`, which the compiled check reads."""
        if self.numbers is not None:
            self.numbers.store(
                len(self.parts), self.buy_lots, self.sell_lots, *self.position, self.sells[0] if self.sells else None,
                self.buys[-1] if self.buys else None, self.price_decimals, self.qty_decimals, bool(self.odd),
            )  # fmt: skip

    def is_in_scale_of(self, order: TrackedOrder) -> bool:
        """True if the order's amounts are in the same units."""
        return order.price_decimals == self.price_decimals and order.qty_decimals == self.qty_decimals

    def set(self, key: str, part: Part | None) -> None:
        """Set what is counted of an order; None if it has ended or cannot be counted."""
        before = self.parts.pop(key, None)
        if part is not None:
            self.parts[key] = part
        if before is not None and part is not None and before[0] is part[0] and before[2] == part[2]:
            if before[1] != part[1]:  # hot: a fill
                self._add(part[0], part[1] - before[1])
            return
        if before is not None:
            self._add(before[0], -before[1])
            if before[2]:
                prices = self.buys if before[0] else self.sells
                del prices[bisect_left(prices, before[2])]
        if part is not None:
            self._add(part[0], part[1])
            if part[2]:
                insort(self.buys if part[0] else self.sells, part[2])

    def _add(self, is_buy: bool, lots: int) -> None:
        if is_buy:
            self.buy_lots += lots
        else:
            self.sell_lots += lots

    def hold(self, qty: Decimal) -> None:
        """Set the position."""
        exact = qty.scaleb(self.qty_decimals)
        towards_zero = int(exact)
        self.position = (
            towards_zero - 1 if exact < towards_zero else towards_zero,
            towards_zero + 1 if exact > towards_zero else towards_zero,
        )

    def part_of(self, order: TrackedOrder) -> Part | None:
        """What is counted of an open order; None if it has another scale, or cannot be
        counted so simply.
        """
        intent = order.intent
        if (
            not self.is_in_scale_of(order)
            or order.amendment is not None
            or order.state is OrderState.UNKNOWN
            or intent.cash_qty is not None
            or intent.order_type in IMMEDIATE
        ):
            return None
        left = order.qty - order.filled - order.filled_before
        # Also for an order that waits for its trigger: it may have fired, which is not
        # reported.
        return intent.side == "buy", max(left, 0), order.limit_price or 0


class _Bounds:
    """The limits of one pair, in its ticks and lots."""

    __slots__ = (
        "cap", "cost_min", "is_open", "made_at", "notional_max", "orders_max", "pair", "position_max",
        "position_notional_max", "qty_max", "reach_down", "reach_up",
    )  # fmt: skip

    def __init__(self, pair: Pair, risk: Risk, now: MonoNs) -> None:
        limits = risk.limits
        own = limits.pairs.get(pair.symbol, NO_LIMITS)
        lots, both = pair.qty_decimals, pair.price_decimals + pair.qty_decimals
        # Computed again if either changes.
        self.pair, self.cap, self.made_at = pair, risk.open_orders_cap, now
        self.is_open = pair.status == "online" and (limits.symbols is None or pair.symbol in limits.symbols)
        self.cost_min = _scaled(pair.cost_min, both, ROUND_CEILING)
        self.notional_max = _bound(limits.order_notional_max, both)
        self.position_notional_max = _bound(limits.position_notional_max, both)
        self.qty_max = _bound(own.order_qty_max, lots)
        self.position_max = _bound(own.position_qty_max, lots)
        counts = (limits.open_orders_max, own.open_orders_max, risk.open_orders_cap)
        self.orders_max = min(count for count in counts if count is not None)
        reach = _scaled(limits.price_collar_percent, 3, ROUND_FLOOR)
        self.reach_up, self.reach_down = REACH_UNIT + reach, REACH_UNIT - reach


def _scaled(amount: Decimal, decimals: int, rounding: str) -> int:
    return int(amount.scaleb(decimals).to_integral_value(rounding))


def _bound(amount: Decimal | None, decimals: int) -> int:
    return NO_BOUND if amount is None else _scaled(amount, decimals, ROUND_FLOOR)


class QuickCheck:
    """The integers of all pairs."""

    def __init__(self, risk: Risk, positions: Positions, best: Best) -> None:
        self._risk = risk
        self._positions = positions
        self._best = best
        self.own: dict[str, _Open] = {}
        self.bounds: dict[str, _Bounds] = {}

    def begin(self, orders: Iterable[TrackedOrder]) -> None:
        """Count these open orders."""
        for order in orders:
            self.changed(order)

    def changed(self, order: TrackedOrder, is_fill: bool = False) -> None:
        """Update the numbers after a record, perhaps of a fill, was applied to an order."""
        symbol = order.intent.symbol
        own = self.own.get(symbol)
        if own is None or not (own.parts or own.odd or own.is_in_scale_of(order)):
            own = self.own[symbol] = _Open(order.price_decimals, order.qty_decimals)
            is_fill = True
        part = own.part_of(order) if order.is_open else None
        own.set(order.key, part)
        if part is None and order.is_open:
            own.odd.add(order.key)
        elif own.odd:
            own.odd.discard(order.key)
        if is_fill:
            own.hold(self._positions.total_qty(symbol))
        own.tell()

    def moved(self, symbol: str) -> None:
        """Update the numbers after the position in a pair changed without a fill."""
        if (own := self.own.get(symbol)) is not None:
            own.hold(self._positions.total_qty(symbol))
            own.tell()

    def allows(self, strategy: str, intent: OrderIntent, pair: Pair, now: MonoNs) -> bool:
        """True if this new order may be sent at once, alone. False: `Risk.refusal` must
        decide.
        """
        return (
            intent.limit_price is not None
            and intent.order_type == "limit"
            and intent.time_in_force in PLAIN_TIMES
            and intent.trigger is None
            and intent.cash_qty is None
            and intent.display_qty is None
            and intent.conditional is None
            and intent.limit_offset is None
            and self.allows_limit(
                strategy, intent.side, intent.limit_price, intent.price_decimals, intent.qty, intent.qty_decimals, pair,
                now,
            )
        )  # fmt: skip

    def allows_limit(
        self, strategy: str, side: str, ticks: int, price_decimals: int, lots: int, qty_decimals: int, pair: Pair,
        now: MonoNs,
    ) -> bool:  # fmt: skip
        """True if a limit order with no options but those of `PLAIN_TIMES` and `post_only`
        may be sent at once, alone. False: `Risk.refusal` must decide.
        """
        # Hot: an order passes here once.
        risk, symbol = self._risk, pair.symbol
        bounds, own = self._bounds_of(pair, now), self.own.get(symbol)
        if own is None:
            own = self.own[symbol] = self._begin_pair(pair)
        return (
            len(own.parts) < bounds.orders_max
            and self._is_within(bounds, own, side, ticks, price_decimals, lots, qty_decimals, lots)
            and now - bounds.made_at >= risk.limits.duplicate_window_ns  # earlier orders are in another scale
            and risk.is_plainly_paced((strategy, symbol, side, ticks, lots), now)
        )

    def allows_amend(self, order: TrackedOrder, amendment: Amendment, pair: Pair, now: MonoNs) -> bool:
        """True if this open order may be amended like this at once. False:
        `Risk.amend_refusal` must decide.
        """
        bounds, own, intent = self._bounds_of(pair, now), self.own.get(pair.symbol), order.intent
        part = None if own is None else own.parts.get(order.key)
        ticks = order.limit_price if amendment.limit_price is None else amendment.limit_price
        lots = order.qty if amendment.qty is None else amendment.qty
        left = lots - order.filled - order.filled_before
        return (
            own is not None
            and part is not None
            and ticks is not None
            and left > 0
            and intent.order_type == "limit"
            and intent.trigger is None
            and amendment.limit_offset is None
            and amendment.trigger_price is None
            and amendment.display_qty is None
            and self._is_within(
                bounds, own, intent.side, ticks, amendment.price_decimals, lots, amendment.qty_decimals, left - part[1]
            )
            and self._risk.is_paced(now)
        )

    def _is_within(
        self, bounds: _Bounds, own: _Open, side: str, ticks: int, price_decimals: int, lots: int, qty_decimals: int,
        more_lots: int,
    ) -> bool:  # fmt: skip
        """True if a limit order like this satisfies its pair's rules and all limits, when
        the lots open on its side grow by `more_lots`.
        """
        risk, pair = self._risk, bounds.pair
        notional = ticks * lots
        if (
            not bounds.is_open
            or risk.mode is not TradingMode.ACTIVE
            or risk.tight is not None
            or own.odd
            or own.qty_decimals != qty_decimals
            or own.price_decimals != price_decimals
            or pair.qty_decimals != qty_decimals
            or pair.price_decimals != price_decimals
            or lots <= 0
            or ticks <= 0
            or lots < pair.qty_min_lots
            or lots % pair.qty_increment_lots
            or ticks % pair.price_increment_ticks
            or lots > bounds.qty_max
            or notional < bounds.cost_min
            or notional > bounds.notional_max
        ):
            return False
        best = self._best(pair.symbol)
        if best is None or best[2] != price_decimals or not best[3] or best[4] > risk.limits.book_age_ns_max:
            return False
        if side == "buy":
            other, nearest = best[1], own.sells[0] if own.sells else NO_BOUND
            worst = own.buy_lots + more_lots + own.position[1]
            is_beyond = other is None or ticks * REACH_UNIT > other * bounds.reach_up or ticks >= nearest
        else:
            other, nearest = best[0], own.buys[-1] if own.buys else 0
            worst = own.sell_lots + more_lots - own.position[0]
            is_beyond = other is None or ticks * REACH_UNIT < other * bounds.reach_down or ticks <= nearest
        return not (is_beyond or worst > bounds.position_max or worst * ticks > bounds.position_notional_max)

    def check(self, open_orders: Iterable[TrackedOrder]) -> None:
        """Assert that the numbers are those of `open_orders`, which must be all open
        orders.
        """
        keys: dict[str, set[str]] = {}
        for order in open_orders:
            own = self.own[order.symbol]
            keys.setdefault(order.symbol, set()).add(order.key)
            assert own.parts.get(order.key) == own.part_of(order)
            assert (order.key in own.odd) == (own.part_of(order) is None)
        for symbol, own in self.own.items():
            assert own.parts.keys() | own.odd == keys.get(symbol, set())
            parts = own.parts.values()
            assert own.buy_lots == sum(left for is_buy, left, _ in parts if is_buy)
            assert own.sell_lots == sum(left for is_buy, left, _ in parts if not is_buy)
            assert list(own.buys) == sorted(ticks for is_buy, _, ticks in parts if is_buy and ticks)
            assert list(own.sells) == sorted(ticks for is_buy, _, ticks in parts if not is_buy and ticks)
            held = self._positions.total_qty(symbol).scaleb(own.qty_decimals)
            assert own.position[0] <= held <= own.position[1]
            assert own.position[1] - own.position[0] <= 1

    def _bounds_of(self, pair: Pair, now: MonoNs) -> _Bounds:
        bounds = self.bounds.get(pair.symbol)
        if bounds is None or bounds.pair is not pair or bounds.cap != self._risk.open_orders_cap:
            bounds = self.bounds[pair.symbol] = _Bounds(pair, self._risk, now)
        return bounds

    def _begin_pair(self, pair: Pair) -> _Open:
        own = _Open(pair.price_decimals, pair.qty_decimals)
        own.hold(self._positions.total_qty(pair.symbol))
        own.tell()
        return own
