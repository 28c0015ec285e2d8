"""Who follows what, and where each pair has its place."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.errors import CallError
from engine.processes.pair_table import PairTable, PairTableWriter, pair_table_bytes
from engine.ring import BoardReader, board_bytes, format_board
from engine.strategy_host.followed_pairs import FollowedPairs, FollowedShard
from engine.topology import ALL_CHANNELS, NO_CHANNELS, Channel, PairRow, plan_shards

RECORD_BYTES = 64
BOOK, TRADE = Channel.BOOK, Channel.TRADE


class Story:
    """Two shards of three pairs, and room for five more."""

    def __init__(self, configured: Channel = ALL_CHANNELS) -> None:
        shards, self.tables = [], []
        for shard in plan_shards(("AAA/USD", "BBB/USD", "CCC/USD"), 2, added_max=5):
            board = bytearray(board_bytes(RECORD_BYTES, shard.board_slots))
            format_board(board, record_bytes=RECORD_BYTES, slot_count=shard.board_slots)
            memory = bytearray(pair_table_bytes(shard))
            shards.append(FollowedShard(shard, PairTableWriter(memory, shard, shard.first_rows), BoardReader(board)))
            self.tables.append(PairTable(memory))
        self.followed = FollowedPairs(shards, configured)
        self.followed.begin("one", ("AAA/USD", "BBB/USD", "CCC/USD"), takes_rest_books=True)
        self.followed.begin("other", ("AAA/USD",), takes_rest_books=False)

    def rows(self) -> dict[str, tuple[int, int, PairRow]]:
        """Every pair with its shard, its index, and its row, as another process reads them."""
        return {
            row.symbol: (number, index, row)
            for number, table in enumerate(self.tables)
            for index, row in enumerate(table.rows)
            if row.symbol
        }


def test_pairs_are_spread_over_the_shards_and_keep_their_places() -> None:
    """The emptiest first; given back and wanted again, each is where it was."""
    story = Story()
    for name in ("DDD/USD", "EEE/USD", "FFF/USD"):
        story.followed.subscribe("one", name, None)
    places = {symbol: row[:2] for symbol, row in story.rows().items()}
    story.followed.unsubscribe("one", "DDD/USD", None)
    story.followed.subscribe("other", "GGG/USD", None)
    story.followed.subscribe("other", "DDD/USD", ["book"])
    again = story.rows()

    assert places["DDD/USD"] == (1, 1)
    assert {number for number, _ in places.values()} == {0, 1}
    assert {symbol: again[symbol][:2] for symbol in places} == places
    assert again["DDD/USD"][2] == PairRow("DDD/USD", BOOK, takes_rest_books=False)


def test_what_is_wanted_is_what_anybody_wants() -> None:
    """Channel by channel; books of REST only for who takes them."""
    story = Story()
    story.followed.subscribe("one", "DDD/USD", ["trade"])
    story.followed.subscribe("other", "DDD/USD", ["book"])
    assert story.rows()["DDD/USD"][2] == PairRow("DDD/USD", BOOK | TRADE, takes_rest_books=False)
    story.followed.subscribe("one", "DDD/USD", ["book"])
    assert story.rows()["DDD/USD"][2].takes_rest_books
    story.followed.unsubscribe("one", "DDD/USD", None)
    assert story.rows()["DDD/USD"][2] == PairRow("DDD/USD", BOOK)

    # What a strategy does not follow, it cannot give back for others.
    story.followed.unsubscribe("other", "BBB/USD", None)
    assert story.rows()["BBB/USD"][2].channels == ALL_CHANNELS
    story.followed.unsubscribe("one", "BBB/USD", ["trade"])
    assert story.rows()["BBB/USD"][2].channels == ALL_CHANNELS & ~TRADE
    story.followed.unsubscribe("one", "AAA/USD", None)
    assert story.rows()["AAA/USD"][2].channels == ALL_CHANNELS
    story.followed.unsubscribe("other", "AAA/USD", None)
    assert story.rows()["AAA/USD"][2].channels == NO_CHANNELS


def test_candles_need_an_interval() -> None:
    """Without one nothing can be asked of Kraken."""
    story = Story(configured=BOOK | TRADE)

    with pytest.raises(CallError, match=r"feed\.candle_intervals_min names no interval"):
        story.followed.subscribe("one", "DDD/USD", ["candle"])
    _, _, channels = story.followed.subscribe("one", "DDD/USD", None)
    assert channels == BOOK | TRADE
    assert story.followed.unsubscribe("one", "DDD/USD", ["candle"])[2] == BOOK | TRADE


def test_a_place_is_given_again_only_when_kraken_refused_its_name() -> None:
    """Five names that are refused take no place of the five pairs that follow."""
    story = Story()
    told: list[str] = []
    for number in range(5):
        story.followed.subscribe("one", f"BAD{number}/USD", None)
        assert story.followed.refuse(f"BAD{number}/USD", lambda number=number: told.append(f"BAD{number}"))  # type: ignore[misc]
    for number in range(5):
        story.followed.subscribe("one", f"NEW{number}/USD", None)

    assert told == [f"BAD{number}" for number in range(5)]
    with pytest.raises(CallError, match="5 pairs were added"):
        story.followed.subscribe("one", "XXX/USD", None)
    assert story.followed.refuse("BAD1/USD", lambda: told.append("again"))  # of another channel
    assert "again" not in told
    assert not story.followed.refuse("AAA/USD", lambda: told.append("start"))
    assert len({row[:2] for row in story.rows().values()}) == 8


def test_threads_that_subscribe_at_once_get_places_of_their_own() -> None:
    """The strategies' thread and others: no pair is lost, none shares a place."""
    story = Story()
    names = [f"N{number}/USD" for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        places = list(pool.map(lambda name: story.followed.subscribe("one", name, None)[1], names * 20))

    assert len(set(places)) == 5
    assert set(names) < story.rows().keys()
