"""Whether a request is accepted: the venue's state, the rate counter, the order's terms,
its funds.

No order is changed here. Only the rate counter is charged, and the charge stays whatever
follows. Refusals are raised as VenueReject in Kraken's words.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

from engine.errors import VenueReject
from engine.units import WallNs
from engine.venue.market.pair_market import PairMarket
from engine.venue.setup.rate_counter import Action, cost
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import AmendSpec, ClientOrder, EditSpec, OrderSpec
from engine.venue.trading.liquidity import crosses, lots_of, reserve_of
from engine.venue.trading.order_checks import ELAPSED, Terms, check_spec, invalid, market_of, terms_of

NO_FUNDS: Final = "EOrder:Insufficient funds"
POST_ONLY: Final = "EOrder:Post only order"
RATE_EXCEEDED: Final = "EOrder:Rate limit exceeded"


class Admission:
    """The checks that every request of every account must pass."""

    def __init__(
        self, markets: Mapping[str, PairMarket], *, count_rates: bool, refuse_crossing_post_only: bool
    ) -> None:
        self._markets = markets
        self._count_rates = count_rates
        self._refuse_crossing_post_only = refuse_crossing_post_only
        self.system = "online"  # or cancel_only, maintenance, post_only: the requests that are accepted

    # --- new orders

    def admit(self, account: Account, spec: OrderSpec, at: WallNs) -> tuple[PairMarket, Terms, tuple[str, Decimal]]:
        """Check one order completely; returns its market, its terms, and the asset and
        amount to reserve.
        """
        self.charge_new(account, spec, 1, at)
        market, terms = self.accept(account, spec, at)
        return market, terms, self.check_funds(account, spec, market, terms, at)

    def charge_new(self, account: Account, spec: OrderSpec, points: float, at: WallNs) -> None:
        """Charge the fixed part, on receipt, whether or not the order is accepted."""
        if spec.deadline is not None and at > spec.deadline:
            raise VenueReject(ELAPSED)
        if spec.symbol in self._markets:
            self._charge(account, spec.symbol, points, at)

    def accept(
        self, account: Account, spec: OrderSpec, at: WallNs, *, counted: bool = True
    ) -> tuple[PairMarket, Terms]:
        """Check everything but the funds. A batch, not `counted` here, needs room for each
        order later.
        """
        allowed_in_post_only = spec.post_only and spec.order_type == "limit"
        _check_mode(self.system, allowed_in_post_only)
        market = market_of(spec, self._markets)
        _check_mode(market.mode, allowed_in_post_only)
        check_spec(spec, at)
        terms = terms_of(spec, market, lots_of(spec, market))
        if spec.cl_ord_id is not None and account.open_by_cl_ord_id(spec.cl_ord_id) is not None:
            raise invalid("cl_ord_id not unique")
        if counted:
            self.check_room(account, spec.symbol)
        crossing = spec.post_only and self._refuse_crossing_post_only and terms.trigger_ticks is None
        if crossing and crosses(market, terms.side, terms.limit_ticks):
            raise VenueReject(POST_ONLY)
        return market, terms

    def check_room(self, account: Account, symbol: str) -> None:
        """Raise VenueReject if the account may not have one more order open."""
        if self._count_rates and account.open_count(symbol) >= account.limits.open_orders_max:
            raise VenueReject("EOrder:Orders limit exceeded")

    def check_funds(
        self, account: Account, spec: OrderSpec, market: PairMarket, terms: Terms, at: WallNs
    ) -> tuple[str, Decimal]:
        """The asset and amount that the order reserves; raises VenueReject if it is not
        free.
        """
        asset, amount = reserve_of(account, spec, market, terms, at)
        if amount > account.free(asset):
            raise VenueReject(NO_FUNDS)
        return asset, amount

    # --- orders that are open

    def admit_change(
        self, account: Account, action: Action, order: ClientOrder, change: AmendSpec | EditSpec, at: WallNs
    ) -> None:
        """Raise VenueReject if this order cannot be changed now, whatever the change is."""
        if change.deadline is not None and at > change.deadline:
            raise VenueReject(ELAPSED)
        self._charge_aged(account, action, order, at)
        _check_mode(self.system, change.post_only)
        _check_mode(self._markets[order.symbol].mode, change.post_only)

    def admit_cancels(self) -> None:
        """Raise VenueReject if nothing can be canceled now."""
        if self.system == "maintenance":
            raise VenueReject("EService:Unavailable")

    def charge_cancels(self, account: Account, orders: Collection[ClientOrder], at: WallNs) -> None:
        """Charge one after the other, until there is no room."""
        for order in orders:
            self._charge_aged(account, "cancel", order, at)

    def charge_cancel_batch(self, account: Account, orders: Collection[ClientOrder], at: WallNs) -> None:
        """Charge all or none; accepted even when it exceeds the threshold."""
        if not self._count_rates:
            return
        for symbol in {order.symbol for order in orders}:
            if not account.counter(symbol).admits(0, at):
                raise VenueReject(RATE_EXCEEDED)
        for order in orders:
            account.counter(order.symbol).charge(cost("cancel", at - order.changed_at), at)

    def charge_cancel_all(self, account: Account, orders: Collection[ClientOrder], at: WallNs) -> None:
        """Charge one point a pair; never refused."""
        if self._count_rates:
            for symbol in {order.symbol for order in orders}:
                account.counter(symbol).charge(1, at)

    # --- details

    def _charge(self, account: Account, symbol: str, points: float, at: WallNs) -> None:
        if not self._count_rates:
            return
        counter = account.counter(symbol)
        if not counter.admits(points, at):
            raise VenueReject(RATE_EXCEEDED)
        counter.charge(points, at)

    def _charge_aged(self, account: Account, action: Action, order: ClientOrder, at: WallNs) -> None:
        self._charge(account, order.symbol, cost(action, max(0, at - order.changed_at)), at)


def _check_mode(mode: str, allowed_in_post_only: bool) -> None:
    """Raise VenueReject unless the venue, or one pair, accepts an order in this mode. One
    that only Kraken's pairs know (limit_only, reduce_only, …) accepts none here.
    """
    if mode == "online" or (mode == "post_only" and allowed_in_post_only):
        return
    if mode == "maintenance":
        raise VenueReject("EService:Unavailable")
    raise VenueReject(f"EService:Market in {mode} mode")
