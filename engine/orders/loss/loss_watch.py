"""Watches the day's loss: values what is held, and halts trading when the loss reaches its
limit.

    a price of every pair ─► totals ─► a new day? ─► lost since it began ─► halt

A position is worth the mid of its book; of a book with one side, what it could be closed at
there, else its last price, and if that grows old, because nobody follows the book any more,
say, the log tells. A pair without any is waited for when the router starts; later, or if
this run does not follow it, its price of the day's beginning counts, else what the position
has cost. So one pair without a price does not lift the limit for all.

The day is Kraken's, since our clock may be wrong; before Kraken has told the time, it is
ours, and a day that was begun so by mistake ends as soon as Kraken tells.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, Protocol

import structlog
from msgspec.structs import replace

from engine.instant import Instant
from engine.orders.blotter import Blotter
from engine.orders.journal_records import DayBegan, Record
from engine.orders.loss.daily_loss import DailyLoss, Day
from engine.orders.money import subtract
from engine.orders.risk import TopOfBook
from engine.units import NS_PER_S, MonoNs, WallNs

CHECK_NS: Final = NS_PER_S
AWAITED_NS_MAX: Final = 60 * NS_PER_S  # feeds begin within seconds of the router
ZERO: Final = Decimal(0)

log = structlog.get_logger("order_router")


class Books(Protocol):
    """Current books of the pairs that this run follows."""

    def follows_book(self, symbol: str) -> bool: ...

    def top(self, symbol: str) -> TopOfBook | None: ...

    def mark(self, symbol: str) -> Decimal | None: ...


class VenueTime(Protocol):
    """What time it is at Kraken."""

    @property
    def is_told(self) -> bool:
        """False while our own clock stands in."""
        ...

    def best(self) -> WallNs: ...


class LossWatch:
    """The day's loss of all strategies together."""

    def __init__(
        self,
        loss_max: Decimal | None,
        blotter: Blotter,
        books: Books,
        now: Instant,
        kraken: VenueTime,
        *,
        commit: Callable[[list[Record]], None],
        halt: Callable[[str], object],
    ) -> None:
        """`halt` is called with the reason when the loss has reached `loss_max`."""
        self._positions = blotter.positions
        self._books = books
        self._now = now
        self._kraken = kraken
        self._commit = commit
        self._halt = halt
        self._daily = DailyLoss(loss_max, Day(blotter.day, blotter.day_totals, blotter.day_marks))
        # True while trading is halted and the person who halted or last resumed it has been
        # informed of the loss.
        self._is_told = blotter.mode == "HALTED"
        # True when a person has resumed while a price was awaited: the loss counts anew
        # once it is known.
        self._is_resumed = False
        self._look_at = MonoNs(0)
        self._awaited_until = MonoNs(now.mono + AWAITED_NS_MAX)
        # The last price of each pair with a position.
        self._last: dict[str, Decimal] = {}
        # When the book of each such pair was live last.
        self._live_at: dict[str, MonoNs] = {}
        # Pairs with a position and without a price, as they were told last.
        self._unpriced: list[str] = []

    # --- time

    def watch(self, now: MonoNs) -> None:
        """Check whether a day begins, and whether the loss has reached its limit; once a
        second.
        """
        if now < self._look_at:
            return
        self._look_at = MonoNs(now + CHECK_NS)
        if (prices := self._prices()) is None:
            return
        totals = self._positions.totals(prices)
        at = self._kraken.best()
        if self._daily.begins(at, is_certain=self._kraken.is_told):
            self._daily.begin(totals, at, prices)
            self._commit([self._day_began()])
        if self._is_resumed:
            self._count_anew(totals)
        why = self._daily.refusal(totals)
        if why is None:
            self._is_told = False
        elif not self._is_told:
            self._is_told = True
            log.critical("trading halted", reason=why)
            self._halt(why)

    # --- for what is no loss of the day

    def resume(self) -> None:
        """Continue after a halt, at a person's request: a loss that has reached its limit
        is counted from zero again, with the same limit; from the first prices, if they are
        awaited.
        """
        self._is_told, self._is_resumed = False, True
        if (prices := self._prices()) is not None:
            self._count_anew(self._positions.totals(prices))

    def _count_anew(self, totals: Mapping[str, Decimal]) -> None:
        self._is_resumed = False
        if reached := self._daily.reached(totals):
            for quote, lost in reached.items():
                self._daily.rebase(quote, -lost)
            self._commit([self._day_began()])
            log.warning("the day's loss counts anew", lost={quote: f"{lost:f}" for quote, lost in reached.items()})

    def rebased(self, symbol: str, gain: Decimal) -> Record:
        """The records to commit because a pair's profit has grown by `gain` that the day
        has not made.
        """
        self._daily.rebase(symbol.partition("/")[2], gain)
        return self._day_began()

    def gain_of_beginning(self, strategy: str, symbol: str, qty: Decimal) -> Decimal | None:
        """The increase of the profit once a position has begun with `qty`; None while it is
        unknown, because a price is awaited.
        """
        state = self._positions.of(strategy, symbol)
        begun = replace(state)
        begun.begin_with(qty)
        if (begun.cost, begun.known_qty) == (state.cost, state.known_qty):
            return ZERO
        price = self._price_or_older(symbol)
        if price is None and self._daily.is_limited and self._is_awaited(symbol):
            return None
        return subtract(begun.total(price), state.total(price))

    def _day_began(self) -> Record:
        day = self._daily.day
        return DayBegan(day.number, dict(day.at_start), self._now.wall, dict(day.marks))

    # --- prices

    def price(self, symbol: str) -> Decimal | None:
        """The price at which a position in a pair is valued, from its book; None if there
        never was one.
        """
        mark = self._books.mark(symbol)
        if mark is None:
            return self._one_sided(symbol)
        self._last[symbol] = mark
        return mark

    def _one_sided(self, symbol: str) -> Decimal | None:
        """The value of a position while a side of its book is empty: the price at which it
        could be closed, else its last price, or the other side's price if that is lower.
        """
        top, last = self._books.top(symbol), self._last.get(symbol)
        if top is None or not top.is_live:
            return last
        is_long = self._positions.total_qty(symbol) >= 0
        closing, opening = ("sell", "buy") if is_long else ("buy", "sell")
        if (best := top.other_side(closing)) is not None:
            self._last[symbol] = best
            return best
        bound = top.other_side(opening)
        if last is None or bound is None:
            return last
        return min(last, bound) if is_long else max(last, bound)

    def _is_fresh(self, symbol: str) -> bool:
        """True if a pair's book is live, or was a minute ago."""
        top, now = self._books.top(symbol), self._now.mono
        if top is not None and top.is_live:
            self._live_at[symbol] = now
        return now - self._live_at.setdefault(symbol, now) < AWAITED_NS_MAX

    def _is_awaited(self, symbol: str) -> bool:
        return self._now.mono < self._awaited_until and self._books.follows_book(symbol)

    def _price_or_older(self, symbol: str) -> Decimal | None:
        """A pair's price, or where none is awaited its price at the beginning of the day."""
        price = self.price(symbol)
        return self._daily.day.marks.get(symbol) if price is None and not self._is_awaited(symbol) else price

    def _prices(self) -> Mapping[str, Decimal] | None:
        """The prices of all pairs that are held; a pair without a price counts at cost.
        None while one is awaited: without it a loss could be an error.
        """
        prices: dict[str, Decimal] = {}
        unpriced: list[str] = []
        awaited: list[str] = []
        for symbol in sorted(self._positions.symbols_held()):
            if (price := self._price_or_older(symbol)) is not None:
                prices[symbol] = price
            if symbol not in self._last:
                (awaited if self._is_awaited(symbol) else unpriced).append(symbol)
            elif not self._is_fresh(symbol):
                unpriced.append(symbol)
        if awaited:
            if self._daily.is_limited:
                log.warning("the day's loss is not known", reason=f"no price yet of {', '.join(awaited)}")
            return None
        if unpriced and not self._unpriced:
            log.warning("positions have no price for the day's loss", symbols=unpriced)
        self._unpriced = unpriced
        return prices
