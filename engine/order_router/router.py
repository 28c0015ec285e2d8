"""The order router's duty cycle: rings and the clock in, calls of the core out.

A record that cannot be read is left behind: it must not take everybody's cancels with it.
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
from engine.ring import GatedSubscriber
from engine.units import MonoNs

RECORDS_PER_CYCLE_MAX: Final = 64


class OrderRouter:
    """The core, between its rings."""

    def __init__(
        self, core: OrderCore, now: Instant, *, commands: GatedSubscriber, account: GatedSubscriber, clock: Clock
    ) -> None:
        """`now` is the one that the core works with."""
        self.core = core
        self._now = now
        self._commands = commands
        self._account = account
        self._command_records = RingRecords(COMMANDS, "commands")
        self._account_records = RingRecords(ACCOUNT_FACTS, "account")
        self._mono_ns = clock.mono_ns
        self._wall_ns = clock.wall_ns
        self._timer_at = MonoNs(0)
        # Wake-ups that were missed; see `processes.runner`.
        self.rescues = 0

    def do_work(self) -> int:
        """Take what the rings hold, then what time has brought; the number of records taken."""
        core = self.core
        facts = self._account.poll_many(RECORDS_PER_CYCLE_MAX)
        unreadable = self._account_records.unreadable
        for fact in self._account_records.read_all(facts):
            self.look_at_clock()
            core.take_fact(fact)
        if facts and (more := self._account_records.unreadable - unreadable):
            self.look_at_clock()
            core.on_unreadable(more, of_account=True)
        commands = self._commands.poll_many(RECORDS_PER_CYCLE_MAX)
        unreadable = self._command_records.unreadable
        for command in self._command_records.read_all(commands):
            self.look_at_clock()
            core.take_command(command)
        if commands and (more := self._command_records.unreadable - unreadable):
            core.on_unreadable(more, of_account=False)
        if self.look_at_clock() >= self._timer_at:
            self._timer_at = MonoNs(self._now.mono + TIMER_NS)
            core.on_time()
        if facts:
            core.end_burst()
        else:
            core.flush()
        return len(facts) + len(commands)

    def look_at_clock(self) -> MonoNs:
        """Tell the core what time it is, before whatever it is to be told next."""
        now = self._now.mono = self._mono_ns()
        self._now.wall = self._wall_ns()
        return now

    def on_trading_events(self, events: Sequence[TradingEvent]) -> None:
        """What the trading connection brought."""
        self.look_at_clock()
        self.core.on_trading_events(events)

    # --- for the runner

    def ready(self) -> bool:
        """Is there a record to take?"""
        return self._commands.ready() or self._account.ready()

    def next_timer(self) -> MonoNs:
        """When time is to be looked at again."""
        return self._timer_at

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Be given what calls for another turn; the timer is fine enough for what comes from REST."""

    def count(self) -> None:
        """The process brings the shared counters up to date; nothing to do here."""
