"""For a repeated log line: write it at once, then less and less often, then once a minute."""

from engine.units import NS_PER_S, MonoNs

PAUSE_NS_MIN = NS_PER_S
PAUSE_NS_MAX = 60 * NS_PER_S
NEVER_YET = MonoNs(-(1 << 62))


class Rarely:
    """One kind of line. The caller counts the lines left out, and writes the count."""

    __slots__ = ("_next_at", "_pause_ns")

    def __init__(self) -> None:
        self._next_at = NEVER_YET
        self._pause_ns = PAUSE_NS_MIN

    def is_time(self, now: MonoNs) -> bool:
        """Whether to write the line now. Call it at each occurrence; after a quiet minute
        the answer is True again.
        """
        if now < self._next_at:
            return False
        went_on = now < self._next_at + PAUSE_NS_MAX
        self._pause_ns = min(2 * self._pause_ns, PAUSE_NS_MAX) if went_on else PAUSE_NS_MIN
        self._next_at = MonoNs(now + self._pause_ns)
        return True
