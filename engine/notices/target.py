"""One target of notices: its mailbox, and the connection to it."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from engine.clock import Clock
from engine.config import NoticeTargetConfig
from engine.net.https import HttpsClient, RequestFailed
from engine.notices.formats import Message, Route, Sender, Verdict, message_of, route_of, verdict
from engine.notices.mailbox import Mailbox
from engine.notices.notice import Notice
from engine.secret import Secret
from engine.units import NS_PER_S

ANSWER_S: Final = 10.0  # for a target to answer one message
ANSWER_BYTES_MAX: Final = 64 * 1024

log = structlog.get_logger("notices")


class Target:
    """Sends to one target; on one event loop."""

    def __init__(self, config: NoticeTargetConfig, secret: Secret | None, sender: Sender, clock: Clock) -> None:
        """Raises ConfigError when the address or token cannot be one."""
        self.config = config
        self.mailbox = Mailbox(config.events, int(config.every_s * NS_PER_S))
        self._sender = sender
        self._clock = clock
        self._route: Route = route_of(config, secret)
        # Kept, so that no line of the log shows them: the secret, and the path that is a
        # part of it.
        self._hidden = [secret] if config.url and config.kind == "webhook" else [secret, Secret(self._route.path)]
        self._https = HttpsClient(self._route.origin, clock=clock, deadline_s=ANSWER_S)
        # The message that is being sent; None while there is none.
        self._sending: asyncio.Task[None] | None = None

    def put(self, notice: Notice) -> None:
        """Add a notice, if the target wants its event."""
        self.mailbox.put(notice, self._clock.mono_ns())

    def send_due(self) -> None:
        """Begin to send the due message, if any."""
        if (digest := self.mailbox.next_message(self._clock.mono_ns())) is not None:
            message = message_of(self.config, self._sender, digest)
            self._sending = asyncio.get_running_loop().create_task(self._send(message))

    async def flush(self, deadline_s: float) -> None:
        """Send the remaining notices, once, within the deadline; those not accepted by then
        are lost.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._end_sending()
                if (digest := self.mailbox.last_message()) is not None:
                    self._sending = None
                    await self._send(message_of(self.config, self._sender, digest))
        if lost := self.mailbox.give_up():
            log.error("notices are lost", target=self.config.name, notices=lost, reason="the engine ends")

    async def close(self) -> None:
        """Close the connection."""
        await self._end_sending()
        await self._https.close()

    async def ask(self, message: Message) -> Verdict:
        """Send one message; what became of it, in words that hold no secret."""
        try:
            answer = await self._https.request(
                "POST",
                self._route.path,
                headers=self._route.headers,
                body=message.body,
                body_bytes_max=ANSWER_BYTES_MAX,
            )
        except RequestFailed as error:
            return Verdict(False, False, 0.0, f"{self.config.kind} did not answer: {error.why}")
        return verdict(self.config.kind, answer.status, answer.body, answer.retry_after_s)

    async def _send(self, message: Message) -> None:
        try:
            told = await self.ask(message)
        except asyncio.CancelledError:  # the end interrupts it: the last message has it, too
            self.mailbox.was_not_taken(self._clock.mono_ns())
            raise
        except Exception as error:
            log.error("sending notices failed", target=self.config.name, error=repr(error), exc_info=error)
            told = Verdict(False, False, 0.0, f"an error of the engine's own: {type(error).__name__}")
        if told.is_taken:
            self.mailbox.was_told(message.summed)
            return
        now = self._clock.mono_ns()
        lost = (
            self.mailbox.was_refused(now)
            if told.is_final
            else self.mailbox.was_not_taken(now, int(told.wait_s * NS_PER_S))
        )
        log.warning("notices are not taken", target=self.config.name, reason=told.text, waiting=self.mailbox.waiting)
        if lost:
            log.error("notices are lost", target=self.config.name, notices=lost, reason=told.text)

    async def _end_sending(self) -> None:
        """Interrupt a message that is under way."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
