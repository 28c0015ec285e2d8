"""Whether a connection is alive, and which of its frames could not be read: shared by all
sessions.

Heartbeats come about once a second, but only where some channel is subscribed; there three
seconds without a frame end the connection. A pong proves a socket, not a feed, so it is no
such frame. Nor do heartbeats prove that requests arrive: a ping that is not answered ends
the connection, whatever else comes.
"""

from engine.kraken.connection.events import FRAME_BYTES_SHOWN_MAX, FrameNotUnderstood, Misunderstanding, silence_text
from engine.units import NS_PER_S, MonoNs

PING_INTERVAL_NS = 15 * NS_PER_S  # Kraken closes a connection after a minute without requests or data
# For a pong. Kraken answers in microseconds; the rest is the way, and what was to be read
# before it.
PONG_DEADLINE_NS = 5 * NS_PER_S
MAINTENANCE_DELAY_NS = 5 * NS_PER_S  # Kraken: at least five seconds between attempts after maintenance
REPORT_INTERVAL_NS = NS_PER_S  # at most one report of a malformed or unknown frame per kind in this time
UNKNOWN_NAMES_MAX = 64  # remembered, so that each is reported once
DETAIL_CHARS_MAX = 200  # of a report: its text may come from the frame


class Liveness:
    """The signs of life of one session's connection."""

    def __init__(
        self,
        silence_ns_max: int,
        pong_deadline_ns: int = PONG_DEADLINE_NS,
        ping_interval_ns: int = PING_INTERVAL_NS,
    ) -> None:
        self._silence_ns_max = silence_ns_max
        self._ping_interval_ns = ping_interval_ns
        self._pong_deadline_ns = pong_deadline_ns
        # Whether a connection is open, and whether Kraken has confirmed a channel on it, so
        # that heartbeats are due.
        self.is_open = False
        self.is_subscribed = False
        # When the last frame other than a pong arrived; and until when none is due.
        self.heard_at = MonoNs(0)
        self.silent_until = MonoNs(0)
        # Counted since the process started.
        self.heartbeats = 0
        self.pongs = 0
        # Round trip of the last answered application ping; 0 before.
        self.ping_rtt_ns = 0
        # When the last answered ping was sent. What Kraken had sent by then has arrived:
        # its answer came behind that on the same connection. 0 before.
        self.answered_at = MonoNs(0)
        # When the next ping is due, and when the unanswered one was sent; 0 without one.
        self._ping_at = MonoNs(0)
        self._pinged_at = MonoNs(0)

    def opened(self, now: MonoNs) -> None:
        """Record that a connection is open, without subscriptions."""
        self.is_open = True
        self.is_subscribed = False
        self.heard_at = now
        self.silent_until = MonoNs(0)
        self._ping_at = MonoNs(now + self._ping_interval_ns)
        self._pinged_at = MonoNs(0)

    def closed(self) -> None:
        """Record that the connection has ended."""
        self.is_open = False
        self.is_subscribed = False

    def ponged(self, now: MonoNs) -> None:
        """Record a pong, or another answer to a ping."""
        self.pongs += 1
        if self._pinged_at:
            self.ping_rtt_ns = now - self._pinged_at
            self.answered_at = self._pinged_at
            self._pinged_at = MonoNs(0)

    def ping_due(self, now: MonoNs) -> bool:
        """Whether a ping is due; if it is, it counts as sent. None is due while another
        waits for its answer.
        """
        if not self.is_open or now < self._ping_at or self._pinged_at:
            return False
        self._ping_at = MonoNs(now + self._ping_interval_ns)
        self._pinged_at = now
        return True

    def doubt_requests(self) -> None:
        """Make a ping due at once, because a request was not answered in time: perhaps none
        arrives.
        """
        self._ping_at = MonoNs(0)

    def dead(self, now: MonoNs) -> str | None:
        """Why the connection must be cut; None while it lives."""
        if not self.is_open:
            return None
        if self._pinged_at and now - self._pinged_at > self._pong_deadline_ns:
            return f"no answer to a ping for {silence_text(now - self._pinged_at)}"
        if self.is_subscribed and now - max(self.heard_at, self.silent_until) > self._silence_ns_max:
            return f"no frame for {silence_text(now - self.heard_at)}"
        return None


class Oddities:
    """Frames that were counted and skipped. Reported rarely, counted always."""

    def __init__(self) -> None:
        # Since the process started.
        self.malformed = 0
        self.unknown = 0
        # Names of unknown channels and methods that were reported; when each kind may be
        # reported again.
        self._unknown_seen: set[str] = set()
        self._report_at: dict[str, MonoNs] = {}

    def count_malformed(self, error: Exception, frame: bytes, now: MonoNs) -> tuple[FrameNotUnderstood, ...]:
        """Count a frame that cannot be read; returns the event to report, if any."""
        self.malformed += 1
        return self.report("malformed", str(error), frame, now)

    def count_unknown(self, name: str, frame: bytes, now: MonoNs) -> tuple[FrameNotUnderstood, ...]:
        """Count a frame of an unknown channel or method; each name is reported once."""
        self.unknown += 1
        name = name[:DETAIL_CHARS_MAX]
        if name in self._unknown_seen or len(self._unknown_seen) >= UNKNOWN_NAMES_MAX:
            return ()
        events = self.report("unknown", name, frame, now)
        if events:
            self._unknown_seen.add(name)
        return events

    def report(self, kind: Misunderstanding, detail: str, frame: bytes, now: MonoNs) -> tuple[FrameNotUnderstood, ...]:
        """The event, unless one of this kind was reported just now."""
        if now < self._report_at.get(kind, now):
            return ()
        self._report_at[kind] = MonoNs(now + REPORT_INTERVAL_NS)
        return (FrameNotUnderstood(kind, detail[:DETAIL_CHARS_MAX], frame[:FRAME_BYTES_SHOWN_MAX]),)
