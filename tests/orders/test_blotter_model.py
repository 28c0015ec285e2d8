"""The blotter against a naive Kraken: facts late, lost, doubled and out of order, crashes in between.

The model knows what really happened. Its news lies in two heaps (answers and reports); the machine hands them over
in any order, twice or never. Then the link is mended as the router does it (snapshot, lookups), and both must agree:
order by order, fill by fill, position by position. Twice mended is as once.
"""

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct, field

from engine.orders.blotter import Blotter, fold, missing_from
from engine.orders.intent import Amendment
from engine.orders.journal_records import AmendSent, CancelSent, Submitted
from engine.orders.life import OrderState
from engine.orders.venue_facts import ExecutionFact, Fee, OrderLookup
from engine.units import PriceTicks, QtyLots, WallNs
from tests.orders.rig import AT, PAIRS, commit, limit, refused, submitted

S = OrderState
LOT = Decimal("0.00000001")


class Truth(Struct):
    """One order as the model's Kraken has it."""

    order_id: str
    key: str | None
    userref: int | None
    side: str
    qty: int
    price: int
    status: str = "open"
    filled: int = 0
    cost: Decimal = Decimal(0)
    trades: list[ExecutionFact] = field(default_factory=list)

    @property
    def ids(self):
        """As every report has them."""
        return {"order_id": self.order_id, "cl_ord_id": self.key, "order_userref": self.userref}

    def is_(self, order):
        """Is this the truth of that order?"""
        is_named = self.key is not None or self.userref is not None
        return self.order_id == order.order_id or (
            is_named and (self.key, self.userref) == (order.cl_ord_id, order.userref)
        )

    def whole(self, exec_type, at, **more):
        """A report that tells all of it."""
        return ExecutionFact(
            exec_type=exec_type, timestamp=at, symbol="BTC/USD", side=self.side, order_type="limit",
            order_qty=self.qty * LOT, limit_price=Decimal(self.price) / 10, cum_qty=self.filled * LOT,
            **self.ids, **more,
        )  # fmt: skip

    def found(self):
        """As REST tells it."""
        return OrderLookup(
            order_id=self.order_id, cl_ord_id=self.key, order_userref=self.userref, status=self.status,
            qty=self.qty * LOT, filled_qty=self.filled * LOT, limit_price=Decimal(self.price) / 10,
        )  # fmt: skip


class Mending(RuleBasedStateMachine):
    """Two parties, and news between them that cannot be relied upon."""

    @initialize()
    def begin(self):
        self.now = AT
        self.journal = []
        self.blotter = Blotter()
        self.truths = []
        self.submitted = {}
        self.answers = []
        self.reports = []
        self.facts_since = 0  # records at the journal's end that a crash may take: facts, which are told again
        self.number = 0

    # --- steps

    def tick(self):
        self.now = WallNs(self.now + 1000)
        return self.now

    def write(self, records, *, can_be_lost=True):
        records = list(records)
        commit(self.blotter, records, self.journal)
        self.facts_since = self.facts_since + len(records) if can_be_lost else 0

    def hear(self, fact):
        self.write(self.blotter.on_execution(fact, PAIRS.get, self.now))

    def report(self, fact):
        self.reports.append(fact)

    def open_truths(self):
        return [truth for truth in self.truths if truth.status == "open"]

    def any_open(self, data):
        return data.draw(st.sampled_from(self.open_truths()))

    # --- what we do

    @rule(
        side=st.sampled_from(["buy", "sell"]), qty=st.integers(1, 5), price=st.integers(990, 1010),
        fate=st.sampled_from(["placed", "placed", "placed", "lost", "refused"]), has_userref=st.booleans(),
    )  # fmt: skip
    def submit(self, side, qty, price, fate, has_userref):
        """An order leaves; it arrives, or not, or is refused."""
        self.number += 1
        key, at = f"quoter00001a{self.number:06}", self.tick()
        userref = self.number if has_userref else None
        self.write([submitted(key, limit(side, str(qty), str(Decimal(price) / 10)), at=at, userref=userref)],
                   can_be_lost=False)  # fmt: skip
        self.submitted[key] = fate
        if fate == "refused":
            self.answers.append((key, "no", ""))
        elif fate == "placed":
            self.number += 1
            truth = Truth(f"O{self.number}", None if has_userref else key, userref, side, qty * 10**8, price)
            self.truths.append(truth)
            self.answers.append((key, "yes", truth.order_id))
            self.report(truth.whole("pending_new", self.tick()))
            self.report(ExecutionFact(exec_type="new", timestamp=self.now, **truth.ids))

    @rule(side=st.sampled_from(["buy", "sell"]), qty=st.integers(1, 5), filled=st.integers(0, 1))
    def somebody_else_submits(self, side, qty, filled):
        """An order that no journal of ours knows; perhaps its first report is a snapshot's."""
        self.number += 1
        truth = Truth(f"O{self.number}", None, None, side, qty * 10**8, 1000)
        self.truths.append(truth)
        self.report(truth.whole("pending_new", self.tick()))

    def amendable(self):
        return [
            order for order in self.blotter.open.values()
            if order.state in (S.WORKING, S.PARTIAL) and not order.pending and order.strategy
        ]  # fmt: skip

    def truth_of(self, order_id):
        return next(truth for truth in self.truths if truth.order_id == order_id)

    @precondition(lambda self: self.amendable())
    @rule(data=st.data(), price=st.integers(990, 1010), fate=st.sampled_from(["done", "done", "lost", "refused"]))
    def amend(self, data, price, fate):
        """One request at a time."""
        order = data.draw(st.sampled_from(self.amendable()))
        truth = self.truth_of(order.order_id)
        change = Amendment(
            price_decimals=1, qty_decimals=8, limit_price=PriceTicks(price), qty=QtyLots(order.qty + 10**8)
        )
        self.write([AmendSent(order.key, change, self.tick())], can_be_lost=False)
        arrived = self.tick()
        if fate == "refused" or (fate == "done" and truth.status != "open"):
            self.answers.append((order.key, "amend refused", ""))
        elif fate == "done":
            truth.qty, truth.price = change.qty, price
            self.answers.append((order.key, "amended", arrived))
            self.report(
                ExecutionFact(
                    exec_type="amended", timestamp=self.tick(), order_qty=truth.qty * LOT,
                    limit_price=Decimal(price) / 10, **truth.ids,
                )
            )  # fmt: skip

    @precondition(lambda self: self.amendable())
    @rule(data=st.data(), fate=st.sampled_from(["done", "lost"]))
    def cancel(self, data, fate):
        """Or it is lost."""
        order = data.draw(st.sampled_from(self.amendable()))
        truth = self.truth_of(order.order_id)
        self.write([CancelSent(order.key, self.tick())], can_be_lost=False)
        if fate == "done" and truth.status == "open":
            self.finish(truth, "canceled")

    # --- what happens at Kraken

    @precondition(lambda self: self.open_truths())
    @rule(data=st.data(), part=st.integers(1, 4), fee_asset=st.sampled_from(["USD", "USD", "BTC"]))
    def fill(self, data, part, fee_asset):
        """A part, or all that is left."""
        truth = self.any_open(data)
        lots = max((truth.qty - truth.filled) * part // 4, 1)
        self.number += 1
        price = Decimal(truth.price) / 10
        trade = ExecutionFact(
            exec_type="trade", timestamp=self.tick(), symbol="BTC/USD", side=truth.side, exec_id=f"T{self.number}",
            trade_id=self.number, last_qty=lots * LOT, last_price=price, cost=price * lots * LOT, liquidity="m",
            fees=(Fee(fee_asset, lots * LOT * (Decimal("0.25") if fee_asset == "USD" else Decimal("0.0025"))),),
            **truth.ids,
        )  # fmt: skip
        truth.filled += lots
        truth.cost += trade.cost
        truth.trades.append(trade)
        self.report(trade)
        if truth.filled == truth.qty:
            self.finish(truth, "closed")

    @precondition(lambda self: self.open_truths())
    @rule(data=st.data(), how=st.sampled_from(["canceled", "expired"]))
    def end(self, data, how):
        """By itself."""
        self.finish(self.any_open(data), how)

    def finish(self, truth, status):
        truth.status = status
        exec_type = "filled" if status == "closed" else status
        self.report(ExecutionFact(exec_type=exec_type, timestamp=self.tick(), cum_qty=truth.filled * LOT, **truth.ids))

    # --- what is heard of it

    @precondition(lambda self: self.reports)
    @rule(data=st.data(), again=st.booleans(), lost=st.sampled_from([False, False, False, True]))
    def hear_a_report(self, data, again, lost):
        """Any of them, perhaps not for the last time, or never."""
        index = data.draw(st.integers(0, min(len(self.reports) - 1, 5)))
        fact = self.reports[index] if again and not lost else self.reports.pop(index)
        if not lost:
            self.hear(fact)

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), lost=st.sampled_from([False, False, True]))
    def hear_an_answer(self, data, lost):
        """Of whichever request."""
        key, what, told = self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1)))
        if lost:
            return
        blotter = self.blotter
        match what:
            case "yes":
                self.write(blotter.on_acknowledged(key, told, self.now))
            case "no":
                self.write(blotter.on_rejected(key, refused("EOrder:Insufficient funds"), self.now))
            case "amended":
                self.write(blotter.on_amended(key, self.now, told))
            case "amend refused":
                self.write(blotter.on_request_refused(key, "amend", refused("EOrder:Unknown order"), self.now))

    # --- what goes wrong, and how it is mended

    @rule(take=st.integers(0, 12))
    def crash(self, take):
        """Between any two records that only tell what happened: what is lost is told again."""
        lost = min(take, self.facts_since)
        if lost:
            del self.journal[-lost:]
        self.facts_since = 0
        self.blotter = fold(self.journal)
        # With the process go its connections: late answers never come.
        self.answers.clear()
        self.doubt()

    def doubt(self):
        for order in list(self.blotter.open.values()):
            self.write(self.blotter.on_doubt(order.key, "the link was lost", self.now))

    def mend(self):
        """As the router does after its connections came back: snapshot, then lookups of what it does not tell."""
        blotter = self.blotter
        self.doubt()
        written = len(self.journal)
        for truth in self.open_truths():
            self.hear(truth.whole("new", self.tick(), is_snapshot=True))
        for trade in [trade for truth in self.truths for trade in truth.trades][-50:]:
            self.hear(snapshot_row(trade))
        listed = [truth.order_id for truth in self.open_truths()]
        for order in [*blotter.in_doubt(), *missing_from(list(blotter.open.values()), listed)]:
            self.look_up(order)
        for order in [*blotter.open.values(), *blotter.ended.values()]:
            if order.fills_missing:
                self.look_up(order)
        for order in list(blotter.open.values()):
            self.write(blotter.on_request_refused(order.key, order.pending, refused("Kraken did not get it"), self.now))
        return len(self.journal) - written

    def look_up(self, order):
        truth = next((truth for truth in self.truths if truth.is_(order)), None)
        if truth is None:
            self.write(self.blotter.on_absent(order.key, "it never reached Kraken", self.now))
            return
        if not order.is_external:
            for trade in truth.trades:
                self.hear(trade)
        self.write(self.blotter.on_lookup(truth.found(), self.now))

    @rule()
    def lose_the_link_and_mend_it(self):
        """Everything under way is lost; then both sides agree."""
        self.answers.clear()
        self.reports.clear()
        self.mend()
        before = self.blotter.state_hash()

        self.check_agreement()
        assert self.mend() == 0, "mended twice is as mended once"
        assert self.blotter.state_hash() == before

    def check_agreement(self):
        blotter = self.blotter
        states = {
            "open": (S.WORKING, S.PARTIAL),
            "closed": (S.FILLED,),
            "canceled": (S.CANCELED,),
            "expired": (S.EXPIRED,),
        }
        known = {order.order_id: order for order in [*blotter.open.values(), *blotter.ended.values()] if order.order_id}
        mine = {True: Decimal(0), False: Decimal(0)}
        for truth in self.truths:
            order = known.get(truth.order_id)
            is_mine = truth.key is not None or truth.userref is not None
            if order is None:
                assert not is_mine
                assert truth.status != "open"
                continue
            assert order.state in states[truth.status]
            assert not order.pending or not order.is_open
            assert order.filled + order.filled_before == truth.filled or not is_mine
            if truth.status == "open":
                assert (order.qty, order.limit_price) == (truth.qty, truth.price)
                assert order.filled_at_venue == truth.filled
                assert (order.state is S.PARTIAL) == (truth.filled > 0)
            if is_mine:
                assert order.cost == truth.cost
                assert order.fees == fees_of(truth)
                signed = truth.filled if truth.side == "buy" else -truth.filled
                mine[True] += signed * LOT - fees_of(truth).get("BTC", Decimal(0))
        assert blotter.positions.qty("quoter", "BTC/USD") == mine[True]
        placed = {truth.key for truth in self.truths} | {
            f"quoter00001a{t.userref:06}" for t in self.truths if t.userref
        }
        for key in self.submitted:
            assert (blotter.get(key).state is S.REJECTED) == (key not in placed)

    @invariant()
    def the_state_is_what_the_journal_comes_to(self):
        """At every moment; and a snapshot comes to the same."""
        state_hash = self.blotter.state_hash()
        again = Blotter()
        again.apply(self.blotter.snapshot(self.now))

        assert fold(self.journal).state_hash() == again.state_hash() == state_hash

    @invariant()
    def no_order_has_two_places(self):
        """Open or ended, under one name each, and every index agrees."""
        blotter = self.blotter
        assert not blotter.open.keys() & blotter.ended.keys()
        assert all(order.is_open for order in blotter.open.values())
        assert not any(order.is_open for order in blotter.ended.values())
        assert {order.key for order in blotter.open_on("BTC/USD")} == blotter.open.keys()
        sent = [record.key for record in self.journal if isinstance(record, Submitted)]
        assert sent == list(self.submitted)


def snapshot_row(trade):
    """The same fill as a snapshot tells it."""
    return ExecutionFact(**{name: getattr(trade, name) for name in trade.__struct_fields__} | {"is_snapshot": True})


def fees_of(truth):
    """By asset."""
    fees = {}
    for trade in truth.trades:
        for fee in trade.fees:
            fees[fee.asset] = fees.get(fee.asset, Decimal(0)) + fee.qty
    return fees


TestMending = Mending.TestCase
