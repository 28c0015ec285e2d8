"""The public calls of REST: the clock, the listings, and the present markets.

Each call takes the parameters and returns the `result` of the reply; it raises VenueReject
with Kraken's words. Prices of Ticker, Depth, Trades and Spread are written at the cost
precision, or at the price precision where that is finer; those of OHLC always at the
latter, as in genuine replies.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice
from time import gmtime, strftime
from typing import Any, Final

from engine.clock import Clock
from engine.errors import VenueReject
from engine.units import NS_PER_S, units_decimal
from engine.venue.market.candles import CANDLES_KEPT, INTERVALS, Candle
from engine.venue.market.day import DayTotals
from engine.venue.market.exchange import Exchange
from engine.venue.market.history import Trade
from engine.venue.market.matching import BUY, SELL, Side
from engine.venue.market.notices import Notices
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec, asset_spec
from engine.venue.rest.names import (
    UNKNOWN_ASSET,
    UNKNOWN_PAIR,
    NameBook,
    PairNames,
    asset_altname,
    asset_decimals,
    asset_id,
)
from engine.venue.rest.params import Params
from engine.venue.rest.text import padded
from engine.venue.rest.transparency import RestTransparency
from engine.venue.trading.order_checks import invalid

PublicCall = Callable[[Params], Any]
"""One method of REST."""

DEPTH_MAX: Final = 500
DEPTH_DEFAULT: Final = 100
TRADES_TOLD: Final = 1000
GROUPED_DEPTHS: Final = ("10", "25", "100", "250", "1000")
GROUPINGS: Final = ("1", "5", "10", "25", "50", "100", "250", "500", "1000")  # ticks
PRICE_DECIMALS_MIN: Final = 5  # of prices outside OHLC
NS_SINCE_MIN: Final = 10**12  # a `since` below is in seconds, one above in nanoseconds


class RestPublic:
    """The calls that need no key."""

    def __init__(
        self,
        exchange: Exchange,
        book: NameBook,
        clock: Clock,
        clock_offset_s: float,
        system: Callable[[], str],
        notices: Notices,
    ) -> None:
        self._markets = exchange.markets
        self._book = book
        self._clock = clock
        self._clock_offset_ns = int(clock_offset_s * NS_PER_S)
        self._system = system
        self._notices = notices
        self._transparency = RestTransparency(exchange.markets, book, _price)

    # --- the venue

    def time(self, params: Params) -> Any:
        """Return `{"unixtime":1762820224,"rfc1123":"Tue, 11 Nov 25 00:17:04 +0000"}`.

        This is the one clock of the venue that can be set wrong.
        """
        now_s = (self._clock.wall_ns() + self._clock_offset_ns) // NS_PER_S
        return {"unixtime": now_s, "rfc1123": strftime("%a, %d %b %y %H:%M:%S +0000", gmtime(now_s))}

    def system_status(self, params: Params) -> Any:
        """Return
        `{"status":"online","timestamp":"…","upcoming_maintenance":[],"emergency":[]}`.
        """
        now = self._clock.wall_ns()
        timestamp = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(now // NS_PER_S))
        return {"status": self._system(), "timestamp": timestamp, **self._notices.rest_fields(now)}

    def maintenance_schedule(self, params: Params) -> Any:
        """Return `{"events":[…]}`: all planned maintenance, however far ahead."""
        return {"events": self._notices.schedule(self._clock.wall_ns())}

    def assets(self, params: Params) -> Any:
        """The assets of the listed pairs, by id or display name."""
        names, display = params.texts("asset"), _display(params)
        if not _are_listed(params, "aclass"):
            if names:
                raise VenueReject(UNKNOWN_ASSET)
            return {}
        chosen = [self._book.asset(name) for name in names] if names else self._book.assets
        return {asset if display else asset_id(asset): _asset_row(asset) for asset in chosen}

    def asset_pairs(self, params: Params) -> Any:
        """The listed pairs; `info` selects a part of each."""
        kind, display = params.choice("info", tuple(_INFO)) or "info", _display(params)
        pairs = self._pairs(params, "aclass_base")
        if params.choice("execution_venue", EXECUTION_VENUES) not in (None, EXECUTION_VENUES[0]):
            return {}
        return {
            key: _part(_pair_row(pair, self._book.names[pair.symbol], display), _INFO[kind])
            for key, pair in pairs.items()
        }

    def _pairs(self, params: Params, aclass: str) -> dict[str, PairSpec]:
        """The pairs asked for, all when none is named, by their keys in the reply."""
        names = params.texts("pair")
        if not _are_listed(params, aclass):
            if names:
                raise VenueReject(UNKNOWN_PAIR)
            return {}
        keyed = self._book.keyed(names or [names.pair_id for names in self._book.names.values()], _display(params))
        return {key: self._markets.pair(pair.symbol) for key, pair in keyed.items()}

    # --- the markets

    def ticker(self, params: Params) -> Any:
        """Best prices, last trade, and the totals of today and of 24 hours."""
        pairs = self._pairs(params, "asset_class")
        return {key: self._ticker_row(self._markets[pair.symbol]) for key, pair in pairs.items()}

    def _ticker_row(self, market: PairMarket) -> dict[str, Any]:
        pair, now = market.pair, self._clock.wall_ns()
        today, day = market.day.today(now), market.day.totals(now)
        both = (today, day)
        last = market.last_trades(1)

        def price(ticks: int) -> str:
            return _price(ticks, pair)

        def qty(lots: int) -> str:
            return padded(units_decimal(lots, pair.qty_decimals), pair.qty_decimals)

        def best(side: Any) -> list[str]:
            levels = market.book.levels(side, 1)
            ticks, lots = levels[0] if levels else (0, 0)
            whole = max(1, round(units_decimal(lots, pair.qty_decimals))) if lots else 0
            return [price(ticks), str(whole), f"{whole}.000"]

        return {
            "a": best(SELL),
            "b": best(BUY),
            "c": [price(day.last), qty(last[0].qty if last else 0)],
            "v": [qty(span.qty) for span in both],
            "p": [_mean_price(span, pair) for span in both],
            "t": [span.trades for span in both],
            "l": [price(span.low) for span in both],
            "h": [price(span.high) for span in both],
            "o": price(today.open),
        }

    def depth(self, params: Params) -> Any:
        """The best levels of both sides, quantities rounded to three decimals, as Kraken's
        are.
        """
        market, key = self._market(params)
        count = params.integer("count")
        count = DEPTH_DEFAULT if count is None else count
        if count < 1:
            raise invalid("count")

        def rows(side: Side) -> list[Any]:
            pair = market.pair
            return [
                [
                    _price(ticks, pair),
                    _rough(units_decimal(lots, pair.qty_decimals)),
                    market.level_changed_s(side, ticks),
                ]
                for ticks, lots in market.book.levels(side, min(count, DEPTH_MAX))
            ]

        return {key: {"asks": rows(SELL), "bids": rows(BUY)}}

    def grouped_book(self, params: Params) -> Any:
        """The book in steps of several ticks: bids count at the step below, asks at the one
        above.
        """
        market, _ = self._market(params)
        pair = market.pair
        depth = params.choice("depth", GROUPED_DEPTHS) or GROUPED_DEPTHS[0]
        grouping = int(params.choice("grouping", GROUPINGS) or GROUPINGS[0])

        def rows(side: Side) -> list[Any]:
            steps: dict[int, int] = {}
            for ticks, lots in market.book.levels(side):
                step = ticks - ticks % grouping if side is BUY else ticks + -ticks % grouping
                if step not in steps and len(steps) == int(depth):
                    break
                steps[step] = steps.get(step, 0) + lots
            return [
                {
                    "price": _price(ticks, pair),
                    "qty": padded(units_decimal(lots, pair.qty_decimals), pair.qty_decimals),
                }
                for ticks, lots in steps.items()
            ]

        return {"pair": pair.symbol, "grouping": grouping, "bids": rows(BUY), "asks": rows(SELL)}

    def ohlc(self, params: Params) -> Any:
        """Up to 720 candles, the last one unfinished; intervals without a trade have one
        too.
        """
        market, key = self._market(params)
        interval = params.integer("interval")
        interval = 1 if interval is None else interval
        if interval not in INTERVALS:
            raise invalid("interval")
        since_s = (_since_ns(params) or 0) // NS_PER_S
        candles = _without_gaps(market.candles.kept(interval), interval, self._clock.wall_ns() // NS_PER_S)
        # The last one is always included, whatever `since` says.
        wanted = [candle for candle in candles[:-1] if candle.begin_s > since_s] + candles[-1:]
        rows = [_candle_row(candle, market.pair) for candle in wanted]
        finished = candles[-2].begin_s if len(candles) > 1 else candles[-1].begin_s
        return {key: rows, "last": finished}

    def trades(self, params: Params) -> Any:
        """The last trades, or the first ones after `since`."""
        market, key = self._market(params)
        count = params.integer("count")
        count = TRADES_TOLD if count is None else count
        if not 1 <= count <= TRADES_TOLD:
            raise invalid("count")
        since = _since_ns(params)
        trades = market.last_trades(count) if since is None else list(islice(market.trades(since), count))
        last = trades[-1].at if trades else since or 0
        return {key: [_trade_row(trade, market.pair) for trade in trades], "last": str(last)}

    def spread(self, params: Params) -> Any:
        """The changes of the best prices."""
        market, key = self._market(params)
        pair = market.pair
        since_s = (_since_ns(params) or 0) // NS_PER_S
        rows = [[at_s, _price(bid, pair), _price(ask, pair)] for at_s, bid, ask in market.spreads if at_s >= since_s]
        return {key: rows, "last": rows[-1][0] if rows else since_s}

    def _market(self, params: Params) -> tuple[PairMarket, str]:
        """The market of the one pair asked for, and its key in the reply."""
        name = params.required("pair")
        if not _are_listed(params, "asset_class"):
            raise VenueReject(UNKNOWN_PAIR)
        ((key, pair),) = self._book.keyed([name], _display(params)).items()
        return self._markets[pair.symbol], key

    def calls(self) -> dict[str, PublicCall]:
        """By method: its function."""
        return {
            "Time": self.time,
            "SystemStatus": self.system_status,
            "MaintenanceSchedule": self.maintenance_schedule,
            "Assets": self.assets,
            "AssetPairs": self.asset_pairs,
            "Ticker": self.ticker,
            "Depth": self.depth,
            "OHLC": self.ohlc,
            "Trades": self.trades,
            "Spread": self.spread,
            "GroupedBook": self.grouped_book,
            "PreTrade": self._transparency.pre_trade,
            "PostTrade": self._transparency.post_trade,
        }


# --- rows

LISTED_CLASSES: Final = ("currency", "forex")  # Kraken's words for assets and for pairs of them
ASSET_CLASSES: Final = (*LISTED_CLASSES, "tokenized_asset")
EXECUTION_VENUES: Final = ("international", "bitnomial_exchange")  # the listed pairs belong to the first
_INFO: Final[dict[str, tuple[str, ...]]] = {  # the fields of a row that each `info` selects; empty: all
    "info": (),
    "leverage": ("leverage_buy", "leverage_sell"),
    "fees": ("fees", "fees_maker", "fee_volume_currency"),
    "margin": ("margin_call", "margin_level"),
}


def _are_listed(params: Params, name: str) -> bool:
    """Whether the class asked for is the one that the venue lists; tokenized shares are
    not.
    """
    return params.choice(name, ASSET_CLASSES) in (None, *LISTED_CLASSES)


def _display(params: Params) -> bool:
    """Whether to use the WebSocket's names of assets and pairs: `assetVersion=1`, the only
    version.
    """
    return params.choice("assetVersion", ("1",)) is not None


def _part(row: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Select the fields of a row that `info` asks for. With `margin` one field has another
    name.
    """
    if not keys:
        return row
    row["margin_level"] = row["margin_stop"]
    return {key: row[key] for key in keys}


def _asset_row(asset: str) -> dict[str, Any]:
    spec = asset_spec(asset)
    return {
        "aclass": "currency",
        "altname": asset_altname(asset),
        "decimals": asset_decimals(asset),
        "display_decimals": spec.precision_display,
        "collateral_value": float(spec.collateral_value),
        "status": "enabled",
    }


def _pair_row(pair: PairSpec, names: PairNames, display: bool) -> dict[str, Any]:
    """One pair. Without margin trading there is no leverage.

    Both lists of fees are empty for every pair, as at Kraken since 2026-09-08: TradeVolume
    has the fees.
    """
    return {
        "altname": names.altname,
        "wsname": names.wsname,
        "aclass_base": "currency",
        "base": pair.base if display else names.base_id,
        "aclass_quote": "currency",
        "quote": pair.quote if display else names.quote_id,
        "lot": "unit",
        "cost_decimals": pair.cost_decimals,
        "pair_decimals": pair.price_decimals,
        "lot_decimals": pair.qty_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [],
        "fees_maker": [],
        "fee_volume_currency": "USD" if display else "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": _bare(pair.qty_min),
        "costmin": _bare(pair.cost_min),
        "tick_size": padded(Decimal(1).scaleb(-pair.price_decimals), pair.price_decimals),
        "status": "online",
        "execution_venue": EXECUTION_VENUES[0],
    }


def _bare(text: str) -> str:
    """Drop trailing zeros: `"0.00005000"` becomes `"0.00005"`."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _price_decimals(pair: PairSpec) -> int:
    return max(PRICE_DECIMALS_MIN, pair.cost_decimals, pair.price_decimals)  # no price loses a tick


def _price(ticks: int, pair: PairSpec) -> str:
    return padded(units_decimal(ticks, pair.price_decimals), _price_decimals(pair))


def _rough(qty: Decimal) -> str:
    """A quantity to three decimals, but never 0, which would mean that the level is gone."""
    return padded(max(qty, Decimal("0.001")), 3)


def _candle_row(candle: Candle, pair: PairSpec) -> list[Any]:
    def price(ticks: int) -> str:
        return padded(units_decimal(ticks, pair.price_decimals), pair.price_decimals)

    return [
        candle.begin_s,
        price(candle.open),
        price(candle.high),
        price(candle.low),
        price(candle.close),
        price(candle.vwap()) if candle.trades else padded(0, max(1, pair.price_decimals)),
        padded(units_decimal(candle.qty, pair.qty_decimals), pair.qty_decimals),
        candle.trades,
    ]


def _mean_price(span: DayTotals, pair: PairSpec) -> str:
    """Cost by quantity with all its decimals, more than a tick has."""
    mean = units_decimal(span.cost, pair.price_decimals) / span.qty if span.qty else Decimal(0)
    return padded(mean, _price_decimals(pair))


def _trade_row(trade: Trade, pair: PairSpec) -> list[Any]:
    qty = padded(units_decimal(trade.qty, pair.qty_decimals), pair.qty_decimals)
    side, kind = trade.side.value[0], trade.order_type[0]
    return [_price(trade.price, pair), qty, round(trade.at / NS_PER_S, 7), side, kind, "", trade.trade_id]


def _without_gaps(candles: Sequence[Candle], interval: int, now_s: int) -> list[Candle]:
    """The last CANDLES_KEPT intervals up to now, oldest first, with candles for those
    without a trade.
    """
    if not candles:
        return []
    span_s = interval * 60
    first_s = max(now_s // span_s * span_s - (CANDLES_KEPT - 1) * span_s, candles[0].begin_s)
    last = candles[0]
    told: list[Candle] = []
    for candle in candles:
        told += [_quiet(last, at_s) for at_s in range(max(first_s, last.begin_s + span_s), candle.begin_s, span_s)]
        if candle.begin_s >= first_s:
            told.append(candle)
        last = candle
    return told + [_quiet(last, at_s) for at_s in range(max(first_s, last.begin_s + span_s), now_s + 1, span_s)]


def _quiet(last: Candle, begin_s: int) -> Candle:
    """A candle without trades, at the last one's close."""
    close = last.close
    return Candle(begin_s, close, close, close, close, 0, 0, 0)


def _since_ns(params: Params) -> int | None:
    """`since` in nanoseconds, from either unit; None when not given."""
    since = params.decimal("since")
    if since is None:
        return None
    if since <= 0:
        return 0
    if since.adjusted() > 20:
        raise invalid("since")
    return int(since) if since >= NS_SINCE_MIN else int(since * NS_PER_S)
