"""The order router's duty cycle: passes records of the rings, and time, to the order core.

A record that cannot be decoded is skipped and counted, so that it does not block the
cancels behind it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from engine.clock import Clock
from engine.instant import Instant
from engine.kraken.private.events import TradingEvent
from engine.order_router.core.order_core import TIMER_NS, OrderCore
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.rings.commands import COMMANDS
from engine.orders.rings.framing import RingRecords
from engine.orders.venue_facts import FeedAlive
from engine.ring import GatedSubscriber
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

RECORDS_PER_CYCLE_MAX: Final = 64
# What the core waits for shortly follows an input. What is left QUIET_NS after the last one
# has deadlines of seconds, and each look costs 0.2 ms of a core that slept.
QUIET_NS: Final = NS_PER_S
QUIET_TIMER_NS: Final = 100 * NS_PER_MS


class OrderRouter:
    """The order core between its rings, as an actor."""

    def __init__(
        self, core: OrderCore, now: Instant, *, commands: GatedSubscriber, account: GatedSubscriber, clock: Clock
    ) -> None:
        """`now` must be the instant that the core works with."""
        self.core = core
        self._now = now
        self._commands = commands
        self._account = account
        self._command_records = RingRecords(COMMANDS, "commands")
        self._account_records = RingRecords(ACCOUNT_FACTS, "account")
        self._mono_ns = clock.mono_ns
        self._wall_ns = clock.wall_ns
        self._timer_at = MonoNs(0)
        self._quiet_at = MonoNs(0)
        self._wake: Callable[[], None] = _wake_nobody
        # Wake-ups that were missed and made good; see `processes.runner`.
        self.rescues = 0

    def do_work(self) -> int:
        """Take what the rings hold, then do what is due; returns the number of records
        taken.
        """
        core = self.core
        facts = self._account.poll_many(RECORDS_PER_CYCLE_MAX)
        is_quiet = True
        if facts:
            unreadable = self._account_records.unreadable
            for fact in self._account_records.read_all(facts):
                self.look_at_clock()
                core.take_fact(fact)
                if type(fact) is not FeedAlive:
                    is_quiet = False
            core.end_facts()
            if more := self._account_records.unreadable - unreadable:
                is_quiet = False
                self.look_at_clock()
                core.on_unreadable(more, of_account=True)
        commands = self._commands.poll_many(RECORDS_PER_CYCLE_MAX)
        for record in commands:
            # Hot: an order is sent here; `look_at_clock` without a call.
            self._now.mono, self._now.wall = self._mono_ns(), self._wall_ns()
            if not core.plain_orders.take(record):
                self._take_command(record)
        now = self.look_at_clock()
        if commands or not is_quiet:
            self._note_input(now)
        if now >= self._timer_at:
            is_soon = now < self._quiet_at or core.looks_often
            self._timer_at = MonoNs(now + (TIMER_NS if is_soon else QUIET_TIMER_NS))
            core.on_time()
        if facts:
            core.end_burst()
        else:
            core.flush()
        return len(facts) + len(commands)

    def _take_command(self, record: bytes) -> None:
        unreadable = self._command_records.unreadable
        if (command := self._command_records.read(record)) is not None:
            self.core.take_command(command)
        elif more := self._command_records.unreadable - unreadable:
            self.core.on_unreadable(more, of_account=False)

    def look_at_clock(self) -> MonoNs:
        """Set the core's time and return it; call it before each input to the core."""
        now = self._now.mono = self._mono_ns()
        self._now.wall = self._wall_ns()
        return now

    def on_trading_events(self, events: Sequence[TradingEvent]) -> None:
        """Take what came on the trading connection."""
        now = self.look_at_clock()
        self.core.on_trading_events(events)
        if events and self._note_input(now):
            self._wake()

    def end_answer(self) -> None:
        """Tell what an answer of REST, or a person's command, has changed."""
        self.core.end_burst()
        if self._note_input(self._now.mono):
            self._wake()

    def _note_input(self, now: MonoNs) -> bool:
        """Look often for a while. True if the next look is now due sooner."""
        self._quiet_at = MonoNs(now + QUIET_NS)
        if self._timer_at <= now + TIMER_NS:
            return False
        self._timer_at = MonoNs(now + TIMER_NS)
        return True

    # --- for the runner

    def ready(self) -> bool:
        """True if a ring holds a record."""
        return self._commands.ready() or self._account.ready()

    def next_timer(self) -> MonoNs:
        """When `do_work` must be called again though no record comes."""
        return self._timer_at

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Keep `wake`, to be called when the time of the next look has become sooner."""
        self._wake = wake

    def count(self) -> None:
        """Part of the actor's interface; the process updates the shared counters itself."""


def _wake_nobody() -> None:
    """The `wake` before a runner sets one; does nothing."""
