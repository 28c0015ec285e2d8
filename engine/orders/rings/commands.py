"""What a strategy host asks of the order router, through the command ring.

`key` is the engine's name of an order. `issued_at` is CLOCK_MONOTONIC of this host: the
router refuses an order or an amend that is older than its time to live, never a cancel.
`tick_at` is when the frame arrived that the strategy reacted to; 0 without one.
"""

from typing import Annotated

from msgspec import Meta, Struct

from engine.orders.intent import Amendment, OrderIntent
from engine.orders.rings.framing import Framing
from engine.units import MonoNs

COMMAND_RECORD_BYTES = 4088  # a batch of fifteen orders with every parameter set; with its stamp, a page
COMMAND_SLOTS = 1024
BATCH_ORDERS_MAX = 15  # Kraken's
TEXT_CHARS_MAX = 200  # of a reason


class Submit(Struct, frozen=True, array_like=True, tag="s"):
    """Send a new order."""

    strategy: str
    key: str
    intent: OrderIntent
    issued_at: MonoNs
    tick_at: MonoNs


class SubmitBatch(Struct, frozen=True, array_like=True, tag="b"):
    """Send 2 to 15 orders of one pair in one request."""

    strategy: str
    orders: Annotated[list[tuple[str, OrderIntent]], Meta(min_length=2, max_length=BATCH_ORDERS_MAX)]
    issued_at: MonoNs
    tick_at: MonoNs


class Amend(Struct, frozen=True, array_like=True, tag="a"):
    """Change an open order in place."""

    key: str
    amendment: Amendment
    issued_at: MonoNs
    tick_at: MonoNs


class Cancel(Struct, frozen=True, array_like=True, tag="c"):
    """Cancel orders: a single one with cancel_order, several with batch_cancel."""

    strategy: str
    keys: list[str]


class CancelAll(Struct, frozen=True, array_like=True, tag="x"):
    """Cancel every open order of a strategy, on one pair or on all (symbol "")."""

    strategy: str
    symbol: str


class StrategyEnded(Struct, frozen=True, array_like=True, tag="e"):
    """A strategy was halted: it sends no more commands; its orders are canceled or kept as
    configured."""

    strategy: str
    reason: str


Command = Submit | SubmitBatch | Amend | Cancel | CancelAll | StrategyEnded

COMMANDS: Framing[Command] = Framing(Command, COMMAND_RECORD_BYTES)
