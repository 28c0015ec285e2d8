"""A program's handlers: each alone with its mistakes, in order, within its time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from engine.client.handlers import WAITING_MAX, Registrations
from engine.errors import CallError
from engine.strategy.events import ErrorReport
from tests.virtual_time import VirtualTime

TIMEOUT_S = 5.0
ERRORS_MAX = 3

Run = Callable[[Callable[[Registrations], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def time() -> VirtualTime:
    """Seconds pass at once."""
    return VirtualTime()


@pytest.fixture
def run(time: VirtualTime) -> Iterator[Run]:
    """Runs a story on handlers."""
    with asyncio.Runner(loop_factory=time.new_loop) as runner:
        handlers = Registrations(time, timeout_s=TIMEOUT_S, errors_per_minute_max=ERRORS_MAX)
        yield lambda story: runner.run(story(handlers))


def yielding(_: int) -> Iterator[None]:
    """No handler: its body would not run."""
    yield


async def yielding_async(_: int) -> AsyncIterator[None]:
    """Nor this."""
    yield


def test_several_handlers_each_hear_what_is_theirs(run: Run, time: VirtualTime) -> None:
    """Plain and async, of one pair and of all, in the order of events."""
    told: list[tuple[str, int]] = []

    async def slowly(what: int) -> None:
        await time.passes(0.1)
        told.append(("slowly", what))

    async def story(handlers: Registrations) -> None:
        handlers.add("trade", lambda what: told.append(("all", what)), None)
        handlers.add("trade", lambda what: told.append(("btc", what)), "BTC/USD")
        handlers.add("trade", slowly, "BTC/USD")
        handlers.tell("trade", 1, "BTC/USD")
        handlers.tell("trade", 2, "ETH/USD")
        handlers.tell("trade", 3, "BTC/USD")
        await time.passes(1)

    run(story)

    assert told == [("all", 1), ("btc", 1), ("all", 2), ("all", 3), ("btc", 3), ("slowly", 1), ("slowly", 3)]


def test_what_one_raises_the_others_do_not_notice(run: Run, time: VirtualTime) -> None:
    """It is counted, told to the handlers of `error`, and too often is the last time."""
    heard: list[int] = []
    errors: list[ErrorReport] = []

    def wrong(what: int) -> None:
        raise ValueError(what)

    async def wrong_later(what: int) -> None:
        await asyncio.sleep(0)
        raise LookupError(what)

    async def story(handlers: Registrations) -> None:
        handlers.add("book", wrong, None)
        handlers.add("book", wrong_later, None)
        handlers.add("book", heard.append, None)
        handlers.add("error", errors.append, None)
        for number in range(10):
            handlers.tell("book", number, "BTC/USD")
            await time.passes(0.1)
        conduct = {name.rpartition(".")[2]: row for name, row in handlers.conduct().items()}
        assert (conduct["wrong"]["errors"], conduct["wrong"]["halted"]) == (ERRORS_MAX + 1, True)
        assert (conduct["wrong_later"]["errors"], conduct["wrong_later"]["halted"]) == (ERRORS_MAX + 1, True)

    run(story)

    assert heard == list(range(10))
    assert len(errors) == 2 * (ERRORS_MAX + 1)
    assert "ValueError(0)" in errors[0].text
    assert "wrong" in errors[0].place
    assert "not called any more" in errors[-1].text


@pytest.mark.parametrize("kind", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_what_is_no_exception_is_one_handlers_mistake_too(
    run: Run, time: VirtualTime, kind: type[BaseException]
) -> None:
    """The result of a canceled job, say: counted and told, and the queue of an async handler goes on."""
    heard: list[int] = []
    errors: list[ErrorReport] = []

    def wrong(what: int) -> None:
        raise kind

    async def wrong_once(what: int) -> None:
        await asyncio.sleep(0)
        if what == 1:
            raise kind
        heard.append(-what)

    async def story(handlers: Registrations) -> None:
        handlers.add("fill", wrong, None)
        handlers.add("fill", wrong_once, None)
        handlers.add("fill", heard.append, None)
        handlers.add("error", errors.append, None)
        for number in (1, 2, 3):
            handlers.tell("fill", number)
        await time.passes(1)

    run(story)

    assert heard == [1, 2, 3, -2, -3]
    assert len(errors) == 4
    assert kind.__name__ in errors[0].text


def test_errors_that_are_far_apart_halt_nobody(run: Run, time: VirtualTime) -> None:
    """The limit counts a minute."""
    calls: list[int] = []

    def wrong(what: int) -> None:
        calls.append(what)
        raise ValueError(what)

    async def story(handlers: Registrations) -> None:
        handlers.add("book", wrong, None)
        for number in range(10):
            handlers.tell("book", number)
            await time.passes(30)

    run(story)

    assert calls == list(range(10))


def test_an_async_handler_that_does_not_end_is_canceled_and_the_next_event_is_told(run: Run, time: VirtualTime) -> None:
    """It has its limit; while it runs, its age is shown."""
    told: list[int] = []
    errors: list[ErrorReport] = []

    async def waits(what: int) -> None:
        told.append(what)
        if what == 1:
            await asyncio.Event().wait()

    async def story(handlers: Registrations) -> None:
        handlers.add("fill", waits, None)
        handlers.add("error", errors.append, None)
        handlers.tell("fill", 1)
        handlers.tell("fill", 2)
        await time.passes(TIMEOUT_S - 1)
        (row,) = (row for row in handlers.conduct().values() if row["event"] == "fill")
        assert (row["runs_for_s"], row["waiting"]) == (TIMEOUT_S - 1, 1)
        assert told == [1]
        await time.passes(2)
        (row,) = (row for row in handlers.conduct().values() if row["event"] == "fill")
        assert (row["timeouts"], row["errors"], row["runs_for_s"]) == (1, 1, 0.0)

    run(story)

    assert told == [1, 2]
    assert "had not ended after 5 s" in errors[0].text


def test_a_handler_that_times_something_out_itself_raised(run: Run, time: VirtualTime) -> None:
    """Its own TimeoutError is no limit of ours."""

    async def impatient(_: int) -> None:
        async with asyncio.timeout(0.1):
            await asyncio.Event().wait()

    async def story(handlers: Registrations) -> None:
        handlers.add("fill", impatient, None)
        handlers.tell("fill", 1)
        await time.passes(1)
        (row,) = handlers.conduct().values()
        assert (row["timeouts"], row["errors"]) == (0, 1)

    run(story)


def test_a_slow_handler_loses_its_oldest_market_events_and_they_are_counted(run: Run, time: VirtualTime) -> None:
    """Its queue has a bound; the newest are kept."""
    told: list[int] = []

    async def slowly(what: int) -> None:
        await time.passes(0.001)
        told.append(what)

    async def story(handlers: Registrations) -> None:
        handlers.add("book", slowly, None)
        for number in range(WAITING_MAX + 11):
            handlers.tell("book", number)
        await time.passes(10)
        (row,) = handlers.conduct().values()
        assert row["dropped"] == 11

    run(story)

    assert told == list(range(11, WAITING_MAX + 11))


def test_a_plain_function_may_return_something_to_wait_for(run: Run, time: VirtualTime) -> None:
    """A lambda around a coroutine is an async handler."""
    told: list[int] = []

    async def later(what: int) -> None:
        await time.passes(0.1)
        told.append(what)

    async def story(handlers: Registrations) -> None:
        handlers.add("balance", lambda what: later(what), None)
        for number in range(3):
            handlers.tell("balance", number)
        await time.passes(1)

    run(story)

    assert told == [0, 1, 2]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="Python 3.12 brought eager tasks")
def test_eager_tasks_serve_a_handler_as_others_do(run: Run, time: VirtualTime) -> None:
    """A call that never waits has ended before its task is known; the next event is told all the same."""
    told: list[int] = []

    async def at_once(what: int) -> None:
        told.append(what)

    async def later(what: int) -> None:
        await time.passes(0.1)
        told.append(-what)

    async def story(handlers: Registrations) -> None:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - of 3.12
        handlers.add("fill", at_once, None)
        handlers.add("fill", later, None)
        for number in (1, 2, 3):
            handlers.tell("fill", number)
        await time.passes(1)

    run(story)

    assert told == [1, 2, 3, -1, -2, -3]


def test_at_the_end_orders_and_fills_are_told_and_the_rest_is_counted(run: Run, time: VirtualTime) -> None:
    """Also those that come while the engine ends; a call that does not end is canceled."""
    told: list[tuple[str, int]] = []

    def slowly(event: str) -> Callable[[int], Coroutine[Any, Any, None]]:
        async def hear(what: int) -> None:
            await time.passes(0.1)
            told.append((event, what))

        return hear

    async def never_ends(_: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append(("canceled", 0))

    async def story(handlers: Registrations) -> None:
        handlers.add("fill", slowly("fill"), None)
        handlers.add("order", never_ends, None)
        handlers.add("book", slowly("book"), None)
        for event in ("fill", "book", "order"):
            for number in (1, 2):
                handlers.tell(event, number)
        await asyncio.sleep(0)
        handlers.begin_end()
        handlers.tell("fill", 3)
        handlers.tell("book", 3)
        await handlers.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert {row["event"]: row["dropped"] for row in handlers.conduct().values()} == {
            "fill": 0,
            "order": 0,
            "book": 2,
        }

    run(story)

    assert [what for event, what in told if event == "fill"] == [1, 2, 3]
    assert ("canceled", 0) in told
    assert "book" not in [event for event, _ in told]


def test_a_handler_that_ends_the_engine_is_not_waited_for(run: Run, time: VirtualTime) -> None:
    """It waits for the end itself."""
    told: list[int] = []

    async def story(handlers: Registrations) -> None:
        async def closes(what: int) -> None:
            handlers.begin_end({asyncio.current_task()})
            began = time.mono_ns()
            await handlers.end({asyncio.current_task()})
            assert time.mono_ns() == began
            told.append(what)

        handlers.add("fill", closes, None)
        handlers.tell("fill", 1)
        await time.passes(0.1)

    run(story)

    assert told == [1]


def test_a_handler_may_remove_itself_and_add_another(run: Run) -> None:
    """While it is called."""
    told: list[str] = []

    async def story(handlers: Registrations) -> None:
        def first(_: int) -> None:
            told.append("first")
            handlers.remove("book", first)
            handlers.add("book", lambda _: told.append("second"), None)

        handlers.add("book", first, None)
        handlers.tell("book", 1)
        handlers.tell("book", 2)

    run(story)

    assert told == ["first", "second"]


def test_a_handler_that_was_removed_is_not_called_any_more(run: Run, time: VirtualTime) -> None:
    """Neither for the event that is being told, nor for what waits for it; a call under way ends."""
    told: list[tuple[str, int]] = []

    async def slowly(what: int) -> None:
        await time.passes(0.1)
        told.append(("slowly", what))

    def plain(what: int) -> None:
        told.append(("plain", what))

    async def story(handlers: Registrations) -> None:
        def removes(_: int) -> None:
            handlers.remove("fill", plain)
            handlers.remove("fill", removes)

        handlers.add("fill", slowly, None)
        for number in (1, 2, 3):
            handlers.tell("fill", number)
        await time.passes(0.05)
        handlers.remove("fill", slowly)
        handlers.add("fill", removes, None)
        handlers.add("fill", plain, None)
        handlers.tell("fill", 4)
        await time.passes(1)

    run(story)

    assert told == [("slowly", 1)]


def test_a_handler_that_is_added_while_an_event_is_told_hears_of_the_next_one(run: Run) -> None:
    """So one may add another, or itself again, without end."""
    told: list[tuple[str, int]] = []

    async def story(handlers: Registrations) -> None:
        def first(what: int) -> None:
            told.append(("first", what))
            if what == 1 and len(told) < 100:
                handlers.add("fill", first, None)
                handlers.add("fill", lambda what: told.append(("added", what)), None)

        handlers.add("fill", first, None)
        handlers.tell("fill", 1)
        handlers.tell("fill", 2)

    run(story)

    assert told == [("first", 1), ("first", 2), ("first", 2), ("added", 2)]


def test_handlers_of_one_name_are_counted_apart_and_no_count_is_lost(run: Run, time: VirtualTime) -> None:
    """Two lambdas of one function are called the same; what was counted of a removed one stays."""

    def of_one_name(does: Callable[[], object]) -> Callable[[int], object]:
        return lambda _: does()

    async def wrong_later() -> None:
        await time.passes(0.1)
        raise LookupError

    async def story(handlers: Registrations) -> None:
        wrong = of_one_name(lambda: 1 / 0)
        handlers.add("fill", wrong, None)
        handlers.add("fill", of_one_name(lambda: None), None)
        later = of_one_name(wrong_later)
        handlers.add("fill", later, None)
        handlers.tell("fill", 1)
        assert [(row["calls"], row["errors"]) for row in handlers.conduct().values()] == [(1, 1), (1, 0), (1, 0)]
        handlers.remove("fill", wrong)
        handlers.remove("fill", later)
        handlers.add("fill", wrong, None)
        await time.passes(1)
        rows = handlers.conduct()
        assert sorted((row["calls"], row["errors"]) for row in rows.values()) == [(0, 0), (1, 0), (2, 2)]
        assert rows["removed handlers"]["errors"] == 2

    run(story)


def test_an_object_whose_call_is_async_is_an_async_handler(run: Run, time: VirtualTime) -> None:
    """What the end drops of it was not called, and is counted as dropped."""
    heard: list[int] = []

    class Hearer:
        async def __call__(self, what: int) -> None:
            heard.append(what)

    async def story(handlers: Registrations) -> None:
        handlers.add("book", Hearer(), None)
        handlers.tell("book", 1)
        await time.passes(1)
        handlers.tell("book", 2)
        handlers.begin_end()
        await handlers.end()
        (row,) = handlers.conduct().values()
        assert (row["calls"], row["dropped"], heard) == (1, 1, [1])

    run(story)


@pytest.mark.parametrize(
    ("event", "function", "symbol", "sentence"),
    [
        ("tickr", print, None, "'tickr' is no event; did you mean ticker?"),
        ("balance", print, "BTC/USD", "balance is no event of a pair; leave out symbol"),
        ("book", 7, None, "a handler of book is called with what happened; 7 cannot be called"),
        (None, print, None, "None is no event"),
        ("fill", yielding, None, "a handler of fill is called, and nothing asks what <function yielding"),
        ("fill", yielding_async, None, "a handler of fill is called, and nothing asks what <function yielding_async"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, event: Any, function: Any, symbol: Any, sentence: str) -> None:
    """It names the argument and the mend."""

    async def story(handlers: Registrations) -> None:
        with pytest.raises(CallError) as caught:
            handlers.add(event, function, symbol)
        assert str(caught.value).startswith(sentence)

    run(story)
