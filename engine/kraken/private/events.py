"""What the two private sessions report, beside the facts of `engine.orders.venue_facts`."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from engine.kraken.connection.error_catalog import Meaning
from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.orders.venue_facts import Outcome
from engine.units import MonoNs, WallNs


class TokenRefused(Struct, frozen=True, gc=False):
    """Kraken refused this session's token: it needs `authorise` with a new one."""

    reason: str


class ChannelRefused(Struct, frozen=True, gc=False):
    """Kraken refused a private channel.

    It is asked for again; `advice` says what to change, in one sentence.
    """

    channel: str
    advice: str
    meaning: Meaning


class Timing(StrEnum):
    """When an answer arrived, relative to its request."""

    EXPECTED = "expected"
    LATE = "late"
    """`Unanswered` was reported before."""
    AGAIN = "again"
    """The request was answered before: a cancel of several orders is answered once for
    each."""
    STRANGE = "strange"
    """No request of this session has its number, or it has none."""


class AnswerRow(Struct, frozen=True, gc=False):
    """The answer for one order of a batch; rows come in the order of the request."""

    order_id: str | None
    cl_ord_id: str | None
    order_userref: int | None
    error: str | None
    meaning: Meaning | None
    """None when the order was placed."""
    warnings: tuple[str, ...]

    @property
    def outcome(self) -> Outcome | None:
        """What the error says of the order; None when it was placed."""
        return self.meaning.outcome if self.meaning else None


RequestKind = Literal["add", "amend", "cancel", "batch_add", "batch_cancel", "dead_man", "dead_man_off"]
"""`dead_man` arms or refreshes the dead man's switch, `dead_man_off` disables it."""


class Purpose(Struct, frozen=True, gc=False):
    """What a request is about; it travels with the request and is returned with its reply
    or loss.
    """

    kind: RequestKind
    keys: tuple[str, ...] = ()
    """The engine's ids of its orders, in the order in which they were sent."""
    deadline: WallNs = WallNs(0)
    """Of an amend, and which of its order's amends it is: what the executions tell may let
    the next one go before this one's reply has come."""


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """Kraken's answer to a trading request. Which fields are set depends on the method."""

    req_id: int | None
    purpose: Purpose | None = None
    """Of the request; None when no request of this session has its number."""
    method: str
    """Of the request where it is known; "error" when Kraken could not read it."""
    success: bool
    timing: Timing = Timing.EXPECTED
    error: str | None = None
    meaning: Meaning | None = None
    """Of the error; None when the request succeeded."""
    order_id: str | None = None
    """Empty text when the order was only validated."""
    original_order_id: str | None = None
    cl_ord_id: str | None = None
    order_userref: int | None = None
    amend_id: str | None = None
    count: int | None = None
    """Of orders canceled."""
    rows: tuple[AnswerRow, ...] = ()
    """Of batch_add. Read each, whatever `success` says: some orders may live although
    others were refused."""
    current_at: WallNs = WallNs(0)
    """Of the dead man's switch: Kraken's time, and when it will fire (0 when disarmed)."""
    trigger_at: WallNs = WallNs(0)
    warnings: tuple[str, ...] = ()
    time_in: WallNs = WallNs(0)
    time_out: WallNs = WallNs(0)
    took_ns: int = 0
    """From the request to the answer, by our clock; 0 for a strange one."""

    @property
    def outcome(self) -> Outcome | None:
        """What the error says of the order, or of the change to it; None when the request
        succeeded."""
        return self.meaning.outcome if self.meaning else None


class Pending(Struct, frozen=True, gc=False):
    """A request that has no answer yet."""

    req_id: int
    method: str
    sent_at: MonoNs
    grant: int
    """Which of the session's tokens it carries; they are counted."""
    purpose: Purpose


class Unanswered(Struct, frozen=True, gc=False):
    """No answer within the deadline: the outcome is unknown.

    A late answer is still reported.
    """

    request: Pending
    waited_ns: int


class LinkLost(Struct, frozen=True, gc=False):
    """The trading connection is gone; the outcome of these requests is unknown."""

    reason: str
    pending: tuple[Pending, ...]


TradingEvent = Answer | Unanswered | LinkLost | TokenRefused | ChannelRefused | SystemChanged | FrameNotUnderstood
