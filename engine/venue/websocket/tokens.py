"""Tokens, which stand for API keys on the private WebSocket: valid for fifteen minutes, or
as long as one is pinned.

REST issues them, and every private request carries one. A subscription pins its token,
which then stays valid until the last such subscription has ended.
"""

import base64
from random import Random
from typing import Final

from engine.units import NS_PER_S, MonoNs
from engine.venue.setup.keys import ApiKey

LIFE_S: Final = 900
TOKENS_MAX: Final = 10_000  # valid at once; the oldest without a pin is dropped first
_TOKEN_BYTES: Final = 32


class _Token:
    """One token."""

    __slots__ = ("api_key", "issued_at", "pins")

    def __init__(self, api_key: ApiKey, issued_at: MonoNs) -> None:
        self.api_key = api_key
        self.issued_at = issued_at
        self.pins = 0  # subscriptions that hold it

    def is_alive(self, now: MonoNs) -> bool:
        return self.pins > 0 or now - self.issued_at < LIFE_S * NS_PER_S


class Tokens:
    """All tokens of the venue."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed} tokens")
        self._tokens: dict[str, _Token] = {}  # oldest first

    def issue(self, api_key: ApiKey, now: MonoNs) -> str:
        """Issue a new token for this key: 43 characters of base64."""
        self._forget(now)
        token = base64.b64encode(self._rng.randbytes(_TOKEN_BYTES)).decode().rstrip("=")
        self._tokens[token] = _Token(api_key, now)
        return token

    def check(self, token: str, now: MonoNs) -> ApiKey | None:
        """The key that a token stands for; None if it is unknown, expired or revoked."""
        known = self._tokens.get(token)
        return known.api_key if known is not None and known.is_alive(now) else None

    def pin(self, token: str) -> None:
        """Count one more subscription with this token; `unpin` ends it."""
        if known := self._tokens.get(token):
            known.pins += 1

    def unpin(self, token: str) -> None:
        """Count one subscription less; no effect if the token was revoked."""
        if (known := self._tokens.get(token)) and known.pins:
            known.pins -= 1

    def revoke(self, token: str) -> bool:
        """Revoke a token, pinned or not; False if it is unknown."""
        return self._tokens.pop(token, None) is not None

    def revoke_all(self) -> int:
        """Revoke all tokens; returns how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count

    def _forget(self, now: MonoNs) -> None:
        """Make room: drop expired tokens first, then the oldest."""
        if len(self._tokens) < TOKENS_MAX:
            return
        self._tokens = {text: token for text, token in self._tokens.items() if token.is_alive(now)}
        while len(self._tokens) >= TOKENS_MAX:
            oldest = next(iter(self._tokens))
            del self._tokens[next((text for text, token in self._tokens.items() if not token.pins), oldest)]
