"""A headless Chromium, driven by its own protocol (Chrome DevTools), so that no driver is needed.

async with Browser(folder) as browser:
    await browser.open(url)
    await browser.evaluate("document.title")
"""

import asyncio
import base64
import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil

from engine.prctl import end_with_parent
from tests.waiting import PATIENCE_S, until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
LOOK_MS = 100
HOW_TO_GET_IT = "Chromium is not installed: apt install chromium"
FLAGS = (
    "--headless=new", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
    "--disable-background-networking", "--remote-debugging-port=0", "--hide-scrollbars",
)  # fmt: skip


def program() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def dies_with(parent_pid: int) -> Callable[[], None]:
    """What a browser does at its start, so that a test that is killed leaves none behind."""
    return lambda: None if end_with_parent(parent_pid, signal.SIGKILL) else os._exit(1)


class Browser:
    """One browser with one page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # What the page has logged as errors, exceptions and violations of its policy included.
        self.errors: list[str] = []
        # Addresses that it has asked for.
        self.requested: list[str] = []
        self._loaded = asyncio.Event()

    async def __aenter__(self) -> Self:
        found = program()
        assert found is not None, HOW_TO_GET_IT
        sandbox = ("--no-sandbox",) if os.getuid() == 0 else ()
        self._process = await asyncio.create_subprocess_exec(
            found, *FLAGS, *sandbox, f"--user-data-dir={self._folder / 'profile'}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
            preexec_fn=dies_with(os.getpid()),
        )  # fmt: skip
        port_file = self._folder / "profile" / "DevToolsActivePort"
        await until(lambda: port_file.exists() and "\n" in port_file.read_text(), "the browser runs")
        port = int(port_file.read_text().splitlines()[0])
        self._http = aiohttp.ClientSession()
        async with self._http.get(f"http://127.0.0.1:{port}/json/list") as listed:
            target = next(each for each in await listed.json() if each["type"] == "page")
        self._socket = await self._http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Performance"):
            await self.call(f"{domain}.enable")
        # Without its buffers, which would be counted as the page's memory.
        await self.call("Network.enable", maxTotalBufferSize=0, maxResourceBufferSize=0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await self._socket.close()
        await self._http.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
                continue
            match told["method"], told["params"]:
                case "Runtime.exceptionThrown", {"exceptionDetails": details}:
                    self.errors.append(str(details.get("exception", details).get("description", details)))
                case "Log.entryAdded", {"entry": {"level": "error", "text": text}}:
                    self.errors.append(text)
                case "Page.loadEventFired", _:
                    self._loaded.set()
                case "Network.requestWillBeSent", {"request": {"url": url}}:
                    self.requested.append(url)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call the protocol; AssertionError when it refuses."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        told = await answer
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to an address, and wait until it has been read."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:
        """The value of a script in the page."""
        told = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str, what: str) -> Any:
        """Wait until a script's value is true; the value. AssertionError that names `what`
        when it never is."""
        look = f"new Promise(done => {{ const look = () => {{ const found = ({script}); "
        look += f"found ? done(found) : setTimeout(look, {LOOK_MS}) }}; look() }})"
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.evaluate(look)
        except TimeoutError:
            raise AssertionError(f"never came true: {what}; errors: {self.errors}") from None

    async def look(self, width: int, height: int, *, dark: bool = False, mobile: bool = False) -> None:
        """Be a screen of this size, that is light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def memory_mb(self) -> tuple[float, float]:
        """MB that the page's own process has to itself (USS), and of its script's heap after a collection."""
        await self.call("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in (await self.call("Performance.getMetrics"))["metrics"]}
        renderers = [
            child.memory_full_info().uss
            for child in psutil.Process(self._process.pid).children(recursive=True)
            if "--type=renderer" in child.cmdline() and "--extension-process" not in child.cmdline()
        ]
        return max(renderers) / 1e6, metrics["JSHeapUsedSize"] / 1e6
