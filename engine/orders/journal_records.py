"""The journal's records: every change of an order's state, as it was decided. The blotter's
state is their fold and nothing else, so a crash leaves exactly what was written.

A record has the scale of its own amounts (decimals beside ticks and lots): a pair's
precision may change between two records, and an order's own may have become finer.

A kind of record is never changed once it exists in somebody's journal: a new need is a new
field with a default, or a new kind of record.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import EngineError
from engine.orders.intent import Amendment, OrderIntent
from engine.orders.money import total_of
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Fee
from engine.units import QtyLots, WallNs


class JournalError(EngineError):
    """A record could not be written, so no order may be sent. The text is one sentence."""


class RunBegan(Struct, frozen=True, array_like=True, tag="run"):
    """A router opened the journal."""

    run: int
    version: str
    key_fingerprint: str
    at: WallNs


class Queued(Struct, frozen=True, array_like=True, tag="que"):
    """New orders, one or a batch, wait for the rate counter and were not sent. `Submitted`
    ends it.
    """

    strategy: str
    orders: list[tuple[str, OrderIntent]]
    """(client order id, intent) of each."""
    at: WallNs


class Unqueued(Struct, frozen=True, array_like=True, tag="unq"):
    """A queued order was refused without being sent, and its strategy was told."""

    key: str
    at: WallNs


class Submitted(Struct, frozen=True, array_like=True, tag="sub"):
    """An order is about to be sent: written before its first byte."""

    key: str
    """Its client order id."""
    strategy: str
    intent: OrderIntent
    deadline: WallNs
    """Kraken does not accept it after this."""
    route: str
    """websocket or rest."""
    userref: int | None
    """Its id at Kraken if it cannot carry a client order id; None for all others."""
    at: WallNs
    base_decimals: int | None = None
    """Decimals of the base currency's balance; None if Kraken has not told."""
    parent: str = ""
    """The key of the order whose bracket this one is an exit of; empty for others."""


class Acknowledged(Struct, frozen=True, array_like=True, tag="ack"):
    """Kraken accepted the order."""

    key: str
    order_id: str
    at: WallNs


class Rejected(Struct, frozen=True, array_like=True, tag="rej"):
    """Kraken refused the order."""

    key: str
    reason: str
    at: WallNs
    kind: ErrorKind = ErrorKind.UNKNOWN


class InDoubt(Struct, frozen=True, array_like=True, tag="doubt"):
    """The order was sent, and its outcome is unknown."""

    key: str
    reason: str
    at: WallNs


class Absent(Struct, frozen=True, array_like=True, tag="absent"):
    """The order was looked for after its deadline and not found: Kraken never received it."""

    key: str
    reason: str
    at: WallNs


class AmendSent(Struct, frozen=True, array_like=True, tag="amd?"):
    """An amend is about to be sent."""

    key: str
    amendment: Amendment
    at: WallNs
    deadline: WallNs = WallNs(0)
    """Kraken does not accept it after this."""
    kraken_time: WallNs = WallNs(0)
    """Kraken's time then, or a little before; 0 if not noted. Its reports of earlier amends
    are not later."""


class Amended(Struct, frozen=True, array_like=True, tag="amd"):
    """The order's terms are now these; None where Kraken did not tell."""

    key: str
    qty: QtyLots | None
    limit_price: int | None
    price_decimals: int
    qty_decimals: int
    reason: str
    at: WallNs
    kraken_time: WallNs = WallNs(0)
    """When they changed; 0 if unknown."""
    is_answer: bool = True
    """True for the reply to the request under way; a report may be about another request."""


class RequestRefused(Struct, frozen=True, array_like=True, tag="ref"):
    """An amend or a cancel did not happen, as far as is known; the order is unchanged."""

    key: str
    request: str
    """amend or cancel."""
    reason: str
    at: WallNs
    is_certain: bool = True
    """False if nothing told so, and nothing can be asked."""
    kind: ErrorKind = ErrorKind.UNKNOWN


class CancelWanted(Struct, frozen=True, array_like=True, tag="can"):
    """An order's end was requested, and its cancel cannot be sent yet: it waits for an
    amend, a reply or the rate counter.
    """

    key: str
    at: WallNs


class CancelSent(Struct, frozen=True, array_like=True, tag="can?"):
    """A cancel is about to be sent. It stays wanted until the order has ended."""

    key: str
    at: WallNs


class Filled(Struct, frozen=True, array_like=True, tag="fill"):
    """A fill; whether it was the last one, `Ended` tells."""

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
    """The change of the account's base currency, fees in it included (negative: less),
    where Kraken's ledger rounds it. None: by the quantity, and the fees in the base
    currency.
    """

    def fees_by_asset(self) -> dict[str, Decimal]:
        """Its fees, those in the same asset added up."""
        fees = {fee.asset: fee.qty for fee in self.fees}
        if len(fees) < len(self.fees):
            for asset in fees:
                fees[asset] = total_of(fee.qty for fee in self.fees if fee.asset == asset)
        return fees


class FillsTold(Struct, frozen=True, array_like=True, tag="told"):
    """A strategy's report ring holds this fill, and all its fills before it in the journal:
    a restarted router need not report them again.
    """

    strategy: str
    exec_id: str
    at: WallNs


class Counted(Struct, frozen=True, array_like=True, tag="cnt"):
    """Kraken counts this much as filled, more than it had told before; fills are missing
    here.
    """

    key: str
    filled: QtyLots
    qty_decimals: int
    at: WallNs


class Ended(Struct, frozen=True, array_like=True, tag="end"):
    """The order was filled, canceled or expired."""

    key: str
    state: str
    reason: str
    filled: QtyLots | None
    """As Kraken counts; fills missing here come later, or never, and are counted."""
    qty_decimals: int
    at: WallNs


class Adopted(Struct, frozen=True, array_like=True, tag="adopt"):
    """An order was found at Kraken that this journal does not know."""

    key: str
    order_id: str
    strategy: str
    """That of the parent for a conditional close; empty for an order that is not ours."""
    intent: OrderIntent
    filled: QtyLots
    """Filled before we found it, in lots of its intent: no fills of ours."""
    cl_ord_id: str | None
    userref: int | None
    at: WallNs
    parent: str = ""
    """The key of the order whose fill created this one."""
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
    marks: dict[str, Decimal] = {}
    """The prices, by pair, that positions were valued at then."""


class BracketOver(Struct, frozen=True, array_like=True, tag="brk"):
    """A bracket is over: nothing is left to close, or its exits were canceled on request.
    No further exit is sent for it.
    """

    key: str
    """The key of the order that opened it."""
    reason: str
    at: WallNs


class PositionBegan(Struct, frozen=True, array_like=True, tag="pos"):
    """A strategy's position in a pair begins a run with what the account holds of the base
    currency, less what other positions claim of it.
    """

    strategy: str
    symbol: str
    qty: Decimal
    at: WallNs


class CostTold(Struct, frozen=True, array_like=True, tag="cost"):
    """A person told at which average price a position's part of unknown cost was bought."""

    strategy: str
    symbol: str
    price: Decimal
    at: WallNs


class Snapshot(Struct, frozen=True, array_like=True, tag="snap"):
    """The fold of all records before it: a new segment of the journal begins with one."""

    blotter: msgspec.Raw
    at: WallNs
    unwritten: tuple[msgspec.Raw, ...] = ()
    """Those of them that the segment before did not take, each encoded: they are in the
    fold, and whoever reads the records one by one has them here."""
    run: int = 0
    """The engine's run in which it was taken; 0: not noted."""
    counts: dict[str, int] = {}
    """What the routers of that run had counted until then."""


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
    | BracketOver
    | PositionBegan
    | CostTold
    | Snapshot
)


def records_of_run(records: Sequence[Record], run: int) -> Sequence[Record]:
    """Those of a segment's records that routers of this run of the engine wrote; the first
    is its beginning, or a snapshot taken in it.
    """
    for place, record in enumerate(records):
        if isinstance(record, RunBegan | Snapshot) and record.run == run:
            return records[place:]
    return ()


encode_record = msgspec.msgpack.Encoder().encode
_decoder: Any = msgspec.msgpack.Decoder(Record)


def decode_record(data: bytes | memoryview) -> Record:
    """Decode one record. Raises msgspec.DecodeError, or its ValidationError, for other
    bytes.
    """
    record: Record = _decoder.decode(data)
    return record
