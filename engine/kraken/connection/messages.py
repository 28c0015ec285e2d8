"""Messages of every connection of Kraken's WebSocket: envelopes, replies, status.

Source: https://docs.kraken.com/api/docs/category/websocket-api-v2, corrected by what the
wire shows.
"""

from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from engine.kraken.connection.salvage import DECODE_ERRORS, Reader, entries_reader

HEARTBEAT: Final = b'{"channel":"heartbeat"}'
"""As Kraken writes it today; any other spelling is decoded like other messages."""


class Envelope(Struct, gc=False):
    """The fields that identify a message: a reply has `method`, channel data have `channel`
    and `type`.

    One genuine error carries both `method` and `channel`, so `method` is checked first.
    """

    method: str | None = None
    channel: str | None = None
    type: Any = None


# --- replies


class ReplyResult(Struct, gc=False):
    """The part of an acknowledgement that says what was subscribed."""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("channel", "symbol"))

    channel: str | None = None
    symbol: str | None = None
    depth: int | None = None
    warnings: list[str] = []


class Reply(Struct, gc=False):
    """{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,
    "symbol":"BTC/USD"},"success":true,"time_in":"2026-05-14T15:06:07.846137Z",
    "time_out":"2026-05-14T15:06:07.846205Z"}

    or {"error":"Currency pair not supported XBT/USD","method":"subscribe",
    "success":false,…};
    a pong has neither `success` nor `result`.
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("success", "result", "error", "symbol", "channel"))

    method: str
    req_id: int | None = None
    success: bool | None = None
    result: ReplyResult | None = None
    error: str | None = None
    symbol: str | None = None
    channel: str | None = None


class NextStep(Struct, frozen=True):
    """{"applies_to":["spot_trading"],"type":"expected_restart",
    "expected_at_utc":"2026-05-08T14:30:00Z"}
    """

    type: str = ""
    expected_at_utc: str = ""
    applies_to: list[str] = []


class Notice(Struct, gc=False):
    """An entry of `upcoming_maintenance`, with a phase, or of `emergency`, with an impact;
    all may be missing.

    {"event_id":4821,"title":"Elevated API error rates","incident_status":"identified",
    "impact":"critical","affected_services":["spot_ws"],
    "started_at_utc":"2026-05-08T14:23:11Z","next_steps":[…],"source_url":"https://…"}

    `notices` decodes it apart from the status, so that an unexpected shape does not lose
    the system state.
    """

    event_id: int | str = 0
    title: str = ""
    affected_services: list[str] = []
    phase: str = ""
    recommended_action: str = ""
    order_submission: str = ""
    expected_start_utc: str | None = None
    expected_end_utc: str | None = None
    incident_status: str = ""
    impact: str = ""
    next_steps: list[NextStep] = []

    @property
    def expected_restart_utc(self) -> str | None:
        """When Kraken expects to be back from an emergency; None when it does not say."""
        return next((step.expected_at_utc for step in self.next_steps if step.type == "expected_restart"), None)


class StatusData(Struct, gc=False):
    """{"version":"2.0.10","system":"online","api_version":"v2",
    "connection_id":18125794168470749634,"upcoming_maintenance":[],"emergency":[]}

    `connection_id` is an unsigned 64-bit number, or absent: compared as text.
    https://docs.kraken.com/api/docs/websocket-v2/status
    """

    system: str
    version: str = ""
    connection_id: Raw = Raw(b"")
    upcoming_maintenance: Raw = Raw(b"[]")
    emergency: Raw = Raw(b"[]")


# One decoder per message type, created once per process.
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_reply = msgspec.json.Decoder(Reply).decode
read_reply = Reader(Reply).decode
read_statuses = entries_reader(StatusData)
_decode_raw_list = msgspec.json.Decoder(list[Raw] | None).decode
_read_notice = Reader(Notice).decode
NOTICES_READ_MAX = 50  # of a list; at most three have been seen
NOTICE_CHARS_MAX = 200  # of a notice of unknown shape


def notices(field: Raw) -> list[Notice]:
    """The entries of `upcoming_maintenance` or `emergency`; the title of one of unknown
    shape is its text.
    """
    try:
        entries = _decode_raw_list(field) or []
    except DECODE_ERRORS:
        entries = [field]
    found = []
    if len(entries) > NOTICES_READ_MAX:
        found.append(Notice(title=f"{len(entries)} notices, of which the first {NOTICES_READ_MAX} are told"))
    for entry in entries[:NOTICES_READ_MAX]:
        try:
            found.append(_read_notice(entry))
        except DECODE_ERRORS:
            found.append(Notice(title=bytes(entry)[:NOTICE_CHARS_MAX].decode(errors="replace")))
    return found
