"""A control socket answers whatever it is asked: in one line, and raises nothing."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from structlog.testing import capture_logs

from engine.errors import ConfigError
from engine.net.control_socket import REQUEST_BYTES_MAX, NobodyListens, ask, serve_control

Run = Callable[[Coroutine[Any, Any, None]], None]
COMMANDS = {
    "status": lambda request: {"seen": len(request)},
    "refuse": lambda request: _raise(ConfigError("no such order")),
    "break": lambda request: {"count": len(request["ids"])},
}


def _raise(error: Exception) -> Any:
    raise error


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[Path, list[dict[str, Any]]]]:
    """A control socket, and what the loop was told of exceptions that nobody caught."""
    loose: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loose.append(context))
    listening = await serve_control(folder / "control", COMMANDS)
    try:
        yield folder / "control", loose
    finally:
        listening.close()


async def send(path: Path, raw: bytes) -> list[bytes]:
    """Whatever bytes, and every line that comes back."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(raw)
    await writer.drain()
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer.splitlines()


STRANGE = {
    "60,000 brackets": b"[" * 60_000 + b"\n",
    "60,000 objects": b'{"command":' * 5_000 + b"\n",
    "brackets in a field": b'{"command":"status","x":' + b"[" * 60_000 + b"]" * 1_000 + b"}\n",
    "a huge line": b'{"command":"' + b"x" * 10_000_000 + b'"}\n',
    "a huge line without an end": b"x" * 1_000_000,
    "a line as long as the limit": b"x" * REQUEST_BYTES_MAX + b"\n",
    "binary": bytes(range(256)) * 10 + b"\n",
    "wrong UTF-8": b'{"command":"\xff\xfe"}\n',
    "nothing": b"\n",
    "half a line": b'{"command":"sta',
    "a list": b'["status"]\n',
    "a number": b"5\n",
    "null": b"null\n",
    "a command that is a list": b'{"command":["status"]}\n',
    "a command that is an object": b'{"command":{"a":1}}\n',
    "an unknown command": b'{"command":"reboot"}\n',
    "an absurd number": b'{"command":' + b"9" * 5_000 + b"}\n",
    "a refusal": b'{"command":"refuse"}\n',
    "a fault of ours": b'{"command":"break","ids":5}\n',
}


@pytest.mark.parametrize("raw", STRANGE.values(), ids=STRANGE)
def test_whatever_is_sent_is_answered_with_one_sentence(run: Run, tmp_path: Path, raw: bytes):
    """One line with an error, nothing raised in the loop, and the next who asks is served."""
    answers: list[list[bytes]] = []
    uncaught: list[dict[str, Any]] = []

    async def scenario() -> None:
        async with server(tmp_path) as (path, loose):
            answers.append(await send(path, raw))
            answers.append(await send(path, b'{"command":"status"}\n'))
            uncaught.extend(loose)

    with capture_logs():
        run(scenario())

    (line,), after = answers
    assert list(msgspec.json.decode(line)) == ["error"]
    assert len(line) < 300
    assert after == [b'{"seen":1}']
    assert uncaught == []


@pytest.mark.parametrize("answer", [b"[" * 60_000, b"\xff\xfe", b"5", b"[]", b"", b"x" * 1000])
def test_what_is_no_answer_is_said_to_be_none(tmp_path: Path, answer: bytes):
    """Something else listens behind the socket: a sentence, not a traceback."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "control"))
    listening.listen()

    def reply() -> None:
        connection, _ = listening.accept()
        connection.recv(1000)
        connection.sendall(answer + b"\n" if answer else b"")
        connection.close()

    replying = threading.Thread(target=reply)
    replying.start()
    with pytest.raises(NobodyListens):
        ask(tmp_path / "control", {"command": "status"})
    replying.join()
    listening.close()


def test_a_loop_that_ends_while_an_answer_is_awaited_says_nothing(tmp_path: Path):
    """Python 3.11 tells of the canceled task with a traceback."""
    loose: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: loose.append(context))
        asked = asyncio.Event()

        async def wait(_: Any) -> dict[str, Any]:
            asked.set()
            await asyncio.Event().wait()
            return {}

        server = await serve_control(tmp_path / "control", {"wait": wait})
        client.connect(str(tmp_path / "control"))
        client.send(b'{"command":"wait"}\n')
        await asked.wait()
        server.close()

    with socket.socket(socket.AF_UNIX) as client, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert loose == []
