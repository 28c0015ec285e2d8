"""Orders, reports, books and a summary for the tests of the screen."""

from decimal import Decimal

from engine.orders.life import OrderState
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORTS, Fill, OrderReport
from engine.records import BookTop, FeedState
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.screen.order_tape import ShownOrder
from engine.units import MonoNs, WallNs
from tests.market.rig import book_record

# A summary, as far as the screen reads it.
PAIR = {
    "updates": 7, "mismatches": 1, "state": "live", "proved": True, "best_bid": {"price": "100.0", "qty": "2"},
    "best_ask": {"price": "100.3", "qty": "1"},
}  # fmt: skip
FIGURES = {"count": 3, "mean": 1.0, "p50": 50.0, "p99": 900.0, "p999": 1200.0, "max": 1300.0}
SUMMARY = {
    "seconds": 9.5, "exit": "running", "pid": 10, "venue": "wss://ws.kraken.com/v2",
    "symbols": {"BTC/USD": PAIR, "XDG/EUR": {**PAIR, "best_bid": None}},
    "sources": {
        "websocket": {"available": True, "quality": 50, "reasons": ["does not serve book of 1 of 2 pairs"],
                      "share_percent": 99.25},
        "rest": {"available": None, "quality": None, "reasons": [], "share_percent": 0.75},
        "pairs": {"BTC/USD": {"book": "websocket"}, "XDG/EUR": {"book": "websocket"}},
    },
    "latency_us": {"ack": FIGURES, "wire_to_strategy": FIGURES, "rest": {**FIGURES, "count": 0}},
    "rings": {
        "market-0": {"published": 90, "gaps": 2, "full": 0, "slots": 64, "lag": {"a": 3, "b": 16}},
        "report-a": {"published": 9, "gaps": 0, "slots": 64, "lag": {"a": 0}},
    },
    "processes": {"public_feed-0": 11, "order_router": None}, "restarts": {"public_feed-0": 2, "order_router": 0},
    "feeds": {"public_feed-0": {"connected": False}},
    "strategies": {"a": {"halted": False, "errors": 0, "hangs": None}},
    "orders": {"unknown_open": 0}, "fills": 4,
    "positions": {"BTC/USD": {"qty": "-0.5", "avg_price": "100.1"}, "XDG/EUR": {"qty": "0", "avg_price": "0"}},
    "pnl": {"by_currency": {"USD": {"realized": "1.5", "unrealized": "-2", "fees": "0.25"}}},
    "trading": {
        "mode": "ACTIVE", "is_open": True, "reason": "", "counts": {"connected": 1},
        "rate": {"tier": "pro", "limit": 180, "counts": {"XDG/EUR": "1.5", "BTC/USD": "90"}},
    },
}  # fmt: skip


def shown_order(key="a", **fields):
    """An order of 0.5 BTC that rests at 100.0."""
    return ShownOrder(
        **{
            "key": key,
            "order_id": "O" + key,
            "strategy": "s",
            "symbol": "BTC/USD",
            "side": "buy",
            "order_type": "limit",
            "state": OrderState.WORKING,
            "qty": Decimal("0.5"),
            "filled": Decimal(0),
            "limit": Decimal("100.0"),
            "reason": "",
            "changed_at": WallNs(1),
            **fields,
        }
    )


def report(key="a", **fields):
    """What the order router reports of such an order."""
    return OrderReport(
        **{
            "key": key,
            "symbol": "BTC/USD",
            "side": "buy",
            "order_type": "limit",
            "state": OrderState.WORKING,
            "qty_lots": 50_000_000,
            "limit_price_ticks": 1_000,
            "price_decimals": 1,
            "qty_decimals": 8,
            "changed_at": WallNs(1),
            **fields,
        }
    )


def fill(exec_id="T1", **fields):
    """A fill of such an order."""
    return Fill(
        **{
            "key": "a",
            "exec_id": exec_id,
            "trade_id": 1,
            "symbol": "BTC/USD",
            "side": "buy",
            "qty": Decimal("0.1"),
            "price": Decimal("100.0"),
            "cost": Decimal(10),
            "fees": {"USD": Decimal("0.02")},
            "liquidity": "maker",
            "kraken_time": WallNs(1_785_641_751_661_460_000),
            "received_at": MonoNs(1),
            **fields,
        }
    )


def row(key="a", **fields):
    """Such an order as the router's answer to `orders` has it, as far as it is read."""
    return {
        "id": key, "order_id": "O" + key, "strategy": "s", "symbol": "BTC/USD", "side": "buy", "type": "limit",
        "qty": "0.50000000", "filled": "0.00000000", "limit_price": "100.0", "state": "working", "reason": "",
        "changed_ns": 1, **fields,
    }  # fmt: skip


def book_of(bids, asks, state=FeedState.LIVE):
    """A book of prices and quantities as text."""
    scale = [[(int(Decimal(p) * 10), int(Decimal(q) * 10**8)) for p, q in side] for side in (bids, asks)]
    return BookTop("BTC/USD", book_record(*scale, state=state))


class ReportRing:
    """The report ring of one strategy, as the order router publishes to it."""

    def __init__(self, slots=16):
        self.memory = bytearray(ring_bytes(REPORT_RECORD_BYTES, slots, gate_count=1))
        format_ring(self.memory, record_bytes=REPORT_RECORD_BYTES, slot_count=slots, gate_count=1)
        self._publisher = Publisher(self.memory)
        self._strategy = GatedSubscriber(self.memory)

    def tell(self, *reports):
        """Publish, and have the strategy take it."""
        for each in reports:
            assert self._publisher.try_publish(REPORTS.pack(each))
            self._strategy.poll()
            self._strategy.poll()

    def tell_nonsense(self):
        """Publish what is no report."""
        assert self._publisher.try_publish(b"\x04\x00\x00\x00\xc1\xc1\xc1\xc1")
