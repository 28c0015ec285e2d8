"""The instruments that the venue always knows, and the character of their books.

Precisions, minima and assets are those that Kraken's instrument channel showed in
2024–2026; prices are those of some day in 2026, from which the order flow moves them.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec

from engine.errors import ConfigError
from engine.units import PriceTicks, QtyLots


class AssetSpec(msgspec.Struct, frozen=True):
    """One entry of the instrument channel's `assets`."""

    name: str
    precision: int
    precision_display: int
    collateral_value: str = "0.000"


class PairSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One pair: its entry in the instrument channel, and the shape of its order flow."""

    symbol: str
    price_decimals: int
    qty_decimals: int
    cost_decimals: int
    qty_min: str
    cost_min: str
    mid_ticks: PriceTicks  # the first price, to which the flow returns
    gap_ticks: int  # usual distance between neighboring levels
    levels_target: int  # levels a side that the flow maintains
    typical_lots: QtyLots  # median order quantity
    weight: float  # share of the venue's events, relative to the other pairs
    warm_up_actions: int = 800  # of the order flow before the first client: a shaped book and a tape with trades

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2]


def _pair(symbol: str, price_decimals: int, qty_decimals: int, **rest: object) -> PairSpec:
    return msgspec.convert(
        {"symbol": symbol, "price_decimals": price_decimals, "qty_decimals": qty_decimals, **rest}, PairSpec
    )


# All others are deep enough for a full window at depth 100, BTC/USD at depth 1000. MINA/GBP
# is thin on purpose: fewer than ten levels at times, as pairs on Kraken are, where
# checksums that assume ten levels fail.
PAIRS: Final = (
    _pair("BTC/USD", 1, 8, cost_decimals=5, qty_min="0.00005000", cost_min="0.50",
          mid_ticks=635_017, gap_ticks=7, levels_target=1_200, typical_lots=5_000_000, weight=10),
    _pair("ETH/USD", 2, 8, cost_decimals=5, qty_min="0.00100000", cost_min="0.50",
          mid_ticks=177_413, gap_ticks=4, levels_target=600, typical_lots=90_000_000, weight=7),
    _pair("SOL/USD", 2, 8, cost_decimals=5, qty_min="0.02000000", cost_min="0.50",
          mid_ticks=14_382, gap_ticks=1, levels_target=300, typical_lots=1_400_000_000, weight=4),
    _pair("XRP/USD", 5, 8, cost_decimals=6, qty_min="1.65000000", cost_min="0.50",
          mid_ticks=221_437, gap_ticks=9, levels_target=300, typical_lots=45_000_000_000, weight=3),
    _pair("DOGE/USD", 7, 8, cost_decimals=9, qty_min="13.00000000", cost_min="0.50",
          mid_ticks=1_463_215, gap_ticks=220, levels_target=300, typical_lots=400_000_000_000, weight=3),
    _pair("ETH/BTC", 5, 8, cost_decimals=10, qty_min="0.00100000", cost_min="0.00002",
          mid_ticks=2_794, gap_ticks=1, levels_target=260, typical_lots=120_000_000, weight=2),
    _pair("EUR/USD", 5, 8, cost_decimals=5, qty_min="0.50000000", cost_min="0.50",
          mid_ticks=116_842, gap_ticks=2, levels_target=260, typical_lots=90_000_000_000, weight=1.5),
    _pair("MINA/GBP", 4, 8, cost_decimals=8, qty_min="9.00000000", cost_min="0.50",
          mid_ticks=1_278, gap_ticks=6, levels_target=12, typical_lots=60_000_000_000, weight=0.5),
    _pair("BTC/JPY", 0, 8, cost_decimals=3, qty_min="0.00005000", cost_min="50",
          mid_ticks=9_981_250, gap_ticks=350, levels_target=260, typical_lots=2_000_000, weight=1),
    _pair("VET/USDT", 6, 5, cost_decimals=5, qty_min="200.00000", cost_min="0.5000",
          mid_ticks=25_417, gap_ticks=3, levels_target=260, typical_lots=350_000_000, weight=1),
    # Lots of five decimals, of an asset of four: what is bought is credited rounded, says
    # Kraken's support; minima and price are guesses.
    _pair("PENGU/USD", 6, 5, cost_decimals=8, qty_min="230.00000", cost_min="0.50",
          mid_ticks=21_734, gap_ticks=3, levels_target=260, typical_lots=400_000_000, weight=1),
)  # fmt: skip

ASSETS: Final = {
    asset.name: asset
    for asset in (
        AssetSpec("USD", 4, 2, "1.000"),
        AssetSpec("EUR", 4, 2, "1.000"),
        AssetSpec("GBP", 4, 2, "1.000"),
        AssetSpec("JPY", 2, 0, "1.000"),
        AssetSpec("USDT", 8, 4, "0.950"),
        AssetSpec("USDC", 8, 4, "0.950"),
        AssetSpec("BTC", 10, 5, "0.980"),
        AssetSpec("ETH", 10, 5, "0.960"),
        AssetSpec("SOL", 10, 5, "0.900"),
        AssetSpec("XRP", 8, 5, "0.900"),
        AssetSpec("DOGE", 8, 2, "0.850"),
        AssetSpec("MINA", 10, 4),
        AssetSpec("VET", 6, 2),
        AssetSpec("PENGU", 4, 2),
    )
}

# Precisions of a ledger at Kraken, as often as they occur there; and where they are shown.
_PRECISIONS: Final = (10, 10, 10, 10, 10, 10, 8, 8, 8, 6, 5, 4)
_DISPLAYED_MAX: Final = 5
ASSETS_KEPT: Final = 4_096
_LEARNED: Final[dict[str, AssetSpec]] = {}  # by `learn_assets`
NAMED_MAX: Final = 20  # symbols in one sentence


def learn_assets(decimals: Mapping[str, int]) -> None:
    """Take the decimals of assets as another venue tells them, in this process; as many are
    shown as of a made-up one.
    """
    for name, precision in decimals.items():
        _LEARNED[name] = AssetSpec(name, precision, min(precision // 2, _DISPLAYED_MAX))
    asset_spec.cache_clear()


@lru_cache(maxsize=ASSETS_KEPT)
def asset_spec(name: str) -> AssetSpec:
    """The asset of this name: one of ours, one that was learned, or what a made-up asset of
    that name is, always and in every venue."""
    asset = _LEARNED.get(name) or ASSETS.get(name)
    if asset is not None:
        return asset
    precision = _PRECISIONS[crc32(name.encode()) % len(_PRECISIONS)]
    return AssetSpec(name, precision, min(precision // 2, _DISPLAYED_MAX))


PAIR_OF_SYMBOL: Final = {pair.symbol: pair for pair in PAIRS}

# Kraken's v1 names, which v2 refuses: the commonest reason for an unknown symbol.
_V1_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}


def pairs_of_symbols(symbols: tuple[str, ...], listed: Sequence[PairSpec] = PAIRS) -> tuple[PairSpec, ...]:
    """The pairs of these symbols, in the venue's own order; all of `listed` when none is
    given."""
    known = {pair.symbol for pair in listed}
    for symbol in symbols:
        if symbol not in known:
            base, _, quote = symbol.upper().partition("/")
            nearest = f"{_V1_NAMES.get(base, base)}/{_V1_NAMES.get(quote, quote)}"
            mend = f"use {nearest}" if nearest in known else f"it lists {named([pair.symbol for pair in listed])}"
            raise ConfigError(f"--symbols: the venue does not list {symbol!r}: {mend}")
    return tuple(pair for pair in listed if not symbols or pair.symbol in symbols)


def named(symbols: Sequence[str]) -> str:
    """The symbols for a sentence, the first of many."""
    more = len(symbols) - NAMED_MAX
    return ", ".join(symbols[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
