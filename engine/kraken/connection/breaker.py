"""A circuit breaker: after several failures in a row nothing is sent for a while, then one
probe decides.

    CLOSED ── n failures in a row ──► OPEN ── after a time ──► HALF_OPEN (one probe) ──► CLOSED, or OPEN again

Cancels do not ask it: they are always sent. Time is passed in.
"""

from enum import Enum

from engine.units import MonoNs


class BreakerState(Enum):
    """Whether requests are sent."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """The breaker of one route."""

    def __init__(self, failures_max: int = 5, open_ns: int = 60_000_000_000) -> None:
        self._failures_max = failures_max
        self._open_ns = open_ns
        self._failures = 0
        # When it opened; None while it is closed. Read it, for it costs no call.
        self.opened_at: MonoNs | None = None
        # When the probe was sent; None if none is under way.
        self._probed_at: MonoNs | None = None
        # How often it has opened.
        self.openings = 0

    def state(self, now: MonoNs) -> BreakerState:
        """The state at `now`."""
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now - self.opened_at < self._open_ns else BreakerState.HALF_OPEN

    def allows(self, now: MonoNs) -> bool:
        """True if a request may be sent. While half-open, True makes it the probe, whose
        result must be reported.

        A probe without a result for as long as the breaker stays open is replaced by
        another.
        """
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return True
        if state is BreakerState.OPEN:
            return False
        if self._probed_at is not None and now - self._probed_at < self._open_ns:
            return False
        self._probed_at = now
        return True

    def wait_ns(self, now: MonoNs) -> int:
        """Nanoseconds until a request may be sent; 0 unless the breaker is open."""
        return 0 if self.opened_at is None else max(self.opened_at + self._open_ns - now, 0)

    def succeeded(self) -> None:
        """Note a success: the breaker closes."""
        self._failures = 0
        self.opened_at = self._probed_at = None

    def failed(self, now: MonoNs) -> bool:
        """Note a failure for a reason other than the request itself; True if it opened the
        breaker.

        Late failures of requests sent before it opened do not keep it open for longer.
        """
        if self.state(now) is BreakerState.OPEN:
            return False
        self._failures += 1
        if self.opened_at is None and self._failures < self._failures_max:
            return False
        self.opened_at, self._probed_at = now, None
        self.openings += 1
        return True
