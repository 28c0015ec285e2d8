"""What a strategy is in at this moment: two words in shared memory that its own thread writes, and anybody reads.

    callback_began_ns   when the callback began that has not come to its end, by CLOCK_MONOTONIC; 0 while there is none
    callback            which one: its place in CALLBACK_NAMES

Beside them stands the host's `heartbeat_ns`, which its event loop moves twenty times a second. Together they are the
evidence of a hang, for whoever is not the thread that hangs:

    a word stands, the heartbeat moves      an async callback waits: it holds up its own strategy alone
    a word stands, and so does the heartbeat    a callback holds the thread: every strategy of the host hangs with it
    the heartbeat stands alone              a task of a strategy's own holds the thread, or the process stands still
"""

import os
from collections.abc import Sequence
from typing import Final, NoReturn

from engine.strategy.api import CALLBACKS
from engine.telemetry import Counters, new_counters
from engine.topology import strategy_counter_names
from engine.units import MonoNs

CALLBACK_NAMES: Final = (*CALLBACKS, "call_soon")
NUMBER_OF: Final = {name: number for number, name in enumerate(CALLBACK_NAMES)}
CALL_SOON: Final = NUMBER_OF["call_soon"]


class CallbackWords:
    """The two words of one strategy, among the host's counters."""

    __slots__ = ("_began", "_number", "_values")

    def __init__(self, counters: Counters | None, strategy: str) -> None:
        counters = counters or new_counters(strategy_counter_names([strategy]))
        self._values = counters.values
        self._began = counters.index(f"{strategy} callback_began_ns")
        self._number = counters.index(f"{strategy} callback")

    def begin(self, number: int, at: MonoNs) -> None:
        """A callback begins. For the strategy's own thread alone, as is `end`."""
        values = self._values
        values[self._number] = number
        values[self._began] = at

    def end(self) -> None:
        """It has come to its end."""
        self._values[self._began] = 0

    def read(self) -> tuple[MonoNs, str]:
        """When the callback began that is under way, and its name; (0, "") while there is none."""
        began, number = self._values[self._began], self._values[self._number]
        return (MonoNs(began), CALLBACK_NAMES[number]) if began else (MonoNs(0), "")


class StrategyWords:
    """The words of all strategies of one host, and its heartbeat, for who reads them."""

    def __init__(self, counters: Counters, strategies: Sequence[str]) -> None:
        self._words = {strategy: CallbackWords(counters, strategy) for strategy in strategies}
        self._values = counters.values
        self._heartbeat = counters.index("heartbeat_ns")

    def callback(self, strategy: str) -> tuple[MonoNs, str]:
        """When the callback began that is under way, and its name; (0, "") while there is none."""
        return self._words[strategy].read()

    def heartbeat_ns(self) -> int:
        """When the event loop last turned over; 0 before all strategies have come back from on_start."""
        return self._values[self._heartbeat]


class ForkedWords(CallbackWords):
    """In a process that a strategy forked off: it ends where its callback would go on as the engine.

    It shares rings and event loop with the engine: each would take what is the other's.
    """

    __slots__ = ()

    def __init__(self) -> None:
        pass

    def begin(self, number: int, at: MonoNs) -> NoReturn:
        """A callback begins, in the wrong process."""
        self.end()

    def end(self) -> NoReturn:
        """The callback that forked has come to its end."""
        os.write(2, b"engine: a process that a strategy forked off came back from its callback; it is ended\n")
        os._exit(1)
