"""A strategy that answers each no by asking again: the others, its own news and its end come all the same."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from engine import FeedState, Fill, Order, OrderState, Strategy
from engine.orders.rings.commands import COMMAND_RECORD_BYTES
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORTS
from engine.processes.balance_board import BalanceBoardReader
from engine.ring import GatedSubscriber, Publisher
from engine.strategy_host.order_client import OrderPorts
from tests.order_router.rig import balance_board
from tests.public_feed.rig import Market, frames
from tests.strategy_host.rig import PAIR, ClientRig, fill_of, ring

ANSWERS_MAX = 500  # by then it does not end by itself; what is raised halts the strategy, and so ends it


class Answering(Strategy):
    """Asks anew whatever it was answered."""

    def __init__(self, ask: Callable[["Answering"], Any]) -> None:
        self.ask = lambda: ask(self)
        self.answers = 0
        self.books = 0
        self.ended: list[str] = []
        self.has_stopped = False

    def again(self) -> None:
        self.answers += 1
        assert self.answers < ANSWERS_MAX
        self.ask()

    def on_order(self, order: Order) -> None:
        if not order.is_open:
            self.ended.append(order.state.name)
            self.again()

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        if state is FeedState.UNSUBSCRIBED:
            self.again()

    def on_book(self, book: Any) -> None:
        self.books += 1

    def on_stop(self) -> None:
        self.has_stopped = True


def test_a_fill_is_told_between_refusals_that_never_end() -> None:
    """They come without the router, so its reports could wait behind them for ever."""
    rig = ClientRig()
    order = rig.working()
    assert rig.reports.try_publish(REPORTS.pack(fill_of(order.id)))
    rig.submit("-1")
    told: list[object] = []
    while not any(isinstance(news, Fill) for news in told) and len(told) < 9:
        told.append(rig.client.next_news())
        rig.submit("-1")

    assert [type(news) for news in told] == [Order, Fill]


def test_a_strategy_that_quotes_anew_whenever_an_order_has_ended_comes_to_its_own_end() -> None:
    """The engine cancels both of its orders, and refuses what it then asks for: it hears of both, and stops."""
    reports = ring(REPORT_RECORD_BYTES, 64)
    commands = ring(COMMAND_RECORD_BYTES, 64)
    GatedSubscriber(commands)
    ports = OrderPorts(Publisher(commands), GatedSubscriber(reports), BalanceBoardReader(balance_board()), "answer", 1)
    strategy = Answering(lambda me: me.buy("BTC/USD", "1", limit=60000))
    hosted = Market().host(strategy, order_ports=ports)
    asyncio.run(hosted.start())
    hosted.context.pairs["BTC/USD"] = PAIR
    router = Publisher(reports)
    orders = [strategy.buy("BTC/USD", "1", limit=price) for price in (60000, 60001)]
    hosted.send_no_orders()
    for order in orders:
        assert router.try_publish(REPORTS.pack(replace(order.report, state=OrderState.CANCELED)))
    asyncio.run(hosted.stop())

    assert strategy.ended.count("CANCELED") == 2
    assert strategy.has_stopped
    assert hosted.errors == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda me: me.context.call_soon(me.again),
        lambda me: me.context.subscribe("no pair"),
    ],
    ids=["a call", "a subscription"],
)
def test_what_asks_for_itself_leaves_the_turn_to_the_market(ask: Callable[[Answering], Any]) -> None:
    """One answer a turn: books come in between, and the strategy stops when it is to."""
    strategy = Answering(ask)
    market = Market(added_max=1)
    hosted = market.host(strategy)
    asyncio.run(hosted.start())
    strategy.ask()
    market.take(*frames()[:20])
    for _ in range(5):
        hosted.do_work()
    answers, books = strategy.answers, strategy.books
    asyncio.run(hosted.stop())

    assert 0 < answers <= 5
    assert books > 0
    assert strategy.has_stopped
    assert hosted.errors == 0
