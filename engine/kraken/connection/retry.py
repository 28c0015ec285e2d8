"""When to ask again, by the meaning of the last answer: one policy for everything that is
needed.

    the key or its permissions      not again, until something changes: a person resumes, or a process starts
    lockout                         after a quarter of an hour
    too many calls                  2 s, 4 s … 60 s
    anything else                   from `first_ns`, doubling up to `pause_ns_max`; drawn from the upper half

Too many calls concerns *all* calls of the key, so these pauses are longer than those for a
network that fails; within them the key's counter decides (`call_counter`).

Pure: time and chance are passed in.
"""

from collections.abc import Callable
from typing import Final

from engine.orders.refusal import ErrorKind
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
    """The pauses of one thing that is asked for."""

    def __init__(
        self, chance: Callable[[], float], *, first_ns: int = FIRST_NS, pause_ns_max: int = PAUSE_NS_MAX
    ) -> None:
        """`chance` gives numbers from 0 up to 1, so that clients that failed together do
        not return together.
        """
        self._chance = chance
        self._first_ns = first_ns
        self._pause_ns_max = pause_ns_max
        # Not before this; NEVER while only a change can help.
        self.at = MonoNs(0)
        self.failures_in_a_row = 0

    @property
    def is_over(self) -> bool:
        """Whether asking is useless until something changes."""
        return self.at == NEVER

    def is_due(self, now: MonoNs) -> bool:
        """Whether it may be asked for now."""
        return now >= self.at

    def wait_ns(self, now: MonoNs) -> int:
        """How long until it may be asked for; 0 for now."""
        return max(0, self.at - now)

    def failed(self, kind: ErrorKind, now: MonoNs, lockout_ns: int = LOCKOUT_PAUSE_NS) -> None:
        """Record a failure at `now`; `lockout_ns` is what is left of a lockout."""
        self.failures_in_a_row += 1
        if kind in LASTING:
            self.at = NEVER
        elif kind is ErrorKind.LOCKOUT:
            self.at = MonoNs(now + lockout_ns)
        else:
            self.at = MonoNs(now + self._pause_ns(kind))

    def succeeded(self) -> None:
        """Record a success: the next failure starts the pauses again."""
        self.failures_in_a_row = 0
        self.at = MonoNs(0)

    # Something has changed that may help: a person has resumed trading, or another route is
    # open.
    anew = succeeded

    def _pause_ns(self, kind: ErrorKind) -> int:
        first_ns, pause_ns_max = (
            (max(BUSY_FIRST_NS, self._first_ns), max(BUSY_PAUSE_NS_MAX, self._pause_ns_max))
            if kind in BUSY
            else (self._first_ns, self._pause_ns_max)
        )
        ceiling_ns = min(pause_ns_max, first_ns << min(self.failures_in_a_row - 1, 32))
        return int(ceiling_ns * (0.5 + 0.5 * self._chance()))
