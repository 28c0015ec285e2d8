"""Positions that begin with what the account holds: `positions = "account"`.

    balances told, executions complete, nothing in flight ─► PositionBegan ─► position, report ─► orders are taken

Once a run and pair, since deposits, withdrawals and trades of others lie between two runs.
The record is in the journal, so a router that starts again in the same run begins no
position a second time.

Balances and executions are two channels, and a fill may have come on one of them alone. So
nothing begins while an order that moves the asset is in doubt, lacks fills, or has a fill
whose closing order nobody has told of; and while one is open or the asset has just moved,
not before Kraken was heard a while after that. REST's answers show no common moment, so
positions do not begin while it stands in.

What is gone since the last run is no profit or loss of the day, and takes none with it. So
a position that had cost something, and is smaller now, waits for a price.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final

import structlog

from engine.instant import Instant
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.executions import AccountFacts
from engine.order_router.core.gate import TradingGate
from engine.orders.journal_records import PositionBegan, Record
from engine.orders.life import OrderState
from engine.orders.loss.loss_watch import LossWatch
from engine.orders.money import subtract
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import AccountFact, BalanceFact, ExecutionFact
from engine.units import NS_PER_S, MonoNs

QUIET_NS: Final = NS_PER_S  # Kraken tells a fill on both channels within milliseconds
ZERO: Final = Decimal(0)

log = structlog.get_logger("order_router")


class Holdings:
    """The positions of this run that have not begun yet."""

    def __init__(
        self,
        holders: Mapping[str, tuple[str, ...]],
        *,
        records: OrderRecords,
        gate: TradingGate,
        account: AccountFacts,
        loss: LossWatch,
        now: Instant,
        moved: Callable[[str], None],
        given_up: Callable[[str], Decimal],
    ) -> None:
        """`holders`: the strategies whose positions begin with the account's holdings, each
        with its pairs. `moved` is called with a pair whose position has begun. `given_up`
        returns the filled quantity of an order for which Kraken has no closing order.
        """
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._account = account
        self._loss = loss
        self._now = now
        self._moved = moved
        self._given_up = given_up
        began = self._blotter.began
        self._waiting = {(who, symbol) for who, symbols in holders.items() for symbol in symbols} - began
        # When Kraken last told that an asset moved, beside the snapshots.
        self._moved_at: dict[str, MonoNs] = {}
        records.is_position_known = self.is_known
        self._note_waiting()

    def is_known(self, strategy: str, symbol: str) -> bool:
        """False for a position that is still to begin with what the account holds."""
        return (strategy, symbol) not in self._waiting

    @property
    def waiting(self) -> list[tuple[str, str]]:
        """The positions that are not known yet, as (strategy, pair)."""
        return sorted(self._waiting)

    def saw(self, fact: AccountFact) -> None:
        """Record the assets that a fact concerns; call it before `look`."""
        if not self._waiting:
            return
        match fact:
            case BalanceFact(asset=asset, is_snapshot=False):
                self._moved_at[asset] = self._now.mono
            case ExecutionFact(exec_type="trade", symbol=symbol) if symbol and not fact.is_snapshot:
                for asset in symbol.split("/"):
                    self._moved_at[asset] = self._now.mono

    def look(self) -> None:
        """Begin the positions that can begin."""
        if not self._waiting or not self._records.balances.is_complete or self._account.unbroken_since is None:
            return
        for strategy, symbol in sorted(self._waiting):
            asset = symbol.partition("/")[0]
            if self._is_at_rest(asset):
                self._begin(strategy, symbol, asset)
        self._note_waiting()

    def _begin(self, strategy: str, symbol: str, asset: str) -> None:
        others = self._blotter.positions.claimed(asset, but=(strategy, symbol))
        total = self._records.balances.total(asset)
        qty = max(subtract(total, others), ZERO)
        gain = self._loss.gain_of_beginning(strategy, symbol, qty)
        if gain is None:
            return
        records: list[Record] = [PositionBegan(strategy, symbol, qty, self._now.wall)]
        if gain:
            records.append(self._loss.rebased(symbol, gain))
        self._waiting.discard((strategy, symbol))
        self._records.commit(records)
        self._moved(symbol)
        self._records.report_position(strategy, symbol)
        log.info("position begins with what the account holds", strategy=strategy, symbol=symbol, qty=f"{qty:f}",
                 account=f"{total:f}", claimed_by_others=f"{others:f}")  # fmt: skip

    def _is_at_rest(self, asset: str) -> bool:
        """True if no fill can be in the asset's balance alone, or in positions alone."""
        if self._has_unknown_closing_order(asset):
            return False
        is_open = False
        for order in self._orders_of(asset):
            if order.fills_missing or order.state in (OrderState.SENT, OrderState.UNKNOWN):
                return False
            if order.symbol in self._gate.uncertain:
                return False
            is_open = is_open or order.is_open
        if not is_open and asset not in self._moved_at:
            return True
        since = max(self._account.unbroken_since or MonoNs(0), self._moved_at.get(asset, MonoNs(0)))
        return self._account.is_complete_until(MonoNs(since + QUIET_NS))

    def _has_unknown_closing_order(self, asset: str) -> bool:
        """True if Kraken may have created and filled a closing order that has not been
        reported: the balance would include its fill, and the position would count it again
        later.
        """
        unclosed = self._blotter.unclosed()
        orders = (self._blotter.get(key) for key, qty in unclosed.items() if qty > self._given_up(key))
        return any(order is not None and asset in order.symbol.split("/") for order in orders)

    def _orders_of(self, asset: str) -> Iterator[TrackedOrder]:
        """Our orders that may move an asset: the open ones, and those with fills missing."""
        ended = (order for order in self._blotter.lacking_fills.values() if not order.is_open)
        for order in (*self._blotter.open.values(), *ended):
            if not order.is_external and asset in order.symbol.split("/"):
                yield order

    def _note_waiting(self) -> None:
        self._gate.unheld = frozenset(symbol for _, symbol in self._waiting)
