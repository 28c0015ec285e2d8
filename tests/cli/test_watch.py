"""What `engine watch` remembers and draws: each trade once, bounded; a ladder that fits the terminal."""

import io
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from engine.cli.watch.pictures import counted, drawn
from engine.cli.watch.watcher import TRADES_KEPT, TRADES_WAITING_MAX, Look, Watcher
from engine.records import FeedState, Level, Trade
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs

SUMMARY = {
    "symbols": {"BTC/USD": {"verified": 1_234_567, "mismatches": 0, "updates": 9}},
    "latency_us": {"wire_to_strategy": {"p50": 52.5, "p99": 193.0}},
}


def trade(number: int, side: str = "buy") -> Trade:
    """A trade of BTC/USD at 63506.7 and so many ticks."""
    return Trade(
        symbol="BTC/USD", price_ticks=PriceTicks(635067 + number), qty_lots=QtyLots(3719965), price_decimals=1,
        qty_decimals=8, side=side, order_type="limit", trade_id=number, kraken_time=WallNs(1_800_000_000_000_000_000),
        received_at=MonoNs(1),
    )  # fmt: skip


def book(levels: int) -> Any:
    """A book with so many levels a side."""
    bids = [Level(PriceTicks(635066 - number), QtyLots(1_234_567_890), 1, 8) for number in range(levels)]
    asks = [Level(PriceTicks(635067 + number), QtyLots(9_876_543_210), 1, 8) for number in range(levels)]
    return SimpleNamespace(bids=bids, asks=asks, best_bid=bids[0], best_ask=asks[0], spread=Decimal("0.1"), age_s=0.0)


def watcher(symbol: str = "BTC/USD", shown: Any = None) -> Watcher:
    """A watcher whose context has this book."""
    made = Watcher([symbol])
    made.context = SimpleNamespace(book=lambda _: shown)  # type: ignore[assignment]
    made.on_start()
    return made


def look_of(symbol: str, **changes: Any) -> Look:
    """A look at a live pair with ten levels and many trades."""
    look = Look(
        symbol=symbol, state=FeedState.LIVE, reason="", book=book(10), trades=(),
        last_trades=[trade(number) for number in range(TRADES_KEPT)], trades_left_out=0, verified=1_234_567,
        mismatches=0, updates=1_234_567, wire_to_strategy_us={"p50": 1052.5, "p99": 27193.4},
    )  # fmt: skip
    return msgspec.structs.replace(look, **changes)


def text_of(looks: list[Look], width: int, height: int) -> list[str]:
    """The lines of the picture on a terminal of this size."""
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    console.print(drawn(looks, dict.fromkeys((look.symbol for look in looks), 12_345.0), console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_each_trade_is_told_once_and_the_last_ones_are_kept() -> None:
    """A look takes what is new; the newest trades stand first for a picture."""
    seen = watcher()
    seen.on_trade(trade(1))
    seen.on_trade(trade(2, "sell"))
    (first,) = seen.look(SUMMARY)
    seen.on_trade(trade(3))
    (second,) = seen.look(SUMMARY)

    assert [one.trade_id for one in first.trades] == [1, 2]
    assert [one.trade_id for one in second.trades] == [3]
    assert [one.trade_id for one in second.last_trades] == [3, 2, 1]
    assert (second.verified, second.wire_to_strategy_us) == (1_234_567, {"p50": 52.5, "p99": 193.0})


def test_trades_that_no_output_takes_are_bounded_and_counted() -> None:
    """The oldest go; a reader is told how many."""
    seen = watcher()
    for number in range(TRADES_WAITING_MAX + 5):
        seen.on_trade(trade(number))
    (look,) = seen.look(SUMMARY)

    assert len(look.trades) == TRADES_WAITING_MAX
    assert look.trades[0].trade_id == 5
    assert look.trades_left_out == 5
    assert "trades left out 5" in counted(look, 1.0)


def test_a_picture_may_come_before_the_first_callback() -> None:
    """The view's thread does not wait for the strategies'."""
    (look,) = Watcher(["BTC/USD"]).look(SUMMARY)

    assert (look.book, look.state, look.reason) == (None, FeedState.STALE, "no book yet")
    assert watcher(shown=book(1)).look(SUMMARY)[0].book is not None


def test_a_book_in_doubt_says_why() -> None:
    """And a live one nothing."""
    seen = watcher()
    assert seen.look(SUMMARY)[0].reason == "no book yet"
    seen.on_feed_state("BTC/USD", FeedState.LIVE, "snapshot verified")
    assert (seen.look(SUMMARY)[0].state, seen.look(SUMMARY)[0].reason) == (FeedState.LIVE, "")
    seen.on_feed_state("BTC/USD", FeedState.STALE, "checksum mismatch")
    assert seen.look(SUMMARY)[0].reason == "checksum mismatch"


@pytest.mark.parametrize(("pairs", "height"), [(1, 24), (1, 50), (2, 24), (3, 24), (4, 24)])
def test_the_ladder_fits_a_terminal_of_eighty_columns(pairs: int, height: int) -> None:
    """Every pair with its best levels, spread, checksums and latency, whatever the height."""
    lines = text_of([look_of(f"P{number}/USD") for number in range(pairs)], 80, height)

    assert max(map(len, lines)) <= 80
    assert len(lines) <= height
    assert sum("spread 0.1" in line for line in lines) == pairs
    assert sum("63506.6" in line for line in lines) == pairs  # the best bid
    assert sum("checksums verified 1,234,567, 12,345/s, wire to here p50 1052.5 p99 27193.4 µs" in line
               for line in lines) == pairs  # fmt: skip


def test_a_wrong_checksum_stands_out() -> None:
    """It is what the line is for."""
    assert "WRONG 3" in counted(look_of("BTC/USD", mismatches=3), 1.0)


def test_a_pair_without_a_book_has_its_place() -> None:
    """Before the first snapshot."""
    lines = text_of(
        [look_of("BTC/USD", book=None, last_trades=(), verified=0, state=FeedState.STALE, reason="why")], 80, 24
    )

    assert "BTC/USD  stale  why" in lines[0]
    assert any("no checksum verified yet" in line for line in lines)
