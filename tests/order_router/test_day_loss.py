"""The day's loss halts trading at its limit: by the true day, whatever has a price, and for what trading has lost."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from engine.orders.rings.commands import Submit
from engine.orders.risk import TradingMode
from engine.orders.venue_facts import BalanceFact, ExecutionFact, FeedAlive, SnapshotBegan, SnapshotEnded
from engine.units import NS_PER_S, MonoNs, PriceTicks, WallNs
from tests.order_router.rig import SETTINGS, STRATEGY, RouterRig
from tests.orders.rig import PAIRS, limit

D = Decimal
BTC, ETH = "BTC/USD", "ETH/USD"
DAY_NS = 86_400 * NS_PER_S
LIMITED = replace(SETTINGS, limits=replace(SETTINGS.limits, daily_loss_max=D(200)))
HOLDS = replace(LIMITED, holders={STRATEGY: (BTC,)})


def a_day(settings=LIMITED, *symbols):
    """A router that has bought ten of each of these at 100, where they still are."""
    rig = RouterRig(settings=settings)
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    for symbol in symbols:
        rig.boards.marks[symbol] = D(100)
    passes(rig)
    for number, symbol in enumerate(symbols):
        bought(rig, number, symbol)
    passes(rig)
    return rig


def bought(rig, number, symbol):
    """Kraken dates it as our clock does now."""
    key, pair, at = f"quoter00001a{number:06}", PAIRS[symbol], WallNs(rig.clock.wall_ns())
    intent = limit(qty="10", price=None, symbol=symbol)
    ticks = PriceTicks(100 * 10**pair.price_decimals)
    intent = replace(intent, price_decimals=pair.price_decimals, limit_price=ticks)
    rig.command(Submit(STRATEGY, key, intent, MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    row = {"order_id": f"O{number}", "cl_ord_id": key, "symbol": symbol, "side": "buy", "timestamp": at}
    rig.fact(
        ExecutionFact(exec_type="trade", exec_id=f"T{number}", trade_id=number, last_qty=D(10), last_price=D(100),
                      cost=D(1000), **row),
        ExecutionFact(exec_type="filled", cum_qty=D(10), **row),
    )  # fmt: skip


def passes(rig, seconds=2):
    rig.work_for(seconds * NS_PER_S, rig.keep_alive)


def mark(rig, price, symbol=BTC):
    rig.boards.marks[symbol] = D(price)
    passes(rig)


def begins_again(rig, settings=None):
    """The next run: a router over the same journal."""
    rig.settings, rig.run = settings or rig.settings, rig.run + 1
    rig.begin_anew()
    rig.core.begin()
    rig.connect()


def account_told(rig, btc):
    at = rig.clock.mono_ns()
    rig.fact(
        FeedAlive(at, at), SnapshotBegan("executions"), SnapshotEnded("executions", None, at),
        SnapshotBegan("balances"),
        BalanceFact(asset="USD", balance=D(10**6), is_snapshot=True),
        BalanceFact(asset="BTC", balance=D(btc), is_snapshot=True), SnapshotEnded("balances"),
    )  # fmt: skip
    passes(rig, 3)


def mode(rig):
    return rig.core.risk.mode


def test_a_loss_halts_at_its_limit_and_another_day_begins_at_nothing():
    """Of 200: 190 is within it, and counts no more tomorrow."""
    rig = a_day(LIMITED, BTC)
    mark(rig, "81")
    rig.clock.advance(DAY_NS)
    passes(rig)
    mark(rig, "62")
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "61")

    assert mode(rig) is TradingMode.HALTED
    assert rig.core.risk.mode_reason.startswith("200")
    assert rig.core.risk.mode_reason.endswith("USD lost today, as much as risk.daily_loss_max = 200 allows")


@pytest.mark.parametrize("ahead_ns", [10 * 3600 * NS_PER_S, 3650 * DAY_NS])
def test_a_wall_clock_that_is_wrong_for_a_moment_begins_no_day(ahead_ns):
    """The day is Kraken's, as soon as that is known."""
    rig = a_day(LIMITED, BTC)
    for _ in range(2):  # the next day begins as ever
        rig.boards.marks[BTC] = D(100)
        rig.clock.advance(22 * 3600 * NS_PER_S)  # late in the evening
        passes(rig)
        mark(rig, "81")
        rig.clock.step_wall(ahead_ns)
        passes(rig)
        rig.clock.step_wall(-ahead_ns)
        mark(rig, "80")
        assert mode(rig) is TradingMode.HALTED
        rig.core.resume()


def test_a_day_that_our_clock_began_by_mistake_ends_when_kraken_tells_the_time():
    """A computer that boots with a clock in 2036, in the middle of a day with a loss."""
    rig = a_day(LIMITED, BTC)
    mark(rig, "81")
    rig.clock.step_wall(3650 * DAY_NS)
    begins_again(rig)
    assert not rig.core.calls.kraken_time.is_told
    rig.snapshot()
    passes(rig)
    rig.core.calls.kraken_time.told(WallNs(rig.clock.wall_ns() - 3650 * DAY_NS))
    passes(rig)
    mark(rig, "80")

    assert mode(rig) is TradingMode.HALTED
    assert "lost today" in rig.core.risk.mode_reason


def test_a_book_with_one_side_does_not_lift_the_limit():
    """Nobody bids for one pair any more: it counts at its last price, and the other pair's loss is seen."""
    rig = a_day(LIMITED, BTC, ETH)
    del rig.boards.marks[ETH]
    rig.boards.bid = None
    mark(rig, "81")
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "80")

    assert mode(rig) is TradingMode.HALTED


@pytest.mark.parametrize(("bid", "ask", "halts"), [(80, None, True), (81, None, False), (None, 80, True)])
def test_a_position_is_worth_what_it_can_be_closed_at(bid, ask, halts):
    """The best bid where nobody asks; where nobody bids no more than somebody asks for."""
    rig = a_day(LIMITED, BTC)
    del rig.boards.marks[BTC]
    rig.boards.bid, rig.boards.ask = bid, ask
    passes(rig)

    assert (mode(rig) is TradingMode.HALTED) is halts


def test_one_offer_far_below_is_forgotten_when_it_is_gone():
    """A last price is one at which somebody would buy, not what the other side asked for."""
    rig = a_day(LIMITED, BTC)
    del rig.boards.marks[BTC]
    for bid, ask in ((None, 90), (None, 200), (81, None), (None, 200)):
        rig.boards.bid, rig.boards.ask = bid, ask
        passes(rig)

    assert mode(rig) is TradingMode.ACTIVE


def test_a_pair_whose_book_never_comes_does_not_lift_the_limit_for_good():
    """It is waited for while the feeds begin; then it counts as it did when the day began, or at cost."""
    rig = a_day(LIMITED, BTC, ETH)
    del rig.boards.marks[ETH]
    begins_again(rig)
    rig.boards.bid = rig.boards.ask = None
    rig.snapshot()
    mark(rig, "80")
    assert mode(rig) is TradingMode.ACTIVE
    passes(rig, 60)

    assert mode(rig) is TradingMode.HALTED


@pytest.mark.parametrize("price", ["150", "90"])
def test_a_pair_that_the_next_run_does_not_follow_is_worth_what_the_day_began_with(price):
    """A gain on paper is not lost with the pair, and a loss gives no room to another. Tomorrow it is the same."""
    rig = a_day(LIMITED, BTC, ETH)
    rig.boards.marks[BTC] = D(price)
    rig.clock.advance(DAY_NS)
    passes(rig)
    del rig.boards.pairs[BTC], rig.boards.marks[BTC]
    begins_again(rig)
    rig.snapshot()
    for day, began in enumerate((100, 81)):
        rig.clock.advance(day * DAY_NS)
        passes(rig)
        mark(rig, began - 19, ETH)
        assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "61", ETH)

    assert mode(rig) is TradingMode.HALTED


@pytest.mark.parametrize(
    ("price", "left", "then", "halts"),
    [("150", "5", "150", False), ("150", "5", "111", False), ("150", "5", "110", True), ("81", "0", "81", False)],
)
def test_what_is_withdrawn_is_no_loss_of_the_day(price, left, then, halts):
    """Nor is the gain on paper that went with it; what is left loses as it did."""
    rig = a_day(LIMITED, BTC)
    rig.boards.marks[BTC] = D(price)
    rig.clock.advance(DAY_NS)
    passes(rig)
    begins_again(rig, HOLDS)
    account_told(rig, left)
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, then)

    assert rig.core.blotter.positions.qty(STRATEGY, BTC) == D(left)
    assert (mode(rig) is TradingMode.HALTED) is halts


def test_a_loss_is_not_forgotten_with_what_lost_it():
    """190 of 200 are lost when all of it is withdrawn, and ten more are lost elsewhere, in a later run."""
    rig = a_day(LIMITED, BTC, ETH)
    mark(rig, "81")
    begins_again(rig, HOLDS)
    account_told(rig, "0")
    begins_again(rig, HOLDS)
    account_told(rig, "0")
    mark(rig, "99.1", ETH)
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "99", ETH)

    assert mode(rig) is TradingMode.HALTED


def test_a_position_that_had_a_cost_begins_when_there_is_a_price():
    """Without one nobody could say what went with it."""
    rig = a_day(LIMITED, BTC)
    del rig.boards.marks[BTC]
    begins_again(rig, HOLDS)
    rig.boards.bid = rig.boards.ask = None
    account_told(rig, "5")
    assert not rig.core.holdings.is_known(STRATEGY, BTC)
    mark(rig, "150")

    assert rig.core.holdings.is_known(STRATEGY, BTC)
    assert mode(rig) is TradingMode.ACTIVE


def test_who_resumes_trading_in_spite_of_the_loss_has_as_much_once_more():
    """And no more: it goes on until that is lost too. A router that starts again knows."""
    rig = a_day(LIMITED, BTC)
    mark(rig, "70")
    assert mode(rig) is TradingMode.HALTED
    rig.core.resume()
    passes(rig)
    assert mode(rig) is TradingMode.ACTIVE
    begins_again(rig)
    rig.snapshot()
    mark(rig, "51")
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "50")

    assert mode(rig) is TradingMode.HALTED


def test_who_resumes_before_there_is_a_price_has_as_much_once_more():
    """Right after a start, when no book is there yet: counted from the first prices."""
    rig = a_day(LIMITED, BTC)
    mark(rig, "70")
    rig.boards.marks.clear()
    rig.boards.is_live = False
    begins_again(rig)
    rig.snapshot()
    passes(rig)
    rig.core.resume()
    rig.boards.is_live = True
    mark(rig, "70")
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "51")
    assert mode(rig) is TradingMode.ACTIVE
    mark(rig, "50")

    assert mode(rig) is TradingMode.HALTED


def test_resuming_forgives_no_loss_within_the_limit():
    """Somebody halted by hand, and goes on."""
    rig = a_day(LIMITED, BTC)
    mark(rig, "81")
    rig.core.halt("as a person asked")
    rig.core.resume()
    mark(rig, "80")

    assert mode(rig) is TradingMode.HALTED


def test_a_loss_that_is_reached_under_another_halt_is_told():
    """Who resumes then must know what for."""
    rig = a_day(LIMITED, BTC)
    rig.core.halt("as a person asked")
    mark(rig, "80")

    assert "lost today" in rig.core.risk.mode_reason


def test_a_price_that_grows_old_is_told():
    """A strategy gave the pair back, or its feed is gone: the loss that the limit sees stands still."""
    rig = a_day(LIMITED, BTC)
    rig.boards.is_live = False
    with capture_logs() as early:
        passes(rig, 50)
    with capture_logs() as late:
        passes(rig, 15)
    what = "positions have no price for the day's loss"

    assert [entry for entry in early if entry["event"] == what] == []
    assert [entry["symbols"] for entry in late if entry["event"] == what] == [[BTC]]
