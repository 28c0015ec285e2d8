"""What a strategy hands over may be anything: its order client raises for nothing, and what it sends can be sent on."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from engine import Conditional, ErrorKind
from engine.clock import ManualClock
from engine.errors import EngineStopped
from engine.kraken.trading.order_requests import BatchRow, add_order, amend_order, batch_add
from engine.orders.intent import OrderIntent
from engine.orders.life import OrderState
from engine.orders.rings.commands import (
    Amend,
    Cancel,
    CancelAll,
    StatusRequest,
    StrategyEnded,
    Submit,
    SubmitBatch,
)
from engine.orders.rings.reports import (
    REPORTS,
    Order,
    OrderReport,
    Position,
    ResyncBegan,
    ResyncEnded,
    TradingStatus,
)
from engine.orders.risk import Risk, RiskLimits
from engine.strategy.option_rules import KINDS
from engine.strategy_host import order_client
from engine.strategy_host.order_client import KEYS_PER_COMMAND_MAX, OrderClient
from engine.units import NS_PER_S, MonoNs, WallNs
from tests.examples import times
from tests.strategy_host.rig import NOW, OTHER, PAIR, TOP, ClientRig

DEADLINE = WallNs(NOW + NS_PER_S)


# --- names of the user's own


def test_an_order_has_the_id_that_was_asked_for_once() -> None:
    """Then it is used, whether the order is open or over; one that was refused does not use it up."""
    rig = ClientRig()
    refused = rig.submit(limit=60000, postonly=True, cl_ord_id="mine-17")
    order = rig.submit(limit=60000, cl_ord_id="mine-17")
    again = rig.submit(limit=60001, cl_ord_id="mine-17")

    assert refused.id != "mine-17"
    assert (order.id, order.state) == ("mine-17", OrderState.NEW)
    assert [command.key for command in rig.sent()] == ["mine-17"]
    assert rig.client.order("mine-17") is order
    assert (again.state, again.error.kind, again.id != "mine-17") == (OrderState.REFUSED, ErrorKind.DUPLICATE, True)


def test_an_id_that_the_engine_may_make_is_not_given_away() -> None:
    """It would be a later order's."""
    rig = ClientRig()
    first = rig.submit(limit=60000)

    assert rig.submit(limit=60001, cl_ord_id=f"{first.id[:-1]}z").error.kind is ErrorKind.DUPLICATE


def test_a_batch_has_no_id_twice() -> None:
    """All of it is refused, as for any other mistake."""
    rig = ClientRig()
    row = ("buy", "BTC/USD", "0.01", {"limit": 60000, "cl_ord_id": "mine-17"})
    made = rig.client.submit_batch([row, row])

    assert {order.error.kind for order in made} == {ErrorKind.DUPLICATE}
    assert rig.sent() == []


# --- refusals


WRONG = {
    "a misspelt option": ({"limit": 60000, "postonly": True}, "no option postonly; did you mean post_only?"),
    "a word for a moment": ({"limit": 1, "time_in_force": "gtd", "expire_at": "tomorrow"}, "expire_at must be"),
    "a trailing close at a price": (
        {
            "limit": 1,
            "conditional": Conditional("trailing-stop", trigger_price=Decimal(5), trigger_price_type="static"),
        },
        "its type is pct or quote",
    ),
    "a datetime without timezone": ({"limit": 1, "effective_at": datetime(2030, 1, 1)}, "timezone"),
    "a word for a closing order": ({"limit": 1, "conditional": "x"}, "conditional must be a Conditional"),
    "more than 64 bits": ({"qty": Decimal("1e30")}, "qty 1E+30 is more than any order can have"),
    "no symbol": ({"symbol": None}, "the symbol must be the name of a pair, such as BTC/USD, not None"),
    "a list for a symbol": ({"symbol": []}, "the symbol must be the name of a pair, such as BTC/USD, not a list"),
    "Kraken's old symbol": (
        {"symbol": "XBT/USD"}, "'XBT/USD' cannot be traded: add it to the strategy's symbols; did you mean BTC/USD?"
    ),
    "a symbol in small letters": (
        {"symbol": "btc/usd"}, "'btc/usd' cannot be traded: add it to the strategy's symbols; did you mean BTC/USD?"
    ),
    "another symbol": ({"symbol": "ETC/USD"}, "'ETC/USD' cannot be traded: add it to the strategy's symbols"),
    "a pair that is not known yet": ({"symbol": "SOL/USD"}, "the venue has not told the pair's precision"),
    "neither buy nor sell": ({"side": "bid"}, "side must be buy or sell, not 'bid'"),
    "an id with a blank": ({"limit": 1, "cl_ord_id": "mine 17"}, "cl_ord_id must be a UUID"),
    "a number for an id": ({"limit": 1, "cl_ord_id": 17}, "cl_ord_id must be a UUID"),
    "an id with a closing order": (
        {"limit": 60000, "cl_ord_id": "mine-17", "conditional": Conditional("limit", limit_price=Decimal(70000))},
        "takes no cl_ord_id",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_an_order_that_cannot_be_is_refused_and_nowhere_open(mistake: str) -> None:
    """It is told to the strategy like any other end, and nothing was sent."""
    options, said = WRONG[mistake]
    rig = ClientRig()

    order = rig.submit(**options, tag="mine")

    assert order.state is OrderState.REFUSED
    assert said in order.reason
    assert order.tag == "mine"
    assert rig.client.open_orders == ()
    assert rig.client.order(order.id) is order
    assert rig.news() == [order]
    assert rig.sent() == []
    repr(order)


def test_enums_of_words_and_numbers_of_other_kinds_are_sent_as_plain_ones() -> None:
    """MessagePack has no form for a subclass of str or Decimal."""

    class Word(str):
        __slots__ = ()

    class Amount(Decimal):
        __slots__ = ()

    class Share(float):
        __slots__ = ()

    rig = ClientRig()
    order = rig.submit(
        Amount("0.5"), Word("SELL"), Word("BTC/USD"), limit=Share(60000.5), time_in_force=Word("IOC"), cash_qty=None
    )
    rig.client.cancel_all(Word("BTC/USD"))

    assert order.state is OrderState.NEW, order.reason
    submit, cancel_all = rig.sent()
    assert isinstance(submit, Submit)
    assert (submit.intent.side, submit.intent.qty, submit.intent.limit_price) == ("sell", 50_000_000, 600_005)
    assert cancel_all == CancelAll("quoter", "BTC/USD")


def test_an_order_that_finds_the_ring_full_is_refused_and_nowhere_open() -> None:
    """It did not leave."""
    rig = ClientRig(slot_count=4)
    orders = [rig.submit(limit=60000 + number) for number in range(5)]

    assert [order.state.name for order in orders] == [*["NEW"] * 4, "REFUSED"]
    assert list(rig.client.open_orders) == orders[:4]


def test_an_engine_that_does_not_trade_refuses_and_keeps_nothing_open() -> None:
    """And tells a mistake before that."""
    rig = OrderClient("quoter", None, {"BTC/USD": PAIR}, ManualClock(1, NOW), "it is a rehearsal")

    assert rig.submit("buy", "BTC/USD", 1, {"limit": 1}).reason == "it is a rehearsal"
    assert rig.submit("buy", "BTC/USD", -1, {}).reason == "qty must be a number above 0, not -1"
    assert [order.reason for order in rig.submit_batch([("buy", "BTC/USD", 1, {})] * 2)] == ["it is a rehearsal"] * 2
    assert rig.open_orders == ()


# --- batches

ROW = ("buy", "BTC/USD", "1", {"limit": "60000"})
BATCHES: dict[str, tuple[list[Any], str]] = {
    "another side": ([ROW, ("bid", *ROW[1:])], "order 2 of the batch: side must be buy or sell, not 'bid'"),
    "too short a row": (
        [("buy", "BTC/USD"), ROW], "order 1 of the batch: it must be (side, symbol, qty, options), not 2 of them"
    ),
    "no row at all": ([None, ROW], "order 1 of the batch: it must be (side, symbol, qty, options), not None"),
    "options that are none": (
        [ROW, (*ROW[:3], None)],
        "order 2 of the batch: the options of an order must be a dict, such as {'limit': price}",
    ),
    "a misspelt option": (
        [ROW, (*ROW[:3], {"limt": 1})], "order 2 of the batch: an order has no option limt; did you mean limit?"
    ),
    "one": ([ROW], "a batch has 2 to 15 orders, not 1"),
    "sixteen": ([ROW] * 16, "a batch has 2 to 15 orders, not 16"),
    "two pairs": (
        [ROW, ("buy", "ETH/USD", 1, {})], "a batch has orders of one pair; send one batch for each"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BATCHES)
def test_one_wrong_order_is_the_end_of_its_batch(mistake: str) -> None:
    """Each order of it says why, and none is open."""
    rows, said = BATCHES[mistake]
    rig = ClientRig()

    orders = rig.client.submit_batch(rows)

    assert len(orders) == len(rows)
    assert {(order.state, order.reason) for order in orders} == {(OrderState.REFUSED, said)}
    assert rig.client.open_orders == ()
    assert rig.sent() == []


def test_the_largest_batch_fits() -> None:
    """Fifteen orders with every option of theirs."""
    rig = ClientRig()
    options: Any = {
        "order_type": "trailing-stop-limit", "trigger": Decimal("1." + "1" * 30), "trigger_type": "pct",
        "trigger_reference": "index", "limit_offset": Decimal("-1." + "1" * 30), "limit_offset_type": "pct",
        "post_only": True, "time_in_force": "gtd", "expire_at": NOW + 60 * NS_PER_S,
        "effective_at": NOW + 5 * NS_PER_S, "reduce_only": True, "margin": True, "fee_preference": "quote",
        "stp_type": "cancel_newest",
    }  # fmt: skip

    orders = rig.client.submit_batch([("sell", "BTC/USD", "1", options)] * 15)

    assert {order.state for order in orders} <= {OrderState.NEW, OrderState.REFUSED}
    if orders[0].state is OrderState.REFUSED:
        assert orders[0].reason == "the batch is too long for one command; send it in two"
        assert rig.client.open_orders == ()
    assert all(isinstance(command, SubmitBatch) for command in rig.sent())


@pytest.mark.parametrize("batch", [None, 5, "buy", {}, [], iter(())])
def test_a_batch_that_is_no_list_is_told_in_the_log(batch: Any) -> None:
    """There is no order to tell of."""
    with capture_logs() as logs:
        assert ClientRig().client.submit_batch(batch) == []

    assert [entry["log_level"] for entry in logs] == ["error"]


# --- amends and cancels


def test_an_amend_that_cannot_be_leaves_its_reason_on_the_order() -> None:
    """The order stays as it is, and can be amended still."""
    rig = ClientRig()
    order = rig.working()

    for options, said in (
        ({"price": 1}, "amend refused: amend has no option price; did you mean limit?"),
        ({"limit": float("nan")}, "amend refused: limit must be a number above 0, not NaN"),
        ({"qty": 10**30}, f"amend refused: qty 1{30 * '0'} is more than any order can have"),
        ({"trigger": 1}, "amend refused: a limit order has no trigger to change"),
        (None, "amend refused: the options of an order must be a dict, such as {'limit': price}"),
    ):
        assert rig.client.amend(order, options) is False  # type: ignore[arg-type]
        assert order.reason == said
        assert rig.news() == [order]
    assert order.is_working
    assert rig.sent() == []
    assert rig.client.amend(order, {"limit": "60001"})
    assert [type(command) for command in rig.sent()] == [Amend]


def test_an_amend_before_the_pair_is_known_says_so() -> None:
    """An order of an earlier run is told before its pair's precision is."""
    rig = ClientRig()
    report = OrderReport(
        key="mine", order_id="O1", symbol="SOL/USD", side="buy", order_type="limit", state=OrderState.WORKING,
        price_decimals=2, qty_decimals=8, changed_at=WallNs(NOW),
    )  # fmt: skip
    assert rig.reports.try_publish(REPORTS.pack(report))
    (order,) = rig.news()
    assert isinstance(order, Order)

    assert order.is_working
    assert rig.client.amend(order, {"limit": 61}) is False  # type: ignore[arg-type]
    assert order.reason.startswith("amend refused: SOL/USD cannot be traded: the venue has not told")
    assert rig.sent() == []


@pytest.mark.parametrize("what", [None, 5, "O1", {}])
def test_only_an_order_can_be_amended(what: Any) -> None:
    """What is none is told in the log."""
    with capture_logs() as logs:
        assert ClientRig().client.amend(what, {"limit": 1}) is False

    assert "amend takes an order" in logs[0]["reason"]


def test_a_cancel_of_what_is_no_order_cancels_the_others() -> None:
    """A variable that is still None must not keep the rest alive; a list counts as what is in it."""
    rig = ClientRig()
    first, second, third = (rig.working() for _ in range(3))

    with capture_logs() as logs:
        rig.client.cancel((None, first, "O7", [second, 5], {third}))  # type: ignore[arg-type]

    assert rig.sent() == [Cancel("quoter", [first.id, second.id, third.id])]
    assert [entry["reason"].rpartition("not ")[2] for entry in logs] == ["None", "'O7'", "5"]


def test_the_same_mistake_is_told_once() -> None:
    """However often the strategy makes it."""
    rig = ClientRig()

    with capture_logs() as logs:
        for _ in range(1000):
            rig.client.cancel(None)  # type: ignore[arg-type]

    assert len(logs) == 1


@pytest.mark.parametrize("symbol", ["btc/usd", "FOO/BAR", None, 5, [], "\ud800"])
def test_a_cancel_of_all_on_an_unknown_pair_is_told(symbol: Any) -> None:
    """Else the strategy would believe that all are canceled."""
    rig = ClientRig()
    with capture_logs() as logs:
        rig.client.cancel_all(symbol)
        rig.client.cancel_all("BTC/USD")
        rig.client.cancel_all("")

    assert len(logs) == 1
    assert [command.symbol for command in rig.sent() if isinstance(command, CancelAll)] == ["BTC/USD", ""]


def test_the_end_of_a_strategy_is_told_whatever_it_raised() -> None:
    """An exception's text may be no Unicode."""
    rig = ClientRig()

    rig.client.end("\ud800" * 1000)

    assert rig.sent() == [StrategyEnded("quoter", "?" * 200)]


# --- a report of a key alone


def test_at_the_end_of_a_run_orders_are_refused_and_cancels_are_sent_until_the_router_has_ended() -> None:
    """Then they are told to have come too late, and the order goes on being open."""
    rig = ClientRig()
    order, other = rig.working(), rig.working(symbol="ETH/USD", limit=3000)
    rig.client.send_no_orders()
    for late in (rig.submit(limit=60000), rig.submit(order_type="market"), *rig.client.submit_batch([ROW, ROW])):
        assert late.state is OrderState.REFUSED
        assert late.reason == "the engine is stopping"
    assert not rig.client.amend(order, {"qty": "2"})
    assert order.reason == "amend refused: the engine is stopping"
    assert rig.sent() == []
    rig.client.cancel([other])
    assert rig.sent() == [Cancel("quoter", [other.id])]
    rig.client.router_has_ended()
    with capture_logs() as lines:
        rig.client.cancel([order])
        rig.client.cancel_all("SOL/USD")
        rig.client.cancel_all("BTC/USD")
        rig.client.cancel_all("")

    assert rig.sent() == []
    assert order.is_working
    assert [line["reason"].split(":")[0] for line in lines] == [
        "1 open orders were not canceled",
        "2 open orders were not canceled",
    ]


def test_an_order_that_the_router_does_not_know_ends_as_what_was_asked_for() -> None:
    """One that has ended, or was never ours, stays as it is."""
    rig = ClientRig()
    order = rig.submit("0.01", limit="60000.1")
    asked = order.report
    unknown = OrderReport(
        key=order.id, symbol="", side="", state=OrderState.REFUSED, reason="never sent", error=ErrorKind.TRANSPORT,
        changed_at=NOW,
    )  # fmt: skip
    for report in (unknown, replace(unknown, reason="again"), replace(unknown, key="another")):
        assert rig.reports.try_publish(REPORTS.pack(report))
    told = rig.news()

    assert told == [order]
    assert not order.is_open
    assert order.report == replace(asked, state=OrderState.REFUSED, reason="never sent", error=ErrorKind.TRANSPORT)
    assert list(rig.client.open_orders) == []


def test_a_new_router_is_asked_of_the_orders_that_it_did_not_tell() -> None:
    """The one before may have refused them, or not have taken them."""
    rig = ClientRig()
    working = rig.working()
    untold = [rig.submit("0.01", limit="60000.1") for _ in range(KEYS_PER_COMMAND_MAX + 1)]
    rig.sent()
    for report in (ResyncBegan(), working.report, ResyncEnded()):
        assert rig.reports.try_publish(REPORTS.pack(report))
    rig.news()

    keys = [order.id for order in untold]
    assert rig.sent() == [StatusRequest("quoter", keys[:-1]), StatusRequest("quoter", keys[-1:])]


def test_a_new_router_that_tells_all_is_asked_nothing() -> None:
    rig = ClientRig()
    rig.working()
    for report in (ResyncBegan(), ResyncEnded()):
        assert rig.reports.try_publish(REPORTS.pack(report))
    rig.news()

    assert rig.sent() == []


def test_a_new_router_is_told_that_the_strategy_has_ended() -> None:
    """Orders of it that appear later are to end as well."""
    rig = ClientRig()
    rig.client.end("it raised too often")
    rig.sent()
    for report in (ResyncBegan(), ResyncEnded()):
        assert rig.reports.try_publish(REPORTS.pack(report))
    rig.news()

    assert rig.sent() == [StrategyEnded("quoter", "it raised too often")]


def test_orders_that_were_never_sent_take_no_room_from_those_that_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new router tells again of what ended: that is no news, however many were refused since."""
    monkeypatch.setattr(order_client, "ENDED_ORDERS_KEPT", 3)
    rig = ClientRig()
    order = rig.working()
    over = replace(order.report, state=OrderState.CANCELED)
    assert rig.reports.try_publish(REPORTS.pack(over))
    assert rig.news() == [order]
    refused = [rig.submit("-1") for _ in range(9)]
    rig.news()
    assert rig.reports.try_publish(REPORTS.pack(over))

    assert rig.news() == []
    assert rig.client.ends_told.count == 1
    assert [rig.client.order(each.id) for each in (order, refused[0], refused[-1])] == [order, None, refused[-1]]


def test_an_order_that_has_ended_is_found_by_both_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it is kept; also one whose first report is its last."""
    monkeypatch.setattr(order_client, "ENDED_ORDERS_KEPT", 2)
    rig = ClientRig()
    orders = []
    for number in range(3):
        order = rig.submit(limit=60000)
        over = replace(order.report, order_id=f"O{number}", state=OrderState.CANCELED)
        assert rig.reports.try_publish(REPORTS.pack(over))
        assert rig.news() == [order]
        orders.append(order)

    assert [rig.client.order(f"O{number}") for number in range(3)] == [None, *orders[1:]]
    assert [rig.client.order(order.id) for order in orders] == [None, *orders[1:]]


@pytest.mark.parametrize(
    "left",
    [
        Position("DOGE/USD", Decimal(5), Decimal("0.1")),
        OrderReport(
            key="mine", order_id="O1", symbol="DOGE/USD", side="buy", order_type="limit", state=OrderState.WORKING,
            price_decimals=5, qty_decimals=8, changed_at=WallNs(NOW),
        ),
    ],
    ids=["a position", "an open order"],
)  # fmt: skip
def test_what_an_earlier_run_left_of_a_pair_that_it_had_added_is_known(left: Position | OrderReport) -> None:
    """Its orders are canceled by its name, though this run does not follow it yet."""
    rig = ClientRig()
    assert not rig.client.knows("DOGE/USD")
    assert rig.reports.try_publish(REPORTS.pack(left))
    rig.news()

    with capture_logs() as logs:
        rig.client.cancel_all("DOGE/USD")

    assert logs == []
    assert rig.client.knows("DOGE/USD")
    assert rig.sent() == [CancelAll("quoter", "DOGE/USD")]


# --- a report that cannot be read


def test_a_report_that_cannot_be_read_is_left_behind() -> None:
    """Counted, told once, and the next is taken."""
    rig = ClientRig()
    for record in (b"\xff" * 100, REPORTS.pack(TradingStatus("ACTIVE", True, ""))):
        assert rig.reports.try_publish(record)

    with capture_logs() as logs:
        told = rig.news()

    assert len(told) == 1
    assert rig.client.status.is_open
    assert [(entry["log_level"], entry["unreadable"]) for entry in logs] == [("error", 1)]
    assert rig.news() == []


# --- anything at all

ANY_DECIMAL = st.decimals() | st.sampled_from([Decimal("sNaN"), Decimal("1e999999"), Decimal("-1e-999999"), Decimal(0)])
ANY_TIME = st.datetimes() | st.datetimes(timezones=st.timezones()) | st.just(datetime(1, 1, 1, tzinfo=UTC))
SCALAR = (
    st.none() | st.booleans() | st.integers() | st.integers(min_value=2**62) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=4) | ANY_DECIMAL | ANY_TIME
)  # fmt: skip
GARBAGE = SCALAR | st.lists(SCALAR, max_size=2) | st.dictionaries(st.text(max_size=3), SCALAR, max_size=2)
PRICE = st.integers(1, 10**7).map(lambda ticks: Decimal(ticks) / 10) | st.integers(1, 10**6) | st.just("60000.1")
OFFSET = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**35), max_value=10**35)
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "order_type": st.sampled_from([*KINDS, "LIMIT"]),
    "time_in_force": st.sampled_from(["gtc", "gtd", "ioc", "fok", "GTC"]),
    "trigger_type": st.sampled_from(["static", "pct", "quote"]),
    "trigger_reference": st.sampled_from(["last", "index"]),
    "limit_offset_type": st.sampled_from(["pct", "quote"]),
    "fee_preference": st.sampled_from(["base", "quote"]),
    "stp_type": st.sampled_from(["cancel_newest", "cancel_oldest", "cancel_both"]),
}
MOMENT = st.integers(NOW - 10**9, NOW + 40 * 86_400 * NS_PER_S) | st.integers(1, 10**7).map(
    lambda s: datetime.fromtimestamp(NOW // NS_PER_S, UTC) + timedelta(seconds=s)
)
CLOSING = st.builds(
    Conditional,
    st.sampled_from(list(KINDS)) | GARBAGE,
    st.none() | PRICE | OFFSET | GARBAGE,
    st.none() | st.sampled_from(["static", "pct", "quote"]) | GARBAGE,
    st.none() | PRICE | OFFSET | GARBAGE,
    st.none() | st.sampled_from(["static", "pct", "quote"]) | GARBAGE,
)
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "limit": PRICE, "trigger": PRICE | OFFSET, "limit_offset": PRICE | OFFSET, "display_qty": PRICE,
    "cash_qty": PRICE | OFFSET, "expire_at": MOMENT, "effective_at": MOMENT, "post_only": st.booleans(),
    "reduce_only": st.booleans(), "margin": st.booleans(), "conditional": CLOSING, "stop_loss": PRICE,
    "take_profit": PRICE, "tag": GARBAGE, **WORDS,
}  # fmt: skip


@st.composite
def likely_options(draw: st.DrawFn) -> dict[str, Any]:
    """Options of one order type, as a person might give them, one of them wrong perhaps."""
    order_type = draw(st.sampled_from(list(KINDS)))
    kind = KINDS[order_type]
    names = {*kind.needs, *draw(st.sets(st.sampled_from(sorted(kind.takes)), max_size=3)), "order_type"}
    options = {name: draw(PLAUSIBLE[name]) for name in sorted(names)} | {"order_type": order_type}
    if draw(st.booleans()):
        options[draw(st.sampled_from(sorted(PLAUSIBLE)))] = draw(GARBAGE)
    return options


OPTIONS = (
    likely_options()
    | st.fixed_dictionaries({}, optional={name: values | GARBAGE for name, values in PLAUSIBLE.items()})
    | st.dictionaries(st.text(max_size=5) | st.sampled_from(sorted(PLAUSIBLE)) | st.integers(), GARBAGE, max_size=3)
)
QTY = st.sampled_from(["1", "0.5", 0]) | PRICE | GARBAGE
SIDE = st.sampled_from(["buy", "sell"]) | GARBAGE
SYMBOL = st.sampled_from(["BTC/USD", "BTC/USD", "ETH/USD", "SOL/USD"]) | GARBAGE


def is_sound(rig: ClientRig, order: Order) -> None:
    """It is refused in one sentence, or on its way; and open only then."""
    assert isinstance(order, Order)
    if order.state is OrderState.REFUSED:
        assert order.reason
        assert "\n" not in order.reason
        assert order not in rig.client.open_orders
    else:
        assert order.state is OrderState.NEW
        assert order in rig.client.open_orders
    repr(order)


def can_be_sent_on(intent: OrderIntent) -> None:
    """The router can measure it, and write it down for Kraken."""
    pair = {"BTC/USD": PAIR, "ETH/USD": OTHER}[intent.symbol]
    Risk(RiskLimits(order_notional_max=Decimal(10**6), position_notional_max=Decimal(10**6))).refusal(
        intent, strategy="quoter", pair=pair, top=TOP, open_orders=(), position=Decimal(0), now=MonoNs(1)
    )
    name: dict[str, Any] = {"cl_ord_id": "key"} if intent.conditional is None else {"order_userref": 1}
    frame = add_order(intent, **name, deadline=DEADLINE, token="t", req_id=1)
    assert json.loads(frame, parse_float=Decimal)["params"]["symbol"] == intent.symbol
    row = BatchRow(intent, **name)
    json.loads(batch_add([row, row], deadline=DEADLINE, token="t", req_id=1))


@times(8)
@given(side=SIDE, symbol=SYMBOL, qty=QTY, options=OPTIONS)
def test_whatever_a_strategy_asks_for_an_order_comes_back(side: Any, symbol: Any, qty: Any, options: Any) -> None:
    """REFUSED, or sent as something that decodes, can be measured and can be sent on."""
    rig = ClientRig()

    order = rig.client.submit(side, symbol, qty, options)

    is_sound(rig, order)
    commands = rig.sent()
    assert len(commands) == (order.state is OrderState.NEW)
    for command in commands:
        assert isinstance(command, Submit)
        can_be_sent_on(command.intent)


@times(3)
@given(rows=st.lists(st.tuples(SIDE, SYMBOL, QTY, OPTIONS) | GARBAGE, max_size=4) | GARBAGE)
def test_whatever_a_batch_holds_its_orders_come_back(rows: Any) -> None:
    """All of them sent, or none."""
    rig = ClientRig()

    with capture_logs():
        orders = rig.client.submit_batch(rows)

    for order in orders:
        is_sound(rig, order)
    assert len({order.state for order in orders}) <= 1
    for command in rig.sent():
        assert isinstance(command, SubmitBatch)
        for _, intent in command.orders:
            can_be_sent_on(intent)


WORKING: dict[str, Callable[[], dict[str, Any]]] = {
    "limit": lambda: {"limit": 60000},
    "iceberg": lambda: {"order_type": "iceberg", "limit": 60000, "display_qty": "0.5"},
    "trailing-stop-limit": lambda: {"order_type": "trailing-stop-limit", "trigger": 1, "limit_offset": 1},
}


@times(4)
@given(
    order_type=st.sampled_from(sorted(WORKING)),
    options=st.fixed_dictionaries({}, optional={
        name: PLAUSIBLE.get(name, PRICE) | GARBAGE
        for name in ("qty", "limit", "trigger", "limit_offset", "display_qty", "post_only", "order_type")
    }) | GARBAGE,
)  # fmt: skip
def test_whatever_an_amend_wants_it_is_sent_or_says_why(order_type: str, options: Any) -> None:
    """And what was sent can be sent on."""
    rig = ClientRig()
    order = rig.working(**WORKING[order_type]())

    is_taken = rig.client.amend(order, options)

    commands = rig.sent()
    assert len(commands) == is_taken
    assert is_taken or order.reason.startswith("amend refused: ")
    for command in commands:
        assert isinstance(command, Amend)
        json.loads(amend_order(command.amendment, cl_ord_id="key", deadline=DEADLINE, token="t", req_id=1))


@times(2)
@given(orders=st.lists(GARBAGE, max_size=3) | GARBAGE, symbol=GARBAGE)
def test_whatever_is_canceled_nothing_raises(orders: Any, symbol: Any) -> None:
    """And the order that is among it is canceled."""
    rig = ClientRig()
    order = rig.working()

    with capture_logs():
        rig.client.cancel(orders)
        rig.client.cancel_all(symbol)
        rig.client.cancel((orders, order))

    cancels = [command for command in rig.sent() if isinstance(command, Cancel)]
    assert [command.keys for command in cancels] == [[order.id]]
    assert order.report.is_ending


def test_a_cancel_that_finds_no_room_waits_once_however_often_it_is_asked_for() -> None:
    """It leaves when there is room, and no strategy can make the order client grow."""
    rig = ClientRig(slot_count=8)
    order = rig.working()
    while rig.submit(limit=60000).is_open:
        pass
    for _ in range(100):
        rig.client.cancel([order])
        rig.client.cancel_all("BTC/USD")
    sent = []
    for _ in range(10):
        sent += rig.sent()
        rig.news()

    assert sent[-2:] == [Cancel("quoter", [order.id]), CancelAll("quoter", "BTC/USD")]
    assert sum(isinstance(command, Cancel) for command in sent) == 1


def test_who_waits_for_an_order_is_told_that_the_engine_has_ended() -> None:
    """An order may outlive the engine: whoever waits for its end waits no longer, and nobody begins to."""

    async def scenario() -> None:
        rig = ClientRig()
        order = rig.working()
        waiting = asyncio.ensure_future(order.until_over())
        await asyncio.sleep(0)
        rig.client.close()
        with pytest.raises(EngineStopped, match="nothing more is told of"):
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(EngineStopped):
            await asyncio.wait_for(order.until_over(), 10)
        assert await order.until_acknowledged() is order

    asyncio.run(scenario())


def test_who_waits_for_what_an_order_has_not_become_is_told_that_the_engine_has_ended() -> None:
    """Its order was canceled at the engine's end, or refused: nobody will tell that it was filled."""

    async def scenario() -> None:
        rig = ClientRig()
        orders = [rig.working(), rig.submit(limit=-1)]
        waiting = [asyncio.ensure_future(order.until(lambda order: order.is_filled)) for order in orders]
        report = replace(orders[0].report, state=OrderState.CANCELED)
        assert rig.reports.try_publish(REPORTS.pack(report))
        rig.news()
        rig.client.close()
        for order, wait in zip(orders, waiting, strict=True):
            assert not order.is_open
            with pytest.raises(EngineStopped, match="nothing more is told of"):
                await asyncio.wait_for(wait, 10)

    asyncio.run(scenario())


def test_no_orders_are_taken_while_there_is_no_router() -> None:
    """Its death closes trading, once; what its successor tells opens it again."""
    rig = ClientRig()
    is_open = TradingStatus("ACTIVE", is_open=True, reason="")
    assert rig.reports.try_publish(REPORTS.pack(is_open))
    assert rig.news() == [is_open]

    closed = TradingStatus("ACTIVE", is_open=False, reason="it died")
    rig.client.lose_router("it died")
    rig.client.lose_router("it died again")
    assert rig.news() == [closed]
    assert rig.client.status == closed
    assert rig.reports.try_publish(REPORTS.pack(is_open))
    assert rig.news() == [is_open]
    assert rig.client.status == is_open
