"""Texts that must not be shown: API secrets and WebSocket tokens.

    Secret("kQH5…")  ─► print, format, log     Secret(…)
                     ─► pickle, copy, JSON     an exception
                     ─► reveal()               the text, at the one place that needs it

A text may still escape in another library's words, in an error message for example. So
`redact`, through which this process's logs and tracebacks go, knows every living Secret; in
a process without one it does nothing.
"""

import hashlib
import hmac
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote

from engine.errors import MisuseError

SECRETS_MAX = 1024  # alive at once; a process has one key and a token or two, so more means a leak
FORGOTTEN_MAX = 16  # replaced tokens that are still looked for: a late message may quote one
REDACTED_CHARS_MIN = 8  # a shorter text would match everywhere
DEPTH_MAX = 8  # of nested values in a log line
FINGERPRINT_BYTES = 6

REDACTED = "[redacted]"
# Parts of names whose texts are never shown. API-Sign is not the secret, but proves its
# possession.
SECRET_NAMES = ("secret", "token", "password", "passphrase", "api_sign", "authorization", "private_key", "otp")
HARMLESS_NAMES = ("token_path",)

# Texts to look for, by their Secret's number; then those of the last Secrets that are gone.
_alive: dict[int, tuple[str, ...]] = {}
_forgotten: deque[tuple[str, ...]] = deque(maxlen=FORGOTTEN_MAX)


class Secret:
    """A text that is shown only by `reveal`."""

    __slots__ = ("__weakref__", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) >= REDACTED_CHARS_MIN:
            if len(_alive) >= SECRETS_MAX:
                raise MisuseError(f"more than {SECRETS_MAX} secrets are alive in this process")
            number = id(self)
            _alive[number] = _forms(text)
            weakref.finalize(self, _forget, number).atexit = False

    def reveal(self) -> str:
        """The text itself. Give it to nothing that keeps or prints it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        """Compare in a time that does not depend on where the texts differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    # A hash of the text could be looked up, and one of the object would not agree with ==.
    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, _: object) -> NoReturn:
        """Raise MisuseError for pickle, copy and deepcopy."""
        raise MisuseError("a secret is neither pickled nor copied")

    def __init_subclass__(cls) -> NoReturn:
        raise MisuseError("a secret has no other kinds")


def fingerprint(api_key: str) -> str:
    """A short name for a key, made of its *public* part, for file names and logs."""
    return hashlib.blake2b(api_key.encode(), digest_size=FINGERPRINT_BYTES).hexdigest()


def redact(text: str) -> str:
    """`text` with every secret of this process replaced."""
    for forms in (*_alive.values(), *_forgotten):
        for form in forms:
            if form in text:
                text = text.replace(form, REDACTED)
    return text


def redact_secrets(_: object, __: str, event: Any) -> Any:
    """A structlog processor: hide texts under names such as `token`, and this process's
    secrets anywhere.
    """
    return _clean(event, 0)


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, int | float):
        return value
    if depth > DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _is_secret_name(key) and _may_hold_text(inner) else _clean(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [_clean(inner, depth + 1) for inner in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return redact(repr(bytes(value)))
    # Exceptions and other objects are shown by their repr, and redacted with the rendered
    # line.
    return value


def _may_hold_text(value: object) -> bool:
    """Whether the value may be a secret text: counts and ages of tokens are not."""
    return value is not None and not isinstance(value, int | float)


def _is_secret_name(name: object) -> bool:
    plain = str(name).lower().replace("-", "_")
    return plain not in HARMLESS_NAMES and any(part in plain for part in SECRET_NAMES)


def _forms(text: str) -> tuple[str, ...]:
    """The text in the forms in which it may appear: as it is, in a URL, and in JSON that
    escapes slashes.
    """
    return tuple(dict.fromkeys((text, quote(text, safe=""), text.replace("/", "\\/"))))


def _forget(number: int) -> None:
    if (forms := _alive.pop(number, None)) is not None:
        _forgotten.append(forms)
