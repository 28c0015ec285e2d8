"""The time from one `on_timer` to the next."""

from typing import Final

from engine.strategy.option_rules import shown
from engine.units import NS_PER_S

TIMER_S_MAX: Final = 366 * 24 * 3600
NEVER_S: Final = 1 / NS_PER_S  # what is less would be never, which 0 says


def timer_ns(timer_s: object) -> int:
    """A strategy's `timer_s` in nanoseconds; 0 for never.

    ValueError for what is no number of seconds from 0 to a year.
    """
    is_number = isinstance(timer_s, int | float) and not isinstance(timer_s, bool)
    if is_number and (timer_s == 0 or NEVER_S <= timer_s <= TIMER_S_MAX):  # type: ignore[operator]
        return int(timer_s * NS_PER_S)  # type: ignore[operator]
    raise ValueError(f"timer_s must be a number of seconds from 0 (never) to a year, not {shown(timer_s)}")
