"""Missing trades, where REST stands behind the socket: held, filled, told in order, or given up and told so."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.public.messages import TradeData
from engine.kraken.public.trade_tape import GAP_PATIENCE_NS, HELD_MAX, SINCE_MARGIN_NS, TradeTape
from engine.timestamps import wall_ns
from engine.units import MonoNs
from tests.kraken.wire import T0, S

BTC = "BTC/USD"


def trade(trade_id: int) -> TradeData:
    at = f"2026-07-07T{trade_id // 3600 % 24:02}:{trade_id // 60 % 60:02}:{trade_id % 60:02}.000677Z"
    return TradeData(BTC, "buy", Decimal("63500.1"), Decimal("0.001"), trade_id, "limit", at)


class Story:
    """A tape, what it told, and what REST knows of its trades."""

    def __init__(self, first: int = 100) -> None:
        self.tape = TradeTape(holds=True)
        self.told: list[int] = []
        self.history: list[int] = []
        self.rest: list[int] = []
        self.now = MonoNs(T0)
        self.take(first)

    def note(self, events: list) -> None:
        self.told += [event.trade.trade_id for event in events]
        self.history += [event.trade.trade_id for event in events if event.history]
        assert all(event.history == event.is_rest for event in events)

    def take(self, *ids: int) -> None:
        self.note(self.tape.take([trade(each) for each in ids], self.now))

    def fill(self, *ids: int) -> None:
        self.note(self.tape.fill(BTC, [trade(each) for each in ids], self.now))


def test_what_follows_a_gap_waits_for_it():
    """Told in order once REST has told what was missing, which alone is marked."""
    story = Story()
    story.take(101, 104, 105)
    held = list(story.told)
    (gap,) = story.tape.gaps
    story.fill(101, 102, 103, 104)

    assert held == [100, 101]
    assert gap.since == wall_ns(trade(101).timestamp) - SINCE_MARGIN_NS
    assert (story.told, story.history) == ([100, 101, 102, 103, 104, 105], [102, 103])
    assert (story.tape.filled, story.tape.missed, story.tape.repeated) == (2, 0, 0)
    assert story.tape.gaps == []


def test_a_trade_that_comes_out_of_order_closes_its_gap():
    """Kraken itself sends the missing one: nothing is asked for any more."""
    story = Story()
    story.take(102)
    story.take(101)

    assert (story.told, story.history, story.tape.gaps) == ([100, 101, 102], [], [])


def test_ids_that_rest_does_not_know_are_given_up_and_told():
    """REST tells beyond the gap without it: these trades are nowhere to be had, and the rest goes on."""
    story = Story()
    story.take(103, 104, 107)
    story.fill(102, 103, 104)
    (given_up,) = story.tape.take_given_up()

    assert story.told == [100, 102, 103, 104]
    assert (given_up.first_id, given_up.count, story.tape.missed) == (101, 1, 1)
    assert [gap.symbol for gap in story.tape.gaps] == [BTC]


def test_rest_that_lags_proves_nothing():
    """Its newest trade is older than the gap: what is missing may still come."""
    story = Story()
    story.take(103)
    story.fill(99, 100)

    assert (story.told, story.tape.missed, len(story.tape.gaps)) == ([100], 0, 1)


def test_a_gap_that_nobody_fills_is_given_up_in_time():
    """Without an answer the trades behind it are told after five seconds; one that comes after all is told late."""
    story = Story()
    story.take(103)
    early = story.tape.give_up(MonoNs(T0 + GAP_PATIENCE_NS))
    story.note(story.tape.give_up(MonoNs(T0 + GAP_PATIENCE_NS + 1)))
    story.take(102)

    assert (early, story.told, story.tape.missed) == ([], [100, 103, 102], 1)


def test_an_answer_that_fills_a_part_extends_the_patience():
    """A long outage needs several answers: each starts the time anew."""
    story = Story()
    story.take(2000)
    story.now = MonoNs(T0 + 4 * S)
    story.fill(*range(101, 1101))
    waits = story.tape.give_up(MonoNs(T0 + 8 * S))
    story.now = MonoNs(T0 + 8 * S)
    story.fill(*range(1100, 2000))

    assert waits == []
    assert story.told == list(range(100, 2001))


def test_what_is_held_is_bounded():
    """Beyond a thousand trades the gap is given up at once."""
    story = Story()
    story.take(*range(102, 102 + HELD_MAX))
    held = len(story.told)
    story.take(102 + HELD_MAX)

    assert held == 1
    assert story.told == [100, *range(102, 103 + HELD_MAX)]


def test_a_new_numbering_tells_what_was_held_first():
    """The venue was set up again: nothing of the old numbering is waited for."""
    story = Story(10_000)
    story.take(10_002, 10_002 + 50_000_000)

    assert story.told == [10_000, 10_002, 10_002 + 50_000_000]
    assert story.tape.gaps == []


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from(["live", "twice", "lost", "rest", "torn rest"])), max_size=60
    )
)
def test_each_id_once_and_in_order_whatever_is_lost(steps):
    """Live, repeated and lost trades, answers whole and lagging: told ascending, and at the end all or given up."""
    story, newest = Story(), 100
    for count, what in steps:
        if what in ("live", "twice", "lost"):
            ids = range(newest + 1, newest + 1 + count % 4)
            newest = max([newest, *ids])
            for _ in range({"live": 1, "twice": 2, "lost": 0}[what]):
                story.take(*ids)
        else:
            story.fill(*range(101, newest + 1 - (count if what == "torn rest" else 0)))
    story.fill(*range(101, newest + 1))

    assert story.told == list(range(100, newest + 1))
    assert (story.tape.missed, story.tape.reported, story.tape.gaps) == (0, len(story.told), [])
