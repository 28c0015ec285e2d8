"""The addresses that the engine may talk to: TLS everywhere, plain text on this machine
only.

    wss://ws.kraken.com/v2      yes
    ws://127.0.0.1:8080/v2      yes: loopback, the built-in venue
    ws://ws.kraken.com/v2       no:  anyone on the way could read and change it

A URL is checked where it is read (configuration) and again where it is used (connection),
so no path avoids the check.
"""

from ipaddress import IPv4Network, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from engine.errors import ConfigError

LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
LOOPBACK_V6 = IPv6Address("::1")
DEFAULT_PORTS = {"wss": 443, "ws": 80, "https": 443, "http": 80}


class _Kind(NamedTuple):
    """What a URL of this kind must be."""

    name: str
    secure: str  # its scheme
    plain: str
    example: str


_WEBSOCKET = _Kind("a WebSocket URL", "wss", "ws", "wss://ws.kraken.com/v2")
_REST = _Kind("a REST address", "https", "http", "https://api.kraken.com")
_WEB = _Kind("a web address", "https", "http", "https://example.com/hook")


class Endpoint(NamedTuple):
    """A URL that has passed one of these checks, taken apart."""

    url: str  # as it was given
    host: str  # lower case, an IPv6 address without brackets; the name TLS verifies
    port: int  # always set
    is_secure: bool  # wss or https


def check_url(url: str) -> Endpoint:
    """Take a WebSocket URL apart; raises ConfigError, naming the URL and the remedy, if it
    may not be used.
    """
    return _check(url, _WEBSOCKET)


def check_rest_url(url: str) -> Endpoint:
    """Take the base URL of a REST service apart; raises ConfigError as `check_url` does."""
    endpoint = _check(url, _REST)
    if (query := urlsplit(url).query) or url.endswith("?"):
        raise ConfigError(f"{url} is not a REST address: remove ?{query}")
    return endpoint


def check_web_url(url: str) -> Endpoint:
    """Take the whole address of a web service apart, query included; raises ConfigError as
    `check_url` does.
    """
    return _check(url, _WEB)


def _check(url: str, kind: _Kind) -> Endpoint:
    if not all("!" <= char <= "~" for char in url):
        raise ConfigError(f"{url!r} is not {kind.name}: it may hold printable ASCII only, without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url} is not {kind.name}: {error}") from None
    if "@" in parts.netloc:
        raise ConfigError(f"{_without_credentials(parts)} must not carry a user name or password; remove all up to @")
    if parts.scheme not in (kind.secure, kind.plain):
        raise ConfigError(f"{url} is not {kind.name}; use one that starts with {kind.secure}://")
    if not host:
        raise ConfigError(f"{url} names no host; use one like {kind.example}")
    if port == 0:
        raise ConfigError(f"{url} names port 0, which cannot be connected to; use 1 to 65535")
    if parts.fragment or url.endswith("#"):
        raise ConfigError(f"{url} has a fragment, which {kind.name[2:]}s do not allow; remove # and all after it")
    is_secure = parts.scheme == kind.secure
    if not is_secure and not is_loopback(host):
        raise ConfigError(
            f"{url} is not encrypted, which is allowed on this machine only; "
            f"use {kind.secure}:// instead of {kind.plain}://"
        )
    return Endpoint(url, host, port or DEFAULT_PORTS[parts.scheme], is_secure)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: localhost, 127.0.0.0/8 or ::1, and no name that only
    begins like one.
    """
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address == LOOPBACK_V6 if isinstance(address, IPv6Address) else address in LOOPBACK_V4


def _without_credentials(parts: SplitResult) -> str:
    """The URL without what precedes the @: a password must not reach a log."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
