"""Positions that begin with what the account holds: when, with how much, once a run, and the same after any death."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.errors import ConfigError
from engine.order_router.status import RouterStatus
from engine.orders.intent import Conditional
from engine.orders.journal_records import PositionBegan
from engine.orders.rings.commands import Submit
from engine.orders.rings.reports import OrderReport, Position
from engine.orders.risk import PairLimits, TradingMode
from engine.orders.venue_facts import BalanceFact, ExecutionFact, FeedAlive, SnapshotBegan, SnapshotEnded
from engine.processes.position_board import PositionBoardWriter, format_position_board, position_board_bytes
from engine.ring import Publisher
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_S, MonoNs
from tests.order_router.rig import SETTINGS, STRATEGY, TICK_NS, RouterRig, ring
from tests.orders.rig import AT, PAIRS, limit, trade

D = Decimal
BTC = "BTC/USD"
HOLDS = replace(SETTINGS, holders={STRATEGY: (BTC,)})


def balance(asset, amount, is_snapshot=True, **more):
    return BalanceFact(asset=asset, balance=D(amount), is_snapshot=is_snapshot, **more)


def balances_told(rig, btc="4"):
    rig.fact(SnapshotBegan("balances"), balance("USD", 1_000_000), balance("BTC", btc), SnapshotEnded("balances"))


def executions_told(rig, *listed):
    asked_at = rig.clock.mono_ns()
    ended = SnapshotEnded("executions", None, asked_at)
    rig.fact(FeedAlive(asked_at, asked_at), SnapshotBegan("executions"), *listed, ended)


def a_router(settings=HOLDS, **more):
    """It has begun, and the account has told nothing yet."""
    rig = RouterRig(settings=settings, **more)
    rig.core.begin()
    rig.connect()
    return rig


def a_desk(rig):
    """The strategy's side."""
    ports = OrderPorts(Publisher(ring(1016)), rig.readers[STRATEGY], rig.balance_reader, STRATEGY, 1)
    return OrderClient(STRATEGY, ports, dict(PAIRS), rig.clock)


def taken(desk):
    """After all its news."""
    while desk.next_news() is not None:
        pass
    return desk


def held(rig, strategy=STRATEGY, symbol=BTC):
    state = rig.core.blotter.positions.of(strategy, symbol)
    return state.qty, state.unknown_cost_qty, state.avg_price


def asked(rig, side, qty, key="quoter00001a000001", price="100"):
    """The last word on an order that the strategy sends."""
    rig.told()
    rig.command(Submit(STRATEGY, key, limit(side, qty, price), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    told = [report for report in rig.told() if isinstance(report, OrderReport)]
    return told[-1]


def began(rig):
    return [record for record in rig.memory.records() if isinstance(record, PositionBegan)]


def test_a_position_begins_with_the_account():
    """At no known price, which is no zero; and not before both, balances and executions, are told."""
    rig = a_router()
    desk = taken(a_desk(rig))
    assert not desk.position(BTC).is_known
    assert "of BTC" not in rig.core.gate.closed_reason  # that is of the pair alone
    executions_told(rig)
    assert not began(rig)
    balances_told(rig)
    rig.core.end_burst()
    position = taken(desk).position(BTC)

    assert (position.qty, position.avg_price, position.realized) == (4, None, 0)
    assert (position.unknown_cost_qty, position.is_known) == (4, True)
    assert desk.position("ETH/USD") == Position("ETH/USD")


def test_the_same_the_other_way_round():
    """Executions last: no order of the pair passes in between."""
    rig = a_router()
    balances_told(rig)
    assert not began(rig)
    executions_told(rig)

    assert held(rig) == (4, 4, None)
    assert asked(rig, "buy", "1").state.name == "SENT"


def test_before_the_router_has_spoken_no_position_is_known():
    """Of any strategy: the journal may have one."""
    rig = RouterRig()
    desk = a_desk(rig)
    assert not taken(desk).position(BTC).is_known
    rig.core.begin()
    rig.core.end_burst()

    assert taken(desk).position(BTC).is_known


def test_limits_count_it():
    """The position limit is of all that is held."""
    rig = a_router(replace(HOLDS, limits=replace(HOLDS.limits, pairs={BTC: PairLimits(position_qty_max=D(5))})))
    executions_told(rig)
    balances_told(rig)

    assert asked(rig, "buy", "1").state.name == "SENT"
    refused = asked(rig, "buy", "0.5", key="quoter00001a000002")
    assert "the position would be 5.50000000 BTC, more than BTC/USD's position_qty_max = 5" in refused.reason


def test_it_may_be_sold_in_the_mode_that_only_reduces():
    """What the account holds is a position to make smaller."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    rig.core.reduce("as a person asked")

    assert asked(rig, "sell", "4", price="101").state.name == "SENT"


def test_orders_of_the_pair_wait_for_it():
    """With the reason; those of other pairs do not."""
    rig = a_router()
    executions_told(rig)
    rig.fact(SnapshotBegan("balances"), balance("USD", 1_000_000), SnapshotEnded("balances"))
    assert held(rig) == (0, 0, 0)  # a complete snapshot without BTC: there is none
    rig = a_router()
    rig.core.gate.feed_reason = ""
    rig.core.gate.has_balances = True

    assert not rig.core.gate.closed_reason_of("ETH/USD")
    assert "what the account holds of BTC" in asked(rig, "buy", "1").reason


def test_what_was_bought_is_sold_first_and_realizes():
    """Only what has a known cost makes a profit; what the account held is given away at none."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    state = rig.core.blotter.positions.of(STRATEGY, BTC)
    state.fill("buy", D(1), D(100), D(0))
    assert (state.qty, state.avg_price) == (5, None)
    state.fill("sell", D(3), D(110), D(0))

    assert (state.qty, state.unknown_cost_qty, state.realized, state.cost) == (2, 2, 10, 0)
    assert state.unrealized(D(500)) == 0
    state.fill("sell", D(2), D(110), D(0))
    assert (state.qty, state.unknown_cost_qty, state.avg_price, state.realized) == (0, 0, 0, 10)


@pytest.mark.parametrize("is_same_run", [True, False])
def test_a_run_begins_once(is_same_run):
    """A router that starts again in the run leaves it at that; the next run begins with what is there then."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    rig.run += not is_same_run
    rig.begin_anew()
    rig.core.begin()
    balances_told(rig, "7")
    executions_told(rig)

    assert held(rig)[0] == (4 if is_same_run else 7)
    assert len(began(rig)) == (1 if is_same_run else 2)


def test_a_person_tells_what_it_has_cost():
    """From then on it has a price and a profit, which is none of the day's; a router that starts again knows it."""
    rig = a_router(replace(HOLDS, limits=replace(HOLDS.limits, daily_loss_max=D(50))))
    answers = RouterStatus(rig.router, None, PositionBoardWriter(an_empty_board()), rig.boards).commands()
    executions_told(rig)
    balances_told(rig)
    ask = {"symbol": BTC, "price": "160"}
    bid_ask = rig.boards.bid, rig.boards.ask
    rig.boards.bid = rig.boards.ask = None
    for wrong, said in (
        (ask, "there is no price of BTC/USD yet"),
        (ask | {"price": "-1"}, "the price must be a number above 0"),
        (ask | {"price": "much"}, "the price must be a number above 0"),
        (ask | {"price": "1e999999"}, "the price must be a number above 0"),
        (ask | {"symbol": "ETH/USD"}, "no position in ETH/USD has a part of unknown cost"),
        (ask | {"strategy": "other"}, "no position in BTC/USD has a part of unknown cost"),
    ):
        with pytest.raises(ConfigError, match=said):
            answers["cost"](wrong)
    rig.boards.bid, rig.boards.ask = bid_ask
    rig.boards.marks[BTC] = D(100)
    rig.work_for(2 * NS_PER_S, rig.keep_alive)  # the day has begun
    (row,) = answers["cost"](ask)["positions"]
    rig.work_for(2 * NS_PER_S, rig.keep_alive)

    assert (row["avg_price"], row["unrealized"], row["unknown_cost_qty"]) == ("160", "-240", "0")
    assert rig.core.risk.mode is TradingMode.ACTIVE
    rig.begin_anew()
    rig.core.begin()
    assert held(rig) == (4, 0, 160)
    rig.boards.marks[BTC] = D(87)
    rig.work_for(2 * NS_PER_S, rig.keep_alive)
    assert "52 USD lost today" in rig.core.risk.mode_reason


def test_what_is_gone_in_the_next_run_is_gone_without_a_profit():
    """That of no known cost first."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    state = rig.core.blotter.positions.of(STRATEGY, BTC)
    state.fill("buy", D(2), D(100), D(0))
    state.begin_with(D(1))

    assert (state.qty, state.unknown_cost_qty, state.cost, state.realized) == (1, 0, 100, 0)


def test_what_was_sold_short_of_the_account_is_held_after_all():
    """From runs that counted own fills alone."""
    state = a_router().core.blotter.positions.of(STRATEGY, BTC)
    state.fill("sell", D(1), D(100), D(0))
    state.begin_with(D(3))

    assert (state.qty, state.unknown_cost_qty, state.cost) == (3, 3, 0)


def test_what_others_claim_is_theirs():
    """The sum of all positions is what the account holds."""
    rig = a_router()
    rig.core.blotter.positions.of("other", "BTC/EUR").fill("buy", D("1.5"), D(90), D(0))
    executions_told(rig)
    balances_told(rig)

    assert held(rig)[0] == D("2.5")


def an_open_order(rig):
    return ExecutionFact(
        exec_type="new", order_id="OTHERS-00001", timestamp=AT, symbol=BTC, side="buy", order_type="limit",
        order_qty=D(1), limit_price=D(100), cl_ord_id="quoter00001a000001", is_snapshot=True,
    )  # fmt: skip


def test_a_fill_that_one_channel_has_told_is_waited_for():
    """A kept order fills while the run begins: the balance has it, the executions have not, and then they have."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    assert asked(rig, "buy", "1").state.name == "SENT"
    rig.run = 2
    rig.begin_anew()
    rig.core.begin()
    executions_told(rig, an_open_order(rig))
    balances_told(rig, "5")  # the fill's entry is in it
    assert len(began(rig)) == 1
    rig.work_for(NS_PER_S // 2, rig.keep_alive)
    rig.fact(trade(qty="1", order_id="OTHERS-00001", cl_ord_id="quoter00001a000001"))
    rig.fact(
        ExecutionFact(exec_type="filled", order_id="OTHERS-00001", timestamp=AT, cum_qty=D(1),
                      cl_ord_id="quoter00001a000001")
    )  # fmt: skip

    rig.work_for(TICK_NS)
    assert len(began(rig)) == 1  # the entry in the ledger may still come
    rig.work_for(2 * NS_PER_S, rig.keep_alive)

    assert held(rig)[:2] == (5, 4)


def test_an_open_order_that_stays_quiet_is_waited_for_by_kraken_time():
    """The position begins when Kraken was heard a second after the last news; silence proves nothing."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    asked(rig, "buy", "1")
    rig.run = 2
    rig.begin_anew()
    rig.core.begin()
    executions_told(rig, an_open_order(rig))
    balances_told(rig, "6")
    rig.work_for(2 * NS_PER_S)
    assert "with which the position in BTC/USD begins" in rig.core.gate.closed_reason_of(BTC)
    rig.keep_alive()
    rig.work_for(TICK_NS)

    assert held(rig)[0] == 6


def test_a_fill_of_a_closing_order_that_nobody_has_told_of_is_waited_for():
    """The entry's fill was told, and that of its closing order was not: the balance has both, the journal one."""
    rig = a_router()
    executions_told(rig)
    balances_told(rig)
    close = Conditional("stop-loss", trigger_price=D(90))
    entry = replace(limit("buy", "1"), conditional=close)
    key = "quoter00001a000001"
    rig.command(Submit(STRATEGY, key, entry, MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    of_entry = {"order_id": "ENTRY1-00001", "cl_ord_id": key}
    rig.fact(ExecutionFact(exec_type="new", timestamp=AT, symbol=BTC, side="buy", order_type="limit", order_qty=D(1),
                           limit_price=D(100), **of_entry))  # fmt: skip
    rig.fact(trade(qty="1", **of_entry), ExecutionFact(exec_type="filled", timestamp=AT, cum_qty=D(1), **of_entry))
    rig.run = 2
    rig.begin_anew()
    rig.core.begin()
    executions_told(rig)
    balances_told(rig, "4")  # bought one, and sold it again
    rig.work_for(2 * NS_PER_S, rig.keep_alive)
    assert len(began(rig)) == 1
    assert "with which the position in BTC/USD begins" in rig.core.gate.closed_reason_of(BTC)
    of_close = {"order_id": "CLOSE1-00001", "ord_ref_id": "ENTRY1-00001", "symbol": BTC, "side": "sell"}
    rig.fact(
        ExecutionFact(exec_type="new", timestamp=AT, order_type="stop-loss", order_qty=D(1), trigger_price=D(90),
                      **of_close),
        replace(trade("TEXEC2-00000-000000", qty="1", price="90"), **of_close),
        ExecutionFact(exec_type="filled", timestamp=AT, cum_qty=D(1), **of_close),
    )  # fmt: skip
    rig.work_for(2 * NS_PER_S, rig.keep_alive)

    assert held(rig)[:2] == (4, 4)


def an_empty_board() -> bytearray:
    memory = bytearray(position_board_bytes(4))
    format_position_board(memory, 4)
    return memory


def test_status_and_commands_say_what_is_not_known():
    """Neither balances nor a position is zero because nobody has told it."""
    rig = a_router()
    status = RouterStatus(rig.router, None, PositionBoardWriter(an_empty_board()), rig.boards)
    answers = status.commands()
    assert answers["balances"]({})["balances"] is None
    assert "Kraken has not told the balances" in answers["balances"]({})["reason"]
    (row,) = answers["positions"]({})["positions"]
    assert (row["strategy"], row["symbol"], row["qty"], row["avg_price"]) == (STRATEGY, BTC, None, None)
    assert status.status()["unheld"] == [BTC]
    executions_told(rig)
    balances_told(rig)

    (row,) = answers["positions"]({})["positions"]
    assert (row["qty"], row["unknown_cost_qty"], row["avg_price"], row["realized"]) == ("4", "4", None, "0")
    assert status.status()["unheld"] == []
    assert {row["asset"] for row in answers["balances"]({})["balances"]} == {"USD", "BTC"}
