"""Brackets: an entry, a stop and a target, of which one cancels the other.

    entry fills ─► Kraken itself places a stop for each fill (conditional close), at once
    the book reaches the target ─► the stops are canceled ─► all over, all fills known
        ─► what is left is closed at the target or better, immediate or cancel
        ─► what is left of that gets a stop again
    a stop fills ─► the rest of the entry is canceled

At any moment the stops rest at Kraken, or nothing does: a new exit is sent only when every
other one is over and its fills are known, for what is left then. So never more can be
closed than was filled, whatever dies when. All of this is a function of the blotter, the
book and the clock; the journal has the orders, and `BracketOver`.

A stop is put back whatever the mode: halted, degraded, stopping. The target waits while
trading is not plainly open or the book is not live: then the stop stays where it is.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import structlog
from msgspec import Struct

from engine.instant import Instant
from engine.market import Pair
from engine.order_router.core.cancels import OrderCancels
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.executions import AccountFacts
from engine.order_router.core.gate import RESTRICTED, TradingGate
from engine.order_router.core.new_orders import NewOrders
from engine.order_router.core.ports import BoardsPort
from engine.orders.client_order_id import exit_id
from engine.orders.intent import OrderIntent, Trigger
from engine.orders.journal_records import BracketOver
from engine.orders.life import OrderState
from engine.orders.money import add, multiply, subtract
from engine.orders.refusal import ErrorKind
from engine.orders.risk import Risk, TopOfBook, TradingMode
from engine.orders.tracked_order import Bracket, TrackedOrder
from engine.records import price_reached
from engine.units import NS_PER_S, MonoNs, PriceTicks, QtyLots, decimal_units

THIN_NS: Final = 5 * NS_PER_S  # between two tries at a target where the book holds less than is left
NO_BOOK_NS: Final = 60 * NS_PER_S  # until a book that does not come is told: a feed that reconnects is back sooner
TRY_NS: Final = NS_PER_S  # between any two: each costs a cancel of a young order and two new ones
RETRY_NS: Final = NS_PER_S  # after an exit that came to nothing; doubles with each
RETRY_NS_MAX: Final = 60 * NS_PER_S
# While Kraken's rate counter is full, which cancels of many young orders bring about: it
# falls by itself, by one to four points a second.
RATE_RETRY_NS_MAX: Final = 8 * NS_PER_S
RULES_NS: Final = 30 * NS_PER_S  # for the rules of a pair to come; then their absence is told
SURPLUS_NS: Final = 2 * NS_PER_S  # for the row that follows at once, such as that of the other exit's end
ZERO: Final = Decimal(0)
IN_DOUBT: Final = (OrderState.SENT, OrderState.UNKNOWN)

log = structlog.get_logger("order_router")


class _Pace(Struct):
    """When a bracket acts next. It is not journaled: a new router starts with no delays."""

    target_at: MonoNs = MonoNs(0)
    """The target is not tried before."""
    is_leaving: bool = False
    """Its stops were canceled because the book had reached the target."""
    exit_at: MonoNs = MonoNs(0)
    """No exit is sent before."""
    failures: int = 0
    """Of exits, one after the other."""
    sent: str = ""
    """The exit that was sent last, unless it was canceled here."""
    no_rules_since: MonoNs | None = None
    """Since when an exit is wanted, and the pair's rules are not known."""
    is_told: bool = False
    """That they are not."""
    surplus_since: MonoNs | None = None
    """Since when more is open than is left to close."""
    no_book_since: MonoNs | None = None
    """Since when the target cannot be looked at, for the pair's book is not live."""
    is_no_book_told: bool = False
    """That it cannot."""


class Brackets:
    """Drives all brackets: sends, cancels and replaces their exits."""

    def __init__(
        self,
        *,
        records: OrderRecords,
        gate: TradingGate,
        boards: BoardsPort,
        account: AccountFacts,
        risk: Risk,
        cancels: OrderCancels,
        new_orders: NewOrders,
        given_up: Callable[[str], Decimal],
        rest_lag_ns_max: int,
        now: Instant,
    ) -> None:
        """`given_up` returns the filled quantity of an order for which Kraken has no
        closing order. A fill may be reported up to `rest_lag_ns_max` later than the closing
        order that it caused.
        """
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._boards = boards
        self._account = account
        self._risk = risk
        self._cancels = cancels
        self._new_orders = new_orders
        self._given_up = given_up
        self._rest_lag_ns_max = rest_lag_ns_max
        self._now = now
        self._paces: dict[str, _Pace] = {}

    # --- for who cancels

    def is_exit(self, order: TrackedOrder) -> bool:
        """True for an exit of a bracket that is not over."""
        return order.parent in self._blotter.brackets

    @property
    def unprotected(self) -> list[str]:
        """The keys of brackets that have filled something and have no open exit."""
        return [
            bracket.key
            for bracket in self._blotter.brackets.values()
            if bracket.left > 0 and not self._open_exits(bracket) and not self._is_too_little(bracket, bracket.left)
        ]

    @property
    def unwritable(self) -> list[str]:
        """Those of `unprotected` for which no exit can be written, because no feed follows
        their pair and its rules are unknown.
        """
        brackets = self._blotter.brackets
        return [key for key in self.unprotected if self._boards.pair(brackets[key].symbol) is None]

    def end_all(self, strategy: str | None, symbol: str) -> None:
        """End the brackets of a strategy (None: of all), on one pair (empty: on all),
        because all orders there are being canceled.
        """
        for bracket in list(self._blotter.brackets.values()):
            if strategy in (None, bracket.strategy) and symbol in ("", bracket.symbol):
                self._end(bracket, "all orders were canceled on request")

    def end(self, order: TrackedOrder) -> None:
        """End the bracket of an exit that was canceled on request: no exit replaces it. No
        effect for any other order.
        """
        if (bracket := self._blotter.brackets.get(order.parent)) is not None:
            self._end(bracket, "an exit of it was canceled on request")

    # --- time

    def look(self) -> None:
        """Take the due action of each bracket."""
        if not self._blotter.brackets:
            self._paces.clear()
            return
        for bracket in list(self._blotter.brackets.values()):
            pace = self._paces.setdefault(bracket.key, _Pace())
            self._look_at(bracket, pace)

    def _look_at(self, bracket: Bracket, pace: _Pace) -> None:
        entry, exits = self._blotter.get(bracket.key), self._open_exits(bracket)
        if not self._is_account_known(bracket.symbol) or self._is_in_doubt(bracket, entry):
            return
        self._note_failure(pace)
        left = bracket.left
        if bracket.closed and entry is not None and entry.is_open:
            self._cancels.want(entry.key)
        if not exits and self._is_too_little(bracket, left) and (entry is None or not entry.is_open):
            self._end(bracket, "nothing is left to close" if bracket.filled else "nothing was filled")
            return
        covered = ZERO
        for order in exits:
            covered = add(covered, subtract(order.order_qty, order.filled_in_all))
        # What Kraken's stops are on their way for: all that has none yet, but for what will
        # have none.
        unseen = ZERO if entry is None else bracket.unseen
        awaited = max(subtract(unseen, self._given_up(bracket.key)), ZERO) if unseen else ZERO
        is_on_its_way = awaited > 0 and awaited == unseen
        # Kraken makes closing orders for fills only: those of more than is filled as far
        # as we know are for fills that will be told.
        untold = subtract(bracket.closing_qty, bracket.filled)
        is_explained = untold > 0 and covered <= add(subtract(bracket.filled, bracket.closed), untold)
        patience_ns = self._rest_lag_ns_max if is_explained else SURPLUS_NS
        if self._is_surplus(pace, covered > left, patience_ns):
            log.warning("exits of a bracket are for more than is left", id=bracket.key, left=f"{left:f}")
            self._cancel(exits, pace)
        elif is_on_its_way or any(order.cancel_wanted or order.pending == "cancel" for order in exits):
            return
        elif left > 0 and not awaited and self._is_target_due(bracket, left, pace):
            pace.is_leaving = True
            if entry is not None and entry.is_open:
                self._cancels.want(entry.key)
            if exits:
                self._cancel(exits, pace)
            else:
                self._exit(bracket, left, pace)
        elif any(order.pending for order in exits):
            return  # an amend under way may make a stop larger
        elif (bare := subtract(left, add(covered, awaited))) > 0 and not self._is_too_little(bracket, bare):
            self._exit(bracket, bare, pace)

    def _is_account_known(self, symbol: str) -> bool:
        is_told = self._account.unbroken_since is not None or self._gate.rest_stands_in
        return is_told and symbol not in self._gate.uncertain

    def _is_in_doubt(self, bracket: Bracket, entry: TrackedOrder | None) -> bool:
        """True while fills of the entry or of an exit may be missing."""
        orders = [entry, *map(self._blotter.get, bracket.exits)]
        return any(order is not None and (order.fills_missing or order.state in IN_DOUBT) for order in orders)

    def _open_exits(self, bracket: Bracket) -> list[TrackedOrder]:
        return [order for key in bracket.exits if (order := self._blotter.open.get(key)) is not None]

    def _is_surplus(self, pace: _Pace, is_more: bool, patience_ns: int) -> bool:
        now = self._now.mono
        if not is_more:
            pace.surplus_since = None
        elif pace.surplus_since is None:
            pace.surplus_since = now
        return pace.surplus_since is not None and now - pace.surplus_since >= patience_ns

    def _is_too_little(self, bracket: Bracket, qty: Decimal) -> bool:
        """True if the quantity, or its value, is below the pair's minimum: then it stays in
        the position.
        """
        pair = self._boards.pair(bracket.symbol)
        if qty <= 0 or pair is None:
            return qty <= 0
        return _lots(pair, qty) < max(pair.qty_min_lots, 1) or multiply(qty, bracket.stop) < pair.cost_min

    # --- the target

    def _is_target_due(self, bracket: Bracket, left: Decimal, pace: _Pace) -> bool:
        """True if the book has reached the target, and the target may be tried now."""
        if not self._gate.is_plainly_open(bracket.symbol) or self._risk.mode is TradingMode.HALTED:
            return False
        if self._boards.pair(bracket.symbol) is None:
            return False  # no exit can be written; what protects stays
        top = self._boards.top(bracket.symbol)
        if top is None or not _is_fresh(top, self._risk):
            self._note_no_book(bracket, pace)
            return False
        pace.no_book_since, pace.is_no_book_told = None, False
        if not _is_reached(bracket, top):
            return False
        if pace.is_leaving:
            return True
        reached = price_reached(top.record, bracket.side, left) if top.record else None
        is_deep = reached is not None and not _is_short_of(bracket, reached)
        since_thin = MonoNs(pace.target_at + THIN_NS - TRY_NS) if pace.target_at else MonoNs(0)
        return self._now.mono >= (pace.target_at if is_deep else since_thin)

    def _note_no_book(self, bracket: Bracket, pace: _Pace) -> None:
        """Log once that a book does not arrive; its strategy may have unsubscribed the
        pair.
        """
        now = self._now.mono
        if pace.no_book_since is None:
            pace.no_book_since = now
        elif not pace.is_no_book_told and now - pace.no_book_since >= NO_BOOK_NS:
            pace.is_no_book_told = True
            log.warning("the target of a bracket waits for its book", id=bracket.key, symbol=bracket.symbol,
                        strategy=bracket.strategy)  # fmt: skip

    # --- exits

    def _exit(self, bracket: Bracket, qty: Decimal, pace: _Pace) -> None:
        """Send the exit that fits now: at the target, a stop, or at the market if the
        stop's price has been passed.
        """
        now, pair = self._now.mono, self._boards.pair(bracket.symbol)
        if pair is None:
            self._note_no_rules(bracket, qty, pace)
            return
        pace.no_rules_since, pace.is_told = None, False
        if now < pace.exit_at or self._gate.venue_status in RESTRICTED:
            return
        if pace.is_leaving:
            pace.target_at = MonoNs(now + TRY_NS)
        intent = self._intent(bracket, pair, QtyLots(_lots(pair, qty)), is_leaving=pace.is_leaving)
        key = exit_id(self._blotter.run, self._blotter.exits_sent)
        pace.is_leaving = False
        if self._new_orders.send_exit(bracket, key, intent, pair):
            pace.sent = key
            log.info("exit sent", id=key, bracket=bracket.key, order_type=intent.order_type, qty=f"{qty:f}")

    def _intent(self, bracket: Bracket, pair: Pair, lots: QtyLots, *, is_leaving: bool) -> OrderIntent:
        top = self._boards.top(bracket.symbol)
        top = top if top is not None and _is_fresh(top, self._risk) else None
        common = {
            "symbol": bracket.symbol,
            "side": bracket.side,
            "price_decimals": pair.price_decimals,
            "qty_decimals": pair.qty_decimals,
            "qty": lots,
            # What protects must not end because an own order stands in its way.
            "stp_type": "cancel_oldest",
        }
        is_sell = bracket.side == "sell"
        if is_leaving and top is not None and _is_reached(bracket, top):
            # On the tick, should the pair's have become coarser; never worse than asked
            # for.
            price = pair.round_price(bracket.target_price, "up" if is_sell else "down")
            ticks = PriceTicks(decimal_units(price, pair.price_decimals))
            return OrderIntent(**common, order_type="limit", limit_price=ticks, time_in_force="ioc")  # type: ignore[arg-type]
        stop = pair.round_price(bracket.stop, "down" if is_sell else "up")
        best = None if top is None else top.other_side(bracket.side)
        if best is not None and (best <= stop if is_sell else best >= stop):
            return OrderIntent(**common, order_type="market", limit_price=None)  # type: ignore[arg-type]
        return OrderIntent(**common, order_type="stop-loss", trigger=Trigger(stop))  # type: ignore[arg-type]

    def _note_no_rules(self, bracket: Bracket, qty: Decimal, pace: _Pace) -> None:
        """Log once that a bracket has no exit because its pair's rules did not arrive in
        time. No feed follows a pair that an earlier engine had subscribed at run time.
        """
        if pace.no_rules_since is None:
            pace.no_rules_since = self._now.mono
        elif not pace.is_told and self._now.mono - pace.no_rules_since >= RULES_NS:
            pace.is_told = True
            log.error("a bracket has no exit, and its pair is not followed", id=bracket.key, symbol=bracket.symbol,
                      open=f"{qty:f}")  # fmt: skip

    def _note_failure(self, pace: _Pace) -> None:
        """After a stop that was rejected, or canceled by someone else before it filled,
        increase the wait before the next one. Attempts go on while there is something to
        close.
        """
        sent = self._blotter.get(pace.sent) if pace.sent else None
        if sent is None or sent.is_open:
            return
        pace.sent = ""
        if sent.filled_known or sent.intent.time_in_force == "ioc":
            pace.failures = 0
            return
        has_rested = sent.changed_at - sent.submitted_at > RETRY_NS_MAX
        pace.failures = 1 if has_rested else pace.failures + 1
        longest_ns = RATE_RETRY_NS_MAX if sent.error is ErrorKind.RATE_LIMIT else RETRY_NS_MAX
        wait_ns = min(RETRY_NS << min(pace.failures - 1, 10), longest_ns)
        pace.exit_at = MonoNs(self._now.mono + wait_ns)
        log.error("an exit came to nothing and is sent again; until then nothing protects the position", id=sent.key,
                  bracket=sent.parent, state=str(sent.state), reason=sent.reason,
                  wait_s=wait_ns // NS_PER_S)  # fmt: skip

    def _cancel(self, orders: list[TrackedOrder], pace: _Pace) -> None:
        for order in orders:
            self._cancels.want(order.key)
            if order.key == pace.sent:
                pace.sent = ""

    def _end(self, bracket: Bracket, reason: str) -> None:
        self._records.commit([BracketOver(bracket.key, reason, self._now.wall)])
        self._paces.pop(bracket.key, None)
        log.info("bracket over", id=bracket.key, symbol=bracket.symbol, reason=reason, filled=f"{bracket.filled:f}",
                 closed=f"{bracket.closed:f}")  # fmt: skip


def _lots(pair: Pair, qty: Decimal) -> int:
    return decimal_units(pair.round_qty(qty, "down"), pair.qty_decimals)


def _is_fresh(top: TopOfBook, risk: Risk) -> bool:
    return top.is_live and top.age_ns <= risk.limits.book_age_ns_max


def _is_reached(bracket: Bracket, top: TopOfBook) -> bool:
    best = top.other_side(bracket.side)
    return best is not None and not _is_short_of(bracket, best)


def _is_short_of(bracket: Bracket, price: Decimal) -> bool:
    """True if a price is not as good as the target."""
    return price < bracket.target_price if bracket.side == "sell" else price > bracket.target_price
