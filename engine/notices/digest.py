"""Notices that wait for one target: a few of each event as lines, the others as a number.

    add ─► the newest LINES_PER_EVENT_MAX of each event, and how many came before them
    compose ─► "12 more fills in the last 60 s"

So what waits is bounded, however long a target does not answer and whatever happens
meanwhile, and nothing of it is dropped untold.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.notices.notice import Notice, clock_text
from engine.telemetry.notice_events import NOTICE_EVENTS, NoticeEvent
from engine.units import NS_PER_S, WallNs

LINES_PER_EVENT_MAX: Final = 10
MANY_MAX: Final = 99_999_999  # of a number in a text, for the room that it takes
# How a number of notices is told, by event.
MANY: Final[dict[NoticeEvent, tuple[str, str]]] = {
    "halt": ("halt", "halts"),
    "resume": ("resumption", "resumptions"),
    "stop": ("notice of the engine's end", "notices of the engine's end"),
    "degraded": ("change of DEGRADED", "changes of DEGRADED"),
    "trading": ("change of whether orders are taken", "changes of whether orders are taken"),
    "restart": ("restart of a process", "restarts of processes"),
    "strategy_halt": ("halt of a strategy", "halts of strategies"),
    "strategy_hang": ("change of a hanging callback", "changes of hanging callbacks"),
    "error": ("error", "errors"),
    "connection": ("change of a connection", "changes of connections"),
    "strategy_error": ("notice of callbacks that raised", "notices of callbacks that raised"),
    "rejected": ("rejected order", "rejected orders"),
    "refused": ("refused order", "refused orders"),
    "fill": ("fill", "fills"),
    "start": ("start", "starts"),
}
assert MANY.keys() == NOTICE_EVENTS.keys()


class Composed(NamedTuple):
    """What one message says."""

    lines: tuple[Notice, ...]
    """Oldest first."""
    more: dict[NoticeEvent, int]
    """How many others there were, by event."""
    since: WallNs
    """When the oldest of all these was."""
    until: WallNs
    """When the newest was."""

    @property
    def more_texts(self) -> list[str]:
        """`12 more fills in the last 60 s`, by event."""
        seconds = max(1, -(-(self.until - self.since) // NS_PER_S))
        return [_number_text(event, count, seconds) for event, count in self.more.items()]

    @property
    def text(self) -> str:
        """A line each."""
        return "\n".join([*map(_line_text, self.lines), *self.more_texts])


class Digest:
    """What waits, newest last."""

    def __init__(self) -> None:
        self._lines: dict[NoticeEvent, deque[Notice]] = {}
        # By event, how many were before the kept ones: of them only the number is kept.
        self._more: Counter[NoticeEvent] = Counter()
        self.count = 0
        """How many notices there are."""
        self.since: WallNs | None = None
        """When the oldest was; None where there is none."""
        self.until = WallNs(0)
        """When the newest was."""

    @property
    def summed(self) -> int:
        """Of how many only the number is kept."""
        return self._more.total()

    @property
    def events(self) -> frozenset[NoticeEvent]:
        """Which events there are."""
        return frozenset(self._lines)

    def add(self, notice: Notice) -> None:
        """Keep a notice; with too many of its event, in place of the oldest of them."""
        lines = self._lines.setdefault(notice.event, deque())
        lines.append(notice)
        if len(lines) > LINES_PER_EVENT_MAX:
            lines.popleft()
            self._more[notice.event] += 1
        self.count += 1
        self.since = notice.at if self.since is None else min(self.since, notice.at)
        self.until = max(self.until, notice.at)

    def compose(self, size_max: int, size_of: Callable[[str], int] = len) -> Composed:
        """The message: what matters most is in it, as far as `Composed.text` has room in
        `size_max`, of which a text takes `size_of`.
        """
        room = size_max - sum(size_of(_number_text(event, MANY_MAX, MANY_MAX)) + 1 for event in self._lines)
        lines: list[Notice] = []
        for each in (each for event in NOTICE_EVENTS for each in reversed(self._lines.get(event, ()))):
            room -= size_of(_line_text(each)) + 1
            if room < 0:
                break
            lines.append(each)
        told = Counter(each.event for each in lines)
        more = {
            event: count
            for event in NOTICE_EVENTS
            if (count := self._more[event] + len(self._lines.get(event, ())) - told[event])
        }
        since = self.until if self.since is None else self.since
        return Composed(tuple(sorted(lines, key=lambda each: each.at)), more, since, self.until)

    def joined(self, newer: "Digest") -> "Digest":
        """What both hold; `newer` has what happened after this one."""
        both = Digest()
        for part in (self, newer):
            for lines in part._lines.values():
                for each in lines:
                    both.add(each)
            both._more.update(part._more)
            both.count += part.summed
            both.until = max(both.until, part.until)
        both.since = min((part.since for part in (self, newer) if part.since is not None), default=None)
        return both


def _line_text(notice: Notice) -> str:
    return f"{clock_text(notice.at)} {notice.event}: {notice.text}"


def _number_text(event: NoticeEvent, count: int, seconds: int) -> str:
    return f"{count:,} more {MANY[event][count != 1]} in the last {seconds:,} s"
