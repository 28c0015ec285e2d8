"""A pair's precision changes while a strategy quotes every 40 ms: what it asks for is on the wire, or it is told why.

The judges are the bytes that the engine sent, and the venue's ledger.
"""

import json
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rig import Diary, Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

RESTLESS = Path(__file__).parent / "strategies" / "restless.py"
ASKED_MIN = 20  # in each precision
SCALES = ((2, 9), (1, 7), (1, 8))  # decimals of prices and quantities, after (1, 8)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TradingEngine]:
    """An engine with the restless strategy, on a venue of its own."""
    engines = Engines(tmp_path)
    venue = TradingVenue(engines, "--no-rate-counter")
    strategy = f'[[strategy]]\ntarget = "{RESTLESS}"\nname = "restless"\nparams = {{ path = "{tmp_path / "diary"}" }}\n'
    engine = TradingEngine(venue, tmp_path / "engine", strategies=strategy).start()
    yield engine
    engine.close()
    engines.close()


class Wire:
    """What left the engine, by the ids of its orders."""

    def __init__(self, texts: list[bytes], ids: dict[str, str]) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.amends: dict[str, list[dict[str, Any]]] = {}
        for text in texts:
            request = json.loads(text, parse_float=Decimal)
            params = request.get("params", {})
            match request.get("method"):
                case "add_order":
                    self.orders[params["cl_ord_id"]] = params
                case "batch_add":
                    self.orders |= {row["cl_ord_id"]: row for row in params["orders"]}
                case "amend_order":
                    self.amends.setdefault(ids[params["order_id"]], []).append(params)

    def decimals(self) -> set[tuple[int, int]]:
        """The precisions that orders were written in."""
        return {decimals_of(row) for row in self.orders.values() if "limit_price" in row}


def decimals_of(row: dict[str, Any]) -> tuple[int, int]:
    """The precision that a limit order, or a change of one, was written in."""
    return -row["limit_price"].as_tuple().exponent, -row["order_qty"].as_tuple().exponent


def unanswered(diary: Diary) -> set[str]:
    """Orders that nothing has been told of yet."""
    return {entry["id"] for entry in diary.entries("ask")} - {entry["id"] for entry in diary.entries("order")}


def amounts(params: dict[str, Any]) -> tuple[Any, ...]:
    return params.get("limit_price"), params.get("triggers", {}).get("price"), params.get("order_qty")


def asked_for(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(Decimal(entry[name]) if name in entry else None for name in ("limit", "trigger", "qty"))


@pytest.mark.parametrize("router", ["lives", "is killed"])
def test_what_is_asked_for_is_on_the_wire_or_refused_while_the_precision_changes(
    engine: TradingEngine, tmp_path: Path, router: str
) -> None:
    """Prices from one decimal to two and back, quantities likewise: orders, amends, batches and stops alike.

    A router that is killed has a successor that knows from the journal in what precision each order stands.
    """
    diary = Diary(tmp_path / "diary")

    def working() -> int:
        # Each once: a new router tells again how all stand.
        return len({entry["id"] for entry in diary.entries("order") if entry["state"] == "WORKING"})

    eventually(lambda: working() > ASKED_MIN, "orders work in the first precision")
    for scale in SCALES:
        before = working()
        engine.venue.relist(*scale)
        if router == "is killed":
            os.kill(engine.pid("order_router"), signal.SIGKILL)
        eventually(lambda: working() > before + ASKED_MIN, f"orders work in {scale}")  # noqa: B023 - called at once
    (tmp_path / "diary.rest").touch()
    eventually(lambda: not unanswered(diary), "everything that was asked for is answered")
    engine.stop()
    told = diary.entries("order")
    ids = {entry["order_id"]: entry["id"] for entry in told if entry["order_id"]}
    assert engine.relay is not None
    wire = Wire(engine.relay.requests(), ids)
    asks = {entry["id"]: asked_for(entry) for entry in diary.entries("ask")}
    reasons = {entry["id"]: entry["reason"] for entry in told if entry["is_over"]}
    amends: dict[str, list[tuple[Any, ...]]] = {}
    for entry in diary.entries("amend"):
        amends.setdefault(entry["id"], []).append(asked_for(entry))

    assert wire.decimals() == {(1, 8), *SCALES}
    assert {key: amounts(row) for key, row in wire.orders.items()} == {
        key: asked for key, asked in asks.items() if key in wire.orders
    }
    # A new router sends by REST what comes before its socket is up.
    at_venue = {order["cl_ord_id"] for order in engine.venue.orders(engine.account)}
    assert [key for key in asks.keys() - wire.orders.keys() - at_venue if not reasons.get(key)] == []
    for key, rows in wire.amends.items():
        assert all(amounts(row) in amends[key] for row in rows)
    changes = [(key, row) for key, rows in wire.amends.items() for row in rows]
    assert any(decimals_of(row) != decimals_of(wire.orders[key]) for key, row in changes), "some cross a change"
    pairs = [(entry["price_decimals"], entry["qty_decimals"]) for entry in diary.entries("pair")]
    assert pairs == [(1, 8), *SCALES]
    assert engine.differences(told=False) == []
    assert "Traceback" not in engine.log()
