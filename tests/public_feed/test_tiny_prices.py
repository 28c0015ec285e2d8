"""Coins worth next to nothing, and other numbers of unusual size: what Kraken tells is what a strategy reads."""

from decimal import Context, Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from engine.records import BookTop, Candle, FeedState, Ticker, Trade
from engine.strategy.api import Strategy
from tests.public_feed.rig import Market, trade

CASES = Path(__file__).parents[1] / "data" / "cases"


class Reader(Strategy):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[BookTop | Trade | Ticker | Candle] = []

    def on_book(self, book: BookTop) -> None:
        self.told.append(book)

    def on_trade(self, trade: Trade) -> None:
        self.told.append(trade)

    def on_ticker(self, ticker: Ticker) -> None:
        self.told.append(ticker)

    def on_candle(self, candle: Candle) -> None:
        self.told.append(candle)


def told(symbol: str, *frames: bytes, kind: type, **settings: Any) -> tuple[list, Market]:
    """What a strategy is told of some frames, of one kind; and the market, for its counters."""
    market = Market(symbols=(symbol,), **settings)
    hosted = market.host(Reader())
    for frame in frames:
        market.take(frame)
    while hosted.do_work():
        pass
    market.feed.on_close()
    return [one for one in hosted.strategy.told if isinstance(one, kind)], market


def case(name: str) -> list[bytes]:
    return (CASES / name).read_bytes().splitlines()


def test_a_book_of_a_tiny_price_goes_live():
    """Quantities of 9.2 × 10**18 lots on top, two of them beyond 63 bits: verified, live, and exact."""
    books, market = told("BTT/USD", *case("tiny_price_book.jsonl"), kind=BookTop)
    book = books[-1]

    assert market.session.feeds["BTT/USD"].state is FeedState.LIVE
    assert (book.best_bid.qty_text, book.best_bid.price_text) == ("92000000000.00000000", "0.000000650")
    assert [level.qty for level in book.bids] == [Decimal(92_000_000_000 + 10**8 * i) for i in range(10)]
    assert [level.qty for level in book.asks] == [Decimal(92_300_000_000 + i) for i in range(10)]
    assert market.counters.snapshot()["0 mismatches"] == 0


def test_tickers_of_a_tiny_price_are_told_whole():
    """Volumes about 2**63 lots and far beyond, a negative change, a percentage: every digit."""
    tickers, market = told("PEPE/USD", *case("tiny_price_ticker.jsonl"), kind=Ticker)

    assert [str(ticker.volume) for ticker in tickers] == ["9223372036854.77580", "99223372036854.77580"]
    assert {(ticker.change, ticker.change_pct) for ticker in tickers} == {(Decimal("-0.000000123"), Decimal("-1.85"))}
    assert tickers[0].bid_qty == Decimal("123456789012")
    assert market.counters.snapshot()["unpublishable"] == 0


def test_trades_of_a_tiny_price_are_told_whole():
    """One of 123 million coins, one of 10**-5 written with an exponent."""
    trades, _ = told("PEPE/USD", *case("tiny_price_ticker.jsonl"), kind=Trade)

    assert [(str(trade.qty), f"{trade.price:f}") for trade in trades] == [
        ("123456789.12345", "0.0000066000"),
        ("0.00001", "0.0000066000"),
    ]


TICKER = (
    '{{"channel":"ticker","type":"update","data":[{{"symbol":"A/B","bid":1,"bid_qty":{0},"ask":2,"ask_qty":1,'
    '"last":1,"volume":{0},"vwap":{1},"low":0,"high":0.0,"change":{2},"change_pct":{3}}}]}}'
)
NUMBERS = [
    "0",
    "1",
    "1.0",
    "1e-05",
    "1E+3",
    "6.6e-06",
    "123456789012345678901234567890.00000001",
    "0.000000000000000001",
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("change", ["0", "-0.0", "-1e-05", "-99999999999999999999.5"])
def test_a_ticker_comes_as_it_is_written(number, change):
    """Bare integers, exponents, more decimals than the pair, thirty digits, zeros of a pair that never traded."""
    frame = TICKER.format(number, number, change, change).encode()
    (ticker,), market = told("A/B", frame, kind=Ticker)

    assert (ticker.bid_qty, ticker.volume, ticker.vwap) == (Decimal(number),) * 3
    assert (ticker.change, ticker.change_pct) == (Decimal(change),) * 2
    assert (ticker.low, ticker.high) == (0, 0)
    assert market.counters.snapshot()["unpublishable"] == 0


@pytest.mark.parametrize("number", ["1e31", "1e-31", "1e999999", '"NaN"', '"sNaN"', '"Infinity"', "9" * 60])
@pytest.mark.parametrize("place", range(4))
def test_an_absurd_number_costs_its_ticker_alone(number, place):
    """Counted as unpublishable or malformed; nothing is raised, and the next ticker is told."""
    numbers = ["1", "1", "1", "1"]
    numbers[place] = number
    tickers, market = told("A/B", TICKER.format(*numbers).encode(), TICKER.format(1, 1, 1, 1).encode(), kind=Ticker)
    counts = market.counters.snapshot()

    assert len(tickers) == 1
    assert counts["unpublishable"] + counts["malformed"] == 1


@pytest.mark.parametrize("number", [n for n in NUMBERS if n != "0"])
def test_a_candle_comes_as_it_is_written(number):
    """Prices, volume and mean price of any size, though the pair, and the trade before, have fewer decimals."""
    first, second = trade("A/B", 1, price="1", qty="1"), trade("A/B", 2, price=number, qty=number)
    (one, two), _ = told("A/B", first, second, kind=Candle, candles=(1,))

    assert (one.open, one.close, one.volume, one.trades) == (1, 1, 1, 1)
    volume = Context(prec=100).add(1, Decimal(number))
    assert (two.open, two.close, two.volume, two.trades) == (1, Decimal(number), volume, 2)
    assert (two.high, two.low) == (max(1, Decimal(number)), min(1, Decimal(number)))
    assert min(1, Decimal(number)) <= two.vwap <= max(1, Decimal(number))


def book(kind: str, level: str, checksum: int) -> bytes:
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/B","bids":[{level}],"asks":[],'
        f'"checksum":{checksum},"timestamp":"2026-08-02T03:35:51.661460Z"}}]}}'
    ).encode()


def test_updates_of_a_book_of_large_numbers_are_exact():
    """A quantity grows beyond 63 bits, and shrinks again; each checksum verifies, each number is told."""
    quantities = ["1.00000000", "92233720368.54775808", "922337203685477580.80000001", "2.50000000"]
    frames = [
        book("snapshot" if i == 0 else "update", f'{{"price":650,"qty":{qty}}}',
             crc32(b"650" + qty.replace(".", "").lstrip("0").encode()))
        for i, qty in enumerate(quantities)
    ]  # fmt: skip
    books, market = told("A/B", *frames, kind=BookTop)

    assert [one.best_bid.qty_text for one in books] == quantities
    assert [one.best_bid.price_text for one in books] == ["650"] * 4
    assert market.counters.snapshot()["0 mismatches"] == 0
