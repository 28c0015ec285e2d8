"""The order of one private channel's messages: `sequence` counts them 1, 2, 3 … from each
subscription's snapshot.

    in order                                ──► passed on
    ahead                                   ──► held until the missing one comes, for a bounded time
    behind, known                           ──► a duplicate: dropped and counted
    missing for good, or behind and unknown ──► a gap: only a snapshot helps, Kraken replays nothing

The content of a message is not looked at.
"""

from typing import Final, Generic, NamedTuple, TypeVar

from engine.units import MonoNs

M = TypeVar("M")

HELD_MAX: Final = 32  # messages ahead of a missing one; at Kraken's pace far more than any reordering
SEEN_MAX: Final = 64  # frames remembered, to tell a duplicate from a numbering that began anew


class Gap(NamedTuple):
    """Messages are missing: `expected` never came, `got` came in its place."""

    expected: int
    got: int


class Sequencer(Generic[M]):
    """The sequence numbers of one channel's subscription."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        # The number of the next message; None until a snapshot arrives: then everything is
        # passed on as it comes.
        self.expected: int | None = None
        # Messages ahead of `expected`, and until when they are held; 0 while none is.
        self._held: dict[int, M] = {}
        self._deadline = MonoNs(0)
        # The last frames by number: a duplicate has the same number and the same bytes.
        self._seen: dict[int, bytes] = {}
        # Since the process started.
        self.duplicates = 0
        self.reordered = 0
        self.gaps = 0

    @property
    def is_waiting(self) -> bool:
        """True while a message is missing that may still arrive."""
        return bool(self._held)

    def reset(self) -> list[M]:
        """Forget the numbering until a snapshot arrives; returns the messages that were
        held."""
        held = [self._held[number] for number in sorted(self._held)]
        self.expected = None
        self._held.clear()
        self._seen = {}
        self._deadline = MonoNs(0)
        return held

    def snapshot(self, sequence: int | None, frame: bytes) -> list[M]:
        """Count on from a snapshot, past updates that arrived before it; returns the
        messages that were held."""
        outran = self._seen if self.expected is None else {}
        held = self.reset()
        if sequence is None:
            return held
        self._remember(sequence, frame)
        self.expected = sequence + 1
        while self.expected in outran:
            self._remember(self.expected, outran[self.expected])
            self.expected += 1
        return held

    def is_duplicate(self, sequence: int | None, frame: bytes) -> bool:
        """Count a frame that repeats the one of this number, and return True; False for any
        other."""
        if self.expected is None or sequence is None or self._seen.get(sequence) != frame:
            return False
        self.duplicates += 1
        return True

    def take(self, sequence: int | None, message: M, frame: bytes, now: MonoNs) -> tuple[list[M], Gap | None]:
        """Take one update; returns the messages that are due now, in order, and the gap
        that it proves."""
        if self.expected is None or sequence is None:
            if sequence is not None:
                self._remember(sequence, frame)
            return [message], None
        if self.take_next(sequence, frame):  # the usual case
            return [message], None
        if sequence == self.expected:
            return self._advance(sequence, message, frame), None
        if sequence < self.expected or sequence in self._held:
            if self.is_duplicate(sequence, frame):
                return [], None
            return [message], self._gap(sequence)
        self.reordered += 1
        self._remember(sequence, frame)
        self._held[sequence] = message
        if not self._deadline:
            self._deadline = MonoNs(now + self._window_ns)
        return ([], None) if len(self._held) <= HELD_MAX else ([], self._gap(sequence))

    def take_next(self, sequence: int, frame: bytes) -> bool:
        """Take an update that is passed on as it comes, the next in order with none held;
        False, and nothing has changed, for any other.
        """
        if sequence != self.expected or self._held:
            return False
        self._remember(sequence, frame)
        self.expected = sequence + 1
        return True

    def overdue(self, now: MonoNs) -> Gap | None:
        """The gap whose later messages have been held for as long as they may be; None
        without one."""
        if not 0 < self._deadline <= now:
            return None
        return self._gap(min(self._held))

    def _gap(self, got: int) -> Gap:
        # The caller then asks for a snapshot, and `reset` returns what is held.
        self.gaps += 1
        self._deadline = MonoNs(0)
        return Gap(self.expected or 0, got)

    def _advance(self, sequence: int, message: M, frame: bytes) -> list[M]:
        self._remember(sequence, frame)
        expected = sequence + 1
        due = [message]
        while expected in self._held:
            due.append(self._held.pop(expected))
            expected += 1
        self.expected = expected
        if not self._held:
            self._deadline = MonoNs(0)
        return due

    def _remember(self, sequence: int, frame: bytes) -> None:
        self._seen[sequence] = frame
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
