"""The public calls of REST that European rules require: PreTrade and PostTrade.

Both name their pair by its v2 symbol and describe it with the codes of financial reporting.
The shapes are those of Kraken's page and of a PostTrade reply of 2026-05; the token codes
of assets other than Bitcoin are left empty.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from itertools import islice, takewhile
from typing import Any, Final

from engine.timestamps import wall_ns
from engine.units import NS_PER_S, WallNs, units_decimal
from engine.venue.market.history import Trade
from engine.venue.market.matching import BUY, SELL, Side
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec
from engine.venue.rest.names import NameBook, asset_altname
from engine.venue.rest.params import Params
from engine.venue.rest.text import padded
from engine.venue.trading.order_checks import invalid
from engine.venue.wire.text import utc_ns

LEVELS_TOLD: Final = 10
TRADES_TOLD: Final = 1000
LOOK_BACK_NS: Final = 86_400 * NS_PER_S  # the period before `to_ts` that is searched where no `from_ts` is given
VENUE: Final = "PGSL"  # market identifier code
MONEY: Final = frozenset({"USD", "EUR", "GBP", "JPY"})
TOKEN_CODES: Final = {"BTC": ("V15WLZJMF", "BTC,XBT")}  # digital token identifier, short name
LONG_NAMES: Final = {
    "BTC": "Bitcoin", "ETH": "Ether", "SOL": "Solana", "XRP": "Ripple", "DOGE": "Dogecoin", "MINA": "Mina",
    "VET": "Vechain", "USDT": "Tether USD", "USD": "US Dollar", "EUR": "Euro", "GBP": "British Pound",
    "JPY": "Japanese Yen",
}  # fmt: skip

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|\+00:00)?")
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class RestTransparency:
    """PreTrade and PostTrade."""

    def __init__(
        self, markets: Mapping[str, PairMarket], book: NameBook, price_text: Callable[[int, PairSpec], str]
    ) -> None:
        self._markets = markets
        self._book = book
        self._price_text = price_text

    def pre_trade(self, params: Params) -> Any:
        """The ten best levels of both sides, with the number of orders on each."""
        market = self._markets[self._book.pair(params.required("symbol")).symbol]
        about = _about(market.pair)
        return about | {
            "venue": VENUE,
            "system": "CLOB",
            "bids": self._levels(market, BUY),
            "asks": self._levels(market, SELL),
        }

    def _levels(self, market: PairMarket, side: Side) -> list[dict[str, Any]]:
        pair, rows = market.pair, []
        for price, qty in market.book.levels(side, LEVELS_TOLD):
            changed = utc_ns(market.level_changed_s(side, price) * NS_PER_S)
            rows.append(
                {
                    "side": side.value.upper(),
                    "price": self._price_text(price, pair),
                    "qty": padded(units_decimal(qty, pair.qty_decimals), pair.qty_decimals),
                    "count": sum(1 for _ in market.book.orders_at(side, price)),
                    "submission_ts": changed,
                    "publication_ts": changed,
                }
            )
        return rows

    def post_trade(self, params: Params) -> Any:
        """The newest trades, or the first ones after `from_ts`, of one pair or of all,
        oldest first.
        """
        name = params.text("symbol")
        markets = [self._markets[self._book.pair(name).symbol]] if name else list(self._markets.values())
        from_at, to_at = _moment(params, "from_ts"), _moment(params, "to_ts")
        count = params.integer("count")
        count = TRADES_TOLD if count is None else count
        if not 1 <= count <= TRADES_TOLD:
            raise invalid("count")
        if from_at is None and to_at is None:
            newest = [(trade, market) for market in markets for trade in market.last_trades(count)]
            told = sorted(newest, key=_traded_at)[-count:]
        elif from_at is None:
            assert to_at is not None
            told = list(deque(_between(markets, WallNs(to_at - LOOK_BACK_NS), to_at), maxlen=count))
        else:
            told = list(islice(_between(markets, from_at, to_at), count))
        return {
            "last_ts": utc_ns(told[-1][0].at) if told else "",
            "count": len(told),
            "trades": [self._trade_row(trade, market.pair) for trade, market in told],
        }

    def _trade_row(self, trade: Trade, pair: PairSpec) -> dict[str, Any]:
        traded = utc_ns(trade.at)
        return {
            "trade_id": _id_text(trade.trade_id),
            "price": self._price_text(trade.price, pair),
            "quantity": padded(units_decimal(trade.qty, pair.qty_decimals), pair.qty_decimals),
            **_about(pair),
            "trade_venue": VENUE,
            "trade_ts": traded,
            "publication_venue": VENUE,
            "publication_ts": traded,
        }


def _about(pair: PairSpec) -> dict[str, str]:
    """The fields about a pair that both calls share."""
    base_code, base_short = TOKEN_CODES.get(pair.base, ("", ""))
    quote_code, quote_short = TOKEN_CODES.get(pair.quote, ("", ""))
    return {
        "symbol": pair.symbol,
        "description": f"{LONG_NAMES.get(pair.base, pair.base)} / {LONG_NAMES.get(pair.quote, pair.quote)}",
        "base_asset": asset_altname(pair.base),
        "base_notation": "UNIT",
        "base_dti_code": base_code,
        "base_dti_short_name": base_short,
        "quote_asset": asset_altname(pair.quote),
        "quote_notation": "MONE" if pair.quote in MONEY else "UNIT",
        "quote_dti_code": quote_code,
        "quote_dti_short_name": quote_short,
    }


def _between(markets: list[PairMarket], from_at: WallNs, to_at: WallNs | None) -> Iterator[tuple[Trade, PairMarket]]:
    """The trades of several pairs after one moment and until another, oldest first."""
    together = merge(*(_after(market, from_at) for market in markets), key=_traded_at)
    return together if to_at is None else takewhile(lambda told: told[0].at <= to_at, together)


def _after(market: PairMarket, from_at: WallNs) -> Iterator[tuple[Trade, PairMarket]]:
    for trade in market.trades(from_at):
        yield trade, market


def _traded_at(told: tuple[Trade, PairMarket]) -> int:
    return told[0].at


def _moment(params: Params, name: str) -> WallNs | None:
    text = params.text(name)
    if text is None:
        return None
    at = wall_ns(text.replace("+00:00", "").removesuffix("Z") + "Z") if _MOMENT.fullmatch(text) else 0
    if not at:
        raise invalid(name)
    return WallNs(at)


def _id_text(trade_id: int) -> str:
    """A number as the ids of Kraken look: `TAAAAA-AAAAA-AAB2C3`."""
    digits = ""
    for _ in range(16):
        trade_id, digit = divmod(trade_id, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"T{digits[:5]}-{digits[5:10]}-{digits[10:]}"
