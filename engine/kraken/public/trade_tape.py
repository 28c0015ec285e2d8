"""The public trades of each pair, each reported once: which are new, repeated or missed.

A pair's trade ids grow by one per fill, so a gap means a lost message, also across a
reconnect; the snapshot of the last fifty trades then fills it as far as it reaches.

    id above the newest  ─► new; the ids between are missed
    id that was missed   ─► late: reported, and no longer missed
    any other            ─► repeated: counted, not reported again
    … but of a later time, or far away ─► a new numbering began: new
"""

from collections.abc import Sequence
from typing import Final

from engine.kraken.public.events import TradePrinted
from engine.kraken.public.messages import TradeData
from engine.timestamps import wall_ns
from engine.units import WallNs

# The newest of a pair, as many as five snapshots hold; one that comes later counts as
# repeated.
MISSED_IDS_KEPT: Final = 256
# Ids, months of the busiest pair; a larger jump in either direction is a new numbering.
GAP_MAX: Final = 10_000_000


class _Tape:
    """How far the trades of one pair have been reported."""

    __slots__ = ("missed_ids", "newest_at", "newest_id")

    def __init__(self, newest_id: int, newest_at: WallNs) -> None:
        self.newest_id = newest_id
        # Kraken's time of the latest trade.
        self.newest_at = newest_at
        # Missing ids that may still come, ascending; at most MISSED_IDS_KEPT.
        self.missed_ids: dict[int, None] = {}

    def is_far(self, trade_id: int) -> bool:
        """Whether this id belongs to another numbering."""
        return abs(trade_id - self.newest_id) > GAP_MAX

    def pass_over(self, trade_id: int) -> None:
        """Remember the ids between the newest trade and this one as missed."""
        for missed_id in range(max(self.newest_id + 1, trade_id - MISSED_IDS_KEPT), trade_id):
            self.missed_ids[missed_id] = None
        while len(self.missed_ids) > MISSED_IDS_KEPT:
            del self.missed_ids[next(iter(self.missed_ids))]


class TradeTape:
    """The trades of all pairs, with counters."""

    def __init__(self) -> None:
        # Counted: trades reported; ids that never came; trades that were reported before.
        self.reported = 0
        self.missed = 0
        self.repeated = 0
        self._tapes: dict[str, _Tape] = {}

    def forget(self, symbol: str) -> None:
        """Forget a pair's trades: the next one starts a new numbering."""
        self._tapes.pop(symbol, None)

    def resume(self, symbol: str, newest_id: int, newest_at: WallNs) -> None:
        """Continue after this trade, the last that another process reported."""
        self._tapes[symbol] = _Tape(newest_id, newest_at)

    def newest_id(self, symbol: str) -> int | None:
        """The highest id reported for a pair, or seen in its first snapshot; None before
        any.
        """
        tape = self._tapes.get(symbol)
        return None if tape is None else tape.newest_id

    def take(self, trades: Sequence[TradeData]) -> list[TradePrinted]:
        """The events of an update: its trades that were not reported before."""
        return [TradePrinted(trade) for trade in trades if self._is_new(trade)]

    def take_snapshot(self, trades: Sequence[TradeData]) -> list[TradePrinted]:
        """The events of a snapshot: its trades that an outage withheld, in the order of
        their ids.

        None for a pair without a reported trade in this numbering: older trades are not
        reported.
        """
        ordered = sorted(trades, key=lambda trade: trade.trade_id)
        before_us = {trade.symbol for trade in ordered if self._is_unknown(trade)}
        for trade in ordered:
            if trade.symbol in before_us:
                self.resume(trade.symbol, trade.trade_id, wall_ns(trade.timestamp))
        return [
            TradePrinted(trade, history=True)
            for trade in ordered
            if trade.symbol not in before_us and self._is_new(trade)
        ]

    def _is_unknown(self, trade: TradeData) -> bool:
        tape = self._tapes.get(trade.symbol)
        return tape is None or tape.is_far(trade.trade_id)

    def _is_new(self, trade: TradeData) -> bool:
        trade_id, at = trade.trade_id, wall_ns(trade.timestamp)
        tape = self._tapes.get(trade.symbol)
        if tape is None or tape.is_far(trade_id):
            self.resume(trade.symbol, trade_id, at)
        elif trade_id > tape.newest_id:
            self.missed += trade_id - tape.newest_id - 1
            tape.pass_over(trade_id)
            tape.newest_id, tape.newest_at = trade_id, max(tape.newest_at, at)
        elif trade_id in tape.missed_ids:
            self.missed -= 1
            del tape.missed_ids[trade_id]
        elif at > tape.newest_at > 0:
            self.resume(trade.symbol, trade_id, at)
        else:
            self.repeated += 1
            return False
        self.reported += 1
        return True
