"""Amends that cannot be sent yet: behind another of the same order, or beyond what the rate
counter and our own pace allow. The newest wins.

    amend of an order ─► another is under way, or no room ─► kept here, one an order
    another of it ─────► put on top of the one that waits
    room, and nothing under way ─► sent; after `wait_ns_max` refused with the reason why it waited

So a strategy may amend at every tick, and what the limits allow is sent. They are in no
journal: a strategy that hears nothing of an amend asks for the next one anyway.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from engine.orders.intent import Amendment
from engine.orders.refusal import Refusal
from engine.orders.rings.commands import Amend
from engine.units import MonoNs


class WaitingAmend(Struct, frozen=True):
    """One amend that waits, and what it waits for."""

    command: Amend
    why: Refusal
    since: MonoNs


class WaitingAmends:
    """The amends that wait, by the order's key; one an open order at most."""

    def __init__(self, wait_ns_max: int) -> None:
        """`wait_ns_max`: how long the newest amend of an order waits."""
        self._wait_ns_max = wait_ns_max
        self._waiting: dict[str, WaitingAmend] = {}

    def has(self, key: str) -> bool:
        """True if an amend of this order waits."""
        return key in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[tuple[str, WaitingAmend]]:
        """The key and the amend of each, oldest order first; they may be taken meanwhile."""
        return iter(list(self._waiting.items()))

    def on_top(self, command: Amend) -> Amend:
        """Merge a newer amend with the waiting one of the same order, which is removed."""
        older = self._waiting.pop(command.key, None)
        if older is None:
            return command
        return replace(command, amendment=_on_top(command.amendment, older.command.amendment))

    def put(self, command: Amend, why: Refusal, since: MonoNs) -> None:
        """Let an amend wait. None of its order may be waiting."""
        self._waiting[command.key] = WaitingAmend(command, why, since)

    def take(self, key: str) -> WaitingAmend | None:
        """Remove and return the amend of this order; None if there is none."""
        return self._waiting.pop(key, None)

    def is_late(self, waiting: WaitingAmend, now: MonoNs) -> bool:
        """True if the amend has waited too long."""
        return now - waiting.since > self._wait_ns_max


def _on_top(newer: Amendment, older: Amendment) -> Amendment:
    if (newer.price_decimals, newer.qty_decimals) != (older.price_decimals, older.qty_decimals):
        return newer  # the pair's precision changed: the older one cannot be sent any more
    fields = {
        name: getattr(older, name)
        for name in ("qty", "limit_price", "limit_offset", "trigger_price", "display_qty")
        if getattr(newer, name) is None
    }
    # It is said of the price that it comes with.
    if newer.limit_price is None and newer.limit_offset is None:
        fields["post_only"] = newer.post_only or older.post_only
    return replace(newer, **fields)
