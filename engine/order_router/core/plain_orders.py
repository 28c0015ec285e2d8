"""The quick way of plain orders: from a record of the command ring to the socket.

    record ─► all that `NewOrders` checks, as comparisons of integers ─► journal ─► socket ─► blotter, report
                 └─► not plainly acceptable: `NewOrders` decides, and it alone refuses

What an order needs before its first byte is a yes, its journal record and its text.
Everything else follows the bytes. Of orders that differ in price, quantity and key only,
all the rest is prepared once. Nothing that may change is: limits, mode, halt, tier, pair
and book are read for each order.

Where it is compiled (engine/native/orders.pyx) it says yes to the same orders, and the
portable code here has the rest.
"""

from typing import Final, Protocol

import msgspec

from engine.kraken.connection.breaker import Breaker
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.private.events import Purpose
from engine.kraken.trading.order_requests import UNWRITABLE, LimitOrderText
from engine.native import ORDERS
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.gate import TradingGate
from engine.order_router.core.new_orders import NOT_SENT, NewOrders
from engine.order_router.core.ports import Ports
from engine.orders.client_order_id import ID_CHARS
from engine.orders.journal_records import Submitted, encode_record
from engine.orders.quick_check import QuickCheck
from engine.orders.rate_counter import ADD, RateCounters
from engine.orders.rings.commands import PLAIN_NUMBERS, PlainShape, is_plain, shape_in, unpack_shape
from engine.orders.risk import ORDER_TOKENS, Risk, TradingMode
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs

SHAPES_MAX: Final = 4096  # strategies × pairs × kinds of order, and a change of precision now and then


class PlainOrders(Protocol):
    """Sends plain orders."""

    @property
    def taken(self) -> int:
        """Commands that were not left to others."""
        ...

    def take(self, record: bytes) -> bool:
        """Send the plain order in a record of the command ring. False: it is another
        command, or `NewOrders` must decide; then nothing has happened.
        """
        ...


class PortablePlainOrders:
    """See `PlainOrders`."""

    def __init__(
        self,
        new_orders: NewOrders,
        *,
        ports: Ports,
        records: OrderRecords,
        gate: TradingGate,
        quick_check: QuickCheck,
        risk: Risk,
        rates: RateCounters,
        breaker: Breaker,
        kraken: KrakenTime,
    ) -> None:
        self.barred = new_orders.barred
        self.queue = new_orders.queue
        self.command_ttl_ns = new_orders.settings.command_ttl_ns
        self.deadline_ns = new_orders.settings.deadline_ns
        self.now = ports.now
        self.session = ports.session
        self.socket = ports.socket
        self.boards = ports.boards
        self._on_sent = ports.on_sent
        self.records = records
        self.blotter = records.blotter
        self.gate = gate
        self.quick_check = quick_check
        self.risk = risk
        self.rates = rates
        self.breaker = breaker
        self.kraken = kraken
        # By packed shape, with what writes the requests of such orders.
        self._shapes: dict[bytes, tuple[PlainShape, LimitOrderText]] = {}
        self.taken = 0

    def take(self, record: bytes) -> bool:
        # Hot. The checks are those of `NewOrders.submit`, in the order of their cost.
        if not is_plain(record):
            return False
        prepared = self._shapes.get(shape_in(record)) or self.prepare(shape_in(record))
        if prepared is None:
            return False
        shape, text = prepared
        _, issued_at, tick_at, ticks, lots, key_bytes = PLAIN_NUMBERS.unpack_from(record)
        now, blotter, symbol, strategy = self.now.mono, self.blotter, shape.symbol, shape.strategy
        key = key_bytes.decode("latin-1")
        if (
            now - issued_at > self.command_ttl_ns
            or self.queue.size
            or self.breaker.opened_at is not None
            or strategy in self.barred
            or not self.gate.is_plainly_open(symbol)
            or not self.session.is_ready
            or not self.socket.can_send
            or not key_bytes.isalnum()
            or key in blotter.open
            or key in blotter.ended
            or (pair := self.boards.pair(symbol)) is None
            or not self.quick_check.allows_limit(
                strategy, shape.side, ticks, shape.price_decimals, lots, shape.qty_decimals, pair, now
            )
            or self.rates.wait_ns(symbol, ADD, now)
        ):
            return False
        at = self.now.wall
        deadline = WallNs(self.kraken.now() + self.deadline_ns)
        intent = shape.intent(ticks, lots)
        session = self.session
        number = session.next_number()
        try:
            request = text.write(ticks, lots, key_bytes, deadline, session.quoted_token, number)
        except UNWRITABLE:
            session.give_back(number)
            return False
        submitted = Submitted(key, strategy, intent, deadline, "websocket", None, at, pair.base_decimals)
        if not self.records.write_encoded(encode_record(submitted)):
            session.give_back(number)
            return False
        self._note(submitted, number, self.socket.send(request), issued_at, tick_at, now)
        return True

    def sent(
        self, shape: PlainShape, key: str, ticks: PriceTicks, lots: QtyLots, deadline: WallNs, at: WallNs,
        base_decimals: int | None, number: int, is_sent: bool, issued_at: MonoNs, tick_at: MonoNs, now: MonoNs,
    ) -> None:  # fmt: skip
        """Record an order that the compiled path has journaled and passed to the socket;
        `is_sent` says whether the socket took it.
        """
        submitted = Submitted(
            key, shape.strategy, shape.intent(ticks, lots), deadline, "websocket", None, at, base_decimals
        )
        self._note(submitted, number, is_sent, issued_at, tick_at, now)

    def _note(
        self, submitted: Submitted, number: int, is_sent: bool, issued_at: MonoNs, tick_at: MonoNs, now: MonoNs
    ) -> None:
        """Do the work that could wait until the bytes had left."""
        key, intent = submitted.key, submitted.intent
        if is_sent:
            self.session.note_sent(number, "add_order", Purpose("add", (key,)), now)
            self._on_sent(issued_at, tick_at)
            self.rates.charge(intent.symbol, ADD, now)
        self.taken += 1
        self.risk.approved(submitted.strategy, intent, now)
        self.records.apply(submitted)
        if not is_sent:
            self.records.commit(self.blotter.on_rejected(key, NOT_SENT, submitted.at))

    def prepare(self, packed: bytes) -> tuple[PlainShape, LimitOrderText] | None:
        """What orders of this shape have in common; None if it cannot be read."""
        try:
            shape = unpack_shape(packed)
        except ValueError:
            return None
        text = LimitOrderText(
            shape.symbol, shape.side, shape.price_decimals, shape.qty_decimals, shape.time_in_force,
            post_only=shape.post_only,
        )  # fmt: skip
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        prepared = self._shapes[packed] = shape, text
        return prepared

    def journal_parts(self, shape: PlainShape) -> tuple[bytes, bytes, bytes]:
        """The journal's record of such an order between its key, its lots, its deadline and
        its time; the ticks follow the lots.
        """
        ticks, lots, deadline, at = b"\x01\x02\x03\x04"  # as MessagePack has them, too
        example = Submitted(
            "k" * ID_CHARS, shape.strategy, shape.intent(PriceTicks(ticks), QtyLots(lots)), WallNs(deadline),
            "websocket", None, WallNs(at),
        )  # fmt: skip
        before_ticks, _, rest = encode_record(example).rpartition(b"\x02\xablimit_price\x01")
        before_deadline, _, _ = rest.rpartition(b"\x03\xa9websocket\xc0\x04")
        return before_ticks.partition(b"k" * ID_CHARS)[2], before_deadline, b"\xa9websocket\xc0"


def quickest(portable: PortablePlainOrders) -> PlainOrders:
    """The compiled implementation over the portable one, or that itself."""
    if ORDERS is None:
        return portable
    compiled: PlainOrders = ORDERS.PlainOrders(
        portable, encode=msgspec.msgpack.encode, active=TradingMode.ACTIVE, add_cost=ADD, order_tokens=ORDER_TOKENS
    )
    return compiled
