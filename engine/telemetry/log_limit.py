"""A limit for repeated log lines: written once, then now and then, with the number left
out.

    line ─► take() ─► Line                                     said
                  └─► None: counted, the last one is kept      due() says it when its turn comes

Two limits. Lines that say the same (their numbers aside) have growing pauses between them,
from five seconds to ten minutes, until they have been absent for ten minutes. Lines of one
event, whatever their subject, may be a hundred at once and one every two minutes after
that. So the last line of each kind is written in the end, and a night full of one trouble
is a few dozen lines, or a few hundred where it has many subjects.

Pure: time is passed in.
"""

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from engine.units import NS_PER_S, MonoNs

PAUSE_NS_MIN: Final = 5 * NS_PER_S
PAUSE_NS_MAX: Final = 600 * NS_PER_S
LINES_AT_ONCE_MAX: Final = 100  # of one event
LINE_EVERY_NS: Final = 120 * NS_PER_S  # of one event that has used these up
SUBJECTS_MAX: Final = 2048  # remembered; the event keeps the count of a forgotten one
EVENTS_MAX: Final = 256  # they are words of our own, so there are fewer

Fields = dict[str, Any]
_NO_DIGITS: Final = str.maketrans("", "", "0123456789.")


class Line(NamedTuple):
    """A line to be written."""

    fields: Fields
    left_out: int
    """Lines like it that were left out since the last one that was written."""


class _Series:
    """Lines that say the same."""

    __slots__ = ("last", "left_out", "next_at", "pause_ns", "seen_at")

    def __init__(self) -> None:
        # When the next may be written; the pause after that one.
        self.next_at = MonoNs(0)
        self.pause_ns = PAUSE_NS_MIN
        self.seen_at = MonoNs(0)
        # Lines that were left out, and the last of them.
        self.left_out = 0
        self.last: Fields | None = None


class _Allowance:
    """How many lines of one event may be written."""

    __slots__ = ("as_of", "last", "left_out", "lines")

    def __init__(self, now: MonoNs) -> None:
        self.lines = float(LINES_AT_ONCE_MAX)
        self.as_of = now
        self.left_out = 0
        self.last: Fields | None = None

    def has_room(self, now: MonoNs) -> bool:
        self.lines = min(LINES_AT_ONCE_MAX, self.lines + (now - self.as_of) / LINE_EVERY_NS)
        self.as_of = now
        return self.lines >= 1


class LogLimit:
    """The lines that one process has written and left out."""

    def __init__(self) -> None:
        # By event and subject; the newest is at the end.
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._events: dict[str, _Allowance] = {}

    def take(self, event: str, fields: Fields, now: MonoNs) -> Line | None:
        """The line, if it is to be written; None if it is left out for now."""
        series = self._series_of((event, *_subject(fields)), now)
        if now < series.next_at:
            series.left_out += 1
            series.last = fields
            return None
        allowance = self._allowance_of(event, now)
        if not allowance.has_room(now):
            allowance.left_out += 1
            allowance.last = fields
            return None
        return self._say(series, allowance, fields, 0, now)

    def due(self, now: MonoNs, *, all_of_them: bool = False) -> list[Line]:
        """Lines that were left out and are due (with `all_of_them`: all); call it once a
        second.
        """
        lines = []
        for key, series in self._series.items():
            if series.last is not None and (all_of_them or now >= series.next_at):
                allowance = self._allowance_of(key[0], now)
                if all_of_them or allowance.has_room(now):
                    lines.append(self._say(series, allowance, series.last, 1, now))
        for allowance in self._events.values():
            if allowance.last is not None and (all_of_them or allowance.has_room(now)):
                lines.append(Line(allowance.last, allowance.left_out - 1))
                allowance.last, allowance.left_out = None, 0
                allowance.lines -= 1
        return lines

    def _say(self, series: _Series, allowance: _Allowance, fields: Fields, own: int, now: MonoNs) -> Line:
        left_out = series.left_out - own + allowance.left_out
        series.left_out = allowance.left_out = 0
        series.last = allowance.last = None
        series.next_at = MonoNs(now + series.pause_ns)
        series.pause_ns = min(2 * series.pause_ns, PAUSE_NS_MAX)
        allowance.lines -= 1
        return Line(fields, left_out)

    @property
    def remembered(self) -> tuple[int, int]:
        """How many subjects, and how many events, it knows: at most SUBJECTS_MAX, and
        EVENTS_MAX and all others.
        """
        return len(self._series), len(self._events)

    def _series_of(self, key: tuple[str, ...], now: MonoNs) -> _Series:
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
            if len(self._series) > SUBJECTS_MAX:
                (event, *_), oldest = self._series.popitem(last=False)
                allowance = self._allowance_of(event, now)
                allowance.left_out += oldest.left_out
                allowance.last = oldest.last or allowance.last
        else:
            self._series.move_to_end(key)
            if now - series.seen_at > PAUSE_NS_MAX:
                series.pause_ns = PAUSE_NS_MIN
        series.seen_at = now
        return series

    def _allowance_of(self, event: str, now: MonoNs) -> _Allowance:
        allowance = self._events.get(event)
        if allowance is None:
            if len(self._events) >= EVENTS_MAX:
                event = ""  # one for all that are too many
            allowance = self._events.setdefault(event, _Allowance(now))
        return allowance


def _subject(fields: Fields) -> tuple[str, ...]:
    """What a line says, without its numbers: "asked again in 3.2 s" is "asked again in 0.4
    s".
    """
    return tuple(
        value.translate(_NO_DIGITS) if isinstance(value, str) else str(value)
        for value in fields.values()
        if isinstance(value, str | bool)
    )
