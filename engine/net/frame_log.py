"""The raw frames of a connection in the log, for debugging: received ones, and sent ones.

Secrets are redacted twice: a token by its place in the message, and by the log whatever
this process knows as secret. No more lines a second are written than a reader can use; the
others are counted, and their number stands in the next line.
"""

import re
from typing import Final

import structlog

from engine.clock import Clock
from engine.telemetry.log import FRAMES, UNLIMITED
from engine.units import NS_PER_S

LINES_PER_S_MAX: Final = 50
CHARS_MAX: Final = 2000  # of a frame
_SECRET: Final = re.compile(r'("(?:token|api_key|otp)"\s*:\s*")[^"]*')


class FrameLog:
    """Writes frames to the log."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._log = structlog.get_logger(FRAMES).bind(url=url, **{UNLIMITED: True})
        self._clock = clock
        # The present second, its lines, and the frames left out since the last line.
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def received(self, frame: bytes | memoryview) -> None:
        """Write a frame of the server's."""
        self._write("received", frame)

    def sent(self, frame: bytes | memoryview) -> None:
        """Write a frame of ours."""
        self._write("sent", frame)

    def _write(self, way: str, frame: bytes | memoryview) -> None:
        second = self._clock.mono_ns() // NS_PER_S
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines >= LINES_PER_S_MAX:
            self._left_out += 1
            return
        self._lines += 1
        text = _SECRET.sub(r"\1[redacted]", bytes(frame).decode(errors="replace"))
        more = {"left_out": self._left_out} if self._left_out else {}
        self._left_out = 0
        self._log.info(f"frame {way}", frame=text[:CHARS_MAX], **more)
