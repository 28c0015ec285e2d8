"""The engine in a program of one's own: real processes, the built-in venue, one event loop."""

import asyncio
import gc
import queue
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from engine import (
    Balance,
    BookTop,
    CallError,
    ConfigError,
    Connection,
    Engine,
    EngineStopped,
    ErrorKind,
    ErrorReport,
    Fill,
    NotAvailable,
    Order,
    OrderRefused,
    OrderState,
    Strategy,
)
from engine.attach.attachment import Attachment
from engine.attach.engine import AttachedEngine
from engine.errors import StrategyError
from engine.net.control_socket import ask
from engine.supervisor.run_directory import RunDirectory
from tests.waiting import until

SYMBOLS = ("BTC/USD", "ETH/USD")
CALM = "--rate 200"
LIMITS = {f"risk.{name}_max": 1000 for name in ("order_notional", "position_notional", "daily_loss")}


@pytest.fixture(autouse=True)
def run_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of this test alone, and short enough for sockets; nothing is left behind in it, nor as a process."""
    with tempfile.TemporaryDirectory(prefix="tm") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield
        assert not list(Path(folder).rglob("control"))
    assert not [child for child in psutil.Process().children(recursive=True) if "engine" in child.cmdline()]


def run(program: Callable[[], Awaitable[None]], loop: Any = asyncio.new_event_loop) -> None:
    """A program, from its start to its end."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(program())  # type: ignore[arg-type]


def test_a_strategy_without_on_balance_reads_what_the_account_holds_and_another_router_goes_on() -> None:
    """It is sent no report of it; before, between and after the two routers it reads the same as everybody."""

    class Reader(Strategy):
        """Reads on the program's loop."""

    reader = Reader()

    async def program() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS, venue_options=CALM, strategies=[reader]) as engine:
            await engine.until_trading()
            usd = await engine.balance("USD")
            assert usd.free > 0
            assert reader.context.balance("USD") == usd
            assert reader.context.balance("DOGE") == Balance("DOGE")

            (router,) = (
                child
                for child in psutil.Process().children(recursive=True)
                if "order_router" in " ".join(child.cmdline())
            )
            router.kill()
            await until(lambda: not engine.trading.is_open, "the router's death is noticed")
            assert reader.context.balance("USD") == usd
            await engine.until_trading(30)
            book, pair = await engine.book("BTC/USD"), await engine.pair("BTC/USD")
            assert book.best_bid is not None
            await engine.buy(
                "BTC/USD", "0.001", limit=pair.round_price(book.best_bid.price / 2, "down"), post_only=True
            )
            await until(lambda: reader.context.balance("USD").held > 0, "the order's hold is read")
            assert reader.context.balance("USD").total == usd.total

    run(program)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_program_reads_trades_and_ends_with_a_ledger_that_agrees(loop: Any) -> None:
    """Data, handlers, orders to their ends, statements of the mistakes in between."""
    fills: list[Fill] = []
    orders: list[OrderState] = []
    books: list[str] = []
    errors: list[ErrorReport] = []
    connections: list[Connection] = []

    class Beside(Strategy):
        """A strategy on the program's loop."""

        def on_book(self, book: BookTop) -> None:
            books.append(book.symbol)

    async def program() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS, venue_options=CALM, strategies=[Beside()]) as engine:
            engine.on("connection", connections.append)
            book = await engine.book("BTC/USD", age_s_max=5)
            assert book.is_verified
            ticker = await engine.ticker("BTC/USD")
            pair = await engine.pair("BTC/USD")
            assert book.best_bid is not None
            assert book.age_s < 5
            assert (ticker.source, book.source) == ("websocket", "websocket")
            assert ticker.spread_percent is not None
            await until(
                lambda: any(each.process == "public_feed-0" and each.is_connected for each in connections),
                "the feed's connection is told",  # whichever process is the first
            )
            assert (await engine.candles("BTC/USD"))[-1].interval_min == 1
            await engine.until_trading()
            assert (await engine.balance("USD")).free > 0
            assert (await engine.balance("DOGE")).total == 0

            engine.on("fill", fills.append)
            engine.on("error", errors.append)

            @engine.on("order", symbol="BTC/USD")
            async def on_order(order: Order) -> None:
                orders.append(order.state)

            limit = pair.round_price(book.best_bid.price / 2, "down")
            resting = await engine.buy("BTC/USD", "0.001", limit=limit, post_only=True, cl_ord_id="mine-17")
            await resting.until_acknowledged()
            assert engine.order("mine-17") is resting
            assert engine.orders == (resting,)
            assert engine.order(resting.order_id) is resting
            await engine.amend(resting, limit=limit - 1)
            assert resting.limit_price == limit - 1
            with pytest.raises(TimeoutError, match=r"nothing came of it in 0.05 s"):
                await resting.until_over(timeout_s=0.05)
            await engine.cancel(resting)
            assert (await resting.until_over(10)).state is OrderState.CANCELED
            taken = await engine.buy("BTC/USD", "0.001")
            assert (await taken.until_over(10)).is_filled
            await until(lambda: bool(fills), "the fill is told")
            assert engine.position("BTC/USD").qty == Decimal("0.001")
            assert engine.fills() == fills == list(taken.fills)
            await until(lambda: engine.statistics().fills == len(fills), "each fill is counted")
            await until(lambda: engine.statistics().orders_filled == 1, "and the end of its order, some ms later")
            figures = engine.statistics()
            assert (figures.orders_submitted, figures.orders_filled, figures.orders_canceled) == (2, 1, 1)
            assert (figures.orders_by_websocket, figures.orders_by_rest, figures.success_percent) == (2, 0, 100)
            assert figures.acknowledged_ms["websocket"] is not None
            assert figures.filled_ms["websocket"] is not None
            assert figures.filled_ms["rest"] is None
            assert figures.messages.keys() >= {"book", "ticker", "trade", "ohlc", "executions", "balances"}
            assert all(figures.messages[name] for name in ("book", "ticker", "executions", "balances"))
            assert figures.connected == dict.fromkeys(("public_feed-0", "private_feed", "order_router"), True)
            assert figures.is_authenticated

            with pytest.raises(OrderRefused, match="tick") as refused:
                await engine.buy("BTC/USD", "0.001", limit="50000.05")
            assert refused.value.order.state is OrderState.REFUSED
            assert refused.value.order.error.kind is ErrorKind.PRECISION
            with pytest.raises(OrderRefused, match="it is over"):
                await engine.amend(taken, limit=limit)
            with pytest.raises(CallError, match=r"DOGE/USD.*follows BTC/USD, ETH/USD"):
                await engine.book("DOGE/USD")
            with pytest.raises(CallError, match=r"interval_min is one of 1, 5, 15, .*, not 7: Kraken has no other"):
                await engine.candles("BTC/USD", interval_min=7)
            with pytest.raises(CallError, match="count is 1 to 720, not 721"):
                await engine.candles("BTC/USD", count=721)
            with pytest.raises(CallError, match="no order"):
                await engine.cancel("one")  # type: ignore[arg-type]
            with pytest.raises(NotAvailable, match=r"no live book of ETH/USD, not older than 0 s, within 0.1 s"):
                await engine.book("ETH/USD", age_s_max=0, timeout_s=0.1)
        status = engine.status()
        assert (status["exit"], status["ledger"]["agree"], status["orders"]["submitted"]) == ("clean", True, 2)
        assert engine.statistics().orders_submitted == 2
        assert not any(engine.statistics().connected.values())
        with pytest.raises(EngineStopped, match=r"ended \(clean\)"):
            await engine.book("BTC/USD")

    run(program, loop)

    assert OrderState.CANCELED in orders
    assert OrderState.FILLED in orders
    assert set(books) == set(SYMBOLS)
    assert errors == []


def test_a_program_that_is_canceled_still_ends_its_orders() -> None:
    """As by Ctrl-C in the middle of a wait."""
    statuses: list[dict[str, Any]] = []

    async def program() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:
            book = await engine.book("BTC/USD")
            await engine.until_trading()
            assert book.best_bid is not None
            pair = await engine.pair("BTC/USD")
            limit = pair.round_price(book.best_bid.price / 2, "down")
            order = await engine.buy("BTC/USD", "0.001", limit=limit)
            await order.until_acknowledged()
            me = asyncio.current_task()
            assert me is not None
            asyncio.get_running_loop().call_soon(me.cancel)
            try:
                await order.until_over()
            finally:
                await engine.close()
                statuses.append(engine.status())

    with pytest.raises(asyncio.CancelledError):
        run(program)

    assert statuses[0]["exit"] == "clean"
    assert statuses[0]["orders"]["canceled"] == 1
    assert statuses[0]["ledger"]["agree"]


def test_amends_that_are_put_on_top_of_one_another_return_and_one_that_is_lost_does_not() -> None:
    """A router that dies takes the amend that waited with it: nothing came of that one."""

    async def program() -> None:
        slow = "--rate 0 --engine-latency-ms 300"
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=slow) as engine:
            book, pair = await engine.book("BTC/USD"), await engine.pair("BTC/USD")
            await engine.until_trading()
            assert book.best_bid is not None
            limit = pair.round_price(book.best_bid.price / 2, "down")
            order = await engine.buy("BTC/USD", "0.001", limit=limit)
            await order.until_acknowledged()
            done = await asyncio.gather(*(engine.amend(order, limit=limit - step) for step in (1, 2, 3)))
            assert done == [order] * 3
            assert order.limit_price == limit - 3

            first = asyncio.ensure_future(engine.amend(order, limit=limit - 4))
            lost = asyncio.ensure_future(engine.amend(order, limit=limit - 5))
            await until(lambda: order.is_amending, "the amends are under way")
            (router,) = (
                child
                for child in psutil.Process().children(recursive=True)
                if "order_router" in " ".join(child.cmdline())
            )
            router.kill()
            (outcome,) = await asyncio.gather(lost, return_exceptions=True)
            await asyncio.gather(first, return_exceptions=True)
            assert isinstance(outcome, TimeoutError | OrderRefused)
            assert order.limit_price != limit - 5

    run(program)


def test_one_who_waits_is_told_when_the_engine_ends() -> None:
    """The venue dies: no wait goes on for ever."""

    async def program() -> None:
        engine = await Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM)
        try:
            (venue,) = (child for child in psutil.Process().children() if "venue" in child.cmdline())
            waiting = asyncio.ensure_future(engine.book("BTC/USD", age_s_max=0, timeout_s=60))
            venue.kill()
            with pytest.raises(EngineStopped, match="the local venue ended"):
                await waiting
        finally:
            await engine.close()
        assert "the local venue ended" in engine.status()["exit"]

    run(program)


def test_a_handler_that_blocks_the_loop_is_named_while_it_does() -> None:
    """By a thread of its own, since the supervisor shares the loop."""
    seen: list[dict[str, Any]] = []

    async def program() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:

            def block(_: BookTop) -> None:
                engine.off("book", block)
                until_at = time.monotonic() + 20
                while time.monotonic() < until_at:
                    hangs = engine.status()["strategies"]["program"]["hangs"]
                    if hangs is not None:
                        seen.append(hangs)
                        return

            engine.on("book", block)
            await until(lambda: bool(seen), "it is seen")

    run(program)

    assert seen[0]["callback"] == "on_book"
    assert "in block" in seen[0]["line"] or "test_client.py" in seen[0]["line"]


def test_engines_one_after_another_leave_neither_memory_nor_descriptors() -> None:
    """A notebook opens many in one process, and each test of a bot, whose garbage nobody may collect."""
    held: list[tuple[int, int]] = []

    async def program() -> None:
        for _ in range(3):
            async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:
                await engine.book("BTC/USD")
            del engine
            held.append((psutil.Process().num_fds(), psutil.Process().memory_info().shared >> 20))

    gc.disable()
    try:
        run(program)
    finally:
        gc.enable()

    assert held[1][0] == held[2][0]
    assert held[2][1] - held[1][1] < 10, "megabytes; the rings of one engine have thirty"


async def wrong_calls(given: Engine) -> None:
    """Arguments of a wrong kind: each is named in one sentence, and nothing happens."""
    engine: Any = given
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: engine.candles("BTC/USD", count="x"), "count is 1 to 720, not 'x'"),
        (lambda: engine.candles("BTC/USD", timeout_s="x"), "timeout_s is a number of seconds, not 'x'"),
        (lambda: engine.book("BTC/USD", age_s_max="x"), "age_s_max is a number of seconds, not 'x'"),
        (lambda: engine.ticker("BTC/USD", age_s_max=float("nan")), "age_s_max is a number of seconds, not nan"),
        (lambda: engine.until_trading([]), r"timeout_s is a number of seconds, not \[\]"),
        (lambda: engine.balance([]), r"balance takes the name of an asset, such as USD, not \[\]"),
        (lambda: engine.cancel_all(None), "None is not followed; this engine follows BTC/USD"),
        (lambda: engine.fills(float("inf")), "limit is a whole number, not inf"),
        (lambda: engine.order([]), r"order takes the id of an order, not \[\]"),
        (lambda: engine.position([]), r"\[\] is not followed; this engine follows BTC/USD"),
        (lambda: engine.off([], print), "is no handler of"),
    ]
    for call, sentence in calls:
        with pytest.raises(CallError, match=sentence):
            await call()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ({"venue": 5}, "venue is a text, such as 'local', not 5"),
        ({"symbols": "BTC/USD"}, r"symbols is a list of pairs, such as \['BTC/USD'\], not 'BTC/USD'"),
        ({"symbols": 5}, "symbols is a list of pairs"),
        ({"venue_options": ["--rate", "5"]}, "venue_options is a text, such as '--rate 200', not"),
        ({"settings": [("feed.depth", 25)]}, "settings is a dict of settings by their path"),
        ({"settings": {5: 5}}, "settings is a dict of settings by their path"),
        ({"strategies": Strategy}, "strategies is a list of strategies, not"),
        ({"strategies": Strategy()}, "strategies is a list of strategies, not"),
    ],
)
def test_an_argument_of_another_kind_is_one_sentence(argument: dict[str, Any], sentence: str) -> None:
    """Before anything is started."""
    with pytest.raises((ConfigError, CallError), match=sentence):
        Engine.open(**argument)


def test_a_pair_that_is_given_back_while_it_is_waited_for_is_a_mistake_of_the_call() -> None:
    """Not a KeyError; an order on it is refused as one that comes later."""

    async def program() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS, venue_options=CALM) as engine:
            await engine.until_trading()
            await engine.book("ETH/USD")
            waiting = asyncio.create_task(engine.book("ETH/USD", age_s_max=-1))  # none is ever as young
            await asyncio.sleep(0)
            await engine.unsubscribe("ETH/USD")
            with pytest.raises(CallError, match=r"ETH/USD is not followed.*; it was given back meanwhile"):
                await waiting
            subscribing = asyncio.create_task(engine.subscribe("ETH/USD"))
            await asyncio.sleep(0)
            buying = asyncio.create_task(engine.buy("ETH/USD", "0.01"))
            await engine.unsubscribe("ETH/USD")
            with pytest.raises(OrderRefused, match="it was unsubscribed; subscribe to it again first"):
                await buying
            await asyncio.gather(subscribing, return_exceptions=True)  # what was confirmed before may do

    run(program)


def test_another_loop_than_the_engines_sends_no_order_and_does_not_wait() -> None:
    """As that of a test, where the fixture's has opened the engine and stands still meanwhile."""

    async def opened() -> Engine:
        return await Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM)

    async def stray(engine: Engine) -> None:
        for call in (engine.buy("BTC/USD", "0.001"), engine.sell("BTC/USD", "0.001"), engine.ticker("BTC/USD")):
            with pytest.raises(CallError, match="works on the loop that opened it, while that runs; from another"):
                await call

    with asyncio.Runner() as fixture:
        engine = fixture.run(opened())
        asyncio.run(stray(engine))
        assert not engine.orders
        fixture.run(engine.close())


def test_an_engine_is_closed_by_the_loop_that_opened_it() -> None:
    """Another one would wait for a task that it does not run; it is told what to do, and the engine goes on."""

    async def program() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:
            with pytest.raises(CallError, match="closed on the loop that opened it; from another one, hand the call"):
                await asyncio.to_thread(asyncio.run, engine.close())
            assert (await engine.book("BTC/USD")).is_verified
        await asyncio.to_thread(asyncio.run, engine.close())

    run(program)


def test_a_mistake_at_the_start_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    """A name that is taken, a venue that cannot start, a setting that there is not."""

    async def program() -> None:
        beside = Strategy()
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM, strategies=[beside]) as engine:
            with pytest.raises(ConfigError, match="an engine named default is running already"):
                await Engine.open(venue="local", symbols=SYMBOLS[:1])
            await wrong_calls(engine)
            with pytest.raises(CallError, match="on another thread, hand the call over"):
                await asyncio.to_thread(asyncio.run, engine.buy("BTC/USD", "0.001"))
            with pytest.raises(CallError, match="is a strategy of another engine that runs; make one object for each"):
                await Engine.open(venue="local", symbols=SYMBOLS[:1], name="another", strategies=[beside])
        with pytest.raises(EngineStopped):
            engine.on("trading", print)
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM, strategies=[beside]):
            pass  # the engine that had it has ended
        deaf = type("Deaf", (Strategy,), {"on_boook": lambda self, book: None})()
        with pytest.raises(StrategyError, match=r"Deaf.on_boook is never called; did you mean on_book\?"):
            await Engine.open(venue="local", symbols=SYMBOLS[:1], strategies=[deaf])
        twice = Strategy()
        with pytest.raises(CallError, match=r"strategies has .* twice; make one object for each"):
            await Engine.open(venue="local", symbols=SYMBOLS[:1], strategies=[twice, twice])
        with pytest.raises(ConfigError, match="the local venue cannot run"):
            await Engine.open(venue="local", symbols=["NONE/USD"])
        (tmp_path / "program.py").write_text("from engine import Strategy\nclass program(Strategy): pass\n")
        with pytest.raises(ConfigError, match="a strategy is named program, as the program itself is"):
            await Engine.open(venue="local", settings={"strategy": [{"target": str(tmp_path / "program.py")}]})
        with pytest.raises(ConfigError, match="no such file"):
            await Engine.open(
                settings={"trading.enabled": True, "trading.credentials_file": "/nowhere/kraken.key"} | LIMITS
            )
        with pytest.raises(ConfigError, match=r"feed.dept is not a setting; did you mean feed\.depth"):
            await Engine.open(venue="local", settings={"feed.dept": 10})

    run(program)


def test_an_amend_that_the_end_of_its_order_forestalls_is_refused() -> None:
    """The first amend fills the order, or a cancel ends it: the second changed nothing, and says so."""

    async def program() -> None:
        slow = "--rate 0 --engine-latency-ms 300"
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=slow) as engine:
            book, pair = await engine.book("BTC/USD"), await engine.pair("BTC/USD")
            await engine.until_trading()
            assert book.best_bid is not None
            assert book.best_ask is not None
            limit = pair.round_price(book.best_bid.price / 2, "down")
            crossing = pair.round_price(book.best_ask.price + 10, "up")

            for first, end in ((crossing, OrderState.FILLED), (limit - 1, OrderState.CANCELED)):
                order = await engine.buy("BTC/USD", "0.0001", limit=limit)
                await order.until_acknowledged()
                amends = [asyncio.ensure_future(engine.amend(order, limit=each)) for each in (first, limit - 2)]
                await until(lambda order=order: order.is_amending, "the amends are under way")
                if end is OrderState.CANCELED:
                    await engine.cancel(order)
                done, refused = await asyncio.gather(*amends, return_exceptions=True)
                await order.until_over(10)
                assert order.state is end
                assert order.limit_price == first
                assert done is order
                assert isinstance(refused, OrderRefused)
                assert "does not show the change" in str(refused)

    run(program)


def test_an_engine_whose_tasks_are_all_canceled_ends_whole_and_its_name_is_free() -> None:
    """As a loop does at its end: orders, venue and name go at once, and close works, then or on another loop."""
    engines: list[Engine] = []

    async def keeps_it_open() -> None:
        engine = await Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM)
        engines.append(engine)
        book, pair = await engine.book("BTC/USD"), await engine.pair("BTC/USD")
        await engine.until_trading()
        assert book.best_bid is not None
        limit = pair.round_price(book.best_bid.price / 2, "down")
        await (await engine.buy("BTC/USD", "0.001", limit=limit)).until_acknowledged()

    async def cancels_all() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            with pytest.raises(EngineStopped):
                await engine.book("BTC/USD", age_s_max=0)

    run(keeps_it_open)
    run(cancels_all)
    run(engines[0].close)

    assert engines[0].status()["orders"]["canceled"] == 1
    assert engines[0].status()["ledger"]["agree"]


def test_a_program_that_is_canceled_while_it_closes_is_canceled_when_it_has_closed() -> None:
    """Neither Ctrl-C nor a timeout is lost, and nothing of the engine is left."""

    async def program() -> None:
        engine = await Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await engine.close()
        assert engine.status()["ledger"]["agree"]
        closing = asyncio.ensure_future(engine.close())
        await closing

    run(program)


def test_a_program_is_told_that_its_engine_was_stopped_and_the_name_is_free_at_once() -> None:
    """By `engine stop`: nothing waits for the program to close it."""
    errors: list[ErrorReport] = []

    async def program() -> None:
        directory = RunDirectory("default")
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:
            engine.on("error", errors.append)
            await asyncio.to_thread(ask, directory.control_path, {"command": "stop"})
            await until(lambda: directory.holder() is None, "the name is given back")
            assert engine.status()["ledger"]["agree"]

    run(program)

    assert errors[-1].place == "engine"
    assert errors[-1].text.startswith("the engine has ended: ")


def test_who_watches_from_another_process_sees_each_engine_of_a_program() -> None:
    """That one has ended, though its process lives, and the next one of that name."""
    attachment = Attachment(RunDirectory("default").control_path)

    async def attached() -> AttachedEngine | None:
        return await asyncio.to_thread(attachment.engine)

    async def program() -> None:
        assert await attached() is None
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM):
            first = await attached()
            assert first is not None
            assert first.summary()["exit"] == "running"
            assert await attached() is first
        assert not first.is_alive
        assert first.summary()["exit"] == "ended"
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM):
            assert not first.is_alive
            second = await attached()
            assert second not in (None, first)
        assert await attached() is None

    run(program)


def test_an_engine_ends_and_asks_for_candles_while_the_programs_threads_all_wait() -> None:
    """Those of asyncio are the program's; the engine needs none of them."""
    work: queue.Queue[None] = queue.Queue()

    async def program() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        waiting = asyncio.ensure_future(asyncio.to_thread(work.get))
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM) as engine:
            assert await engine.candles("BTC/USD", interval_min=60, timeout_s=60)
        assert not waiting.done()
        work.put(None)
        await waiting

    run(program)


def test_an_opening_that_is_canceled_leaves_nothing() -> None:
    """Wherever it is by then: no process, no name, no task that nobody waits for."""

    def is_supervised() -> bool:
        return any("Supervisor.run" in repr(task) for task in asyncio.all_tasks())

    async def program() -> None:
        for is_late in (False, True):
            opening = asyncio.ensure_future(_opened())
            await until(lambda is_late=is_late: not is_late or is_supervised(), "the opening has begun")
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    async def _opened() -> None:
        async with Engine.open(venue="local", symbols=SYMBOLS[:1], venue_options=CALM):
            await asyncio.Event().wait()

    run(program)
