"""The quick way of plain orders: from a record of the command ring to the socket.

    record ─► all that `NewOrders` checks, as comparisons of integers ─► journal ─► socket ─► blotter, report
                 └─► not plainly acceptable: `NewOrders` decides, and it alone refuses

What an order needs before its first byte is a yes, its journal record and its text.
Everything else follows the bytes. Of orders that differ in price, quantity and key only,
all the rest is prepared once. Nothing that may change is: limits, mode, halt, tier, pair
and book are read for each order.
"""

from typing import Final

from engine.kraken.connection.breaker import Breaker
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.private.events import Purpose
from engine.kraken.trading.order_requests import UNWRITABLE, LimitOrderText
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.gate import TradingGate
from engine.order_router.core.new_orders import NOT_SENT, NewOrders
from engine.order_router.core.ports import Ports
from engine.orders.intent import OrderIntent
from engine.orders.journal_records import Submitted
from engine.orders.quick_check import QuickCheck
from engine.orders.rate_counter import ADD, RateCounters
from engine.orders.rings.commands import PLAIN, PLAIN_NUMBERS, PlainShape, shape_in, unpack_shape
from engine.orders.risk import Risk
from engine.units import WallNs

SHAPES_MAX: Final = 4096  # strategies × pairs × kinds of order, and a change of precision now and then


class PlainOrders:
    """Sends plain orders."""

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
        self._new_orders = new_orders
        self._queue = new_orders.queue
        self._command_ttl_ns = new_orders.settings.command_ttl_ns
        self._deadline_ns = new_orders.settings.deadline_ns
        self._now = ports.now
        self._session = ports.session
        self._socket = ports.socket
        self._boards = ports.boards
        self._on_sent = ports.on_sent
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._quick_check = quick_check
        self._risk = risk
        self._rates = rates
        self._breaker = breaker
        self._kraken = kraken
        # By packed shape, with what writes the requests of such orders.
        self._shapes: dict[bytes, tuple[PlainShape, LimitOrderText]] = {}
        # Commands that were not left to others.
        self.taken = 0

    def take(self, record: bytes) -> bool:
        """Send the plain order in a record of the command ring. False: it is another
        command, or `NewOrders` must decide; then nothing has happened.
        """
        # Hot. The checks are those of `NewOrders.submit`, in the order of their cost.
        if not record.startswith(PLAIN):
            return False
        prepared = self._shapes.get(shape_in(record)) or self._prepare(shape_in(record))
        if prepared is None:
            return False
        shape, text = prepared
        _, issued_at, tick_at, ticks, lots, key_bytes = PLAIN_NUMBERS.unpack_from(record)
        now, blotter, symbol, strategy = self._now.mono, self._blotter, shape.symbol, shape.strategy
        key = key_bytes.decode("latin-1")
        if (
            now - issued_at > self._command_ttl_ns
            or self._queue.size
            or self._breaker.opened_at is not None
            or strategy in self._new_orders.barred
            or not self._gate.is_plainly_open(symbol)
            or not self._session.is_ready
            or not self._socket.can_send
            or not key_bytes.isalnum()
            or key in blotter.open
            or key in blotter.ended
            or (pair := self._boards.pair(symbol)) is None
            or not self._quick_check.allows_limit(
                strategy, shape.side, ticks, shape.price_decimals, lots, shape.qty_decimals, pair, now
            )
            or self._rates.wait_ns(symbol, ADD, now)
        ):
            return False
        at = self._now.wall
        deadline = WallNs(self._kraken.now() + self._deadline_ns)
        intent = OrderIntent(
            symbol=symbol, side=shape.side, order_type="limit", price_decimals=shape.price_decimals,
            qty_decimals=shape.qty_decimals, qty=lots, limit_price=ticks, time_in_force=shape.time_in_force,
            post_only=shape.post_only,
        )  # fmt: skip
        session = self._session
        number = session.next_number()
        try:
            request = text.write(ticks, lots, key_bytes, deadline, session.quoted_token, number)
        except UNWRITABLE:
            session.give_back(number)
            return False
        submitted = Submitted(key, strategy, intent, deadline, "websocket", None, at, pair.base_decimals)
        if not self._records.write((submitted,)):
            session.give_back(number)
            return False
        is_sent = self._socket.send(request)
        # The bytes have left; now what could wait.
        if is_sent:
            session.note_sent(number, "add_order", Purpose("add", (key,)), now)
            self._on_sent(issued_at, tick_at)
        self.taken += 1
        self._rates.charge(symbol, ADD, now)
        self._risk.approved(strategy, intent, now)
        self._records.apply(submitted)
        if not is_sent:
            self._records.commit(blotter.on_rejected(key, NOT_SENT, at))
        return True

    def _prepare(self, packed: bytes) -> tuple[PlainShape, LimitOrderText] | None:
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
