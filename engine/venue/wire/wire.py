"""WebSocket frames as a server writes them: unmasked, so one encoding serves every
connection (RFC 6455 §5.2).

Frames are made once, as bytes with their header, and shared by all subscribers; many go to
a socket in one write. picows would build each header again for each connection.
"""

from typing import Final

_TEXT: Final = 0x81  # final fragment, opcode 1
_CLOSE: Final = 0x88
_PONG: Final = 0x8A


def _frame(first_byte: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 1 << 16:
        return bytes((first_byte, 126, size >> 8, size & 0xFF)) + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


def text_frame(text: str) -> bytes:
    """A text message in one frame."""
    return _frame(_TEXT, text.encode())


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame with its code; 1005 is written as no code."""
    return _frame(_CLOSE, b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode())


def pong_frame(payload: bytes) -> bytes:
    """The reply to a ping, with its payload."""
    return _frame(_PONG, payload)


def payload_start(frame: bytes) -> int:
    """The offset of the payload in one of our frames."""
    return {126: 4, 127: 10}.get(frame[1], 2)
