"""The table of an order's life, cell by cell."""

import pytest

from engine.orders.life import TERMINAL, TRANSITIONS, IllegalTransition, OrderEvent, OrderState, next_state

# One row a state, one column an event; "." cannot be. The order of columns is that of OrderEvent.
TABLE = """
          send refuse acknowledge reject   doubt   absent   fill     fill_last cancel   expire
new       sent refused .          .        .       .        .        .         .        .
sent      sent refused working    rejected unknown .        partial  filled    canceled expired
working   .    .       working    .        working .        partial  filled    canceled expired
partial   .    .       partial    .        partial .        partial  filled    canceled expired
filled    .    .       filled     .        filled  .        filled   filled    .        .
canceled  .    .       canceled   .        canceled .       canceled .         canceled .
expired   .    .       expired    .        expired .        expired  .         .        expired
rejected  .    .       working    rejected rejected rejected partial filled    canceled expired
refused   .    .       .          .        .       .        .        .         .        .
unknown   .    .       working    rejected unknown rejected partial  filled    canceled expired
"""
HEADER, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(row[0], event, after) for row in ROWS for event, after in zip(HEADER, row[1:], strict=True)]


def test_the_table_here_is_whole():
    """Every state and every event has its cell."""
    assert HEADER == [event.value for event in OrderEvent]
    assert [row[0] for row in ROWS] == [state.value for state in OrderState]


@pytest.mark.parametrize(("state", "event", "after"), CELLS)
def test_every_event_in_every_state_does_what_the_table_says(state, event, after):
    """Or is refused, with both named."""
    if after == ".":
        with pytest.raises(IllegalTransition, match=f"{event.upper()} while {state.upper()}"):
            next_state(OrderState(state), OrderEvent(event))
    else:
        assert next_state(OrderState(state), OrderEvent(event)) is OrderState(after)


def test_only_a_rejection_can_turn_out_to_have_been_wrong():
    """What is over stays over, but for an order that was taken for rejected and that Kraken reports."""
    revived = {
        state for state in TERMINAL for after in TRANSITIONS[state].values() if after is not state
    }  # fmt: skip

    assert revived == {OrderState.REJECTED}


def test_in_doubt_is_open():
    """An order that may be live holds its budget, its funds and its place under every limit."""
    assert {state for state in OrderState if state.is_open} == {
        OrderState.NEW, OrderState.SENT, OrderState.WORKING, OrderState.PARTIAL, OrderState.UNKNOWN,
    }  # fmt: skip
