"""A plain order goes the quick way, and nothing but its speed differs from the general one."""

from typing import Any

import msgspec
import pytest

from engine.orders.intent import OrderIntent
from engine.orders.rings.commands import Submit
from engine.units import NS_PER_MS, MonoNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import limit

PLAIN = limit(price="95", post_only=True)
ORDERS: dict[str, list[OrderIntent]] = {
    "one": [PLAIN],
    "both sides": [PLAIN, limit("sell", price="105")],
    "the same twice": [PLAIN, PLAIN],
    "into its own order": [limit("sell", price="98"), limit(price="99")],
    "too far": [limit(price="500"), PLAIN],
    "rare words": [limit(price="95", fee_preference="base", reduce_only=True, stp_type="cancel_both")],
    "a market order between": [PLAIN, limit(price=None, order_type="market"), limit(price="94")],
    "off the tick": [msgspec.structs.replace(PLAIN, qty=1), PLAIN],
    "immediate": [limit(price="95", time_in_force="ioc")],
}  # fmt: skip


def run(orders: list[OrderIntent], *, is_quick: bool) -> tuple[RouterRig, list[Any], list[Any]]:
    """The orders, ten milliseconds apart; what was written to the socket and told to the strategy."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.clock.advance(20 * NS_PER_MS)
    if not is_quick:
        rig.core.quick_check.allows = lambda *_: False  # type: ignore[method-assign]
    for number, intent in enumerate(orders):
        rig.command(Submit(STRATEGY, f"quoter{number:012d}", intent, MonoNs(rig.clock.mono_ns()), MonoNs(0)))
        rig.clock.advance(9 * NS_PER_MS)
    rig.clock.advance(20 * NS_PER_MS)
    rig.work()
    return rig, rig.socket.take(), rig.told(STRATEGY)


@pytest.mark.parametrize("kind", ORDERS)
def test_the_quick_way_leaves_what_the_general_one_leaves(kind: str) -> None:
    """The same journal, the same blotter, the same requests, the same reports."""
    quick, general = (run(ORDERS[kind], is_quick=is_quick) for is_quick in (True, False))

    assert quick[1] == general[1]
    assert quick[2] == general[2]
    assert quick[0].memory.records() == general[0].memory.records()
    assert quick[0].core.blotter.state_hash() == general[0].core.blotter.state_hash()
    assert quick[0].core.records.counts == general[0].core.records.counts
    quick[0].core.quick_check.check(quick[0].core.blotter.open.values())


def test_a_plain_order_is_not_seen_by_the_general_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is journalled and on the wire, though they would refuse everything."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.clock.advance(20 * NS_PER_MS)
    rig.command(Submit(STRATEGY, "quoter000000000001", PLAIN, MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    rig.clock.advance(20 * NS_PER_MS)
    monkeypatch.setattr(rig.core.risk, "refusal", lambda *_, **__: "no")
    rig.command(Submit(STRATEGY, "quoter000000000002", limit(price="94"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))

    assert [request["method"] for request in rig.socket.take()][-1] == "add_order"
    assert "quoter000000000002" in rig.core.blotter.open
