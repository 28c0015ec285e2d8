"""The venue's trading core: every account's orders over the exchange's pair markets.

    requests ──► add · amend · edit · cancel … ──► matching (OrderBook) ──► PairMarket.publish ──► the public
    order flow ────────────────────────────────────────┘                        │ on_trades
    accounts' listeners ◄── rows ◄── fills, ends, triggers ◄─────────────────────┘

Pure: every action is given its time, `advance` does what has become due (expiries, scheduled orders, dead man's
switches), and `next_due` says when to call it. What an action calls forth (triggered orders, conditional closes) waits
in a queue until the action is over, so that no matching ever happens inside another.

Refusals are raised as `VenueReject`, whose text is Kraken's error string.
"""

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from heapq import heapify, heappop, heappush
from typing import Final

from engine.errors import VenueReject
from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue import executions as rows
from engine.venue.account import Account
from engine.venue.client_order import (
    TRAILING_KINDS,
    Amendment,
    AmendSpec,
    ClientOrder,
    EditSpec,
    OrderSpec,
    TimeInForce,
)
from engine.venue.exchange import Exchange, unsupported
from engine.venue.ledger import Ledger
from engine.venue.liquidity import affordable, crosses, is_fillable, lots_of, reserve_of, worst_price
from engine.venue.matching import BUY, SELL, Fill, Outcome
from engine.venue.order_changes import (
    amended_spec,
    amended_terms,
    closing_order,
    edited_spec,
    retrigger,
    version_of,
)
from engine.venue.order_checks import (
    ELAPSED,
    Terms,
    check_spec,
    invalid,
    market_of,
    price_ticks,
    terms_of,
)
from engine.venue.pair_market import PairMarket
from engine.venue.rate_counter import Action, Tier, cost
from engine.venue.settlement import Ids, buying_reserve, selling_reserve, settle, usd_value
from engine.venue.triggers import pulled, trail, trailing_limit

BATCH_ADD_MAX: Final = 15
BATCH_CANCEL_MAX: Final = 50
AMENDMENTS_MAX: Final = 1_000  # of one order that are remembered: the first and the newest
DEAD_MAN_S_MAX: Final = 86_400  # exclusive
DUE_MAX: Final = 100_000  # entries waiting for their time before those of ended orders are swept out

UNKNOWN_ORDER: Final = "EOrder:Unknown order"
NO_FUNDS: Final = "EOrder:Insufficient funds"
POST_ONLY: Final = "EOrder:Post only order"
NOT_EDITABLE: Final = "EOrder:Order not editable"
RATE_EXCEEDED: Final = "EOrder:Rate limit exceeded"

# Why an order ended. The first four were seen on the wire or in Kraken's support pages, the others are ours.
USER: Final = "User requested"
POST_ONLY_REASON: Final = "Post only order"
SELF_TRADE: Final = "Cannot trade with self"
REPLACED: Final = "Order replaced"
MARKET_REMAINDER: Final = "Market order remainder"
IOC_REMAINDER: Final = "Immediate or cancel remainder"
FOK_UNFILLED: Final = "Fill or kill"
NO_FUNDS_REASON: Final = "Insufficient funds"
EXPIRED_REASON: Final = "Order expired"
DEAD_MAN_REASON: Final = "Cancel all orders after"


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
    ) -> None:
        self._markets = exchange.markets
        self._after = exchange.after
        self._ids = Ids(seed)
        self._count_rates = count_rates
        self._refuse_crossing_post_only = refuse_crossing_post_only
        self.ledger = ledger or Ledger()
        self.system = "online"  # or cancel_only, maintenance, post_only: what may be done at all
        self._accounts: dict[int, Account] = {}
        self._in_book: dict[str, dict[int, ClientOrder]] = {symbol: {} for symbol in self._markets}
        self._untriggered: dict[str, dict[str, ClientOrder]] = {symbol: {} for symbol in self._markets}
        self._due: list[tuple[WallNs, int, str]] = []  # heap of (when, account, order; "" is the dead man's switch)
        self._called_forth: deque[Callable[[WallNs], None]] = deque()  # by the action that is under way
        self._busy = False  # with an action; what it calls forth waits
        self._order_count = 0
        self.on_reminder: Callable[[], None] | None = None  # told when `next_due` may have come nearer
        for market in self._markets.values():
            market.on_trades = self._trades_happened

    # --- accounts ----------------------------------------------------------------------------------------------------

    def open_account(self, account_id: int, tier: Tier, funds: dict[str, Decimal], volume_usd: float = 0.0) -> Account:
        """A new account with these balances; its id is more than 0."""
        account = self._accounts[account_id] = Account(account_id, tier, funds, volume_usd)
        return account

    def account(self, account_id: int) -> Account:
        return self._accounts[account_id]

    @property
    def accounts(self) -> Iterable[Account]:
        return self._accounts.values()

    @property
    def markets(self) -> dict[str, PairMarket]:
        return self._markets

    def usd_value(self, asset: str) -> float:
        """One unit of an asset in US dollars, by the venue's own markets."""
        return usd_value(asset, self._markets)

    def amendments(self, order: ClientOrder) -> list[Amendment]:
        """The versions of an order's terms, the original first."""
        if not order.amendments:
            order.amendments.append(version_of(self._ids, order, "original", None, order.post_only, order.opened_at))
        return order.amendments

    # --- placing -----------------------------------------------------------------------------------------------------

    def check(self, account_id: int, spec: OrderSpec, at: WallNs) -> None:
        """`validate`: raise where `add` would; nothing is placed, the rate counter is charged all the same."""
        account = self._accounts[account_id]
        self._charge_add(account, spec, 1, at)
        self._refusing_state(spec.post_only and spec.order_type == "limit")
        market, terms = self._accept(account, spec, at)
        self._check_funds(account, spec, market, terms, at)

    def add(self, account_id: int, spec: OrderSpec, at: WallNs) -> ClientOrder:
        """Place an order; what became of it at once is in the order that is returned."""
        account = self._accounts[account_id]
        self._charge_add(account, spec, 1, at)
        self._refusing_state(spec.post_only and spec.order_type == "limit")
        market, terms = self._accept(account, spec, at)
        reserve = self._check_funds(account, spec, market, terms, at)
        order = self._place(account, market, spec, terms, reserve, at)
        self._settle_called_forth(at)
        return order

    def add_batch(
        self, account_id: int, specs: list[OrderSpec], at: WallNs, refused_row: int | None = None
    ) -> list[ClientOrder | VenueReject]:
        """All are checked first, and one bad one raises for all; then each meets the state of its account alone.

        `refused_row` is a fault's: that row is refused as if its funds were missing.
        """
        account = self._accounts[account_id]
        if not 2 <= len(specs) <= BATCH_ADD_MAX:
            raise invalid("orders")
        self._charge_add(account, specs[0], len(specs) / 2, at)
        accepted = []
        names: set[str] = set()
        for spec in specs:
            self._refusing_state(spec.post_only and spec.order_type == "limit")
            accepted.append(self._accept(account, spec, at, counted=False))
            if spec.cl_ord_id is not None:
                if spec.cl_ord_id in names:
                    raise invalid("cl_ord_id not unique")
                names.add(spec.cl_ord_id)
        placed: list[ClientOrder | VenueReject] = []
        for row, (spec, (market, terms)) in enumerate(zip(specs, accepted, strict=True)):
            try:
                if row == refused_row:
                    raise VenueReject(NO_FUNDS)
                self._check_room(account, market.pair.symbol)
                reserve = self._check_funds(account, spec, market, terms, at)
                placed.append(self._place(account, market, spec, terms, reserve, self._after(at)))
            except VenueReject as refusal:
                placed.append(refusal)
        self._settle_called_forth(at)
        return placed

    def check_batch(self, account_id: int, specs: list[OrderSpec], at: WallNs) -> None:
        """`validate` of a batch."""
        if not 2 <= len(specs) <= BATCH_ADD_MAX:
            raise invalid("orders")
        for spec in specs:
            self.check(account_id, spec, at)

    def _charge_add(self, account: Account, spec: OrderSpec, points: float, at: WallNs) -> None:
        """The fixed part is charged on receipt, whether or not the order can be."""
        if spec.deadline is not None and at > spec.deadline:
            raise VenueReject(ELAPSED)
        if spec.symbol in self._markets:
            self._charge(account, spec.symbol, points, at)

    def _refusing_state(self, allowed_in_post_only: bool) -> None:
        if self.system == "online" or (self.system == "post_only" and allowed_in_post_only):
            return
        if self.system == "maintenance":
            raise VenueReject("EService:Unavailable")
        raise VenueReject(f"EService:Market in {self.system} mode")

    def _accept(self, account: Account, spec: OrderSpec, at: WallNs, counted: bool = True) -> tuple[PairMarket, Terms]:
        """Everything but the funds."""
        market = market_of(spec, self._markets)
        check_spec(spec, at)
        terms = terms_of(spec, market, lots_of(spec, market))
        if spec.cl_ord_id is not None and account.open_by_cl_ord_id(spec.cl_ord_id) is not None:
            raise invalid("cl_ord_id not unique")
        if counted:
            self._check_room(account, spec.symbol)
        crossing = spec.post_only and self._refuse_crossing_post_only and terms.trigger_ticks is None
        if crossing and crosses(market, terms.side, terms.limit_ticks):
            raise VenueReject(POST_ONLY)
        return market, terms

    def _check_room(self, account: Account, symbol: str) -> None:
        if self._count_rates and account.open_count(symbol) >= account.limits.open_orders_max:
            raise VenueReject("EOrder:Orders limit exceeded")

    def _check_funds(
        self, account: Account, spec: OrderSpec, market: PairMarket, terms: Terms, at: WallNs
    ) -> tuple[str, Decimal]:
        """What the order reserves, and of which asset."""
        asset, amount = reserve_of(account, spec, market, terms, at)
        if amount > account.free(asset):
            raise VenueReject(NO_FUNDS)
        return asset, amount

    def _place(
        self,
        account: Account,
        market: PairMarket,
        spec: OrderSpec,
        terms: Terms,
        reserve: tuple[str, Decimal],
        at: WallNs,
        ref_order_id: str | None = None,
    ) -> ClientOrder:
        """Give an accepted order its place: scheduled, waiting for its trigger, or in the book."""
        self._order_count += 1
        order = ClientOrder(
            order_id=self._ids.next("O"),
            account_id=account.account_id,
            spec=spec,
            pair=market.pair,
            side=terms.side,
            order_type=spec.order_type,
            cl_ord_id=spec.cl_ord_id,
            order_userref=spec.order_userref,
            ref_order_id=ref_order_id,
            sequence=self._order_count,
            qty_lots=terms.qty_lots,
            limit_ticks=terms.limit_ticks,
            display_lots=terms.display_lots,
            post_only=spec.post_only,
            trigger_ticks=terms.trigger_ticks,
            opened_at=at,
            changed_at=at,
            hold_asset=reserve[0],
        )
        if spec.order_type in TRAILING_KINDS:
            order.peak_ticks = market.last
            trail(order)
        account.opened(order)
        account.reserve(order, reserve[1])
        self.ledger.accepted(order)
        if account.listeners:
            self._tell(account, "pending_new", rows.pending_new_row(order, at), order, at)
        if spec.expire_time is not None:
            self._remind(spec.expire_time, account.account_id, order.order_id)
        if spec.effective_time is not None and spec.effective_time > at:
            order.place = "scheduled"
            self._remind(spec.effective_time, account.account_id, order.order_id)
        else:
            self._start(account, market, order, at)
        return order

    def _start(self, account: Account, market: PairMarket, order: ClientOrder, at: WallNs) -> None:
        """An order goes live: to wait for its trigger, or into the book."""
        if order.is_triggered_kind:
            order.status, order.place = "new", "untriggered"
            if account.listeners:
                self._tell(account, "new", rows.new_row(order, at), order, at)
            self._untriggered[order.symbol][order.order_id] = order
            if pulled(order, market.last):
                self._pull(order, market.last)
            return
        order.place = "book"
        if order.post_only and crosses(market, order.side, order.limit_ticks):
            self._end(account, order, "canceled", POST_ONLY_REASON, at)
            return
        order.status = "new"
        if account.listeners:
            self._tell(account, "new", rows.new_row(order, at), order, at)
        self._match(account, market, order, at)

    def _match(self, account: Account, market: PairMarket, order: ClientOrder, at: WallNs) -> None:
        """Into the book; whatever can neither trade nor rest is canceled."""
        spec, book = order.spec, market.book
        tif: TimeInForce = spec.time_in_force
        limit = order.limit_ticks
        lots = order.remaining_lots
        worst = limit if limit is not None else worst_price(market, order.side)
        if tif == "fok" and not is_fillable(account, market, order, worst):
            self._end(account, order, "canceled", FOK_UNFILLED, at)
            return
        reason = MARKET_REMAINDER if limit is None else IOC_REMAINDER
        if limit is None:
            if order.is_triggered_kind and order.side is BUY:
                payable = affordable(account, market, order, worst, at)
                if payable < lots:
                    lots, reason = payable, NO_FUNDS_REASON
            if not lots or worst is None:
                self._end(account, order, "canceled", reason, at)
                return
            outcome = book.market(account.account_id, order.side, lots, worst=worst, stp=spec.stp_type)
        else:
            outcome = book.limit(
                account.account_id,
                order.side,
                limit,
                lots,
                display_qty=order.display_lots,
                rest=tif in ("gtc", "gtd"),
                stp=spec.stp_type,
            )
        order.book_order_id = outcome.order_id
        self._in_book[order.symbol][outcome.order_id] = order
        self._publish(market, outcome, at)
        self._expel(market, outcome, at)
        if order.is_open and not outcome.resting_qty:
            self._end(account, order, "canceled", SELF_TRADE if outcome.self_met else reason, at)

    def _expel(self, market: PairMarket, outcome: Outcome, at: WallNs) -> None:
        """Older orders that self-trade prevention took out of the book."""
        for expelled in outcome.expelled:
            order = self._in_book[market.pair.symbol].get(expelled.order_id)
            if order is not None:
                self._end(self._accounts[order.account_id], order, "canceled", SELF_TRADE, at)

    # --- changing ----------------------------------------------------------------------------------------------------

    def amend(self, account_id: int, change: AmendSpec, at: WallNs) -> Amendment:
        """Change an open order where it stands."""
        account = self._accounts[account_id]
        order = self._open_order(account, change.order_id, change.cl_ord_id)
        if change.deadline is not None and at > change.deadline:
            raise VenueReject(ELAPSED)
        self._charge_aged(account, "amend", order, at)
        self._refusing_state(change.post_only)
        if order.spec.conditional is not None:
            raise VenueReject(NOT_EDITABLE)
        market = self._markets[order.symbol]
        spec = amended_spec(order, change)
        lots, limit, display = amended_terms(order, change)
        moved = limit != order.limit_ticks
        if spec is order.spec and lots == order.qty_lots and not moved and display == order.display_lots:
            raise VenueReject("EOrder:No amendable parameters specified")
        in_book = order.place == "book"
        if in_book and moved and change.post_only and crosses(market, order.side, limit):
            raise VenueReject(POST_ONLY)
        if lots > order.cum_lots:
            self._check_amended_funds(account, order, spec, limit, lots, at)
        self.amendments(order)
        order.spec, order.qty_lots, order.limit_ticks, order.display_lots = spec, lots, limit, display
        order.amended, order.changed_at = True, at
        retrigger(market, order, change)
        version = version_of(self._ids, order, "user", USER, change.post_only, at)
        order.amendments.append(version)
        if len(order.amendments) > AMENDMENTS_MAX:
            del order.amendments[1]
        if account.listeners:
            self._tell(account, "amended", rows.amended_row(order, at, USER), order, at)
        self._apply_amend(account, market, order, moved, at)
        self.ledger.changed(order)
        self._settle_called_forth(at)
        return version

    def _check_amended_funds(
        self, account: Account, order: ClientOrder, spec: OrderSpec, limit: PriceTicks | None, lots: int, at: WallNs
    ) -> None:
        """Reserve for the new terms, or refuse."""
        left = lots - order.cum_lots
        if order.side is SELL:
            reserve = selling_reserve(order.pair, left)
        else:
            trigger = order.trigger_ticks
            if spec.triggers is not None and spec.triggers.price_type == "static":
                trigger = price_ticks(spec.triggers.price, order.pair)
            price = limit or trigger
            assert price is not None, "a market order never stays open"
            reserve = buying_reserve(order.pair, price, left, account.fee_tier(at).taker_ppm)
        if reserve - order.hold > account.free(order.hold_asset):
            raise VenueReject(NO_FUNDS)
        account.reserve(order, reserve)

    def _apply_amend(self, account: Account, market: PairMarket, order: ClientOrder, moved: bool, at: WallNs) -> None:
        """Bring the book, or the waiting order, to the new terms."""
        if order.remaining_lots <= 0:
            self._take_out(market, order, at)
            self._end(account, order, "canceled", USER, at)
            return
        if order.place == "untriggered" and pulled(order, market.last):
            self._pull(order, market.last)
        if order.place != "book":
            return
        resting = market.book.order(order.book_order_id)
        assert resting is not None
        outcome = market.book.amend(
            order.book_order_id,
            price=order.limit_ticks if moved else None,
            # The engine counts fills since the order entered its book.
            qty=QtyLots(order.remaining_lots + resting.filled_qty),
            display_qty=order.display_lots or None,
            stp=order.spec.stp_type,
        )
        self._publish(market, outcome, at)
        self._expel(market, outcome, at)
        if order.is_open and not outcome.resting_qty:
            self._end(account, order, "canceled", SELF_TRADE, at)

    def edit(self, account_id: int, change: EditSpec, at: WallNs) -> ClientOrder:
        """The older way of changing: cancel the order and place another with what is left of the quantity."""
        account = self._accounts[account_id]
        if change.symbol not in self._markets:
            raise VenueReject(unsupported(change.symbol))
        old = self._order_to_edit(account, change.order_id)
        if change.deadline is not None and at > change.deadline:
            raise VenueReject(ELAPSED)
        self._charge_aged(account, "edit", old, at)
        self._refusing_state(change.post_only)
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
        self._take_out(market, old, at)
        self._end(account, old, "canceled", REPLACED, at)
        order = self._place(account, market, spec, terms, (asset, reserve), self._after(at))
        self._settle_called_forth(at)
        return order

    def _order_to_edit(self, account: Account, name: str) -> ClientOrder:
        """By its id, or by a userref that only one open order has."""
        order = account.open_orders.get(name)
        if order is None and _is_userref(name):
            orders = account.open_by_userref(int(name))
            order = orders[0] if len(orders) == 1 else None
        if order is None:
            raise VenueReject(UNKNOWN_ORDER)
        return order

    # --- canceling ---------------------------------------------------------------------------------------------------

    def cancel(
        self,
        account_id: int,
        at: WallNs,
        *,
        order_id: str | None = None,
        cl_ord_id: str | None = None,
        userref: int | None = None,
    ) -> list[ClientOrder]:
        """Cancel one open order, or all with a userref; exactly one of the three names them."""
        account = self._accounts[account_id]
        self._refusing_cancel()
        if userref is not None:
            orders = account.open_by_userref(userref)
            if not orders:
                raise VenueReject(UNKNOWN_ORDER)
        else:
            orders = [self._open_order(account, order_id, cl_ord_id)]
        for order in orders:
            self._charge_aged(account, "cancel", order, at)
        for order in orders:
            self._cancel(account, order, USER, at)
        self._settle_called_forth(at)
        return orders

    def cancel_batch(
        self, account_id: int, at: WallNs, order_ids: list[str], cl_ord_ids: list[str] | None = None
    ) -> int:
        """Cancel what is open of these (ids, or userrefs as text); how many were. Accepted even when it overshoots."""
        account = self._accounts[account_id]
        self._refusing_cancel()
        if len(order_ids) + len(cl_ord_ids or ()) > BATCH_CANCEL_MAX:
            raise invalid("orders")
        orders: dict[str, ClientOrder] = {}
        for name in order_ids:
            order = account.open_orders.get(name)
            named = [order] if order else account.open_by_userref(int(name)) if _is_userref(name) else []
            orders |= {order.order_id: order for order in named}
        for name in cl_ord_ids or ():
            if (order := account.open_by_cl_ord_id(name)) is not None:
                orders[order.order_id] = order
        if self._count_rates:
            for symbol in {order.symbol for order in orders.values()}:
                if not account.counter(symbol).admits(0, at):
                    raise VenueReject(RATE_EXCEEDED)
            for order in orders.values():
                account.counter(order.symbol).charge(cost("cancel", at - order.changed_at), at)
        for order in orders.values():
            self._cancel(account, order, USER, at)
        self._settle_called_forth(at)
        return len(orders)

    def cancel_all(self, account_id: int, at: WallNs, reason: str = USER) -> int:
        """Cancel every open order of the account, untriggered ones included; how many there were."""
        account = self._accounts[account_id]
        self._refusing_cancel()
        orders = list(account.open_orders.values())
        if self._count_rates:
            for symbol in {order.symbol for order in orders}:
                account.counter(symbol).charge(1, at)
        for order in orders:
            self._cancel(account, order, reason, at)
        self._settle_called_forth(at)
        return len(orders)

    def cancel_all_orders_after(self, account_id: int, timeout_s: int, at: WallNs) -> WallNs | None:
        """Arm the account's dead man's switch, or disarm it with 0; when it will strike."""
        account = self._accounts[account_id]
        if timeout_s < 0:
            raise invalid("timeout")
        if timeout_s >= DEAD_MAN_S_MAX:
            raise VenueReject("EGeneral:Invalid timeout argument:above max")
        if timeout_s == 0:
            account.dead_man_at = None
            return None
        account.dead_man_at = WallNs(at + timeout_s * NS_PER_S)
        self._remind(account.dead_man_at, account_id, "")
        return account.dead_man_at

    def _refusing_cancel(self) -> None:
        if self.system == "maintenance":
            raise VenueReject("EService:Unavailable")

    def _open_order(self, account: Account, order_id: str | None, cl_ord_id: str | None) -> ClientOrder:
        if order_id is not None:
            order = account.open_orders.get(order_id)
        else:
            order = account.open_by_cl_ord_id(cl_ord_id or "")
        if order is None:
            raise VenueReject(UNKNOWN_ORDER)
        return order

    def _cancel(self, account: Account, order: ClientOrder, reason: str, at: WallNs) -> None:
        if order.is_open:
            self._take_out(self._markets[order.symbol], order, at)
            self._end(account, order, "canceled", reason, at)

    def _take_out(self, market: PairMarket, order: ClientOrder, at: WallNs) -> None:
        """Out of the book, if it is there."""
        if order.place == "book" and market.book.order(order.book_order_id) is not None:
            self._publish(market, market.book.cancel(order.book_order_id), at)

    # --- time --------------------------------------------------------------------------------------------------------

    def next_due(self) -> WallNs | None:
        """When `advance` has something to do; None: never."""
        return self._due[0][0] if self._due else None

    def advance(self, at: WallNs) -> None:
        """Do what has become due: expiries, scheduled orders, dead man's switches."""
        while self._due and self._due[0][0] <= at:
            due_at, account_id, order_id = heappop(self._due)
            account = self._accounts[account_id]
            if not order_id:
                if account.dead_man_at == due_at:  # neither refreshed nor disarmed since
                    account.dead_man_at = None
                    for order in list(account.open_orders.values()):
                        self._cancel(account, order, DEAD_MAN_REASON, self._after(at))
                continue
            order_due = account.open_orders.get(order_id)
            if order_due is None:
                continue
            if order_due.spec.expire_time is not None and order_due.spec.expire_time <= at:
                self._take_out(self._markets[order_due.symbol], order_due, self._after(at))
                self._end(account, order_due, "expired", EXPIRED_REASON, at)
            elif order_due.place == "scheduled":
                self._start(account, self._markets[order_due.symbol], order_due, self._after(at))
        self._settle_called_forth(at)

    def _remind(self, due_at: WallNs, account_id: int, order_id: str) -> None:
        if len(self._due) >= DUE_MAX:
            self._due = [
                entry
                for entry in self._due
                if (entry[2] in self._accounts[entry[1]].open_orders)
                or (not entry[2] and self._accounts[entry[1]].dead_man_at == entry[0])
            ]
            heapify(self._due)
        heappush(self._due, (due_at, account_id, order_id))
        if self.on_reminder is not None:
            self.on_reminder()

    # --- what trades do ----------------------------------------------------------------------------------------------

    def _publish(self, market: PairMarket, outcome: Outcome, at: WallNs) -> None:
        """Tell the public; fills come back through `_trades_happened`."""
        was_busy, self._busy = self._busy, True
        try:
            market.publish(outcome, self._after(at))
        finally:
            self._busy = was_busy

    def _trades_happened(self, market: PairMarket, outcome: Outcome, first_trade_id: int, at: WallNs) -> None:
        """Fills of one engine event, whoever caused it: the clients' part, then the triggers that they pull."""
        symbol = market.pair.symbol
        completed: list[ClientOrder] = []
        if self._in_book[symbol]:
            in_book = self._in_book[symbol]
            for trade_id, fill in enumerate(outcome.fills, first_trade_id):
                if fill.maker_owner:
                    self._fill(market, in_book[fill.maker_order_id], fill, True, trade_id, at, completed)
                if fill.taker_owner:
                    self._fill(market, in_book[fill.taker_order_id], fill, False, trade_id, at, completed)
            for refilled in outcome.refilled:
                order = in_book.get(refilled.order_id)
                if order is not None:
                    account = self._accounts[order.account_id]
                    self._tell(account, "iceberg_refill", rows.refill_row(order, refilled.shown_qty, at), order, at)
            for order in completed:
                self._complete(order, at)
        if waiting := self._untriggered[symbol]:
            for fill in outcome.fills:
                for order in list(waiting.values()):
                    if pulled(order, fill.price):
                        self._pull(order, fill.price)
        if not self._busy:
            self._settle_called_forth(at)

    def _fill(
        self,
        market: PairMarket,
        order: ClientOrder,
        fill: Fill,
        is_maker: bool,
        trade_id: int,
        at: WallNs,
        completed: list[ClientOrder],
    ) -> None:
        account = self._accounts[order.account_id]
        execution, base, quote = settle(
            account,
            order,
            price=fill.price,
            lots=fill.qty,
            is_maker=is_maker,
            trade_id=trade_id,
            usd_per_quote=self.usd_value(order.pair.quote),
            ids=self._ids,
            at=at,
        )
        self._release(account, order, at)
        order.status = "partially_filled"
        self.ledger.filled(order, execution)
        if account.listeners:
            self._tell(account, "trade", rows.trade_row(order, execution), order, at)
            for entry in (base, quote):
                row = rows.ledger_row(entry)
                for listener in account.listeners:
                    listener.balance(row)
        if order.spec.conditional is not None:
            self._called_forth.append(lambda at: self._close_conditionally(account, market, order, fill.qty, at))
        if not order.remaining_lots:
            completed.append(order)

    def _release(self, account: Account, order: ClientOrder, at: WallNs) -> None:
        """Reserve only for what is still to be filled."""
        left = order.remaining_lots
        if order.side is SELL:
            account.reserve(order, selling_reserve(order.pair, left))
        elif order.limit_ticks is not None:
            reserve = buying_reserve(order.pair, order.limit_ticks, left, account.fee_tier(at).taker_ppm)
            account.reserve(order, min(reserve, order.hold))

    def _complete(self, order: ClientOrder, at: WallNs) -> None:
        account = self._accounts[order.account_id]
        order.status, order.place, order.closed_at = "filled", "gone", at
        self._in_book[order.symbol].pop(order.book_order_id, None)
        account.closed(order)
        self.ledger.changed(order)
        if account.listeners:
            self._tell(account, "filled", rows.filled_row(order, at), order, at)

    def _end(self, account: Account, order: ClientOrder, status: str, reason: str, at: WallNs) -> None:
        """Canceled or expired; the book has already forgotten it."""
        order.status = "expired" if status == "expired" else "canceled"
        order.place, order.reason, order.closed_at = "gone", reason, at
        self._in_book[order.symbol].pop(order.book_order_id, None)
        self._untriggered[order.symbol].pop(order.order_id, None)
        account.closed(order)
        self.ledger.changed(order)
        if account.listeners:
            self._tell(account, order.status, rows.ended_row(order, at), order, at)

    # --- what trades call forth --------------------------------------------------------------------------------------

    def _pull(self, order: ClientOrder, last: PriceTicks) -> None:
        """This trade triggers the order: it acts when the present action is over."""
        self._untriggered[order.symbol].pop(order.order_id, None)
        order.triggered_ticks = last
        self._called_forth.append(lambda at: self._activate(order, at))

    def _activate(self, order: ClientOrder, at: WallNs) -> None:
        if not order.is_open:
            return
        account, market = self._accounts[order.account_id], self._markets[order.symbol]
        order.triggered_at, order.place = at, "book"
        if order.order_type == "trailing-stop-limit":
            order.limit_ticks = trailing_limit(order)
            if order.side is BUY:
                ppm = account.fee_tier(at).taker_ppm
                reserve = buying_reserve(order.pair, order.limit_ticks, order.remaining_lots, ppm)
                if reserve - order.hold > account.free(order.hold_asset):
                    self._end(account, order, "canceled", NO_FUNDS_REASON, at)
                    return
                account.reserve(order, reserve)
        self.ledger.changed(order)
        if account.listeners:
            self._tell(account, "status", rows.status_row(order, at), order, at)
        if order.post_only and crosses(market, order.side, order.limit_ticks):
            self._end(account, order, "canceled", POST_ONLY_REASON, at)
            return
        self._match(account, market, order, at)

    def _close_conditionally(
        self, account: Account, market: PairMarket, primary: ClientOrder, lots: QtyLots, at: WallNs
    ) -> None:
        """A fill of an order with a conditional close: the opposite order of that quantity."""
        spec, terms = closing_order(primary, market, lots)
        asset, amount = reserve_of(account, spec, market, terms, at)
        if amount <= account.free(asset):  # a close that cannot be paid for never comes to life
            self._place(account, market, spec, terms, (asset, amount), at, ref_order_id=primary.order_id)

    def _settle_called_forth(self, at: WallNs) -> None:
        """Let triggered and conditional orders act, until none is called forth any more."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._called_forth:
                self._called_forth.popleft()(self._after(at))
        finally:
            self._busy = False

    def check_invariants(self) -> None:
        """Raise AssertionError unless orders, books and accounts agree with each other."""
        for symbol, in_book in self._in_book.items():
            book = self._markets[symbol].book
            for book_order_id, order in in_book.items():
                resting = book.order(book_order_id)
                assert resting is not None, "an order that is open is in the book"
                assert resting.owner == order.account_id
                assert resting.open_qty + resting.hidden_qty == order.remaining_lots
                assert resting.price == order.limit_ticks
        for account in self._accounts.values():
            holds: dict[str, Decimal] = {}
            for order in account.open_orders.values():
                assert order.is_open
                assert order.hold >= 0
                holds[order.hold_asset] = holds.get(order.hold_asset, Decimal(0)) + order.hold
                waits = order.order_id in self._untriggered[order.symbol]
                rests = order.book_order_id in self._in_book[order.symbol]
                assert {"untriggered": (True, False), "book": (False, True), "scheduled": (False, False)}[
                    order.place
                ] == (waits, rests), "it is where it says"
            for asset, held in account.holds.items():
                assert held == holds.get(asset, 0), "what is held is what the open orders hold"
            for order in account.closed_orders.values():
                assert not order.is_open
                assert not order.hold
                assert (order.status == "filled") == (order.remaining_lots == 0 and order.reason is None)

    # --- small print -------------------------------------------------------------------------------------------------

    def _charge(self, account: Account, symbol: str, points: float, at: WallNs) -> None:
        if not self._count_rates:
            return
        counter = account.counter(symbol)
        if not counter.admits(points, at):
            raise VenueReject(RATE_EXCEEDED)
        counter.charge(points, at)

    def _charge_aged(self, account: Account, action: Action, order: ClientOrder, at: WallNs) -> None:
        self._charge(account, order.symbol, cost(action, max(0, at - order.changed_at)), at)

    def _tell(self, account: Account, exec_type: str, row: str, order: ClientOrder, at: WallNs) -> None:
        for listener in account.listeners:
            listener.execution(exec_type, row, order.symbol, at)


def _is_userref(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit() and len(name) <= 11
