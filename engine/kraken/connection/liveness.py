"""Whether a connection is alive, and what its frames could not tell: what all our sessions watch alike.

Heartbeats come about once a second, but only where some channel is subscribed. A pong proves a socket, not a feed:
it counts as life only before the first subscription, when nothing else can come.
"""

from typing import TYPE_CHECKING

from engine.kraken.connection.events import FRAME_BYTES_SHOWN_MAX, FrameNotUnderstood, silence_text
from engine.native import CORE
from engine.units import NS_PER_S, MonoNs

PING_INTERVAL_NS = 15 * NS_PER_S  # Kraken closes a connection after a minute without requests or data
PONG_SILENCE_NS = 3 * PING_INTERVAL_NS  # before the first subscription only pongs come: two of them lost is enough
MAINTENANCE_DELAY_NS = 5 * NS_PER_S  # Kraken: at least five seconds between attempts after maintenance
REPORT_INTERVAL_NS = NS_PER_S  # at most one report of a malformed or unknown frame per kind in this time
UNKNOWN_NAMES_MAX = 64  # remembered, so that each is reported once
DETAIL_CHARS_MAX = 200  # of a report: its text may come from the frame


if TYPE_CHECKING or CORE is None:

    class Heard:
        """What a compiled lane, which takes frames past the session, writes of its liveness."""

        heard_at: MonoNs
        """When a frame other than a pong last came."""
else:
    Heard = CORE.Heard


class Liveness(Heard):
    """The signs of life of one session's connection."""

    def __init__(self, silence_ns_max: int) -> None:
        self._silence_ns_max = silence_ns_max
        # Is a connection up? Has Kraken confirmed a channel on it, so that heartbeats are due?
        self.is_open = False
        self.is_subscribed = False
        # The latter: when a pong last came.
        self.heard_at = MonoNs(0)
        self.pong_at = MonoNs(0)
        # Counted since the process started.
        self.heartbeats = 0
        self.pongs = 0
        # Round trip of the last answered application ping; 0 before.
        self.ping_rtt_ns = 0
        # When we ping next, and when the ping left that is not yet answered; 0 without one.
        self._ping_at = MonoNs(0)
        self._pinged_at = MonoNs(0)

    def opened(self, now: MonoNs) -> None:
        """A connection is up; nothing is subscribed on it."""
        self.is_open = True
        self.is_subscribed = False
        self.heard_at = self.pong_at = now
        self._ping_at = MonoNs(now + PING_INTERVAL_NS)
        self._pinged_at = MonoNs(0)

    def closed(self) -> None:
        """The connection is gone."""
        self.is_open = False
        self.is_subscribed = False

    def ponged(self, now: MonoNs) -> None:
        """A pong came."""
        self.pongs += 1
        self.pong_at = now
        if self._pinged_at:
            self.ping_rtt_ns = now - self._pinged_at
            self._pinged_at = MonoNs(0)

    def ping_due(self, now: MonoNs) -> bool:
        """Is it time for a ping? When it is, it counts as sent."""
        if not self.is_open or now < self._ping_at:
            return False
        self._ping_at = MonoNs(now + PING_INTERVAL_NS)
        self._pinged_at = now
        return True

    def dead(self, now: MonoNs) -> str | None:
        """Why the connection must be cut; None while it lives."""
        if not self.is_open:
            return None
        if self.is_subscribed:
            silent_ns, silent_ns_max = now - self.heard_at, self._silence_ns_max
        else:
            silent_ns, silent_ns_max = now - max(self.heard_at, self.pong_at), PONG_SILENCE_NS
        return f"no frame for {silence_text(silent_ns)}" if silent_ns > silent_ns_max else None


class Oddities:
    """Frames that were counted and left. Reported rarely, counted always."""

    def __init__(self) -> None:
        # Since the process started.
        self.malformed = 0
        self.unknown = 0
        # Names of unknown channels and methods that were reported; when each kind may be reported again.
        self._unknown_seen: set[str] = set()
        self._report_at: dict[str, MonoNs] = {}

    def count_malformed(self, error: Exception, frame: bytes, now: MonoNs) -> tuple[FrameNotUnderstood, ...]:
        """A frame that cannot be read."""
        self.malformed += 1
        return self.report("malformed", str(error), frame, now)

    def count_unknown(self, name: str, frame: bytes, now: MonoNs) -> tuple[FrameNotUnderstood, ...]:
        """A frame of a channel or method that we do not know; each name is reported once."""
        self.unknown += 1
        name = name[:DETAIL_CHARS_MAX]
        if name in self._unknown_seen or len(self._unknown_seen) >= UNKNOWN_NAMES_MAX:
            return ()
        events = self.report("unknown", name, frame, now)
        if events:
            self._unknown_seen.add(name)
        return events

    def report(self, kind: str, detail: str, frame: bytes, now: MonoNs) -> tuple[FrameNotUnderstood, ...]:
        """The event, unless one of this kind was reported just now."""
        if now < self._report_at.get(kind, now):
            return ()
        self._report_at[kind] = MonoNs(now + REPORT_INTERVAL_NS)
        return (FrameNotUnderstood(kind, detail[:DETAIL_CHARS_MAX], frame[:FRAME_BYTES_SHOWN_MAX]),)
