"""When to retry, by the meaning of the last error: one policy for every repeated request.

    the key or its permissions      never, until a person resumes trading or a process starts
    lockout                         after a quarter of an hour
    too many calls                  2 s, 4 s … 60 s
    anything else                   from `first_ns`, doubling up to `pause_ns_max`; drawn from the upper half

"Too many calls" concerns *all* calls of the key, so these pauses are longer than those
after a network failure; within them the key's counter decides (`call_counter`).

Pure: time and random numbers are passed in.
"""

from collections.abc import Callable
from typing import Final

from engine.kraken.connection.error_catalog import ErrorKind
from engine.units import NS_PER_S, MonoNs

LASTING: Final = frozenset({ErrorKind.AUTH, ErrorKind.PERMISSION, ErrorKind.ACCOUNT})
BUSY: Final = frozenset({ErrorKind.CALL_LIMIT, ErrorKind.RATE_LIMIT})
LOCKOUT_PAUSE_NS: Final = 900 * NS_PER_S
BUSY_FIRST_NS: Final = 2 * NS_PER_S
BUSY_PAUSE_NS_MAX: Final = 60 * NS_PER_S
FIRST_NS: Final = NS_PER_S // 2
PAUSE_NS_MAX: Final = 30 * NS_PER_S
NEVER: Final = MonoNs(2**63 - 1)


class Retry:
    """The retry schedule of one request."""

    def __init__(
        self, chance: Callable[[], float], *, first_ns: int = FIRST_NS, pause_ns_max: int = PAUSE_NS_MAX
    ) -> None:
        """`chance` returns random numbers in [0, 1), so that clients that failed together
        do not retry together.
        """
        self._chance = chance
        self._first_ns = first_ns
        self._pause_ns_max = pause_ns_max
        # When the next attempt may be made; NEVER while only a change from outside can
        # help.
        self.at = MonoNs(0)
        self.failures_in_a_row = 0

    @property
    def is_over(self) -> bool:
        """Whether a retry is pointless until something changes from outside."""
        return self.at == NEVER

    def is_due(self, now: MonoNs) -> bool:
        """Whether an attempt may be made."""
        return now >= self.at

    def wait_ns(self, now: MonoNs) -> int:
        """Time until the next attempt may be made; 0 when it may be made now."""
        return max(0, self.at - now)

    def failed(self, kind: ErrorKind, now: MonoNs, lockout_ns: int = LOCKOUT_PAUSE_NS) -> None:
        """Note a failed attempt and schedule the next; `lockout_ns` is the remaining time
        of a lockout.
        """
        self.failures_in_a_row += 1
        if kind in LASTING:
            self.at = NEVER
        elif kind is ErrorKind.LOCKOUT:
            self.at = MonoNs(now + lockout_ns)
        else:
            self.at = MonoNs(now + self._pause_ns(kind))

    def succeeded(self) -> None:
        """Note a success: an attempt may be made at once, and pauses start from the
        shortest again.
        """
        self.failures_in_a_row = 0
        self.at = MonoNs(0)

    # The same after a change from outside: a person has resumed trading, or another route
    # is open.
    anew = succeeded

    def _pause_ns(self, kind: ErrorKind) -> int:
        first_ns, pause_ns_max = (
            (max(BUSY_FIRST_NS, self._first_ns), max(BUSY_PAUSE_NS_MAX, self._pause_ns_max))
            if kind in BUSY
            else (self._first_ns, self._pause_ns_max)
        )
        ceiling_ns = min(pause_ns_max, first_ns << min(self.failures_in_a_row - 1, 32))
        return int(ceiling_ns * (0.5 + 0.5 * self._chance()))
