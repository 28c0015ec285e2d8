"""A call on a thread of its own: in a program of the user's asyncio's threads are the
program's, which may have given work that does not end to all of them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def on_own_thread(function: Callable[[], T]) -> Future[T]:
    """Run it there. The process does not end before it has returned."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # nobody who waits for it can cancel it

    # Taken out for the call: who waits for the outcome may look what memory is left then.
    calls = [function]

    def call() -> None:
        try:
            value = calls.pop()()
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)

    threading.Thread(target=call, name="engine").start()
    return outcome
