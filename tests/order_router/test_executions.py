"""Whether the feed of the account can be relied upon: pairs that are certain are traded, the rest waits."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from engine.kraken.rest import order_replies
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import RestRefusal
from engine.order_router.core.executions import END_PATIENCE_NS, FEED_SILENCE_NS, UNSEEN
from engine.order_router.router import QUIET_TIMER_NS
from engine.orders.intent import Amendment, Trigger
from engine.orders.journal_records import AmendSent, Ended
from engine.orders.life import OrderState
from engine.orders.rings.commands import Cancel, Submit
from engine.orders.rings.reports import Fill, OrderReport, Position
from engine.orders.venue_facts import ExecutionFact, Fee, FeedAlive, FeedLost, OrderLookup
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, QtyLots, WallNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import AT, fact, limit, submitted, trade


class Account:
    """A router's view of the account, with two open orders."""

    def __init__(self) -> None:
        self.rig = RouterRig()
        self.clock, self.core = self.rig.clock, self.rig.core
        self.core.begin()
        self.rig.know_pairs()
        records = self.core.records
        for key, symbol in (("one", "BTC/USD"), ("two", "ETH/USD")):
            records.commit([submitted(key=key, intent=limit(symbol=symbol))])
            records.commit(records.blotter.on_acknowledged(key, f"O{key}", self.clock.wall_ns()))
        self.clock.advance(NS_PER_S)

    def snapshot(self, *listed: str) -> None:
        """The feed is there again, with these orders open."""
        self.rig.snapshot(*(
            ExecutionFact(exec_type="new", order_id=f"O{key}", timestamp=AT, cl_ord_id=key, is_snapshot=True)
            for key in listed
        ))  # fmt: skip

    def take(self, fact: Any) -> None:
        self.rig.fact(fact)

    def reasons(self) -> tuple[str, str]:
        """Why no order is taken on either pair."""
        return self.core.gate.closed_reason_of("BTC/USD"), self.core.gate.closed_reason_of("ETH/USD")


def order_row(key: str, *, status: str) -> dict[str, Any]:
    """An order as REST tells it."""
    return {
        "cl_ord_id": key, "status": status, "opentm": AT / NS_PER_S, "vol": "1", "vol_exec": "0", "cost": "0",
        "fee": "0", "price": "0", "descr": {"pair": "ETHUSD", "type": "buy", "ordertype": "limit", "price": "100"},
    }  # fmt: skip


@pytest.fixture
def account() -> Account:
    return Account()


def test_an_order_for_money_is_told_with_its_money(account: Account) -> None:
    """By each report of it: that of a later run is all that its strategy knows."""
    intent = limit(order_type="market", qty="0", price=None, cash_qty=Decimal(50))
    records = account.core.records
    records.commit([submitted(key="money", intent=intent, strategy=STRATEGY)])
    records.commit(records.blotter.on_acknowledged("money", "Omoney", AT))
    *_, last = [report for report in account.rig.told() if isinstance(report, OrderReport)]

    assert (last.key, last.state, last.cash_qty) == ("money", OrderState.WORKING, Decimal(50))


def test_an_order_that_a_snapshot_does_not_list_shuts_its_own_pair_only(account: Account) -> None:
    """Until REST has told of it; the gate itself is open."""
    account.snapshot("one")
    before, is_open = account.reasons(), account.core.gate.report.is_open
    account.rig.work_for(NS_PER_S // 10)
    question = account.rig.take_call("QueryOrders")
    account.rig.answer(question, {"Otwo": order_row("two", status="canceled")})

    assert question.request.fields["txid"] == "Otwo"
    assert is_open
    assert before == ("", "open orders on ETH/USD that Kraken does not list are looked up")
    assert account.reasons() == ("", "")
    assert account.core.account.counts["snapshots_reconciled"] == 1


def test_a_later_snapshot_that_lists_all_makes_every_pair_certain(account: Account) -> None:
    """Whatever the one before had left open; an answer about that one is no news then."""
    account.snapshot()
    account.snapshot("one", "two")
    certain = account.reasons()
    account.core.account.accounted_for(["one", "two"])

    assert certain == account.reasons() == ("", "")


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (FeedLost("connection lost: reset"), "private WebSocket has told no snapshot yet: connection lost: reset"),
        (FeedLost("wss://x: connection refused", trouble="unreachable"),
         "private WebSocket unreachable: wss://x: connection refused"),
        (FeedLost("EAPI:Invalid key", trouble="has no token"), "private WebSocket has no token: EAPI:Invalid key"),
    ],
)  # fmt: skip
def test_the_reason_is_what_the_feed_lacks(account: Account, fact: FeedLost, reason: str) -> None:
    """It is reconciled only while a snapshot is on its way."""
    account.snapshot("one", "two")
    account.take(fact)

    assert account.reasons() == (reason, reason)


def filled_by_a_trade(account: Account) -> ExecutionFact:
    """The row that fills the first order, all of it."""
    return trade(qty="1", order_id="Oone", cl_ord_id="one", at=WallNs(account.clock.wall_ns()))


def test_the_end_of_a_filled_order_that_is_never_told_is_asked_for(account: Account) -> None:
    """As the last message for a while it is missing in no numbers."""
    account.snapshot("one", "two")
    account.take(filled_by_a_trade(account))
    before = account.core.blotter.open["one"].state
    account.rig.work_for(END_PATIENCE_NS + NS_PER_S, account.rig.keep_alive)
    call = account.rig.take_call("QueryOrders")
    row = order_row("one", status="closed") | {"vol_exec": "1", "cost": "100", "fee": "0.16", "price": "100"}
    row["descr"] = row["descr"] | {"pair": "XBTUSD"}
    account.rig.answer(call, {"Oone": row})

    assert (before, call.request.fields["txid"]) == (OrderState.PARTIAL, "Oone")
    assert account.core.blotter.get("one").state is OrderState.FILLED  # type: ignore[union-attr]


def test_the_end_of_a_filled_order_that_is_told_costs_no_call(account: Account) -> None:
    """As nearly always."""
    account.snapshot("one", "two")
    account.take(filled_by_a_trade(account))
    account.take(ExecutionFact(exec_type="filled", order_id="Oone", timestamp=AT, cl_ord_id="one", cum_qty=Decimal(1)))
    account.rig.work_for(END_PATIENCE_NS + NS_PER_S, account.rig.keep_alive)
    asked = []
    while (call := account.rig.calls.take_due()) is not None:
        asked.append(call.request.name)

    assert "QueryOrders" not in asked


def test_a_fact_that_cannot_be_is_told_in_the_log(account: Account) -> None:
    """The cancel of an order that is filled has no effect; a person reads of it, and how many there were."""
    account.snapshot("one", "two")
    with capture_logs() as logs:
        for exec_type in ("filled", "canceled", "canceled"):
            account.take(ExecutionFact(exec_type=exec_type, order_id="Oone", timestamp=AT, cl_ord_id="one"))
    told = [(line["id"], line["quarantined"]) for line in logs if line["event"] == "fact not acted upon"]

    assert told[0] == ("one", 1)
    assert len(told) == account.core.blotter.quarantined


def test_a_feed_that_says_nothing_for_three_seconds_shuts_the_gate_until_it_speaks(account: Account) -> None:
    """What it is late with does not open it: the last thing that Kraken said must be of just now."""
    account.snapshot("one", "two")
    account.clock.advance(FEED_SILENCE_NS)
    account.rig.work()
    in_time = account.reasons()
    account.rig.work_for(QUIET_TIMER_NS)
    silent = account.reasons()
    heard_at = MonoNs(account.clock.mono_ns() - FEED_SILENCE_NS - 1)
    account.take(FeedAlive(heard_at, heard_at))
    late = account.reasons()
    account.take(FeedAlive(account.clock.mono_ns(), heard_at))

    assert in_time == ("", "")
    assert silent == late == ("the private feed's process gives no sign of life",) * 2
    assert account.reasons() == ("", "")


def test_a_frozen_feed_that_comes_back_with_a_lost_connection_says_so(account: Account) -> None:
    """Then its snapshot opens the gate, as ever."""
    account.snapshot("one", "two")
    account.rig.work_for(2 * FEED_SILENCE_NS)
    account.take(FeedLost("connection lost: silent"))
    lost = account.reasons()
    account.snapshot("one", "two")

    assert lost[0] == "private WebSocket has told no snapshot yet: connection lost: silent"
    assert account.reasons() == ("", "")


def test_a_cancel_that_ends_nothing_is_sent_less_and_less(account: Account) -> None:
    """Kraken says yes each time, and the order stays; each costs the pair's counter."""
    account.snapshot("one", "two")
    account.rig.connect()
    account.rig.command(Cancel("quoter", ["one"]))
    cancels: list[dict[str, Any]] = []

    def answer() -> None:
        account.rig.keep_alive()
        for request in account.rig.socket.take():
            if request["method"] == "cancel_order":
                cancels.append(request)
                account.rig.frame({"method": "cancel_order", "req_id": request["req_id"], "success": True,
                                   "result": {"order_id": "Oone"}})  # fmt: skip

    account.rig.work_for(120 * NS_PER_S, answer)
    in_two_minutes = len(cancels)
    account.snapshot("one", "two")
    account.rig.work_for(NS_PER_S // 10, answer)

    assert 6 <= in_two_minutes <= 9
    assert len(cancels) == in_two_minutes + 1, "a feed that is back ends the pause"


@pytest.mark.parametrize(
    ("change", "told", "reason"),
    [
        ({"trigger_price": Decimal(95)}, {"trigger_price": Decimal(95)}, ""),
        ({"trigger_price": Decimal(95)}, {"trigger_price": Decimal(90)}, "amend refused: Kraken did not get it"),
        ({"trigger_price": Decimal(95)}, {}, f"amend in doubt: {UNSEEN.text}"),
        ({"display_qty": QtyLots(5)}, {"qty": Decimal(1)}, f"amend in doubt: {UNSEEN.text}"),
        ({"qty": QtyLots(5)}, {"qty": Decimal(1)}, "amend refused: Kraken did not get it"),
    ],
)
def test_an_amend_in_doubt_is_said_to_have_failed_only_where_that_shows(
    account: Account, change: dict[str, Any], told: dict[str, Any], reason: str
) -> None:
    """REST tells quantity, limit and trigger of an order: what else an amend was to change may be so, or may not.

    Its deadline is over, and everything that the executions had to tell until then was told.
    """
    account.snapshot("one", "two")
    stop = limit("sell", price=None, order_type="stop-loss", trigger=Trigger(Decimal(90)))
    records = account.core.records
    records.commit([submitted(key="stop", intent=stop)])
    records.commit(records.blotter.on_acknowledged("stop", "Ostop", AT))
    records.commit([AmendSent("stop", Amendment(price_decimals=1, qty_decimals=8, **change), AT)])
    account.core.account.found(OrderLookup(order_id="Ostop", status="open", **told), [])
    order = records.blotter.open["stop"]

    assert (order.pending, order.reason) == ("", reason)


def test_an_amend_in_doubt_is_not_said_to_have_failed_before_its_deadline(account: Account) -> None:
    """Kraken may begin with it until then; and what it then did, the executions tell a moment later."""
    account.snapshot("one", "two")
    records, sent_at = account.core.records, account.clock.wall_ns()
    change = Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(5))
    records.commit([AmendSent("one", change, sent_at, WallNs(sent_at + NS_PER_S))])
    account.core.settle("one")
    told: list[tuple[float, str]] = []

    def answer() -> None:
        account.rig.keep_alive()
        while (call := account.rig.calls.take_due()) is not None:
            account.rig.answer(call, {"Oone": order_row("one", status="open")})
        order = records.blotter.open["one"]
        if not order.pending and not told:
            told.append(((account.clock.wall_ns() - sent_at) / NS_PER_S, order.reason))

    account.rig.work_for(4 * NS_PER_S, answer)

    assert [reason for _, reason in told] == ["amend refused: Kraken did not get it"]
    assert 1.2 <= told[0][0] <= 2


def test_an_amend_that_rest_alone_could_tell_of_stays_in_doubt(account: Account) -> None:
    """REST lags: an order that it tells as it was before proves nothing."""
    account.snapshot("one", "two")
    account.take(FeedLost("connection lost: reset"))
    records, sent_at = account.core.records, account.clock.wall_ns()
    change = Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(5))
    records.commit([AmendSent("one", change, sent_at, WallNs(sent_at + NS_PER_S))])
    account.core.settle("one")

    def answer() -> None:
        while (call := account.rig.calls.take_due()) is not None:
            account.rig.answer(call, {"Oone": order_row("one", status="open")})

    account.rig.work_for(4 * NS_PER_S, answer)
    order = records.blotter.open["one"]

    assert (order.pending, order.reason) == ("", f"amend in doubt: {UNSEEN.text}")


@pytest.mark.parametrize("others", [0, 1])
def test_krakens_lower_count_is_taken_though_its_own_answer_is_still_to_come(others):
    """The row of an order proves that its request was counted; a second request may not be yet."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    keys = [f"quoter{number:012}" for number in range(1, 2 + others)]
    for key in keys:
        rig.command(Submit(STRATEGY, key, limit(price="95"), rig.clock.mono_ns(), 0))
    counter = rig.core.rates.of(limit().symbol)
    before = counter.level
    rig.fact(fact("new", order_id="O1", cl_ord_id=keys[0], symbol="BTC/USD", rate_count=Decimal(0)))

    assert before > 0
    assert (counter.level == 0) is (others == 0)


def test_a_fill_that_rest_tells_late_is_asked_for_however_many_orders_ended_since(account: Account) -> None:
    """An order's end was told, its fill was not, and REST does not have it for as long as it may lag."""
    rig, core = account.rig, account.core
    row = order_row("one", status="closed") | {"vol_exec": "1", "cost": "100", "trades": ["T1"]}
    row["descr"]["pair"] = "BTCUSD"
    results = {"OpenOrders": {"open": {}}, "QueryOrders": {"Oone": row}, "QueryTrades": {}}

    def is_asked_for_in(seconds: int) -> bool:
        asked = []
        for _ in range(seconds):
            rig.work_for(NS_PER_S, rig.keep_alive)
            rig.told()
            while (call := rig.calls.take_due()) is not None:
                asked.append(call.request.fields.get("txid", ""))
                rig.answer(call, results.get(call.request.name, {}))
        return any("Oone" in ids for ids in asked)

    account.snapshot("one", "two")
    account.take(fact("filled", order_id="Oone", cl_ord_id="one", cum_qty=Decimal(1)))
    at_once = is_asked_for_in(15)
    for number in range(250):
        core.records.commit([submitted(key=f"more{number}", intent=limit(symbol="ETH/USD"))])
        core.records.commit([Ended(f"more{number}", "canceled", "User requested", QtyLots(0), 8, AT)])
    is_asked_for_in(30)

    assert at_once
    assert is_asked_for_in(300)


def test_fees_of_one_fill_in_the_same_asset_add_up(account: Account) -> None:
    """Kraken tells fees as a list; a strategy has them by asset, and its position the same."""
    account.snapshot("one", "two")
    account.rig.told()
    fees = (Fee("USD", Decimal("0.1")), Fee("KFEE", Decimal(4)), Fee("USD", Decimal("0.2")))
    account.take(replace(trade(order_id="Oone", cl_ord_id="one"), fees=fees))
    told = account.rig.told()
    (fill,) = (report for report in told if isinstance(report, Fill))
    (position,) = (report for report in told if isinstance(report, Position) and report.qty)

    assert fill.fees == {"USD": Decimal("0.3"), "KFEE": Decimal(4)}
    assert position.fees == Decimal("0.3")


def test_a_fill_that_rest_tells_of_a_pair_listed_since_has_its_fee(account: Account) -> None:
    """REST's names for pairs are asked for once; the order knows its quote currency."""
    account.snapshot("one", "two")
    account.take(ExecutionFact(exec_type="filled", order_id="Otwo", cl_ord_id="two", timestamp=AT, cum_qty=Decimal(1)))
    row = {
        "ordertxid": "Otwo", "pair": "LISTEDSINCE", "time": AT / NS_PER_S, "type": "buy", "ordertype": "limit",
        "price": "90", "cost": "90", "fee": "0.36", "vol": "1", "trade_id": 1, "maker": True,
    }  # fmt: skip
    fills = order_replies.read_query_trades(200, msgspec.json.encode({"error": [], "result": {"T1": row}}), RestPairs())
    assert not isinstance(fills, RestRefusal)
    for fill in fills:
        account.core.account.take(fill)
    position = account.core.blotter.positions.of(STRATEGY, "ETH/USD")

    assert (position.qty, position.fees) == (1, Decimal("0.36"))


@pytest.mark.parametrize(("row_ms", "is_taken"), [(-1, False), (0, True)])
def test_a_count_from_before_a_request_that_was_answered_lowers_nothing(row_ms, is_taken):
    """Rows come on a connection of their own: one may have been on its way while a batch was sent and answered."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    key = "quoter000000000001"
    rig.command(Submit(STRATEGY, key, limit(price="95"), rig.clock.mono_ns(), 0))
    (request,) = rig.socket.take()
    answered_at = WallNs(AT + 500 * NS_PER_MS)
    time_in = "2001-09-09T01:46:40.500000Z"
    result = {"order_id": "O1", "cl_ord_id": key}
    rig.frame({"method": "add_order", "req_id": request["req_id"], "success": True, "result": result,
               "time_in": time_in, "time_out": time_in})  # fmt: skip
    counter = rig.core.rates.of(limit().symbol)
    before = counter.level
    at = WallNs(answered_at + row_ms * NS_PER_MS)
    rig.fact(fact("new", order_id="O2", cl_ord_id="other", symbol="BTC/USD", rate_count=Decimal(0), at=at))

    assert before > 0
    assert (counter.level == 0) is is_taken
