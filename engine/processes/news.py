"""News from a child to the supervisor: datagrams on a socket that holds some two hundred."""

import asyncio
import errno
import socket
from typing import Final

from engine.processes.launch import News, encode_news

RETRY_S: Final = 0.05  # while the supervisor has not taken what it was sent
NO_ROOM: Final = (errno.EAGAIN, errno.ENOBUFS)


class NewsSender:
    """Sends messages to the supervisor. What finds no room waits; of each pair only the
    first message waits, since the supervisor needs no more.
    """

    def __init__(self, to: socket.socket) -> None:
        self._to = to
        self._waiting: dict[tuple[str, str], News] = {}

    def tell(self, news: News) -> None:
        """Send it now, or as soon as there is room, while the running loop runs."""
        if self._waiting:
            self._waiting.setdefault((news.kind, news.symbol), news)
        elif not self._send(news):
            self._waiting[news.kind, news.symbol] = news
            self._try_later()

    def tell_at_last(self, news: News) -> None:
        """Try once to send it, because the process ends."""
        self._send(news)

    def _send(self, news: News) -> bool:
        """Send a message. False if there is no room. One that cannot be sent at all, for
        example because the supervisor is gone, is dropped.
        """
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
