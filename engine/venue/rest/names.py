"""REST's names of the venue's assets and pairs, which are older than those of WebSocket v2.

An asset has an id (`XXBT`, `ZUSD`, `USDT`) and an alternative name (`XBT`, `USD`); a pair
an id (`XXBTZUSD`), an alternative name (`XBTUSD`), a v1 name (`XBT/USD`) and the v2 symbol
(`BTC/USD`). Requests may use any of them.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from engine.errors import VenueReject
from engine.venue.market.pairs import PairSpec, asset_spec

UNKNOWN_PAIR: Final = "EQuery:Unknown asset pair"
UNKNOWN_ASSET: Final = "EQuery:Unknown asset"

# The oldest assets have a prefix: X for coins, Z for money.
_IDS: Final = {
    "BTC": "XXBT",
    "ETH": "XETH",
    "XRP": "XXRP",
    "DOGE": "XXDG",
    "USD": "ZUSD",
    "EUR": "ZEUR",
    "GBP": "ZGBP",
    "JPY": "ZJPY",
}
_ALTNAMES: Final = {"BTC": "XBT", "DOGE": "XDG"}
# Pairs of two such assets are named by both ids, all others by their alternative name,
# DOGE's among them.
_SHORT_IDS: Final = frozenset({"DOGE/USD"})


class PairNames(msgspec.Struct, frozen=True):
    """All names of one pair."""

    symbol: str  # BTC/USD
    pair_id: str  # XXBTZUSD
    altname: str  # XBTUSD
    wsname: str  # XBT/USD
    base_id: str  # XXBT
    quote_id: str  # ZUSD


def asset_id(asset: str) -> str:
    """`asset_id("BTC") == "XXBT"`."""
    return _IDS.get(asset, asset)


def asset_altname(asset: str) -> str:
    """`asset_altname("BTC") == "XBT"`."""
    return _ALTNAMES.get(asset, asset)


def asset_decimals(asset: str) -> int:
    """The decimals of its balances."""
    return asset_spec(asset).precision


def pair_names(pair: PairSpec) -> PairNames:
    """All names of a pair."""
    base, quote = pair.base, pair.quote
    altname = asset_altname(base) + asset_altname(quote)
    both_old = base in _IDS and quote in _IDS and pair.symbol not in _SHORT_IDS
    return PairNames(
        symbol=pair.symbol,
        pair_id=asset_id(base) + asset_id(quote) if both_old else altname,
        altname=altname,
        wsname=f"{asset_altname(base)}/{asset_altname(quote)}",
        base_id=asset_id(base),
        quote_id=asset_id(quote),
    )


class NameBook:
    """The names of the listed pairs, looked up by any of them."""

    def __init__(self, pairs: Iterable[PairSpec]) -> None:
        self.pairs = tuple(pairs)
        self.names = {pair.symbol: pair_names(pair) for pair in self.pairs}
        self._pair_of: dict[str, PairSpec] = {}
        for pair in self.pairs:
            names = self.names[pair.symbol]
            slashed_ids = f"{names.base_id}/{names.quote_id}"  # used in an example of Kraken's own page
            for name in (pair.symbol, pair.base + pair.quote, names.wsname, names.altname, names.pair_id, slashed_ids):
                self._pair_of[name] = pair
        self.assets = tuple(dict.fromkeys(asset for pair in self.pairs for asset in (pair.base, pair.quote)))
        self._asset_of: dict[str, str] = {}
        for asset in self.assets:
            for name in (asset, asset_altname(asset), asset_id(asset)):
                self._asset_of[name] = asset

    def pair(self, name: str) -> PairSpec:
        """The pair with this name, of any kind; raises VenueReject when none is listed."""
        pair = self._pair_of.get(name.strip().upper())
        if pair is None:
            raise VenueReject(UNKNOWN_PAIR)
        return pair

    def keyed(self, names: Iterable[str], display: bool) -> dict[str, PairSpec]:
        """The pairs with these names, by the key of each in a reply; raises VenueReject for
        one not listed.

        A name with a slash is its own key; any other becomes the id, or with `display` the
        v2 symbol.
        """
        pairs = {}
        for name in names:
            pair = self.pair(name)
            key = pair.symbol if display else name.strip() if "/" in name else self.names[pair.symbol].pair_id
            pairs[key] = pair
        return pairs

    def asset(self, name: str) -> str:
        """The asset with this name, in v2's words; raises VenueReject when it is not
        listed.
        """
        asset = self._asset_of.get(name.strip().upper())
        if asset is None:
            raise VenueReject(UNKNOWN_ASSET)
        return asset

    def listed(self, names: str) -> list[PairSpec]:
        """The pairs of a list with commas; all of them when it is empty. Raises
        VenueReject.
        """
        if not names.strip():
            return list(self.pairs)
        return [self.pair(name) for name in names.split(",")]
