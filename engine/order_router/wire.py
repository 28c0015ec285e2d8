"""The WebSocket route of orders: numbers a request, writes it, and knows what the answer is about.

send ─► TradingSession.send ─► socket        False: not a byte has left, and nothing is remembered
Answer, Unanswered, LinkLost ─► take(req_id) ─► what the request was for
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from engine.clock import Clock
from engine.kraken.trading.session import TradingSession
from engine.units import MonoNs

REMEMBERED_MAX: Final = 8192  # requests whose late answers still find what they were about


class SendPort(Protocol):
    """The socket: takes a request whole, or not at all."""

    @property
    def can_send(self) -> bool: ...

    def send(self, request: bytes) -> bool: ...


class Purpose(Struct, frozen=True):
    """What a request is about."""

    what: str
    """add, amend, cancel, batch_add, batch_cancel or dead_man."""
    keys: tuple[str, ...]
    """The engine's ids of its orders, in the order in which they were sent."""
    sent_at: MonoNs
    attempt: int = 1


class OrderWire:
    """Requests under way on the trading connection."""

    def __init__(self, session: TradingSession, clock: Clock) -> None:
        self.session = session
        self._mono_ns = clock.mono_ns
        # Set once the connection is there.
        self.socket: SendPort | None = None
        self._purposes: OrderedDict[int, Purpose] = OrderedDict()

    @property
    def is_ready(self) -> bool:
        """Is there a connection with a token, and room in its socket?"""
        return self.session.is_ready and self.socket is not None and self.socket.can_send

    def send(self, method: str, build: Callable[[str, int], bytes], what: str, keys: tuple[str, ...],
             attempt: int = 1) -> bool:  # fmt: skip
        """Write a request; False when that is certainly not done."""
        now = self._mono_ns()
        numbered = self.session.send(method, build, now)
        if numbered is None or self.socket is None:
            return False
        req_id, frame = numbered
        if not self.socket.send(frame):
            self.session.withdraw(req_id)
            return False
        self._purposes[req_id] = Purpose(what, keys, now, attempt)
        if len(self._purposes) > REMEMBERED_MAX:
            self._purposes.popitem(last=False)
        return True

    def purpose(self, req_id: int | None) -> Purpose | None:
        """What a request was about; None for one that is not ours or too old."""
        return None if req_id is None else self._purposes.get(req_id)
