"""What Kraken tells of some pairs, brought into the markets of a venue of ours.

    events of the public session ──► Listing (before the venue opens) ──► PairSpecs
                                 └─► Follower ──► Mirror ──► PairMarket, Trading

A pair trades while its book is live, which is after a snapshot whose checksum verified and
as long as nothing is missing. Otherwise its orders stay where they are and nothing is
filled; new ones are refused as in Kraken's mode `cancel_only`. Pure: no socket, no clock of
its own.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from engine.errors import ConfigError
from engine.kraken.connection.events import SystemChanged
from engine.kraken.public.book_feed import BookChanged, BookFeed, StateChanged
from engine.kraken.public.events import Event, PairChanged, Refused, TradePrinted, TradesBefore
from engine.kraken.public.messages import PairData, TradeData
from engine.kraken.public.session import PublicSession
from engine.records import FeedState
from engine.units import PriceTicks, QtyLots, decimal_units
from engine.venue.core import VenueCore
from engine.venue.market.matching import BUY, SELL, Outcome
from engine.venue.market.mirror import Mirror
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec

log = structlog.get_logger("paper")

CLOSED: Final = "cancel_only"  # the mode of a pair whose book is not live


class Listing:
    """What must be known of every pair before the venue can open: its instrument data and a
    price.
    """

    def __init__(self, session: PublicSession, symbols: Sequence[str]) -> None:
        self._session = session
        self._symbols = symbols
        self._told: dict[str, PairChanged] = {}
        self._last: dict[str, TradeData] = {}
        # Kraken's word on a pair that it does not offer; empty as long as there is none.
        self.refusal = ""
        # Of the matching engine; empty before Kraken's first word.
        self.system = ""

    def on_events(self, events: Sequence[Event]) -> None:
        """Take what the session made of one frame."""
        for event in events:
            if isinstance(event, PairChanged):
                self._told[event.pair.symbol] = event
            elif isinstance(event, TradesBefore):
                for trade in event.trades:
                    self._last[trade.symbol] = trade
            elif isinstance(event, TradePrinted):
                self._last[event.trade.symbol] = event.trade
            elif isinstance(event, SystemChanged):
                self.system = event.system
            elif isinstance(event, Refused) and not self.refusal:
                self.refusal = event.advice

    @property
    def missing(self) -> list[str]:
        """The pairs of which not enough is known yet."""
        return [symbol for symbol in self._symbols if symbol not in self._told or self._price(symbol) is None]

    @property
    def are_live(self) -> bool:
        """Whether every book is live."""
        return all(_is_live(self._session.feeds[symbol]) for symbol in self._symbols)

    def told(self) -> list[PairData]:
        """The pairs' data received so far."""
        return [event.pair for event in self._told.values()]

    def pairs(self) -> tuple[PairSpec, ...]:
        """Every pair as Kraken lists it; only when none is missing."""
        return tuple(self._spec(symbol) for symbol in self._symbols)

    def asset_decimals(self) -> Mapping[str, int]:
        """The decimals of balances, of each currency for which they are known."""
        found: dict[str, int] = {}
        for event in self._told.values():
            base, _, quote = event.pair.symbol.partition("/")
            both = ((base, event.base_decimals), (quote, event.quote_decimals))
            found |= {asset: decimals for asset, decimals in both if decimals is not None}
        return found

    def _price(self, symbol: str) -> PriceTicks | None:
        """The last trade's price, or the best one of the book, in the pair's precision."""
        decimals = self._told[symbol].pair.price_precision
        trade = self._last.get(symbol)
        if trade is not None:
            try:
                return PriceTicks(decimal_units(trade.price, decimals))
            except ValueError:  # traded in a finer precision than the pair has now
                pass
        feed = self._session.feeds[symbol]
        best = feed.book.bids.best() or feed.book.asks.best()
        return best[0] if best is not None and _is_live(feed) and feed.book.price_decimals == decimals else None

    def _spec(self, symbol: str) -> PairSpec:
        pair, price = self._told[symbol].pair, self._price(symbol)
        assert price is not None
        return PairSpec(
            symbol=symbol,
            price_decimals=pair.price_precision,
            qty_decimals=pair.qty_precision,
            cost_decimals=pair.cost_precision,
            qty_min=f"{pair.qty_min:f}",
            cost_min=f"{pair.cost_min:f}",
            mid_ticks=price,
            # No order flow of ours acts on it:
            gap_ticks=1,
            levels_target=0,
            typical_lots=QtyLots(1),
            weight=1,
        )


class _Pair:
    """One pair here and there."""

    def __init__(self, core: VenueCore, market: PairMarket, feed: BookFeed, depth: int) -> None:
        exchange = core.exchange
        assert exchange is not None
        self.feed = feed
        self.market = market
        self.status = "online"  # at Kraken, by its instrument channel
        self.is_behind = True  # the book there has changed since it was taken

        def publish(outcome: Outcome) -> None:
            market.publish(outcome, exchange.event_time())

        self.mirror = Mirror(market.book, depth, publish)

    @property
    def has_our_precision(self) -> bool:
        book, pair = self.feed.book, self.market.pair
        return (book.price_decimals, book.qty_decimals) == (pair.price_decimals, pair.qty_decimals)

    def catch_up(self) -> None:
        """Apply the present book."""
        if self.is_behind and self.is_open:
            self.is_behind = False
            self.mirror.update(dict(self.feed.book.bids.levels()), dict(self.feed.book.asks.levels()))

    @property
    def is_open(self) -> bool:
        return _is_live(self.feed) and self.has_our_precision

    def set_mode(self) -> None:
        self.market.mode = self.status if self.is_open else CLOSED


class Follower:
    """Updates the markets of a venue from Kraken's events."""

    def __init__(self, session: PublicSession, listing: Listing, core: VenueCore, depth: int) -> None:
        """`core` is open, and its pairs are those of the listing, which the session follows
        to this depth.
        """
        assert core.exchange is not None
        assert core.trading_side is not None
        self._core = core
        self._exchange = core.exchange
        self._trading = core.trading_side.trading
        self._pairs = {
            symbol: _Pair(core, market, session.feeds[symbol], depth)
            for symbol, market in core.exchange.markets.items()
        }
        self._behind = set(self._pairs.values())
        if listing.system:
            core.enter(listing.system)
        for told in listing.told():
            self._listed(told)
        self.on_burst_end()

    def on_events(self, events: Sequence[Event]) -> None:
        """Take what the session made of one frame, or of the time."""
        for event in events:
            if isinstance(event, BookChanged):
                pair = self._pairs[event.feed.symbol]
                pair.is_behind = True
                self._behind.add(pair)
            elif isinstance(event, TradePrinted):
                self._traded(event)
            elif isinstance(event, StateChanged):
                self._state_changed(event)
            elif isinstance(event, PairChanged):
                self._listed(event.pair)
            elif isinstance(event, SystemChanged):
                self._core.enter(event.system)

    def on_burst_end(self) -> None:
        """Take the books that have changed."""
        for pair in self._behind:
            pair.catch_up()
        self._behind.clear()

    def _traded(self, event: TradePrinted) -> None:
        pair = self._pairs[event.trade.symbol]
        spec = pair.market.pair
        try:
            price = PriceTicks(decimal_units(event.trade.price, spec.price_decimals))
            lots = QtyLots(decimal_units(event.trade.qty, spec.qty_decimals))
        except ValueError:  # in another precision than the pair has here: the book will tell what it did
            return
        if event.history or not pair.is_open:  # nobody here could have traded then
            pair.market.last = price
            return
        pair.catch_up()
        pair.mirror.trade(BUY if event.trade.side == "buy" else SELL, price, lots)
        self._trading.traded_elsewhere(spec.symbol, price, self._exchange.event_time())

    def _state_changed(self, event: StateChanged) -> None:
        pair = self._pairs[event.symbol]
        is_live = event.state is FeedState.LIVE
        pair.is_behind = True
        self._behind.add(pair)
        pair.catch_up()
        pair.set_mode()
        log.info("pair trades" if is_live else "pair waits", symbol=event.symbol, reason=event.reason)

    def _listed(self, told: PairData) -> None:
        """Take a pair's precision, minimums and status."""
        pair = self._pairs[told.symbol]
        spec = pair.market.pair
        if (told.price_precision, told.qty_precision) != (spec.price_decimals, spec.qty_decimals):
            pair.mirror.clear()
            at = self._exchange.event_time()
            try:
                self._trading.relist(told.symbol, told.price_precision, told.qty_precision, at)
            except ConfigError as error:
                log.error("pair cannot be traded on paper", symbol=told.symbol, reason=str(error))
        pair.market.pair = msgspec.structs.replace(
            pair.market.pair, qty_min=f"{told.qty_min:f}", cost_min=f"{told.cost_min:f}"
        )
        pair.status = told.status
        pair.set_mode()


def _is_live(feed: BookFeed) -> bool:
    return feed.state is FeedState.LIVE
