"""The order of one private channel's messages: `sequence` counts them 1, 2, 3 … from each subscription's snapshot.

    in order        ──► passed on
    ahead           ──► held, for a short time and a small number, until the missing one comes
    behind, known   ──► a duplicate: dropped and counted
    missing for good, or behind and unknown ──► a gap: only a fresh snapshot helps, Kraken replays nothing

Knows no messages: whatever stands for one is passed through.
"""

from typing import Generic, NamedTuple, TypeVar

from engine.units import MonoNs

M = TypeVar("M")

HELD_MAX = 32  # messages ahead of a missing one; at Kraken's pace far more than any reordering
SEEN_MAX = 64  # frames remembered, to tell a duplicate from a numbering that began anew


class Gap(NamedTuple):
    """Messages are missing: `expected` never came, `got` did."""

    expected: int
    got: int


class Sequencer(Generic[M]):
    """One subscription's numbering."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        # The number of the next message; None while a snapshot is awaited, when everything is passed on as it comes.
        self.expected: int | None = None
        # Messages ahead of `expected`, and when their waiting ends; 0 while nothing waits.
        self._held: dict[int, M] = {}
        self._deadline = MonoNs(0)
        # The last frames by number: a duplicate is one of the same number and the same bytes.
        self._seen: dict[int, bytes] = {}
        # Since the process started.
        self.duplicates = 0
        self.reordered = 0
        self.gaps = 0

    @property
    def is_waiting(self) -> bool:
        """Is a message missing that may still come?"""
        return bool(self._held)

    def reset(self) -> list[M]:
        """A snapshot is awaited; what was held is given back, for it is true all the same."""
        held = [self._held[number] for number in sorted(self._held)]
        self.expected = None
        self._held.clear()
        self._seen = {}
        self._deadline = MonoNs(0)
        return held

    def snapshot(self, sequence: int | None, frame: bytes) -> list[M]:
        """A snapshot came: counting goes on from it, over updates that outran it. What was held is given back."""
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
        """Is this the same message as one that came with this number? Then it is counted, and nothing else."""
        if self.expected is None or sequence is None or self._seen.get(sequence) != frame:
            return False
        self.duplicates += 1
        return True

    def take(self, sequence: int | None, message: M, frame: bytes, now: MonoNs) -> tuple[list[M], Gap | None]:
        """One update: the messages that are due now, in order, and the gap that it proves, if any."""
        if self.expected is None or sequence is None:
            if sequence is not None:
                self._remember(sequence, frame)
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

    def overdue(self, now: MonoNs) -> Gap | None:
        """The gap that time has proved: a message is missing, and its followers have waited long enough."""
        if not 0 < self._deadline <= now:
            return None
        return self._gap(min(self._held))

    def _gap(self, got: int) -> Gap:
        # The caller asks for a snapshot, and `reset` gives back what is held.
        self.gaps += 1
        self._deadline = MonoNs(0)
        return Gap(self.expected or 0, got)

    def _advance(self, sequence: int, message: M, frame: bytes) -> list[M]:
        self._remember(sequence, frame)
        expected = sequence + 1
        if not self._held:  # the usual case
            self.expected = expected
            return [message]
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
