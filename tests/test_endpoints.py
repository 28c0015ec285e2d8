"""The addresses that the engine may talk to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.endpoints import Endpoint, check_url, is_loopback
from engine.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "host", "port", "is_secure"),
    [
        ("wss://ws.kraken.com/v2", "ws.kraken.com", 443, True),
        ("wss://WS.Kraken.com:8443/v2?a=b", "ws.kraken.com", 8443, True),
        ("wss://[2606:4700::1]/v2", "2606:4700::1", 443, True),
        ("ws://127.0.0.1:8080/v2", "127.0.0.1", 8080, False),
        ("ws://127.255.0.9", "127.255.0.9", 80, False),
        ("ws://[::1]:9000", "::1", 9000, False),
        ("ws://localhost:9000/", "localhost", 9000, False),
    ],
)
def test_allowed(url: str, host: str, port: int, is_secure: bool) -> None:
    """TLS anywhere, plain text on this machine; host and port are taken from the URL."""
    assert check_url(url) == Endpoint(url, host, port, is_secure)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "ws://ws.kraken.com/v2",
            "is not encrypted, which is allowed on this machine only; use wss:// instead of ws://",
        ),
        ("ws://127.0.0.1.evil.com/", "is not encrypted"),
        ("ws://localhost.evil.com/", "is not encrypted"),
        ("ws://128.0.0.1/", "is not encrypted"),
        ("ws://127.1/", "is not encrypted"),
        ("ws://0.0.0.0/", "is not encrypted"),
        ("ws://[::ffff:127.0.0.1]/", "is not encrypted"),
        ("ws://[fe80::1%25lo]/", "is not encrypted"),
        ("https://ws.kraken.com/v2", "use one that starts with wss://"),
        ("ws.kraken.com/v2", "use one that starts with wss://"),
        ("", "use one that starts with wss://"),
        ("wss:///v2", "names no host"),
        ("wss://", "names no host"),
        ("wss://ws.kraken.com:99999/", "Port out of range"),
        ("wss://ws.kraken.com:0/", "names port 0"),
        ("wss://ws.kraken.com:x/", "is not a WebSocket URL"),
        ("wss://[::1/", "is not a WebSocket URL"),
        ("wss://ws.kraken.com/v2#top", "has a fragment"),
        ("wss://ws.kraken.com/v2#", "has a fragment"),
        ("wss://ws.kraken.com/v2\r\nX-Evil: 1", "printable ASCII only"),
        ("wss://ws.kraken.com/v2 ", "printable ASCII only"),
        ("wss://wś.kraken.com/v2", "printable ASCII only"),
    ],
)
def test_refused_in_one_sentence_that_names_the_url(url: str, words: str) -> None:
    """Everything else is refused, lookalikes of loopback first of all."""
    with pytest.raises(ConfigError) as refused:
        check_url(url)

    assert words in str(refused.value)
    assert url in str(refused.value) or repr(url) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_password_is_not_repeated() -> None:
    """Credentials in a URL would reach logs; the error does not repeat them either."""
    with pytest.raises(ConfigError) as refused:
        check_url("wss://user:hunter2@ws.kraken.com/v2")

    assert str(refused.value).startswith("wss://ws.kraken.com/v2 must not carry a user name or password")


@given(st.text() | st.from_regex(r"(wss?|http)://[a-z0-9.:@#\[\]%/-]*", fullmatch=True))
def test_whatever_the_text_it_is_an_endpoint_or_one_sentence(url: str) -> None:
    """Any text gives an endpoint or a ConfigError, and nothing plain that is not loopback."""
    outcome: Endpoint | ConfigError
    try:
        outcome = check_url(url)
    except ConfigError as refused:
        outcome = refused

    if isinstance(outcome, Endpoint):
        assert outcome.is_secure or is_loopback(outcome.host)
        assert 1 <= outcome.port <= 65535
    else:
        assert str(outcome).isprintable()
