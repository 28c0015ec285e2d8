"""Every order has one life, over real sockets: two cells of doubt.

All of them are proved against the order core in `tests/order_router/test_cells_of_doubt.py`;
these show that processes, sockets and the venue's own faults come to the same.
"""

from collections.abc import Iterator

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import OVER, TradingEngine, TradingVenue

# An order is in doubt soon here, so that many of them take little time.
SOON = "deadline_s = 0.6\nanswer_timeout_s = 0.9\nbreaker_failures = 50\nqueue_wait_s_max = 30"
FAULTS = {"lost": "lost", "answer lost": "drop-answer"}  # the venue's, by fate
DEEDS = ("add", "amend", "cancel", "batch add", "batch cancel")
CELLS = (("drops", "answer lost"), ("drops, the feed's stays", "lost"))
# Kraken counts each pair's orders and cancels for itself: each deed has a pair of its own.
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "ETH/BTC", "XRP/USD")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingEngine]:
    """One engine and one venue for the cells: what a cell leaves behind shows in the next."""
    folder = tmp_path_factory.mktemp("doubt")
    engines = Engines(folder)
    venue = TradingVenue(engines, symbols=",".join(SYMBOLS))
    engine = TradingEngine(venue, folder / "engine", trading=SOON, symbols=",".join(SYMBOLS)).start()
    yield engine
    engine.close()
    engines.close()


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


@pytest.mark.parametrize(("link", "fate"), CELLS)
def test_never_two_live_orders_for_one_intent(engine: TradingEngine, link: str, fate: str) -> None:
    """Whatever becomes of the request and of the connection; one of each kind at the same time."""
    relay, venue = engine.relay, engine.venue
    assert relay is not None
    eventually(lambda: engine.is_open() and relay.carries("orders", "feed"), "orders are taken")
    deeds = [Deed(engine, what, f"{what}, {fate}, {link}") for what in DEEDS]
    for deed in deeds:
        deed.prepare()
    kind = FAULTS[fate]
    before = venue.struck(kind)
    for deed in deeds:
        venue.fault(kind, deed.method)
    for deed in deeds:
        deed.do()
    eventually(lambda: venue.struck(kind) >= before + len(deeds), f"{kind} has struck each of them")
    relay.cut("" if link == "drops" else "orders")
    eventually(lambda: relay.carries("orders", "feed"), "the link is back")
    for deed in deeds:
        eventually(deed.is_certain, f"the strategy knows how every order of the {deed.what} stands")

    engine.wait_until_agreed()
    for deed in deeds:
        for name in deed.names:
            assert len(engine.at_venue(name)) <= 1
        if deed.what.endswith("add"):
            there = [bool(engine.at_venue(name)) for name in deed.names]
            told = [engine.told(name)[-1]["state"] in ("WORKING", "PARTIAL", "FILLED") for name in deed.names]
            assert there == told == [fate == "answer lost"] * len(there)
