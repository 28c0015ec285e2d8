"""The WebSocket route of requests: numbered by the session, which keeps their purpose, and written to the socket."""

from collections.abc import Callable

from engine.instant import Instant
from engine.kraken.private.events import Purpose
from engine.kraken.trading.session import TradingSession
from engine.order_router.core.ports import SocketPort


class WebSocketRoute:
    """The trading connection, as those who send requests see it."""

    def __init__(self, session: TradingSession, socket: SocketPort, now: Instant) -> None:
        self.session = session
        self._socket = socket
        self._now = now

    @property
    def is_ready(self) -> bool:
        """Is there a connection with a token, and room in its socket?"""
        return self.session.is_ready and self._socket.can_send

    def send(self, method: str, purpose: Purpose, build: Callable[[str, int], bytes]) -> bool:
        """Write a request; False when not a byte of it has left, and then nothing will be heard of it."""
        numbered = self.session.send(method, purpose, build, self._now.mono)
        if numbered is None:
            return False
        req_id, frame = numbered
        if not self._socket.send(frame):
            self.session.withdraw(req_id)
            return False
        return True
