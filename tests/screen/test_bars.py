"""Bars and lines: as wide as they are asked to be, and in the right order."""

from hypothesis import given
from hypothesis import strategies as st

from engine.screen.bars import bar, duration_text, latency_cells, line_chart

numbers = st.floats(-1e12, 1e12)


@given(st.floats(allow_nan=False), st.integers(0, 200))
def test_a_bar_has_its_width_whatever_the_share(share, width):
    """Beyond 0 and 1 it is empty or full."""
    assert len(bar(share, width)) == width


def test_a_bar_is_filled_to_its_share_by_eighths():
    """Half of three cells is one and a half."""
    assert bar(0.5, 3) == "█▌ "
    assert bar(0.0, 3) == "   "
    assert bar(2.0, 3) == "███"


@given(st.lists(numbers, max_size=300), st.integers(0, 100), st.integers(0, 10))
def test_a_line_fits_its_room(values, width, height):
    """Any values, in any room."""
    lines = line_chart(values, width, height)

    assert len(lines) == (height if values and width else 0)
    assert all(len(line) == min(len(values), width) for line in lines)


def test_a_line_rises_with_its_values_and_ends_with_the_newest():
    """The lowest cell is never empty; of more values than cells the last of each part is
    drawn."""
    assert line_chart([0, 7], 10) == ["▁█"]
    assert line_chart([0, 15], 10, 2) == [" █", "▁█"]
    assert line_chart([5, 5, 5], 10) == ["▄▄▄"]
    assert line_chart([9, 0, 9, 7], 2) == ["▁█"]


def test_a_latency_has_its_place_on_a_logarithmic_scale():
    """1 µs to 10 s: seven decades."""
    assert [latency_cells(us, 70) for us in (0.5, 1, 10, 1_000, 10_000_000, 1e9)] == [0, 0, 10, 30, 70, 70]


def test_durations_are_told_in_units_that_people_use():
    """Three digits or so."""
    assert [duration_text(us) for us in (0.4, 52.1, 3_140, 147_131, 1_250_000)] == [
        "0 µs", "52 µs", "3.1 ms", "147 ms", "1.2 s",
    ]  # fmt: skip
