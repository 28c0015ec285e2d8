"""What the account has in the wallets that can be traded from, and of that what our open orders hold.

A snapshot tells each wallet's balance. An update tells one entry of the ledger, with its amount, its fee, and a balance
of which Kraken does not say whether wallets that earn are in it: "total amount of this asset held in the account". So
amounts are added to what the snapshot told, and that balance may only make the sum less. Until the first snapshot has
come, nothing is known: not that there is nothing.

The channel tells totals only. What is held follows from the open orders of the account, whoever's they are: a buy holds
what it would pay at its limit, a sell what it would give.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from engine.orders.money import add, divide, multiply, subtract
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import BalanceFact
from engine.units import units_decimal

ZERO: Final = Decimal(0)
ASSETS_MAX: Final = 10_000  # Kraken lists some hundreds
TAKER_FEE_PERCENT: Final = Decimal("0.40")  # of the smallest volume; for holds, the dearest is the safe one


class Wallet(Struct, frozen=True):
    """One asset, as a report shows it."""

    total: Decimal
    held: Decimal
    free: Decimal
    earning: Decimal


class Balances:
    """Totals by asset."""

    def __init__(self, fee_percent: Decimal = TAKER_FEE_PERCENT) -> None:
        self._fee_percent = fee_percent
        self._totals: dict[str, Decimal] = {}
        self._earning: dict[str, Decimal] = {}
        # Has a snapshot come to its end? What none told of is nothing, from then on.
        self.is_told = False
        # May entries of the ledger be missing since the last snapshot? Then nothing is more until the next.
        self._has_gap = False

    def assets(self) -> tuple[str, ...]:
        """Everything that Kraken has told of."""
        return tuple(self._totals)

    def apply(self, fact: BalanceFact) -> bool:
        """Let Kraken's word be so; False when it is no news."""
        asset, known = fact.asset, self._totals.get(fact.asset)
        if known is None and (len(self._totals) >= ASSETS_MAX or not (fact.is_snapshot or self.is_told)):
            return False
        total = fact.balance
        if not fact.is_snapshot:
            change = ZERO if fact.amount is None else subtract(fact.amount, fact.fee or ZERO)
            before = known or ZERO
            total = min(add(before, change), fact.balance)
            if self._has_gap:
                total = min(total, before)
        is_news = known != total
        self._totals[asset] = total
        if fact.is_snapshot:
            is_news = is_news or self._earning.get(asset, ZERO) != fact.earning
            self._earning[asset] = fact.earning
        return is_news

    def doubt(self) -> None:
        """What the feed tells has a hole, until the next snapshot."""
        self._has_gap = True

    def is_known(self, asset: str) -> bool:
        """Has Kraken told how much of it there is, be it by not naming it?"""
        return self.is_told or asset in self._totals

    def forget_others(self, assets: Iterable[str]) -> list[str]:
        """A snapshot told of these alone: all others are nothing now. Those that were something, for a report."""
        self.is_told, self._has_gap = True, False
        listed = set(assets)
        gone = [asset for asset, total in self._totals.items() if asset not in listed and total]
        for asset in gone:
            self._totals[asset] = self._earning[asset] = ZERO
        return gone

    def total(self, asset: str) -> Decimal:
        """All of it, in wallets that can be traded from; 0 also while it is not known."""
        return self._totals.get(asset, ZERO)

    def held(self, orders: Iterable[TrackedOrder]) -> dict[str, Decimal]:
        """What open orders reserve, by asset. An order in doubt counts as open."""
        held: dict[str, Decimal] = {}
        for order in orders:
            if order.is_open and not order.intent.margin and (hold := self._hold_of(order))[1]:
                held[hold[0]] = add(held.get(hold[0], ZERO), hold[1])
        return held

    def free(self, asset: str, held: Mapping[str, Decimal]) -> Decimal:
        """What a new order may still use; never less than nothing, for the fee in a hold is an estimate."""
        return max(subtract(self.total(asset), held.get(asset, ZERO)), ZERO)

    def wallet(self, asset: str, held: Mapping[str, Decimal]) -> Wallet:
        """One asset with all that is known of it."""
        earning = self._earning.get(asset, ZERO)
        return Wallet(self.total(asset), held.get(asset, ZERO), self.free(asset, held), earning)

    def _hold_of(self, order: TrackedOrder) -> tuple[str, Decimal]:
        """The asset and the amount that one order reserves.

        A market buy has no price to reserve at; it is over before that matters. A stop's price is its trigger, when
        that is a price.
        """
        intent = order.intent
        base, _, quote = intent.symbol.partition("/")
        in_base = intent.fee_preference == "base"
        if not order.is_buy:
            qty = units_decimal(order.remaining, order.qty_decimals)
            return base, add(qty, self._fee(qty)) if in_base else qty
        if intent.cash_qty is not None:
            return quote, max(subtract(intent.cash_qty, order.cost), ZERO)
        price = ZERO
        if order.limit_price is not None:
            price = units_decimal(order.limit_price, order.price_decimals)
        elif intent.trigger is not None and intent.trigger.price_type == "static":
            price = intent.trigger.price
        cost = multiply(units_decimal(order.remaining, order.qty_decimals), price)
        return quote, cost if in_base else add(cost, self._fee(cost))

    def _fee(self, amount: Decimal) -> Decimal:
        return divide(multiply(amount, self._fee_percent), Decimal(100))
