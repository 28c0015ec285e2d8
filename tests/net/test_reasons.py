"""What went wrong, in one sentence."""

import ssl
from http import HTTPStatus

import pytest
from multidict import CIMultiDict
from picows import WSHandshakeError, WSUpgradeResponse

from engine.net.reasons import close_text, connect_failure_text, retry_after_s
from engine.net.resolver import Unreachable


def refusal(status_line: bytes, headers: dict[str, str] | None = None) -> WSHandshakeError:
    response = None
    if headers is not None:
        response = WSUpgradeResponse()
        response.status = HTTPStatus.TOO_MANY_REQUESTS
        response.headers = CIMultiDict(headers)
    return WSHandshakeError("no", status_line + b"\r\nServer: cloudflare", b"", response)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal(b"HTTP/1.1 429 Too Many Requests"), "HTTP 429 Too Many Requests instead of 101"),
        (refusal(b"HTTP/1.1 522 "), "HTTP 522 instead of 101"),
        (refusal(b"HTTP/1.1 503"), "HTTP 503 Service Unavailable instead of 101"),
        (refusal(b"HTTP/1.1 nonsense"), "not a WebSocket server: it answered 'HTTP/1.1 nonsense'"),
        (refusal(b"\xff\x00" * 300), f"not a WebSocket server: it answered {('�' + chr(0)) * 40!r}"),
        (refusal(b""), "not a WebSocket server: it answered ''"),
        (ssl.SSLError(1, "[SSL] something"), "TLS failed: [SSL] something"),
        (ConnectionResetError(104, "reset"), "the connection was reset during the handshake"),
        (Unreachable("cannot resolve ws.kraken.com: no"), "cannot resolve ws.kraken.com: no"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_connect_failures(error: BaseException, text: str) -> None:
    """Each kind of failure has its words; none is empty, none has a line break."""
    assert connect_failure_text(error) == text


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (refusal(b"HTTP/1.1 429", {"Retry-After": "30"}), 30),
        (refusal(b"HTTP/1.1 429", {"retry-after": " 5 "}), 5),
        (refusal(b"HTTP/1.1 429", {"Retry-After": "999999999"}), 600),
        (refusal(b"HTTP/1.1 429", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 0),
        (refusal(b"HTTP/1.1 429", {"Retry-After": "-1"}), 0),
        (refusal(b"HTTP/1.1 429", {"Retry-After": "²"}), 0),
        (refusal(b"HTTP/1.1 429", {"Retry-After": "9" * 5000}), 600),
        (refusal(b"HTTP/1.1 429", {}), 0),
        (refusal(b"HTTP/1.1 521"), 0),
        (OSError(), 0),
    ],
)
def test_retry_after(error: BaseException, seconds: int) -> None:
    """The server's wish is respected, up to ten minutes; nonsense is no wish."""
    assert retry_after_s(error) == seconds


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (1000, "", "closed by the server: 1000 normal closure"),
        (1012, "deploy", 'closed by the server: 1012 service restart "deploy"'),
        (4999, "", "closed by the server: 4999"),
        (None, "", "closed by the server without a code"),
    ],
)
def test_closes(code: int | None, reason: str, text: str) -> None:
    """Code, its registered name, and what the server added."""
    assert close_text(code, reason) == text
