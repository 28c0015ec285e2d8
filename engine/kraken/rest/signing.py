"""Kraken's signature of an authenticated REST call.

    API-Sign = base64(HMAC-SHA512(base64decode(secret), path ‖ SHA256(nonce ‖ body)))

The body that is signed is the body that is sent, byte for byte, and holds the same nonce.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-auth
"""

import base64
import binascii
import hashlib
import hmac

from engine.errors import ConfigError
from engine.secret import Secret


class Signer:
    """Signs the calls of one API key.

    Holds the secret as a started HMAC, which cannot be printed or pickled.
    """

    __slots__ = ("_started", "api_key")

    def __init__(self, api_key: str, secret: Secret) -> None:
        try:
            key = base64.b64decode(secret.reveal(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not key:
            raise ConfigError("the API secret is not base64: copy the private key again, as Kraken shows it")
        self.api_key = api_key
        self._started = hmac.new(key, digestmod=hashlib.sha512)

    def sign(self, path: str, nonce: int, body: bytes) -> str:
        """The signature of `body`, sent to `path` ("/0/private/…", without the host)."""
        mac = self._started.copy()
        mac.update(path.encode())
        mac.update(hashlib.sha256(b"%d" % nonce + body).digest())
        return base64.b64encode(mac.digest()).decode()

    def headers(self, path: str, nonce: int, body: bytes) -> dict[str, str]:
        """The two headers that authenticate a call."""
        return {"API-Key": self.api_key, "API-Sign": self.sign(path, nonce, body)}

    def __repr__(self) -> str:
        return "Signer(…)"
