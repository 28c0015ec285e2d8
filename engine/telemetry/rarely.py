"""For lines of log that could be said again and again: said at once, then ever more rarely, then once a minute."""

from engine.units import NS_PER_S, MonoNs

PAUSE_NS_MIN = NS_PER_S
PAUSE_NS_MAX = 60 * NS_PER_S
NEVER_YET = MonoNs(-(1 << 62))


class Rarely:
    """One kind of line. Whoever asks counts what is not said, and says the count."""

    __slots__ = ("_next_at", "_pause_ns")

    def __init__(self) -> None:
        self._next_at = NEVER_YET
        self._pause_ns = PAUSE_NS_MIN

    def is_time(self, now: MonoNs) -> bool:
        """Is it to be said now? Asked each time that it could be; after a quiet minute it is said at once again."""
        if now < self._next_at:
            return False
        went_on = now < self._next_at + PAUSE_NS_MAX
        self._pause_ns = min(2 * self._pause_ns, PAUSE_NS_MAX) if went_on else PAUSE_NS_MIN
        self._next_at = MonoNs(now + self._pause_ns)
        return True
