"""The liquidity for an order in the book: whether it crosses, its cost, and how much can
trade.

Nothing here changes the book; only `affordable` adjusts its order's reserve. An account's
own orders count as self-trade prevention would treat them: skipped, or the end of the
reachable part.
"""

from decimal import Decimal
from typing import Final

from engine.errors import VenueReject
from engine.units import PriceTicks, QtyLots, WallNs
from engine.venue.market.matching import BUY, SELL, Side
from engine.venue.market.pair_market import PairMarket
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder, OrderSpec
from engine.venue.trading.fees import cost_units
from engine.venue.trading.order_checks import DIGITS_MAX, TOO_SMALL, Terms, check_cash, invalid, qty_lots
from engine.venue.trading.settlement import buying_reserve, quote_ppm, selling_reserve, spending

MARKET_PROTECTION_PCT: Final = 10  # a market order trades at most this far from the best price


def lots_of(spec: OrderSpec, market: PairMarket) -> QtyLots:
    """The order's quantity; of an order that names a cost, the quantity which that buys
    now.
    """
    if spec.cash_order_qty is None:
        assert spec.order_qty is not None
        return qty_lots(spec.order_qty, market.pair)
    pair = market.pair
    cash = spec.cash_order_qty
    if not cash > 0 or not cash.is_finite() or cash.adjusted() > DIGITS_MAX:
        raise invalid("cash_order_qty")
    check_cash(cash, pair)
    left = int(cash.scaleb(pair.price_decimals + pair.qty_decimals))  # in ticks × lots
    lots = 0
    for price, qty in market.book.reachable(0, BUY, None, spec.stp_type):
        taken = min(qty, left // price)
        lots += taken
        left -= taken * price
        if taken < qty:
            break
    if not lots:
        raise VenueReject(TOO_SMALL)
    return QtyLots(lots)


def reserve_of(account: Account, spec: OrderSpec, market: PairMarket, terms: Terms, at: WallNs) -> tuple[str, Decimal]:
    """The asset and amount that a new order must find free."""
    pair = market.pair
    taker_ppm = account.fee_tier(at).taker_ppm
    if terms.side is SELL:
        return pair.base, selling_reserve(pair, terms.qty_lots, spec, taker_ppm)
    taker_ppm = quote_ppm(spec, taker_ppm)
    price = terms.limit_ticks or terms.trigger_ticks
    if price is not None:
        return pair.quote, buying_reserve(pair, price, terms.qty_lots, taker_ppm)
    cost = cost_of_taking(account, spec, market, terms.qty_lots)
    return pair.quote, spending(pair, cost + 1, taker_ppm)


def cost_of_taking(account: Account, spec: OrderSpec, market: PairMarket, lots: int) -> int:
    """The cost of buying `lots` at the market now."""
    total, left = 0, lots
    worst = worst_price(market, BUY)
    for price, qty in market.book.reachable(account.account_id, BUY, worst, spec.stp_type):
        taken = min(qty, left)
        total += cost_units(market.pair, price, QtyLots(taken))
        left -= taken
        if not left:
            break
    return total


def worst_price(market: PairMarket, side: Side) -> PriceTicks | None:
    """The furthest price that a market order may trade at; None when the other side is
    empty.
    """
    best = market.book.best(SELL if side is BUY else BUY)
    if best is None:
        return None
    share = best * MARKET_PROTECTION_PCT // 100
    return PriceTicks(best + share if side is BUY else max(1, best - share))


def crosses(market: PairMarket, side: Side, limit: PriceTicks | None) -> bool:
    """Whether an order at this limit would take."""
    best = market.book.best(SELL if side is BUY else BUY)
    if best is None or limit is None:
        return False
    return limit >= best if side is BUY else limit <= best


def is_fillable(account: Account, market: PairMarket, order: ClientOrder, worst: PriceTicks | None) -> bool:
    """Whether the whole order could be filled, up to this price."""
    left = order.remaining_lots
    for _, qty in market.book.reachable(account.account_id, order.side, worst, order.spec.stp_type):
        left = QtyLots(left - qty)
        if left <= 0:
            return True
    return False


def affordable(
    account: Account, market: PairMarket, order: ClientOrder, worst: PriceTicks | None, at: WallNs
) -> QtyLots:
    """The lots of a triggered market buy that the account can pay for; fits its reserve to
    them.
    """
    pair = market.pair
    taker_ppm = quote_ppm(order.spec, account.fee_tier(at).taker_ppm)
    funds = account.free(pair.quote) + order.hold
    lots, cost = 0, 1
    for price, qty in market.book.reachable(account.account_id, BUY, worst, order.spec.stp_type):
        taken = min(qty, order.remaining_lots - lots)
        while taken and spending(pair, cost + cost_units(pair, price, QtyLots(taken)), taker_ppm) > funds:
            taken //= 2  # approximate: what remains is canceled
        lots += taken
        cost += cost_units(pair, price, QtyLots(taken))
        if taken < qty:
            break
    account.reserve(order, min(funds, spending(pair, cost, taker_ppm)))
    return QtyLots(lots)
