"""Kraken's REST for one key: requests in, complete answers out, in the order of their nonces.

    RestRequest ─► lockout? ─► one at a time, the most urgent first ─► nonce ─► signature ─► HttpsClient ─► HttpAnswer

Private calls of a key go one after the other: on parallel connections a later nonce may arrive first, and Kraken then
refuses the earlier. What an answer means is read by `engine.kraken.rest.replies`.
"""

import asyncio
import heapq
from typing import Final

from engine.clock import Clock
from engine.errors import MisuseError, VenueReject
from engine.kraken.connection.error_catalog import ErrorKind
from engine.kraken.rest.replies import RestRefusal, read_websockets_token, refusal_or_result
from engine.kraken.rest.requests import RestRequest, get_websockets_token, sign
from engine.kraken.rest.signing import Signer
from engine.kraken_rest.call_counter import Urgency
from engine.net.https import DEADLINE_S, HttpAnswer, HttpsClient, NotSent
from engine.net.key_lock import KeyLock
from engine.net.lockout import Lockout
from engine.units import NS_PER_S, MonoNs

TRIES_MAX: Final = 2  # of a call that changes nothing, when its nonce was refused


class _Turns:
    """Who may call next: one at a time, the most urgent first, and of those who came first."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    async def acquire(self, urgency: int) -> None:
        """Until it is our turn."""
        if not self._is_taken:
            self._is_taken = True
            return
        self._arrivals += 1
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it had come just then, and is nobody's now
            raise

    def release(self) -> None:
        """Ours is over."""
        while self._waiting:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False


class KrakenRest:
    """One service, and the key to its private side when there is one. Nothing is ever sent again in doubt."""

    def __init__(
        self, https: HttpsClient, clock: Clock, *, signer: Signer | None = None, key: KeyLock | None = None
    ) -> None:
        if (signer is None) != (key is None):
            raise MisuseError("a signer and the lock of its key go together")
        self._https = https
        self._clock = clock
        self._signer = signer
        self.key = key
        self._turns = _Turns()
        self.lockout = Lockout()
        if key is not None and (left_ns := key.lockout_left_ns(clock.wall_ns())) > 0:
            self.lockout.until = MonoNs(clock.mono_ns() + left_ns)

    async def call(
        self, request: RestRequest, *, deadline_s: float = DEADLINE_S, urgency: Urgency = Urgency.TRUTH
    ) -> HttpAnswer:
        """The answer to `request`.

        NotSent: it may be sent again. InDoubt: it may have been carried out. LockedOut: it was not sent, and none may
        be for a while.
        """
        if not request.is_private:
            return await self._https.request(request.method, request.target, deadline_s=deadline_s)
        give_up_at = self._clock.mono_ns() + int(deadline_s * NS_PER_S)
        try:
            async with asyncio.timeout(deadline_s):
                await self._turns.acquire(urgency)
        except TimeoutError:
            raise NotSent(f"{request.name}: earlier calls of this key took all of {deadline_s:g} s") from None
        try:
            return await self._call_private(request, give_up_at)
        finally:
            self._turns.release()

    async def websockets_token(self) -> tuple[str, int]:
        """A new token and the seconds it may wait for its first use; EngineError when there is none."""
        answer = await self.call(get_websockets_token())
        token = read_websockets_token(answer.status, answer.body)
        if isinstance(token, RestRefusal):
            raise VenueReject(token.sentence)
        return token.token, token.expires_s

    async def close(self) -> None:
        """Give up the connections; the key's lock belongs to whoever made it."""
        await self._https.close()

    async def _call_private(self, request: RestRequest, give_up_at: int) -> HttpAnswer:
        if self._signer is None or self.key is None:
            raise MisuseError(f"{request.name} needs an API key")
        tries_left = 1 if request.is_mutating else TRIES_MAX
        while True:
            self.lockout.check(self._clock.mono_ns())
            left_s = (give_up_at - self._clock.mono_ns()) / NS_PER_S
            signed = sign(request, self._signer, self.key.next_nonce(self._clock.wall_ns()))
            answer = await self._https.request(
                signed.method, signed.target, headers=signed.headers, body=signed.body, deadline_s=max(left_s, 0)
            )
            tries_left -= 1
            if self._kind_of_refusal(answer) is not ErrorKind.NONCE or tries_left == 0:
                return answer

    def _kind_of_refusal(self, answer: HttpAnswer) -> ErrorKind | None:
        refusal = refusal_or_result(answer.status, answer.body)
        if not isinstance(refusal, RestRefusal):
            return None
        if refusal.meaning.kind is ErrorKind.LOCKOUT:
            self.lockout.note(self._clock.mono_ns())
            if self.key is not None:
                self.key.note_lockout(self._clock.wall_ns())
        return refusal.meaning.kind
