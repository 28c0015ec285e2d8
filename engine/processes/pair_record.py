"""Decodes the PAIR record of a market ring or board."""

from engine.market import Pair
from engine.records import unpack_pair


def pair_in(symbol: str, record: bytes) -> Pair:
    """The Pair of a PAIR record."""
    price_decimals, qty_decimals, rules = unpack_pair(record)
    return Pair(
        symbol,
        price_decimals,
        qty_decimals,
        price_increment_ticks=rules.price_increment_ticks,
        qty_increment_lots=rules.qty_increment_lots,
        qty_min_lots=rules.qty_min_lots,
        cost_min=rules.cost_min,
        status=rules.status,
        base_decimals=rules.base_decimals,
        quote_decimals=rules.quote_decimals,
        cost_decimals=rules.cost_decimals,
    )
