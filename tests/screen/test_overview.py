"""The drawing of `engine run --view` fits every terminal."""

import io

import pytest
from rich.console import Console

from engine.screen.ladder import ladder_rows
from engine.screen.order_tape import ShownFill
from engine.screen.overview import overview
from engine.screen.rows import money_rows
from engine.screen.watcher import Picture
from tests.screen.rig import PAIR, SUMMARY, book_of, fill, shown_order

LEVELS = 10
DEEP = book_of(
    [(f"{100000 - number}.0", "123456.12345678") for number in range(LEVELS)],
    [(f"{100001 + number}.0", "0.00000001") for number in range(LEVELS)],
)


def picture(pairs=3, **fields):
    """A busy moment of an engine with so many pairs."""
    conduct = {"halted": False, "errors": 0, "hangs": None}
    summary = {
        **SUMMARY, "symbols": {f"A{number}/USD": PAIR for number in range(pairs)} | {"BTC/USD": PAIR},
        "orders": {"unknown_open": 0, "filled": 12_345}, "strategies": {"a": conduct},
    }  # fmt: skip
    orders = [shown_order(f"o{number}") for number in range(30)]
    return Picture(
        **{
            "summary": summary,
            "symbol": "BTC/USD",
            "ladder": ladder_rows(DEEP, orders, 25, {}.get),
            "book": DEEP,
            "age_s": 0.1,
            "rates": {"A0/USD": 12_345.0},
            "orders": orders,
            "ahead": {"o1": None},
            "fills": [ShownFill("s", fill(f"T{number}")) for number in range(50)],
            "pnl": [float(number % 17) for number in range(900)],
            "money": money_rows(SUMMARY),
            **fields,
        }
    )


def drawn(shown, width, height):
    """The lines on a terminal of this size."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(overview(shown, width, height))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (120, 30), (200, 60), (60, 20), (80, 17)])
@pytest.mark.parametrize("pairs", [0, 1, 300])
def test_it_fits(width, height, pairs):
    """One line is left for the prompt."""
    lines = drawn(picture(pairs), width, height)

    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_it_shows_the_ladder_with_our_quote_orders_fills_and_the_line_of_profit():
    """In 80 columns."""
    text = "\n".join(drawn(picture(), 80, 24))

    for part in ("BTC/USD live, 0.1 s old", "100001.0", "spread", "100000.0", "working", "03:35:51", "maker",
                 "-0.75 USD after fees", "█", "wire → strategy 50 µs"):  # fmt: skip
        assert part in text


def test_an_engine_that_does_not_trade_shows_its_latency_instead():
    """No orders, no money."""
    off = {**picture().summary, "trading": {"mode": "off", "is_open": False, "reason": ""}}
    text = "\n".join(drawn(picture(summary=off, money=[], orders=[], fills=[], ahead={}), 80, 24))

    assert "orders" not in text
    assert "wire → ack" in text


def test_nothing_yet_is_said_and_not_an_error():
    """The first look of a run."""
    text = "\n".join(drawn(picture(book=None, age_s=None, ladder=[], orders=[], fills=[], money=[], ahead={}), 80, 24))

    for part in ("no book of BTC/USD yet", "no orders yet", "no fills yet"):
        assert part in text
