"""Limits that no strategy can exceed, checked by the router after all strategy code.

Every refusal is a sentence with the limit and the number that exceeded it. Cancels are
never refused.

    mode       ACTIVE · REDUCING: only what makes a position smaller · HALTED: nothing but cancels; a person resumes
    the pair   known, allowed, open; increments and minimums, so that nothing is sent that Kraken must refuse
    the book   live and fresh; a limit not too far beyond the other side; no own order in the way
    triggers   an order counts at its trigger, or as the market or limit order that it is once fired, if the market has
               passed that already
    sizes      order quantity and notional, position with everything open filled, open orders, orders a second

Orders, books and the pair may each have another scale, because Kraken changes the precision
of existing pairs. A new order must be in the pair's scale; everything else is compared as
exact Decimals, or as counts of one unit.

Pure: everything is passed in. The only state here (the budget of orders a second, the
memory for duplicates) is changed by `approved`.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from engine.market import Pair
from engine.native.watched import Watched
from engine.orders import amounts
from engine.orders.intent import Amendment, Conditional, OrderIntent, Trigger
from engine.orders.life import OrderState
from engine.orders.money import add, divide, multiply, subtract
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.tracked_order import TrackedOrder
from engine.records import price_reached
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots, aligned, units_decimal

L = TypeVar("L")

ZERO: Final = Decimal(0)
HUNDRED: Final = Decimal(100)
DUPLICATES_REMEMBERED_MAX: Final = 4096
ORDER_TOKENS: Final = 1000 * NS_PER_S  # what an order takes from the budget

RESTING: Final = ("limit", "iceberg")
"""Order types that on arrival match the book at their limit or better, or rest in it."""
IMMEDIATE: Final = ("market", "settle-position")
BECOMES: Final = {
    "stop-loss": "market",
    "take-profit": "market",
    "trailing-stop": "market",
    "stop-loss-limit": "limit",
    "take-profit-limit": "limit",
    "trailing-stop-limit": "limit",
}
"""What orders are once their trigger has fired."""


class TradingMode(Enum):
    """Which requests are accepted."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    """Only orders that make a position smaller, and cancels."""
    HALTED = "HALTED"
    """Only cancels."""


class PairLimits(Struct, frozen=True, kw_only=True):
    """Limits of one pair, in its base currency; None: only the general ones."""

    order_qty_max: Decimal | None = None
    position_qty_max: Decimal | None = None
    open_orders_max: int | None = None


class RiskLimits(Struct, frozen=True, kw_only=True):
    """All limits; None is no limit. Amounts are in quote currency."""

    order_notional_max: Decimal | None = None
    position_notional_max: Decimal | None = None
    daily_loss_max: Decimal | None = None
    price_collar_percent: Decimal = Decimal(5)
    open_orders_max: int = 40
    """Per pair, counting all strategies and all others on the account."""
    orders_per_s_max: Decimal = Decimal(20)
    book_age_ns_max: int = 5 * NS_PER_S
    duplicate_window_ns: int = 10 * NS_PER_MS
    """0: duplicates are not refused."""
    self_trade_guard: bool = True
    trade_while_unknown: bool = False
    symbols: frozenset[str] | None = None
    """Pairs that may be traded; None: every followed pair."""
    pairs: Mapping[str, PairLimits] = {}


class TightLimits(Struct, frozen=True, kw_only=True):
    """What is allowed beside `RiskLimits` while the private WebSocket is out: less is
    known then, and later.
    """

    open_orders_max: int = 10
    """Per pair, like `RiskLimits.open_orders_max`."""
    orders_per_s_max: Decimal = Decimal(2)
    order_percent: Decimal = Decimal(50)
    """The largest order, as a share of `RiskLimits.order_notional_max`."""


class TopOfBook(Struct, frozen=True):
    """The best prices of a pair with a verified book."""

    best_bid: PriceTicks | None
    """None: there is no bid."""
    best_ask: PriceTicks | None
    price_decimals: int
    """The book's own; its pair's may have changed since."""
    is_live: bool
    """False: the book is in doubt, or there is none."""
    age_ns: int
    """Time since its feed last heard Kraken."""
    record: bytes = b""
    """The BOOK_TOP record, with the levels behind the best; empty if only these are known."""

    def other_side(self, side: str) -> Decimal | None:
        """The best price on the side that an order of `side` would trade with; None if that
        is empty.
        """
        ticks = self.best_ask if side == "buy" else self.best_bid
        return None if ticks is None else units_decimal(ticks, self.price_decimals)

    def market(self, side: str) -> Decimal | None:
        """The same, or the best price of the order's own side while the other one is empty."""
        best = self.other_side(side)
        return self.other_side("sell" if side == "buy" else "buy") if best is None else best


NO_LIMITS: Final = PairLimits()

PlainLikeness = tuple[str, str, str, int | None, int]
"""What makes two limit orders in one scale equal: strategy, pair, side, ticks and lots."""


class Risk(Watched):
    """The limits, the trading mode, and the state that two of the limits need."""

    def __init__(self, limits: RiskLimits, mode: TradingMode = TradingMode.ACTIVE, mode_reason: str = "") -> None:
        self.limits = limits
        self.mode = mode
        self.mode_reason = mode_reason
        # Kraken's own limit of open orders of a pair, once the account's tier is known.
        self.open_orders_cap: int | None = None
        self.budget = _Budget(limits.orders_per_s_max, "risk.orders_per_s_max")
        # The tighter limits that hold at present, if any, and their budget.
        self.tight: TightLimits | None = None
        self._tight_budget: _Budget | None = None
        # When an equal order was last approved, oldest first.
        self._recent: OrderedDict[tuple[object, ...], MonoNs] = OrderedDict()
        # The same for plain limit orders, by their own fields, for the fast approval.
        self.recent_plain: OrderedDict[PlainLikeness, MonoNs] = OrderedDict()

    # --- the mode

    def halt(self, reason: str) -> None:
        """Refuse everything but cancels from now on."""
        self.mode, self.mode_reason = TradingMode.HALTED, reason

    def reduce(self, reason: str) -> None:
        """Accept only orders that make positions smaller from now on; a halt stays a halt."""
        if self.mode is not TradingMode.HALTED:
            self.mode, self.mode_reason = TradingMode.REDUCING, reason

    def resume(self) -> None:
        """Accept all requests again, as a person asked."""
        self.mode, self.mode_reason = TradingMode.ACTIVE, ""

    def tighten(self, tight: TightLimits | None) -> None:
        """Let these limits hold beside the usual ones; None ends it."""
        if tight is self.tight:
            return
        self.tight = tight
        self._tight_budget = (
            None if tight is None else _Budget(tight.orders_per_s_max, "trading.degraded.orders_per_s_max")
        )

    # --- the checks

    def refusal(
        self,
        intent: OrderIntent,
        *,
        strategy: str,
        pair: Pair,
        top: TopOfBook | None,
        open_orders: Collection[TrackedOrder],
        position: Decimal,
        now: MonoNs,
        batch: Sequence[OrderIntent] = (),
    ) -> Refusal | None:
        """Why a new order must not be sent; None if it may.

        `open_orders` are all of the account on this pair (`Blotter.open_on`), `position` is
        what all strategies hold of it (`Positions.total_qty`), `batch` holds the orders of
        the same batch that were checked before it. Changes nothing: call `approved` when
        the order is sent.
        """
        if why := amounts.order_refusal(intent, pair):  # first, because the rest relies on these amounts
            return why
        side = intent.side
        limit = None if intent.limit_price is None else units_decimal(intent.limit_price, intent.price_decimals)
        price = _price(intent.order_type, side, limit, intent.trigger, top)
        acts_as = _type_in(intent, top)
        qty = _qty_of(intent, pair, top)
        others = _others_of(side, pair, top, open_orders, batch)
        worst = others.worst(qty, position)
        return (
            self._mode_refusal(side, qty, pair, worst, position)
            or self._reopening_refusal(intent)
            or self._pair_refusal(intent, pair)
            or self._amount_refusal(intent, pair, price if limit is None else limit)
            or self._freshness_refusal(pair, top)
            or self._collar_refusal(side, acts_as, limit, pair, top)
            or self._closing_collar_refusal(intent, limit, top)
            or self._unknown_refusal(strategy, pair, open_orders)
            or self._size_refusal(qty, intent.cash_qty, pair, price)
            or self._count_refusal(pair, others.count)
            or self._position_refusal(side, pair, price, worst)
            or self._self_trade_refusal(side, qty, acts_as, limit, pair, top, others)
            or self._duplicate_refusal(strategy, intent, now, batch)
            or self._untold_refusal(intent)
            or self._pace_refusal(now, len(batch))
        )

    def amend_refusal(
        self,
        order: TrackedOrder,
        amendment: Amendment,
        *,
        pair: Pair,
        top: TopOfBook | None,
        open_orders: Collection[TrackedOrder],
        position: Decimal,
        now: MonoNs,
    ) -> Refusal | None:
        """Why an open order must not be amended like this; None if it may. Parameters as in
        `refusal`.
        """
        trigger_type = order.intent.trigger.price_type if order.intent.trigger is not None else ""
        offset_type = order.intent.limit_price_type or ""
        if why := amounts.amend_refusal(amendment, order.intent.order_type, trigger_type, offset_type, pair):
            return why
        if not order.can_refine(amendment.price_decimals, amendment.qty_decimals):  # no record could hold it
            return Refusal(
                ErrorKind.PRECISION,
                f"its amounts have too many digits at {pair.symbol}'s present precision: cancel it and send another",
            )
        side, intent = order.intent.side, order.intent
        qty, limit = order.order_qty, order.limit
        if amendment.qty is not None:
            qty = units_decimal(amendment.qty, amendment.qty_decimals)
        if amendment.limit_price is not None:
            limit = units_decimal(amendment.limit_price, amendment.price_decimals)
        trigger = _amended(intent, amendment).trigger
        price = _price(intent.order_type, side, limit, trigger, top)
        acts_as = _type_of(_market(side, top), intent.order_type, side, trigger)
        is_smaller = limit == order.limit and qty <= order.order_qty
        left = max(ZERO, subtract(qty, order.filled_in_all))
        others = _others_of(side, pair, top, [other for other in open_orders if other.key != order.key], ())
        worst = others.worst(left, position)
        if not (is_smaller and self.mode is TradingMode.REDUCING):
            why = self._mode_refusal(side, left, pair, worst, position)
            if why is not None:
                return why
        if is_smaller and trigger == intent.trigger:
            return self._pace_refusal(now, 0)
        return (
            self._freshness_refusal(pair, top)
            or self._collar_refusal(side, acts_as, limit, pair, top)
            or self._size_refusal(qty, None, pair, price)
            or self._position_refusal(side, pair, price, worst)
            or self._self_trade_refusal(side, left, acts_as, limit, pair, top, others)
            or self._pace_refusal(now, 0)
        )

    def approved(self, strategy: str, intent: OrderIntent, now: MonoNs) -> None:
        """Record that a new order is sent: it uses the budget, and an equal one would be a
        duplicate.
        """
        self._take_pace(now)
        if self.limits.duplicate_window_ns:
            _remember(self._recent, _likeness(strategy, intent), now)
            if intent.order_type == "limit":
                _remember(self.recent_plain, _plain_likeness(strategy, intent), now)

    def is_paced(self, now: MonoNs) -> bool:
        """True if the budget of orders and amends has room, and no tighter budget applies."""
        return self.budget.level_at(now) >= ORDER_TOKENS

    def is_plainly_paced(self, order: PlainLikeness, now: MonoNs) -> bool:
        """True if neither the budget nor an equal recent order forbids a limit order in its
        pair's present scale.
        """
        if not self.is_paced(now):
            return False
        window_ns = self.limits.duplicate_window_ns
        return not window_ns or (at := self.recent_plain.get(order)) is None or now - at >= window_ns

    def amend_approved(self, now: MonoNs) -> None:
        """Record that an amend is sent."""
        self._take_pace(now)

    def _take_pace(self, now: MonoNs) -> None:
        self.budget.take(now)
        if self._tight_budget is not None:
            self._tight_budget.take(now)

    # --- one by one

    def _mode_refusal(self, side: str, qty: Decimal, pair: Pair, worst: Decimal, position: Decimal) -> Refusal | None:
        if self.mode is TradingMode.ACTIVE:
            return None
        why = f": {self.mode_reason}" if self.mode_reason else ""
        if self.mode is TradingMode.HALTED:
            return Refusal(
                ErrorKind.NOT_TRADING, f"trading is halted{why}; only cancels are taken until `engine resume`"
            )
        if worst > 0 or qty == 0:
            held = f"{position:f} {pair.symbol.partition('/')[0]} held"
            return Refusal(
                ErrorKind.NOT_TRADING,
                f"trading is reducing{why}; this {side} does not only make the position smaller ({held})",
            )
        return None

    def _reopening_refusal(self, intent: OrderIntent) -> Refusal | None:
        """Refuse a conditional close that would make the position larger again: it trades
        on the other side.
        """
        if self.mode is not TradingMode.REDUCING or intent.conditional is None:
            return None
        why = f": {self.mode_reason}" if self.mode_reason else ""
        return Refusal(
            ErrorKind.NOT_TRADING,
            f"trading is reducing{why}; the conditional close of this {intent.side} would make the position larger "
            "again",
        )

    def _pair_refusal(self, intent: OrderIntent, pair: Pair) -> Refusal | None:
        if self.limits.symbols is not None and pair.symbol not in self.limits.symbols:
            allowed = ", ".join(sorted(self.limits.symbols)) or "no pair at all"
            return Refusal(ErrorKind.LIMIT, f"{pair.symbol} is not one of risk.symbols ({allowed})")
        match pair.status:
            case "online":
                return None
            case "post_only" if intent.post_only:
                return None
            case "limit_only" if intent.order_type in RESTING:
                return None
            case "reduce_only" if intent.reduce_only:
                return None
        return Refusal(
            ErrorKind.MARKET_MODE, f"Kraken has {pair.symbol} in {pair.status} mode, which this order does not fit"
        )

    def _amount_refusal(self, intent: OrderIntent, pair: Pair, price: Decimal | None) -> Refusal | None:
        """Refuse amounts below Kraken's minimums, which would cost a request and points of
        the rate counter.
        """
        if intent.cash_qty is not None:
            if intent.cash_qty < pair.cost_min:
                return Refusal(
                    ErrorKind.MINIMUM,
                    f"{intent.cash_qty:f} to spend is less than the pair's minimum of {pair.cost_min:f}",
                )
            return None
        if intent.order_type == "settle-position":
            return None
        if intent.qty < pair.qty_min_lots:
            minimum = pair.qty_text(QtyLots(pair.qty_min_lots))
            return Refusal(
                ErrorKind.MINIMUM,
                f"quantity {pair.qty_text(intent.qty)} is less than {pair.symbol}'s minimum of {minimum}",
            )
        if price is not None:
            cost = multiply(units_decimal(intent.qty, pair.qty_decimals), price)
            if cost < pair.cost_min:
                return Refusal(
                    ErrorKind.MINIMUM,
                    f"{cost:f} (price × quantity) is less than {pair.symbol}'s minimum of {pair.cost_min:f}",
                )
        return None

    def _freshness_refusal(self, pair: Pair, top: TopOfBook | None) -> Refusal | None:
        if top is None or not top.is_live:
            return Refusal(ErrorKind.MARKET_DATA, f"the book of {pair.symbol} is not verified at present")
        if top.age_ns > self.limits.book_age_ns_max:
            age, most = top.age_ns / NS_PER_S, self.limits.book_age_ns_max / NS_PER_S
            return Refusal(
                ErrorKind.MARKET_DATA,
                f"the book of {pair.symbol} was last heard {age:.1f} s ago, more than risk.book_age_s_max = {most:g}",
            )
        return None

    def _collar_refusal(
        self, side: str, order_type: str, limit: Decimal | None, pair: Pair, top: TopOfBook | None
    ) -> Refusal | None:
        """Refuse a limit far beyond the other side, which is a typing error. A stop's limit
        is not checked before its trigger.
        """
        if top is None or order_type not in (*RESTING, *IMMEDIATE):
            return None
        reference = top.other_side(side)
        if reference is None:
            return (
                Refusal(ErrorKind.PRICE, f"nobody {'asks' if side == 'buy' else 'bids'} on {pair.symbol}")
                if limit is None
                else None
            )
        if limit is None or not self._is_beyond(side, limit, reference):
            return None
        return Refusal(
            ErrorKind.PRICE,
            f"{side} limit {limit:f} is more than risk.price_collar_percent = "
            f"{self.limits.price_collar_percent:f} % beyond the best {'ask' if side == 'buy' else 'bid'} "
            f"{reference:f}",
        )

    def _closing_collar_refusal(
        self, intent: OrderIntent, limit: Decimal | None, top: TopOfBook | None
    ) -> Refusal | None:
        """Refuse a closing order with such a limit. It is placed when this order has
        traded, and so near the price at which this one trades.
        """
        if intent.conditional is None or (near := _closes_near(intent, limit, top)) is None:
            return None
        side = "sell" if intent.side == "buy" else "buy"
        closes = [_closing_limit(intent.conditional, side, near)]
        if intent.take_profit is not None:
            closes.append(units_decimal(intent.take_profit, intent.price_decimals))
        for price in closes:
            if price is not None and self._is_beyond(side, price, near):
                return Refusal(
                    ErrorKind.PRICE,
                    f"closing {side} limit {price:f} is more than risk.price_collar_percent = "
                    f"{self.limits.price_collar_percent:f} % beyond {near:f}, near which it would be placed",
                )
        return None

    def _is_beyond(self, side: str, limit: Decimal, reference: Decimal) -> bool:
        bound = self._collar(side, reference)
        return limit > bound if side == "buy" else limit < bound

    def _collar(self, side: str, reference: Decimal) -> Decimal:
        """The worst price that an order may reach."""
        reach = divide(multiply(reference, self.limits.price_collar_percent), HUNDRED)
        return add(reference, reach) if side == "buy" else subtract(reference, reach)

    def _unknown_refusal(self, strategy: str, pair: Pair, open_orders: Collection[TrackedOrder]) -> Refusal | None:
        if self.limits.trade_while_unknown:
            return None
        for order in open_orders:
            if order.state is OrderState.UNKNOWN and order.strategy == strategy:
                return Refusal(
                    ErrorKind.IN_DOUBT,
                    f"order {order.key} on {pair.symbol} is in doubt; nothing new there until Kraken has been asked",
                )
        return None

    def _size_refusal(
        self, qty: Decimal, cash_qty: Decimal | None, pair: Pair, price: Decimal | None
    ) -> Refusal | None:
        own = self.limits.pairs.get(pair.symbol, NO_LIMITS)
        if own.order_qty_max is not None and qty > own.order_qty_max:
            return Refusal(
                ErrorKind.LIMIT, f"quantity {qty:f} is more than {pair.symbol}'s order_qty_max = {own.order_qty_max:f}"
            )
        most = self.limits.order_notional_max
        if most is None:
            return None
        if cash_qty is None and price is None:
            return Refusal(
                ErrorKind.PRICE, f"the order has no price to measure against risk.order_notional_max = {most:f}"
            )
        notional = cash_qty if cash_qty is not None else multiply(qty, price or ZERO)
        if notional > most:
            return Refusal(
                ErrorKind.LIMIT,
                f"order of {notional:f} (price × quantity) is more than risk.order_notional_max = {most:f}",
            )
        if self.tight is not None and notional > divide(multiply(most, self.tight.order_percent), HUNDRED):
            return Refusal(
                ErrorKind.LIMIT,
                f"order of {notional:f} (price × quantity) is more than trading.degraded.order_percent = "
                f"{self.tight.order_percent:f} of risk.order_notional_max = {most:f}",
            )
        return None

    def _count_refusal(self, pair: Pair, open_count: int) -> Refusal | None:
        own = self.limits.pairs.get(pair.symbol, NO_LIMITS).open_orders_max
        bounds = [(self.limits.open_orders_max, "risk.open_orders_max")]
        if own is not None:
            bounds.append((own, f"{pair.symbol}'s open_orders_max"))
        if self.tight is not None:
            bounds.append((self.tight.open_orders_max, "trading.degraded.open_orders_max"))
        if self.open_orders_cap is not None:
            bounds.append((self.open_orders_cap, "Kraken's limit for this account"))
        most, name = min(bounds)
        if open_count >= most:
            return Refusal(
                ErrorKind.ORDER_LIMIT,
                f"{open_count} orders are open on {pair.symbol}, as many as {name} = {most} allows",
            )
        return None

    def _position_refusal(self, side: str, pair: Pair, price: Decimal | None, worst: Decimal) -> Refusal | None:
        """Refuse an order with which the position would exceed its limit if everything open
        on this side were filled; checked on the side towards which the order moves the
        position.
        """
        own = self.limits.pairs.get(pair.symbol, NO_LIMITS).position_qty_max
        most = self.limits.position_notional_max
        if worst <= 0 or (own is None and most is None):
            return None
        base = pair.symbol.partition("/")[0]
        signed = worst if side == "buy" else -worst
        what = f"with all open {side} orders filled, the position would be {signed:f} {base}"
        if own is not None and worst > own:
            return Refusal(ErrorKind.LIMIT, f"{what}, more than {pair.symbol}'s position_qty_max = {own:f}")
        if most is None:
            return None
        if price is None:
            return Refusal(
                ErrorKind.PRICE, f"the order has no price to measure against risk.position_notional_max = {most:f}"
            )
        if (notional := multiply(worst, price)) > most:
            return Refusal(
                ErrorKind.LIMIT, f"{what} worth {notional:f}, more than risk.position_notional_max = {most:f}"
            )
        return None

    def _self_trade_refusal(
        self,
        side: str,
        qty: Decimal,
        order_type: str,
        limit: Decimal | None,
        pair: Pair,
        top: TopOfBook | None,
        others: "_Others",
    ) -> Refusal | None:
        """Refuse an order that would trade with an own order. A market order reaches as
        deep as its quantity, and at most to the collar.
        """
        nearest = others.nearest
        if nearest is None or not self.limits.self_trade_guard or order_type not in (*RESTING, *IMMEDIATE):
            return None
        reach = limit
        if reach is None and top is not None and (reference := top.other_side(side)) is not None:
            reach = price_reached(top.record, side, add(others.taking, qty)) if top.record else None
            reach = self._collar(side, reference) if reach is None else reach
        if reach is None or (reach < nearest if side == "buy" else reach > nearest):
            return None
        return Refusal(
            ErrorKind.SELF_TRADE,
            f"it would meet the account's own {'sell' if side == 'buy' else 'buy'} {others.nearest_name} at "
            f"{nearest:f} on {pair.symbol} (risk.self_trade_guard)",
        )

    def _duplicate_refusal(
        self, strategy: str, intent: OrderIntent, now: MonoNs, batch: Sequence[OrderIntent]
    ) -> Refusal | None:
        window_ns = self.limits.duplicate_window_ns
        if not window_ns:
            return None
        likeness = _likeness(strategy, intent)
        if any(_likeness(strategy, other) == likeness for other in batch):
            return Refusal(ErrorKind.DUPLICATE, "the batch has the same order twice (risk.duplicate_window_ms)")
        at = self._recent.get(likeness)
        if at is None or now - at >= window_ns:
            return None
        ago_ms, window_ms = (now - at) / NS_PER_MS, window_ns / NS_PER_MS
        return Refusal(
            ErrorKind.DUPLICATE,
            f"the same order was sent {ago_ms:.1f} ms ago, within risk.duplicate_window_ms = {window_ms:g}",
        )

    def _untold_refusal(self, intent: OrderIntent) -> Refusal | None:
        """Refuse a conditional close while the private WebSocket is out: its closing order
        could be created and filled between two looks at REST, and nothing would say whose
        fill that was.
        """
        if self.tight is None or intent.conditional is None:
            return None
        return Refusal(
            ErrorKind.NOT_TRADING, "an order with a conditional close needs the private WebSocket, which is out"
        )

    def _pace_refusal(self, now: MonoNs, ahead: int) -> Refusal | None:
        why = self.budget.refusal(now, ahead)
        return why or (None if self._tight_budget is None else self._tight_budget.refusal(now, ahead))


class _Budget:
    """Orders a second, as a bucket that holds those of one second and refills steadily. In
    tokens times nanoseconds.
    """

    def __init__(self, per_s: Decimal, name: str) -> None:
        """`name` is what the limit is called in the configuration."""
        self._per_s, self._name = per_s, name
        # Thousandths of an order a second: a rate may be 0.5.
        self._rate = max(int(per_s * 1000), 1)
        self._full = max(self._rate, 1000) * NS_PER_S
        self.level = self._full
        self.as_of: MonoNs | None = None

    def refusal(self, now: MonoNs, ahead: int) -> Refusal | None:
        """Why another order is too many, after `ahead` others that are sent with it; None
        if it is not.
        """
        if self.level_at(now) >= (ahead + 1) * ORDER_TOKENS:
            return None
        return Refusal(ErrorKind.RATE_LIMIT, f"orders and amends come faster than {self._name} = {self._per_s:f}")

    def take(self, now: MonoNs) -> None:
        """Take one order's tokens."""
        self.level = max(self.level_at(now) - ORDER_TOKENS, 0)
        self.as_of = now

    def level_at(self, now: MonoNs) -> int:
        """The tokens that it holds."""
        if self.as_of is None:
            return self.level
        return min(self.level + max(now - self.as_of, 0) * self._rate, self._full)


class _Others(Struct, gc=False):
    """What an order of one side must take into account of all other open orders on its
    pair.
    """

    side: str
    pair: Pair
    count: int = 0
    lots: int = 0
    """Lots left of those on its own side, in the pair's scale. Hot, since most orders are
    in that scale.
    """
    more: Decimal = ZERO
    """The same for those in another scale."""
    taking: Decimal = ZERO
    """The part of both that takes from the book at once, as this order would."""
    nearest_ticks: PriceTicks | None = None
    """The limit of the other side that it would trade with first, in `nearest_decimals`."""
    nearest_decimals: int = 0
    nearest_name: str = ""

    @property
    def nearest(self) -> Decimal | None:
        """The same as a price."""
        return None if self.nearest_ticks is None else units_decimal(self.nearest_ticks, self.nearest_decimals)

    def worst(self, qty: Decimal, position: Decimal) -> Decimal:
        """The position towards its own side with everything there filled; negative if it
        stays on the other side.
        """
        open_qty = add(add(units_decimal(self.lots, self.pair.qty_decimals), self.more), qty)
        return add(position if self.side == "buy" else -position, open_qty)

    def stands(self, qty: Decimal, order_type: str) -> None:
        """Count more quantity open on its own side."""
        if qty > 0:
            self.more = add(self.more, qty)
            if order_type in IMMEDIATE:
                self.taking = add(self.taking, qty)

    def meets(self, limit: PriceTicks, price_decimals: int, name: str) -> None:
        """Note an order resting on the other side."""
        if self.nearest_ticks is not None:
            theirs, nearest = aligned(limit, price_decimals, self.nearest_ticks, self.nearest_decimals)
            if theirs >= nearest if self.side == "buy" else theirs <= nearest:
                return
        self.nearest_ticks, self.nearest_decimals, self.nearest_name = limit, price_decimals, name


def _type_of(market: Decimal | None, order_type: str, side: str, trigger: Trigger | None) -> str:
    """What an order is at once: its own type, or what it becomes if the market has passed
    its trigger, for then Kraken fires it as soon as it has it. Without a market it has not.

    Stop-loss buys and take-profit sells fire at or above their trigger, stop-loss sells and
    take-profit buys at or below it. Kraken compares with the last trade or the index, which
    are not known here: `market`, the best price that the order would take, stands in.
    """
    if trigger is None or market is None or not _is_passed(market, order_type, side, trigger):
        return order_type
    return BECOMES.get(order_type, order_type)


def _price_near(market: Decimal | None, order_type: str, side: str, trigger: Trigger) -> Decimal | None:
    """The price near which an order with a trigger trades: at its trigger, or at the market
    where that has passed it, and then at the higher of both. None without a market.
    """
    if market is None:
        return None
    price = _trigger_price(market, order_type, side, trigger)
    # What trails or keeps a distance moves with its reference, which may be above the
    # market.
    is_higher = trigger.price_type != "static" or _is_passed(market, order_type, side, trigger)
    return max(price, market) if is_higher else price


def _is_passed(market: Decimal, order_type: str, side: str, trigger: Trigger) -> bool:
    if order_type.startswith("trailing"):
        return False
    price = _trigger_price(market, order_type, side, trigger)
    fires_above = (side == "buy") == order_type.startswith("stop-loss")
    return market >= price if fires_above else market <= price


def _trigger_price(market: Decimal, order_type: str, side: str, trigger: Trigger) -> Decimal:
    """The trigger as a price, in this market."""
    is_below = order_type.startswith("trailing") and side == "sell"
    return _from(market, -trigger.price if is_below else trigger.price, trigger.price_type)


def _from(reference: Decimal, price: Decimal, price_type: str) -> Decimal:
    """A price, or one at a distance from the reference, in per cent or quote currency."""
    if price_type == "static":
        return price
    return add(reference, price if price_type == "quote" else divide(multiply(reference, price), HUNDRED))


def _market(side: str, top: TopOfBook | None) -> Decimal | None:
    return None if top is None else top.market(side)


def _type_in(intent: OrderIntent, top: TopOfBook | None) -> str:
    """See `_type_of`."""
    if intent.trigger is None:
        return intent.order_type
    return _type_of(_market(intent.side, top), intent.order_type, intent.side, intent.trigger)


def _price(
    order_type: str, side: str, limit: Decimal | None, trigger: Trigger | None, top: TopOfBook | None
) -> Decimal | None:
    """The price to value an order at, None if there is none: its limit, where it fires, or
    the best price of the other side.
    """
    if limit is not None and (trigger is None or side == "buy"):
        return limit
    if trigger is None:
        return None if top is None else top.other_side(side)
    near = _price_near(_market(side, top), order_type, side, trigger)
    # A sell with a limit trades at it or above, which may be where it fires.
    return near if near is None or limit is None else max(near, limit)


def _closes_near(intent: OrderIntent, limit: Decimal | None, top: TopOfBook | None) -> Decimal | None:
    """The price near which the closing order of an order is placed, when that has traded:
    its trigger, its limit, or what the closing order would take now if that is further on
    its way. None without any.
    """
    side = intent.side
    if intent.trigger is not None and (market := _market(side, top)) is not None:
        if not _is_passed(market, intent.order_type, side, intent.trigger):
            return _trigger_price(market, intent.order_type, side, intent.trigger)
        limit = None
    market = _market("sell" if side == "buy" else "buy", top)
    if limit is None or market is None:
        return limit if market is None else market
    return min(limit, market) if side == "buy" else max(limit, market)


def _closing_limit(close: Conditional, side: str, near: Decimal) -> Decimal | None:
    """The limit of a closing order that is placed near this price; None of one that has
    none, or waits for its trigger.
    """
    if close.limit_price is None:
        return None
    if close.trigger_price is not None:
        trigger = Trigger(close.trigger_price, close.trigger_price_type or amounts.usual_trigger_type(close.order_type))
        if not _is_passed(near, close.order_type, side, trigger):
            return None
    return _from(near, close.limit_price, close.limit_price_type or "static")


def _qty_of(intent: OrderIntent, pair: Pair, top: TopOfBook | None) -> Decimal:
    """The most that an order may trade; one that names an amount buys no more than that
    does at the best ask.
    """
    best_ask = None if top is None or intent.cash_qty is None else top.other_side("buy")
    if intent.cash_qty is None or not best_ask:
        return units_decimal(intent.qty, intent.qty_decimals)
    return pair.round_qty(divide(intent.cash_qty, best_ask), "down")


def _others_of(
    side: str,
    pair: Pair,
    top: TopOfBook | None,
    open_orders: Collection[TrackedOrder],
    batch: Sequence[OrderIntent],
) -> _Others:
    """Sum up all open orders, and the other orders of the same batch, in one pass. Hot:
    there may be hundreds.
    """
    others = _Others(side, pair, len(open_orders) + len(batch))
    for order in open_orders:
        intent = order.intent
        if intent.side == side:
            acts_as = intent.order_type if intent.trigger is None else _type_in(intent, top)
            if order.qty_decimals == pair.qty_decimals and order.amendment is None and acts_as not in IMMEDIATE:
                left = order.qty - order.filled - order.filled_before
                if left > 0:
                    others.lots += left
            else:
                others.stands(_left_of(order, pair, top), acts_as)
        else:
            if order.limit_price is not None and (
                intent.order_type in RESTING or _may_rest(intent, order.limit_price, order.price_decimals, top)
            ):
                others.meets(order.limit_price, order.price_decimals, order.key)
            if (change := order.amendment) is not None:  # it may have been carried out already
                asked = _amended(intent, change)
                limit, decimals = change.limit_price, change.price_decimals
                if limit is None:
                    limit, decimals = order.limit_price, order.price_decimals
                if limit is not None and _may_rest(asked, limit, decimals, top):
                    others.meets(limit, decimals, order.key)
    for intent in batch:
        if intent.side == side:
            others.stands(_qty_of(intent, pair, top), _type_in(intent, top))
        elif intent.limit_price is not None and _may_rest(intent, intent.limit_price, intent.price_decimals, top):
            others.meets(intent.limit_price, intent.price_decimals, "of the same batch")
    return others


def _amended(intent: OrderIntent, change: Amendment) -> OrderIntent:
    """An intent with the trigger that an amend gives it."""
    if intent.trigger is None or change.trigger_price is None:
        return intent
    return replace(intent, trigger=replace(intent.trigger, price=change.trigger_price))


def _may_rest(intent: OrderIntent, limit: PriceTicks, price_decimals: int, top: TopOfBook | None) -> bool:
    """True if an order with this limit may rest in the book.

    Whether one with a trigger has fired is not known. If it rests, then not before the best
    price of its side, or that would be its own.
    """
    if intent.order_type in RESTING or intent.trigger is None:
        return intent.order_type in RESTING
    if top is None or _type_in(intent, top) in RESTING:
        return True
    best = top.other_side("buy" if intent.side == "sell" else "sell")
    price = units_decimal(limit, price_decimals)
    return best is not None and (price >= best if intent.side == "sell" else price <= best)


def _left_of(order: TrackedOrder, pair: Pair, top: TopOfBook | None) -> Decimal:
    """The most that an open order may still trade, counting an amend under way that makes
    it larger.
    """
    change = order.amendment
    whole = order.order_qty if order.intent.cash_qty is None else _qty_of(order.intent, pair, top)
    if change is not None and change.qty is not None:
        whole = max(whole, units_decimal(change.qty, change.qty_decimals))  # it may have been carried out already
    return subtract(whole, order.filled_in_all)


def _remember(recent: OrderedDict[L, MonoNs], likeness: L, now: MonoNs) -> None:
    recent[likeness] = now
    recent.move_to_end(likeness)
    if len(recent) > DUPLICATES_REMEMBERED_MAX:
        recent.popitem(last=False)


def _plain_likeness(strategy: str, intent: OrderIntent) -> PlainLikeness:
    return strategy, intent.symbol, intent.side, intent.limit_price, intent.qty


def _likeness(strategy: str, intent: OrderIntent) -> tuple[object, ...]:
    # Compared as amounts: 64000.0 in one scale is 64000.00 in another.
    limit, target = (
        None if ticks is None else units_decimal(ticks, intent.price_decimals)
        for ticks in (intent.limit_price, intent.take_profit)
    )
    qty = units_decimal(intent.qty, intent.qty_decimals)
    # What sets it off, and what closes it: two stops are no ladder by mistake.
    where = (limit, intent.limit_offset, intent.limit_price_type, intent.trigger, intent.effective_at)
    return (
        strategy,
        intent.symbol,
        intent.side,
        intent.order_type,
        qty,
        intent.cash_qty,
        where,
        intent.conditional,
        target,
    )
