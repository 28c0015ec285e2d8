"""A network between a public feed and its venue that fails on demand."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.waiting import PATIENCE_S


class PublicRelay:
    """A TCP relay to the public WebSocket, in a thread of its own, that fails in the ways of a network.

    cut      resets what is connected; the next connection is let through
    silent   passes requests and no answers, of what is connected and of what comes
    half     reads nothing any more, from either end
    refuse   resets what is connected and whatever comes
    """

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self._path = url.rpartition("/")[2]
        self._mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(PATIENCE_S)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{self._path}"

    def fail(self, mode: str) -> None:
        """Fail in this way from now on."""
        self._call(lambda: self._set(mode))

    def close(self) -> None:
        self._call(lambda: self._set("refuse"))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    def _call(self, what: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (what(), done.set()))
        assert done.wait(PATIENCE_S)

    def _set(self, mode: str) -> None:
        self._mode = "pass" if mode == "cut" else mode
        if mode in ("cut", "refuse", "pass"):
            for writer in self._writers:
                writer.transport.abort()
        self._changed.set()
        self._changed = asyncio.Event()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        started.set()
        self._loop.run_forever()
        self._server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            writer.transport.abort()
            return
        venue_reader, venue_writer = await asyncio.open_connection("127.0.0.1", self._port)
        both = {writer, venue_writer}
        self._writers |= both
        await asyncio.gather(
            self._pump(reader, venue_writer, ("half",)), self._pump(venue_reader, writer, ("half", "silent"))
        )
        self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held_in: tuple[str, ...]) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                while self._mode in held_in:
                    await self._changed.wait()
                writer.write(data)
        writer.transport.abort()
