"""The life of one order.

    NEW ──► SENT ──► WORKING ──► PARTIAL ──► FILLED | CANCELED | EXPIRED
     │       │  ╲       ▲           ▲
     │       │   ╲► UNKNOWN ────────┘            in doubt until Kraken has been asked
     ▼       ▼        │
  REFUSED  REJECTED ◄─┘                          by us · by Kraken, or never reached it

Rule 1: every state, event and transition is in this file. If the table does not allow it, it cannot happen.
Rule 2: this file does not know where an event came from. Kraken's answer (order router) and the execution report
(private feed) arrive on two connections, in either order, so both orders are in the table.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from engine.errors import EngineError


class OrderState(Enum):
    """What is known of an order."""

    NEW = "new"
    """Asked for by a strategy; not a byte of it has left."""
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
    """Kraken said no, or has proved never to have had it."""
    REFUSED = "refused"
    """Our own checks said no; it never left."""
    UNKNOWN = "unknown"
    """Sent, and what became of it is in doubt. It may be open, filled or nothing."""

    is_terminal: bool
    """Is the order over?"""
    is_open: bool
    """May the order trade, now or still?"""

    def __init__(self, word: str) -> None:
        # Hot: asked of every order at every step; a plain attribute costs a seventh of a look into a set of members.
        self.is_terminal = word in ("filled", "canceled", "expired", "rejected", "refused")
        self.is_open = not self.is_terminal

    def __str__(self) -> str:
        return str(self.value)


class OrderEvent(Enum):
    """What can happen to an order."""

    SEND = "send"
    """Its bytes leave."""
    REFUSE = "refuse"
    """Our own checks said no."""
    ACKNOWLEDGE = "acknowledge"
    """Kraken has it: an answer, a report, or a lookup that finds it open."""
    REJECT = "reject"
    """Kraken said no, and that is certain."""
    DOUBT = "doubt"
    """No answer, or one that says nothing certain."""
    ABSENT = "absent"
    """Looked for after its deadline, and not there: Kraken never had it."""
    FILL = "fill"
    """A part traded, or all of it: that it was all, FILL_LAST says."""
    FILL_LAST = "fill_last"
    CANCEL = "cancel"
    EXPIRE = "expire"


class IllegalTransition(EngineError):
    """An event that the table does not allow."""


S, E = OrderState, OrderEvent
TERMINAL: Final = frozenset((S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.REFUSED))

_AT_KRAKEN: Final = {E.FILL: S.PARTIAL, E.FILL_LAST: S.FILLED, E.CANCEL: S.CANCELED, E.EXPIRE: S.EXPIRED}

TRANSITIONS: Final[Mapping[OrderState, Mapping[OrderEvent, OrderState]]] = MappingProxyType(
    {
        S.NEW: {E.SEND: S.SENT, E.REFUSE: S.REFUSED},
        # Sent once more: only when certainly nothing of the first left, by the other route. Refused: the same.
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
        # Doubt of an open order is about where it stands, not whether it is.
        S.WORKING: {E.ACKNOWLEDGE: S.WORKING, E.DOUBT: S.WORKING, **_AT_KRAKEN},
        S.PARTIAL: {E.ACKNOWLEDGE: S.PARTIAL, E.DOUBT: S.PARTIAL, **_AT_KRAKEN},
        # Late news of an order that is over changes nothing: the answer may come after the last report, the end may
        # outrun the report of a fill before it, and a snapshot repeats old fills.
        S.FILLED: {E.ACKNOWLEDGE: S.FILLED, E.DOUBT: S.FILLED, E.FILL: S.FILLED, E.FILL_LAST: S.FILLED},
        S.CANCELED: {E.ACKNOWLEDGE: S.CANCELED, E.DOUBT: S.CANCELED, E.FILL: S.CANCELED, E.CANCEL: S.CANCELED},
        S.EXPIRED: {E.ACKNOWLEDGE: S.EXPIRED, E.DOUBT: S.EXPIRED, E.FILL: S.EXPIRED, E.EXPIRE: S.EXPIRED},
        # What Kraken reports of an order outranks that it was thought never to have been there: it lives again.
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
