"""The names that REST has for pairs: two calls, repeated until they are answered. Pure."""

from collections.abc import Callable
from typing import Final

from engine.instant import Instant
from engine.kraken.connection.retry import Retry
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import TOKENIZED, RestPairs
from engine.kraken.rest.replies import RestRefusal, read_asset_pairs
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.units import NS_PER_S, MonoNs

PAUSE_NS_MAX: Final = 10 * NS_PER_S  # orders in doubt wait for the pairs' names


def ask_pairs(calls: CallQueue, answered: Callable[[RestRefusal | RestPairs], None]) -> None:
    """Request all pairs. Tokenized stocks are a second call; if that fails the result has
    the other pairs.
    """

    def add_tokenized(pairs: RestRefusal | RestPairs) -> None:
        if isinstance(pairs, RestRefusal):
            answered(pairs)
            return

        def join(tokenized: RestRefusal | RestPairs) -> None:
            if isinstance(tokenized, RestRefusal):
                answered(pairs)
            else:
                answered(RestPairs([*pairs.all.values(), *tokenized.all.values()]))

        calls.put(RestCall(rest_requests.asset_pairs(asset_class=TOKENIZED), read_asset_pairs, join))

    calls.put(RestCall(rest_requests.asset_pairs(), read_asset_pairs, add_tokenized))


class PairNames:
    """The names, once they are known."""

    def __init__(self, calls: CallQueue, now: Instant, chance: Callable[[], float]) -> None:
        self._calls = calls
        self._now = now
        self._retry = Retry(chance, pause_ns_max=PAUSE_NS_MAX)
        # The earliest time of the next call, whatever the last was refused for.
        self._ask_at = MonoNs(0)
        self._is_asked = False
        self.pairs: RestPairs | None = None

    def ask_due(self) -> None:
        """Ask for the names unless they are known, being asked for, or were refused shortly
        before.
        """
        if self.pairs is None and not self._is_asked and self._now.mono >= self._ask_at:
            self._is_asked = True
            ask_pairs(self._calls, self._take)

    def _take(self, answer: RestRefusal | RestPairs) -> None:
        self._is_asked = False
        if isinstance(answer, RestRefusal):
            self._retry.failed(answer.meaning.kind, self._now.mono)
            self._ask_at = MonoNs(min(self._retry.at, self._now.mono + PAUSE_NS_MAX))
        else:
            self.pairs = answer
