"""Kraken's three names of a pair, joined: REST's id XXBTZUSD and altname XBTUSD, and the v2
symbol BTC/USD.

Orders take an altname, open orders are listed with one, trades with an id. The v2 symbol
follows from AssetPairs' `wsname`, in which two assets have old names (XBT is BTC, XDG is
DOGE).

Source: https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from engine.market import v2_symbol

# Assets whose REST id is an X (crypto) or Z (money) before a name of three letters; newer
# ones have one name.
_OLD_ASSETS = {
    "XXBT": "BTC",
    "XBT": "BTC",
    "XXDG": "DOGE",
    "XDG": "DOGE",
    "XETH": "ETH",
    "XETC": "ETC",
    "XLTC": "LTC",
    "XMLN": "MLN",
    "XREP": "REP",
    "XXLM": "XLM",
    "XXMR": "XMR",
    "XXRP": "XRP",
    "XZEC": "ZEC",
    "ZAUD": "AUD",
    "ZCAD": "CAD",
    "ZEUR": "EUR",
    "ZGBP": "GBP",
    "ZJPY": "JPY",
    "ZUSD": "USD",
}
_NAMES_BEFORE: dict[str, list[str]] = {}
for _old, _new in _OLD_ASSETS.items():
    _NAMES_BEFORE.setdefault(_new, []).append(_old)
WALLET_SUFFIXES = (".S", ".M", ".B", ".F", ".T")
"""Suffixes of assets in balances: staked, opt-in rewards, yield bearing, Kraken Rewards,
tokenized.
"""


def v2_asset(name: str) -> str:
    """The v2 name of an asset that REST names; a wallet's suffix stays.

    >>> v2_asset("ZUSD"), v2_asset("XXBT.B"), v2_asset("USDC")
    ('USD', 'BTC.B', 'USDC')
    """
    asset, dot, suffix = name.partition(".")
    return _OLD_ASSETS.get(asset, asset) + dot + suffix


def rest_names(symbol: str) -> tuple[str, ...]:
    """Every name that a reply of REST may have for a pair: its symbol first, then with the
    old names of its assets, with and without a slash.

    >>> rest_names("SOL/USDC")
    ('SOL/USDC', 'SOLUSDC')
    """
    base, _, quote = symbol.partition("/")
    bases, quotes = ([name, *_NAMES_BEFORE.get(name, ())] for name in (base, quote))
    return tuple(f"{first}{joint}{second}" for joint in ("/", "") for first in bases for second in quotes)


CURRENCY = "currency"
TOKENIZED = "tokenized_asset"


class RestPair(Struct, frozen=True, kw_only=True):
    """One pair of AssetPairs."""

    id: str
    altname: str
    symbol: str
    base: str
    """In v2 names."""
    quote: str
    pair_decimals: int
    lot_decimals: int
    cost_decimals: int
    status: str = "online"
    asset_class: str = CURRENCY
    """The class of the base: `CURRENCY`, or `TOKENIZED` for stocks such as AAPLx."""
    order_min: Decimal = Decimal(0)
    cost_min: Decimal = Decimal(0)
    tick_size: Decimal | None = None
    leverage_buy: tuple[int, ...] = ()
    leverage_sell: tuple[int, ...] = ()
    taker_fee_pct: Decimal | None = None
    """The fees of the lowest tier; TradeVolume has the account's own."""
    maker_fee_pct: Decimal | None = None

    def leverage_max(self, side: str) -> int:
        """The leverage that `margin: true` means on the WebSocket: the pair's highest, at
        most 5; 0 without any.
        """
        offered = self.leverage_buy if side == "buy" else self.leverage_sell
        return min(max(offered, default=0), LEVERAGE_MAX)


LEVERAGE_MAX = 5


class RestPairs:
    """All pairs by any of their names."""

    def __init__(self, pairs: Iterable[RestPair] = ()) -> None:
        self.all: dict[str, RestPair] = {}
        self._by_name: dict[str, RestPair] = {}
        for pair in pairs:
            self.all[pair.symbol] = pair
            for name in (pair.id, pair.altname, pair.symbol):
                self._by_name[name] = pair

    def find(self, name: str) -> RestPair | None:
        """The pair with this id, altname or symbol (in v1 or v2 form)."""
        return self._by_name.get(name) or self._by_name.get(v2_symbol(name))

    def symbol(self, name: str) -> str | None:
        """The v2 symbol of a pair in REST's name; None when it is not known."""
        pair = self.find(name)
        return pair.symbol if pair else None
