"""The public calls of REST: the clock, the listings, and the markets as they stand.

Each call takes the parameters and answers with the `result` of the reply. Prices of Ticker, Depth, Trades and Spread
are written at the cost precision, those of OHLC at the price precision, as in genuine answers.
"""

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from time import gmtime, strftime
from typing import Any, Final

import msgspec

from engine.clock import Clock
from engine.errors import VenueReject
from engine.timestamps import wall_ns
from engine.units import NS_PER_S, PriceTicks, units_decimal
from engine.venue.candles import CANDLES_KEPT, INTERVALS, Candle
from engine.venue.exchange import Exchange
from engine.venue.fees import FEE_TIERS
from engine.venue.matching import BUY, SELL
from engine.venue.order_checks import invalid
from engine.venue.pair_market import TRADES_KEPT, PairMarket
from engine.venue.pairs import ASSETS, PairSpec
from engine.venue.precision import Change
from engine.venue.rest_names import (
    UNKNOWN_ASSET,
    UNKNOWN_PAIR,
    NameBook,
    PairNames,
    asset_altname,
    asset_decimals,
    asset_id,
)
from engine.venue.rest_params import Params
from engine.venue.rest_text import padded
from engine.venue.stream import StreamKey

PublicCall = Callable[[Params], Any]
"""One method of REST."""

DEPTH_MAX: Final = 500
DEPTH_DEFAULT: Final = 100
SPREADS_KEPT: Final = 200  # of each pair that was asked for
PRICE_DECIMALS_MIN: Final = 5  # of prices outside OHLC
DAY_S: Final = 86_400
HOUR_S: Final = 3600
NS_SINCE_MIN: Final = 10**12  # a `since` below is in seconds, one above in nanoseconds

_decode = msgspec.json.Decoder(float_hook=str).decode


class RestPublic:
    """What needs no key."""

    def __init__(
        self,
        exchange: Exchange,
        book: NameBook,
        clock: Clock,
        seed: int,
        clock_offset_s: float,
        system: Callable[[], str],
    ) -> None:
        self._markets = exchange.markets
        self._book = book
        self._clock = clock
        self._seed = seed
        self._clock_offset_ns = int(clock_offset_s * NS_PER_S)
        self._system = system
        self._spreads: dict[str, SpreadWatch] = {}  # of the pairs whose spread was asked for
        # Candles from before the venue was started, and the listing that they are told in.
        self._older: dict[tuple[str, int], tuple[PairSpec, list[Candle]]] = {}

    # --- the venue ---------------------------------------------------------------------------------------------------

    def time(self, params: Params) -> Any:
        """`{"unixtime":1762820224,"rfc1123":"Tue, 11 Nov 25 00:17:04 +0000"}`; the one clock that can be set wrong."""
        now_s = (self._clock.wall_ns() + self._clock_offset_ns) // NS_PER_S
        return {"unixtime": now_s, "rfc1123": strftime("%a, %d %b %y %H:%M:%S +0000", gmtime(now_s))}

    def system_status(self, params: Params) -> Any:
        """`{"status":"online","timestamp":"2025-11-11T00:17:10Z"}`"""
        now_s = self._clock.wall_ns() // NS_PER_S
        return {"status": self._system(), "timestamp": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(now_s))}

    def assets(self, params: Params) -> Any:
        """The assets of the listed pairs, by id."""
        names = params.texts("asset")
        if not _are_currencies(params, "aclass"):
            if names:
                raise VenueReject(UNKNOWN_ASSET)
            return {}
        chosen = [self._book.asset(name) for name in names] if names else self._book.assets
        return {asset_id(asset): _asset_row(asset) for asset in chosen}

    def asset_pairs(self, params: Params) -> Any:
        """The listed pairs, by id; `info` chooses a part of each."""
        kind = params.choice("info", tuple(_INFO)) or "info"
        rows: dict[str, Any] = {}
        if not _are_currencies(params, "aclass_base"):
            if params.texts("pair"):
                raise VenueReject(UNKNOWN_PAIR)
            return rows
        for pair in self._pairs(params):
            names = self._book.names[pair.symbol]
            row = _pair_row(pair, names)
            rows[names.pair_id] = {key: row[key] for key in _INFO[kind] if key in row} if _INFO[kind] else row
        return rows

    def _pairs(self, params: Params) -> list[PairSpec]:
        names = params.texts("pair")
        listed = [self._book.pair(name) for name in names] if names else self._book.pairs
        return [self._markets[pair.symbol].pair for pair in listed]  # as it is now

    # --- the markets -------------------------------------------------------------------------------------------------

    def ticker(self, params: Params) -> Any:
        """Best prices, last trade, and what happened today and in 24 hours, by pair id."""
        return {
            self._book.names[pair.symbol].pair_id: self._ticker_row(self._markets[pair.symbol])
            for pair in self._pairs(params)
        }

    def _ticker_row(self, market: PairMarket) -> dict[str, Any]:
        pair, now = market.pair, self._clock.wall_ns()
        today_s = now // NS_PER_S // DAY_S * DAY_S
        today, day = market.day.totals(now, today_s), market.day.totals(now)
        both = (today, day)
        last = next(reversed(market.tape), None)
        last_qty = padded(0, pair.qty_decimals) if last is None else str(_decode(last)["qty"])

        def price(ticks: int) -> str:
            return _price(ticks, pair)

        def best(side: Any) -> list[str]:
            levels = market.book.levels(side, 1)
            ticks, lots = levels[0] if levels else (0, 0)
            whole = max(1, round(units_decimal(lots, pair.qty_decimals))) if lots else 0
            return [price(ticks), str(whole), f"{whole}.000"]

        return {
            "a": best(SELL),
            "b": best(BUY),
            "c": [price(day.last), last_qty],
            "v": [padded(units_decimal(span.qty, pair.qty_decimals), pair.qty_decimals) for span in both],
            "p": [price(span.vwap) for span in both],
            "t": [span.trades for span in both],
            "l": [price(span.low) for span in both],
            "h": [price(span.high) for span in both],
            "o": price(today.open),
        }

    def depth(self, params: Params) -> Any:
        """The best levels of both sides. Quantities are rounded to three decimals, as Kraken's are."""
        market, names = self._market(params)
        count = params.integer("count")
        count = DEPTH_DEFAULT if count is None else count
        if count < 1:
            raise invalid("count")
        now_s = self._clock.wall_ns() // NS_PER_S

        def rows(side: Any) -> list[Any]:
            pair = market.pair
            return [
                [_price(ticks, pair), _rough(units_decimal(lots, pair.qty_decimals)), now_s]
                for ticks, lots in market.book.levels(side, min(count, DEPTH_MAX))
            ]

        return {names.pair_id: {"asks": rows(SELL), "bids": rows(BUY)}}

    def ohlc(self, params: Params) -> Any:
        """Up to 720 candles, the last one unfinished; intervals without a trade have one too."""
        market, names = self._market(params)
        interval = params.integer("interval")
        interval = 1 if interval is None else interval
        if interval not in INTERVALS:
            raise invalid("interval")
        since_s = _since_ns(params) // NS_PER_S
        candles = list(self._candles(market, interval))[-CANDLES_KEPT:]
        rows = [_candle_row(candle, market.pair) for candle in candles if candle.begin_s > since_s]
        finished = candles[-2].begin_s if len(candles) > 1 else candles[-1].begin_s
        return {names.pair_id: rows, "last": finished}

    def trades(self, params: Params) -> Any:
        """The last trades, or the first ones after `since`."""
        market, names = self._market(params)
        count = params.integer("count")
        count = TRADES_KEPT if count is None else count
        if not 1 <= count <= TRADES_KEPT:
            raise invalid("count")
        since = _since_ns(params)
        rows = [row for row in self._trades(market) if row[-1] > since]
        rows = rows[:count] if since else rows[-count:]
        last = rows[-1][-1] if rows else since
        return {names.pair_id: [row[:-1] for row in rows], "last": str(last)}

    def spread(self, params: Params) -> Any:
        """How the best prices have moved since they were first asked for."""
        market, names = self._market(params)
        symbol = market.pair.symbol
        watch = self._spreads.get(symbol)
        if watch is None:
            watch = self._spreads[symbol] = SpreadWatch(market, self._clock)
        since_s = _since_ns(params) // NS_PER_S
        rows = [row for row in watch.rows if row[0] >= since_s]
        return {names.pair_id: rows, "last": rows[-1][0] if rows else since_s}

    # --- the past ----------------------------------------------------------------------------------------------------

    def _trades(self, market: PairMarket) -> Iterator[list[Any]]:
        """Trades as REST writes them, with their time in nanoseconds as one more field behind."""
        last_at, rank = 0, 0
        for text in market.tape:
            row = _decode(text)
            at = wall_ns(row["timestamp"])
            # Fills of one taker share their microsecond: `since` must be able to fall between two of them.
            rank = rank + 1 if at == last_at else 0
            last_at = at
            price = padded(Decimal(str(row["price"])), _price_decimals(market.pair))
            side, kind = row["side"][0], row["ord_type"][0]
            yield [price, str(row["qty"]), round(at / NS_PER_S, 7), side, kind, "", row["trade_id"], at + rank]

    def _candles(self, market: PairMarket, interval: int) -> Iterator[Candle]:
        """Oldest first, without gaps."""
        kept = list(market.candles.kept(interval))
        key = (market.pair.symbol, interval)
        if key not in self._older:
            self._older[key] = market.pair, self._invent_older(market.pair, interval, kept[0])
        told_in, older = self._older[key]
        if told_in is not market.pair:  # it has another precision now
            for candle in older:
                candle.relist(Change(told_in, market.pair))
            self._older[key] = market.pair, older
        span_s = interval * 60
        last: Candle | None = None
        now_s = self._clock.wall_ns() // NS_PER_S
        for candle in [*older, *kept]:
            while last is not None and last.begin_s + span_s < candle.begin_s:
                last = _quiet(last, span_s)
                yield last
            yield candle
            last = candle
        while last is not None and last.begin_s + span_s <= now_s:
            last = _quiet(last, span_s)
            yield last

    def _invent_older(self, pair: PairSpec, interval: int, oldest: Candle) -> list[Candle]:
        """What may have happened before the venue was started, so that a chart is full from the beginning."""
        rng = Random(f"{self._seed} older candles of {pair.symbol} at {interval}")
        swing = max(1, int(oldest.open * 0.0004 * interval**0.5))
        close = oldest.open
        candles = []
        for age in range(1, CANDLES_KEPT):
            opened = PriceTicks(max(1, close + rng.randint(-swing, swing)))
            low, high = min(opened, close), max(opened, close)
            trades = rng.randint(1, 3 + interval)
            qty = pair.typical_lots * trades
            begin_s = oldest.begin_s - age * interval * 60
            if begin_s < 0:
                break
            candles.append(Candle(begin_s, opened, high, low, close, trades, qty, (low + high) * qty // 2))
            close = opened
        candles.reverse()
        return candles

    def _market(self, params: Params) -> tuple[PairMarket, PairNames]:
        pair = self._book.pair(params.required("pair"))
        return self._markets[pair.symbol], self._book.names[pair.symbol]

    def calls(self) -> dict[str, PublicCall]:
        """Method → what it does."""
        return {
            "Time": self.time,
            "SystemStatus": self.system_status,
            "Assets": self.assets,
            "AssetPairs": self.asset_pairs,
            "Ticker": self.ticker,
            "Depth": self.depth,
            "OHLC": self.ohlc,
            "Trades": self.trades,
            "Spread": self.spread,
        }


class SpreadWatch:
    """The best prices of one pair from the moment somebody asks for them: a subscriber of its ticker."""

    def __init__(self, market: PairMarket, clock: Clock) -> None:
        self.rows: deque[tuple[int, str, str]] = deque(maxlen=SPREADS_KEPT)  # second, bid, ask; oldest first
        self.paused = False
        self.waiting: list[Callable[[], None]] = []
        self.plain = False
        self._market = market
        self._clock = clock
        market.join(StreamKey("ticker", market.pair.symbol, "bbo"), self)
        self._note()

    def deliver(self, key: StreamKey, frame: bytes) -> None:
        """The best prices have changed."""
        self._note()

    def deliver_chunk(self, chunk: bytes) -> None:
        """Only captures send chunks."""

    def flush(self) -> None:
        """Nothing is queued."""

    def _note(self) -> None:
        market = self._market
        bid, ask = market.book.best(BUY), market.book.best(SELL)
        row = (self._clock.wall_ns() // NS_PER_S, _price(bid or 0, market.pair), _price(ask or 0, market.pair))
        self.rows.append(row)


# --- rows ------------------------------------------------------------------------------------------------------------

_ASSET_CLASSES: Final = ("currency", "tokenized_asset")
_LEVERAGE: Final = ("leverage_buy", "leverage_sell")
_INFO: Final[dict[str, tuple[str, ...]]] = {  # what each `info` leaves of a row; empty: everything
    "info": (),
    "leverage": _LEVERAGE,
    "fees": ("fees", "fees_maker", "fee_volume_currency"),
    "margin": ("margin_call", "margin_stop"),
}


def _are_currencies(params: Params, name: str) -> bool:
    """Is the class of assets that is asked for the one that the venue lists? Tokenized shares are not."""
    return params.choice(name, _ASSET_CLASSES) in (None, "currency")


def _asset_row(asset: str) -> dict[str, Any]:
    spec = ASSETS.get(asset)
    return {
        "aclass": "currency",
        "altname": asset_altname(asset),
        "decimals": asset_decimals(asset),
        "display_decimals": spec.precision_display if spec is not None else 5,
        "collateral_value": float(spec.collateral_value) if spec is not None else 0.0,
        "status": "enabled",
    }


def _pair_row(pair: PairSpec, names: PairNames) -> dict[str, Any]:
    leverage = [] if pair.margin_initial is None else list(range(2, int(1 / Decimal(pair.margin_initial)) + 1))
    row: dict[str, Any] = {
        "altname": names.altname,
        "wsname": names.wsname,
        "aclass_base": "currency",
        "base": names.base_id,
        "aclass_quote": "currency",
        "quote": names.quote_id,
        "lot": "unit",
        "cost_decimals": pair.cost_decimals,
        "pair_decimals": pair.price_decimals,
        "lot_decimals": pair.qty_decimals,
        "lot_multiplier": 1,
        "leverage_buy": leverage,
        "leverage_sell": leverage,
        "fees": [[tier.volume_usd, tier.taker_ppm / 10_000] for tier in FEE_TIERS],
        "fees_maker": [[tier.volume_usd, tier.maker_ppm / 10_000] for tier in FEE_TIERS],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": _bare(pair.qty_min),
        "costmin": _bare(pair.cost_min),
        "tick_size": padded(Decimal(1).scaleb(-pair.price_decimals), pair.price_decimals),
        "status": "online",
    }
    if leverage:
        row["long_position_limit"] = pair.position_limit
        row["short_position_limit"] = pair.position_limit * 3 // 5
    return row


def _bare(text: str) -> str:
    """`"0.00005000"` becomes `"0.00005"`."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _price_decimals(pair: PairSpec) -> int:
    return max(PRICE_DECIMALS_MIN, pair.cost_decimals)


def _price(ticks: int, pair: PairSpec) -> str:
    return padded(units_decimal(ticks, pair.price_decimals), _price_decimals(pair))


def _rough(qty: Decimal) -> str:
    """A quantity to three decimals, but never 0: that would say that the level is gone."""
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


def _quiet(last: Candle, span_s: int) -> Candle:
    """The interval after this one, in which nothing was traded."""
    close = last.close
    return Candle(last.begin_s + span_s, close, close, close, close, 0, 0, 0)


def _since_ns(params: Params) -> int:
    """`since` in nanoseconds, whatever it was given in; 0 when it was not."""
    since = params.decimal("since")
    if since is None or since <= 0:
        return 0
    if since.adjusted() > 20:
        raise invalid("since")
    return int(since) if since >= NS_SINCE_MIN else int(since * NS_PER_S)
