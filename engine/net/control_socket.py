"""A control socket: one JSON object as request, one as answer, each on a line.

    {"command":"status"}                    ─►  {"map":{…},"facts":{…}}, and descriptors
    {"command":"cancel","ids":["…"]}        ─►  {"canceling":1}

An answer may bring descriptors of shared memory (`Shared`), so that the asker reads there
what would cost the asked process too much to tell. They come beside the first bytes.

A Unix socket in the run directory, mode 0600, and only for this user's processes. A request
that cannot be carried out, whatever it is, gets {"error":"one sentence"}.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from engine.errors import EngineError

REQUEST_BYTES_MAX = 64 * 1024
_TOO_LONG = f"a command has at most {REQUEST_BYTES_MAX} bytes"
ANSWER_DEADLINE_S = 5.0
_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid; unix(7)

DESCRIPTORS_MAX = 200  # in one message; the kernel takes 253

Request = dict[str, Any]
Answer = dict[str, Any]


class Shared(NamedTuple):
    """An answer with descriptors, which stay the answering process's own."""

    answer: Answer
    descriptors: Sequence[int]


Command = Callable[[Request], Answer | Shared | Awaitable[Answer]]


log = structlog.get_logger("control_socket")


class NobodyListens(EngineError):
    """There is no process behind the socket, or it does not answer."""


async def serve_control(
    path: Path, commands: Mapping[str, Command], deadline_s: float = ANSWER_DEADLINE_S
) -> asyncio.AbstractServer:
    """Answer commands until the server is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Canceled only when its loop ends. Python 3.11 would print a traceback of that.
        with suppress(OSError, TimeoutError, ValueError, asyncio.CancelledError):
            async with asyncio.timeout(deadline_s):
                if _uid_of_peer(writer) == os.getuid():
                    line = await _read_line(reader)
                    answered: Answer | Shared = {"error": _TOO_LONG} if line is None else await _answer(line, commands)
                    if isinstance(answered, Shared):
                        _send_descriptors(writer, answered.descriptors)
                        answered = answered.answer
                    writer.write(msgspec.json.encode(answered) + b"\n")
                    await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    old_mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(answer, str(path), limit=REQUEST_BYTES_MAX)
    finally:
        os.umask(old_mask)


def ask(path: Path, request: Request, deadline_s: float = ANSWER_DEADLINE_S) -> Answer:
    """The answer of the process behind the socket; raises NobodyListens when there is none."""
    answer, descriptors = ask_shared(path, request, deadline_s)
    for fd in descriptors:
        os.close(fd)
    return answer


def ask_shared(path: Path, request: Request, deadline_s: float = ANSWER_DEADLINE_S) -> Shared:
    """The same, with the descriptors that came, which are the caller's to close."""
    text, descriptors = bytearray(), list[int]()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(deadline_s)
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            while not text.endswith(b"\n"):
                chunk, came, _, _ = socket.recv_fds(sock, REQUEST_BYTES_MAX, DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC)
                descriptors += came
                if not chunk:
                    break
                text += chunk
        return Shared(_decoded(bytes(text)), descriptors)
    except (OSError, NobodyListens) as error:
        for fd in descriptors:
            os.close(fd)
        if isinstance(error, NobodyListens):
            raise
        late = isinstance(error, TimeoutError)
        raise NobodyListens(f"no answer within {deadline_s:.0f} s" if late else "nobody listens") from None


def _decoded(text: bytes) -> Answer:
    if not text:
        raise NobodyListens("no answer")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except _UNREADABLE:
        raise NobodyListens("what came is no answer") from None


def _send_descriptors(writer: asyncio.StreamWriter, descriptors: Sequence[int]) -> None:
    """Send descriptors before the text of an answer, each lot beside a space, which means
    nothing there. Nothing was written yet, so the socket has room for it.
    """
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
        for first in range(0, len(descriptors), DESCRIPTORS_MAX):
            socket.send_fds(sock, [b" "], list(descriptors[first : first + DESCRIPTORS_MAX]))


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


async def _read_line(reader: asyncio.StreamReader) -> bytes | None:
    """The request, or None when it is too long.

    Its end is waited for even then, so that the caller can read the answer.
    """
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        while chunk := await reader.read(REQUEST_BYTES_MAX):
            if b"\n" in chunk:
                break
        return None


async def _answer(line: bytes, commands: Mapping[str, Command]) -> Answer | Shared:
    try:
        request = msgspec.json.decode(line)
        command = commands[request["command"]]
    except (*_UNREADABLE, KeyError, TypeError):
        return {"error": f"not a command; there are {', '.join(sorted(commands))}"}
    try:
        answer = command(request)
        return await answer if isinstance(answer, Awaitable) else answer
    except EngineError as error:
        return {"error": str(error)}
    except Exception as error:  # an error of our own must not leave the caller without an answer
        log.exception("a command failed", command=request["command"])
        return {"error": f"the command failed: {type(error).__name__}; the log says more"}


def _uid_of_peer(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    uid: int = _PEER_CREDENTIALS.unpack(credentials)[1]
    return uid
