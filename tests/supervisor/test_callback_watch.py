"""Who does not come back is named, with the callback and the line it is in."""

import asyncio
import inspect
import string
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.processes.callback_words import NUMBER_OF, CallbackWords
from engine.supervisor.callback_watch import (
    CALLER,
    NOBODY,
    SEEN_NS,
    CallbackWatch,
    Watched,
    line_of,
    stack_of,
    waits_of,
)
from engine.supervisor.supervisor import WATCH_INTERVAL_S
from engine.telemetry import new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_S, MonoNs
from tests.telemetry.said import Said

THIS = __file__
AT = 1_000_000_000_000


class Rig:
    """The words of one strategy, and who watches them."""

    def __init__(self, thread_id: int = 0) -> None:
        self.counters = new_counters(strategy_counter_names(["quoter"]))
        self.words = CallbackWords(self.counters, "quoter")
        watched = Watched("quoter", self.words, THIS, lambda: None)
        self.watch = CallbackWatch([watched], self.counters, lambda: thread_id)


def line_number(text: str) -> int:
    """Of the one line of this file that ends so."""
    (number,) = [n for n, line in enumerate(Path(THIS).read_text().splitlines(), 1) if line.endswith(f"# {text}")]
    return number


@contextmanager
def stuck() -> Iterator[int]:
    """A thread in a function of this file, which waits in the standard library; its id."""
    release, inside = threading.Event(), threading.Event()

    def on_book() -> None:
        inside.set()
        release.wait()  # it is stuck here

    thread = threading.Thread(target=on_book)
    thread.start()
    inside.wait()
    while not any(frame.f_code.co_name == "wait" for frame in stack_of(_frame_of(thread))):
        pass
    assert thread.ident is not None
    yield thread.ident
    release.set()
    thread.join()


def _frame_of(thread: threading.Thread) -> FrameType | None:
    return sys._current_frames().get(thread.ident or 0)


def test_a_callback_is_named_once_with_its_line_and_once_more_when_it_is_back() -> None:
    """Not before it is time; counted; shown for as long as it lasts."""
    with stuck() as thread_id, capture_logs() as logs:
        rig = Rig(thread_id)
        rig.counters.set("heartbeat_ns", AT)
        rig.words.begin(NUMBER_OF["on_book"], MonoNs(AT))
        rig.watch.look(MonoNs(AT + SEEN_NS))
        before = dict(rig.watch.hanging)
        rig.watch.look(MonoNs(AT + SEEN_NS + 1))
        rig.watch.look(MonoNs(AT + 3 * 10**9))
        shown = rig.watch.conduct("quoter", MonoNs(AT + 3 * 10**9))
        sentence = rig.watch.sentence
        rig.words.end()
        rig.watch.look(MonoNs(AT + 4 * 10**9))
    line = f"test_callback_watch.py:{line_number('it is stuck here')} in on_book"

    assert before == {}
    assert [entry["event"] for entry in logs] == ["callback does not return", "callback returned"]
    assert (logs[0]["strategy"], logs[0]["callback"]) == ("quoter", "on_book")
    assert logs[0]["line"].startswith(f"{line}, in threading.py:")
    assert shown == {"hung": 1, "hangs": {"callback": "on_book", "for_s": 3.0, "line": logs[0]["line"]}}
    assert sentence.startswith(f"quoter does not return from on_book ({line}")
    assert rig.watch.conduct("quoter", MonoNs(AT)) == {"hung": 1, "hangs": None}


def test_one_that_hangs_again_and_again_is_named_ever_more_rarely_and_counted_each_time() -> None:
    """A hundred callbacks of two seconds: all are counted, and the limit of all lines lets a few pass."""
    rig, at, said = Rig(), AT, Said()
    for _ in range(100):
        with capture_logs() as logs:
            rig.counters.set("heartbeat_ns", at)
            rig.words.begin(NUMBER_OF["on_book"], MonoNs(at))
            rig.watch.look(MonoNs(at + NS_PER_S))
            rig.words.end()
            at += 2 * NS_PER_S
            rig.counters.set("heartbeat_ns", at)
            rig.watch.look(MonoNs(at))
        said.take(logs, at)
    named = said.of("callback does not return")

    assert rig.watch.hung["quoter"] == 100
    assert named[0]["hung"] == 1
    assert 4 <= len(named) < 10
    assert 4 <= len(said.of("callback returned")) < 10


def test_a_second_is_enough_to_see_it() -> None:
    """The bound, and two looks."""
    assert SEEN_NS + 2 * WATCH_INTERVAL_S * NS_PER_S <= NS_PER_S


def test_what_holds_the_thread_in_no_callback_is_seen_too() -> None:
    """A task of a strategy's own: nobody is blamed, and the line is told."""
    with stuck() as thread_id, capture_logs() as logs:
        rig = Rig(thread_id)
        rig.counters.set("heartbeat_ns", AT)
        rig.watch.look(MonoNs(AT + SEEN_NS + 1))

    assert list(rig.watch.hanging) == [NOBODY]
    assert "in on_book" not in logs[0]["event"]
    assert logs[0]["line"]
    assert rig.watch.hung == {"quoter": 0}


def test_a_host_that_has_not_begun_or_is_closing_hangs_nobody() -> None:
    """It has no heartbeat then."""
    rig = Rig()
    rig.watch.look(MonoNs(AT))

    assert rig.watch.hanging == {}


def test_an_async_callback_is_named_by_the_line_at_which_it_waits() -> None:
    """Of the strategy's own file, and of what it waits for."""

    async def helper() -> None:
        await asyncio.Event().wait()  # it waits here

    async def on_fill() -> None:
        await helper()

    async def scenario() -> str:
        answer = on_fill()
        task = asyncio.ensure_future(answer)
        await asyncio.sleep(0)
        line = line_of(waits_of(answer), THIS)
        task.cancel()
        return line

    line = asyncio.run(scenario())

    assert line.startswith(f"test_callback_watch.py:{line_number('it waits here')} in helper, in locks.py:")


def test_a_coroutine_that_runs_or_has_ended_waits_nowhere() -> None:
    """Then the thread's own stack tells."""
    told: list[int] = []

    async def on_fill() -> None:
        told.append(len(waits_of(running)))

    running = on_fill()
    asyncio.run(_await(running))

    assert told == [0]
    assert waits_of(running) == []
    assert waits_of(object()) == []


async def _await(answer: object) -> None:
    assert inspect.isawaitable(answer)
    await answer


@pytest.mark.parametrize("file", [THIS, "/nowhere.py"])
def test_a_line_is_the_strategys_own_or_the_innermost(file: str) -> None:
    """A strategy that hangs in its own code is named by one line."""
    frame = inspect.currentframe()
    assert frame is not None

    assert line_of([frame], file).endswith("in test_a_line_is_the_strategys_own_or_the_innermost")
    assert line_of([], file) == ""


def test_what_is_made_of_text_is_no_line_of_a_program() -> None:
    """As the methods of a dataclass, which know no file; what was typed in knows none either, and is the program."""
    frames: list[FrameType] = []

    def look() -> None:
        frames.extend(stack_of(inspect.currentframe()))

    exec("look()", {"look": look, "__name__": "dataclasses"})
    _, made, caller, *_ = frames
    frames.clear()
    exec("look()", {"look": look, "__name__": "__main__"})
    _, typed_in, *_ = frames

    assert line_of([made, caller], "").startswith("test_callback_watch.py:")
    assert line_of([typed_in, caller], "") == "<string>:1 in <module>"


def test_the_line_of_a_program_is_its_own_and_no_librarys_that_it_calls() -> None:
    """A program has no file to look for: it may wait in what Python or a package brings."""

    class Handler(dict[str, int]):
        def __missing__(self, _: str) -> str:
            frame = inspect.currentframe()
            assert frame is not None
            told.append(line_of(stack_of(frame.f_back), ""))
            return ""

    told: list[str] = []
    string.Formatter().vformat("{book}", (), Handler())  # Python's own file calls back

    (line,) = told
    here = line_number("Python's own file calls back")
    assert line.startswith(f"test_callback_watch.py:{here} in test_the_line_of_a_program_is_its_own")
    assert ", in string.py:" in line


def test_a_callback_that_is_in_a_call_of_the_engines_still_has_its_line() -> None:
    """A strategy that asks in a loop is nearly always there when it is looked at."""
    of_the_host: dict[str, Any] = {}
    exec(compile("def call(function):\n    return function()", str(CALLER / "hosted_strategy.py"), "exec"), of_the_host)
    call = of_the_host["call"]

    def on_book() -> list[FrameType]:
        return call(lambda: stack_of(inspect.currentframe()))  # type: ignore[no-any-return]

    def outside() -> list[FrameType]:
        return call(lambda: call(on_book))  # type: ignore[no-any-return]

    assert "in on_book" in line_of([frame for frame in outside() if frame.f_code.co_name != "<lambda>"], THIS)
    assert "outside" not in {frame.f_code.co_name for frame in outside()}
