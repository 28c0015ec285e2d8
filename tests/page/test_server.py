"""Who may read the page: nobody without its token, nobody by another name of this host."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.errors import ConfigError
from engine.page.server import PageServer

Check = Callable[[aiohttp.ClientSession, PageServer, str], Coroutine[Any, Any, None]]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[PageServer, str]]:
    """A page of an engine that does not run, and its address."""
    server = PageServer(folder / "control", folder / "router")
    try:
        yield server, await server.start(0)
    finally:
        await server.close()


def run(folder: Path, check: Check) -> None:
    """Run a check against a page."""

    async def main() -> None:
        async with served(folder) as (server, url), aiohttp.ClientSession() as session:
            await check(session, server, url)

    asyncio.run(main())


WITHOUT_TOKEN = [
    "",
    "data",
    "page.js",
    "x/",
    "x/data",
    "x/page.js",
    "x/plotly.js",
    "/",
    "favicon.ico",
    "%2e%2e/",
    "\u00fc/",
]


@pytest.mark.parametrize("path", WITHOUT_TOKEN)
def test_without_the_token_there_is_nothing(tmp_path: Path, path: str):
    """Whatever is asked for: 403, and no word of what there is."""

    async def check(session: aiohttp.ClientSession, server: PageServer, url: str) -> None:
        root = url.removesuffix(f"{server.token}/")
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            async with session.request(method, root + path, allow_redirects=False) as answer:
                assert answer.status == 403
                assert "Access-Control-Allow-Origin" not in answer.headers
                assert server.token not in await answer.text()

    run(tmp_path, check)


@pytest.mark.parametrize("cut", [slice(0, -1), slice(1, None), slice(0, 0)])
def test_a_token_that_is_nearly_right_is_wrong(tmp_path: Path, cut: slice):
    async def check(session: aiohttp.ClientSession, server: PageServer, url: str) -> None:
        async with session.get(url.replace(server.token, server.token[cut] + "x")) as answer:
            assert answer.status == 403

    run(tmp_path, check)


HOSTS = {
    "127.0.0.1": 200, "127.0.0.1:8080": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:80": 200, "[::1]": 200,
    "evil.example": 403, "127.0.0.1.evil.example": 403, "evil.example:127": 403, "localhost.evil": 403, "[::2]": 403,
    "0.0.0.0": 403, "@localhost": 403, "": 403, "127.0.0.1:80:80": 403,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_another_name_of_this_host_is_refused(tmp_path: Path, host: str):
    """A site that points its own name at loopback gets nothing, even with the token."""

    async def check(session: aiohttp.ClientSession, server: PageServer, url: str) -> None:
        async with session.get(url, headers={"Host": host}) as answer:
            assert answer.status in ((HOSTS[host],) if host else (400, 403))

    run(tmp_path, check)


def test_with_it_each_part_comes_with_its_rules(tmp_path: Path):
    """A policy that lets nothing in from elsewhere, no cookies, nothing that may be changed."""

    async def check(session: aiohttp.ClientSession, server: PageServer, url: str) -> None:
        for name, kind in (("", "text/html"), ("page.js", "text/javascript"), ("page.css", "text/css"),
                           ("plotly.js", "text/javascript"), ("data", "application/json")):  # fmt: skip
            async with session.get(url + name) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'")
                assert "frame-ancestors 'none'" in policy
                assert "unsafe-eval" not in policy
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert {"Set-Cookie", "Access-Control-Allow-Origin"} & answer.headers.keys() == set()
        for method, name, status in (
            ("POST", "", 405), ("PUT", "data", 405), ("DELETE", "data", 405), ("GET", "nothing", 404),
            ("GET", "data?since=x", 400), ("GET", "data?since=" + "9" * 5000, 400),
        ):  # fmt: skip
            async with session.request(method, url + name) as answer:
                assert answer.status == status
                assert "Content-Security-Policy" in answer.headers

    run(tmp_path, check)


def test_it_listens_on_loopback_alone_and_two_have_different_tokens(tmp_path: Path):
    async def check(session: aiohttp.ClientSession, server: PageServer, url: str) -> None:
        assert url.startswith("http://127.0.0.1:")
        async with served(tmp_path) as (other, _):
            assert other.token != server.token
            assert len(server.token) >= 43
        async with session.get(url + "data") as answer:
            assert await answer.json() == {"is_running": False, "rows": []}

    run(tmp_path, check)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path):
    async def check(_: aiohttp.ClientSession, __: PageServer, url: str) -> None:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*choose another one with --port"):
            await PageServer(tmp_path / "control", tmp_path / "router").start(port)

    run(tmp_path, check)


def test_what_cannot_be_read_is_answered_and_never_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A log of such a request would hold the token, when that was in it."""

    async def check(session: aiohttp.ClientSession, server: PageServer, url: str) -> None:
        port = int(url.split(":")[2].partition("/")[0])
        for first in (
            b"GET /x?\xff",
            b"OPTIONS *",
            b"GET http://[/x",
            b"GET /" + server.token.encode() + b"/data?\xff",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await reader.readline()
            assert answer.split()[1] == (b"403" if first == b"OPTIONS *" else b"400"), first
            writer.close()

    run(tmp_path, check)
    assert capfd.readouterr() == ("", "")
