"""Watches one run: at each look a picture of what a terminal shows.

    summary (counters, boards, status board) ─┐
    report rings ─► OrderTape ────────────────┼─► Watcher.look ─► Picture
    board of the chosen pair ─► ladder, queue ┘

It reads shared memory alone, so it may be in any process; what it remembers is bounded.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from engine.processes.freshness import Freshness
from engine.processes.run_view import ShardView
from engine.records import BookTop, Source, received_at_of
from engine.ring import Memory
from engine.screen.ladder import LadderRow, ladder_rows
from engine.screen.order_tape import OrderTape, ShownFill, ShownOrder
from engine.screen.queue_ahead import QueueAhead
from engine.screen.rows import MoneyRow, money_rows
from engine.units import NS_PER_S, MonoNs

PNL_EVERY_NS: Final = NS_PER_S
PNL_KEPT: Final = 900  # a quarter of an hour, a value a second
LEVELS_MAX: Final = 25  # of a ladder, a side


class Picture(Struct, frozen=True):
    """What is shown of one moment."""

    summary: Mapping[str, Any]
    symbol: str
    """The chosen pair; empty where there is none."""
    ladder: Sequence[LadderRow]
    book: BookTop | None
    """The ladder's book."""
    age_s: float | None
    """How old that book is, by evidence; None without one."""
    rates: Mapping[str, float]
    """Book messages a second of each pair, of the last second or so; empty at first."""
    orders: Sequence[ShownOrder]
    """Open ones, newest first; then some that have ended, newest first."""
    ahead: Mapping[str, Decimal | None]
    """By key of an order that rests in a book: the most that others have ahead of it; None
    while unknown."""
    fills: Sequence[ShownFill]
    """Newest first."""
    pnl: Sequence[float]
    """Profit and loss after fees, a value a second, newest last."""
    money: Sequence[MoneyRow]


class Watcher:
    """Remembers what a single look cannot show."""

    def __init__(self, shards: Sequence[ShardView], report_rings: Mapping[str, Memory]) -> None:
        """`report_rings`: of each strategy; none for an engine that does not trade."""
        self._shards = shards
        # Where each pair is: pairs come and go at run time.
        self._places: dict[str, tuple[ShardView, int]] = {}
        self.tape = OrderTape(report_rings)
        # By pair with open orders of ours.
        self._queues: dict[str, QueueAhead] = {}
        self._pnl: deque[float] = deque(maxlen=PNL_KEPT)
        self._pnl_at = MonoNs(-PNL_EVERY_NS)
        # Book messages of each pair, and when they were counted.
        self._updates: dict[str, int] = {}
        self._updates_at = MonoNs(0)
        self._rates: dict[str, float] = {}

    def look(self, summary: Mapping[str, Any], symbol: str, now: MonoNs) -> Picture:
        """The picture at `now`; without a pair of this name, of the first one."""
        self.tape.poll()
        self._find_places()
        symbols = summary["symbols"]
        if symbol not in symbols:
            symbol = next(iter(symbols), "")
        open_orders = sorted(self.tape.open.values(), key=lambda order: order.changed_at, reverse=True)
        self._follow_queues(open_orders, now)
        book, age_s = self._book(symbol, now)
        ours = [order for order in open_orders if order.symbol == symbol]
        money = money_rows(summary)
        self._note_pnl(money, now)
        self._note_rates(symbols, now)
        return Picture(
            summary=summary,
            symbol=symbol,
            ladder=[] if book is None else ladder_rows(book, ours, LEVELS_MAX, self._ahead_max),
            book=book,
            age_s=age_s,
            rates=self._rates,
            orders=[*open_orders, *reversed(self.tape.ended)],
            ahead={order.key: self._ahead_max(order.key) for order in open_orders if order.rests},
            fills=list(reversed(self.tape.fills)),
            pnl=list(self._pnl),
            money=money,
        )

    def _follow_queues(self, orders: Sequence[ShownOrder], now: MonoNs) -> None:
        by_pair: dict[str, list[ShownOrder]] = {}
        for order in orders:
            if order.rests:
                by_pair.setdefault(order.symbol, []).append(order)
        self._queues = {symbol: self._queues.get(symbol) or QueueAhead() for symbol in by_pair}
        for symbol, queue in self._queues.items():
            queue.look(now, self._book(symbol, now)[0], by_pair[symbol])

    def _ahead_max(self, key: str) -> Decimal | None:
        order = self.tape.open.get(key)
        queue = self._queues.get(order.symbol) if order is not None else None
        return None if queue is None else queue.ahead_max(key)

    def _find_places(self) -> None:
        self._places = {
            row.symbol: (watched, index)
            for watched in self._shards
            for index, row in enumerate(watched.rows)
            if row.symbol
        }

    def _book(self, symbol: str, now: MonoNs) -> tuple[BookTop | None, float | None]:
        """The newest book of a pair, of REST while that serves it, and how old it is."""
        if symbol not in self._places:
            return None, None
        watched, index = self._places[symbol]
        freshness = Freshness(watched.counters, index)
        by_rest = freshness.source("book") is Source.REST
        record = watched.board.read(watched.shard.rest_book_slot(index) if by_rest else index)
        if record is None:
            return None, None
        known_at = freshness.known_at("book", received_at_of(record))
        return BookTop(symbol, record), max(0, now - known_at) / NS_PER_S

    def _note_pnl(self, money: Sequence[MoneyRow], now: MonoNs) -> None:
        if money and now - self._pnl_at >= PNL_EVERY_NS:
            self._pnl.append(float(money[0].net))
            self._pnl_at = now

    def _note_rates(self, symbols: Mapping[str, Any], now: MonoNs) -> None:
        if now - self._updates_at < NS_PER_S:
            return
        took_s = (now - self._updates_at) / NS_PER_S
        updates = {symbol: pair["updates"] for symbol, pair in symbols.items()}
        self._rates = {
            symbol: (count - self._updates[symbol]) / took_s
            for symbol, count in updates.items()
            if symbol in self._updates
        }
        self._updates, self._updates_at = updates, now
