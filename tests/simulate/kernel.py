"""Virtual time: one heap of events, the clocks, seeded chance, a running hash, and the story of a run.

A run is a function of its seed: every event has its place by (time, order of scheduling), every die is drawn from a
generator that is seeded with the run's seed and its own name, and nothing reads the host's clocks. `note` puts what
happens into the hash, and into the story when one is wanted.

A process is a set of events that end together: when it dies what it had scheduled is forgotten, and memory that others
share stays as it is. It may die between any two of its events, or at a `point` inside of one: before a store into a
ring, before a record goes to the journal, before a request leaves.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, TextIO

from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

BEGAN_WALL_NS: Final = 1_790_000_000 * NS_PER_S  # 2026-09-21: when every run begins
BEGAN_MONO_NS: Final = 1_000 * NS_PER_S
BEAT_NS: Final = 160 * NS_PER_MS
TOLD_CHARS_MAX: Final = 600  # of one event, in the story
EVENTS_AT_ONCE_MAX: Final = 200_000  # at one moment of time: more, and time does not get on


class Violation(Exception):
    """A promise that does not hold: the name of the invariant, and what was found."""

    def __init__(self, invariant: str, found: str) -> None:
        super().__init__(f"{invariant}: {found}")
        self.invariant = invariant


class Death(BaseException):
    """A process dies here and now; not an Exception, for nothing in it may live on."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process.name)
        self.process = process


class Timer:
    """A call that is still to come: what `asyncio` and the venue know as a handle."""

    __slots__ = ("arguments", "call", "life", "process")

    def __init__(
        self, call: Callable[..., Any], arguments: tuple[Any, ...], process: "Process | None" = None, life: int = 0
    ) -> None:
        """Of this life of a process, or of nobody's: then it is called in any case."""
        self.call: Callable[..., Any] | None = call
        self.arguments = arguments
        self.process = process
        self.life = life

    def cancel(self) -> None:
        self.call = None

    def cancelled(self) -> bool:
        return self.call is None


class SimClock:
    """Both readings of now, by the kernel's time; the wall clock may be set, as an operator or NTP does."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self.wall_offset_ns = BEGAN_WALL_NS - BEGAN_MONO_NS

    def mono_ns(self) -> MonoNs:
        return self._kernel.now  # type: ignore[return-value]

    def wall_ns(self) -> WallNs:
        return self._kernel.now + self.wall_offset_ns  # type: ignore[return-value]


class Kernel(asyncio.AbstractEventLoop):
    """The heap of events. It is the running event loop of whatever awaits: that too is by virtual time."""

    def __init__(self, seed: int, story: TextIO | None = None) -> None:
        self.seed = seed
        self.now = BEGAN_MONO_NS
        self.steps = 0
        # What is still to come, and how much was scheduled so far; for who schedules without a call.
        self.heap: list[tuple[int, int, Timer]] = []
        self.order = 0
        self._story = story
        self._hash = hashlib.blake2b(digest_size=16)
        self._same_moment = 0
        self.is_told = story is not None
        # Between two looks that a process takes by time alone. The engine's are 20 to 100 ms apart, but they would be
        # most of a calm day's events and find nothing; what a frame or a ring brings is taken at once all the same.
        self.beat_ns = BEAT_NS
        self.processes: list[Process] = []
        self._accusation: Violation | None = None
        # A name that differs from run to run, and is none of the story.
        self.hidden = b"\0"

    def rng(self, name: str) -> Random:
        """Chance of its own for each purpose: one more die here changes none elsewhere."""
        return Random(f"{self.seed} {name}")

    # --- the story

    def note(self, what: str, data: bytes | str = b"", shown: Callable[[], str] | None = None) -> None:
        """Put into the hash what happens; `shown` is how the story has it, where `data` is no text."""
        text = data.encode() if isinstance(data, str) else data
        if self.hidden in text:
            text = text.replace(self.hidden, b"STATE")
        self._hash.update(b"%d %s %d %b" % (self.now, what.encode(), len(text), text))
        if self._story is not None:
            line = text.decode(errors="replace") if shown is None else shown()
            self._story.write(f"{self.elapsed_s:12.6f} {what} {line[:TOLD_CHARS_MAX]}\n")

    def accuse(self, invariant: str, found: str) -> None:
        """A violation found where an exception would be caught by others: raised at the end of the step."""
        if self._accusation is None:
            self._accusation = Violation(invariant, found)

    @property
    def digest(self) -> str:
        """The hash of all that happened so far."""
        return self._hash.hexdigest()

    @property
    def elapsed_s(self) -> float:
        return (self.now - BEGAN_MONO_NS) / NS_PER_S

    # --- scheduling

    def at(self, when: int, call: Callable[..., Any], *arguments: Any) -> Timer:
        """Call at a time of the monotonic clock; what is due already comes next."""
        self.order = order = self.order + 1  # hot: as `put`, without a call
        timer = Timer(call, arguments)
        heappush(self.heap, (when if when > self.now else self.now, order, timer))
        return timer

    def put(self, when: int, timer: Timer) -> Timer:
        """The same with a timer that is made already."""
        self.order = order = self.order + 1
        heappush(self.heap, (when if when > self.now else self.now, order, timer))
        return timer

    def after(self, delay_ns: int, call: Callable[..., Any], *arguments: Any) -> Timer:
        return self.at(self.now + delay_ns, call, *arguments)

    def run_until(self, when: int) -> None:
        """Let everything happen that is due until then."""
        heap, pop = self.heap, heappop
        while heap and heap[0][0] <= when:
            at, _, timer = pop(heap)
            call = timer.call
            if call is None:
                continue
            if at > self.now:
                self.now = at
                self._same_moment = 0
            else:
                self._same_moment += 1
                if self._same_moment > EVENTS_AT_ONCE_MAX:
                    raise Violation("time gets on", f"{EVENTS_AT_ONCE_MAX} events at one moment")
            self.steps += 1
            process = timer.process
            # Hot: nearly always it is alive and not held up.
            if (
                process is not None
                and (process.held_up or timer.life != process.life or not process.is_alive)
                and not process.may_call(timer)
            ):
                continue
            try:
                call(*timer.arguments)
            except Death as death:
                death.process.die()
            if self._accusation is not None:
                raise self._accusation
        self.now = max(self.now, when)

    @contextmanager
    def running(self) -> Iterator[None]:
        """As the event loop of this thread."""
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self.now / NS_PER_S

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.at(self.now, callback, *args)

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.at(self.now + round(delay * NS_PER_S), callback, *args)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.at(round(when * NS_PER_S), callback, *args)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **options)
        task.add_done_callback(_died_in_task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if context.get("exception") is None:
            return  # a task that waited still when the world ended
        raise Violation("no task fails unseen", f"{context.get('message')}: {context.get('exception')!r}")


class Process:
    """One process of the engine: alive, held up, or dead."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.is_alive = False
        # Which life this is.
        self.life = 0
        # How often it hangs or is stopped at present: what is due for it happens afterwards.
        self.held_up = 0
        self._deferred: list[Timer] = []
        # Points until it dies; None: it lives on.
        self._points_left: int | None = None
        # Told of each death, once it is dead.
        self.on_death: list[Callable[[], None]] = []
        # Told when a death is planned: what is to have points then.
        self.on_doomed: list[Callable[[], None]] = []
        kernel.processes.append(self)

    def begin(self) -> None:
        """A new life."""
        self.life += 1
        self.is_alive = True
        self._points_left = None
        self._deferred.clear()
        self.kernel.note("begins", self.name)

    def die(self) -> None:
        """It is gone; what it had scheduled is forgotten."""
        if not self.is_alive:
            return
        self.is_alive = False
        self.life += 1
        self.held_up = 0
        self._points_left = None
        self._deferred.clear()
        self.kernel.note("dies", self.name)
        for tell in self.on_death:
            tell()

    def doom(self, points: int) -> None:
        """Let it die at the point that is so many away."""
        if self.is_alive:
            self._points_left = points
            self.kernel.note("doomed", f"{self.name} {points}")
            for tell in self.on_doomed:
                tell()

    @property
    def points_left(self) -> int | None:
        """How many points it passes before it dies; None while it is not doomed. 0 once it
        is dead, for what is still under way.
        """
        return self._points_left if self.is_alive else 0

    @property
    def is_doomed(self) -> bool:
        return self._points_left is not None

    def point(self, *_: object) -> None:
        """A place at which it may die."""
        if self._points_left is not None:
            if self._points_left <= 0:
                self._points_left = None
                raise Death(self)
            self._points_left -= 1
        elif not self.is_alive:
            raise Death(self)  # it is dead already, and still under way

    def after(self, delay_ns: int, call: Callable[..., Any], *arguments: Any) -> Timer:
        """Call later, if this life lasts so long."""
        kernel = self.kernel
        kernel.order = order = kernel.order + 1  # hot: as `put`, without a call
        timer = Timer(call, arguments, self, self.life)
        heappush(kernel.heap, (kernel.now + delay_ns, order, timer))
        return timer

    def at(self, when: int, call: Callable[..., Any], *arguments: Any) -> Timer:
        return self.kernel.put(when, Timer(call, arguments, self, self.life))

    def may_call(self, timer: Timer) -> bool:
        """Whether a call that is due may be made: not one of an earlier life. One of a process that is
        held up is made when that is over.
        """
        if timer.life != self.life or not self.is_alive:
            return False
        if self.held_up:
            self._deferred.append(timer)
            return False
        return True

    def hold(self, ns: int) -> None:
        """It is in the middle of something for so long (a callback that hangs): all others go on meanwhile."""
        self.held_up += 1
        life = self.life
        self.kernel.run_until(self.kernel.now + ns)
        self._go_on(life)

    def stop_for(self, ns: int) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        if not self.is_alive or self.held_up:
            return
        self.kernel.note("stopped", f"{self.name} {ns}")
        self.held_up += 1
        self.kernel.after(ns, self._go_on, self.life)

    def _go_on(self, life: int) -> None:
        if life != self.life:
            return
        self.held_up -= 1
        if not self.held_up:
            deferred, self._deferred = self._deferred, []
            for timer in deferred:
                self.kernel.put(self.kernel.now, timer)


def _died_in_task(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and isinstance(error := task.exception(), Death):
        error.process.die()
