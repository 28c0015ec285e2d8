"""The compiled path of a plain update of executions, from the frame's bytes to its records
in the account ring, past messages and facts.

    frame ─► lane ─► rows that are plain, of the update that is next: published, the router woken
               └───► any other frame ─► session.receive ─► events ─► on_events

It reads what Kraken writes today, byte by byte as it is written
(engine/native/execution_rows.h); of the order of messages the session decides
(`PrivateSession.take_next`), for each of them. Everything else is the session's: snapshots,
gaps, duplicates, other channels, other forms of the same message, triggers, amounts of
money, long texts. So is a frame that finds the ring full. The records are those that the
session's path would have published, byte for byte.
"""

import sys
from collections.abc import Sequence, Sized
from typing import Protocol

from engine.kraken.private.messages import ExecutionRow
from engine.kraken.private.session import PrivateEvent, PrivateSession
from engine.native import CORE
from engine.ring import Publisher
from engine.units import MonoNs

# Fields that plain rows leave at their defaults, and those that never cross the ring.
NEVER_PLAIN = frozenset(
    (
        *("_is_fee_asset_told", "_trigger_price", "_is_snapshot"),
        *("ratecount", "cash_order_qty", "limit_price_type", "cancel_reason", "fee_ccy_pref", "triggers"),
    )
)


class AccountLane(Protocol):
    """The interface through which the feed uses a lane."""

    @property
    def rows(self) -> int:
        """Rows of executions it has published so far."""
        ...

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[PrivateEvent]:
        """Take a frame, or have the session take it; returns the session's events to
        publish.
        """
        ...


def lane_of(session: PrivateSession, publisher: Publisher, held_back: Sized) -> AccountLane | None:
    """The lane into this ring; None where the ring, or the records' byte order, is not that
    of the compiled implementation. While `held_back` holds anything it takes nothing.
    """
    if CORE is None or sys.byteorder != "little" or type(publisher) is not CORE.Publisher:
        return None
    fields = [name for name in ExecutionRow.__struct_encode_fields__ if name not in NEVER_PLAIN]
    lane: AccountLane = CORE.AccountLane(publisher, session.receive, session.take_next, held_back, fields=fields)
    return lane
