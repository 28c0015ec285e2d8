"""Scheduled checks: orders that expire or start, and the accounts' dead man's switches.

A reminder is only a time to check: its receiver finds out whether there is still anything
to do. So none is ever canceled; obsolete ones are removed when there are too many.
"""

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from engine.units import WallNs
from engine.venue.trading.account import Account

DUE_MAX: Final = 100_000  # waiting reminders, before those of ended orders are removed


class Reminder(NamedTuple):
    """A time to check one order, or an account's dead man's switch."""

    due_at: WallNs
    account_id: int
    order_id: str  # "" is the dead man's switch


class Reminders:
    """All reminders, soonest first."""

    def __init__(self, accounts: Mapping[int, Account], on_added: Callable[[], None] | None = None) -> None:
        """`on_added` is called when `next_at` may have become earlier."""
        self._accounts = accounts
        self._on_added = on_added
        self._due: list[Reminder] = []  # a heap

    def next_at(self) -> WallNs | None:
        """The time of the first reminder; None without one."""
        return self._due[0].due_at if self._due else None

    def add(self, due_at: WallNs, account_id: int, order_id: str = "") -> None:
        """Add a reminder of an order, or of the account's dead man's switch."""
        if len(self._due) >= DUE_MAX:
            self._due = [reminder for reminder in self._due if self._has_meaning(reminder)]
            heapify(self._due)
        heappush(self._due, Reminder(due_at, account_id, order_id))
        if self._on_added is not None:
            self._on_added()

    def take(self, at: WallNs) -> Iterator[Reminder]:
        """Remove and return what is due at `at`, also what is added meanwhile."""
        while self._due and self._due[0].due_at <= at:
            yield heappop(self._due)

    def _has_meaning(self, reminder: Reminder) -> bool:
        account = self._accounts[reminder.account_id]
        if reminder.order_id:
            return reminder.order_id in account.open_orders
        return account.dead_man_at == reminder.due_at
