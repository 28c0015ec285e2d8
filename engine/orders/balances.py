"""The balances of the wallets that can be traded from, and what open orders reserve of
them.

A snapshot tells the balance of each wallet. An update tells one entry of the ledger: its
amount, its fee, and a balance that may or may not include earning wallets ("total amount of
this asset held in the account"). So amounts are added to the total of the snapshot, and the
update's balance is an upper limit of the sum. Before the first snapshot a balance is
unknown, which is not zero.

The channel tells totals only. What is held is computed from all open orders of the account:
a buy holds what it would pay at its limit, a sell its quantity.
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
ASSETS_MAX: Final = 2048  # Kraken lists some hundreds
TAKER_FEE_PERCENT: Final = Decimal("0.40")  # of the smallest volume; for holds, the dearest is the safe one


class Wallet(Struct, frozen=True):
    """The balance of one asset."""

    total: Decimal
    held: Decimal
    free: Decimal
    earning: Decimal


class Balances:
    """The totals of all assets."""

    def __init__(self, fee_percent: Decimal = TAKER_FEE_PERCENT) -> None:
        self._fee_percent = fee_percent
        self._totals: dict[str, Decimal] = {}
        self._earning: dict[str, Decimal] = {}
        # Is a snapshot complete? From then on an asset that it did not name is 0.
        self.is_told = False
        # May ledger entries be missing since the last snapshot? Then no total grows until
        # the next.
        self._has_gap = False

    def assets(self) -> tuple[str, ...]:
        """All assets that Kraken has named."""
        return tuple(self._totals)

    def apply(self, fact: BalanceFact) -> bool:
        """Take a balance or a ledger entry; True when a total changed."""
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
        """Record that ledger entries may be missing, until the next snapshot."""
        self._has_gap = True

    @property
    def is_complete(self) -> bool:
        """True if every total is known and no ledger entry may be missing."""
        return self.is_told and not self._has_gap

    def is_known(self, asset: str) -> bool:
        """True if the total is known.

        True, too, for an asset that a complete snapshot did not name.
        """
        return self.is_told or asset in self._totals

    def forget_others(self, assets: Iterable[str]) -> list[str]:
        """Set all assets that a snapshot did not name to 0; returns those that were not 0."""
        self.is_told, self._has_gap = True, False
        listed = set(assets)
        gone = [asset for asset, total in self._totals.items() if asset not in listed and total]
        for asset in gone:
            self._totals[asset] = self._earning[asset] = ZERO
        return gone

    def total(self, asset: str) -> Decimal:
        """The total in wallets that can be traded from; 0 also while it is unknown."""
        return self._totals.get(asset, ZERO)

    def held(self, orders: Iterable[TrackedOrder]) -> dict[str, Decimal]:
        """What these orders reserve, by asset; an order in doubt counts as open."""
        held: dict[str, Decimal] = {}
        for order in orders:
            if order.is_open and not order.intent.margin and (hold := self._hold_of(order))[1]:
                held[hold[0]] = add(held.get(hold[0], ZERO), hold[1])
        return held

    def free(self, asset: str, held: Mapping[str, Decimal]) -> Decimal:
        """What a new order may still use; at least 0, for the fee in a hold is an
        estimate."""
        return max(subtract(self.total(asset), held.get(asset, ZERO)), ZERO)

    def wallet(self, asset: str, held: Mapping[str, Decimal]) -> Wallet:
        """The balance of one asset; `held` is what `held()` returned."""
        earning = self._earning.get(asset, ZERO)
        return Wallet(self.total(asset), held.get(asset, ZERO), self.free(asset, held), earning)

    def _hold_of(self, order: TrackedOrder) -> tuple[str, Decimal]:
        """The asset and the amount that one order reserves.

        A market buy reserves nothing, for it has no price and ends at once. A stop without
        limit reserves at its trigger, when that is a price.
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
