"""Which callback a strategy is in: two words in shared memory, written by its thread, read
by any process.

    callback_began_ns   when the present callback began, by CLOCK_MONOTONIC; 0 while there is none
    callback            which one: its index in CALLBACK_NAMES

With the host's `heartbeat_ns`, which its event loop writes twenty times a second, they are
the evidence of a hang for other threads and processes:

    callback   heartbeat   meaning
    the same   moves       an async callback waits, and delays its own strategy alone
    the same   stands      a callback blocks the thread, and with it every strategy of the host
    none       stands      a strategy's own task blocks the thread, or the process is stopped
"""

import os
from collections.abc import Sequence
from typing import Final, NoReturn

from engine.strategy.api import CALLBACKS
from engine.telemetry import Counters, new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_MS, MonoNs

CALLBACK_NAMES: Final = (*CALLBACKS, "call_soon")
NUMBER_OF: Final = {name: number for number, name in enumerate(CALLBACK_NAMES)}
CALL_SOON: Final = NUMBER_OF["call_soon"]
SEEN_NS: Final = 500 * NS_PER_MS  # a callback that has not returned for so long hangs


class CallbackWords:
    """The two words of one strategy among the host's counters."""

    __slots__ = ("_began", "_number", "_values")

    def __init__(self, counters: Counters | None, strategy: str) -> None:
        counters = counters or new_counters(strategy_counter_names([strategy]))
        self._values = counters.values
        self._began = counters.index(f"{strategy} callback_began_ns")
        self._number = counters.index(f"{strategy} callback")

    @property
    def place(self) -> tuple[memoryview, int, int]:
        """The counters, and the indices of `callback_began_ns` and `callback` among them;
        for the compiled host, which writes them itself.
        """
        return self._values, self._began, self._number

    def begin(self, number: int, at: MonoNs) -> None:
        """Mark the beginning of a callback. On the strategy's own thread only, as `end`."""
        values = self._values
        values[self._number] = number
        values[self._began] = at

    def end(self) -> None:
        """Mark the end of the callback."""
        self._values[self._began] = 0

    def read(self) -> tuple[MonoNs, str]:
        """When the present callback began, and its name; (0, "") while there is none."""
        began, number = self._values[self._began], self._values[self._number]
        return (MonoNs(began), CALLBACK_NAMES[number]) if began else (MonoNs(0), "")


class StrategyWords:
    """The words of all strategies of one host, and its heartbeat, for readers."""

    def __init__(self, counters: Counters, strategies: Sequence[str]) -> None:
        self._words = {strategy: CallbackWords(counters, strategy) for strategy in strategies}
        self._values = counters.values
        self._heartbeat = counters.index("heartbeat_ns")

    def callback(self, strategy: str) -> tuple[MonoNs, str]:
        """When the current callback began, and its name; (0, "") outside a callback."""
        return self._words[strategy].read()

    def heartbeat_ns(self) -> int:
        """When the event loop last ran; 0 until all strategies have returned from on_start."""
        return self._values[self._heartbeat]


class ForkedWords(CallbackWords):
    """For a process that a strategy forked off: ends it when its callback returns into the
    engine.

    It shares rings and event loop with the engine, so each would take records of the other.
    """

    __slots__ = ()

    def __init__(self) -> None:
        pass

    def begin(self, number: int, at: MonoNs) -> NoReturn:
        """End the forked process: a callback began in it."""
        self.end()

    def end(self) -> NoReturn:
        """End the forked process: the callback that forked has returned in it."""
        os.write(2, b"engine: a process that a strategy forked off came back from its callback; it is ended\n")
        os._exit(1)
