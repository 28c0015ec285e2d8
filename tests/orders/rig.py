"""Orders, facts and a pair for the tests of this folder."""

from decimal import Decimal

from msgspec.structs import replace

from engine.market import Pair
from engine.orders.blotter import Blotter
from engine.orders.intent import IS_IOC, IS_POST_ONLY, IS_SELL, PLAIN_FLAGS, Amendment, OrderIntent
from engine.orders.journal_records import Submitted, decode_record, encode_record
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.rings.commands import pack_shape
from engine.orders.risk import Risk, RiskLimits, TopOfBook
from engine.orders.venue_facts import ExecutionFact, Fee
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs

PAIR = Pair(
    symbol="BTC/USD", price_decimals=1, qty_decimals=8, qty_min_lots=5000, cost_min=Decimal("0.5"),
)  # fmt: skip
OTHER_PAIR = Pair(symbol="ETH/USD", price_decimals=2, qty_decimals=8, qty_min_lots=50000, cost_min=Decimal("0.5"))
PAIRS = {pair.symbol: pair for pair in (PAIR, OTHER_PAIR)}

KEY = "quoter00001a000001"
ORDER_ID = "OVN7VD-7VYHS-APBKHA"
AT = WallNs(1_000_000_000_000_000_000)


def limit(side="buy", qty="1", price="100", **more):
    """A limit order on BTC/USD."""
    return OrderIntent(
        symbol=more.pop("symbol", PAIR.symbol),
        side=side,
        order_type=more.pop("order_type", "limit"),
        price_decimals=1,
        qty_decimals=8,
        qty=QtyLots(int(Decimal(qty).scaleb(8))),
        limit_price=None if price is None else PriceTicks(int(Decimal(price) * 10)),
        **more,
    )


def plain_shape(strategy, intent):
    """The packed shape of an order that the layout for plain orders can say; None for another."""
    flags = (
        (IS_SELL if intent.side == "sell" else 0)
        | (IS_POST_ONLY if intent.post_only else 0)
        | (IS_IOC if intent.time_in_force == "ioc" else 0)
    )
    again = OrderIntent(
        symbol=intent.symbol, side=intent.side, order_type="limit", price_decimals=intent.price_decimals,
        qty_decimals=intent.qty_decimals, qty=intent.qty, limit_price=intent.limit_price,
        time_in_force="ioc" if flags & IS_IOC else "gtc", post_only=intent.post_only,
    )  # fmt: skip
    if again != intent or intent.limit_price is None or flags not in PLAIN_FLAGS:
        return None
    return pack_shape(strategy, Pair(intent.symbol, intent.price_decimals, intent.qty_decimals), flags)


def submitted(key=KEY, intent=None, strategy="quoter", at=AT, userref=None, route="websocket"):
    """The record of an order that leaves."""
    return Submitted(key, strategy, intent or limit(), WallNs(at + 10**9), route, userref, at)


def text_of(why):
    """The sentence of a refusal; None where there is none."""
    return None if why is None else why.text


def refused(text, kind=ErrorKind.UNKNOWN):
    """A refusal with this sentence."""
    return Refusal(kind, text)


def commit(blotter, records, journal=None):
    """What the router does: write, then apply; each record goes through its bytes. The changes."""
    changes = []
    for record in records:
        again = decode_record(encode_record(record))
        if journal is not None:
            journal.append(again)
        changes.append(blotter.apply(again))
    return changes


def sent(**more):
    """A blotter with one order on its way, and that order."""
    blotter = Blotter()
    record = submitted(**more)
    commit(blotter, [record])
    return blotter, blotter.open[record.key]


def fact(exec_type, at=AT, **more):
    """A row of the executions channel about the one order."""
    more.setdefault("order_id", ORDER_ID)
    more.setdefault("cl_ord_id", KEY)
    return ExecutionFact(exec_type=exec_type, timestamp=at, **more)


def trade(exec_id="TEXEC1-00000-000000", qty="0.4", price="100", fee="0.16", at=AT, **more):
    """A fill of the one order."""
    qty, price = Decimal(qty), Decimal(price)
    return fact(
        "trade", at, exec_id=exec_id, trade_id=7, last_qty=qty, last_price=price, cost=qty * price, liquidity="t",
        fees=(Fee("USD", Decimal(fee)),), symbol=PAIR.symbol, side="buy", **more,
    )  # fmt: skip


def tell(blotter, what, journal=None, at=AT):
    """Give the blotter a row; the changes."""
    return commit(blotter, blotter.on_execution(what, PAIRS.get, at), journal)


TOP = TopOfBook(PriceTicks(999), PriceTicks(1001), 1, is_live=True, age_ns=0)  # 99.9 and 100.1
LOOSE = RiskLimits(orders_per_s_max=Decimal(1000), duplicate_window_ns=0)


class RiskRig:
    """A risk check over real orders."""

    def __init__(self, limits=LOOSE, **changes):
        self.risk = Risk(replace(limits, **changes))
        self.blotter = Blotter()
        self.position = Decimal(0)
        self.pair = PAIR
        self.top = TOP
        self.number = 0

    def open(self, intent, strategy="quoter", is_working=True):
        """An open order of the account."""
        self.number += 1
        record = submitted(key=f"quoter00001a{self.number:06}", intent=intent, strategy=strategy)
        commit(self.blotter, [record])
        if is_working:
            tell(self.blotter, fact("new", order_id=f"O{self.number}", cl_ord_id=record.key))
        return self.blotter.open[record.key]

    def world(self, now=0):
        """What the router passes."""
        return {
            "pair": self.pair, "top": self.top, "open_orders": self.blotter.open_on("BTC/USD"),
            "position": self.position, "now": MonoNs(now),
        }  # fmt: skip

    def ask(self, intent, now=0, batch=(), strategy="quoter"):
        """The refusal, if any."""
        return text_of(self.risk.refusal(intent, strategy=strategy, batch=batch, **self.world(now)))

    def ask_amend(self, order, now=0, **changes):
        """The refusal of an amend."""
        amendment = Amendment(price_decimals=1, qty_decimals=8, **changes)
        return text_of(self.risk.amend_refusal(order, amendment, **self.world(now)))
