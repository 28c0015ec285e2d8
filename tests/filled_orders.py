"""Records of the journal about orders that fill, for tests of what is made from it."""

from decimal import Decimal

from engine.orders.intent import OrderIntent
from engine.orders.journal_records import Acknowledged, Ended, Filled, Record, Submitted
from engine.orders.venue_facts import Fee
from engine.units import PriceTicks, QtyLots, WallNs

AT = 1_795_000_000_000_000_000
MS = 1_000_000


def submitted(key: str, at: int, *, strategy: str = "Quoter", symbol: str = "BTC/USD") -> Submitted:
    intent = OrderIntent(
        symbol=symbol,
        side="buy",
        order_type="limit",
        price_decimals=1,
        qty_decimals=8,
        qty=QtyLots(100_000),
        limit_price=PriceTicks(810_001),
        post_only=True,
    )
    return Submitted(key, strategy, intent, WallNs(at + 1000 * MS), "websocket", None, WallNs(at))


def life(number: int, *, strategy: str = "Quoter", symbol: str = "BTC/USD") -> list[Record]:
    """An order that fills in two parts."""
    key, at = f"quotesrun001{number:06d}", AT + number * 10 * MS

    def fill(part: int, qty: int) -> Filled:
        return Filled(
            key,
            f"T{number:05d}-{part}",
            1000 + number,
            QtyLots(qty),
            8,
            Decimal("81000.1"),
            Decimal(qty) * Decimal("0.000810001"),
            (Fee("USD", Decimal("0.0105300130")),),
            "m",
            WallNs(at + part * MS),
            WallNs(at + part * MS),
        )

    return [
        submitted(key, at, strategy=strategy, symbol=symbol),
        Acknowledged(key, f"O{number:05d}", WallNs(at)),
        fill(1, 40_000),
        fill(2, 60_000),
        Ended(key, "filled", "", QtyLots(100_000), 8, WallNs(at + 2 * MS)),
    ]
