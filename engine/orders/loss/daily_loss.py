"""The loss since the UTC day began, by quote currency, and its limit: numbers alone."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from engine.orders.money import add, subtract
from engine.units import NS_PER_S, WallNs

NS_PER_DAY: Final = 86_400 * NS_PER_S
ZERO: Final = Decimal(0)


class Day(Struct):
    """The values at the beginning of a day."""

    number: int = 0
    """Of the UTC day since 1970."""
    at_start: dict[str, Decimal] = {}
    """`Positions.totals` at its beginning."""
    marks: dict[str, Decimal] = {}
    """The prices, by pair, that positions were valued at then."""


class DailyLoss:
    """The loss since the UTC day began, by quote currency: realized and unrealized, after
    fees.
    """

    def __init__(self, loss_max: Decimal | None, day: Day | None = None) -> None:
        """`day` holds the beginning of the day according to the journal."""
        self._loss_max = loss_max
        self.day = day or Day()
        # The day that was counted before it, in this process's life.
        self._before: Day | None = None

    @property
    def is_limited(self) -> bool:
        """True if there is a limit."""
        return self._loss_max is not None

    def begins(self, now: WallNs, *, is_certain: bool = False) -> bool:
        """True if `now` is in a later day than the counted one. Also true for an earlier
        day if the time is certain: then the counted day was begun by mistake. Setting our
        clock back does not begin a day again.
        """
        day = now // NS_PER_DAY
        return day > self.day.number or (is_certain and day < self.day.number)

    def begin(self, totals: Mapping[str, Decimal], now: WallNs, marks: Mapping[str, Decimal] | None = None) -> None:
        """Begin a day from these totals, valued at these prices. If the last day was begun
        by mistake, the day before it continues with its own beginning.
        """
        before, self._before = self._before, self.day
        number = now // NS_PER_DAY
        if before is not None and before.number == number:
            self.day, self._before = before, None
        else:
            self.day = Day(number, dict(totals), dict(marks or {}))

    def rebase(self, quote: str, change: Decimal) -> None:
        """Add profit that became known only now to the day's beginning, so that it is no
        profit or loss of the day.
        """
        for day in (self.day, self._before):
            if day is not None:
                day.at_start = day.at_start | {quote: add(day.at_start.get(quote, ZERO), change)}

    def lost(self, totals: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """The loss since the day began, by quote currency; a gain is negative."""
        return {quote: subtract(self.day.at_start.get(quote, ZERO), total) for quote, total in totals.items()}

    def refusal(self, totals: Mapping[str, Decimal]) -> str | None:
        """Why trading must be halted; None if the loss is within its limit."""
        for quote, lost in sorted(self.reached(totals).items()):
            return f"{lost:f} {quote} lost today, as much as risk.daily_loss_max = {self._loss_max:f} allows"
        return None

    def reached(self, totals: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """The losses that have reached the limit, by quote currency."""
        most = self._loss_max
        return {} if most is None else {quote: lost for quote, lost in self.lost(totals).items() if lost >= most}
