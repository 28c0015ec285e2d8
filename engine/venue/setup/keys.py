"""API keys: who sends a request, what the key permits, and whether the request is authentic
and new.

A key is two texts: the public part travels with every request, the secret signs it. The
default key belongs to the funded account and is made from the seed, so that a venue that is
started again accepts it still. There are only secrets of play money here.
"""

import base64
import binascii
import hashlib
import hmac
from bisect import insort
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Final

import msgspec

from engine.errors import ConfigError, VenueReject
from engine.units import NS_PER_S, MonoNs
from engine.venue.setup.rate_counter import Tier

PERMISSIONS: Final = (
    "query-funds",
    "add-funds",
    "withdraw-funds",
    "query-open-trades",
    "query-closed-trades",
    "modify-trades",
    "close-trades",
    "query-ledger",
    "export-data",
    "create-ws-token",
)
TRADING_PERMISSIONS: Final = (
    "query-funds",
    "query-open-trades",
    "query-closed-trades",
    "modify-trades",
    "close-trades",
    "query-ledger",
    "create-ws-token",
)
"""What a trading program needs; nothing that could withdraw funds."""

FUNDED_ACCOUNT: Final = 1
"""The account of the default key."""

KEYS_MAX: Final = 1000
FUNDS_MAX: Final = 10**12  # of one asset
NONCE_MAX: Final = 2**64 - 1
NONCES_KEPT: Final = 4096  # for one key with a window; a nonce below all of them is refused
LOCKOUT_FAILURES: Final = 20  # in a row, with one key text
LOCKOUT_NS: Final = 900 * NS_PER_S  # from the last call; each call prolongs it
LOCKOUTS_KEPT: Final = 1000  # key texts whose failures are remembered

INVALID_KEY: Final = "EAPI:Invalid key"
INVALID_SIGNATURE: Final = "EAPI:Invalid signature"
INVALID_NONCE: Final = "EAPI:Invalid nonce"
PERMISSION_DENIED: Final = "EGeneral:Permission denied"
LOCKED_OUT: Final = "EGeneral:Temporary lockout"

_KEY_BYTES: Final = 42  # 56 characters, as Kraken's
_SECRET_BYTES: Final = 64  # 88 characters


class KeySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be added; the venue makes its texts where none are given."""

    permissions: tuple[str, ...] = TRADING_PERMISSIONS
    nonce_window: int = 0  # in units of the nonce: how far one may be below the highest
    tier: Tier = "intermediate"  # of the REST counter, and of the account if the key is its first
    account_id: int = FUNDED_ACCOUNT
    funds: dict[str, Decimal] = {}  # of the account if the key is its first; empty: enough of every asset
    key: str = ""
    secret: str = ""  # base64

    def __post_init__(self) -> None:
        for permission in self.permissions:
            if permission not in PERMISSIONS:
                raise ConfigError(f"API key: there is no permission {permission!r}, use {', '.join(PERMISSIONS)}")
        if not 0 < self.account_id < 1 << 31:
            raise ConfigError(f"API key: account {self.account_id} is no account's number, use 1 or more")
        if not 0 <= self.nonce_window <= NONCE_MAX:
            raise ConfigError(f"API key: the nonce window {self.nonce_window} must be from 0 to {NONCE_MAX}")
        for asset, amount in self.funds.items():
            if not amount.is_finite() or not 0 <= amount < FUNDS_MAX:
                raise ConfigError(f"API key: the funds {amount} {asset} cannot be; give 0 to {FUNDS_MAX:,}")


class ApiKey:
    """One key, and the highest nonce that it has used."""

    def __init__(self, key: str, secret: str, spec: KeySpec) -> None:
        self.key = key
        self.secret = secret  # base64
        self.permissions = frozenset(spec.permissions)
        self.nonce_window = spec.nonce_window
        self.tier: Tier = spec.tier
        self.account_id = spec.account_id
        self.last_nonce = 0  # the highest used; 0 before the first
        self._nonces: list[int] = []  # the highest used, sorted: a late nonce within the window must still be new
        self._secret_bytes = base64.b64decode(secret, validate=True)

    def __repr__(self) -> str:
        return f"ApiKey({self.key[:6]}…, account {self.account_id})"

    def may(self, permission: str) -> bool:
        """Whether the key has this permission."""
        return permission in self.permissions

    def require(self, *any_of: str) -> None:
        """Raise VenueReject unless the key has one of these permissions."""
        if self.permissions.isdisjoint(any_of):
            raise VenueReject(PERMISSION_DENIED)

    def signature(self, path: str, nonce: str, body: bytes) -> str:
        """Sign: `base64(HMAC-SHA512(secret, path ‖ SHA256(nonce ‖ body)))`."""
        digest = hashlib.sha256(nonce.encode() + body).digest()
        return base64.b64encode(hmac.new(self._secret_bytes, path.encode() + digest, hashlib.sha512).digest()).decode()

    def use_nonce(self, nonce: int) -> None:
        """Record a nonce; raises VenueReject if it is outside the window, or was used
        before.
        """
        if not self._is_fresh(nonce):
            raise VenueReject(INVALID_NONCE)
        insort(self._nonces, nonce)
        if len(self._nonces) > NONCES_KEPT:
            del self._nonces[0]
        self.last_nonce = self._nonces[-1]

    def _is_fresh(self, nonce: int) -> bool:
        if nonce > self.last_nonce:
            return nonce <= NONCE_MAX
        if nonce <= self.last_nonce - self.nonce_window or nonce in self._nonces:
            return False
        return len(self._nonces) < NONCES_KEPT or nonce > self._nonces[0]


class KeyRing:
    """All keys of the venue, and the key texts that are locked out after failures."""

    def __init__(self, seed: int, tier: Tier = "intermediate", specs: Iterable[KeySpec] = ()) -> None:
        self._rng = Random(f"{seed} API keys")
        self._keys: dict[str, ApiKey] = {}
        # By key text, known or not: the number of failures in a row, and the time of the
        # last.
        self._failures: dict[str, tuple[int, MonoNs]] = {}
        self.default = self.add(KeySpec(tier=tier))
        for spec in specs:
            self.add(spec)

    def add(self, spec: KeySpec) -> ApiKey:
        """Add a key; raises ConfigError when its texts cannot be used."""
        if len(self._keys) >= KEYS_MAX:
            raise ConfigError(f"API key: the venue holds {KEYS_MAX} keys already, start another venue")
        key = spec.key or self._text(_KEY_BYTES)
        if key in self._keys:
            raise ConfigError(f"API key {key}: there is one of this name already, leave it empty to have one made")
        try:
            api_key = ApiKey(key, spec.secret or self._text(_SECRET_BYTES), spec)
        except (binascii.Error, ValueError):
            raise ConfigError(f"API key {key}: its secret is not base64, leave it empty to have one made") from None
        self._keys[key] = api_key
        return api_key

    def find(self, key: str) -> ApiKey | None:
        """The key with this public text, or None."""
        return self._keys.get(key)

    def failures(self, key: str) -> int:
        """Calls with this public text, be it a key's or not, that were refused since the
        last good one.
        """
        return self._failures.get(key, (0, MonoNs(0)))[0]

    def authenticate(self, key: str, sign: str, path: str, nonce: str | None, body: bytes, now: MonoNs) -> ApiKey:
        """The key of a request; raises VenueReject in Kraken's words for an unknown, forged
        or repeated one.
        """
        failures, failed_at = self._failures.get(key, (0, MonoNs(0)))
        if failures >= LOCKOUT_FAILURES:
            if now - failed_at < LOCKOUT_NS:
                self._failures[key] = (failures, now)
                raise VenueReject(LOCKED_OUT)
            failures = 0
        try:
            api_key = self._proven(key, sign, path, nonce, body)
        except VenueReject:
            self._failures.pop(key, None)  # the latest failures are the last of the dict
            self._failures[key] = (failures + 1, now)
            if len(self._failures) > LOCKOUTS_KEPT:
                del self._failures[next(iter(self._failures))]
            raise
        self._failures.pop(key, None)
        return api_key

    def _proven(self, key: str, sign: str, path: str, nonce: str | None, body: bytes) -> ApiKey:
        api_key = self._keys.get(key)
        if api_key is None:
            raise VenueReject(INVALID_KEY)
        if nonce is None or not (nonce.isascii() and nonce.isdigit()) or len(nonce) > len(str(NONCE_MAX)):
            raise VenueReject(INVALID_NONCE)
        if not hmac.compare_digest(api_key.signature(path, nonce, body).encode(), sign.encode(errors="replace")):
            raise VenueReject(INVALID_SIGNATURE)
        api_key.use_nonce(int(nonce))
        return api_key

    def _text(self, size_bytes: int) -> str:
        return base64.b64encode(self._rng.randbytes(size_bytes)).decode()
