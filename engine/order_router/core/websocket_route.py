"""The WebSocket route of requests: the session numbers them and keeps their purpose, the
socket sends them.
"""

from collections.abc import Callable

from engine.instant import Instant
from engine.kraken.private.events import Purpose
from engine.kraken.trading.session import TradingSession
from engine.order_router.core.ports import SocketPort


class WebSocketRoute:
    """The trading connection, as the senders of requests see it."""

    def __init__(self, session: TradingSession, socket: SocketPort, now: Instant) -> None:
        self.session = session
        self._socket = socket
        self._now = now

    @property
    def is_ready(self) -> bool:
        """True if there is a connection with a token, and room in its socket."""
        return self.session.is_ready and self._socket.can_send

    @property
    def amending(self) -> set[str]:
        """The orders with an amend that waits for its reply."""
        purposes = (request.purpose for request in self.session.requests.values())
        return {key for purpose in purposes if purpose.kind == "amend" for key in purpose.keys}

    def send(self, method: str, purpose: Purpose, build: Callable[[str, int], bytes]) -> bool:
        """Send a request; False if no byte of it was sent, and then no reply will come."""
        numbered = self.session.send(method, purpose, build, self._now.mono)
        if numbered is None:
            return False
        req_id, frame = numbered
        if not self._socket.send(frame):
            self.session.withdraw(req_id)
            return False
        return True
