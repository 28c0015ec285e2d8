"""What the journal holds: every change of an order's state, as it was decided. The blotter is their fold, and nothing
else; so what a crash leaves behind is exactly what was written.

A record says the scale of its own amounts (decimals beside ticks and lots): a pair's precision changes between two
records, and an order's own may have become finer since.

Records are never changed once they exist in somebody's journal: a new need is a new field with a default, or a new
record.
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import EngineError
from engine.orders.intent import Amendment, OrderIntent
from engine.orders.venue_facts import Fee
from engine.units import QtyLots, WallNs


class JournalError(EngineError):
    """A record could not be written: no order may leave. Its text is one sentence."""


class RunBegan(Struct, frozen=True, array_like=True, tag="run"):
    """A router opened the journal."""

    run: int
    version: str
    key_fingerprint: str
    at: WallNs


class Queued(Struct, frozen=True, array_like=True, tag="que"):
    """New orders, one or a batch, wait for the rate counter: not a byte of them has left. `Submitted` ends it."""

    strategy: str
    orders: list[tuple[str, OrderIntent]]
    """(client order id, what is wanted)."""
    at: WallNs


class Unqueued(Struct, frozen=True, array_like=True, tag="unq"):
    """One of them does not wait any more, and has not left: its strategy was told so."""

    key: str
    at: WallNs


class Submitted(Struct, frozen=True, array_like=True, tag="sub"):
    """An order is about to leave: written before its first byte does."""

    key: str
    """What the engine calls it: its client order id."""
    strategy: str
    intent: OrderIntent
    deadline: WallNs
    """Kraken does not begin with it later than this."""
    route: str
    """websocket or rest."""
    userref: int | None
    """What Kraken knows it by when it cannot carry a client order id; None for all others."""
    at: WallNs
    base_decimals: int | None = None
    """Of the base currency in the account; None when Kraken has not told."""


class Acknowledged(Struct, frozen=True, array_like=True, tag="ack"):
    """Kraken has it."""

    key: str
    order_id: str
    at: WallNs


class Rejected(Struct, frozen=True, array_like=True, tag="rej"):
    """Kraken said no."""

    key: str
    reason: str
    at: WallNs


class InDoubt(Struct, frozen=True, array_like=True, tag="doubt"):
    """Nobody knows what became of it."""

    key: str
    reason: str
    at: WallNs


class Absent(Struct, frozen=True, array_like=True, tag="absent"):
    """Looked for after its deadline, and Kraken never had it."""

    key: str
    reason: str
    at: WallNs


class AmendSent(Struct, frozen=True, array_like=True, tag="amd?"):
    """A change is about to leave."""

    key: str
    amendment: Amendment
    at: WallNs
    deadline: WallNs = WallNs(0)
    """Kraken does not begin with it later than this."""


class Amended(Struct, frozen=True, array_like=True, tag="amd"):
    """The order is now so; None where Kraken did not say."""

    key: str
    qty: QtyLots | None
    limit_price: int | None
    price_decimals: int
    qty_decimals: int
    reason: str
    at: WallNs
    kraken_time: WallNs = WallNs(0)
    """When it became so; 0 when that is not known."""
    is_answer: bool = True
    """The answer to the request that is under way; otherwise a report, which may be about another one."""


class RequestRefused(Struct, frozen=True, array_like=True, tag="ref"):
    """An amend or a cancel did not happen, as far as is known; the order stands as it stood."""

    key: str
    request: str
    """amend or cancel."""
    reason: str
    at: WallNs
    is_certain: bool = True
    """False: nobody has told, and nobody can be asked."""


class CancelWanted(Struct, frozen=True, array_like=True, tag="can"):
    """An order's end is wanted, and its cancel cannot leave yet: behind an amend, an answer or the rate counter."""

    key: str
    at: WallNs


class CancelSent(Struct, frozen=True, array_like=True, tag="can?"):
    """A cancel is about to leave. That it is wanted stays true until the order is over."""

    key: str
    at: WallNs


class Filled(Struct, frozen=True, array_like=True, tag="fill"):
    """A part traded; whether it was the last part, `Ended` says."""

    key: str
    exec_id: str
    trade_id: int
    qty: QtyLots
    qty_decimals: int
    price: Decimal
    cost: Decimal
    fees: tuple[Fee, ...]
    liquidity: str
    kraken_time: WallNs
    at: WallNs
    base_change: Decimal | None = None
    """What it changed the account's base currency by, fees in it included (negative: less), where Kraken's ledger
    rounds it. None: by the quantity, and by what of the fees is in the base currency."""


class FillsTold(Struct, frozen=True, array_like=True, tag="told"):
    """A strategy's reports hold this fill, and all of its fills that stand before it in the journal: the router's next
    life need not tell them again."""

    strategy: str
    exec_id: str
    at: WallNs


class Counted(Struct, frozen=True, array_like=True, tag="cnt"):
    """Kraken counts so much as filled, more than it had told before: the fills themselves are missing here."""

    key: str
    filled: QtyLots
    qty_decimals: int
    at: WallNs


class Ended(Struct, frozen=True, array_like=True, tag="end"):
    """It is over: filled, canceled or expired."""

    key: str
    state: str
    reason: str
    filled: QtyLots | None
    """As Kraken counts; fills that are missing here come later, or never, and are counted."""
    qty_decimals: int
    at: WallNs


class Adopted(Struct, frozen=True, array_like=True, tag="adopt"):
    """An order was found at Kraken that this journal knows nothing of."""

    key: str
    order_id: str
    strategy: str
    """Of the parent, for an order that a conditional close spawned; empty for anybody else's."""
    intent: OrderIntent
    filled: QtyLots
    """Before we saw it, in the lots of its intent: no fills of ours."""
    cl_ord_id: str | None
    userref: int | None
    at: WallNs
    parent: str = ""
    """What the engine calls the order whose fill called this one forth."""
    base_decimals: int | None = None


class ModeChanged(Struct, frozen=True, array_like=True, tag="mode"):
    """Trading was halted, reduced or resumed; a restart does not lift a halt."""

    mode: str
    reason: str
    at: WallNs


class DayBegan(Struct, frozen=True, array_like=True, tag="day"):
    """A UTC day began: the daily loss counts from these totals, by quote currency."""

    day: int
    totals: dict[str, Decimal]
    at: WallNs


class Snapshot(Struct, frozen=True, array_like=True, tag="snap"):
    """All that the records before it came to: a new segment of the journal begins with one."""

    blotter: msgspec.Raw
    at: WallNs


Record = (
    RunBegan
    | Queued
    | Unqueued
    | Submitted
    | Acknowledged
    | Rejected
    | InDoubt
    | Absent
    | AmendSent
    | Amended
    | RequestRefused
    | CancelWanted
    | CancelSent
    | Filled
    | FillsTold
    | Counted
    | Ended
    | Adopted
    | ModeChanged
    | DayBegan
    | Snapshot
)

encode_record = msgspec.msgpack.Encoder().encode
_decoder: Any = msgspec.msgpack.Decoder(Record)


def decode_record(data: bytes | memoryview) -> Record:
    """msgspec.DecodeError, or its ValidationError, when these are not the bytes of a record."""
    record: Record = _decoder.decode(data)
    return record
