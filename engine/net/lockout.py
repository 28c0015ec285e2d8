"""Kraken's lockout of a key that failed too often: a quarter of an hour without a call.

Each call starts it again. Pure: time is passed in. Call `check` before each authenticated
call, and `note` at each lockout.

Source: https://support.kraken.com (EGeneral:Temporary lockout), 15 minutes from the last call.
"""

import math

from engine.errors import EngineError
from engine.units import NS_PER_S, MonoNs

LOCKOUT_NS = 900 * NS_PER_S


class LockedOut(EngineError):
    """The call was not made: Kraken has locked the key out, and every call would prolong
    it.
    """


class Lockout:
    """Whether authenticated calls may be made."""

    def __init__(self, until: int = 0) -> None:
        # No authenticated call before this.
        self.until = MonoNs(until)
        self.count = 0

    def note(self, now: MonoNs) -> None:
        """Record that Kraken has answered with its lockout."""
        self.until = MonoNs(now + LOCKOUT_NS)
        self.count += 1

    def remaining_ns(self, now: MonoNs) -> int:
        """How long no call may be made; 0 when calls may be made."""
        return max(0, self.until - now)

    def check(self, now: MonoNs) -> None:
        """Raise LockedOut while no authenticated call may be made."""
        if (left_ns := self.remaining_ns(now)) > 0:
            minutes = math.ceil(left_ns / (60 * NS_PER_S))
            raise LockedOut(
                f"Kraken has locked this API key out for too many failed calls; the next call may be made in "
                f"{minutes} minute{'s' if minutes > 1 else ''}, and before it the key should be corrected"
            )
