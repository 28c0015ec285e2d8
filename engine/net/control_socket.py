"""A control socket: one JSON object asks, one answers, each on a line.

    {"command":"status"}                    ─►  the summary, as `--summary` writes it
    {"command":"cancel","ids":["…"]}        ─►  {"canceling":1}

A Unix socket in the run directory, mode 0600, and only for this user's processes. A command that cannot be carried
out answers {"error":"one sentence"}.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import EngineError

REQUEST_BYTES_MAX = 64 * 1024
ANSWER_DEADLINE_S = 5.0
_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid; unix(7)

Request = dict[str, Any]
Answer = dict[str, Any]
Command = Callable[[Request], Answer | Awaitable[Answer]]


class NobodyListens(EngineError):
    """There is no process behind the socket, or it does not answer."""


async def serve_control(
    path: Path, commands: Mapping[str, Command], deadline_s: float = ANSWER_DEADLINE_S
) -> asyncio.AbstractServer:
    """Answer commands until the server is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(deadline_s):
                if _uid_of_peer(writer) == os.getuid():
                    writer.write(msgspec.json.encode(await _answer(await reader.readline(), commands)) + b"\n")
                    await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    old_mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(answer, str(path), limit=REQUEST_BYTES_MAX)
    finally:
        os.umask(old_mask)


def ask(path: Path, request: Request, deadline_s: float = ANSWER_DEADLINE_S) -> Answer:
    """The answer of the process behind the socket; NobodyListens when there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(deadline_s)
        try:
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            with sock.makefile("rb") as lines:
                answer = lines.readline()
        except TimeoutError:
            raise NobodyListens(f"no answer within {deadline_s:.0f} s") from None
        except OSError:
            raise NobodyListens("nobody listens") from None
    if not answer:
        raise NobodyListens("no answer")
    decoded: Answer = msgspec.json.decode(answer)
    return decoded


async def _answer(line: bytes, commands: Mapping[str, Command]) -> Answer:
    try:
        request = msgspec.json.decode(line)
        command = commands[request["command"]]
    except (msgspec.DecodeError, KeyError, TypeError):
        return {"error": f"not a command; there are {', '.join(sorted(commands))}"}
    try:
        answer = command(request)
        return await answer if isinstance(answer, Awaitable) else answer
    except EngineError as error:
        return {"error": str(error)}


def _uid_of_peer(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    uid: int = _PEER_CREDENTIALS.unpack(credentials)[1]
    return uid
