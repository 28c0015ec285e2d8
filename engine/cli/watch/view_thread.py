"""What draws `engine watch`: a thread of its own, for which nothing waits."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from engine.cli.output import give_up_output
from engine.cli.view import LAST_PICTURE_S, View
from engine.cli.watch.pictures import JsonLines, Ladder
from engine.processes.run_view import RunFacts


class ViewThread(AbstractContextManager[View]):
    """Draws the newest facts until the output fails or the view is closed."""

    def __init__(
        self,
        picture: JsonLines | Ladder,
        summary_of: Callable[[RunFacts], dict[str, Any]],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`on_failure` is called in the view's thread when the output fails."""
        self._picture = picture
        self._summary_of = summary_of
        self._on_failure = on_failure
        self.interval_s = picture.interval_s
        # The newest facts that are not drawn yet.
        self._next: RunFacts | None = None
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)

    def __enter__(self) -> "ViewThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(LAST_PICTURE_S)
        if self._thread.is_alive():
            give_up_output()  # it is blocked in a write, and would block the end of the process too

    def update(self, facts: RunFacts) -> None:
        """Draw this soon, unless something newer comes first."""
        with self._changed:
            self._next = facts
            self._changed.notify()

    def _run(self) -> None:
        try:
            with self._picture:
                while (facts := self._wait()) is not None:
                    self._picture.update(self._summary_of(facts))
        except Exception as error:
            with suppress(Exception):
                give_up_output()
            self._on_failure(error)

    def _wait(self) -> RunFacts | None:
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._is_closing)
            facts, self._next = self._next, None
            return facts
