"""Kraken's trades of each pair, told once: what is new, what is told again, what never came.

A trade id grows by one a fill, per pair, for ever: a gap is a lost message, across a reconnect too, where the snapshot
of the last fifty trades fills it as far as it reaches.

    id beyond the newest ─► new; what lies between is missed
    id that was missed   ─► late: told, and missed no longer
    any other            ─► told before: counted, not told again
    … but of a later time, or far away ─► the numbers began anew: new
"""

from collections.abc import Sequence
from typing import Final

from engine.kraken.public.events import TradePrinted
from engine.kraken.public.messages import TradeData
from engine.timestamps import wall_ns
from engine.units import WallNs

MISSED_IDS_KEPT: Final = 256  # of a pair, the newest: five snapshots' worth; one that comes later counts as told before
GAP_MAX: Final = 10_000_000  # ids: months of the busiest pair. A longer jump, either way, is another numbering


class _Tape:
    """How far the trades of one pair have been told."""

    __slots__ = ("missed_ids", "newest_at", "newest_id")

    def __init__(self, newest_id: int, newest_at: WallNs) -> None:
        self.newest_id = newest_id
        # Kraken's time of the latest trade.
        self.newest_at = newest_at
        # Ids that were passed over and may still come, in their order; MISSED_IDS_KEPT of them at most.
        self.missed_ids: dict[int, None] = {}

    def is_far(self, trade_id: int) -> bool:
        """Is this an id of another numbering?"""
        return abs(trade_id - self.newest_id) > GAP_MAX

    def pass_over(self, trade_id: int) -> None:
        """Remember what lies between the newest trade and this one."""
        for missed_id in range(max(self.newest_id + 1, trade_id - MISSED_IDS_KEPT), trade_id):
            self.missed_ids[missed_id] = None
        while len(self.missed_ids) > MISSED_IDS_KEPT:
            del self.missed_ids[next(iter(self.missed_ids))]


class TradeTape:
    """The tapes of all pairs, and what was counted of them."""

    def __init__(self) -> None:
        # Trades told; ids that never came; trades that were told before.
        self.told = 0
        self.missed = 0
        self.repeated = 0
        self._tapes: dict[str, _Tape] = {}

    def forget(self, symbol: str) -> None:
        """Begin anew: nothing that was told bears on what comes now."""
        self._tapes.pop(symbol, None)

    def resume(self, symbol: str, newest_id: int, newest_at: WallNs) -> None:
        """Go on after this trade, which somebody else has told."""
        self._tapes[symbol] = _Tape(newest_id, newest_at)

    def newest_id(self, symbol: str) -> int | None:
        """The highest id that was told of a pair, or stood in a first snapshot; None before any."""
        tape = self._tapes.get(symbol)
        return None if tape is None else tape.newest_id

    def take(self, trades: Sequence[TradeData]) -> list[TradePrinted]:
        """An update: those of its trades that are to be told."""
        return [TradePrinted(trade) for trade in trades if self._is_to_be_told(trade)]

    def take_snapshot(self, trades: Sequence[TradeData]) -> list[TradePrinted]:
        """A snapshot: those of its trades, in the order of their ids, that an outage kept from us.

        Of a pair of which nothing has been told, in this numbering, none: what was before we came is nobody's news.
        """
        ordered = sorted(trades, key=lambda trade: trade.trade_id)
        before_us = {trade.symbol for trade in ordered if self._is_unknown(trade)}
        for trade in ordered:
            if trade.symbol in before_us:
                self.resume(trade.symbol, trade.trade_id, wall_ns(trade.timestamp))
        return [
            TradePrinted(trade, history=True)
            for trade in ordered
            if trade.symbol not in before_us and self._is_to_be_told(trade)
        ]

    def _is_unknown(self, trade: TradeData) -> bool:
        tape = self._tapes.get(trade.symbol)
        return tape is None or tape.is_far(trade.trade_id)

    def _is_to_be_told(self, trade: TradeData) -> bool:
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
        self.told += 1
        return True
