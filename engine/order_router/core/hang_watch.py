"""Who hangs, as the order router sees it: words in shared memory that do not move.

How long a word has stood is added up look by look, and a look counts for no more than STEP_NS_MAX: a machine that
stood still as a whole, this process with it, proves nothing against a strategy.
"""

from collections.abc import Sequence
from typing import Final

from engine.order_router.core.ports import WordsPort
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

STEP_NS_MAX: Final = 200 * NS_PER_MS


class _Still:
    """One word, and for how long it has stood still."""

    __slots__ = ("stood_ns", "word")

    def __init__(self) -> None:
        self.word = 0
        self.stood_ns = 0

    def look(self, word: int, step_ns: int) -> int:
        """How long it has stood, as far as it was looked at; 0 for a word of 0."""
        self.stood_ns = self.stood_ns + step_ns if word and word == self.word else 0
        self.word = word
        return self.stood_ns


class HangWatch:
    """The strategies of one host."""

    def __init__(self, words: WordsPort, strategies: Sequence[str], hang_ns_max: int) -> None:
        self._words = words
        self._stills = {strategy: _Still() for strategy in strategies}
        self._host = _Still()
        self._hang_ns_max = hang_ns_max
        self._looked_at = MonoNs(0)

    def look(self, now: MonoNs) -> dict[str, str]:
        """Who hangs, and the sentence that says how."""
        step_ns = min(now - self._looked_at, STEP_NS_MAX) if self._looked_at else 0
        self._looked_at = now
        most_s = f"{self._hang_ns_max / NS_PER_S:g} s"
        hanging: dict[str, str] = {}
        for strategy in self._stills:
            began, callback = self._words.callback(strategy)
            if self._stills[strategy].look(began, step_ns) >= self._hang_ns_max:
                hanging[strategy] = f"{strategy} has not returned from {callback} for {most_s}"
        if self._host.look(self._words.heartbeat_ns(), step_ns) >= self._hang_ns_max:
            # Whoever is in a callback holds the others up; a heartbeat may have begun to stand a little earlier.
            longest = max(self._stills, key=lambda strategy: self._stills[strategy].stood_ns)
            why = f"the engine's strategies have given no sign of life for {most_s}"
            if self._stills[longest].stood_ns:
                why = f"{longest} has not returned from {self._words.callback(longest)[1]} for {most_s}"
            hanging |= {strategy: why for strategy in self._stills if strategy not in hanging}
        return hanging

    def has_begun(self) -> bool:
        """Have all strategies come back from on_start?"""
        return self._words.heartbeat_ns() > 0
