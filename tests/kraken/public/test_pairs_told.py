"""The instrument channel's snapshot of all pairs: told some at a time, and no pair's data after its pair's."""

import msgspec

from engine.kraken.public.events import BookChanged, PairChanged
from engine.kraken.public.session import PAIRS_TOLD_MAX
from engine.topology import NO_CHANNELS
from engine.units import MonoNs
from tests.kraken.wire import T0, Tape, live, new_session

SYMBOLS = tuple(f"P{number}/USD" for number in range(3 * PAIRS_TOLD_MAX + 1))


def told(events):
    return [event.pair.symbol for event in events if isinstance(event, PairChanged)]


def instruments(kind="snapshot", symbols=SYMBOLS, price_decimals=1):
    pairs = [
        {"symbol": symbol, "status": "online", "qty_precision": 8, "price_precision": price_decimals}
        for symbol in symbols
    ]
    return msgspec.json.encode({"channel": "instrument", "type": kind, "data": {"assets": [], "pairs": pairs}})


def opened():
    session = new_session(*SYMBOLS)
    session.opened(T0)
    return session


def test_a_snapshot_of_many_pairs_is_told_by_and_by_and_each_pair_once():
    """Live books come in between; what was told is known at once."""
    session = opened()
    pieces = [told(session.receive(instruments(), T0))]
    assert all(map(session.is_known, SYMBOLS))
    while piece := told(session.poll(MonoNs(T0))):
        pieces.append(piece)

    assert max(map(len, pieces)) == PAIRS_TOLD_MAX
    assert [symbol for piece in pieces for symbol in piece] == list(SYMBOLS)


def test_a_pair_whose_snapshot_comes_is_told_first():
    """So its book is read in the precision that Kraken has told, and waits for nothing."""
    last = SYMBOLS[-1]
    session = opened()
    session.receive(instruments(), T0)
    events = session.receive(Tape(last).snapshot(), T0)

    assert told(events) == [last]
    assert isinstance(events[0], PairChanged)
    assert [event.feed.symbol for event in events if isinstance(event, BookChanged)] == [last]
    rest = [symbol for _ in range(10) for symbol in told(session.poll(MonoNs(T0)))]
    assert sorted(rest) == sorted(SYMBOLS[PAIRS_TOLD_MAX:-1])


def test_an_update_is_told_at_once_and_outdates_what_waits():
    """A pair that changes meanwhile is told as it is now, and once."""
    last = SYMBOLS[-1]
    session = opened()
    session.receive(instruments(), T0)
    events = session.receive(instruments("update", [last], price_decimals=3), T0)
    rest = [event for _ in range(10) for event in session.poll(MonoNs(T0))]

    assert [event.pair.price_precision for event in events if isinstance(event, PairChanged)] == [3]
    assert last not in told(rest)
    assert session.feeds[last].decimals_known == (3, 8)


def test_a_pair_that_is_forgotten_meanwhile_is_told_to_nobody():
    """Its index may be another pair's by then; one that is given back is told, as ever."""
    gone, given_back = SYMBOLS[-1], SYMBOLS[-2]
    session = opened()
    session.receive(instruments(), T0)
    events = session.follow(given_back, len(SYMBOLS) - 2, NO_CHANNELS, MonoNs(T0))
    session.forget(gone, MonoNs(T0))
    rest = [symbol for _ in range(10) for symbol in told(session.poll(MonoNs(T0)))]

    assert told(events) == [given_back]
    assert sorted(rest) == sorted(SYMBOLS[PAIRS_TOLD_MAX:-2])


def test_a_few_pairs_are_told_with_the_snapshot_itself():
    """As in an engine of some pairs."""
    session = live(Tape())

    assert told(session.receive(instruments(symbols=["BTC/USD"]), T0)) == ["BTC/USD"]
