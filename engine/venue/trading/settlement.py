"""The settlement of a fill: costs and fees, balances and their entries, and reserves of
open orders.

Amounts of a fill are whole units of the pair's cost precision. A change of a balance is
rounded to the precision of its asset, a half to the even neighbour, fill by fill: Kraken's
ledger shows a cost of 19.97427 as 19.9743, and its support explains so why 39148.13654
PENGU bought (lots of five decimals) credited 39148.1365 (an asset of four). Many fills of a
sale may thus take a unit or two more than was sold: a balance may go below nothing by so
much.
"""

from base64 import b32encode
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, ROUND_UP, Context, Decimal
from functools import lru_cache
from random import Random
from typing import Final

from engine.errors import ConfigError
from engine.units import PriceTicks, QtyLots, WallNs, units_decimal
from engine.venue.market.matching import BUY
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import ASSETS_KEPT, PAIR_OF_SYMBOL, PairSpec, asset_spec, named
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder, Execution, LedgerEntry, OrderSpec
from engine.venue.trading.executions import usd_decimals
from engine.venue.trading.fees import cost_units, fee_units

# The value of one unit where none of our markets gives it.
_USD_BY_HAND: Final = {"USD": 1.0, "USDT": 1.0, "USDC": 1.0, "GBP": 1.34, "JPY": 0.00636}


# The funded account's first balances, of the assets that the venue lists.
_FUNDS: Final = {
    "USD": 1_000_000,
    "EUR": 1_000_000,
    "GBP": 1_000_000,
    "USDT": 1_000_000,
    "USDC": 1_000_000,
    "JPY": 150_000_000,
    "BTC": 10,
    "ETH": 100,
    "SOL": 2_000,
    "XRP": 200_000,
    "DOGE": 2_000_000,
    "MINA": 1_000_000,
    "VET": 20_000_000,
    "PENGU": 20_000_000,
}
_FUNDS_ELSE_USD: Final = 200_000  # worth of any other asset
_MODEST_USD: Final = 10_000
_FUNDS_ELSE: Final = 10_000  # of one whose value is not known
# More digits than the costliest order that passes the checks: what nobody can pay is an
# amount too.
_WIDE: Final = Context(prec=100)


def default_funds(pairs: Iterable[PairSpec], markets: Mapping[str, PairMarket]) -> dict[str, Decimal]:
    """Enough of every asset of these pairs to trade it for a day."""
    assets = dict.fromkeys(asset for pair in pairs for asset in (pair.base, pair.quote))
    return {asset: at_precision(asset, _fund(asset, markets)) for asset in assets}


def _fund(asset: str, markets: Mapping[str, PairMarket]) -> Decimal:
    if asset in _FUNDS:
        return Decimal(_FUNDS[asset])
    value = usd_value(asset, markets)
    return Decimal(_FUNDS_ELSE_USD / value) if value else Decimal(_FUNDS_ELSE)


def modest_funds(pairs: Iterable[PairSpec], markets: Mapping[str, PairMarket]) -> dict[str, Decimal]:
    """Some 10,000 dollars in each currency that these pairs are paid in, and none of what
    they trade.
    """
    quotes = dict.fromkeys(pair.quote for pair in pairs)
    return {asset: at_precision(asset, Decimal(_MODEST_USD / (usd_value(asset, markets) or 1.0))) for asset in quotes}


def named_funds(funds: Mapping[str, Decimal], pairs: Iterable[PairSpec]) -> dict[str, Decimal]:
    """These funds, each at its asset's precision; raises ConfigError for one that no pair
    has.
    """
    assets = dict.fromkeys(asset for pair in pairs for asset in (pair.base, pair.quote))
    for asset in funds:
        if asset not in assets:
            raise ConfigError(f"--funds: {asset} is no currency of the pairs; they are {named(list(assets))}")
    return {asset: at_precision(asset, amount) for asset, amount in funds.items()}


class Ids:
    """Kraken's ids: 6-5-6 characters of base 32, the first of which gives the kind."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed} ids")

    def next(self, initial: str) -> str:
        """A new id: `O` an order, `T` a trade or an amend, `L` an entry of the ledger."""
        text = b32encode(self._rng.randbytes(10)).decode()
        return f"{initial}{text[:5]}-{text[5:10]}-{text[10:16]}"


@lru_cache(maxsize=ASSETS_KEPT)
def _unit(asset: str) -> Decimal:
    return Decimal(1).scaleb(-asset_spec(asset).precision)


def at_precision(asset: str, amount: Decimal) -> Decimal:
    """An amount at its asset's precision, a half to the even neighbour."""
    return amount.quantize(_unit(asset), ROUND_HALF_EVEN, _WIDE)


def pays_in_base(spec: OrderSpec) -> bool:
    """Whether the fees of its fills are taken in the base currency (`fcib`)."""
    return spec.fee_preference == "base"


def quote_ppm(spec: OrderSpec, taker_ppm: int) -> int:
    """The highest fee, in millionths, that a buyer must have in quote currency."""
    return 0 if pays_in_base(spec) else taker_ppm


def usd_value(asset: str, markets: Mapping[str, PairMarket]) -> float:
    """The value of one unit of an asset in US dollars."""
    if asset in _USD_BY_HAND:
        return _USD_BY_HAND[asset]
    market = markets.get(f"{asset}/USD")
    if market is not None:
        return float(market.last / 10**market.pair.price_decimals)
    pair = PAIR_OF_SYMBOL.get(f"{asset}/USD")
    if pair is not None:
        return float(pair.mid_ticks / 10**pair.price_decimals)
    for quote in ("USDT", "GBP"):
        pair = PAIR_OF_SYMBOL.get(f"{asset}/{quote}")
        if pair is not None:
            return float(pair.mid_ticks / 10**pair.price_decimals) * _USD_BY_HAND[quote]
    return 0.0


def buying_reserve(pair: PairSpec, price: PriceTicks, lots: int, taker_ppm: int) -> Decimal:
    """The amount that a buyer at this limit must have: the cost and the highest fee,
    rounded up.
    """
    if not lots:
        return Decimal(0)
    cost = cost_units(pair, price, QtyLots(lots)) + 1
    return spending(pair, cost, taker_ppm)


def spending(pair: PairSpec, cost: int, taker_ppm: int) -> Decimal:
    """A cost with its fee, rounded up to the quote's precision."""
    units = cost + fee_units(cost, taker_ppm)
    return units_decimal(units, pair.cost_decimals).quantize(_unit(pair.quote), ROUND_UP, _WIDE)


def selling_reserve(pair: PairSpec, lots: int, spec: OrderSpec, taker_ppm: int) -> Decimal:
    """The amount that a seller must have: the quantity, and the highest fee if taken there;
    rounded up.
    """
    qty = units_decimal(lots, pair.qty_decimals)
    if pays_in_base(spec):
        qty += (qty * taker_ppm).scaleb(-6)
    return qty.quantize(_unit(pair.base), ROUND_UP, _WIDE)


def settle(
    account: Account,
    order: ClientOrder,
    *,
    price: PriceTicks,
    lots: QtyLots,
    is_maker: bool,
    trade_id: int,
    usd_per_quote: float,
    ids: Ids,
    at: WallNs,
) -> tuple[Execution, LedgerEntry, LedgerEntry]:
    """Settle one fill: the order's sums, the account's balances, the two entries (base
    first).
    """
    pair = order.pair
    tier = account.fee_tier(at)
    cost = cost_units(pair, price, lots)
    ppm = tier.maker_ppm if is_maker else tier.taker_ppm
    fee = fee_units(cost, ppm)
    qty = units_decimal(lots, pair.qty_decimals)
    in_base = pays_in_base(order.spec)
    base_fee = at_precision(pair.base, (qty * ppm).scaleb(-6)) if in_base else Decimal(0)
    quote_fee = Decimal(0) if in_base else units_decimal(fee, pair.cost_decimals)
    sign = 1 if order.side is BUY else -1
    base_amount = at_precision(pair.base, sign * qty)
    fee_usd = round(fee / 10**pair.cost_decimals * usd_per_quote * 10 ** usd_decimals(pair))
    exec_id, base_id, quote_id = ids.next("T"), ids.next("L"), ids.next("L")
    execution = Execution(
        exec_id=exec_id,
        trade_id=trade_id,
        order_id=order.order_id,
        pair=pair,
        side=order.side,
        order_type=order.order_type,
        cl_ord_id=order.cl_ord_id,
        order_userref=order.order_userref,
        sender_sub_id=order.spec.sender_sub_id,
        price_ticks=price,
        qty_lots=lots,
        cost_units=cost,
        fee_units=fee,
        fee_usd_units=fee_usd,
        base_fee=base_fee if in_base else None,
        base_change=base_amount - base_fee,
        is_maker=is_maker,
        at=at,
        ledger_ids=(base_id, quote_id),
    )
    order.cum_lots = QtyLots(order.cum_lots + lots)
    order.cum_cost_units += cost
    order.fee_units += fee
    order.fee_usd_units += fee_usd
    order.exec_ids.append(exec_id)
    account.executed(execution)
    account.volume.add(cost / 10**pair.cost_decimals * usd_per_quote, at)
    cost_moved = -sign * units_decimal(cost, pair.cost_decimals)
    base = _enter(account, base_id, exec_id, pair.base, base_amount, base_fee, at)
    quote = _enter(account, quote_id, exec_id, pair.quote, cost_moved, quote_fee, at)
    return execution, base, quote


def _enter(
    account: Account, ledger_id: str, ref_id: str, asset: str, amount: Decimal, fee: Decimal, at: WallNs
) -> LedgerEntry:
    amount, fee = at_precision(asset, amount), at_precision(asset, fee)
    balance = account.balances.get(asset, Decimal(0)) + amount - fee
    entry = LedgerEntry(
        ledger_id=ledger_id, ref_id=ref_id, kind="trade", asset=asset, amount=amount, fee=fee, balance=balance, at=at
    )
    account.entered(entry)
    return entry
