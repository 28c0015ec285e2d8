"""A line that could be said again and again."""

from engine.telemetry import Rarely
from engine.units import NS_PER_S, MonoNs


def test_it_is_said_at_once_then_ever_more_rarely_then_once_a_minute() -> None:
    """Asked every tenth of a second for five minutes."""
    lines = Rarely()
    said = [second / 10 for second in range(3000) if lines.is_time(MonoNs(second * NS_PER_S // 10))]

    assert said == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]


def test_after_a_quiet_minute_it_is_said_at_once_again() -> None:
    """It is another matter then."""
    lines = Rarely()
    for second in range(10):
        lines.is_time(MonoNs(second * NS_PER_S))

    assert lines.is_time(MonoNs(100 * NS_PER_S))
    assert lines.is_time(MonoNs(101 * NS_PER_S))
    assert not lines.is_time(MonoNs(102 * NS_PER_S))
