"""After a stall, a kill or a refusal the engine comes back by itself, soon, and without wearing out the key.

The venue counts REST calls as Kraken does, refused ones as well, up to twice the limit.
"""

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.venue.setup.keys import LOCKOUT_FAILURES
from tests.integration.rig import PATIENCE_S, Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue, stopped
from tests.waiting import moment

QTY = {"BTC/USD": "0.0002", "ETH/USD": "0.005", "SOL/USD": "0.1", "XRP/USD": "10"}
BUSY = tuple(QTY)
QUIET = "ETH/BTC"
SYMBOLS = ",".join((*BUSY, QUIET))
LOST = 40
ORDERS_PER_S = 25
ORDERS_IN_STALL = 5 * ORDERS_PER_S
FROZEN = "gives no sign of life"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[TradingVenue]:
    """A venue of its own, for it is stalled."""
    engines = Engines(tmp_path)
    yield TradingVenue(engines, symbols=SYMBOLS)
    engines.close()


def undecided(engine: TradingEngine, names: list[str]) -> list[str]:
    """Orders that have not been told to the strategy as what they are."""
    last = {name: told[-1]["state"] if (told := engine.told(name)) else "NEW" for name in names}
    return [name for name, state in last.items() if state in ("NEW", "SENT", "UNKNOWN")]


def agree(engine: TradingEngine, names: list[str]) -> None:
    """Each order is at the venue when its strategy was told so, and once."""
    engine.wait_until_agreed()
    for name in names:
        there = engine.at_venue(name)
        state = engine.told(name)[-1]["state"]
        assert len(there) == (state not in ("REJECTED", "REFUSED")), (name, state, there)


def test_certain_pairs_are_traded_soon_after_a_stall_and_every_order_is_decided_rightly(
    venue: TradingVenue, tmp_path: Path
) -> None:
    """Orders go on at 25 a second while Kraken stands still for five seconds; many never reach it, the others end at
    once. Those that ended fill the first pages of ClosedOrders, which the lost ones are not on."""
    engine = TradingEngine(
        venue, tmp_path / "engine", symbols=SYMBOLS, key=venue.key(tier="pro"), relay=False,
        trading="breaker_failures = 1000\ntrade_while_unknown = true", risk="open_orders_max = 225",
    ).start()  # fmt: skip
    names: list[str] = []

    def order() -> None:
        names.append(f"o{len(names)}")
        symbol = BUSY[len(names) % len(BUSY)]
        engine.wish("order", name=names[-1], symbol=symbol, order_type="market", qty=QTY[symbol])
        moment(1 / ORDERS_PER_S)

    try:
        eventually(lambda: engine.router("status")["rate"]["tier"] == "pro", "the tier is known")
        for _ in range(60):
            order()
        eventually(lambda: not undecided(engine, names), "the first are over")
        venue.fault("lost", "add_order", LOST)
        with stopped(venue.process.pid):
            for _ in range(ORDERS_IN_STALL):
                order()
        venue.clear()
        eventually(engine.is_open, "orders are taken again")
        engine.wish("order", name="other", symbol=QUIET, away=4.0, qty="0.1")
        engine.wait_for_state("other", "WORKING")
        eventually(lambda: not undecided(engine, names), "every order is decided")
        counts = engine.counts()

        assert counts["rest_calls"] < 20 + counts["in_doubt"] / 2, "a call for each would have been more"
        agree(engine, names)
    finally:
        engine.close()


def test_a_router_that_was_killed_with_many_in_flight_decides_every_one(venue: TradingVenue, tmp_path: Path) -> None:
    """With a starter key: its counter holds fifteen points, and gets one back every three seconds."""
    engine = TradingEngine(
        venue, tmp_path / "engine", symbols=SYMBOLS, key=venue.key(tier="starter"),
        trading="breaker_failures = 1000\ntrade_while_unknown = true", risk="open_orders_max = 225",
    ).start()  # fmt: skip
    names = [f"o{number}" for number in range(45)]
    try:
        assert engine.relay is not None
        venue.fault("lost", "add_order", 15)
        engine.relay.hold(answers=["orders", "feed"])
        for name in names:
            engine.wish("order", name=name, away=3.0, qty="0.001")
        eventually(lambda: len(engine.diary().entries("named")) == len(names), "all were asked for")
        eventually(lambda: len(venue.orders(engine.account)) >= 20, "the venue has many of them")
        pid = engine.pid("order_router")
        os.kill(pid, signal.SIGKILL)
        engine.relay.free()
        eventually(
            lambda: engine.status().get("processes", {}).get("order_router") not in (None, pid), "another is there"
        )
        eventually(engine.is_open, "orders are taken again")
        eventually(lambda: not undecided(engine, names), "every order is decided")

        agree(engine, names)
    finally:
        engine.close()


def test_a_feed_that_cannot_be_reached_says_so_with_the_connections_own_error(
    venue: TradingVenue, tmp_path: Path
) -> None:
    """Nothing is being reconciled while there is no connection."""
    engine = TradingEngine(venue, tmp_path / "engine", symbols=SYMBOLS, trading='when_private_down = "halt"').start()
    try:
        assert engine.relay is not None
        engine.relay.down("feed")
        told = eventually(
            lambda: "unreachable" in (status := engine.router("status")).get("reason", "") and status,
            "the reason is told",
        )
        engine.wish("order", name="refused", away=4.0)
        refused = engine.wait_for_state("refused", "REFUSED")
        engine.relay.up()
        eventually(engine.is_open, "orders are taken again")

        assert told["is_open"] is False
        assert engine.relay.url in told["reason"]
        assert "private WebSocket unreachable: ws://127.0.0.1" in refused["reason"]
    finally:
        engine.close()


def test_no_order_is_taken_while_the_private_feed_is_frozen(venue: TradingVenue, tmp_path: Path) -> None:
    """It is noticed long before its process is given up, and what it has to say when it goes on is believed."""
    engine = TradingEngine(
        venue, tmp_path / "engine", symbols=SYMBOLS, relay=False, engine="actor_silence_s = 60"
    ).start()
    try:
        pid = engine.pid("private_feed")
        with stopped(pid):
            eventually(lambda: FROZEN in engine.router("status").get("reason", ""), "it is noticed")
            engine.wish("order", name="refused", away=4.0)
            refused = engine.wait_for_state("refused", "REFUSED")
        eventually(engine.is_open, "orders are taken again")
        engine.wish("order", name="taken", away=4.0)
        engine.wait_for_state("taken", "WORKING")

        assert FROZEN in refused["reason"]
        assert engine.pid("private_feed") == pid
    finally:
        engine.close()


def test_a_router_that_starts_again_during_a_lockout_ends_no_run(venue: TradingVenue, tmp_path: Path) -> None:
    """Orders rest at Kraken: the run goes on, takes none, and says why."""
    engine = TradingEngine(venue, tmp_path / "engine", symbols=SYMBOLS, relay=False).start()
    try:
        engine.wish("order", name="a", away=4.0)
        engine.wait_for_state("a", "WORKING")
        for _ in range(LOCKOUT_FAILURES):
            request = urllib.request.Request(
                venue.ready["rest"] + "/0/private/BalanceEx", b"nonce=1",
                {"API-Key": engine.key["api_key"], "API-Sign": "bm9uZQ=="},
            )  # fmt: skip
            urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        os.kill(engine.pid("order_router"), signal.SIGKILL)
        told = eventually(
            lambda: "lock" in (status := engine.status().get("trading", {})).get("reason", "") and status,
            "the reason is told",
        )

        engine.wish("order", name="b", away=4.0)
        refused = engine.wait_for_state("b", "REFUSED")

        assert told["is_open"] is False
        assert "lock" in refused["reason"]
        assert engine.status()["exit"] == "running"
    finally:
        engine.close()
