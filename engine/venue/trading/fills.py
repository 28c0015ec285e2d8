"""The effect of trades on the clients' orders: fills and triggers.

Nothing is matched here. Orders that a trade causes are put into `OrderPlaces.follow_ups`,
and act later.
"""

from collections.abc import Mapping

from engine.units import PriceTicks, WallNs
from engine.venue.market.matching import SELL, Fill, Outcome
from engine.venue.market.pair_market import PairMarket
from engine.venue.trading import executions as rows
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder
from engine.venue.trading.ledger import Ledger
from engine.venue.trading.order_places import Closing, OrderPlaces
from engine.venue.trading.settlement import Ids, buying_reserve, quote_ppm, selling_reserve, settle, usd_value
from engine.venue.trading.triggers import pulled


class Fills:
    """Applies every trade of the venue to the clients' orders."""

    def __init__(
        self,
        places: OrderPlaces,
        markets: Mapping[str, PairMarket],
        accounts: Mapping[int, Account],
        ledger: Ledger,
        ids: Ids,
    ) -> None:
        self._places = places
        self._markets = markets
        self._accounts = accounts
        self._ledger = ledger
        self._ids = ids

    def apply(self, market: PairMarket, outcome: Outcome, first_trade_id: int, at: WallNs) -> None:
        """Apply one engine event: the clients' fills first, then the triggers."""
        symbol = market.pair.symbol
        completed: list[ClientOrder] = []
        if in_book := self._places.in_book[symbol]:
            for trade_id, fill in enumerate(outcome.fills, first_trade_id):
                if fill.maker_owner:
                    self._fill(in_book[fill.maker_order_id], fill, True, trade_id, at, completed)
                if fill.taker_owner:
                    self._fill(in_book[fill.taker_order_id], fill, False, trade_id, at, completed)
            for refilled in outcome.refilled:
                order = in_book.get(refilled.order_id)
                if order is not None:
                    row = rows.refill_row(order, refilled.shown_qty, at)
                    self._accounts[order.account_id].tell("iceberg_refill", row, symbol, at)
            for order in completed:
                self._places.filled(order, at)
        if self._places.untriggered[symbol]:
            for fill in outcome.fills:
                self.pull(symbol, fill.price)

    def pull(self, symbol: str, last: PriceTicks) -> None:
        """Trigger what a trade at this price triggers."""
        for order in list(self._places.untriggered[symbol].values()):
            if pulled(order, last):
                self._places.pull(order, last)

    def _fill(
        self, order: ClientOrder, fill: Fill, is_maker: bool, trade_id: int, at: WallNs, completed: list[ClientOrder]
    ) -> None:
        """Apply one fill to one order, which joins `completed` when it is filled
        completely.
        """
        account = self._accounts[order.account_id]
        execution, base, quote = settle(
            account,
            order,
            price=fill.price,
            lots=fill.qty,
            is_maker=is_maker,
            trade_id=trade_id,
            usd_per_quote=usd_value(order.pair.quote, self._markets),
            ids=self._ids,
            at=at,
        )
        _release(account, order, at)
        order.status = "partially_filled"
        self._ledger.filled(order, execution)
        if account.listeners:
            account.tell("trade", rows.trade_row(order, execution), order.symbol, at)
            for entry in (base, quote):
                account.tell_balance(rows.ledger_row(entry))
        if order.spec.conditional is not None:
            self._places.follow_ups.append(Closing(order, fill.qty))
        if not order.remaining_lots:
            completed.append(order)


def _release(account: Account, order: ClientOrder, at: WallNs) -> None:
    """Keep the reserve only for what is still to be filled."""
    left, taker_ppm = order.remaining_lots, account.fee_tier(at).taker_ppm
    if order.side is SELL:
        account.reserve(order, selling_reserve(order.pair, left, order.spec, taker_ppm))
    elif order.limit_ticks is not None:
        reserve = buying_reserve(order.pair, order.limit_ticks, left, quote_ppm(order.spec, taker_ppm))
        account.reserve(order, min(reserve, order.hold))
