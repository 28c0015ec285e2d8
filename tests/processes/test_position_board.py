"""Positions are written when they change, one a slot, and none vanishes unsaid."""

from decimal import Decimal

from engine.orders.positions import Positions, PositionState, by_pair, profit_texts
from engine.processes.position_board import (
    POSITIONS_MAX,
    PositionBoardReader,
    PositionBoardWriter,
    format_position_board,
    position_board_bytes,
    position_slots,
)


def board(slots: int) -> bytearray:
    memory = bytearray(position_board_bytes(slots))
    format_position_board(memory, slots)
    return memory


def shown(memory: bytearray) -> dict[tuple[str, str], str]:
    """The quantity of each position on the board."""
    return {(row.strategy, row.symbol): str(row.qty) for row in PositionBoardReader(memory).rows()}


def test_many_positions_are_all_read_again_in_their_order() -> None:
    """Sixty strategies in a hundred pairs each: their text would be four times the old board's 256 kB."""
    memory = board(6000)
    writer = PositionBoardWriter(memory)
    rows = [
        (
            f"strategy{number // 100}",
            f"COIN{number % 100}/USD",
            PositionState(Decimal(number + 1), Decimal("0.5"), Decimal(-3), Decimal("0.01"), Decimal("0.25")),
        )
        for number in range(6000)
    ]
    writer.store(rows)
    read = list(PositionBoardReader(memory).rows())

    assert [(row.strategy, row.symbol, row.state) for row in read] == rows
    assert not writer.left_out


def test_only_what_has_changed_is_taken() -> None:
    """Oldest change first, as many as are asked for; a journal's positions are all new to the board."""
    positions = Positions()
    positions.load([("a", f"C{number}/USD", PositionState()) for number in range(5)])
    assert [symbol for _, symbol, _ in positions.take_changed(3)] == ["C0/USD", "C1/USD", "C2/USD"]
    assert [symbol for _, symbol, _ in positions.take_changed(None)] == ["C3/USD", "C4/USD"]
    assert positions.take_changed(None) == []
    positions.of("a", "C2/USD").fill("buy", Decimal(2), Decimal(10), Decimal(1))
    positions.qty("a", "C4/USD")

    assert [(symbol, str(state.qty)) for _, symbol, state in positions.take_changed(None)] == [("C2/USD", "2")]


def test_what_has_no_room_is_counted_and_written_when_it_fits() -> None:
    """More positions than slots, and a number too long for its slot."""
    memory = board(2)
    writer = PositionBoardWriter(memory)
    long = PositionState(Decimal("0." + "1" * 600))
    writer.store([("a", "LONG/USD", long)])
    assert writer.left_out == {("a", "LONG/USD")}
    writer.store([("a", "A/USD", PositionState(Decimal(1))), ("a", "B/USD", PositionState(Decimal(2)))])
    writer.store([("a", "C/USD", PositionState(Decimal(3)))])
    writer.store([("a", "A/USD", PositionState(Decimal(4)))])

    assert writer.left_out == {("a", "LONG/USD"), ("a", "C/USD")}
    assert shown(memory) == {("a", "A/USD"): "4", ("a", "B/USD"): "2"}


def test_a_successor_writes_all_anew() -> None:
    """Whatever order its journal tells them in, each is there once, as it is."""
    memory = board(4)
    PositionBoardWriter(memory).store([("a", name, PositionState(Decimal(1))) for name in ("A/USD", "B/USD")])
    PositionBoardWriter(memory).store([("a", name, PositionState(Decimal(2))) for name in ("B/USD", "A/USD", "C/USD")])

    assert shown(memory) == {("a", "A/USD"): "2", ("a", "B/USD"): "2", ("a", "C/USD"): "2"}


def test_the_room_grows_with_strategies_and_pairs_up_to_a_bound() -> None:
    """A small engine pays for a small board."""
    assert position_slots(1, 10) == 20
    assert position_slots(0, 0) > 0
    assert position_slots(64, 1514) == POSITIONS_MAX


def test_profit_is_told_by_quote_currency_and_valued_where_there_is_a_price() -> None:
    """Amounts in different currencies are not added up; without a price a position is worth its cost."""
    rows = [
        ("A/USD", PositionState(Decimal(2), Decimal(20), Decimal(1), Decimal("0.1"))),
        ("A/USD", PositionState(Decimal(-1), Decimal(-11), Decimal(0), Decimal("0.1"))),
        ("B/EUR", PositionState(Decimal(1), Decimal(5))),
    ]
    told = profit_texts(by_pair(rows), lambda symbol: Decimal(12) if symbol == "A/USD" else None)

    assert told == {
        "USD": {"realized": "1", "unrealized": "3", "fees": "0.2"},
        "EUR": {"realized": "0", "unrealized": "0", "fees": "0"},
    }
