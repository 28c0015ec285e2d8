"""The control socket: one JSON object asks, one answers, each on a line.

    {"command":"status"}  ─►  the summary, as `--summary` writes it
    {"command":"stop"}    ─►  {"stopping":true,"pid":4711}

A Unix socket in the run directory, mode 0600, and only for this user's processes.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from engine.errors import ConfigError
from engine.supervisor.run_directory import RunDirectory

REQUEST_BYTES_MAX = 4096
ANSWER_DEADLINE_S = 5.0
_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid; unix(7)

Command = Callable[[], dict[str, Any]]


async def serve_control(directory: RunDirectory, commands: dict[str, Command]) -> asyncio.AbstractServer:
    """Answer commands until the server is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                if _uid_of_peer(writer) == os.getuid():
                    writer.write(_answer(await reader.readline(), commands) + b"\n")
                    await writer.drain()
        writer.close()

    path = str(directory.control_path)
    old_mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(answer, path, limit=REQUEST_BYTES_MAX)
    finally:
        os.umask(old_mask)


def ask(name: str, command: str) -> dict[str, Any]:
    """Ask the running engine of this name; ConfigError, with the mend, when there is none."""
    directory = RunDirectory(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_DEADLINE_S)
        try:
            sock.connect(str(directory.control_path))
            sock.sendall(msgspec.json.encode({"command": command}) + b"\n")
            with sock.makefile("rb") as lines:
                answer = lines.readline()
        except TimeoutError:
            raise ConfigError(f"the engine named {name} does not answer within {ANSWER_DEADLINE_S:.0f} s") from None
        except OSError:
            raise ConfigError(f"no engine named {name} is running; start one with `engine run`") from None
    if not answer:
        raise ConfigError(f"the engine named {name} did not answer; is it another user's?")
    decoded: dict[str, Any] = msgspec.json.decode(answer)
    return decoded


def _answer(request: bytes, commands: dict[str, Command]) -> bytes:
    try:
        command = commands[msgspec.json.decode(request)["command"]]
    except (msgspec.DecodeError, KeyError, TypeError):
        return msgspec.json.encode({"error": f"not a command; there are {', '.join(sorted(commands))}"})
    return msgspec.json.encode(command())


def _uid_of_peer(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    uid: int = _PEER_CREDENTIALS.unpack(credentials)[1]
    return uid
