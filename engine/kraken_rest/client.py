"""One call of Kraken's REST over HTTPS: nonce, signature, request, answer.

`engine.kraken_rest.call_queue` decides when a call may be made;
`engine.kraken.rest.replies` decodes the answers.
"""

from engine.clock import Clock
from engine.errors import MisuseError, VenueReject
from engine.kraken.rest.replies import RestRefusal, read_websockets_token
from engine.kraken.rest.requests import RestRequest, get_websockets_token, sign
from engine.kraken.rest.signing import Signer
from engine.net.https import DEADLINE_S, HttpAnswer, HttpsClient
from engine.net.key_lock import KeyLock


class KrakenRest:
    """One REST service, and the key to its private side if there is one."""

    def __init__(
        self, https: HttpsClient, clock: Clock, *, signer: Signer | None = None, key: KeyLock | None = None
    ) -> None:
        if (signer is None) != (key is None):
            raise MisuseError("a signer and the lock of its key go together")
        self._https = https
        self._clock = clock
        self._signer = signer
        self.key = key

    async def call(self, request: RestRequest, *, deadline_s: float = DEADLINE_S) -> HttpAnswer:
        """The answer to `request`, which is sent once.

        Raises NotSent if it may be sent again, InDoubt if it may have been carried out.
        """
        if not request.is_private:
            return await self._https.request(request.method, request.target, deadline_s=deadline_s)
        if self._signer is None or self.key is None:
            raise MisuseError(f"{request.name} needs an API key")
        signed = sign(request, self._signer, self.key.next_nonce(self._clock.wall_ns()))
        return await self._https.request(
            signed.method, signed.target, headers=signed.headers, body=signed.body, deadline_s=deadline_s
        )

    async def websockets_token(self) -> tuple[str, int]:
        """A new token, and the seconds within which it must be used. Raises EngineError if
        there is none.
        """
        answer = await self.call(get_websockets_token())
        token = read_websockets_token(answer.status, answer.body)
        if isinstance(token, RestRefusal):
            raise VenueReject(token.sentence)
        return token.token, token.expires_s

    async def close(self) -> None:
        """Close the connections; the key's lock belongs to the caller."""
        await self._https.close()
