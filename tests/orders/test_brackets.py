"""A bracket in the blotter: what its fills come to, and that it outlasts its orders and its journal's segments."""

from decimal import Decimal

from engine.orders.blotter import Blotter, fold
from engine.orders.client_order_id import exit_id, is_client_order_id
from engine.orders.intent import Conditional, Trigger
from engine.orders.journal_records import Acknowledged, Adopted, BracketOver, Ended, Filled, RunBegan, Submitted
from engine.orders.venue_facts import Fee
from engine.units import PriceTicks, QtyLots, WallNs
from tests.orders.rig import AT, KEY, commit, limit, submitted

D = Decimal
EXIT = exit_id(1, 0)


def fill(key, exec_id, lots, base_change=None, fees=()):
    return Filled(
        key, exec_id, 1, QtyLots(lots), 8, D(100), D(lots) / 10**6, fees, "maker", WallNs(AT), AT, base_change
    )


def a_bracket(side="buy"):
    """Entered by the half, of which Kraken has made the stop; and a stop of our own."""
    intent = limit(side, conditional=Conditional("stop-loss", trigger_price=D(90)), take_profit=PriceTicks(1200))
    stop = limit("sell" if side == "buy" else "buy", "0.5", None, order_type="stop-loss", trigger=Trigger(D(90)))
    blotter = Blotter()
    commit(blotter, [
        RunBegan(1, "test", "key", AT),
        submitted(intent=intent, userref=7),
        Acknowledged(KEY, "OENTRY-1", AT),
        fill(KEY, "T1", 5 * 10**7),
        Adopted("OCLOSE-1", "OCLOSE-1", "quoter", stop, QtyLots(0), None, 7, AT, KEY),
        Submitted(EXIT, "quoter", stop, AT, "websocket", None, AT, None, KEY),
    ])  # fmt: skip
    return blotter


def test_fills_of_entry_and_exits_are_counted():
    """Exits that are over leave it; what is left is what neither has closed."""
    blotter = a_bracket()
    bracket = blotter.brackets[KEY]
    assert (bracket.side, bracket.stop, bracket.target_price) == ("sell", 90, 120)
    assert (bracket.left, bracket.unseen, bracket.exits) == (D("0.5"), 0, ["OCLOSE-1", EXIT])
    commit(blotter, [fill("OCLOSE-1", "T2", 2 * 10**7), Ended("OCLOSE-1", "canceled", "", QtyLots(2 * 10**7), 8, AT)])

    assert (bracket.left, bracket.closed, bracket.exits) == (D("0.3"), D("0.2"), [EXIT])
    blotter.check()


def test_an_exit_of_which_fills_are_missing_stays():
    """Nothing may be sent in its place before all of them are known."""
    blotter = a_bracket()
    commit(blotter, [Ended("OCLOSE-1", "canceled", "", QtyLots(2 * 10**7), 8, AT)])
    assert blotter.brackets[KEY].exits == ["OCLOSE-1", EXIT]
    commit(blotter, [fill("OCLOSE-1", "T2", 2 * 10**7)])

    assert blotter.brackets[KEY].exits == [EXIT]


def test_no_more_is_left_than_was_credited():
    """Of a purchase whose fee was taken in the base currency, or that the ledger rounds."""
    blotter = a_bracket()
    commit(blotter, [
        fill(KEY, "T3", 10**7, fees=(Fee("BTC", D("0.001")),)), fill(KEY, "T4", 10**7, base_change=D("0.0998")),
    ])  # fmt: skip

    assert blotter.brackets[KEY].left == D("0.6988")


def test_a_sold_one_closes_by_buying():
    """What is left is positive all the same."""
    blotter = a_bracket("sell")
    commit(blotter, [fill(EXIT, "T2", 10**7)])

    assert (blotter.brackets[KEY].side, blotter.brackets[KEY].left) == ("buy", D("0.4"))


def test_a_snapshot_holds_it_and_it_outlasts_its_orders():
    """A new segment of the journal begins with it, and no exit's id comes again."""
    blotter = a_bracket()
    again = fold([blotter.snapshot(AT)])
    assert again.state_hash() == blotter.state_hash()
    assert again.brackets == blotter.brackets
    assert again.exits_sent == 1
    again.ended.clear()
    again.open.clear()
    commit(again, [BracketOver(KEY, "nothing is left to close", AT)])

    assert not again.brackets


def test_ids_of_exits_are_kraken_s_and_their_own():
    """No strategy's tag has capitals."""
    assert is_client_order_id(EXIT)
    assert exit_id(1, 0) != exit_id(1, 1) != exit_id(2, 1)
