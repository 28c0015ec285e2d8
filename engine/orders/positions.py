"""What each strategy holds of each pair, from its own fills, at average cost.

Exact Decimals in quote currency. What is kept is the cost of what is held, not its average price, which is a rounded
quotient: a fill that makes a position larger adds to the cost, one that makes it smaller takes its share of it out and
realises the difference, one that turns it round does both. So what was won and lost in the end is exact.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from msgspec import Struct

from engine.orders.money import add, average, multiply, share, subtract, total_of

ZERO = Decimal(0)


class PositionState(Struct):
    """One strategy's position in one pair."""

    qty: Decimal = ZERO
    """Negative when more was sold than bought. As the account has it: what fills credited, not what they traded."""
    cost: Decimal = ZERO
    """What is held was bought for; negative for a position that was sold."""
    realized: Decimal = ZERO
    """Profit of what was closed, before fees."""
    fees: Decimal = ZERO
    """In quote currency; a fee in the base currency counts at the price of its fill."""

    @property
    def avg_price(self) -> Decimal:
        """0 without a position."""
        return average(self.cost, self.qty) if self.qty else ZERO

    def fill(
        self,
        side: str,
        qty: Decimal,
        price: Decimal,
        fee: Decimal,
        base_fee: Decimal = ZERO,
        base_change: Decimal | None = None,
    ) -> None:
        """Count one fill; `fee` is all of its fees in quote currency, `base_fee` what was taken in the base currency.

        A fee taken in the base currency is as if so much had been sold, at the price of the fill, to pay it.
        `base_change` is what the account's balance changed by, where rounding makes that something else.
        """
        signed = qty if side == "buy" else -qty
        self._trade(signed, price)
        if base_fee:
            self._trade(-base_fee, price)
        self.fees = add(self.fees, fee)
        if base_change is not None:
            self._round(subtract(base_change, subtract(signed, base_fee)))

    def _round(self, change: Decimal) -> None:
        """So much came or went by rounding: nobody paid for it."""
        before, self.qty = self.qty, add(self.qty, change)
        if before and (not self.qty or (self.qty > 0) != (before > 0)):
            self.realized = subtract(self.realized, self.cost)
            self.cost = ZERO

    def _trade(self, signed: Decimal, price: Decimal) -> None:
        held = self.qty
        if held and (held > 0) != (signed > 0):
            closing = signed if abs(signed) < abs(held) else -held
            released = share(self.cost, -closing, held)
            self.realized = subtract(self.realized, add(multiply(closing, price), released))
            self.cost = subtract(self.cost, released)
            self.qty = add(held, closing)
            signed = subtract(signed, closing)
        if signed:
            self.cost = add(self.cost, multiply(signed, price))
            self.qty = add(self.qty, signed)
        if not self.qty:
            self.qty = self.cost = ZERO

    def unrealized(self, mark: Decimal | None) -> Decimal:
        """What closing everything at `mark` would add; 0 without a price."""
        return ZERO if mark is None or self.qty == 0 else subtract(multiply(mark, self.qty), self.cost)

    def total(self, mark: Decimal | None) -> Decimal:
        """Everything won or lost so far, after fees, were it closed at `mark`."""
        return subtract(add(self.realized, self.unrealized(mark)), self.fees)


class Positions:
    """All positions, by strategy and pair."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], PositionState] = {}

    def of(self, strategy: str, symbol: str) -> PositionState:
        """The position, which is made when there is none yet."""
        return self._states.setdefault((strategy, symbol), PositionState())

    def qty(self, strategy: str, symbol: str) -> Decimal:
        """What is held; 0 where nothing ever was."""
        state = self._states.get((strategy, symbol))
        return ZERO if state is None else state.qty

    def total_qty(self, symbol: str) -> Decimal:
        """What all strategies together hold of a pair."""
        return total_of(state.qty for (_, held), state in self._states.items() if held == symbol)

    def symbols_held(self) -> set[str]:
        """Pairs of which some strategy holds something."""
        return {symbol for (_, symbol), state in self._states.items() if state.qty}

    def unpriced(self, marks: Mapping[str, Decimal]) -> list[str]:
        """Pairs of which something is held, and that have no mark."""
        return sorted({symbol for (_, symbol), state in self._states.items() if state.qty and symbol not in marks})

    def totals(self, marks: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Won or lost after fees, by quote currency, with what is held valued at `marks` (by pair), or else at cost."""
        totals: dict[str, Decimal] = {}
        for (_, symbol), state in self._states.items():
            quote = symbol.partition("/")[2]
            totals[quote] = add(totals.get(quote, ZERO), state.total(marks.get(symbol)))
        return totals

    def items(self) -> Iterator[tuple[str, str, PositionState]]:
        """Strategy, pair and position."""
        for (strategy, symbol), state in self._states.items():
            yield strategy, symbol, state

    def load(self, rows: list[tuple[str, str, PositionState]]) -> None:
        """Begin with these."""
        self._states = {(strategy, symbol): state for strategy, symbol, state in rows}


def fee_in_quote(symbol: str, fees: tuple[tuple[str, Decimal], ...], price: Decimal) -> Decimal:
    """A fill's fees in its quote currency; a fee in a third currency has no price here and counts as nothing."""
    base, _, quote = symbol.partition("/")
    total = ZERO
    for asset, amount in fees:
        if asset == quote:
            total = add(total, amount)
        elif asset == base:
            total = add(total, multiply(amount, price))
    return total


def fee_in_base(symbol: str, fees: tuple[tuple[str, Decimal], ...]) -> Decimal:
    """What of a fill's fees was taken in its base currency."""
    base = symbol.partition("/")[0]
    return total_of(amount for asset, amount in fees if asset == base)
