"""Genuine messages of Kraken through session and mirror: what is assumed of their order, and of the books."""

from pathlib import Path

from engine.kraken.public.book_feed import BookChanged
from engine.kraken.public.events import TradePrinted
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.units import MonoNs, PriceTicks, QtyLots, decimal_units
from engine.venue.market.matching import BUY, SELL, OrderBook
from engine.venue.market.mirror import Mirror

CAPTURE = Path(__file__).parents[1] / "data/kraken/capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
DEPTH = 10


def test_a_genuine_day_is_mirrored_and_each_trade_finds_its_level() -> None:
    """After each message the book is Kraken's; a trade is told before the level that it left, so it meets the queue."""
    symbols = ("BTC/USD", "ETH/USD")
    session = PublicSession(PublicSettings(symbols=symbols, depth=DEPTH, tickers=False, candle_interval_min=None))
    session.opened(MonoNs(0))
    books = {symbol: OrderBook() for symbol in symbols}
    mirrors = {symbol: Mirror(book, DEPTH, lambda _: None) for symbol, book in books.items()}
    messages, trades, met = 0, 0, 0
    for frame in CAPTURE.read_bytes().splitlines():
        for event in session.receive(frame, MonoNs(0)):
            if isinstance(event, BookChanged):
                messages += 1
                real, book = event.feed.book, books[event.feed.symbol]
                mirrors[event.feed.symbol].update(dict(real.bids.levels()), dict(real.asks.levels()))
                book.check()
                assert book.levels(BUY) == list(real.bids.levels())
                assert book.levels(SELL) == list(real.asks.levels())
            elif isinstance(event, TradePrinted) and not event.history:
                trade, real = event.trade, session.feeds[event.trade.symbol].book
                price = PriceTicks(decimal_units(trade.price, real.price_decimals))
                lots = QtyLots(decimal_units(trade.qty, real.qty_decimals))
                taker = BUY if trade.side == "buy" else SELL
                trades += 1
                met += mirrors[trade.symbol].told(SELL if taker is BUY else BUY).get(price, 0) >= lots
                mirrors[trade.symbol].trade(taker, price, lots)

    assert messages > 2_000
    assert met == trades > 10
