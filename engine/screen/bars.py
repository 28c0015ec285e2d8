"""Bars and lines made of block characters, for numbers that are seen better than read."""

from collections.abc import Sequence
from math import log10
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
PARTS: Final = " ▏▎▍▌▋▊▉"  # eighths of a cell
FULL: Final = "█"
LATENCY_US_MIN, LATENCY_US_MAX = 1.0, 10_000_000.0  # the ends of a latency's scale: 1 µs to 10 s
_DECADES: Final = log10(LATENCY_US_MAX / LATENCY_US_MIN)


def bar(share: float, width: int) -> str:
    """A bar of `width` cells, filled to `share`, from 0 to 1."""
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    text = FULL * (eighths // 8)
    if len(text) < width and (part := eighths % 8):
        text += PARTS[part]
    return text.ljust(width)


def line_chart(values: Sequence[float], width: int, height: int = 1) -> list[str]:
    """The values, oldest first, as `height` lines of text from top to bottom, one cell a
    value: of more than `width`, the last of each part is drawn. All on half the height
    where they do not differ."""
    if not values or width < 1 or height < 1:
        return []
    if len(values) > width:
        ends = [round((cell + 1) * len(values) / width) - 1 for cell in range(width)]
        values = [values[end] for end in ends]
    low, high, steps = min(values), max(values), len(BLOCKS) * height
    levels = [steps // 2 if high <= low else 1 + round((steps - 1) * (value - low) / (high - low)) for value in values]
    return ["".join(_chart_cell(level - len(BLOCKS) * row) for level in levels) for row in reversed(range(height))]


def _chart_cell(eighths: int) -> str:
    if eighths <= 0:
        return " "
    return BLOCKS[min(eighths, len(BLOCKS)) - 1]


def latency_cells(us: float, width: int) -> int:
    """How many of `width` cells a latency reaches, on a logarithmic scale of 1 µs to 10 s."""
    if us <= LATENCY_US_MIN:
        return 0
    return min(width, max(1, round(width * log10(us / LATENCY_US_MIN) / _DECADES)))


def duration_text(us: float) -> str:
    """A latency for people: `52 µs`, `3.1 ms`, `1.2 s`."""
    if us < 1_000:
        return f"{us:.0f} µs"
    if us < 1_000_000:
        return f"{us / 1_000:.1f} ms" if us < 100_000 else f"{us / 1_000:.0f} ms"
    return f"{us / 1_000_000:.1f} s"
