"""The venue's trading core: every account's requests over the exchange's pair markets.

    requests ──► Admission ──► OrderLife ──► matching (OrderBook) ──► PairMarket.publish ──► the public
    order flow ───────────────────────────────────┘                        │ on_trades
    accounts' listeners ◄── rows ◄── OrderPlaces, Fills ◄──────────────────┘

Pure: every action is given its time, `advance` does what has become due (expiries,
scheduled orders, dead man's switches), and `next_due` says when to call it. This module
defines the effect of each request; `admission` decides whether it is accepted, `order_life`
carries it out.

Refusals are raised as `VenueReject`, whose text is Kraken's error string.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from engine.errors import ConfigError, VenueReject
from engine.units import NS_PER_S, PriceTicks, WallNs
from engine.venue.market.exchange import Exchange, unsupported
from engine.venue.market.markets import Markets
from engine.venue.market.precision import Change, relisted
from engine.venue.setup.rate_counter import Tier
from engine.venue.trading import executions as rows
from engine.venue.trading.account import Account
from engine.venue.trading.admission import NO_FUNDS, POST_ONLY, Admission
from engine.venue.trading.client_order import Amendment, AmendSpec, ClientOrder, EditSpec, OrderSpec
from engine.venue.trading.fills import Fills
from engine.venue.trading.ledger import Ledger
from engine.venue.trading.liquidity import crosses, lots_of, reserve_of
from engine.venue.trading.order_changes import (
    amended_reserve,
    amended_spec,
    amended_terms,
    edited_spec,
    retrigger,
    version_of,
)
from engine.venue.trading.order_checks import check_spec, invalid, terms_of
from engine.venue.trading.order_life import OrderLife
from engine.venue.trading.order_names import (
    UNKNOWN_ORDER,
    open_order,
    open_orders_of_userref,
    order_to_edit,
    orders_of_batch,
)
from engine.venue.trading.order_places import DEAD_MAN_REASON, RELISTED, REPLACED, USER, OrderPlaces
from engine.venue.trading.reminders import Reminders
from engine.venue.trading.settlement import Ids, usd_value

BATCH_ADD_MAX: Final = 15
BATCH_CANCEL_MAX: Final = 50
AMENDMENTS_MAX: Final = 1_000  # versions of one order that are kept: the first and the newest
DEAD_MAN_S_MAX: Final = 86_400  # exclusive

CLOSED_WAIT_NS: Final = NS_PER_S  # until a scheduled order of a pair that is not online is looked at again

NOT_EDITABLE: Final = "EOrder:Order not editable"


class Trading:
    """All accounts of one venue."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        seed: int = 0,
        ledger: Ledger | None = None,
        count_rates: bool = True,
        refuse_crossing_post_only: bool = False,
        on_reminder: Callable[[], None] | None = None,
    ) -> None:
        """`on_reminder` is called when `next_due` may have become earlier."""
        self._exchange = exchange
        self._markets = markets = exchange.markets
        self._after = exchange.after
        self._accounts: dict[int, Account] = {}
        self._ids = ids = Ids(seed)
        self.ledger = ledger = ledger or Ledger()
        self._admission = Admission(
            markets, count_rates=count_rates, refuse_crossing_post_only=refuse_crossing_post_only
        )
        self._reminders = reminders = Reminders(self._accounts, on_reminder)
        self._places = places = OrderPlaces(markets, self._accounts, ledger)
        fills = Fills(places, markets, self._accounts, ledger, ids)
        self._life = OrderLife(markets, exchange.after, self._accounts, places, fills, reminders, ledger, ids)

    @property
    def system(self) -> str:
        """online, cancel_only, post_only or maintenance: the requests that are accepted."""
        return self._admission.system

    @system.setter
    def system(self, system: str) -> None:
        self._admission.system = system

    # --- accounts

    def open_account(self, account_id: int, tier: Tier, funds: dict[str, Decimal], volume_usd: float = 0.0) -> Account:
        """Open an account with these balances; its id is more than 0."""
        account = self._accounts[account_id] = Account(account_id, tier, funds, volume_usd)
        return account

    def account(self, account_id: int) -> Account:
        return self._accounts[account_id]

    @property
    def accounts(self) -> Iterable[Account]:
        return self._accounts.values()

    @property
    def markets(self) -> Markets:
        return self._markets

    def usd_value(self, asset: str) -> float:
        """The value of one unit of an asset in US dollars, by the venue's own markets."""
        return usd_value(asset, self._markets)

    def amendments(self, order: ClientOrder) -> list[Amendment]:
        """The versions of an order's terms, the original first."""
        if not order.amendments:
            order.amendments.append(version_of(self._ids, order, "original", None, order.post_only, order.opened_at))
        return order.amendments

    # --- placing

    def check(self, account_id: int, spec: OrderSpec, at: WallNs) -> None:
        """`validate`: raise where `add` would and charge the rate counter, but place
        nothing.
        """
        self._admission.admit(self._accounts[account_id], spec, at)

    def add(self, account_id: int, spec: OrderSpec, at: WallNs) -> ClientOrder:
        """Place an order and return it in its state after the request; raises VenueReject."""
        account = self._accounts[account_id]
        market, terms, reserve = self._admission.admit(account, spec, at)
        order = self._life.place(account, market, spec, terms, reserve, at)
        self._life.conclude(at)
        return order

    def check_batch(self, account_id: int, specs: list[OrderSpec], at: WallNs) -> None:
        """`validate` of a batch."""
        _check_batch_length(specs)
        for spec in specs:
            self.check(account_id, spec, at)

    def add_batch(
        self, account_id: int, specs: list[OrderSpec], at: WallNs, refused_row: int | None = None
    ) -> list[ClientOrder | VenueReject]:
        """Check all, raising for all if one is wrong; then accept or refuse each by the
        account's state.

        `refused_row` is a fault: that row is refused as if its funds were missing.
        """
        account, admission = self._accounts[account_id], self._admission
        _check_batch_length(specs)
        admission.charge_new(account, specs[0], len(specs) / 2, at)
        accepted = []
        names: set[str] = set()
        for spec in specs:
            accepted.append(admission.accept(account, spec, at, counted=False))
            if spec.cl_ord_id is not None:
                if spec.cl_ord_id in names:
                    raise invalid("cl_ord_id not unique")
                names.add(spec.cl_ord_id)
        placed: list[ClientOrder | VenueReject] = []
        for row, (spec, (market, terms)) in enumerate(zip(specs, accepted, strict=True)):
            try:
                if row == refused_row:
                    raise VenueReject(NO_FUNDS)
                admission.check_room(account, market.pair.symbol)
                reserve = admission.check_funds(account, spec, market, terms, at)
                placed.append(self._life.place(account, market, spec, terms, reserve, self._after(at)))
            except VenueReject as refusal:
                placed.append(refusal)
        self._life.conclude(at)
        return placed

    # --- changing

    def amend(self, account_id: int, change: AmendSpec, at: WallNs) -> Amendment:
        """Change an open order in its place; raises VenueReject."""
        account = self._accounts[account_id]
        order = open_order(account, change.order_id, change.cl_ord_id)
        self._admission.admit_change(account, "amend", order, change, at)
        if order.spec.conditional is not None:
            raise VenueReject(NOT_EDITABLE)
        market = self._markets[order.symbol]
        spec = amended_spec(order, change, market)
        lots, limit, display = amended_terms(order, change)
        is_moved = limit != order.limit_ticks
        if spec is order.spec and lots == order.qty_lots and not is_moved and display == order.display_lots:
            raise VenueReject("EOrder:No amendable parameters specified")
        in_book = order.place == "book"
        if in_book and is_moved and change.post_only and crosses(market, order.side, limit):
            raise VenueReject(POST_ONLY)
        if lots > order.cum_lots:
            reserve = amended_reserve(order, spec, limit, lots, account.fee_tier(at).taker_ppm)
            if reserve - order.hold > account.free(order.hold_asset):
                raise VenueReject(NO_FUNDS)
            account.reserve(order, reserve)
        versions = self.amendments(order)
        order.spec, order.qty_lots, order.limit_ticks, order.display_lots = spec, lots, limit, display
        order.amended, order.changed_at = True, at
        retrigger(market, order, change)
        version = version_of(self._ids, order, "user", USER, change.post_only, at)
        versions.append(version)
        if len(versions) > AMENDMENTS_MAX:
            del versions[1]
        if account.listeners:
            account.tell("amended", rows.amended_row(order, at, USER), order.symbol, at)
        self._life.amended(market, order, is_moved, at)
        self.ledger.changed(order)
        self._life.conclude(at)
        return version

    def edit(self, account_id: int, change: EditSpec, at: WallNs) -> ClientOrder:
        """Cancel the order and place another with what is left of the quantity; raises
        VenueReject.
        """
        account = self._accounts[account_id]
        if change.symbol not in self._markets:
            raise VenueReject(unsupported(change.symbol))
        old = order_to_edit(account, change.order_id)
        self._admission.admit_change(account, "edit", old, change, at)
        if old.symbol != change.symbol:
            raise VenueReject(UNKNOWN_ORDER)
        if old.triggered_at is not None or old.spec.conditional is not None or old.order_type == "market":
            raise VenueReject(NOT_EDITABLE)
        spec = edited_spec(old, change)
        market = self._markets[old.symbol]
        check_spec(spec, at)
        terms = terms_of(spec, market, lots_of(spec, market))
        asset, reserve = reserve_of(account, spec, market, terms, at)
        if reserve - old.hold > account.free(asset):
            raise VenueReject(NO_FUNDS)
        if change.validate:
            return old
        self._life.cancel(old, REPLACED, at)
        order = self._life.place(account, market, spec, terms, (asset, reserve), self._after(at))
        self._life.conclude(at)
        return order

    # --- canceling

    def cancel(
        self,
        account_id: int,
        at: WallNs,
        *,
        order_id: str | None = None,
        cl_ord_id: str | None = None,
        userref: int | None = None,
    ) -> list[ClientOrder]:
        """Cancel one open order, or all with a userref; exactly one of the three is given.
        Returns the orders.
        """
        account = self._accounts[account_id]
        self._admission.admit_cancels()
        if userref is not None:
            orders = open_orders_of_userref(account, userref)
        else:
            orders = [open_order(account, order_id, cl_ord_id)]
        self._admission.charge_cancels(account, orders, at)
        self._cancel(orders, USER, at)
        return orders

    def cancel_batch(
        self, account_id: int, at: WallNs, order_ids: list[str], cl_ord_ids: list[str] | None = None
    ) -> int:
        """Cancel the open ones among these (ids, or userrefs as text); returns how many
        there were.
        """
        account = self._accounts[account_id]
        self._admission.admit_cancels()
        if len(order_ids) + len(cl_ord_ids or ()) > BATCH_CANCEL_MAX:
            raise invalid("orders")
        orders = orders_of_batch(account, order_ids, cl_ord_ids or [])
        self._admission.charge_cancel_batch(account, orders, at)
        self._cancel(orders, USER, at)
        return len(orders)

    def cancel_all(self, account_id: int, at: WallNs, reason: str = USER) -> int:
        """Cancel every open order of the account, untriggered ones included; returns how
        many there were.
        """
        account = self._accounts[account_id]
        self._admission.admit_cancels()
        orders = list(account.open_orders.values())
        self._admission.charge_cancel_all(account, orders, at)
        self._cancel(orders, reason, at)
        return len(orders)

    def _cancel(self, orders: Iterable[ClientOrder], reason: str, at: WallNs) -> None:
        for order in orders:
            self._life.cancel(order, reason, at)
        self._life.conclude(at)

    # --- the listing

    def relist(self, symbol: str, price_decimals: int, qty_decimals: int, at: WallNs) -> None:
        """List a pair in another precision; raises ConfigError when it cannot be.

        Orders that would change their values are canceled, all others keep their numbers,
        places and fills. The instrument channel publishes the change; subscribers of the
        book must start it again.
        """
        market = self._markets.get(symbol)
        if market is None:
            raise ConfigError(f"precision: the venue does not list {symbol!r}; it lists {', '.join(self._markets)}")
        pair = relisted(market.pair, price_decimals, qty_decimals)
        change = Change(market.pair, pair)
        orders = [
            order for it in self._accounts.values() for order in it.open_orders.values() if order.symbol == symbol
        ]
        self._cancel([order for order in orders if not order.can_relist(change)], RELISTED, at)
        market.relist(pair)
        for order in orders:
            if order.is_open:
                order.relist(change)
                self.ledger.changed(order)
        self._exchange.tell_pair(symbol)

    def traded_elsewhere(self, symbol: str, price: PriceTicks, at: WallNs) -> None:
        """Take the price of a trade at the venue that is mirrored, for triggers."""
        self._life.traded_elsewhere(self._markets[symbol], price, at)

    # --- time

    def cancel_all_orders_after(self, account_id: int, timeout_s: int, at: WallNs) -> WallNs | None:
        """Arm the account's dead man's switch, or disarm it with 0; returns when it fires."""
        account = self._accounts[account_id]
        if timeout_s < 0:
            raise invalid("timeout")
        if timeout_s >= DEAD_MAN_S_MAX:
            raise VenueReject("EGeneral:Invalid timeout argument:above max")
        if timeout_s == 0:
            account.dead_man_at = None
            return None
        account.dead_man_at = WallNs(at + timeout_s * NS_PER_S)
        self._reminders.add(account.dead_man_at, account_id)
        return account.dead_man_at

    def next_due(self) -> WallNs | None:
        """When `advance` has something to do; None: never, or not before the maintenance is
        over.
        """
        return None if self.system == "maintenance" else self._reminders.next_at()

    def advance(self, at: WallNs) -> None:
        """Do what has become due: expiries, scheduled orders, dead man's switches.

        Nothing while in maintenance: "all orders are cancelled when the engine returns",
        says Kraken's page of a switch that was left armed.
        """
        if self.system == "maintenance":
            return
        for reminder in self._reminders.take(at):
            account = self._accounts[reminder.account_id]
            if not reminder.order_id:
                if account.dead_man_at == reminder.due_at:  # neither refreshed nor disarmed since
                    account.dead_man_at = None
                    for order in list(account.open_orders.values()):
                        self._life.cancel(order, DEAD_MAN_REASON, self._after(at))
                continue
            order_due = account.open_orders.get(reminder.order_id)
            if order_due is None:
                continue
            if order_due.spec.expire_time is not None and order_due.spec.expire_time <= at:
                self._life.expire(order_due, at)
            elif order_due.place == "scheduled" and self._markets[order_due.symbol].mode != "online":
                self._reminders.add(WallNs(at + CLOSED_WAIT_NS), order_due.account_id, order_due.order_id)
            elif order_due.place == "scheduled":
                self._life.start(account, self._markets[order_due.symbol], order_due, self._after(at))
        self._life.conclude(at)

    def check_invariants(self) -> None:
        """Raise AssertionError unless orders, books and accounts agree with each other."""
        self._places.check_invariants()


def _check_batch_length(specs: list[OrderSpec]) -> None:
    if not 2 <= len(specs) <= BATCH_ADD_MAX:
        raise invalid("orders")
