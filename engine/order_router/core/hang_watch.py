"""Finds strategies that hang, from words in shared memory that no longer change.

How long a word has stood still is summed over the looks at it. One look adds STEP_NS_MAX at
most, because a pause of the whole machine, this process included, proves nothing against a
strategy.
"""

from collections.abc import Sequence
from typing import Final

from engine.order_router.core.ports import WordsPort
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

STEP_NS_MAX: Final = 200 * NS_PER_MS


class _Still:
    """One word, and for how long it has not changed."""

    __slots__ = ("stood_ns", "word")

    def __init__(self) -> None:
        self.word = 0
        self.stood_ns = 0

    def look(self, word: int, step_ns: int) -> int:
        """For how many nanoseconds the word has stood still, counting `step_ns` for this
        look; 0 for a word of 0.
        """
        self.stood_ns = self.stood_ns + step_ns if word and word == self.word else 0
        self.word = word
        return self.stood_ns


class HangWatch:
    """Watches the strategies of one host."""

    def __init__(self, words: WordsPort, strategies: Sequence[str], hang_ns_max: int) -> None:
        self._words = words
        self._stills = {strategy: _Still() for strategy in strategies}
        self._host = _Still()
        self._hang_ns_max = hang_ns_max
        self._most_s = f"{hang_ns_max / NS_PER_S:g} s"
        self._looked_at = MonoNs(0)

    def look(self, now: MonoNs) -> dict[str, str]:
        """The strategies that hang at `now`, each with a sentence that says how."""
        step_ns = min(now - self._looked_at, STEP_NS_MAX) if self._looked_at else 0
        self._looked_at = now
        most_s = self._most_s
        hanging: dict[str, str] = {}
        for strategy, still in self._stills.items():
            began, callback = self._words.callback(strategy)
            if still.look(began, step_ns) >= self._hang_ns_max:
                hanging[strategy] = f"{strategy} has not returned from {callback} for {most_s}"
        if self._host.look(self._words.heartbeat_ns(), step_ns) >= self._hang_ns_max and self._stills:
            # A strategy inside a callback holds the others up; the heartbeat may have
            # stopped a little earlier.
            longest = max(self._stills, key=lambda strategy: self._stills[strategy].stood_ns)
            why = f"the engine's strategies have given no sign of life for {most_s}"
            if self._stills[longest].stood_ns:
                why = f"{longest} has not returned from {self._words.callback(longest)[1]} for {most_s}"
            hanging |= {strategy: why for strategy in self._stills if strategy not in hanging}
        return hanging

    def has_begun(self) -> bool:
        """True once all strategies have returned from on_start."""
        return self._words.heartbeat_ns() > 0
