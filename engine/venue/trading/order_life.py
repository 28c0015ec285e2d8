"""The life of an accepted order: placed, started, matched, amended, removed.

    place ──► start ──► match ──► OrderBook ──► PairMarket.publish ──► the public
      ▲         │         ▲                             │ on_trades (the order flow's too)
      │         ▼         │                             ▼
      │    untriggered    │                           Fills
      │ closes            │ triggered                   │
      └────────────── follow_ups ◄──────────────────────┘

Orders that an action causes (triggered orders, conditional closes) wait until the action is
over, so that no matching happens inside another. The code that begins an action ends it
with `conclude`.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from engine.units import PriceTicks, QtyLots, WallNs
from engine.venue.market.markets import Markets
from engine.venue.market.matching import BUY, Outcome
from engine.venue.market.pair_market import PairMarket
from engine.venue.trading import executions as rows
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import TRAILING_KINDS, ClientOrder, OrderSpec
from engine.venue.trading.fills import Fills
from engine.venue.trading.ledger import Ledger
from engine.venue.trading.liquidity import affordable, crosses, is_fillable, reserve_of, worst_price
from engine.venue.trading.order_changes import closing_order
from engine.venue.trading.order_checks import Terms
from engine.venue.trading.order_places import (
    FOK_UNFILLED,
    IOC_REMAINDER,
    MARKET_REMAINDER,
    NO_FUNDS_REASON,
    POST_ONLY_REASON,
    SELF_TRADE,
    USER,
    Closing,
    OrderPlaces,
)
from engine.venue.trading.reminders import Reminders
from engine.venue.trading.settlement import Ids, buying_reserve, quote_ppm
from engine.venue.trading.triggers import pulled, trail, trailing_limit


class OrderLife:
    """The venue's actions on accepted orders."""

    def __init__(
        self,
        markets: Markets,
        after: Callable[[WallNs], WallNs],
        accounts: Mapping[int, Account],
        places: OrderPlaces,
        fills: Fills,
        reminders: Reminders,
        ledger: Ledger,
        ids: Ids,
    ) -> None:
        """`after` is the exchange's: no two events of the venue share a microsecond."""
        self._markets = markets
        self._after = after
        self._accounts = accounts
        self._places = places
        self._fills = fills
        self._reminders = reminders
        self._ledger = ledger
        self._ids = ids
        self._busy = False  # an action is under way; orders that it causes wait
        self._order_count = 0
        markets.tell_trades_to(self._trades_happened)

    # --- placing

    def place(
        self,
        account: Account,
        market: PairMarket,
        spec: OrderSpec,
        terms: Terms,
        reserve: tuple[str, Decimal],
        at: WallNs,
        ref_order_id: str | None = None,
    ) -> ClientOrder:
        """Place an accepted order: scheduled, waiting for its trigger, or into the book."""
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
        self._ledger.accepted(order)
        if account.listeners:
            account.tell("pending_new", rows.pending_new_row(order, at), order.symbol, at)
        if spec.expire_time is not None:
            self._reminders.add(spec.expire_time, account.account_id, order.order_id)
        if spec.effective_time is not None and spec.effective_time > at:
            order.place = "scheduled"
            self._reminders.add(spec.effective_time, account.account_id, order.order_id)
        else:
            self.start(account, market, order, at)
        return order

    def start(self, account: Account, market: PairMarket, order: ClientOrder, at: WallNs) -> None:
        """Start an order: it waits for its trigger, or goes into the book."""
        if order.is_triggered_kind:
            order.status = "new"
            self._places.await_trigger(order)
            if account.listeners:
                account.tell("new", rows.new_row(order, at), order.symbol, at)
            if pulled(order, market.last):
                self._places.pull(order, market.last)
            return
        order.place = "book"
        if order.post_only and crosses(market, order.side, order.limit_ticks):
            self._places.canceled(order, POST_ONLY_REASON, at)
            return
        order.status = "new"
        if account.listeners:
            account.tell("new", rows.new_row(order, at), order.symbol, at)
        self._match(account, market, order, at)

    def _match(self, account: Account, market: PairMarket, order: ClientOrder, at: WallNs) -> None:
        """Match an order; cancel what can neither trade nor rest."""
        spec, book = order.spec, market.book
        limit = order.limit_ticks
        lots = order.remaining_lots
        worst = limit if limit is not None else worst_price(market, order.side)
        if spec.time_in_force == "fok" and not is_fillable(account, market, order, worst):
            self._places.canceled(order, FOK_UNFILLED, at)
            return
        reason = MARKET_REMAINDER if limit is None else IOC_REMAINDER
        if limit is None:
            if order.is_triggered_kind and order.side is BUY:
                payable = affordable(account, market, order, worst, at)
                if payable < lots:
                    lots, reason = payable, NO_FUNDS_REASON
            if not lots or worst is None:
                self._places.canceled(order, reason, at)
                return
            outcome = book.market(account.account_id, order.side, lots, worst=worst, stp=spec.stp_type)
        else:
            outcome = book.limit(
                account.account_id,
                order.side,
                limit,
                lots,
                display_qty=order.display_lots,
                rest=spec.time_in_force in ("gtc", "gtd"),
                stp=spec.stp_type,
            )
        self._places.enter_book(order, outcome.order_id)
        self._publish(market, outcome, at)
        self._expel(market, outcome, at)
        if order.is_open and not outcome.resting_qty:
            self._places.canceled(order, SELF_TRADE if outcome.self_met else reason, at)

    # --- while it is open

    def amended(self, market: PairMarket, order: ClientOrder, is_moved: bool, at: WallNs) -> None:
        """Bring book, trigger or schedule to an order's new terms; `is_moved` if its limit
        changed.
        """
        if order.remaining_lots <= 0:
            self.cancel(order, USER, at)
            return
        if order.place == "untriggered" and pulled(order, market.last):
            self._places.pull(order, market.last)
        if order.place != "book":
            return
        resting = market.book.order(order.book_order_id)
        assert resting is not None
        outcome = market.book.amend(
            order.book_order_id,
            price=order.limit_ticks if is_moved else None,
            # The engine counts fills since the order entered its book.
            qty=QtyLots(order.remaining_lots + resting.filled_qty),
            display_qty=order.display_lots or None,
            stp=order.spec.stp_type,
        )
        self._publish(market, outcome, at)
        self._expel(market, outcome, at)
        if order.is_open and not outcome.resting_qty:
            self._places.canceled(order, SELF_TRADE, at)

    def _expel(self, market: PairMarket, outcome: Outcome, at: WallNs) -> None:
        """End older orders that self-trade prevention took out of the book."""
        for expelled in outcome.expelled:
            order = self._places.in_book[market.pair.symbol].get(expelled.order_id)
            if order is not None:
                self._places.canceled(order, SELF_TRADE, at)

    # --- ending

    def cancel(self, order: ClientOrder, reason: str, at: WallNs) -> None:
        """Cancel an order, if it is still open."""
        if order.is_open:
            self._take_out(order, at)
            self._places.canceled(order, reason, at)

    def expire(self, order: ClientOrder, at: WallNs) -> None:
        """End an order whose time is over."""
        self._take_out(order, self._after(at))
        self._places.expired(order, at)

    def _take_out(self, order: ClientOrder, at: WallNs) -> None:
        """Remove an order from the book, if it is there."""
        market = self._markets[order.symbol]
        if order.place == "book" and market.book.order(order.book_order_id) is not None:
            self._publish(market, market.book.cancel(order.book_order_id), at)

    # --- trades, and the orders that they cause

    def _publish(self, market: PairMarket, outcome: Outcome, at: WallNs) -> None:
        """Publish an outcome; its fills come back through `_trades_happened`."""
        was_busy, self._busy = self._busy, True
        try:
            market.publish(outcome, self._after(at))
        finally:
            self._busy = was_busy

    def _trades_happened(self, market: PairMarket, outcome: Outcome, first_trade_id: int, at: WallNs) -> None:
        """Apply the trades of one engine event; those of the order flow are an action of
        their own.
        """
        self._fills.apply(market, outcome, first_trade_id, at)
        self.conclude(at)

    def traded_elsewhere(self, market: PairMarket, price: PriceTicks, at: WallNs) -> None:
        """Take the price of a trade at the venue that is mirrored: triggers go by it,
        whether or not it met an order here.
        """
        market.last = price
        self._fills.pull(market.pair.symbol, price)
        self.conclude(at)

    def conclude(self, at: WallNs) -> None:
        """End an action: let triggered and conditional orders act, until there are none
        left.
        """
        if self._busy:  # part of another action
            return
        self._busy = True
        try:
            waiting = self._places.follow_ups
            while waiting:
                called = waiting.popleft()
                if isinstance(called, Closing):
                    self._close_conditionally(called, self._after(at))
                else:
                    self._activate(called, self._after(at))
        finally:
            self._busy = False

    def _activate(self, order: ClientOrder, at: WallNs) -> None:
        """Let a triggered order act, unless it has ended meanwhile."""
        if not order.is_open:
            return
        account, market = self._accounts[order.account_id], self._markets[order.symbol]
        order.triggered_at, order.place = at, "book"
        if order.order_type == "trailing-stop-limit":
            order.limit_ticks = trailing_limit(order)
            if order.side is BUY:
                ppm = quote_ppm(order.spec, account.fee_tier(at).taker_ppm)
                reserve = buying_reserve(order.pair, order.limit_ticks, order.remaining_lots, ppm)
                if reserve - order.hold > account.free(order.hold_asset):
                    self._places.canceled(order, NO_FUNDS_REASON, at)
                    return
                account.reserve(order, reserve)
        self._ledger.changed(order)
        if account.listeners:
            account.tell("status", rows.status_row(order, at), order.symbol, at)
        if order.post_only and crosses(market, order.side, order.limit_ticks):
            self._places.canceled(order, POST_ONLY_REASON, at)
            return
        self._match(account, market, order, at)

    def _close_conditionally(self, closing: Closing, at: WallNs) -> None:
        """Place the order of a conditional close for one fill."""
        primary = closing.primary
        account, market = self._accounts[primary.account_id], self._markets[primary.symbol]
        spec, terms = closing_order(primary, market, closing.lots)
        asset, amount = reserve_of(account, spec, market, terms, at)
        if amount <= account.free(asset):  # a close that cannot be paid for is not placed
            self.place(account, market, spec, terms, (asset, amount), at, ref_order_id=primary.order_id)
