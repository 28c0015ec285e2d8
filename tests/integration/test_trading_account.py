"""What the account's feed and REST suffer changes nothing of what is true: fills once, positions and fees exact."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue, engines_on, stopped

Start = Callable[..., TradingEngine]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("account"))
    yield TradingVenue(engines, "--no-rate-counter")
    engines.close()


@pytest.fixture
def start(venue: TradingVenue, tmp_path: Path) -> Iterator[Start]:
    """Starts engines on it."""
    with engines_on(venue, tmp_path) as make:
        yield lambda **options: make(**options).start()
        venue.clear()


def trade(engine: TradingEngine, tag: str, count: int = 3) -> None:
    """Some fills on either side, and an order that rests."""
    for number in range(count):
        for side in ("buy", "sell"):
            engine.wish("order", name=f"{tag} {side} {number}", side=side, order_type="market", qty="0.003")
    engine.wish("order", name=f"{tag} resting", away=3.0)


def positions_agree(engine: TradingEngine) -> bool:
    """Is the position what the venue's fills come to, and are the fees what it took?"""
    fills = engine.venue.ledger(engine.account).fills
    sides = {order["order_id"]: order["side"] for order in engine.venue.orders(engine.account)}
    qty = sum((fill.qty if sides[fill.order_id] == "buy" else -fill.qty for fill in fills), Decimal(0))
    fees = sum((fill.fee for fill in fills), Decimal(0))
    state = engine.status()["trading"]["by_strategy"].get("puppet BTC/USD", {"qty": "0", "fees": "0"})
    told = {
        entry["exec_id"]: sum(map(Decimal, entry["fees"].values()), Decimal(0))
        for entry in engine.diary().entries("fill")
    }
    return (Decimal(state["qty"]), Decimal(state["fees"]), sum(told.values(), Decimal(0))) == (qty, fees, fees)


def test_frames_that_are_lost_repeated_and_overtaken_change_no_sum(start: Start, venue: TradingVenue) -> None:
    """A gap in the numbers, fills in a snapshot again, a changed order overtaken: each fill counts once."""
    engine = start()
    venue.fault("snapshot-again", count=2)
    for round_number in range(3):
        trade(engine, f"{round_number}")
        venue.fault("sequence-gap", "executions")
        engine.wait_for_state(f"{round_number} resting", "WORKING", "REFUSED")
        if round_number == 1:
            venue.fault("sequence-gap", "balances")
            venue.fault("reorder", count=2)
            engine.wish("amend", name="0 resting", qty="0.02")
            engine.wish("amend", name="1 resting", qty="0.02")
        eventually(lambda: engine.is_open() and not engine.differences(), "all is found again")
    engine.wish("cancel_all")
    eventually(lambda: not engine.router("orders")["orders"], "nothing is open")
    engine.wait_until_agreed()
    eventually(lambda: positions_agree(engine), "positions and fees are the ledger's")
    assert venue.struck("sequence-gap") >= 3
    assert venue.struck("snapshot-again") >= 1


def test_a_gap_in_the_middle_of_fills_pauses_trading_until_the_snapshot_is_reconciled(
    start: Start, venue: TradingVenue
) -> None:
    """The strategy is told why, and that it is over."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    told_before = len(engine.diary().entries("trading"))
    venue.fault("sequence-gap", "executions")
    engine.wish("order", name="b", order_type="market", qty="0.002")
    engine.wait_for_state("b", "FILLED")
    eventually(engine.is_open, "orders are taken again")
    eventually(
        lambda: [entry["open"] for entry in engine.diary().entries("trading")[told_before:]] == [False, True],
        "the strategy was told of the pause and of its end",
    )
    engine.wish("cancel_all")
    engine.wait_for_state("a", "CANCELED")
    engine.wait_until_agreed()


def test_tokens_that_die_in_the_middle_are_replaced_and_nothing_is_lost(start: Start, venue: TradingVenue) -> None:
    """The order that met the dead token was not placed, and says so; the next one goes through."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    venue.kill_tokens()
    for number in range(20):
        engine.wish("order", name=f"b{number}", away=3.0)
        if engine.wait_for_state(f"b{number}", "WORKING", "REJECTED", "REFUSED")["state"] == "WORKING":
            break
    assert engine.told(f"b{number}")[-1]["state"] == "WORKING"
    assert number > 0
    assert "session" in engine.told("b0")[-1]["reason"].lower() or "token" in engine.told("b0")[-1]["reason"].lower()
    venue.fault("token-death", "cancel_order")
    engine.wish("cancel", names=["a"])
    engine.wait_for_state("a", "CANCELED")
    engine.wish("cancel_all")
    eventually(lambda: not engine.router("orders")["orders"], "nothing is open")
    engine.wait_until_agreed()


def test_the_websocket_that_is_gone_is_replaced_by_rest_for_what_was_certainly_not_sent(
    start: Start, venue: TradingVenue
) -> None:
    """Add, batch, amend and cancel by REST, told by the feed."""
    engine = start()
    engine.lose_trading_link()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    engine.wish("batch", orders=[{"name": name, "away": 3.0} for name in ("b", "c")])
    engine.wait_for_state("c", "WORKING")
    engine.wish("amend", name="a", qty="0.02")
    eventually(lambda: engine.at_venue("a")[0]["amend_count"] == 1, "it is amended")
    eventually(lambda: not engine.told("a")[-1]["busy"], "the strategy knows")
    engine.wish("cancel", names=["a", "b", "c"])
    for name in ("a", "b", "c"):
        engine.wait_for_state(name, "CANCELED")
    engine.wait_until_agreed()
    assert engine.counts()["by_rest"] == 3


def test_a_lost_answer_by_rest_holds_up_no_cancel(start: Start, venue: TradingVenue) -> None:
    """Cancels have somewhere to be: one is over before anything is known of the order."""
    engine = start(trading="deadline_s = 20\nanswer_timeout_s = 25")
    engine.lose_trading_link()
    engine.wish("order", name="other", away=3.0)
    engine.wait_for_state("other", "WORKING")
    struck_before = venue.struck("lost")
    venue.fault("lost", "add_order")
    engine.wish("order", name="a", away=3.0)
    eventually(lambda: venue.struck("lost") > struck_before, "it has struck")
    engine.wish("cancel", names=["other"])
    engine.wait_for_state("other", "CANCELED")
    told = engine.diary().entries("order")
    over = next(place for place, entry in enumerate(told) if (entry["name"], entry["state"]) == ("other", "CANCELED"))
    assert {entry["state"] for entry in told[:over] if entry["name"] == "a"} <= {"SENT", "UNKNOWN"}


def test_each_order_of_a_batch_with_closing_orders_is_told_of_its_own(start: Start, venue: TradingVenue) -> None:
    """They carry no client order id: each has a number of its own, and no fill goes to its neighbour."""
    engine = start()
    engine.wish(
        "batch",
        orders=[
            {"name": "takes", "qty": "0.02", "away": -1.0, "closes": 2.0},
            {"name": "rests", "qty": "0.03", "away": 3.0, "closes": 2.0},
            {"name": "too", "qty": "0.04", "away": 4.0, "closes": 2.0},
        ],
    )
    engine.wait_for_state("takes", "FILLED")
    for name in ("rests", "too"):
        assert Decimal(engine.wait_for_state(name, "WORKING")["filled"]) == 0
    assert {entry["id"] for entry in engine.diary().entries("fill")} == {engine.id_of("takes")}
    eventually(lambda: len(engine.router("orders")["orders"]) >= 3, "a closing order of each fill is there")
    engine.wish("cancel_all")
    eventually(lambda: not engine.router("orders")["orders"], "nothing is open, the closing order neither")
    engine.wait_until_agreed()


def test_a_lost_order_is_not_taken_for_its_closing_order(start: Start, venue: TradingVenue) -> None:
    """The two share a number; it was filled while nobody could hear it, and only its closing order is open."""
    engine = start(trading="deadline_s = 0.6\nanswer_timeout_s = 0.9")
    relay = engine.relay
    assert relay is not None
    eventually(lambda: relay.carries("orders", "feed"), "both are there")
    relay.hold(answers=("orders", "feed"))
    engine.wish("order", name="parent", qty="0.01", away=-1.0, closes=5.0)
    eventually(lambda: len(venue.orders(engine.account)) >= 2, "it is filled, and called its closing order forth")
    relay.down()
    eventually(lambda: engine.told("parent") and engine.told("parent")[-1]["state"] == "UNKNOWN", "it is in doubt")
    eventually(lambda: engine.told("parent")[-1]["state"] == "FILLED", "REST knows it by its own name")
    relay.free()
    eventually(engine.is_open, "trading goes on")
    parent = next(order for order in venue.orders(engine.account) if order["side"] == "buy")
    assert engine.told("parent")[-1]["order_id"] == parent["order_id"]
    engine.wish("cancel_all")
    eventually(lambda: not engine.router("orders")["orders"], "nothing is open")
    engine.wait_until_agreed()


def test_a_strategy_that_hears_that_it_may_trade_knows_what_it_has(start: Start) -> None:
    """Its balances were reported before."""
    engine = start()
    told = eventually(
        lambda: [entry for entry in engine.diary().entries("trading") if entry["open"]], "it hears that it may trade"
    )

    assert [Decimal(entry["usd"]) for entry in told] == [1_000_000]


def test_a_run_whose_orders_could_not_be_canceled_does_not_end_as_a_clean_one(
    start: Start, venue: TradingVenue
) -> None:
    """Kraken answers nothing while the engine stops: whoever watches over it must hear that an order is left."""
    engine = start(relay=False)
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    with stopped(venue.process.pid):
        summary = engine.stop()

    assert engine.process.returncode == 1
    assert summary["exit"].startswith(
        "1 orders are left open: Kraken has not confirmed the cancels in time; its dead man"
    )
