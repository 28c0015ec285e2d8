"""Serves the page on loopback, to who has its token.

    GET /TOKEN/            the page; its script, style and the chart library beside it
    GET /TOKEN/data        what is true now, and the samples since the last question

Who may read it is decided thrice: the address is loopback; the Host header names loopback,
so no other site's name can be pointed here (DNS rebinding); the token is in the path,
compared in constant time. There are no cookies, which other ports of this host would get
too, and nothing that changes anything. The content security policy lets the page load
nothing from elsewhere, and be framed by nobody.
"""

import asyncio
import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web

from engine.attach.attachment import Attachment
from engine.clock import Clock, SystemClock
from engine.errors import ConfigError
from engine.page.account import ASK_S, AccountReader
from engine.page.content import Content
from engine.page.history import SAMPLE_S
from engine.units import NS_PER_S

LOOPBACK: Final = "127.0.0.1"
HOSTS: Final = frozenset(("127.0.0.1", "localhost", "[::1]"))
TOKEN_BYTES: Final = 32
LOOKED_S: Final = 10.0  # somebody looks who has asked so recently
ASSETS: Final = {
    "": ("page.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}
HEADERS: Final = {
    # Plotly writes its own style sheet and draws texts with styles of their own.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

log = structlog.get_logger("page")
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """Serves the page of the engine behind a control socket."""

    def __init__(self, control_path: Path, router_path: Path, clock: Clock | None = None) -> None:
        self._attachment = Attachment(control_path)
        self._router_path = router_path
        self._clock: Clock = clock or SystemClock()
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._content: Content | None = None
        self._asked_at_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> str:
        """Begin to serve; the address with its token. Raises ConfigError when the port is
        taken."""

        @web.middleware
        async def guard(request: web.Request, handler: Handle) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard])
        app.router.add_get("/{token}/data", self._data)
        app.router.add_get("/{token}/plotly.js", self._plotly)
        app.router.add_get("/{token}/{asset:[a-z.]*}", self._asset)
        # aiohttp's own log tells of requests that cannot be read, with the token in them.
        unheard = logging.Logger("page")
        unheard.addHandler(logging.NullHandler())
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, logger=unheard)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"the page cannot be served at {LOOPBACK}:{port} ({(error.strerror or str(error)).lower()}); choose "
                "another one with --port, or page.port of the configuration"
            ) from None
        self._tasks = [asyncio.create_task(self._sample()), asyncio.create_task(self._ask())]
        served = self._runner.addresses[0][1]
        return f"http://{LOOPBACK}:{served}/{self.token}/"

    async def close(self) -> None:
        """Serve no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        self._attachment.close()

    async def _sample(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._look)  # a look waits for an engine that starts
            except Exception as error:
                log.error("the engine cannot be read", reason=str(error) or type(error).__name__)
            await asyncio.sleep(SAMPLE_S)

    def _look(self) -> None:
        engine = self._attachment.engine()
        if engine is None:
            if self._content is not None:
                self._content.ended()
        else:
            if self._content is None or self._content.engine is not engine:
                self._content = Content(engine, AccountReader(self._router_path, engine.identity.state_dir))
            self._content.look(self._clock.wall_ns() / NS_PER_S)

    async def _ask(self) -> None:
        while True:
            is_looked_at = self._clock.mono_ns() / NS_PER_S - self._asked_at_s < LOOKED_S
            content = self._content
            if content is not None and content.is_running:
                if is_looked_at:
                    try:
                        await content.account.read()
                    except Exception as error:
                        log.error("the engine cannot be read", reason=str(error) or type(error).__name__)
                else:
                    content.account.forget()
            await asyncio.sleep(ASK_S)

    # --- requests

    async def _guard(self, request: web.Request, handler: Handle) -> web.StreamResponse:
        """Let through who has the token and calls us by a name of loopback."""
        try:
            if not self._may_read(request):
                raise web.HTTPForbidden(text="403: this needs the whole address that `engine page` has printed\n")
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=error.text)
        except Exception as error:
            log.error("the engine cannot be read", reason=str(error) or type(error).__name__)
            response = web.Response(status=500, text="500: the page cannot be made; its log says why\n")
        response.headers.update(HEADERS)
        return response

    def _may_read(self, request: web.Request) -> bool:
        host = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
        token = request.path.removeprefix("/").partition("/")[0]  # a path may also be `*`
        is_known = hmac.compare_digest(token.encode(), self.token.encode())
        return is_known and (host or request.host).lower() in HOSTS

    async def _asset(self, request: web.Request) -> web.Response:
        found = ASSETS.get(request.match_info["asset"])
        if found is None:
            raise web.HTTPNotFound(text="404: there is no such page\n")
        name, content_type = found
        text = (resources.files("engine") / "page" / "assets" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=content_type)

    async def _plotly(self, _: web.Request) -> web.Response:
        script = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
        response = web.Response(body=script, content_type="text/javascript", charset="utf-8")
        response.enable_compression()
        return response

    async def _data(self, request: web.Request) -> web.Response:
        self._asked_at_s = self._clock.mono_ns() / NS_PER_S
        try:
            since = int(request.query.get("since", "0"))
        except ValueError:
            raise web.HTTPBadRequest(text="400: since is the number of a sample\n") from None
        told: dict[str, Any] = {"is_running": False, "rows": []}
        if self._content is not None:
            told = self._content.told(since, request.query.get("symbol", ""), request.query.get("hop", ""))
        return web.Response(text=json.dumps(told, separators=(",", ":")), content_type="application/json")
