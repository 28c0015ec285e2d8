"""All orders of the engine, as the fold of the journal's records.

    what Kraken or the router says ─► decide: on_…() ─► records ─► journal ─► apply() ─► Change ─► reports

Deciding changes nothing; applying decides nothing. So the state after a restart is the fold
of the journal's records, and a crash between any two steps leaves either a record that is
applied again or none at all.

Facts come on two connections and in any order: an order may be filled before it is
acknowledged, and a report of its end has no symbol. Every fact is joined to its order by
the ids it has. What the table in `life` does not allow is counted and set aside, never
raised.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import ROUND_UP, Decimal
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

from engine.market import Pair
from engine.orders.amounts import usual_trigger_type
from engine.orders.intent import Conditional, OrderIntent, Trigger
from engine.orders.journal_records import (
    Absent,
    Acknowledged,
    Adopted,
    Amended,
    AmendSent,
    BracketOver,
    CancelSent,
    CancelWanted,
    CostTold,
    Counted,
    DayBegan,
    Ended,
    Filled,
    FillsTold,
    InDoubt,
    ModeChanged,
    PositionBegan,
    Queued,
    Record,
    Rejected,
    RequestRefused,
    RunBegan,
    Snapshot,
    Submitted,
    Unqueued,
)
from engine.orders.life import TRANSITIONS, OrderEvent, OrderState
from engine.orders.money import add, at_precision, divide, multiply, subtract
from engine.orders.positions import Positions, PositionState, fee_in_base, fee_in_quote
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.tracked_order import Bracket, TrackedOrder
from engine.orders.venue_facts import ExecutionFact, Fee, OrderLookup
from engine.units import PriceTicks, QtyLots, WallNs, aligned, exact_units, rescaled, units_decimal

ENDED_KEPT: Final = 10_000  # ended orders, for late reports and `engine orders`
EXEC_IDS_KEPT: Final = 50_000  # and those of orders that REST may be asked for; Kraken's snapshots repeat fifty
UNTOLD_MAX: Final = 10_000  # fills of one strategy that its reports may not hold yet; older ones are given up
ODDITIES_KEPT: Final = 100
PARKED_MAX: Final = 1000  # facts of orders that we do not know yet
LOTS_DECIMALS: Final = 8  # of a pair that we do not follow, at least

S, E = OrderState, OrderEvent
ENDS: Final = {"filled": E.FILL_LAST, "canceled": E.CANCEL, "expired": E.EXPIRE}
OVER_AT_REST: Final = {"closed": "filled", "canceled": "canceled", "expired": "expired"}  # the states of `ENDS`
# Why Kraken ended an order that it had accepted, where that says that something was wrong
# with it.
ENDED_BY: Final = {"Post only order": ErrorKind.POST_ONLY, "Cannot trade with self": ErrorKind.SELF_TRADE}
_NO_ORDERS: Final[dict[str, TrackedOrder]] = {}
NO_RECORDS: Final[tuple[Record, ...]] = ()
NEVER: Final = WallNs(0)


class Change(Struct, frozen=True):
    """The effect of a record on one order."""

    order: TrackedOrder
    fill: Filled | None = None
    is_new: bool = False


class Oddity(Struct, frozen=True):
    """A fact that contradicts what we know: counted, kept for people, and not acted upon."""

    what: str
    key: str


class _State(Struct):
    """The state of the blotter, as a snapshot record holds it."""

    orders: list[TrackedOrder]
    ended: list[TrackedOrder]
    exec_ids: list[str]
    positions: list[tuple[str, str, PositionState]]
    run: int
    mode: str = ""
    mode_reason: str = ""
    day: int = 0
    day_totals: dict[str, Decimal] = {}
    untold: dict[str, list[Filled]] = {}
    queued: list[Queued] = []
    began: list[tuple[str, str]] = []
    brackets: list[Bracket] = []
    exits_sent: int = 0
    userref_sent: int = 0
    fills_of: dict[str, list[str]] = {}
    """The ids of their fills, of orders of which none is forgotten, by the order's key."""
    day_marks: dict[str, Decimal] = {}
    mode_run: int = 0


class Blotter:
    """Orders, fills and positions."""

    def __init__(self) -> None:
        self._begin(_State([], [], [], [], 0))
        # Facts that were counted and not acted upon; not part of the state.
        self.oddities: deque[Oddity] = deque(maxlen=ODDITIES_KEPT)
        self.quarantined = 0
        self.fills_repeated = 0
        # Fills that a restarted router can no longer report, because a strategy left more
        # than UNTOLD_MAX unread.
        self.fills_given_up = 0
        # Reports of orders that are not known yet, by Kraken's id: an order's end may come
        # before its acknowledgement. Not part of the state either.
        self._parked: OrderedDict[str, list[ExecutionFact]] = OrderedDict()
        self.parked = 0

    def _begin(self, state: _State) -> None:
        # The run of the engine that the last router belonged to.
        self.run = state.run
        self.mode, self.mode_reason = state.mode, state.mode_reason  # a name of TradingMode; empty: never changed
        self.mode_run = state.mode_run  # the run in which it was changed; 0: not noted
        self.day, self.day_totals = state.day, state.day_totals  # the UTC day, and the totals that it began with
        self.day_marks = state.day_marks  # and at which prices
        # Fills of this run of the engine that the strategies' report rings may not hold
        # yet, oldest first.
        self.untold: dict[str, deque[Filled]] = {strategy: deque(fills) for strategy, fills in state.untold.items()}
        # Orders of this run of the engine that wait for the rate counter, by the key of the
        # first.
        self.queued: dict[str, Queued] = {queued.orders[0][0]: queued for queued in state.queued}
        # Positions that began this run with what the account held: (strategy, pair).
        self.began = set(state.began)
        # Brackets that are not over, by the key of the order that opened each, and the
        # exits that were sent for brackets so far.
        self.brackets: dict[str, Bracket] = {bracket.key: bracket for bracket in state.brackets}
        self.exits_sent = state.exits_sent
        # The userref that an order of ours was sent with last; 0: none.
        self.userref_sent = state.userref_sent
        self.open: dict[str, TrackedOrder] = {}
        self.ended: OrderedDict[str, TrackedOrder] = OrderedDict((order.key, order) for order in state.ended)
        self.positions = Positions()
        self.positions.load(state.positions)
        self._open_on: dict[str, dict[str, TrackedOrder]] = {}
        # Orders of which Kraken counts more as filled than the fills that we received come
        # to, open or ended.
        self.lacking_fills: dict[str, TrackedOrder] = {}
        # Orders with a conditional close, open or ended.
        self._with_close: dict[str, TrackedOrder] = {}
        # Those that have filled more than their known closing orders are for.
        self._unclosed: dict[str, TrackedOrder] = {}
        self._key_of_order_id: dict[str, str] = {}
        self._key_of_userref: dict[int, str] = {}
        # Fills that are counted, oldest first, each with its order's key where that
        # matters.
        self._exec_ids: OrderedDict[str, str] = OrderedDict.fromkeys(state.exec_ids, "")
        for key, exec_ids in state.fills_of.items():
            self._exec_ids.update(dict.fromkeys(exec_ids, key))
        for order in state.orders:
            self._open(order)
        for order in (*state.ended, *state.orders):
            self._note_lacking(order)
            if order.order_id:
                self._key_of_order_id[order.order_id] = order.key
            # Not of orders that were found: a closing order has its parent's.
            if order.userref is not None and order.key != order.order_id:
                self._key_of_userref[order.userref] = order.key
            if order.intent.conditional is not None:
                self._with_close[order.key] = order
                self._note_closing(order)

    # --- looking

    def get(self, key: str) -> TrackedOrder | None:
        """The order with this key; None if it is not known."""
        return self.open.get(key) or self.ended.get(key)

    def find(
        self, order_id: str | None = None, cl_ord_id: str | None = None, userref: int | None = None
    ) -> TrackedOrder | None:
        """The order with any of these ids of Kraken's; None if it is not known."""
        key = self._key_of_order_id.get(order_id) if order_id else None
        if key is None and cl_ord_id and (order := self.get(cl_ord_id)) is not None:
            # A client order id or userref may be used again once its order has ended;
            # Kraken's id then tells the two apart.
            return order if not order.order_id or not order_id or order.order_id == order_id else None
        if key is None and userref and (order := self.get(self._key_of_userref.get(userref, ""))) is not None:
            return order if not order.order_id or not order_id or order.order_id == order_id else None
        return None if key is None else self.get(key)

    def order_of(self, told: ExecutionFact | OrderLookup) -> TrackedOrder | None:
        """The order that a report or lookup is about, or None. Nothing else decides this."""
        # Hot: after its first report an order is known by Kraken's id, which is enough.
        key = self._key_of_order_id.get(told.order_id)
        if key is not None and (known := self.open.get(key)) is not None and known.order_id:
            return known
        order = self.find(told.order_id, told.cl_ord_id, told.own_userref)
        if order is None or order.order_id or told.cl_ord_id == order.key:
            return order
        # Found by a userref alone. A closing order has its parent's and the other side, and
        # not every row says that it is one.
        return order if told.side in (None, order.intent.side) else None

    def unclosed(self) -> dict[str, Decimal]:
        """The orders with a conditional close for which closing orders are missing here,
        each with the filled quantity that has none.

        Kraken creates one closing order for each fill, of the filled quantity, on the other
        side.
        """
        return {key: subtract(order.filled_qty, order.closing_qty) for key, order in self._unclosed.items()}

    def closing_ids(self, parent: TrackedOrder) -> list[str]:
        """Kraken's ids of unknown orders that have filled under this order's userref: its
        closing orders, unless another program uses the same number.
        """
        return [
            order_id
            for order_id, facts in self._parked.items()
            if any(fact.exec_type == "trade" and self._parent_of(fact) is parent for fact in facts)
        ]

    def in_doubt(self) -> list[TrackedOrder]:
        """The orders that must be looked up."""
        return [order for order in self.open.values() if order.state is S.UNKNOWN]

    def open_on(self, symbol: str) -> Collection[TrackedOrder]:
        """All open orders on a pair, also those of others; use the result before the next
        record is applied.
        """
        return self._open_on.get(symbol, _NO_ORDERS).values()

    def open_of(self, strategy: str) -> list[TrackedOrder]:
        """A strategy's open orders."""
        return [order for order in self.open.values() if order.strategy == strategy]

    def knows_fill(self, exec_id: str) -> bool:
        """True if this fill was counted already."""
        return exec_id in self._exec_ids

    def is_queued(self, key: str) -> bool:
        """True if this order waits for the rate counter."""
        return self.queued_by(key) is not None

    def queued_by(self, key: str) -> str | None:
        """The strategy of the queued order with this key; None if it is not queued."""
        for queued in self.queued.values():
            if any(key == waiting for waiting, _ in queued.orders):
                return queued.strategy
        return None

    # --- deciding: what happened becomes records

    def on_acknowledged(self, key: str, order_id: str, at: WallNs) -> Sequence[Record]:
        """Records of a reply with which Kraken accepted an order."""
        order = self.get(key)
        if order is None or not order_id:
            return NO_RECORDS
        if order.order_id and order.order_id != order_id:
            return self._odd(f"acknowledged as {order_id}, and as {order.order_id} before", key)
        return self._acknowledged(order, order_id, at)

    def on_rejected(self, key: str, why: Refusal, at: WallNs) -> Sequence[Record]:
        """Records of a reply with which Kraken refused an order for certain."""
        order = self.open.get(key)
        if order is None:
            return NO_RECORDS
        if not _allows(order.state, E.REJECT):
            return self._odd(f"rejected ({why.text}) while {order.state.name}", key)
        return (Rejected(key, why.text, at, why.kind),)

    def on_doubt(self, key: str, reason: str, at: WallNs) -> Sequence[Record]:
        """Records of an order that was sent and whose outcome is unknown."""
        order = self.open.get(key)
        if order is None or order.state is not S.SENT:
            return NO_RECORDS
        return (InDoubt(key, reason, at),)

    def on_absent(self, key: str, reason: str, at: WallNs) -> Sequence[Record]:
        """Records of an order that was looked for after its deadline and not found."""
        order = self.open.get(key)
        if order is None or not _allows(order.state, E.ABSENT):
            return NO_RECORDS
        return (Absent(key, reason, at),)

    def on_request_refused(
        self, key: str, request: str, why: Refusal, at: WallNs, *, is_certain: bool = True
    ) -> Sequence[Record]:
        """Records of a refused amend or cancel, or of one whose outcome follows from the
        order's state.
        """
        order = self.open.get(key)
        if order is None or not request or order.pending != request:
            return NO_RECORDS
        return (RequestRefused(key, request, why.text, at, is_certain, why.kind),)

    def on_amended(self, key: str, at: WallNs, kraken_time: WallNs = NEVER) -> Sequence[Record]:
        """Records of a reply with which Kraken carried out an amend; its report may have
        come before.

        `kraken_time` is when Kraken received the request (`Answer.time_in`): it identifies
        late reports of earlier amends.
        """
        order = self.open.get(key)
        asked = None if order is None or order.pending != "amend" else order.amendment
        if asked is None:
            return NO_RECORDS
        return (
            Amended(key, asked.qty, asked.limit_price, asked.price_decimals, asked.qty_decimals, "", at, kraken_time),
        )

    def on_execution(
        self,
        fact: ExecutionFact,
        pair_of: Callable[[str], Pair | None],
        at: WallNs,
        order: TrackedOrder | None = None,
    ) -> Sequence[Record]:
        """Records of one row of the executions channel, in a snapshot or an update;
        `pair_of` gives a pair's current rules.

        `order` is the result of `order_of`, if the caller has it already.
        """
        if fact.order_qty is not None and fact.order_qty < 0:  # no quantity is negative
            return self._odd(f"an order of {fact.order_qty}", fact.order_id)
        order = order or self.order_of(fact)
        if order is not None:
            return self._reported(order, order.state, fact, pair_of, at)
        adopted = self._adopted(fact, pair_of, at)
        if adopted is None:
            self._park(fact)
            return NO_RECORDS
        records: list[Record] = [adopted]
        order = _adopted_order(adopted)
        state = order.state
        for early in self._parked.pop(fact.order_id, ()):
            self.parked -= 1
            # A snapshot's filled total includes these fills.
            if state.is_open and not (order.filled_before and fact.is_snapshot and early.exec_type == "trade"):
                more = self._reported(order, state, early, pair_of, at)
                records += more
                state = _after(state, more)
        return records

    def on_lookup(self, found: OrderLookup, at: WallNs, *, is_newer: bool = False) -> Sequence[Record]:
        """Records of an order of ours as REST reports it; its fills must have been counted
        before. With `is_newer` the report describes a moment after the last known change of
        the order's terms, even if REST lags.
        """
        order = self.order_of(found)
        if order is None:
            return NO_RECORDS
        records = list(self._acknowledged(order, found.order_id, at))
        state = _after(order.state, records)
        # For an open order an older row would undo an amend that was already reported: it
        # counts only if it shows the amend in doubt. The row of an ended order shows its
        # final terms, including an amend whose reply and report were both lost.
        is_current = is_newer or found.status in OVER_AT_REST or order.state is S.UNKNOWN
        if is_current or self._shows_amend(order, found):
            records += self._differs(order, state, found.qty, found.limit_price, found.trigger_price, at)
        if found.status in OVER_AT_REST:
            reason = "" if found.status == "closed" else found.reason or ""
            records += self._ended(order, state, OVER_AT_REST[found.status], reason, found.filled_qty, at)
        else:
            records += self._counted(order, state, found.filled_qty, at)
        return records

    def _reported(
        self,
        order: TrackedOrder,
        state: OrderState,
        fact: ExecutionFact,
        pair_of: Callable[[str], Pair | None],
        at: WallNs,
    ) -> Sequence[Record]:
        """Records of one report of an order that is in `state`, or will be once the records
        before these are applied.
        """
        is_trade = fact.exec_type == "trade"
        records: list[Record] = []
        if not order.order_id or (state in (S.SENT, S.UNKNOWN) and not is_trade):
            records += self._acknowledged(order, fact.order_id, at)
            state = _after(state, records)
        match fact.exec_type:
            case "trade":
                records += self._filled(order, fact, pair_of, at)
            case "filled" | "canceled" | "expired":
                records += self._ended(order, state, fact.exec_type, fact.reason or "", fact.cum_qty, at)
            case "amended" | "restated":
                records += self._amended(order, state, fact, at)
            case _ if fact.is_snapshot or not order.qty:
                # This also shows an amend whose reply was lost, and the quantity of an
                # order that names an amount to spend.
                records += self._differs(order, state, fact.order_qty, fact.limit_price, fact.trigger_price, at)
                records += self._counted(order, state, fact.cum_qty, at)
        return records

    def _acknowledged(self, order: TrackedOrder, order_id: str, at: WallNs) -> Sequence[Record]:
        if not order_id or (order.order_id and order.state not in (S.SENT, S.UNKNOWN, S.REJECTED)):
            return NO_RECORDS
        if not _allows(order.state, E.ACKNOWLEDGE):
            return self._odd(f"acknowledged while {order.state.name}", order.key)
        if order.state is S.REJECTED:
            self._odd(f"Kraken has it as {order_id}, which was taken for rejected: {order.reason}", order.key)
        return (Acknowledged(order.key, order_id, at),)

    def _filled(
        self, order: TrackedOrder, fact: ExecutionFact, pair_of: Callable[[str], Pair | None], at: WallNs
    ) -> Sequence[Record]:
        exec_id, qty, price = fact.exec_id, fact.last_qty, fact.last_price
        if exec_id is None or qty is None or price is None:
            return self._odd("a trade without id, quantity or price", order.key)
        if fact.is_snapshot and order.filled_before and fact.timestamp <= order.submitted_at:
            return NO_RECORDS  # counted as filled when the order was adopted
        if exec_id in self._exec_ids:
            self.fills_repeated += 1
            return NO_RECORDS
        lots, decimals = _lots(order, qty)
        if not lots or lots < 0 or price <= 0:
            return self._odd(f"a fill of {qty} at {price}", order.key)
        if not _allows(order.state, E.FILL):
            return self._odd(f"a fill while {order.state.name}", order.key)
        if order.intent.cash_qty is None and _exceeds(order, lots, decimals):
            # Noted as an oddity, but Kraken's report counts.
            self._odd(f"{add(order.filled_in_all, qty):f} is filled of {order.order_qty:f}", order.key)
        pair = pair_of(order.symbol)
        base_decimals = order.base_decimals if pair is None or pair.base_decimals is None else pair.base_decimals
        fees = fact.fees
        if not fact.is_fee_asset_told:
            is_in_base = order.intent.fee_preference == "base"
            fees = _fees_in_base(order, fact, base_decimals) if is_in_base else _fees_in_quote(order, fact)
        change = None
        if base_decimals is not None and (decimals > base_decimals or _takes_base(order, fees)):
            change = _base_change(order, qty, fees, base_decimals)
        return (
            Filled(
                key=order.key,
                exec_id=exec_id,
                trade_id=fact.trade_id or 0,
                qty=QtyLots(lots),
                qty_decimals=decimals,
                price=price,
                cost=fact.cost if fact.cost is not None else multiply(qty, price),
                fees=fees,
                liquidity={"m": "maker", "t": "taker"}.get(fact.liquidity or "", ""),
                kraken_time=fact.timestamp,
                at=at,
                base_change=change,
            ),
        )

    def _ended(
        self, order: TrackedOrder, state: OrderState, exec_type: str, reason: str, cum_qty: Decimal | None, at: WallNs
    ) -> Sequence[Record]:
        if not _allows(state, ENDS[exec_type]):
            return self._odd(f"{exec_type} while {state.name}", order.key)
        if state.is_terminal and state is not S.REJECTED:
            return NO_RECORDS
        lots, decimals = _lots(order, cum_qty)
        return (Ended(order.key, exec_type, reason, lots, decimals, at),)

    def _amended(self, order: TrackedOrder, state: OrderState, fact: ExecutionFact, at: WallNs) -> Sequence[Record]:
        """Records of a report of an amend: the one under way, an earlier one, or one that
        was not ours.
        """
        if state.is_terminal or fact.timestamp < order.amended_at_venue:
            return NO_RECORDS
        told = _Terms.told(order, fact.order_qty, fact.limit_price, fact.trigger_price)
        is_answer = told.are_as_asked(order) or told.may_be_of(order, fact.timestamp)
        if told.are_as_known(order) and not is_answer and fact.timestamp == order.amended_at_venue:
            return NO_RECORDS
        return (told.amended(order, at, fact.timestamp, is_answer),)

    def _differs(
        self,
        order: TrackedOrder,
        state: OrderState,
        qty: Decimal | None,
        limit_price: Decimal | None,
        trigger_price: Decimal | None,
        at: WallNs,
    ) -> Sequence[Record]:
        """Records of an open order's terms, as a snapshot or lookup reports them, if they
        differ from ours.
        """
        if state.is_terminal:
            return NO_RECORDS
        told = _Terms.told(order, qty, limit_price if order.limit_price is not None else None, trigger_price)
        is_answer = told.are_as_asked(order)
        if told.are_as_known(order) and not is_answer:
            return NO_RECORDS
        return (told.amended(order, at, NEVER, is_answer),)

    def _shows_amend(self, order: TrackedOrder, found: OrderLookup) -> bool:
        """True if a lookup shows that the amend under way was carried out."""
        return _Terms.told(order, found.qty, found.limit_price, found.trigger_price).are_as_asked(order)

    def would_show_amend(self, order: TrackedOrder, found: OrderLookup) -> bool:
        """True if a lookup reports a field that the amend under way changes, so that the
        amend would be visible in it: quantity and prices are reported, distances and
        displayed quantities are not.
        """
        told = _Terms.told(order, found.qty, found.limit_price, found.trigger_price)
        return bool(told.changes_shown(order))

    def differs_in_terms(self, order: TrackedOrder, qty: Decimal | None, limit_price: Decimal | None) -> bool:
        """True if quantity or limit, as Kraken reports them, differ from those known."""
        return not _Terms.told(order, qty, limit_price if order.limit_price is not None else None).are_as_known(order)

    def _counted(self, order: TrackedOrder, state: OrderState, cum_qty: Decimal | None, at: WallNs) -> Sequence[Record]:
        """A record if Kraken counts more as filled than we received: the missing fills must
        be asked for.
        """
        lots, decimals = _lots(order, cum_qty or None)
        if state.is_terminal or lots is None:
            return NO_RECORDS
        counted, known = aligned(lots, decimals, order.filled_known, order.qty_decimals)
        return (Counted(order.key, lots, decimals, at),) if counted > known else NO_RECORDS

    def _adopted(self, fact: ExecutionFact, pair_of: Callable[[str], Pair | None], at: WallNs) -> Adopted | None:
        """The record of an order that the journal does not know: another program's, or a
        conditional close of ours.
        """
        if not fact.symbol or fact.side is None or fact.order_qty is None or fact.exec_type == "trade":
            return None
        if fact.side not in ("buy", "sell"):
            self._odd(f"an order to {fact.side}", fact.order_id)
            return None
        pair = pair_of(fact.symbol)
        # For a pair that is not followed, Kraken's text shows the precision, since it pads
        # its numbers. An order may also be finer than its pair is now.
        price_decimals = pair.price_decimals if pair is not None else _decimals(fact.limit_price, 0)
        qty_decimals = pair.qty_decimals if pair is not None else _decimals(fact.order_qty, LOTS_DECIMALS)
        # It carries the userref of its parent, whose own id may not be known yet.
        parent = self.find(fact.ord_ref_id, userref=fact.order_userref) if fact.ord_ref_id else None
        twin = self.get(fact.cl_ord_id) if fact.cl_ord_id else None
        if twin is not None:
            self._odd(f"a second order, {fact.order_id}, has the client order id of {twin.order_id}", twin.key)
        owner = parent or twin
        close = None if parent is None else parent.intent.conditional
        limit = None
        try:
            # All amounts are expressed in the finest scale among them.
            _, qty_decimals = exact_units(fact.cum_qty or Decimal(0), qty_decimals)
            qty, qty_decimals = exact_units(fact.order_qty, qty_decimals)
            filled, _ = exact_units(fact.cum_qty or Decimal(0), qty_decimals)
            if fact.limit_price:
                limit, price_decimals = exact_units(fact.limit_price, price_decimals)
        except ValueError:
            self._odd(f"an order of {fact.order_qty} at {fact.limit_price}", fact.order_id)
            return None
        intent = OrderIntent(
            symbol=fact.symbol,
            side="buy" if fact.side == "buy" else "sell",
            order_type=fact.order_type or "limit",
            price_decimals=price_decimals,
            qty_decimals=qty_decimals,
            qty=QtyLots(qty),
            limit_price=None if limit is None else PriceTicks(limit),
            limit_price_type=None if close is None else close.limit_price_type,
            trigger=None if close is None else _trigger_of(close),
            time_in_force=(fact.time_in_force or "gtc").lower(),
            post_only=bool(fact.post_only),
            fee_preference=fact.fee_preference,
        )
        return Adopted(
            fact.order_id, fact.order_id, owner.strategy if owner is not None else "", intent, QtyLots(filled),
            fact.cl_ord_id, fact.order_userref or None, at, "" if parent is None else parent.key,
            pair.base_decimals if pair is not None else None if owner is None else owner.base_decimals,
        )  # fmt: skip

    def _park(self, fact: ExecutionFact) -> None:
        """Keep a report until its order is known. Of the fills in a snapshot only those of
        closing orders: the others belong to orders that ended long ago.
        """
        if not fact.order_id or (fact.is_snapshot and self._parent_of(fact) is None):
            return
        parked = self._parked.setdefault(fact.order_id, [])
        if fact.exec_id is not None and any(early.exec_id == fact.exec_id for early in parked):
            return  # each snapshot tells it again
        parked.append(fact)
        self.parked += 1
        while self.parked > PARKED_MAX:
            self.parked -= len(self._parked.popitem(last=False)[1])

    def _parent_of(self, fact: ExecutionFact) -> TrackedOrder | None:
        """The order to whose closing order a fill of an unknown order belongs, by userref
        and side; None if there is none.
        """
        parent = self._with_close.get(self._key_of_userref.get(fact.order_userref or 0, ""))
        return parent if parent is not None and fact.side not in (None, parent.intent.side) else None

    def _odd(self, what: str, key: str) -> Sequence[Record]:
        self.quarantined += 1
        self.oddities.append(Oddity(what, key))
        return NO_RECORDS

    # --- applying: records become state

    def apply(self, record: Record) -> Change | None:
        """Apply one journal record; None if it changes no order."""
        match record:
            case Submitted():
                return self._apply_submitted(record)
            case Filled():
                return self._apply_filled(record)
            case Adopted():
                return self._apply_adopted(record)
            case RunBegan():
                if record.run != self.run:
                    self.run = record.run
                    # These belong to an ended run, whose strategies are gone.
                    self.untold.clear()
                    self.queued.clear()
                    self.began.clear()
                    self.fills_given_up = 0
            case Queued(orders=orders):
                self.queued[orders[0][0]] = record
            case Unqueued(key=key):
                self._unqueue(key)
            case FillsTold():
                self._apply_told(record)
            case ModeChanged():
                self.mode, self.mode_reason, self.mode_run = record.mode, record.reason, self.run
            case DayBegan():
                self.day, self.day_totals, self.day_marks = record.day, record.totals, record.marks
            case BracketOver(key=key):
                self.brackets.pop(key, None)
            case PositionBegan(strategy=strategy, symbol=symbol):
                self.positions.of(strategy, symbol).begin_with(record.qty)
                self.began.add((strategy, symbol))
            case CostTold(strategy=strategy, symbol=symbol, price=price):
                self.positions.of(strategy, symbol).tell_cost(price)
            case Snapshot():
                self._begin(msgspec.msgpack.decode(record.blotter, type=_State))
            case _:
                return self._apply_to_order(record)
        return None

    def _apply_submitted(self, record: Submitted) -> Change:
        intent = record.intent
        if self.queued:
            self._unqueue(record.key)
        if (twin := self.get(record.key)) is not None:
            self._odd("submitted twice", record.key)  # the first one counts: only it can have left
            return Change(twin)
        order = TrackedOrder(
            key=record.key,
            strategy=record.strategy,
            intent=intent,
            price_decimals=intent.price_decimals,
            qty_decimals=intent.qty_decimals,
            qty=intent.qty,
            limit_price=intent.limit_price,
            state=S.SENT,
            cl_ord_id=record.key if record.userref is None else None,
            userref=record.userref,
            route=record.route,
            deadline=record.deadline,
            submitted_at=record.at,
            aged_from=record.at,
            changed_at=record.at,
            sent_in_run=self.run,
            base_decimals=record.base_decimals,
            parent=record.parent,
        )
        self._open(order)
        if record.parent:
            self.exits_sent += 1
        self._join_bracket(order)
        if record.userref is not None:
            self._key_of_userref[record.userref] = record.key
            self.userref_sent = record.userref
        if record.intent.conditional is not None:
            self._with_close[record.key] = order
        return Change(order, is_new=True)

    def _apply_adopted(self, record: Adopted) -> Change:
        if (known := self.find(record.order_id)) is not None:
            return Change(known)
        order = _adopted_order(record)
        order.sent_in_run = self.run
        self._open(order)
        self._note_lacking(order)
        self._key_of_order_id[record.order_id] = record.key
        if (parent := self._with_close.get(record.parent)) is not None:
            parent.closing_qty = add(parent.closing_qty, order.order_qty)
            self._note_closing(parent)
        if (bracket := self.brackets.get(record.parent)) is not None:
            bracket.closing_qty = add(bracket.closing_qty, order.order_qty)
        self._join_bracket(order)
        return Change(order, is_new=True)

    def _count(self, order: TrackedOrder, filled: QtyLots, decimals: int) -> None:
        """Set the filled quantity that Kraken reports; it never decreases."""
        order.refine(order.price_decimals, decimals)
        order.filled_at_venue = QtyLots(max(order.filled_at_venue, rescaled(filled, decimals, order.qty_decimals)))
        self._note_lacking(order)

    def _note_lacking(self, order: TrackedOrder) -> None:
        if order.fills_missing:
            self.lacking_fills[order.key] = order
        else:
            self.lacking_fills.pop(order.key, None)

    def _note_closing(self, order: TrackedOrder) -> None:
        """Note whether an order with a conditional close lacks closing orders."""
        if subtract(order.filled_qty, order.closing_qty) > 0:
            self._unclosed[order.key] = order
        else:
            self._unclosed.pop(order.key, None)

    def _join_bracket(self, order: TrackedOrder) -> None:
        """Begin the bracket that an order opens, or note an exit of one; an order that is
        known already, and lives again, too.
        """
        if order.parent:
            bracket = self.brackets.get(order.parent)
            if bracket is not None and order.key not in bracket.exits:
                bracket.exits.append(order.key)
        elif order.key not in self.brackets and (bracket := Bracket.of(order)) is not None:
            self.brackets[order.key] = bracket

    def _leave_bracket(self, order: TrackedOrder) -> None:
        """Note that an exit has ended, once all its fills are known."""
        bracket = self.brackets.get(order.parent)
        if bracket is not None and not order.is_open and not order.fills_missing and order.key in bracket.exits:
            bracket.exits.remove(order.key)

    def _apply_filled(self, record: Filled) -> Change | None:
        if record.exec_id in self._exec_ids:
            return None
        self._exec_ids[record.exec_id] = record.key
        if len(self._exec_ids) > EXEC_IDS_KEPT:
            self._forget_oldest_fill()
        order = self.get(record.key)
        if order is None:
            return None
        order.refine(order.price_decimals, record.qty_decimals)
        order.filled = QtyLots(order.filled + rescaled(record.qty, record.qty_decimals, order.qty_decimals))
        order.filled_at_venue = QtyLots(max(order.filled_at_venue, order.filled + order.filled_before))
        order.cost = add(order.cost, record.cost)
        for fee in record.fees:
            order.fees[fee.asset] = add(order.fees.get(fee.asset, Decimal(0)), fee.qty)
        self._move(order, E.FILL, "" if order.state in (S.UNKNOWN, S.REJECTED) else order.reason)
        self._note_lacking(order)
        order.note_change(record.at)
        if order.key in self._with_close:
            self._note_closing(order)
        self._fill_bracket(order, record)
        if order.strategy:
            untold = self.untold.get(order.strategy)
            if untold is None:
                untold = self.untold[order.strategy] = deque()
            untold.append(record)
            if len(untold) > UNTOLD_MAX:
                untold.popleft()
                self.fills_given_up += 1
            fees = tuple((fee.asset, fee.qty) for fee in record.fees)
            self.positions.of(order.strategy, order.symbol).fill(
                order.intent.side,
                units_decimal(record.qty, record.qty_decimals),
                record.price,
                fee_in_quote(order.symbol, fees, record.price),
                fee_in_base(order.symbol, fees),
                record.base_change,
            )
        return Change(order, fill=record)

    def _forget_oldest_fill(self) -> None:
        """Drop the oldest fill that no lookup can return again: one of an order that is
        over, with all its fills known. Fills of other orders become the newest.
        """
        for _ in range(len(self._exec_ids)):
            exec_id, key = self._exec_ids.popitem(last=False)
            if not self._is_looked_up(key):
                return
            self._exec_ids[exec_id] = key

    def _is_looked_up(self, key: str) -> bool:
        order = self.get(key) if key else None
        return order is not None and (order.is_open or key in self.lacking_fills)

    def _fill_bracket(self, order: TrackedOrder, record: Filled) -> None:
        bracket = self.brackets.get(order.parent or order.key)
        if bracket is None:
            return
        qty, credited = units_decimal(record.qty, record.qty_decimals), record.base_change
        if credited is None:
            fees = tuple((fee.asset, fee.qty) for fee in record.fees)
            credited = subtract(qty if order.is_buy else -qty, fee_in_base(order.symbol, fees))
        bracket.fill(is_exit=bool(order.parent), qty=qty, credited=credited)
        self._leave_bracket(order)

    def _unqueue(self, key: str) -> None:
        """Take one order off the queue; the others of its batch stay."""
        queued = self.queued.get(key) or next(
            (it for it in self.queued.values() if any(key == waiting for waiting, _ in it.orders)), None
        )
        if queued is not None:
            del self.queued[queued.orders[0][0]]
            if rest := [order for order in queued.orders if order[0] != key]:
                self.queued[rest[0][0]] = Queued(queued.strategy, rest, queued.at)

    def _apply_told(self, record: FillsTold) -> None:
        untold = self.untold.get(record.strategy)
        if untold is None or all(fill.exec_id != record.exec_id for fill in untold):
            return
        while untold.popleft().exec_id != record.exec_id:
            pass
        if not untold:
            del self.untold[record.strategy]

    def _apply_to_order(self, record: Any) -> Change | None:
        order = self.get(record.key)
        if order is None:
            return None
        match record:
            case Acknowledged(order_id=order_id):
                order.order_id = order_id
                self._key_of_order_id[order_id] = order.key
                self._move(order, E.ACKNOWLEDGE, "" if order.state in (S.UNKNOWN, S.REJECTED) else order.reason)
            case Rejected(reason=reason, kind=kind):
                self._move(order, E.REJECT, reason, kind)
            case InDoubt(reason=reason):
                self._move(order, E.DOUBT, reason)
            case Absent(reason=reason):
                self._move(order, E.ABSENT, reason, ErrorKind.TRANSPORT)
            case AmendSent(amendment=amendment, deadline=deadline, kraken_time=kraken_time):
                order.pending, order.amendment, order.reason, order.error = "amend", amendment, "", None
                order.amend_deadline, order.amend_sent_at = deadline, kraken_time
            case CancelWanted():
                order.cancel_wanted = True
            case CancelSent():
                order.pending, order.cancel_wanted = "cancel", True
            case RequestRefused(request=request, reason=reason, is_certain=is_certain, kind=kind):
                if order.pending == request:
                    order.pending, order.amendment = "", None
                outcome = "refused" if is_certain else "in doubt"
                order.reason = f"{request} {outcome}: {reason}" if reason else ""
                order.error = kind if reason else None
            case Amended():
                self._apply_amended(order, record)
            case Counted(filled=filled, qty_decimals=decimals):
                self._count(order, filled, decimals)
            case Ended(filled=filled, qty_decimals=decimals):
                if filled is not None:
                    self._count(order, filled, decimals)
                self._move(order, ENDS[record.state], record.reason, ENDED_BY.get(record.reason))
        if order.parent:
            self._leave_bracket(order)
        order.note_change(record.at)
        return Change(order)

    def _apply_amended(self, order: TrackedOrder, record: Amended) -> None:
        price_decimals, qty_decimals = record.price_decimals, record.qty_decimals
        if record.qty is not None:
            order.refine(order.price_decimals, qty_decimals)
            order.qty = QtyLots(rescaled(record.qty, qty_decimals, order.qty_decimals))
        if record.limit_price is not None:
            order.refine(price_decimals, order.qty_decimals)
            order.limit_price = PriceTicks(rescaled(record.limit_price, price_decimals, order.price_decimals))
        if record.is_answer and order.pending == "amend":
            if order.amendment is not None and order.amendment.trigger_price is not None:
                order.move_trigger(order.amendment.trigger_price)
                if (bracket := self.brackets.get(order.parent)) is not None and order.intent.trigger is not None:
                    bracket.stop = order.intent.trigger.price
            order.pending, order.amendment = "", None
        order.reason, order.error = "", None
        order.aged_from = record.at
        order.amended_at_venue = WallNs(max(order.amended_at_venue, record.kraken_time))

    def _move(self, order: TrackedOrder, event: OrderEvent, reason: str, error: ErrorKind | None = None) -> None:
        after = TRANSITIONS[order.state].get(event)
        if after is None:
            self._odd(f"{event.name} while {order.state.name}", order.key)
            return
        if reason != order.reason:
            order.error = error
        order.state, order.reason = after, reason
        if order.is_open:
            order.ended_in_run = 0
            if order.key not in self.open:  # it was rejected or absent as far as we knew, and is open
                self.ended.pop(order.key, None)
                self._open(order)
                self._join_bracket(order)
            return
        order.pending, order.amendment = "", None
        # Of one that is held to be rejected, and turns out to be open, the end is wanted
        # still.
        order.cancel_wanted = order.cancel_wanted and after is S.REJECTED
        order.ended_in_run = self.run
        if self.open.pop(order.key, None) is not None:
            del self._open_on[order.symbol][order.key]
        self.ended[order.key] = order
        while len(self.ended) > ENDED_KEPT:
            self._forget(self.ended.popitem(last=False)[1])

    def _open(self, order: TrackedOrder) -> None:
        self.open[order.key] = order
        self._open_on.setdefault(order.symbol, {})[order.key] = order

    def _forget(self, order: TrackedOrder) -> None:
        self.lacking_fills.pop(order.key, None)
        self._with_close.pop(order.key, None)
        self._unclosed.pop(order.key, None)
        if self._key_of_order_id.get(order.order_id) == order.key:
            del self._key_of_order_id[order.order_id]
        if order.userref is not None and self._key_of_userref.get(order.userref) == order.key:
            del self._key_of_userref[order.userref]

    # --- as a whole

    def snapshot(self, at: WallNs) -> Snapshot:
        """The whole state as one record."""
        state = _State(
            list(self.open.values()),
            list(self.ended.values()),
            list(self._exec_ids),
            [(strategy, symbol, position) for strategy, symbol, position in self.positions.items()],
            self.run,
            self.mode,
            self.mode_reason,
            self.day,
            self.day_totals,
            {strategy: list(fills) for strategy, fills in self.untold.items()},
            list(self.queued.values()),
            sorted(self.began),
            list(self.brackets.values()),
            self.exits_sent,
            self.userref_sent,
            self._fills_of_looked_up(),
            self.day_marks,
            self.mode_run,
        )
        return Snapshot(msgspec.Raw(msgspec.msgpack.encode(state)), at, run=self.run)

    def _fills_of_looked_up(self) -> dict[str, list[str]]:
        fills_of: dict[str, list[str]] = {}
        for exec_id, key in self._exec_ids.items():
            if self._is_looked_up(key):
                fills_of.setdefault(key, []).append(exec_id)
        return fills_of

    def check(self) -> None:
        """Assert every invariant of the state; for tests and the simulator."""
        for orders, is_open in ((self.open, True), (self.ended, False)):
            for key, order in orders.items():
                assert order.key == key
                assert order.is_open is is_open, f"{key} is {order.state.name}"
                _check_order(order)
        assert self.open.keys().isdisjoint(self.ended)
        assert len(self.ended) <= ENDED_KEPT
        open_on = {order.key: symbol for symbol, orders in self._open_on.items() for order in orders.values()}
        assert open_on == {order.key: order.symbol for order in self.open.values()}
        by_order_id = {order.order_id: order.key for order in self.open.values() if order.order_id}
        assert len(by_order_id) == sum(bool(order.order_id) for order in self.open.values()), "two orders with one id"
        assert all(self._key_of_order_id.get(order_id) == key for order_id, key in by_order_id.items())
        assert all(self.get(key) is not None for key in self._key_of_order_id.values())
        by_userref = {order.userref: order for order in map(self.get, self._key_of_userref.values()) if order}
        assert self._key_of_userref == {userref: order.key for userref, order in by_userref.items()}
        assert all(order.key != order.order_id for order in by_userref.values()), "a userref of an order that was found"
        lacking = [key for orders in (self.open, self.ended) for key, order in orders.items() if order.fills_missing]
        assert self.lacking_fills.keys() == set(lacking)
        fills_kept = sum(map(len, self._fills_of_looked_up().values()))
        assert len(self._exec_ids) <= EXEC_IDS_KEPT + fills_kept
        assert self.parked == sum(map(len, self._parked.values())) <= PARKED_MAX
        assert self._parked.keys().isdisjoint(by_order_id), "a report waits for an order that is known"
        for key, queued in self.queued.items():
            assert key == queued.orders[0][0]
            assert all(self.get(waiting) is None for waiting, _ in queued.orders)
        unclosed = [key for key, it in self._with_close.items() if subtract(it.filled_qty, it.closing_qty) > 0]
        assert self._unclosed.keys() == set(unclosed)
        exits = {order.key for order in self.open.values() if order.parent in self.brackets}
        listed = [key for bracket in self.brackets.values() for key in bracket.exits]
        assert exits <= set(listed)
        assert len(listed) == len(set(listed))
        for bracket in self.brackets.values():
            assert min(bracket.filled, bracket.closed, bracket.closing_qty) >= 0
            for way_out in map(self.get, bracket.exits):
                assert way_out is None or (way_out.is_open or way_out.fills_missing)
                assert way_out is None or way_out.parent == bracket.key
        for fills in self.untold.values():
            assert 0 < len(fills) <= UNTOLD_MAX
            assert all(fill.exec_id in self._exec_ids for fill in fills)

    def state_hash(self) -> str:
        """A hash that is equal for equal states, whatever the history."""
        raw = self.snapshot(WallNs(0)).blotter
        return blake2b(bytes(raw), digest_size=16).hexdigest()


def fold(records: Iterable[Record]) -> Blotter:
    """The blotter that these journal records fold to."""
    blotter = Blotter()
    for record in records:
        blotter.apply(record)
    return blotter


def missing_from(orders: Collection[TrackedOrder], order_ids: Collection[str]) -> list[TrackedOrder]:
    """The acknowledged orders among `orders` that are not in Kraken's list of open ones."""
    listed = set(order_ids)
    return [order for order in orders if order.is_open and order.order_id and order.order_id not in listed]


class _Terms(Struct, frozen=True):
    """An order's quantity and limit as Kraken reports them, in a scale that can express
    them, and its trigger; None for what it does not report.
    """

    qty: QtyLots | None
    qty_decimals: int
    limit_price: PriceTicks | None
    price_decimals: int
    trigger_price: Decimal | None

    @classmethod
    def told(
        cls,
        order: TrackedOrder,
        qty: Decimal | None,
        limit_price: Decimal | None,
        trigger_price: Decimal | None = None,
    ) -> "_Terms":
        """Kraken's terms, in the order's own scale if that is fine enough. Kraken reports 0
        for a missing limit.
        """
        return cls(*_lots(order, qty), *_ticks(order, limit_price or None), trigger_price)

    def are_as_known(self, order: TrackedOrder) -> bool:
        """True if quantity and limit equal those known."""
        return (self.qty is None or _is_same(order.qty, order.qty_decimals, self.qty, self.qty_decimals)) and (
            self.limit_price is None
            or _is_same(order.limit_price, order.price_decimals, self.limit_price, self.price_decimals)
        )

    def are_as_asked(self, order: TrackedOrder) -> bool:
        """True if they show that the amend under way was carried out."""
        shown = self.changes_shown(order)
        return bool(shown) and all(shown)

    def may_be_of(self, order: TrackedOrder, reported_at: WallNs) -> bool:
        """True if a report of an amend with these terms may belong to the one under way
        although it shows nothing that the amend changes. The report of an earlier amend may
        arrive after its reply, when this one has already been sent.
        """
        is_later = reported_at > order.amend_sent_at > 0
        return order.amendment is not None and is_later and self.are_as_known(order) and not self.changes_shown(order)

    def changes_shown(self, order: TrackedOrder) -> list[bool]:
        """For each reported field that the amend under way changes: whether it has the new
        value.
        """
        shown: list[bool] = []
        if (asked := order.amendment) is None:
            return shown
        qty, limit = (asked.qty, asked.qty_decimals), (asked.limit_price, asked.price_decimals)
        is_qty_told = asked.qty is not None and self.qty is not None
        if is_qty_told and not _is_same(*qty, order.qty, order.qty_decimals):
            shown.append(_is_same(*qty, self.qty, self.qty_decimals))
        is_limit_told = asked.limit_price is not None and self.limit_price is not None
        if is_limit_told and not _is_same(*limit, order.limit_price, order.price_decimals):
            shown.append(_is_same(*limit, self.limit_price, self.price_decimals))
        trigger = None if order.intent.trigger is None else order.intent.trigger.price
        if asked.trigger_price not in (None, trigger) and self.trigger_price is not None:
            shown.append(asked.trigger_price == self.trigger_price)
        return shown

    def amended(self, order: TrackedOrder, at: WallNs, kraken_time: WallNs, is_answer: bool) -> Amended:
        """The record that sets the order to these terms."""
        return Amended(
            order.key,
            self.qty,
            self.limit_price,
            self.price_decimals,
            self.qty_decimals,
            "",
            at,
            kraken_time,
            is_answer,
        )


def _trigger_of(close: Conditional) -> Trigger | None:
    """The trigger of a closing order as its parent gave it: Kraken's reports do not say
    what the number means.
    """
    if close.trigger_price is None:
        return None
    return Trigger(close.trigger_price, close.trigger_price_type or usual_trigger_type(close.order_type))


def _is_same(units: int | None, decimals: int, others: int | None, their_decimals: int) -> bool:
    """True if both amounts are equal, or both None."""
    if units is None or others is None:
        return units is others
    ours, theirs = aligned(units, decimals, others, their_decimals)
    return ours == theirs


def _lots(order: TrackedOrder, qty: Decimal | None) -> tuple[QtyLots | None, int]:
    """A quantity of Kraken's with its scale: the order's, or a finer one if needed.

    None if there is none, or if no number of units can express it.
    """
    if qty is not None:
        try:
            lots, decimals = exact_units(qty, order.qty_decimals)
        except ValueError:
            return None, order.qty_decimals
        if decimals == order.qty_decimals or order.can_refine(order.price_decimals, decimals):
            return QtyLots(lots), decimals
    return None, order.qty_decimals


def _ticks(order: TrackedOrder, price: Decimal | None) -> tuple[PriceTicks | None, int]:
    """A price, likewise."""
    if price is not None:
        try:
            ticks, decimals = exact_units(price, order.price_decimals)
        except ValueError:
            return None, order.price_decimals
        if decimals == order.price_decimals or order.can_refine(decimals, order.qty_decimals):
            return PriceTicks(ticks), decimals
    return None, order.price_decimals


def _check_order(order: TrackedOrder) -> None:
    """Assert the invariants of one order."""
    assert min(order.qty, order.filled, order.filled_before, order.filled_at_venue) >= 0
    assert (order.pending == "amend") == (order.amendment is not None), f"{order.key}: {order.pending or 'nothing'}"
    assert order.is_open or not order.pending
    assert order.is_open or order.state is S.REJECTED or not order.cancel_wanted
    assert order.order_id or order.state not in (S.WORKING, S.PARTIAL)
    assert order.filled or not order.cost
    assert order.state not in (S.SENT, S.UNKNOWN, S.WORKING) or not order.filled


def _allows(state: OrderState, event: OrderEvent) -> bool:
    return event in TRANSITIONS[state]


def _after(state: OrderState, records: Iterable[Record]) -> OrderState:
    """The state once these records, all of one order, are applied."""
    for record in records:
        match record:
            case Acknowledged():
                state = TRANSITIONS[state].get(E.ACKNOWLEDGE, state)
            case Filled():
                state = TRANSITIONS[state].get(E.FILL, state)
            case Ended():
                state = TRANSITIONS[state].get(ENDS[record.state], state)
    return state


def _adopted_order(record: Adopted) -> TrackedOrder:
    return TrackedOrder(
        key=record.key,
        strategy=record.strategy,
        intent=record.intent,
        price_decimals=record.intent.price_decimals,
        qty_decimals=record.intent.qty_decimals,
        qty=record.intent.qty,
        limit_price=record.intent.limit_price,
        state=S.PARTIAL if record.filled else S.WORKING,
        reason=f"the closing order of {record.parent}" if record.parent else "found at Kraken",
        cl_ord_id=record.cl_ord_id,
        userref=record.userref,
        order_id=record.order_id,
        # The fills so far of a closing order of ours have not been reported, and are asked
        # for. Those of an order that is not ours, or that the journal has forgotten, do not
        # count.
        filled_before=QtyLots(0) if record.parent else record.filled,
        filled_at_venue=record.filled,
        submitted_at=record.at,
        aged_from=record.at,
        changed_at=record.at,
        base_decimals=record.base_decimals,
        parent=record.parent,
    )


def _exceeds(order: TrackedOrder, lots: int, decimals: int) -> bool:
    """True if more would be filled of an order than its quantity."""
    if decimals == order.qty_decimals:
        return order.filled + order.filled_before + lots > order.qty
    return add(order.filled_in_all, units_decimal(lots, decimals)) > order.order_qty


def _takes_base(order: TrackedOrder, fees: tuple[Fee, ...]) -> bool:
    """True if a fee was taken in the base currency."""
    base = order.symbol.partition("/")[0]
    return any(fee.asset == base for fee in fees)


def _base_change(order: TrackedOrder, qty: Decimal, fees: tuple[Fee, ...], decimals: int) -> Decimal | None:
    """The change of the account's base currency by a fill; None if it is the traded
    quantity less the fee in that currency.

    Kraken's ledger rounds each fill, and its fee, to the asset's precision.
    """
    signed = qty if order.is_buy else -qty
    fee = fee_in_base(order.symbol, tuple((fee.asset, fee.qty) for fee in fees))
    booked = subtract(at_precision(signed, decimals), at_precision(fee, decimals))
    return None if booked == subtract(signed, fee) else booked


def _fees_in_base(order: TrackedOrder, fact: ExecutionFact, decimals: int | None) -> tuple[Fee, ...]:
    """Fees that Kraken reported in quote currency, converted for an order that pays them in
    base currency; rounded up.
    """
    if not fact.last_price:
        return fact.fees
    step = Decimal(1).scaleb(-(order.qty_decimals if decimals is None else decimals))
    base = order.symbol.partition("/")[0]
    return tuple(Fee(base, divide(fee.qty, fact.last_price).quantize(step, ROUND_UP)) for fee in fact.fees)


def _fees_in_quote(order: TrackedOrder, fact: ExecutionFact) -> tuple[Fee, ...]:
    """Fees that Kraken reported without a currency, for an order that pays them in quote
    currency.
    """
    quote = order.symbol.partition("/")[2]
    return tuple(Fee(fee.asset or quote, fee.qty) for fee in fact.fees)


def _decimals(value: Decimal | None, least: int) -> int:
    """The number of decimals that a number of Kraken's shows, and at least `least`."""
    exponent = value.as_tuple().exponent if value is not None else 0
    return max(least, -exponent) if isinstance(exponent, int) else least
