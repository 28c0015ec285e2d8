"""The HTTP server of the venue's REST API, on a loopback port of its own, around
`RestApi`.
"""

import asyncio
import errno
import logging
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.errors import UserError
from engine.venue.rest.api import HttpReply, HttpRequest, RestApi, errors_reply
from engine.venue.setup.settings import VenueSettings

SHUTDOWN_S: Final = 1.0
BAD_REQUEST: Final = "EAPI:Bad request"
INTERNAL: Final = "EGeneral:Internal error"
ORIGIN_ERROR: Final = 520  # Cloudflare's own code, without a phrase in HTTP


class RestServer:
    """The HTTP side of one venue: `await start()`, then `url`, then `await stop()`."""

    def __init__(self, settings: VenueSettings, api: RestApi) -> None:
        self._settings = settings
        self._api = api
        self._runner: web.ServerRunner | None = None
        self.url = ""  # http://127.0.0.1:8767, set once it serves

    async def start(self) -> None:
        """Listen. Raises UserError if the port is not available."""
        settings = self._settings
        port = settings.rest_port
        if port is None:
            port = settings.port and settings.port + 2
        # A plain server without routes handles twice as many calls, some ten thousand a
        # second.
        server = web.Server(self._answer, access_log=None, logger=_http_log())
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, settings.host, port).start()
        except OSError as error:
            await self.stop()
            reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
            raise UserError(
                f"--rest-port {port}: this port of {settings.host} {reason}, choose another or 0 for any free one"
            ) from None
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Stop listening; requests under way are dropped."""
        self._api.close()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
        self._api.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _response(errors_reply(BAD_REQUEST))
        except (ConnectionError, web.RequestPayloadError):
            return _response(errors_reply(BAD_REQUEST, status=400))  # the client is gone and reads nothing
        asked = HttpRequest(
            request.method, request.path, tuple(request.query.items()), request.headers, body, request.content_type
        )
        answered: asyncio.Future[HttpReply | None] = asyncio.get_running_loop().create_future()

        def take(reply: HttpReply | None) -> None:
            if not answered.done():  # its client has gone
                answered.set_result(reply)

        self._api.answer(asked, take)
        reply = await answered
        if reply is None:
            if request.transport is not None:
                request.transport.abort()
            reply = errors_reply(INTERNAL)
        return _response(reply)


def _response(reply: HttpReply) -> web.Response:
    reason = "Origin Error" if reply.status == ORIGIN_ERROR else None
    return web.Response(body=reply.body, content_type=reply.content_type, status=reply.status, reason=reason)


def _http_log() -> logging.Logger:
    """aiohttp's log, without its errors about bytes that are not HTTP, which are the
    client's fault.
    """

    def is_ours(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

    http_log = logging.getLogger("venue.rest")
    http_log.filters = [is_ours]
    return http_log
