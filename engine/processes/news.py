"""News from a child to the supervisor: datagrams on a socket that holds some two hundred."""

import asyncio
import errno
import socket
from typing import Final

from engine.processes.launch import News, encode_news

RETRY_S: Final = 0.05  # while the supervisor has not taken what it was sent
NO_ROOM: Final = (errno.EAGAIN, errno.ENOBUFS)


class NewsSender:
    """Sends what the supervisor must know. What finds no room waits, and of each pair the
    first news alone: the supervisor has no use for more.
    """

    def __init__(self, to: socket.socket) -> None:
        self._to = to
        self._waiting: dict[tuple[str, str], News] = {}

    def tell(self, news: News) -> None:
        """Send it now, or soon, while the running loop runs."""
        if self._waiting:
            self._waiting.setdefault((news.kind, news.symbol), news)
        elif not self._send(news):
            self._waiting[news.kind, news.symbol] = news
            self._try_later()

    def tell_at_last(self, news: News) -> None:
        """Send it now or never, for the process ends."""
        self._send(news)

    def _send(self, news: News) -> bool:
        """False when there is no room. What cannot be sent at all is no news any more, as
        to a supervisor that is gone."""
        try:
            self._to.send(encode_news(news), socket.MSG_DONTWAIT)
        except OSError as error:
            return error.errno not in NO_ROOM
        return True

    def _send_waiting(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            if not self._send(self._waiting[key]):
                self._try_later()
                return
            del self._waiting[key]

    def _try_later(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_S, self._send_waiting)
