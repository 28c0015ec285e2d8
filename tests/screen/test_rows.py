"""Rows that are made of a summary."""

from copy import deepcopy
from decimal import Decimal

import pytest

from engine.screen import rows
from engine.screen.panels import holdings_line
from tests.screen.rig import PAIR, SUMMARY


def changed(path, value):
    """The summary with another value at `path`."""
    summary = deepcopy(SUMMARY)
    place = summary
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return summary


def test_a_pair_has_its_state_source_and_prices():
    """A side that is empty is a dash."""
    first, second = rows.pair_rows(SUMMARY)

    assert first == rows.PairRow("BTC/USD", "live", "websocket", "100.0", "100.3", "0.3", 7, 1)
    assert (second.bid, second.ask, second.spread) == ("-", "100.3", "-")


@pytest.mark.parametrize(
    ("path", "value", "state"),
    [
        (("symbols", "BTC/USD", "proved"), False, "unproved"),
        (("sources", "pairs", "BTC/USD", "book"), "rest", "unverified"),
        (("symbols", "BTC/USD", "state"), "stale", "stale"),
    ],
)
def test_a_book_in_doubt_says_so(path, value, state):
    """What REST tells has no checksum; a silent pair waits for its proof."""
    assert rows.pair_rows(changed(path, value))[0].state == state


def test_a_ring_is_as_full_as_its_slowest_reader_says():
    """Report rings count no record that found no room."""
    market, reports = rows.ring_rows(SUMMARY)

    assert (market.lag, market.share, market.gaps) == (16, 0.25, 2)
    assert (reports.full, reports.share) == (0, 0.0)


def test_only_hops_that_were_measured_are_shown_in_the_order_of_an_orders_way():
    """Percentiles in microseconds."""
    assert rows.latency_rows(SUMMARY) == [
        rows.LatencyRow(name, 3, 50.0, 900.0, 1200.0) for name in ("wire → strategy", "wire → ack")
    ]


def test_processes_tell_whether_they_run_and_are_connected():
    """The order router's connection is among its counters."""
    assert rows.process_rows(SUMMARY) == [
        rows.ProcessRow("engine", 10, None, 0),
        rows.ProcessRow("public_feed-0", 11, False, 2),
        rows.ProcessRow("order_router", None, True, 0),
    ]


def test_money_is_after_fees_and_rates_are_fullest_first():
    """Exact amounts."""
    assert rows.money_rows(SUMMARY) == [
        rows.MoneyRow("USD", Decimal("-0.75"), Decimal("1.5"), Decimal(-2), Decimal("0.25"))
    ]
    assert [row.symbol for row in rows.rate_rows(SUMMARY)] == ["BTC/USD", "XDG/EUR"]
    assert rows.holdings(SUMMARY) == [("BTC/USD", Decimal("-0.5"), Decimal("100.1"))]


def test_what_nobody_knows_of_a_position_is_said_and_never_counted_as_nothing():
    """A position that begins with what the account holds has no price, and before it is read no quantity."""
    held = {
        "BTC/USD": {"qty": "0.5", "avg_price": None},
        "ETH/USD": {"qty": None, "avg_price": None},
        "XDG/EUR": {"qty": "0", "avg_price": None},
    }
    summary = {**SUMMARY, "positions": held}

    assert rows.holdings(summary) == [("BTC/USD", Decimal("0.5"), None), ("ETH/USD", None, None)]
    assert holdings_line(summary) == (
        "holds 0.5 BTC at an unknown price, an unknown quantity of ETH at an unknown price"
    )


def test_an_engine_that_does_not_trade_has_no_money_and_no_rates():
    """Its summary lacks them."""
    watching = {**SUMMARY, "trading": {"mode": "off", "is_open": False, "reason": ""}, "pnl": {}, "positions": {}}

    assert (rows.money_rows(watching), rows.rate_rows(watching), rows.holdings(watching)) == ([], [], [])
    assert not any("trading" in line for line in rows.alarm_lines(watching))


def test_sources_say_what_they_do_not_serve():
    """And that nobody has asked yet."""
    assert rows.source_lines(SUMMARY) == [
        "WebSocket: serves, quality 50 %, 99.25 % of the time (does not serve book of 1 of 2 pairs)",
        "REST: not asked yet",
    ]


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("trading", "is_open"), False, "trading is closed, ACTIVE"),
        (("trading", "mode"), "DEGRADED", "trading is open, DEGRADED"),
        (("orders", "unknown_open"), 2, "2 orders are in doubt"),
        (("strategies", "a"), {"halted": True, "errors": 11, "hangs": None}, "strategy a is halted after 11 errors"),
        (("strategies", "a"), {"halted": False, "errors": 0, "hangs": {"callback": "on_book", "for_s": 2.5}},
         "strategy a hangs in on_book for 2.5 s"),
        (("symbols", "BTC/USD", "state"), "untrusted", "books: BTC/USD untrusted"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_a_line(path, value, line):
    """The summary itself has two: a process that does not run, one without its connection."""
    quiet = ["process public_feed-0 is not connected", "process order_router does not run"]
    assert rows.alarm_lines(SUMMARY) == quiet
    assert sorted(rows.alarm_lines(changed(path, value))) == sorted([line, *quiet])


def test_many_books_in_doubt_are_one_line():
    """Three by name."""
    pairs = {f"A{number}/USD": {**PAIR, "state": "stale"} for number in range(9)}

    assert rows.alarm_lines({**SUMMARY, "symbols": pairs})[-1] == (
        "books: A0/USD stale, A1/USD stale, A2/USD stale and 6 more"
    )


def test_amounts_for_people_have_four_decimals_at_most():
    """The summary has every digit."""
    assert [rows.rounded(Decimal(text)) for text in ("1234.56789", "-0.5", "100", "0")] == [
        "1,234.5679", "-0.5", "100", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.00001234", "0.00001234"),
        ("-0.009", "-0.009"),
        ("0.01239", "0.0124"),
        ("-0.000000001", "0"),
        ("-1E+1", "-10"),
    ],
)
def test_small_amounts_are_not_rounded_to_nothing(amount, text):
    """Profit in BTC is small."""
    assert rows.rounded(Decimal(amount)) == text
