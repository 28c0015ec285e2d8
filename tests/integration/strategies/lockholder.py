"""A strategy that holds up its engine: it keeps the interpreter's lock, or only its own thread."""

import ctypes
import socket
import time
from pathlib import Path

from engine import BookTop, Strategy

LOCK_S = 3  # nothing in this process can end it earlier


class LockHolder(Strategy):
    """At the first book it says begin, holds, and says end, on the socket that its engine speaks to."""

    address: str
    how: str
    until: str

    def on_start(self) -> None:
        self._has_held = False

    def on_book(self, book: BookTop) -> None:
        if self._has_held:
            return
        self._has_held = True
        self._say("begin")
        if self.how == "lock":
            ctypes.PyDLL(None).sleep(LOCK_S)
        while self.how == "thread" and not Path(self.until).exists():
            time.sleep(0.01)
        self._say("end")

    def _say(self, word: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(word.encode(), self.address)
