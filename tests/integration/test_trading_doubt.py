"""Every order has one life: whatever becomes of a request, its answer and its connection."""

import os
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import OVER, TradingEngine, TradingVenue

# An order is in doubt soon here, so that many of them take little time.
SOON = "deadline_s = 0.6\nanswer_timeout_s = 0.9\nbreaker_failures = 50\nqueue_wait_s_max = 30"
WAITED_NS = 1_200_000_000  # more than `answer_timeout_s`
FATES = ("lost", "answer lost", "executed late", "answer late")
DEEDS = ("add", "amend", "cancel", "batch add", "batch cancel")
LINKS = ("stays", "drops", "drops, the feed's stays")
# All deeds of a cell at the same time; or with TRADING_CELLS=alone each for itself, which takes five times as long.
GROUPS = [(deed,) for deed in DEEDS] if os.environ.get("TRADING_CELLS") == "alone" else [DEEDS]
CELLS = [
    (link, fate, group)
    for link, fate, group in product(LINKS, FATES, GROUPS)
    if link != LINKS[2] or fate in ("lost", "answer lost")
]
# Kraken counts each pair's orders and cancels for itself: each deed has a pair of its own.
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "ETH/BTC", "XRP/USD")


class Pool:
    """Engines for the cells; after three drops in a row an engine waits before it connects again, as it should."""

    DROPS_MAX = 3

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines = Engines(folder)
        self.venue = TradingVenue(self.engines, symbols=",".join(SYMBOLS))
        self._engine: TradingEngine | None = None
        self._drops = 0
        self._count = 0

    def engine(self, *, will_drop: bool) -> TradingEngine:
        """One that is ready; what a cell leaves behind shows in the next."""
        if self._engine is not None and (self._drops >= self.DROPS_MAX or self._engine.process.poll() is not None):
            self._engine.close()
            self._engine = None
        if self._engine is None:
            self._count += 1
            self._drops = 0
            self._engine = TradingEngine(
                self.venue, self.folder / f"{self._count}", trading=SOON, symbols=",".join(SYMBOLS)
            ).start()
        self._drops += will_drop
        engine, relay = self._engine, self._engine.relay
        assert relay is not None
        eventually(lambda: engine.is_open() and relay.carries("orders", "feed"), "the router takes orders")
        return engine

    def close(self) -> None:
        """End of all."""
        if self._engine is not None:
            self._engine.close()
        self.engines.close()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One venue and few engines for all cells."""
    pool = Pool(tmp_path_factory.mktemp("doubt"))
    yield pool
    pool.close()


@pytest.fixture
def engine(pool: Pool, link: str) -> Iterator[TradingEngine]:
    """Each cell begins and ends without faults and without open orders."""
    engine = pool.engine(will_drop=link != "stays")
    yield engine
    assert engine.relay is not None
    engine.venue.clear()
    engine.relay.free()
    engine.router("cancel", all=True)


class Deed:
    """One thing that a strategy does: its orders, and when what became of it is certain."""

    def __init__(self, engine: TradingEngine, what: str, tag: str) -> None:
        self.engine, self.what = engine, what
        batch = what.startswith("batch")
        self.symbol = SYMBOLS[DEEDS.index(what)]
        self.names = [f"{tag} {number}" for number in range(3 if batch else 1)]
        self.method = {"add": "add_order", "amend": "amend_order", "cancel": "cancel_order"}.get(
            what, what.replace(" ", "_")
        )

    def prepare(self) -> None:
        """Orders that are there already, for what changes or ends them."""
        if self.what in ("add", "batch add"):
            return
        for name in self.names:
            self.engine.wish("order", name=name, symbol=self.symbol, qty="5", away=4.0)
        for name in self.names:
            self.engine.wait_for_state(name, "WORKING")

    def do(self) -> None:
        """The deed."""
        match self.what:
            case "add":
                self.engine.wish("order", name=self.names[0], symbol=self.symbol, qty="5", away=4.0)
            case "batch add":
                self.engine.wish(
                    "batch",
                    orders=[{"name": name, "symbol": self.symbol, "qty": "5", "away": 4.0} for name in self.names],
                )
            case "amend":
                self.engine.wish("amend", name=self.names[0], qty="6")
            case _:
                self.engine.wish("cancel", names=self.names)

    def is_certain(self) -> bool:
        """Has the strategy been told how each order stands, and is that so?"""
        for name in self.names:
            told = self.engine.told(name)
            if not told or told[-1]["state"] in ("NEW", "SENT", "UNKNOWN"):
                return False
            if self.what.endswith("cancel") and told[-1]["state"] not in OVER:
                return False
            if told[-1]["busy"]:
                return False
        return True


@pytest.mark.parametrize(("link", "fate", "whats"), CELLS)
def test_never_two_live_orders_for_one_intent(
    engine: TradingEngine, link: str, fate: str, whats: tuple[str, ...]
) -> None:
    """Whatever becomes of the request and of the connection; one of each kind at the same time."""
    relay, venue = engine.relay, engine.venue
    assert relay is not None
    deeds = [Deed(engine, what, f"{what}, {fate}, {link}") for what in whats]
    for deed in deeds:
        deed.prepare()
    kind = {"lost": "lost", "answer lost": "drop-answer", "executed late": "late", "answer late": ""}[fate]
    before = venue.struck(kind) if kind else 0
    if kind:
        for deed in deeds:
            venue.fault(kind, deed.method)
    else:
        relay.hold(answers=["orders"] if link == "stays" else ["orders", "feed"])
    for deed in deeds:
        deed.do()
    if kind:
        eventually(lambda: venue.struck(kind) >= before + len(deeds), f"{kind} has struck each of them")
    else:
        eventually(lambda: all(has_happened(engine, deed) for deed in deeds), "the venue has done it")
    if link != "stays":
        relay.cut("" if link == "drops" else "orders")
        relay.free()
        eventually(lambda: relay.carries("orders", "feed"), "the link is back")
    elif not kind:
        done_at_ns = time.monotonic_ns()
        eventually(lambda: time.monotonic_ns() - done_at_ns > WAITED_NS, "the engine's patience is over")
        relay.free()
    for deed in deeds:
        eventually(deed.is_certain, f"the strategy knows how every order of the {deed.what} stands")

    engine.wait_until_agreed()
    for deed in deeds:
        for name in deed.names:
            assert len(engine.at_venue(name)) <= 1
        if deed.what.endswith("add"):
            there = [bool(engine.at_venue(name)) for name in deed.names]
            told = [engine.told(name)[-1]["state"] in ("WORKING", "PARTIAL", "FILLED") for name in deed.names]
            assert there == told
            if fate == "lost":
                assert not any(there)
            elif fate != "executed late":  # which may be too late for its deadline
                assert all(there)


def has_happened(engine: TradingEngine, deed: Deed) -> bool:
    """Has the venue done what the deed asks for?"""
    found = [engine.at_venue(name) for name in deed.names]
    if deed.what.endswith("add"):
        return all(found)
    if deed.what == "amend":
        return bool(found[0][0]["amend_count"])
    return all(orders[0]["status"] == "canceled" for orders in found)
