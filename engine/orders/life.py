"""The life of one order.

    NEW ──► SENT ──► WORKING ──► PARTIAL ──► FILLED | CANCELED | EXPIRED
     │       │  ╲       ▲           ▲
     │       │   ╲► UNKNOWN ────────┘            in doubt until Kraken has been asked
     ▼       ▼        │
  REFUSED  REJECTED ◄─┘                          by us · by Kraken, or never reached it

Rule 1: every state, event and transition is in this file. If the table does not allow it,
it cannot happen. Rule 2: this file does not know where an event came from. Kraken's answer
(order router) and the execution report (private feed) arrive on two connections, in either
order, so both orders are in the table.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from engine.errors import EngineError


class OrderState(Enum):
    """What is known of an order."""

    NEW = "new"
    """Asked for by a strategy; nothing of it has been sent."""
    SENT = "sent"
    """On its way; Kraken has not answered."""
    WORKING = "working"
    """Open at Kraken, nothing filled."""
    PARTIAL = "partial"
    """Open at Kraken, partly filled."""
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    """Kraken rejected it, or has proved never to have had it."""
    REFUSED = "refused"
    """Our own checks refused it; it was never sent."""
    UNKNOWN = "unknown"
    """Sent, and its fate is in doubt: it may be open, over, or never have reached
    Kraken."""

    is_terminal: bool
    """True once the order has ended."""
    is_open: bool
    """True while the order may trade."""

    def __init__(self, word: str) -> None:
        # Hot: asked of every order at every step; a plain attribute costs a seventh of a
        # look into a set of members.
        self.is_terminal = word in ("filled", "canceled", "expired", "rejected", "refused")
        self.is_open = not self.is_terminal

    def __str__(self) -> str:
        return str(self.value)

    # Hot: looked up in tables at every step; Enum's own hash is a Python function.
    __hash__ = object.__hash__


class OrderEvent(Enum):
    """What can happen to an order."""

    SEND = "send"
    """It is sent."""
    REFUSE = "refuse"
    """Our own checks refused it."""
    ACKNOWLEDGE = "acknowledge"
    """Kraken has it: an answer, a report, or a lookup that finds it open."""
    REJECT = "reject"
    """Kraken rejected it, for certain."""
    DOUBT = "doubt"
    """No answer, or one that leaves the outcome open."""
    ABSENT = "absent"
    """Looked for after its deadline, and not there: Kraken never had it."""
    FILL = "fill"
    """A part or all of it traded; FILL_LAST says that it was all."""
    FILL_LAST = "fill_last"
    CANCEL = "cancel"
    EXPIRE = "expire"

    __hash__ = object.__hash__


class IllegalTransition(EngineError):
    """An event that the table does not allow."""


S, E = OrderState, OrderEvent
TERMINAL: Final = frozenset((S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.REFUSED))

_AT_KRAKEN: Final = {E.FILL: S.PARTIAL, E.FILL_LAST: S.FILLED, E.CANCEL: S.CANCELED, E.EXPIRE: S.EXPIRED}

TRANSITIONS: Final[Mapping[OrderState, Mapping[OrderEvent, OrderState]]] = MappingProxyType(
    {
        S.NEW: {E.SEND: S.SENT, E.REFUSE: S.REFUSED},
        # Sent again, by the other route, or refused: only when certainly nothing was sent
        # before.
        S.SENT: {
            E.SEND: S.SENT,
            E.REFUSE: S.REFUSED,
            E.ACKNOWLEDGE: S.WORKING,
            E.REJECT: S.REJECTED,
            E.DOUBT: S.UNKNOWN,
            **_AT_KRAKEN,
        },
        S.UNKNOWN: {
            E.ACKNOWLEDGE: S.WORKING,
            E.REJECT: S.REJECTED,
            E.ABSENT: S.REJECTED,
            E.DOUBT: S.UNKNOWN,
            **_AT_KRAKEN,
        },
        # Doubt about an open order concerns its fills, not that it is open.
        S.WORKING: {E.ACKNOWLEDGE: S.WORKING, E.DOUBT: S.WORKING, **_AT_KRAKEN},
        S.PARTIAL: {E.ACKNOWLEDGE: S.PARTIAL, E.DOUBT: S.PARTIAL, **_AT_KRAKEN},
        # Late news of an order that is over changes nothing: the answer may come after the
        # last report, the end may outrun the report of a fill before it, and a snapshot
        # repeats old fills.
        S.FILLED: {E.ACKNOWLEDGE: S.FILLED, E.DOUBT: S.FILLED, E.FILL: S.FILLED, E.FILL_LAST: S.FILLED},
        S.CANCELED: {E.ACKNOWLEDGE: S.CANCELED, E.DOUBT: S.CANCELED, E.FILL: S.CANCELED, E.CANCEL: S.CANCELED},
        S.EXPIRED: {E.ACKNOWLEDGE: S.EXPIRED, E.DOUBT: S.EXPIRED, E.FILL: S.EXPIRED, E.EXPIRE: S.EXPIRED},
        # A report of Kraken's outranks our belief that it never had the order: the order is
        # open again.
        S.REJECTED: {
            E.REJECT: S.REJECTED,
            E.DOUBT: S.REJECTED,
            E.ABSENT: S.REJECTED,
            E.ACKNOWLEDGE: S.WORKING,
            **_AT_KRAKEN,
        },
        S.REFUSED: {},
    }
)


def next_state(state: OrderState, event: OrderEvent) -> OrderState:
    """The state after an event; IllegalTransition when the table does not have it."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{event.name} while {state.name}") from None
