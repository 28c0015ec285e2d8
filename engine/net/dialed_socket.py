"""A socket that closes its own descriptor, and none that has its number since.

uvloop closes a descriptor that ends while a transport is made of it, and does not tell the
socket object. That would close the same number once more when it is dropped: by then
perhaps the journal's. A reset between connect and the first turn of the loop is enough.
"""

import os
import socket
from contextlib import suppress


class DialedSocket(socket.socket):
    """A TCP socket from which we connect, to be given to an event loop."""

    __slots__ = ("_identity",)

    def __init__(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0) -> None:
        """Raises OSError."""
        super().__init__(family, kind, proto)
        self._identity = self._identity_now()

    def _identity_now(self) -> tuple[int, int]:
        """Device and inode of what has its number; raises OSError where nothing has."""
        found = os.fstat(self.fileno())
        return found.st_dev, found.st_ino

    @property
    def is_open(self) -> bool:
        """True while its number is that of its own descriptor."""
        try:
            return self._identity_now() == self._identity
        except OSError:
            return False

    def let_go(self) -> None:
        """Forget a descriptor that something else has closed."""
        if not self.is_open:
            self.detach()

    def shut(self) -> None:
        """Shut it down, so that its reader sees the end; no effect when it is closed."""
        if self.is_open:
            with suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, unless it is closed already."""
        self.let_go()
        super().close()

    def __del__(self) -> None:
        if self.fileno() != -1:
            self.let_go()
        super().__del__()  # type: ignore[misc]
