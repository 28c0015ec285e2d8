"""The ledger's rounding is not the order's: a position is what fills credited, at the precision of its asset."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.private.messages import ExecutionRow
from engine.market import Pair
from engine.orders.blotter import Blotter, fold
from engine.orders.intent import OrderIntent
from engine.orders.journal_records import Filled, Submitted, decode_record, encode_record
from engine.orders.money import at_precision
from engine.orders.positions import PositionState
from engine.orders.venue_facts import ExecutionFact, Fee
from engine.units import QtyLots, WallNs
from tests.orders.rig import AT

D = Decimal
PENGU = Pair("PENGU/USD", 6, 5, base_decimals=4, quote_decimals=4)
KEY = "quoter000001000001"
UNIT = D("0.0001")


class Account:
    """One order at a time on a pair whose lots are finer than its asset; every record goes through its bytes."""

    def __init__(self, pair: Pair = PENGU) -> None:
        self.pair, self.blotter = pair, Blotter()
        self.pairs = {pair.symbol: pair}
        self.journal: list[object] = []
        self.number = 0

    def order(self, side: str, qty: str, **options: object) -> str:
        self.number += 1
        key = f"quoter000001{self.number:06d}"
        intent = OrderIntent(
            symbol=self.pair.symbol, side=side, order_type="market", price_decimals=self.pair.price_decimals,
            qty_decimals=self.pair.qty_decimals, qty=self.pair.qty_lots(qty), **options,
        )  # fmt: skip
        self.apply(
            Submitted(
                key, "quoter", intent, WallNs(AT + 1), "websocket", None, AT, self.pair.base_decimals,
            )
        )  # fmt: skip
        return key

    def fill(self, key: str, qty: str, price: str = "0.01", fees: tuple[Fee, ...] = (), **more: object) -> None:
        self.number += 1
        order = self.blotter.get(key)
        assert order is not None
        fact = ExecutionFact(
            exec_type="trade", order_id=order.order_id or f"O{key}", timestamp=AT, cl_ord_id=key,
            symbol=self.pair.symbol,
            side=order.intent.side, exec_id=f"T{self.number}", trade_id=self.number, last_qty=D(qty),
            last_price=D(price), cost=D(qty) * D(price), fees=fees, **more,
        )  # fmt: skip
        for record in self.blotter.on_execution(fact, self.pairs.get, AT):
            self.apply(record)

    def apply(self, record: object) -> None:
        again = decode_record(encode_record(record))
        self.journal.append(again)
        self.blotter.apply(again)

    def buy(self, *qtys: str, **more: object) -> None:
        key = self.order("buy", str(sum(map(D, qtys))))
        for qty in qtys:
            self.fill(key, qty, **more)

    @property
    def position(self) -> PositionState:
        return self.blotter.positions.of("quoter", self.pair.symbol)


def test_a_position_is_what_a_fill_credited() -> None:
    """Kraken's own case: 39148.13654 were bought, and 39148.1365 credited."""
    account = Account()
    account.buy("39148.13654")

    assert account.position.qty == D("39148.1365")
    assert account.blotter.positions.total_qty("PENGU/USD") == D("39148.1365")
    assert PENGU.round_qty(account.position.qty, "down") == D("39148.1365")
    assert PENGU.round_qty("39148.13654", "down") == D("39148.1365")


@pytest.mark.parametrize(
    ("traded", "credited"),
    [("1.00004", "1.0000"), ("1.00005", "1.0000"), ("1.00006", "1.0001"), ("1.00015", "1.0002"), ("0.00004", "0")],
)
def test_a_ledger_rounds_to_the_nearest_and_a_half_to_the_even(traded: str, credited: str) -> None:
    """As Kraken's support says."""
    account = Account()
    account.buy(traded)

    assert account.position.qty == D(credited)


def test_each_fill_is_credited_for_itself() -> None:
    """Many small ones differ from the order's quantity by more than one unit."""
    account = Account()
    account.buy(*["1.00004"] * 10)

    assert account.position.qty == D("10.0000")


@pytest.mark.parametrize(
    ("side", "left"),
    [("buy", "99.5999"), ("sell", "-100.4001")],
)
def test_a_fee_in_the_base_currency_is_taken_from_what_was_credited_and_rounded_too(side: str, left: str) -> None:
    """0.40006 of it: the ledger books 0.4001."""
    account = Account()
    key = account.order(side, "100", fee_preference="base")
    account.fill(key, "100", fees=(Fee("PENGU", D("0.40006")),))

    assert account.position.qty == D(left)


def test_a_fee_that_rest_tells_in_quote_currency_is_taken_off_the_base_when_the_order_pays_there() -> None:
    """REST says what it is worth alone; so much of the base currency, rounded up, is gone."""
    account = Account()
    key = account.order("buy", "100", fee_preference="base")
    account.fill(key, "100", price="0.03", fees=(Fee("USD", D("0.012001")),), is_fee_asset_told=False)

    # 0.012001 / 0.03 = 0.40003…
    assert account.position.qty == D("99.5999")


def test_a_fee_that_rest_tells_of_any_other_order_stays_one_in_quote_currency() -> None:
    """As Kraken charges by default."""
    account = Account()
    key = account.order("buy", "100")
    account.fill(key, "100", price="0.03", fees=(Fee("USD", D("0.012")),), is_fee_asset_told=False)

    assert account.position.qty == 100
    assert account.position.fees == D("0.012")


def test_a_restart_finds_the_position_in_the_journal_though_the_pair_is_not_known_or_is_another_by_then() -> None:
    """What was credited was decided when it was written; the fold looks nothing up."""
    account = Account()
    account.buy("39148.13654", "7.00006")

    assert fold(account.journal).positions.of("quoter", "PENGU/USD").qty == account.position.qty == D("39155.1366")


def test_a_fill_that_comes_before_the_pair_is_known_again_is_rounded_as_its_order_remembers() -> None:
    """After a restart the account is told before the market."""
    account = Account()
    key = account.order("buy", "39148.13654")
    account.pairs = {}
    account.fill(key, "39148.13654")

    assert account.position.qty == D("39148.1365")


def test_a_closing_order_is_rounded_as_its_pair_says() -> None:
    """An order that Kraken made of ours."""
    account = Account()
    parent = account.order("buy", "10")
    account.fill(parent, "10")
    fact = ExecutionFact(
        exec_type="pending_new", order_id="OCLOSE", timestamp=AT, symbol="PENGU/USD", side="sell", order_type="limit",
        order_qty=D("5.00000"), limit_price=D("0.02"), ord_ref_id=f"O{parent}",
    )  # fmt: skip
    for record in account.blotter.on_execution(fact, account.pairs.get, AT):
        account.apply(record)
    account.pairs = {}
    account.fill("OCLOSE", "4.99996")

    assert account.position.qty == D("5.0000")


def test_an_order_that_was_found_at_kraken_pays_where_kraken_says() -> None:
    """The fill of it that REST tells is taken off the base currency too."""
    account = Account()
    parent = account.order("buy", "10")
    account.fill(parent, "10")
    row = ExecutionRow(
        exec_type="pending_new", order_id="OCLOSE", symbol="PENGU/USD", side="sell", order_type="limit",
        order_qty=D("5.00000"), limit_price=D("0.02"), ord_ref_id=f"O{parent}", fee_ccy_pref="fcib",
    )  # fmt: skip
    for record in account.blotter.on_execution(row, account.pairs.get, AT):
        account.apply(record)
    account.fill("OCLOSE", "5", price="0.02", fees=(Fee("USD", D("0.0004")),), is_fee_asset_told=False)

    assert account.position.qty == D("4.9800")


def test_a_fill_of_an_older_journal_counts_what_was_traded() -> None:
    """It does not say what was credited."""
    account = Account()
    key = account.order("buy", "1.00004")
    fill = Filled(key, "T", 1, QtyLots(100004), 5, D("0.01"), D("0.0100004"), (), "maker", AT, AT)
    account.blotter.apply(decode_record(encode_record(fill)))

    assert account.position.qty == D("1.00004")


def test_a_pair_whose_asset_is_as_fine_as_its_lots_is_told_nothing_new() -> None:
    """As most are: the record is as it was."""
    account = Account(Pair("BTC/USD", 1, 8, base_decimals=10))
    account.buy("0.12345678")

    assert account.position.qty == D("0.12345678")
    assert account.journal[-1].base_change is None


fills = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 10**7), st.integers(1, 10**4), st.integers(0, 300)),
    max_size=30,
)


@given(fills)
def test_what_rounding_costs_or_gives_is_in_the_profit_to_the_last_digit(trades) -> None:
    """Whatever is bought and sold: profit, and what the position cost, are the money that was paid and received."""
    state, money, held, fees = PositionState(), D(0), D(0), D(0)
    for side, lots, ticks, fee_lots in trades:
        qty, price, fee = D(lots).scaleb(-5), D(ticks).scaleb(-6), D(fee_lots).scaleb(-6)
        signed = qty if side == "buy" else -qty
        change = at_precision(signed, 4) - at_precision(fee, 4)
        state.fill(side, qty, price, fee * price, fee, change)
        money, held, fees = money - signed * price, held + change, fees + fee * price

    assert state.qty == held
    # A fee in the base currency is in the profit as if sold, and in the fees as if paid.
    assert abs(state.realized - state.cost - money - fees) <= len(trades) * D("1e-12")
    if not state.qty:
        assert state.cost == 0


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=20))
def test_what_can_be_sold_is_never_more_than_was_credited(lots: list[int]) -> None:
    """Position and balance agree to the last unit, and each is a quantity that can be ordered."""
    account, balance = Account(), D(0)
    for each in lots:
        qty = D(each).scaleb(-5)
        account.buy(str(qty))
        balance += at_precision(qty, 4)

    assert account.position.qty == balance
    assert PENGU.round_qty(account.position.qty, "down") == balance
    assert all(PENGU.round_qty(D(each).scaleb(-5), "down") <= at_precision(D(each).scaleb(-5), 4) for each in lots)


@given(
    st.integers(1, 10**10), st.integers(0, 8), st.sampled_from(["buy", "sell"]),
    st.lists(st.tuples(st.sampled_from(["PENGU", "USD"]), st.integers(0, 10**6), st.integers(0, 8)), max_size=2),
)  # fmt: skip
def test_a_change_of_the_base_currency_is_noted_when_it_is_not_the_quantity_less_the_fee(
    lots: int, decimals: int, side: str, told: list[tuple[str, int, int]]
) -> None:
    """However fine quantity and fees are: where nothing is rounded, nothing is noted."""
    account = Account()
    fees = tuple(Fee(asset, D(units).scaleb(-places)) for asset, units, places in told)
    qty = D(lots).scaleb(-decimals)
    account.fill(account.order(side, "1000000000"), f"{qty:f}", fees=fees)
    fill = next(record for record in account.journal if isinstance(record, Filled))
    signed = qty if side == "buy" else -qty
    fee = sum((each.qty for each in fees if each.asset == "PENGU"), D(0))
    booked = at_precision(signed, 4) - at_precision(fee, 4)

    assert fill.base_change == (None if booked == signed - fee else booked)
