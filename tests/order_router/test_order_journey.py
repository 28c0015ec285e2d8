"""From the strategy's call to the socket an order passes few files: read as data, each hop adds something."""

import sys
from decimal import Decimal
from pathlib import Path
from types import FrameType

import engine
from engine.market import Pair
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.orders.journal import Journal
from engine.orders.rings.commands import COMMAND_RECORD_BYTES
from engine.processes.pair_record import pair_in
from engine.records import PairRules, pack_pair
from engine.ring import BoardReader, BoardWriter, Publisher
from engine.strategy.api import Strategy
from engine.strategy.orders import Order
from engine.strategy_host.order_client import OrderClient, OrderPorts
from tests.order_router.rig import STRATEGY, RouterRig
from tests.public_feed.rig import Market, frames

ENGINE = Path(engine.__file__).parent
FILES_MAX = 20
# Of the connection itself, whose place a test's socket takes here.
CONNECTION = {"net/websocket.py", "net/link.py"}
# Memory between processes, which the compiled implementation reads and writes in no file of Python's.
MEMORY = {"ring/ring.py", "ring/board.py", "ring/doorbell.py"}
# A test's clock: of the system's, Python's own functions are called, in no file.
CLOCK = {"clock.py"}


class Desk(Strategy):
    """A strategy whose context is the orders' part of one."""

    def __init__(self, orders: OrderClient) -> None:
        self.context = orders  # type: ignore[assignment]


class Journey:
    """A strategy, the router with its journal and its boards, and what lies between."""

    def __init__(self, folder: Path) -> None:
        market = Market()
        market.take(*frames()[:100])
        slot = market.shard.pair_slot(0)
        rules = PairRules(1, 1, 5000, Decimal("0.5"), "online", 5)
        BoardWriter(market.board).store(slot, pack_pair(0, 1, 8, rules, market.clock.mono_ns()))
        record = BoardReader(market.board).read(slot)
        assert record is not None
        self.pair: Pair = pair_in("BTC/USD", record)
        boards = MarketBoards([BoardPort(market.shard, market.board, market.counters)], market.clock)
        self.journal = Journal.open(folder)[0]
        self.rig = RouterRig(journal=self.journal, boards=boards)  # type: ignore[arg-type]
        self.rig.core.begin()
        self.rig.connect()
        self.rig.snapshot()
        ports = OrderPorts(
            Publisher(self.rig.command_ring), self.rig.readers[STRATEGY], self.rig.balance_reader, STRATEGY, 1
        )
        assert ports.commands.record_bytes == COMMAND_RECORD_BYTES
        self.strategy = Desk(OrderClient(STRATEGY, ports, {"BTC/USD": self.pair}, self.rig.clock))
        self.orders: list[Order] = []

    def order(self, price: int) -> None:
        self.orders.append(
            self.strategy.buy("BTC/USD", Decimal("0.01"), limit=Decimal(price), post_only=True)
        )  # fmt: skip
        self.rig.router.do_work()


def files_before(journey: Journey, price: int) -> set[str]:
    """The files of the engine that are entered before the order's bytes are written."""
    entered: set[str] = set()
    sent = len(journey.rig.socket.sent)

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and len(journey.rig.socket.sent) == sent and path.is_relative_to(ENGINE):
            entered.add(str(path.relative_to(ENGINE)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        journey.order(price)
    finally:
        sys.setprofile(before)
    assert len(journey.rig.socket.sent) == sent + 1, journey.orders[-1]
    return entered


def test_an_order_passes_few_files_on_its_way_to_the_socket(tmp_path: Path) -> None:
    """The second as any later one: what orders have in common is prepared by the first.

    Counted is every file of ours with a function that is entered until the bytes are at the socket. The two of the
    connection are added, for a test's socket stands in their place. Taken out is what a running engine does not enter:
    the rings' portable implementation, if this run has it, and the clock that a test sets.
    """
    journey = Journey(tmp_path)
    journey.order(100)
    entered = files_before(journey, 101)
    journey.journal.close()

    assert journey.rig.core.plain_orders.taken == 2, journey.orders
    assert len(entered - MEMORY - CLOCK | CONNECTION) <= FILES_MAX, sorted(entered)
