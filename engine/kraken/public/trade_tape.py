"""The public trades of each pair, each reported once and in order: which are new, repeated
or missed.

A pair's trade ids grow by one per fill, so a gap means a lost message, also across a
reconnect; the snapshot of the last fifty trades then fills it as far as it reaches. Where
REST stands behind the socket (`holds`), what comes after a gap is held until REST has told
the missing trades, or that there are none, so that a gap costs a delay and not a trade.

    next id              ─► new, and what was held behind it
    id beyond a gap      ─► held, while REST is asked for the ids between; else new, and these are missed
    id that was missed   ─► late: reported, and no longer missed
    any other            ─► repeated: counted, not reported again
    … but of a later time, or far away ─► a new numbering began: new

A gap is given up, and its ids are missed, when REST does not know them, or nothing has been
learned for GAP_PATIENCE_NS.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from engine.kraken.public.events import TradePrinted
from engine.kraken.public.messages import TradeData
from engine.timestamps import wall_ns
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

# The newest of a pair, as many as five snapshots hold; one that comes later counts as
# repeated.
MISSED_IDS_KEPT: Final = 256
# Ids, months of the busiest pair; a larger jump in either direction is a new numbering.
GAP_MAX: Final = 10_000_000
HELD_MAX: Final = 1000  # trades of a pair behind a gap; beyond, it is given up
GAP_PATIENCE_NS: Final = 5 * NS_PER_S
# REST is asked for what came after the newest reported trade, and a little before: several
# fills of an order have almost the same time.
SINCE_MARGIN_NS: Final = NS_PER_MS


class _Tape:
    """How far the trades of one pair have been reported."""

    __slots__ = ("gap_at", "held", "missed_ids", "newest_at", "newest_id")

    def __init__(self, newest_id: int, newest_at: WallNs) -> None:
        self.newest_id = newest_id
        # Kraken's time of the latest trade.
        self.newest_at = newest_at
        # Missing ids that may still come, ascending; at most MISSED_IDS_KEPT.
        self.missed_ids: dict[int, None] = {}
        # Trades behind a gap, by id; and when the gap was seen, or a part of it was filled.
        self.held: dict[int, TradePrinted] = {}
        self.gap_at = MonoNs(0)

    def is_far(self, trade_id: int) -> bool:
        """Whether this id belongs to another numbering."""
        return abs(trade_id - self.newest_id) > GAP_MAX

    def lacks(self, trade_id: int) -> bool:
        """Whether this id of our numbering has neither been reported nor is held."""
        is_new = trade_id > self.newest_id and trade_id not in self.held
        return (is_new or trade_id in self.missed_ids) and not self.is_far(trade_id)

    def pass_over(self, trade_id: int) -> int:
        """Remember the ids between the newest trade and this one as missed; returns how
        many they are.
        """
        for missed_id in range(max(self.newest_id + 1, trade_id - MISSED_IDS_KEPT), trade_id):
            self.missed_ids[missed_id] = None
        while len(self.missed_ids) > MISSED_IDS_KEPT:
            del self.missed_ids[next(iter(self.missed_ids))]
        return trade_id - self.newest_id - 1

    def advance(self, event: TradePrinted) -> None:
        """Note that this trade is the newest that was reported."""
        trade = event.trade
        self.newest_id, self.newest_at = trade.trade_id, max(self.newest_at, wall_ns(trade.timestamp))

    def drain(self) -> Iterator[TradePrinted]:
        """Take what is held and follows the newest trade without a gap."""
        while (event := self.held.pop(self.newest_id + 1, None)) is not None:
            self.advance(event)
            yield event
        if not self.held:
            self.gap_at = MonoNs(0)


class Gap(Struct, frozen=True):
    """Missing trades of a pair, to be asked for by REST."""

    symbol: str
    since: WallNs
    """Ask for the trades after this; 0 when the time of the newest is not known."""


class GapGivenUp(Struct, frozen=True):
    """Trade ids that neither the WebSocket nor REST has told."""

    symbol: str
    first_id: int
    count: int


class TradeTape:
    """The trades of all pairs, with counters."""

    def __init__(self, *, holds: bool = False) -> None:
        """`holds`: keep back what comes after a gap, for `fill` will be called with what
        REST knows.
        """
        self.holds = holds
        # Counted: trades reported; ids that never came; trades that were reported before;
        # trades that REST alone has told.
        self.reported = 0
        self.missed = 0
        self.repeated = 0
        self.filled = 0
        # Pairs whose snapshot has come on this connection.
        self._with_snapshot: set[str] = set()
        # Trades of snapshots before the first one that is reported, not yet taken by
        # `take_before`; by pair.
        self._before: dict[str, list[TradeData]] = {}
        # Gaps that were given up, not yet taken by `take_given_up`; one a pair and gap.
        self._given_up: list[GapGivenUp] = []
        self._tapes: dict[str, _Tape] = {}
        # Pairs of which trades are held.
        self._gaps: dict[str, _Tape] = {}

    def forget(self, symbol: str) -> None:
        """Forget a pair's trades: the next one starts a new numbering."""
        self._tapes.pop(symbol, None)
        self._gaps.pop(symbol, None)

    def resume(self, symbol: str, newest_id: int, newest_at: WallNs) -> None:
        """Continue after this trade, the last that another process reported."""
        self.forget(symbol)
        self._tapes[symbol] = _Tape(newest_id, newest_at)

    def newest_id(self, symbol: str) -> int | None:
        """The highest id reported for a pair, or seen in its first snapshot; None before
        any.
        """
        tape = self._tapes.get(symbol)
        return None if tape is None else tape.newest_id

    def take(self, trades: Sequence[TradeData], now: MonoNs) -> list[TradePrinted]:
        """The events of an update: its trades that were not reported before."""
        told: list[TradePrinted] = []
        for trade in trades:
            event = TradePrinted(trade, False, now)
            tape = self._tapes.get(trade.symbol)
            # Hot: nearly every trade is the next one, and nothing is held.
            if tape is not None and trade.trade_id == tape.newest_id + 1 and not tape.held:
                tape.newest_id, at = trade.trade_id, wall_ns(trade.timestamp)
                if at > tape.newest_at:
                    tape.newest_at = at
                self.reported += 1
                told.append(event)
            else:
                told += self._take(event)
        return told

    def take_snapshot(self, trades: Sequence[TradeData], now: MonoNs) -> list[TradePrinted]:
        """The events of a snapshot: its trades that an outage withheld, in the order of
        their ids.

        None for a pair without a reported trade in this numbering: older trades are not
        reported.
        """
        ordered = sorted(trades, key=lambda trade: trade.trade_id)
        self._with_snapshot.update(trade.symbol for trade in ordered)
        before_us = {trade.symbol for trade in ordered if self._is_unknown(trade)}
        told: list[TradePrinted] = []
        for trade in ordered:
            if trade.symbol in before_us:
                told += self._release_all(trade.symbol)
                self.resume(trade.symbol, trade.trade_id, wall_ns(trade.timestamp))
                self._before.setdefault(trade.symbol, []).append(trade)
            else:
                told += self._take(TradePrinted(trade, history=True, received_at=now))
        return told

    def take_before(self) -> list[list[TradeData]]:
        """The trades of snapshots, since the last call, that are not reported because they
        are older than the first of their pair; oldest first.
        """
        before, self._before = list(self._before.values()), {}
        return before

    def begin_connection(self) -> None:
        """Another connection begins: what came in between is in its snapshots."""
        self._with_snapshot.clear()

    def has_snapshot(self, symbol: str) -> bool:
        """Whether the snapshot of a pair has come on this connection."""
        return symbol in self._with_snapshot

    def is_behind(self, symbol: str) -> bool:
        """Whether trades of a pair are held behind a gap."""
        return symbol in self._gaps

    # --- what REST tells

    @property
    def gaps(self) -> list[Gap]:
        """The pairs of which trades are missing and may be had by REST, oldest gap first."""
        found = sorted(self._gaps.items(), key=lambda entry: entry[1].gap_at)
        return [self.gap_of(symbol) for symbol, _ in found]

    def gap_of(self, symbol: str) -> Gap:
        """What to ask REST for to continue a pair, whether or not something is missing."""
        tape = self._tapes.get(symbol)
        return Gap(symbol, WallNs(0 if tape is None else max(0, tape.newest_at - SINCE_MARGIN_NS)))

    def fill(self, symbol: str, trades: Sequence[TradeData], now: MonoNs) -> list[TradePrinted]:
        """The events of a reply of REST to `gap_of`: what the socket has not told, marked.

        The reply is complete up to its newest trade, so an id below that it does not have
        is given up.
        """
        if symbol not in self._tapes:
            return self.take_snapshot(trades, now)
        told: list[TradePrinted] = []
        ordered = sorted(trades, key=lambda trade: trade.trade_id)
        for trade in ordered:
            if self._tapes[symbol].lacks(trade.trade_id):
                self.filled += 1
                told += self._take(TradePrinted(trade, history=True, received_at=now, is_rest=True))
        tape = self._tapes[symbol]
        if told and tape.gap_at:
            tape.gap_at = now
        while tape.held and ordered and tape.newest_id < ordered[-1].trade_id:
            told += self._release(symbol, tape)
        return told

    def give_up(self, now: MonoNs) -> list[TradePrinted]:
        """The events of trades that have been held for too long."""
        told: list[TradePrinted] = []
        for symbol, tape in list(self._gaps.items()):
            if now - tape.gap_at > GAP_PATIENCE_NS:
                told += self._release_all(symbol)
        return told

    def take_given_up(self) -> list[GapGivenUp]:
        """The gaps that were given up since the last call."""
        given_up, self._given_up = self._given_up, []
        return given_up

    # --- one trade

    def _is_unknown(self, trade: TradeData) -> bool:
        tape = self._tapes.get(trade.symbol)
        return tape is None or tape.is_far(trade.trade_id)

    def _take(self, event: TradePrinted) -> list[TradePrinted]:
        """The events of one trade: none, itself, or itself and others with it."""
        trade = event.trade
        symbol, trade_id, at = trade.symbol, trade.trade_id, wall_ns(trade.timestamp)
        tape = self._tapes.get(symbol)
        if tape is None or tape.is_far(trade_id):
            told = self._release_all(symbol)
            self.resume(symbol, trade_id, at)
            self.reported += 1
            return [*told, event]
        if trade_id > tape.newest_id:
            if trade_id > tape.newest_id + 1:
                if self.holds:
                    return self._hold(symbol, tape, event)
                self.missed += tape.pass_over(trade_id)
            tape.advance(event)
            self.reported += 1
            return [event, *self._drain(symbol, tape)] if tape.held else [event]
        if trade_id in tape.missed_ids:
            self.missed -= 1
            del tape.missed_ids[trade_id]
        elif at > tape.newest_at > 0:
            told = self._release_all(symbol)
            self.resume(symbol, trade_id, at)
            self.reported += 1
            return [*told, event]
        else:
            self.repeated += 1
            return []
        self.reported += 1
        return [event]

    def _hold(self, symbol: str, tape: _Tape, event: TradePrinted) -> list[TradePrinted]:
        """Keep a trade behind a gap; returns what is released when too many are held."""
        trade_id = event.trade.trade_id
        if trade_id in tape.held:
            self.repeated += 1
            return []
        tape.held[trade_id] = event
        if symbol not in self._gaps:
            tape.gap_at, self._gaps[symbol] = event.received_at, tape
        return self._release(symbol, tape) if len(tape.held) > HELD_MAX else []

    def _drain(self, symbol: str, tape: _Tape) -> list[TradePrinted]:
        told = list(tape.drain())
        self.reported += len(told)
        if not tape.held:
            self._gaps.pop(symbol, None)
        return told

    def _release(self, symbol: str, tape: _Tape) -> list[TradePrinted]:
        """Give up the first gap of a pair; returns what was held behind it."""
        next_id = min(tape.held)
        count = tape.pass_over(next_id)
        self._given_up.append(GapGivenUp(symbol, next_id - count, count))
        self.missed += count
        tape.newest_id = next_id - 1
        return self._drain(symbol, tape)

    def _release_all(self, symbol: str) -> list[TradePrinted]:
        told: list[TradePrinted] = []
        while (tape := self._gaps.get(symbol)) is not None:
            told += self._release(symbol, tape)
        return told
