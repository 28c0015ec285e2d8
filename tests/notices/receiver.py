"""A target of notices on loopback: a real HTTP server in a thread, that answers as it is told."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiohttp import web

from tests.waiting import PATIENCE_S, eventually


class Received(NamedTuple):
    """One request."""

    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any]


class Answer(NamedTuple):
    """What the target answers."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = {}  # noqa: RUF012


class Receiver:
    """What came, and what is answered."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        # Answers to the next requests; `answer` when there is none.
        self.next_answers: list[Answer] = []
        self.answer = Answer()
        self.is_silent = False
        self.url = ""
        self.silence = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """Keep a request, and answer it; never, while `is_silent`."""
        body = json.loads(await request.read())
        self.received.append(Received(request.path, request.query_string, dict(request.headers), body))
        if self.is_silent:
            await self.silence.wait()
        answer = self.next_answers.pop(0) if self.next_answers else self.answer
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    def texts(self) -> list[str]:
        """The text of each message, whatever the kind of the target."""
        return [each.body.get("text") or each.body["content"] for each in list(self.received)]

    def wait_for(self, part: str) -> str:
        """The first message with this part of a text."""
        return eventually(lambda: next((text for text in self.texts() if part in text), ""), f"{part!r} is told")


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A target that listens while the block lasts."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    served = Receiver()
    stopping = asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/{path:.*}", served.take)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stopping.wait()
        served.silence.set()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(PATIENCE_S)
        loop.close()
