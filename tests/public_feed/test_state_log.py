"""What the log says of many books: one line an event, and one pair by its name."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.kraken.public.book_feed import StateChanged
from engine.public_feed.state_log import WAITING_MAX, StateLog
from engine.records import FeedState
from tests.kraken.wire import Tape
from tests.public_feed.rig import Market

SYMBOLS = tuple(f"P{number:04}/USD" for number in range(1_450))


def lines(logs: list[Any], *words: str) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"].startswith(words)]


def test_a_cut_of_1450_books_is_one_line_and_so_is_each_burst_of_snapshots():
    """The whole way through the feed: what a person reads, whatever the number of pairs."""
    market = Market(symbols=SYMBOLS)
    with capture_logs() as logs:
        market.take(*(Tape(symbol).snapshot() for symbol in SYMBOLS))
        market.feed.on_events(market.session.closed(market.clock.mono_ns(), "reset"))
        market.feed.on_burst_end()
    live, doubt = lines(logs, "book")

    assert live == {
        "event": "books live", "log_level": "info", "count": 1450, "symbols": "P0000/USD, P0001/USD, P0002/USD, …",
        "reason": "snapshot verified",
    }  # fmt: skip
    assert (doubt["event"], doubt["count"]) == ("books in doubt", 1450)
    assert (doubt["state"], doubt["reason"]) == ("stale", "connection lost: reset")


def test_one_pair_is_named():
    """As it was with one line a pair."""
    market = Market()
    with capture_logs() as logs:
        market.take(Tape("BTC/USD").snapshot())

    assert lines(logs, "book") == [
        {"event": "book live", "log_level": "info", "symbol": "BTC/USD", "reason": "snapshot verified"}
    ]


@pytest.mark.parametrize("kinds", [2, WAITING_MAX, 3 * WAITING_MAX])
def test_other_reasons_are_other_lines_and_their_number_is_bounded(kinds: int):
    """Nothing is left out, and no burst makes it remember more than its bound."""
    state_log = StateLog()
    with capture_logs() as logs:
        for number in range(kinds):
            for symbol in ("A/USD", "B/USD"):
                state_log.note(StateChanged(symbol, FeedState.STALE, f"checksum {number}"))
            assert len(state_log.waiting) < WAITING_MAX
        state_log.tell()

    told = [name for line in logs for name in line.get("symbols", line.get("symbol", "")).split(", ")]
    assert len(told) == 2 * kinds
    assert {line["reason"] for line in logs} == {f"checksum {number}" for number in range(kinds)}


def test_pairs_whose_data_are_missing_are_one_line():
    """Kraken answers with no instruments: the books are published after their patience, and one line says so."""
    market = Market(symbols=SYMBOLS[:100], pair_patience_ns=5)
    market.take(*(Tape(symbol).snapshot() for symbol in SYMBOLS[:100]))
    market.clock.advance(10)
    with capture_logs() as logs:
        market.feed.do_work()
    (missing,) = lines(logs, "pair data missing")
    (live,) = lines(logs, "books live")

    assert missing["count"] == live["count"] == 100
