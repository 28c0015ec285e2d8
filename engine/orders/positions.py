"""The position of each strategy in each pair, from its own fills, at average cost, and from
what the account held when the run began where it is configured so.

Exact Decimals in quote currency. A position keeps the cost of what is held, not its average
price, which is a rounded quotient. A fill that enlarges a position adds to the cost; one
that reduces it releases its share of the cost and realizes the difference; one that
reverses it does both. So the final profit is exact.

What the account held has no known cost. It is kept apart: what reduces a position takes
first what was bought at a known cost, and only that realizes a profit or is valued.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice

from msgspec import Struct

from engine.orders.money import add, average, multiply, plain, share, subtract, total_of

ZERO = Decimal(0)


class PositionState(Struct):
    """One strategy's position in one pair."""

    qty: Decimal = ZERO
    """Negative when more was sold than bought. What fills credited to the account, not what
    they traded."""
    cost: Decimal = ZERO
    """Paid for what is held, as far as it is known; negative for a position that was sold."""
    realized: Decimal = ZERO
    """Profit of what was closed, before fees."""
    fees: Decimal = ZERO
    """In quote currency; a fee in the base currency counts at the price of its fill."""
    unknown_cost_qty: Decimal = ZERO
    """The part of `qty` that the account held before, at no known cost; never negative."""

    @property
    def avg_price(self) -> Decimal | None:
        """In quote currency; 0 without a position, None while the cost of a part of it is
        unknown."""
        if self.unknown_cost_qty:
            return None
        return average(self.cost, self.qty) if self.qty else ZERO

    @property
    def known_qty(self) -> Decimal:
        """The part of `qty` of which the cost is known."""
        return subtract(self.qty, self.unknown_cost_qty)

    def begin_with(self, qty: Decimal) -> None:
        """Hold `qty`, which is not negative, from now on: what is more than before has no
        known cost, what is less is gone without a profit, that of no known cost first.
        """
        if self.qty < 0:  # it was sold from what the account held
            self.qty = self.cost = ZERO
        more = subtract(qty, self.qty)
        if more >= 0:
            self.unknown_cost_qty = add(self.unknown_cost_qty, more)
        else:
            unknown = min(self.unknown_cost_qty, -more)
            known = self.known_qty
            if gone := subtract(-more, unknown):
                self.cost = subtract(self.cost, share(self.cost, gone, known))
            self.unknown_cost_qty = subtract(self.unknown_cost_qty, unknown)
        self.qty = qty

    def fill(
        self,
        side: str,
        qty: Decimal,
        price: Decimal,
        fee: Decimal,
        base_fee: Decimal = ZERO,
        base_change: Decimal | None = None,
    ) -> None:
        """Add one fill.

        `fee` is all of its fees in quote currency. `base_fee` is what was taken in the base
        currency: as if so much had been sold at the price of the fill. `base_change` is the
        change of the account's balance where rounding makes it differ from `qty` and
        `base_fee`.
        """
        signed = qty if side == "buy" else -qty
        self._trade(signed, price)
        if base_fee:
            self._trade(-base_fee, price)
        self.fees = add(self.fees, fee)
        if base_change is not None:
            self._round(subtract(base_change, subtract(signed, base_fee)))

    def tell_cost(self, price: Decimal) -> None:
        """Set the cost of the part whose cost is unknown, from its average price."""
        self.cost = add(self.cost, multiply(self.unknown_cost_qty, price))
        self.unknown_cost_qty = ZERO

    def _round(self, change: Decimal) -> None:
        """Add a rounding difference, at no cost."""
        before, self.qty = self.qty, add(self.qty, change)
        if before and (not self.qty or (self.qty > 0) != (before > 0)):
            self.realized = subtract(self.realized, self.cost)
            self.cost = ZERO
        self.unknown_cost_qty = min(self.unknown_cost_qty, max(self.qty, ZERO))

    def _trade(self, signed: Decimal, price: Decimal) -> None:
        held = self.known_qty
        if held and (held > 0) != (signed > 0):
            closing = signed if abs(signed) < abs(held) else -held
            released = share(self.cost, -closing, held)
            self.realized = subtract(self.realized, add(multiply(closing, price), released))
            self.cost = subtract(self.cost, released)
            self.qty = add(self.qty, closing)
            signed = subtract(signed, closing)
        if signed < 0 and self.unknown_cost_qty:
            given = min(-signed, self.unknown_cost_qty)
            self.unknown_cost_qty = subtract(self.unknown_cost_qty, given)
            self.qty = subtract(self.qty, given)
            signed = add(signed, given)
        if signed:
            self.cost = add(self.cost, multiply(signed, price))
            self.qty = add(self.qty, signed)
        if not self.qty:
            self.qty = self.cost = ZERO

    def unrealized(self, mark: Decimal | None) -> Decimal:
        """The profit of closing everything of known cost at `mark`, before fees; 0 without
        a mark."""
        known = self.known_qty
        return ZERO if mark is None or known == 0 else subtract(multiply(mark, known), self.cost)

    def total(self, mark: Decimal | None) -> Decimal:
        """The profit so far, after fees, with what is held at a known cost valued at
        `mark`."""
        return subtract(add(self.realized, self.unrealized(mark)), self.fees)


POSITION_TEXTS = ("qty", "unknown_cost_qty", "avg_price", "realized", "unrealized", "fees")


def position_texts(state: PositionState | None, mark: Decimal | None) -> dict[str, str | None]:
    """A position for people and JSON, valued at `mark`; `unrealized` is None without one,
    unless nothing is held, `avg_price` while the cost of a part is unknown, all of it when
    the position is (no `state`).
    """
    if state is None:
        return dict.fromkeys(POSITION_TEXTS)
    is_priced = mark is not None or not state.qty
    return {
        "qty": plain(state.qty),
        "unknown_cost_qty": plain(state.unknown_cost_qty),
        "avg_price": None if state.avg_price is None else plain(state.avg_price),
        "realized": plain(state.realized),
        "unrealized": plain(state.unrealized(mark)) if is_priced else None,
        "fees": plain(state.fees),
    }


class Positions:
    """All positions, by strategy and pair."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], PositionState] = {}
        self._by_symbol: dict[str, list[PositionState]] = {}
        # Positions that may have changed since they were taken from here, oldest first.
        self._changed: dict[tuple[str, str], None] = {}

    def of(self, strategy: str, symbol: str) -> PositionState:
        """The position, for changes; a new one if there is none yet."""
        self._changed[strategy, symbol] = None
        state = self._states.get((strategy, symbol))
        if state is None:
            state = self._states[strategy, symbol] = PositionState()
            self._by_symbol.setdefault(symbol, []).append(state)
        return state

    def qty(self, strategy: str, symbol: str) -> Decimal:
        """The quantity held; 0 without a position."""
        state = self._states.get((strategy, symbol))
        return ZERO if state is None else state.qty

    def total_qty(self, symbol: str) -> Decimal:
        """The quantity that all strategies together hold of a pair."""
        states = self._by_symbol.get(symbol)
        if not states:
            return ZERO
        return states[0].qty if len(states) == 1 else total_of(state.qty for state in states)

    def claimed(self, asset: str, *, but: tuple[str, str]) -> Decimal:
        """The quantity of an asset that all positions claim except that of (strategy,
        pair).
        """
        return total_of(
            state.qty
            for key, state in self._states.items()
            if key != but and state.qty > 0 and key[1].partition("/")[0] == asset
        )

    def symbols_held(self) -> set[str]:
        """Pairs of which some strategy holds something."""
        return {symbol for (_, symbol), state in self._states.items() if state.qty}

    def totals(self, marks: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Profit after fees by quote currency, with positions valued at `marks` (by pair),
        else at cost."""
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
        """Replace all positions by these."""
        self._states = {(strategy, symbol): state for strategy, symbol, state in rows}
        self._by_symbol = {}
        for (_, symbol), state in self._states.items():
            self._by_symbol.setdefault(symbol, []).append(state)
        self._changed = dict.fromkeys(self._states)

    def take_changed(self, limit: int | None) -> list[tuple[str, str, PositionState]]:
        """Up to `limit` positions that may have changed since they were last taken; None:
        all.
        """
        keys = list(islice(self._changed, limit))
        for key in keys:
            del self._changed[key]
        return [(*key, self._states[key]) for key in keys]


def by_pair(positions: Iterable[tuple[str, PositionState]]) -> dict[str, PositionState]:
    """Positions of several strategies added up, by pair."""
    totals: dict[str, PositionState] = {}
    for symbol, state in positions:
        total = totals.setdefault(symbol, PositionState())
        total.qty = add(total.qty, state.qty)
        total.cost = add(total.cost, state.cost)
        total.realized = add(total.realized, state.realized)
        total.fees = add(total.fees, state.fees)
        total.unknown_cost_qty = add(total.unknown_cost_qty, state.unknown_cost_qty)
    return totals


def profit_texts(
    positions: Mapping[str, PositionState], mark_of: Callable[[str], Decimal | None]
) -> dict[str, dict[str, str]]:
    """Profit by quote currency, of positions by pair, valued at what `mark_of` a pair
    says.
    """
    sums: dict[str, list[Decimal]] = {}
    for symbol, state in positions.items():
        quote = symbol.partition("/")[2]
        realized, unrealized, fees = sums.setdefault(quote, [ZERO, ZERO, ZERO])
        more = state.unrealized(mark_of(symbol))
        sums[quote] = [add(realized, state.realized), add(unrealized, more), add(fees, state.fees)]
    return {
        quote: {"realized": plain(realized), "unrealized": plain(unrealized), "fees": plain(fees)}
        for quote, (realized, unrealized, fees) in sums.items()
    }


def fee_in_quote(symbol: str, fees: tuple[tuple[str, Decimal], ...], price: Decimal) -> Decimal:
    """A fill's fees in its quote currency; a fee in a third currency has no price here and
    counts as 0."""
    base, _, quote = symbol.partition("/")
    total = ZERO
    for asset, amount in fees:
        if asset == quote:
            total = add(total, amount)
        elif asset == base:
            total = add(total, multiply(amount, price))
    return total


def fee_in_base(symbol: str, fees: tuple[tuple[str, Decimal], ...]) -> Decimal:
    """The part of a fill's fees that was taken in its base currency."""
    base, total = symbol.partition("/")[0], ZERO
    for asset, amount in fees:
        if asset == base:
            total = add(total, amount)
    return total
