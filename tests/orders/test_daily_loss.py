"""The numbers of the day's loss: when a day begins, with what, and what has been lost since."""

from decimal import Decimal

from engine.orders.loss.daily_loss import DailyLoss
from engine.units import NS_PER_S, WallNs

D = Decimal
DAY_NS = 86_400 * NS_PER_S


def test_a_days_loss_halts_and_another_day_begins_at_nothing():
    """Realized or not, after fees, each currency by itself; a gain of one does not pay for another."""
    loss = DailyLoss(D(100))
    start = WallNs(20_000 * DAY_NS + 5)
    assert loss.begins(start)
    loss.begin({"USD": D(-500)}, start)

    assert not loss.begins(WallNs(start + DAY_NS - 6))
    assert loss.refusal({"USD": D("-599.99"), "EUR": D(50)}) is None
    assert loss.refusal({"USD": D(-600)}) == "100 USD lost today, as much as risk.daily_loss_max = 100 allows"
    assert "EUR lost today" in loss.refusal({"USD": D(900), "EUR": D(-101)})
    tomorrow = WallNs(start + DAY_NS)
    assert loss.begins(tomorrow)
    loss.begin({"USD": D(-600)}, tomorrow)
    assert loss.refusal({"USD": D(-600)}) is None
    assert not loss.begins(start), "a clock that is set back does not begin yesterday again"
    assert DailyLoss(None).refusal({"USD": D(-(10**9))}) is None


def test_a_day_that_was_begun_by_mistake_is_taken_back():
    """By a time that is certain: the right day goes on with what it had begun with, and with what was known since."""
    loss = DailyLoss(D(100))
    noon = WallNs(20_000 * DAY_NS + DAY_NS // 2)
    loss.begin({"USD": D(0)}, noon, {"BTC/USD": D(9)})
    loss.begin({"USD": D(-90)}, WallNs(noon + 3650 * DAY_NS))
    loss.rebase("USD", D(5))

    assert not loss.begins(noon)
    assert loss.begins(noon, is_certain=True)
    loss.begin({"USD": D(-90)}, noon)
    assert loss.lost({"USD": D(-90)}) == {"USD": D(95)}
    assert loss.day.marks == {"BTC/USD": D(9)}
    assert loss.begins(WallNs(noon + DAY_NS))


def test_a_day_in_the_future_that_an_earlier_life_left_does_not_last():
    """What today began with is not known any more, so it begins now."""
    loss = DailyLoss(D(100))
    noon = WallNs(20_000 * DAY_NS + DAY_NS // 2)
    loss.begin({"USD": D(500)}, WallNs(noon + 3650 * DAY_NS))
    again = DailyLoss(D(100), loss.day)
    assert again.begins(noon, is_certain=True)
    again.begin({"USD": D(-90)}, noon)

    assert again.lost({"USD": D(-190)}) == {"USD": D(100)}
