"""Faults of trading requests, by seed or by script: they leave an order's outcome unknown
to its client.

A rate applies to each request with that probability; a script applies to exactly the next
`count` requests, which is how tests ask for one case. The private connection and REST carry
a fault out; this module decides which requests it applies to. The venue's ledger always
tells what really happened.
"""

from random import Random
from typing import Final

import msgspec

from engine.errors import ConfigError
from engine.venue.setup.settings import FaultSpec

PRIVATE_KINDS: Final = {
    "drop-answer": "a request is executed, its answer is never sent",
    "late": "a request is executed only after a while, up to its deadline",
    "unavailable": "EService:Unavailable, and nothing is done",
    "unavailable-done": "EService:Unavailable, and the request is executed all the same",
    "token-death": "the request's token dies: ESession:Invalid session, from now on",
    "sequence-gap": "a frame of executions or balances is numbered, but not sent",
    "snapshot-again": "the fills of a snapshot are told twice",
    "reorder": "an amend or cancel is overtaken by those sent after it",
    "batch-refusal": "one row of a batch is refused",
    "lost": "a request is lost on its way to the venue: neither executed nor answered",
    "private-cut": "the private connection is reset on a request, executed or not by coin",
    "html-520": "REST answers Cloudflare's HTML with status 520, executed or not by coin",
    "rest-lag": "REST's orders are those of a while ago",
}
STRUCK_REQUESTS: Final = (
    "drop-answer",
    "late",
    "unavailable",
    "unavailable-done",
    "token-death",
    "lost",
    "private-cut",
)
SCRIPTS_MAX: Final = 1000


class Script(msgspec.Struct):
    """The next `count` requests of a method (empty: of any) have a fault."""

    kind: str
    count: int = 1
    method: str = ""


class PrivateFaults:
    """Decides which request has a fault."""

    def __init__(self, specs: tuple[FaultSpec, ...], seed: int, counts: dict[str, int]) -> None:
        self._rates: dict[str, list[tuple[float, str | None]]] = {}  # by kind: rates and their symbols
        self._scripts: list[Script] = []
        self._rng = Random(f"{seed} private faults")
        self._counts = counts  # occurrences of each kind
        for spec in specs:
            if spec.kind in PRIVATE_KINDS and spec.rate is not None:
                self._rates.setdefault(spec.kind, []).append((spec.rate, spec.symbol))

    @property
    def are_quiet(self) -> bool:
        """True if no fault can occur."""
        return not self._rates and not self._scripts

    def set(self, kind: str, rate: float) -> None:
        """Set the rate of a kind; 0 ends it and its scripts."""
        _check(kind)
        if not 0 <= rate <= 1:
            raise ConfigError(f"fault {kind}: the rate {rate:g} must be from 0 to 1")
        self._rates.pop(kind, None)
        if rate:
            self._rates[kind] = [(rate, None)]
        else:
            self._scripts = [script for script in self._scripts if script.kind != kind]

    def script(self, kind: str, count: int = 1, method: str = "") -> None:
        """Give the next `count` matching requests this fault."""
        _check(kind)
        if count < 1 or len(self._scripts) >= SCRIPTS_MAX:
            raise ConfigError(f"fault {kind}: count {count} must be 1 or more, and at most {SCRIPTS_MAX} may wait")
        self._scripts.append(Script(kind, count, method))

    def clear(self) -> None:
        """End all faults."""
        self._rates.clear()
        self._scripts.clear()

    def strikes(self, kind: str, method: str = "", symbols: tuple[str, ...] = ()) -> bool:
        """True if this kind applies here and now: scripts first, then the rate."""
        for script in self._scripts:
            if script.kind == kind and script.method in ("", method):
                script.count -= 1
                if not script.count:
                    self._scripts.remove(script)
                self._count(kind)
                return True
        for rate, symbol in self._rates.get(kind, ()):
            if (symbol is None or symbol in symbols) and self._rng.random() < rate:
                self._count(kind)
                return True
        return False

    def request_fault(self, method: str, symbols: tuple[str, ...] = ()) -> str | None:
        """The fault of a whole trading request, at most one; None if it has none."""
        if self.are_quiet:
            return None
        return next((kind for kind in STRUCK_REQUESTS if self.strikes(kind, method, symbols)), None)

    def coin(self) -> bool:
        """True or False with equal probability: whether a request is executed."""
        return self._rng.random() < 0.5

    def share(self) -> float:
        """A random number from 0 to 1, for how late, or which row."""
        return self._rng.random()

    def _count(self, kind: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1


def _check(kind: str) -> None:
    if kind not in PRIVATE_KINDS:
        raise ConfigError(f"fault {kind}: there is none of this name for trading, use {', '.join(PRIVATE_KINDS)}")
