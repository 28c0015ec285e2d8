"""What went wrong with a connection, in one sentence for people.

Close codes: RFC 6455 §7.4.1 and the IANA registry of WebSocket close codes.
"""

import ssl
from http import HTTPStatus

from picows import WSError, WSHandshakeError

CLOSE_CODES = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1007: "invalid text",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
}
RETRY_AFTER_S_MAX = 600  # Cloudflare's ban lasts 10 minutes; a longer wish is more likely a mistake


def connect_failure_text(error: BaseException) -> str:
    """Why a connection failed: `HTTP 429 Too Many Requests instead of 101`."""
    if isinstance(error, WSHandshakeError):
        return _handshake_text(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'reason', None) or error}"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the connection was reset during the handshake"
    if isinstance(error, WSError):
        return f"not a WebSocket server: {error}"
    return str(error) or type(error).__name__


def retry_after_s(error: BaseException) -> int:
    """Seconds in the Retry-After of a 429 or 503, at most 600; 0 without one."""
    if not isinstance(error, WSHandshakeError) or error.response is None:
        return 0
    wish = error.response.headers.get("Retry-After", "").strip()
    if not (wish.isascii() and wish.isdigit()):  # a date is allowed too, but is not used with a 429
        return 0
    return RETRY_AFTER_S_MAX if len(wish) > 4 else min(int(wish), RETRY_AFTER_S_MAX)


def close_text(code: int | None, reason: str) -> str:
    """Describe a close frame: `closed by the server: 1012 service restart "deploy"`."""
    if code is None:
        return "closed by the server without a code"
    name = CLOSE_CODES.get(code, "")
    return " ".join(
        ["closed by the server:", str(code), *([name] if name else []), *([f'"{reason}"'] if reason else [])]
    )


def _handshake_text(error: WSHandshakeError) -> str:
    # The status line itself: picows knows no status that http.HTTPStatus lacks, and
    # Cloudflare sends 520 to 530.
    status_line = (error.raw_header or b"").split(b"\r\n", 1)[0].decode("ascii", "replace")
    version, _, status = status_line.partition(" ")
    code = status[:3]
    if not version.startswith("HTTP/") or not code.isdigit():
        return f"not a WebSocket server: it answered {status_line[:80]!r}"
    if code == "101":
        return f"broken WebSocket handshake: {error}"
    return f"HTTP {status.strip() if status[3:].strip() else _with_phrase(int(code))} instead of 101"


def _with_phrase(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)
