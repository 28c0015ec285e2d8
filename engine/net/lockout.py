"""Kraken's lockout of a key that failed too often: 15 minutes from the last call.

Pure: time is passed in. A sender of authenticated calls calls `check` first, and `note` at
each lockout.

Source: https://support.kraken.com (EGeneral:Temporary lockout), 15 minutes from the last
call.
"""

import math

from engine.errors import EngineError
from engine.units import NS_PER_S, MonoNs

LOCKOUT_NS = 900 * NS_PER_S
LOCKOUT_TEXT = "EGeneral:Temporary lockout"


class LockedOut(EngineError):
    """The call was not made, for Kraken has locked the key out, and any call would prolong
    it.
    """


class Lockout:
    """Whether calls may be made, and when again."""

    def __init__(self, until: int = 0) -> None:
        # When authenticated calls may be made again.
        self.until = MonoNs(until)
        self.count = 0

    def note(self, now: MonoNs) -> None:
        """Note that Kraken has answered with a lockout."""
        self.until = MonoNs(now + LOCKOUT_NS)
        self.count += 1

    def remaining_ns(self, now: MonoNs) -> int:
        """Remaining time without calls; 0 when calls may be made."""
        return max(0, self.until - now)

    def check(self, now: MonoNs) -> None:
        """Raise LockedOut while no authenticated call may be made."""
        if (left_ns := self.remaining_ns(now)) > 0:
            minutes = math.ceil(left_ns / (60 * NS_PER_S))
            raise LockedOut(
                f"Kraken has locked this API key out for too many failed calls; the next call may be made in "
                f"{minutes} minute{'s' if minutes > 1 else ''}, and before it the key should be corrected"
            )
