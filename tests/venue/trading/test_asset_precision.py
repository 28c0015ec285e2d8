"""Assets have a precision of their own, which may be coarser than their pair's lots: every
fill is booked rounded.
"""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import VenueReject
from engine.venue.market.pairs import ASSETS, PAIRS
from engine.venue.trading.client_order import Triggers
from tests.venue.rest_client import standing_venue
from tests.venue.trading_rig import Floor

D = Decimal
PENGU = "PENGU/USD"


def bought(*qtys: str, **options: Any) -> Floor:
    """An account with nothing but dollars that has bought so much, each from a maker of its
    own.
    """
    floor = Floor(PENGU)
    for qty in qtys:
        fill(floor, "buy", qty, **options)
    return floor


def fill(floor: Floor, side: str, qty: str, **options: Any) -> dict[str, Any]:
    """One order that meets just one other; its trade row."""
    price = floor.price("buy", -1)
    floor.crowd_rests("sell" if side == "buy" else "buy", price, qty)
    floor.add("limit", side, qty, limit_price=price, time_in_force="ioc", **options)
    return next(row for row in reversed(floor.told) if row["exec_type"] == "trade")


def refused(floor: Floor, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(VenueReject) as refusal:
        floor.add(*args, **kwargs)
    return str(refusal.value)


def has(floor: Floor) -> Decimal:
    return floor.account.balances["PENGU"]


def test_a_fill_finer_than_its_asset_is_credited_rounded() -> None:
    """Kraken's own case: the trade says what was traded, the ledger what was credited."""
    floor = Floor(PENGU)
    row = fill(floor, "buy", "39148.13654")

    assert row["last_qty"] == D("39148.13654")
    entry = next(row for row in floor.moved if row["asset"] == "PENGU")
    assert (entry["amount"], entry["balance"]) == (D("39148.1365"), D("39148.1365"))
    assert has(floor) == D("39148.1365")


@pytest.mark.parametrize(
    ("order_type", "more"),
    [
        ("market", {}),
        ("limit", {"limit_price": "0.03"}),
        ("stop-loss", {"triggers": Triggers(D("0.01"), "static", "last")}),
    ],
)
def test_what_was_traded_cannot_be_sold_and_what_was_credited_can(order_type: str, more: dict[str, Any]) -> None:
    """In Kraken's words: neither exit nor stop."""
    floor = bought("39148.13654")

    assert refused(floor, order_type, "sell", "39148.13654", **more) == "EOrder:Insufficient funds"
    floor.add(order_type, "sell", "39148.1365", **more)


def test_each_fill_is_rounded_for_itself() -> None:
    """A half goes to the even neighbour."""
    assert has(bought("1000.00004", "1000.00004", "1000.00004")) == D("3000.0000")
    assert has(bought("1000.00005")) == D("1000.0000")
    assert has(bought("1000.00015")) == D("1000.0002")
    assert has(bought("1000.00006", "1000.00006")) == D("2000.0002")


def test_a_resting_sale_holds_what_an_account_can_hold() -> None:
    """Rounded up to the asset's precision; as Kraken has it, in totals and not in the
    stream.
    """
    floor = bought("2000.00000")
    order = floor.add("limit", "sell", "1000.00004", limit_price="0.03")
    held = floor.account.held("PENGU")
    floor.crowd_takes("buy", "0.00001")
    floor.cancel(order)

    assert held == D("1000.0001")
    assert floor.account.held("PENGU") == 0


def test_a_fee_in_the_base_currency_is_taken_off_what_was_bought() -> None:
    """fcib: the fee at the asset's precision, in the trade and in the ledger; nothing of it
    in dollars.
    """
    floor = Floor(PENGU)
    row = fill(floor, "buy", "10000.00004", fee_preference="base")
    base, quote = floor.moved

    assert row["fees"] == [{"asset": "PENGU", "qty": D("40.0000")}]
    assert (base["amount"], base["fee"], base["balance"]) == (D("10000.0000"), D("40.0000"), D("9960.0000"))
    assert quote["fee"] == 0
    assert has(floor) == D("9960.0000")


def test_a_sale_that_pays_in_what_it_sells_must_have_both() -> None:
    """The fee comes on top of the quantity."""
    floor = bought("10040.0000")

    assert refused(floor, "market", "sell", "10001", fee_preference="base") == "EOrder:Insufficient funds"
    row = fill(floor, "sell", "10000.0000", fee_preference="base")
    assert row["fees"] == [{"asset": "PENGU", "qty": D("40.0000")}]
    assert has(floor) == 0


def test_the_ledger_tells_what_each_fill_changed_the_balance_by() -> None:
    """The judge of whoever keeps books of their own."""
    floor = bought("1000.00006", fee_preference="base")
    (entry,) = json.loads(floor.trading.ledger.as_json())["fills"]

    assert entry["fee_asset"] == "PENGU"
    assert D(entry["base_change"]) == has(floor) == D("1000.0001") - D("4.0000")


async def test_instruments_and_assets_tell_the_precision_and_rest_pads_to_it() -> None:
    """As Kraken's Assets and Balance have it; a REST fee is told in quote currency whatever
    it was taken in.
    """
    async with standing_venue(symbols=(PENGU,)) as (_, client):
        assets = (await client.public("Assets", asset="PENGU"))["result"]
        pairs = (await client.public("AssetPairs", pair="PENGUUSD"))["result"]
        order = {"pair": "PENGUUSD", "type": "buy", "ordertype": "market", "volume": "1000.00004", "oflags": "fcib"}
        (txid,) = (await client.result("AddOrder", **order))["txid"]
        balance = (await client.result("Balance"))["PENGU"]
        row = (await client.result("QueryOrders", txid=txid))[txid]

    assert assets["PENGU"]["decimals"] == 4
    assert pairs["PENGUUSD"]["lot_decimals"] == 5
    assert len(balance.partition(".")[2]) == 4
    assert row["vol_exec"] == "1000.00004"
    assert abs(D(row["fee"]) - D(row["cost"]) * D("0.004")) < D("0.0001")


def test_there_is_a_pair_whose_lots_are_finer_than_its_asset() -> None:
    """The commoner kind too: assets finer than lots."""
    finer = {pair.symbol for pair in PAIRS if pair.qty_decimals > ASSETS[pair.base].precision}

    assert {PENGU, "EUR/USD"} <= finer
    assert "BTC/USD" not in finer


@given(st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(23_000_000, 10**8), st.booleans()), max_size=8))
def test_a_balance_is_the_sum_of_its_rounded_entries(trades: list[tuple[str, int, bool]]) -> None:
    """Whatever was traded: entry by entry, and nothing is held when nothing is open."""
    floor = Floor(PENGU)
    floor.account.balances["PENGU"] = start = D("100000.0000")
    for side, lots, in_base in trades:
        fill(floor, side, str(D(lots).scaleb(-5)), fee_preference="base" if in_base else None)
    entries = [row for row in floor.moved if row["asset"] == "PENGU"]

    assert has(floor) == start + sum((row["amount"] - row["fee"] for row in entries), D(0))
    for row, trade in zip(entries, [row for row in floor.told if row["exec_type"] == "trade"], strict=True):
        assert abs(row["amount"]) == trade["last_qty"].quantize(D("0.0001"), ROUND_HALF_EVEN)
    assert floor.account.held("PENGU") == floor.account.held("USD") == 0
