"""What the page keeps is bounded, and its samples say what happened since the one before."""

from array import array

from engine.page.account import Account, equity
from engine.page.history import HEAT_SAMPLES_MAX, SAMPLES_MAX, Durations, History, Sample, places_as_given
from engine.topology import plan_shards

BOOKS = {"BTC/USD": (((99.0, 1.0),), ((101.0, 2.0),))}


def sample(number: int) -> Sample:
    """A moment of an engine."""
    return Sample(
        number=number,
        at_s=1000.0 + number,
        quotes={"BTC/USD": (99.0, 101.0), "ETH/USD": (None, 11.0)},
        profit={"USD": 1.5},
        equity=None,
        latency={"ack": Durations(10.0, 20.0, array("L", [0, number]))},
        cpu_percent={"engine": 3.0},
    )


def test_the_oldest_samples_are_forgotten_and_books_sooner():
    """An hour is no more than a quarter of one."""
    history = History()
    for number in range(1, SAMPLES_MAX + 500):
        history.add(sample(number), BOOKS)
    rows = history.rows_since(0, "BTC/USD", "ack")

    assert [row["n"] for row in rows] == list(range(500, SAMPLES_MAX + 500))
    assert sum(row["book"] is not None for row in rows) == HEAT_SAMPLES_MAX
    assert all(row["book"] for row in rows[-HEAT_SAMPLES_MAX:])


def test_only_what_is_new_is_told_again():
    """Of the pair and the latency that were asked for."""
    history = History()
    for number in range(1, 6):
        history.add(sample(number), BOOKS)
    rows = history.rows_since(3, "ETH/USD", "ack")

    assert [(row["n"], row["bid"], row["ask"], row["book"], row["counts"]) for row in rows] == [
        (4, None, 11.0, None, [0, 4]),
        (5, None, 11.0, None, [0, 5]),
    ]
    assert history.rows_since(5, "BTC/USD", "ack") == []
    unknown = history.rows_since(4, "NO/SUCH", "no such")[0]
    assert (unknown["bid"], unknown["p50"], unknown["counts"]) == (None, None, [])


def test_the_first_pairs_are_those_of_the_configuration():
    """However many shards they are spread over."""
    symbols = [f"A{number:02d}/USD" for number in range(30)]
    for count in (1, 2, 7):
        rows = [shard.first_rows for shard in plan_shards(symbols, count)]
        assert [symbol for _, _, symbol in places_as_given(rows)] == symbols
        assert all(rows[shard][index].symbol == symbol for shard, index, symbol in places_as_given(rows))


def test_equity_is_told_with_what_has_no_price():
    """Balances at the middle price; what is not followed is named, not guessed."""
    account = Account(
        balances=tuple({"asset": asset, "total": total} for asset, total in (
            ("USD", "100"), ("BTC", "2"), ("DOGE", "7"), ("EUR", "0"), ("XRP", None)
        ))
    )  # fmt: skip

    assert equity(account, "USD", {"BTC/USD": 50.0}) == (200.0, ["DOGE"])
    assert equity(Account(), "USD", {}) is None
