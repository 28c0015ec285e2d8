"""Genuine executions, frame by frame, come to the states that their orders really had.

The captures are Kraken's own text (tests/data/kraken/private/INDEX.md says of each what is genuine in it); they go
through the engine's decoder into the blotter, as orders of ours and as orders that nobody knows.
"""

from decimal import Decimal
from pathlib import Path

import pytest

from engine.kraken.private.messages import read_executions
from engine.market import Pair
from engine.orders.blotter import Blotter
from engine.orders.intent import OrderIntent
from engine.orders.journal_records import Submitted
from engine.orders.life import OrderState
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs
from tests.orders.rig import AT, commit

DATA = Path(__file__).parents[1] / "data/kraken/private"
S = OrderState
PAIRS = {
    symbol: Pair(symbol=symbol, price_decimals=price, qty_decimals=8)
    for symbol, price in [("BTC/USDT", 1), ("SOL/USDC", 2), ("SN51/USD", 3), ("BTC/USD", 1), ("ADX/USD", 5)]
}


def facts(name):
    """Every row of a capture."""
    for line in (DATA / name).read_bytes().splitlines():
        message = read_executions(line)[0]
        for row in message.data:
            row.tell(MonoNs(0), is_snapshot=message.type == "snapshot")
            yield row


def play(blotter, name):
    """Tell a capture to the blotter."""
    for fact in facts(name):
        commit(blotter, blotter.on_execution(fact, PAIRS.get, WallNs(AT)))


# What we had sent, and how it stands when the capture ends.
OURS = [
    ("executions_lifecycle_limit_amend_cancel.jsonl", "b17c7bb34d000200", None, ("BTC/USDT", "buy", 10_000, 800_000),
     (S.CANCELED, 10_000, 818_180, 0, "0", {}, "User requested")),
    ("executions_lifecycle_market_fill.jsonl", "GRID-BO-DVe742G3Eq", None, ("SOL/USDC", "buy", 180_406_743, None),
     (S.FILLED, 180_406_743, None, 180_406_743, "180.31654", {"USDC": Decimal("0.685203")}, "")),
    ("executions_lifecycle_limit_cancel_2026.jsonl", "CMB-GR-bGLyTuIQNle", None,
     ("SN51/USD", "buy", 175_351_000, 23_384),
     (S.CANCELED, 175_351_000, 23_384, 0, "0", {}, "User requested")),
    ("executions_lifecycle_limit_taker_fill_doc.jsonl", "ours", 3, ("BTC/USD", "sell", 500_000, 265_000),
     (S.PARTIAL, 500_000, 265_000, 500_000, "132.9995", {"USD": Decimal("0.3458")}, "")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "userref", "asked", "golden"), OURS, ids=[row[0] for row in OURS])
def test_an_order_of_ours_stands_as_the_capture_left_it(name, key, userref, asked, golden):
    """Amended, filled, canceled: and told twice is as told once."""
    symbol, side, qty, price = asked
    intent = OrderIntent(
        symbol=symbol, side=side, order_type="market" if price is None else "limit",
        price_decimals=PAIRS[symbol].price_decimals, qty_decimals=8, qty=QtyLots(qty),
        limit_price=None if price is None else PriceTicks(price),
    )  # fmt: skip
    blotter = Blotter()
    commit(blotter, [Submitted(key, "quoter", intent, AT, "websocket", userref, AT)])
    play(blotter, name)
    before = blotter.state_hash()
    order = blotter.get(key)
    told = (order.state, order.qty, order.limit_price, order.filled, str(order.cost), order.fees, order.reason)
    play(blotter, name)

    assert told == golden
    assert blotter.state_hash() == before
    assert blotter.quarantined == 0


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("executions_*.jsonl")))
def test_orders_that_nobody_knows_are_adopted_from_any_capture(name):
    """Nothing is odd in what Kraken really sends, and nothing is raised."""
    blotter = Blotter()
    play(blotter, name)

    assert blotter.quarantined == 0
    assert all(order.is_external for order in [*blotter.open.values(), *blotter.ended.values()])


def test_an_order_of_somebody_elses_is_followed_to_its_end():
    """From its first report to its cancel."""
    blotter = Blotter()
    play(blotter, "executions_lifecycle_limit_amend_cancel.jsonl")
    order = blotter.ended["OVN7VD-7VYHS-APBKHA"]

    assert (order.state, order.limit_price, order.cl_ord_id) == (S.CANCELED, 818_180, "b17c7bb34d000200")
