"""Between any two steps of an order's life its pair may get another precision: nothing of it is ever another amount.

The model knows amounts alone, as Decimals, and no units at all. The parts are those of the router: order client, risk
check, both routes, blotter, journal, reports, history and balances; only sockets and clocks are left out.
"""

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.history import fill_row, order_row
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import RestPair
from engine.kraken.trading import order_requests
from engine.market import Pair
from engine.order_router.core.report_outbox import order_report
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter, fold
from engine.orders.intent import Amendment, OrderIntent
from engine.orders.journal_records import AmendSent, Record, Submitted
from engine.orders.rings.commands import COMMANDS, Amend, Submit
from engine.orders.rings.reports import REPORTS
from engine.orders.risk import PairLimits, Risk, RiskLimits, TopOfBook
from engine.orders.venue_facts import ExecutionFact, Fee, OrderLookup
from engine.strategy.order_options import make_amendment, make_intent
from engine.strategy.orders import Order
from engine.units import MonoNs, PriceTicks, WallNs
from tests.examples import times
from tests.orders.rig import AT, commit, refused

D = Decimal
REST_PAIR = RestPair(id="XXBTZUSD", altname="XBTUSD", symbol="BTC/USD", base="BTC", quote="USD", pair_decimals=1,
                     lot_decimals=8, cost_decimals=5)  # fmt: skip
SCALES = st.tuples(st.integers(0, 4), st.integers(3, 9))
STEPS = st.integers(1, 10**6)  # a price or a quantity, in whatever its scale is then
CHANGED = "BTC/USD's precision changed while this was under way"


class Life(RuleBasedStateMachine):
    """One order after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.kraken = Pair("BTC/USD", 1, 8)  # as it is now
        self.heard = self.kraken  # as the strategy was told last
        self.book_decimals = 1
        self.blotter = Blotter()
        self.journal: list[Record] = []
        self.number = self.fills = 0
        self.now = AT
        self.position = D(0)
        # The truth about the one open order.
        self.key = ""
        self.side = "buy"
        self.qty = self.limit = self.filled = D(0)
        self.asked: tuple[D, D] | None = None  # of the amend under way

    # --- the world changes

    @rule(scale=SCALES)
    def kraken_changes_the_pair(self, scale: tuple[int, int]) -> None:
        self.kraken = Pair("BTC/USD", *scale)

    @rule()
    def the_strategy_hears_of_it(self) -> None:
        self.heard = self.kraken

    @rule(decimals=st.integers(0, 4))
    def the_book_is_in_another_precision(self, decimals: int) -> None:
        self.book_decimals = decimals

    @rule(by_snapshot=st.booleans())
    def the_router_dies(self, by_snapshot: bool) -> None:
        before = self.blotter.state_hash()
        self.blotter = fold([self.blotter.snapshot(self.now)] if by_snapshot else self.journal)
        assert self.blotter.state_hash() == before

    # --- a strategy asks

    @precondition(lambda self: not self.key)
    @rule(side=st.sampled_from(["buy", "sell"]), ticks=STEPS, lots=STEPS)
    def submits(self, side: str, ticks: int, lots: int) -> None:
        limit, qty = D(ticks).scaleb(-self.heard.price_decimals), D(lots).scaleb(-self.heard.qty_decimals)
        made = make_intent(self.heard, side, qty, {"limit": limit}, self.now)
        command = COMMANDS.unpack(COMMANDS.pack(Submit("quoter", "key", made, MonoNs(0), MonoNs(0))))
        assert isinstance(command, Submit)
        intent = command.intent
        why = self.ask(RiskLimits(price_collar_percent=D(10**9)), intent)
        if self.is_stale(intent):
            assert why is not None
            assert why.text.startswith(CHANGED)
            return
        assert why is None
        self.number += 1
        self.key, self.side, self.qty, self.limit, self.filled = f"quoter00001a{self.number:06}", side, qty, limit, D(0)
        self.write([Submitted(self.key, "quoter", intent, WallNs(self.now + 10**9), "websocket", None, self.now)])
        frame = order_requests.add_order(intent, cl_ord_id=self.key, deadline=self.now, token="t", req_id=1)
        self.check_wire(frame, "limit_price", "order_qty", limit, qty)
        fields = rest_requests.add_order(intent, pair=REST_PAIR, cl_ord_id=self.key, deadline=self.now).fields
        assert (D(fields["price"]), D(fields["volume"])) == (limit, qty)
        self.tell("new")

    @precondition(lambda self: self.key and self.asked is None)
    @rule(ticks=st.none() | STEPS, lots=st.none() | STEPS)
    def amends(self, ticks: int | None, lots: int | None) -> None:
        options: Any = {}
        limit, qty = self.limit, self.qty
        if ticks is not None:
            options["limit"] = limit = D(ticks).scaleb(-self.heard.price_decimals)
        if lots is not None:
            options["qty"] = qty = D(lots).scaleb(-self.heard.qty_decimals)
        if not options or qty <= self.filled:
            return
        made = make_amendment(self.heard, "limit", options)
        command = COMMANDS.unpack(COMMANDS.pack(Amend(self.key, made, MonoNs(0), MonoNs(0))))
        assert isinstance(command, Amend)
        amendment = command.amendment
        why = Risk(RiskLimits(price_collar_percent=D(10**9))).amend_refusal(
            self.blotter.open[self.key], amendment, pair=self.kraken, top=self.top,
            open_orders=self.blotter.open_on("BTC/USD"), position=self.position, now=MonoNs(1),
        )  # fmt: skip
        if self.is_stale(amendment):
            assert why is not None
            assert why.text.startswith(CHANGED)
            return
        assert why is None
        self.write([AmendSent(self.key, amendment, self.now)])
        self.asked = limit, qty
        sent = self.blotter.open[self.key].amendment
        assert sent is not None
        frame = order_requests.amend_order(sent, order_id="O", deadline=self.now, token="t", req_id=1)
        fields = rest_requests.amend_order(sent, order_id="O", deadline=self.now).fields
        self.check_wire(frame, "limit_price", "order_qty", options.get("limit"), options.get("qty"))
        for name, wanted in (("limit_price", options.get("limit")), ("order_qty", options.get("qty"))):
            assert (name in fields) is (wanted is not None)
            assert wanted is None or D(fields[name]) == wanted

    # --- Kraken tells, with as many digits as the pair has now, or as the number needs

    @precondition(lambda self: self.asked is not None)
    @rule(how=st.sampled_from(["answer", "report", "lookup", "refused"]))
    def the_amend_is_over(self, how: str) -> None:
        assert self.asked is not None
        changes_nothing = self.asked == (self.limit, self.qty)  # the router refuses such an amend
        if how == "refused":
            self.write(self.blotter.on_request_refused(self.key, "amend", refused("a test"), self.now))
        else:
            self.limit, self.qty = self.asked
            if how == "answer":
                self.write(self.blotter.on_amended(self.key, self.now, self.now))
            elif how == "report":
                self.tell("amended", order_qty=self.qty, limit_price=self.limit)
            else:
                self.look_up("open")
        self.asked = None
        assert self.blotter.open[self.key].pending == "" or how == "lookup" or (how == "report" and changes_nothing)
        if self.blotter.open[self.key].pending:  # it asked for what the order already was: only an answer tells
            self.write(self.blotter.on_request_refused(self.key, "amend", refused("Kraken did not get it"), self.now))

    @precondition(lambda self: self.key)
    @rule(part=st.integers(1, 99), decimals=st.integers(0, 11))
    def fills(self, part: int, decimals: int) -> None:
        """A part of what is left, in lots that need not be the order's."""
        left = min(self.qty, self.asked[1] if self.asked else self.qty) - self.filled
        qty = (left * part / 100).quantize(D(1).scaleb(-decimals), rounding="ROUND_DOWN")
        if not qty:
            return
        self.fills += 1
        self.filled += qty
        self.position += qty if self.side == "buy" else -qty
        changes = self.tell(
            "trade", exec_id=f"T{self.fills}", trade_id=self.fills, last_qty=qty, last_price=self.limit,
            cost=qty * self.limit, fees=(Fee("USD", D("0.1")),), symbol="BTC/USD", side=self.side,
        )  # fmt: skip
        (change,) = (change for change in changes if change.fill is not None)
        assert D(fill_row(change.order, change.fill).qty) == qty

    @precondition(lambda self: self.key and self.asked is None)
    @rule()
    def a_snapshot_comes(self) -> None:
        self.tell("status", order_qty=self.qty, limit_price=self.limit, cum_qty=self.filled, is_snapshot=True)

    @precondition(lambda self: self.key and self.asked is None)
    @rule()
    def rest_is_asked(self) -> None:
        self.look_up("open")

    @precondition(lambda self: self.key)
    @rule(how=st.sampled_from(["canceled", "expired", "lookup"]))
    def the_order_ends(self, how: str) -> None:
        if how == "lookup":
            self.look_up("canceled")
        else:
            self.tell(how, cum_qty=self.filled)
        ended = self.blotter.ended[self.key]
        assert (ended.filled_qty, ended.fills_missing) == (self.filled, 0)
        self.key, self.asked = "", None

    # --- at every moment

    @invariant()
    def everybody_sees_the_same_amounts(self) -> None:
        assert (self.blotter.quarantined, self.blotter.positions.total_qty("BTC/USD")) == (0, self.position)
        if not self.key:
            return
        order = self.blotter.open[self.key]
        report = REPORTS.unpack(REPORTS.pack(order_report(order)))
        view, row = Order(report), order_row(order)  # type: ignore[arg-type]
        assert (view.qty, view.limit_price, view.filled_qty) == (self.qty, self.limit, self.filled)
        assert (D(row.qty), D(row.limit_price or 0), D(row.filled)) == (self.qty, self.limit, self.filled)
        left = self.qty - self.filled
        held = Balances(D(0)).held([order])
        assert held == ({"USD": left * self.limit} if self.side == "buy" else {"BTC": left})

    @invariant()
    def risk_counts_what_is_open_as_what_it_is(self) -> None:
        """A position limit is met to the last digit, and the self-trade guard at the very price, or prices."""
        if not self.key:
            return
        lot = D(1).scaleb(-self.kraken.qty_decimals)
        asked = make_intent(self.kraken, self.side, lot, {"limit": D(1)}, self.now)
        whole = max(self.qty, self.asked[1] if self.asked else self.qty)
        worst = abs(self.position) + whole - self.filled + lot
        for most, is_refused in ((worst, False), (worst - D("1e-12"), True)):
            limits = RiskLimits(
                price_collar_percent=D(10**9), self_trade_guard=False,
                pairs={"BTC/USD": PairLimits(position_qty_max=most)},
            )  # fmt: skip
            why = self.ask(limits, asked, position=abs(self.position) if self.side == "buy" else -abs(self.position))
            assert (why is not None) is is_refused, why
        other = "sell" if self.side == "buy" else "buy"
        tick = D(1).scaleb(-self.kraken.price_decimals)
        own = {self.limit, self.asked[0] if self.asked else self.limit}  # an amend under way may have been carried out
        for price in {self.kraken.round_price(self.limit, "down"), self.kraken.round_price(self.limit, "up")}:
            meets = any(price <= limit if other == "sell" else price >= limit for limit in own)
            if price >= tick:
                intent = make_intent(self.kraken, other, D(1), {"limit": price}, self.now)
                why = self.ask(RiskLimits(price_collar_percent=D(10**9)), intent)
                assert (why is not None) is meets, why
                assert why is None or "self_trade_guard" in why.text

    # --- steps

    @property
    def top(self) -> TopOfBook:
        one = PriceTicks(10**self.book_decimals)
        return TopOfBook(one, PriceTicks(one + 1), self.book_decimals, is_live=True, age_ns=0)

    def ask(self, limits: RiskLimits, intent: OrderIntent, position: D | None = None) -> str | None:
        return Risk(limits).refusal(
            intent, strategy="quoter", pair=self.kraken, top=self.top, open_orders=self.blotter.open_on("BTC/USD"),
            position=self.position if position is None else position, now=MonoNs(1),
        )  # fmt: skip

    def is_stale(self, asked: OrderIntent | Amendment) -> bool:
        return (asked.price_decimals, asked.qty_decimals) != (self.kraken.price_decimals, self.kraken.qty_decimals)

    def write(self, records: Any) -> Any:
        self.now = WallNs(self.now + 1)
        return commit(self.blotter, records, self.journal)

    def tell(self, exec_type: str, **told: Any) -> Any:
        self.now = WallNs(self.now + 1)
        decimals = {"order_qty": self.kraken.qty_decimals, "cum_qty": self.kraken.qty_decimals,
                    "last_qty": self.kraken.qty_decimals, "limit_price": self.kraken.price_decimals}  # fmt: skip
        padded = {
            name: as_printed(value, decimals[name]) if name in decimals else value for name, value in told.items()
        }
        fact = ExecutionFact(exec_type=exec_type, order_id=f"O{self.number}", timestamp=self.now, cl_ord_id=self.key,
                             **padded)  # fmt: skip
        return self.write(self.blotter.on_execution(fact, {"BTC/USD": self.kraken}.get, self.now))

    def look_up(self, status: str) -> None:
        found = OrderLookup(
            order_id=f"O{self.number}", status=status, cl_ord_id=self.key, side=self.side,
            qty=as_printed(self.qty, self.kraken.qty_decimals),
            filled_qty=as_printed(self.filled, self.kraken.qty_decimals),
            limit_price=as_printed(self.limit, self.kraken.price_decimals),
        )  # fmt: skip
        self.write(self.blotter.on_lookup(found, self.now))

    def check_wire(self, frame: bytes, price: str, qty: str, limit: D | None, wanted_qty: D | None) -> None:
        params = json.loads(frame, parse_float=Decimal)["params"]
        assert (params.get(price), params.get(qty)) == (limit, wanted_qty)


def as_printed(value: Decimal, decimals: int) -> Decimal:
    """Padded to the pair's decimals, where they are enough."""
    padded = value.quantize(D(1).scaleb(-decimals))
    return padded if padded == value else value


TestLife = Life.TestCase
TestLife.settings = times(4, stateful_step_count=40)
