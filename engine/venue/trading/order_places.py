"""The place of each client's order: waiting for its trigger, in the book, about to act,
ended.

An order belongs to its account from its acceptance to its end. Here it is found by what
moves it: by its number in the book (fills), or by its pair (triggers). Every order ends
here, once: its account's reserve is released, ledger and listeners are told.
"""

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from engine.units import PriceTicks, QtyLots, WallNs
from engine.venue.market.pair_market import PairMarket
from engine.venue.trading import executions as rows
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder
from engine.venue.trading.ledger import Ledger

# Why an order ended. The first four were seen on the wire or in Kraken's support pages, the
# others are our own.
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
RELISTED: Final = "Pair precision changed"


class Closing(NamedTuple):
    """A fill of an order with a conditional close: the opposite order of that quantity is
    due.
    """

    primary: ClientOrder
    lots: QtyLots


class OrderPlaces:
    """Every open order that a trade can move, and the end of each."""

    def __init__(self, markets: Mapping[str, PairMarket], accounts: Mapping[int, Account], ledger: Ledger) -> None:
        self._markets = markets
        self._accounts = accounts
        self._ledger = ledger
        # By symbol, read by the effects of trades; only the methods below change them.
        self.in_book: dict[str, dict[int, ClientOrder]] = {symbol: {} for symbol in markets}  # by number in the book
        self.untriggered: dict[str, dict[str, ClientOrder]] = {symbol: {} for symbol in markets}  # by order id
        # Orders that the present action has caused, in order: triggered ones, and closes.
        # At most the untriggered orders and the fills of one action; empty between actions.
        self.follow_ups: deque[ClientOrder | Closing] = deque()

    # --- changes of place

    def await_trigger(self, order: ClientOrder) -> None:
        """From now on trades may trigger the order."""
        order.place = "untriggered"
        self.untriggered[order.symbol][order.order_id] = order

    def pull(self, order: ClientOrder, last: PriceTicks) -> None:
        """Trigger the order at this price; it acts when the present action is over."""
        self.untriggered[order.symbol].pop(order.order_id, None)
        order.triggered_ticks = last
        self.follow_ups.append(order)

    def enter_book(self, order: ClientOrder, book_order_id: int) -> None:
        """The matching engine has the order: from now on fills find it."""
        order.book_order_id = book_order_id
        self.in_book[order.symbol][book_order_id] = order

    # --- the end

    def filled(self, order: ClientOrder, at: WallNs) -> None:
        """End an order that is filled completely."""
        order.status = "filled"
        account = self._leave(order, at)
        if account.listeners:
            account.tell("filled", rows.filled_row(order, at), order.symbol, at)

    def canceled(self, order: ClientOrder, reason: str, at: WallNs) -> None:
        """End a canceled order, which the book has removed already."""
        order.status, order.reason = "canceled", reason
        self._ended(order, at)

    def expired(self, order: ClientOrder, at: WallNs) -> None:
        """End an expired order, which the book has removed already."""
        order.status, order.reason = "expired", EXPIRED_REASON
        self._ended(order, at)

    def _ended(self, order: ClientOrder, at: WallNs) -> None:
        self.untriggered[order.symbol].pop(order.order_id, None)
        account = self._leave(order, at)
        if account.listeners:
            account.tell(order.status, rows.ended_row(order, at), order.symbol, at)

    def _leave(self, order: ClientOrder, at: WallNs) -> Account:
        """Remove an order from its place and release its reserve; returns its account."""
        order.place, order.closed_at = "gone", at
        self.in_book[order.symbol].pop(order.book_order_id, None)
        account = self._accounts[order.account_id]
        account.closed(order)
        self._ledger.changed(order)
        return account

    def check_invariants(self) -> None:
        """Raise AssertionError unless orders, books and accounts agree with each other."""
        for symbol, in_book in self.in_book.items():
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
                waits = order.order_id in self.untriggered[order.symbol]
                rests = order.book_order_id in self.in_book[order.symbol]
                assert {"untriggered": (True, False), "book": (False, True), "scheduled": (False, False)}[
                    order.place
                ] == (waits, rests), "it is where it says"
            for asset, held in account.holds.items():
                assert held == holds.get(asset, 0), "what is held is what the open orders hold"
            for order in account.closed_orders.values():
                assert not order.is_open
                assert not order.hold
                assert (order.status == "filled") == (order.remaining_lots == 0 and order.reason is None)
