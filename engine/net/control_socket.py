"""A control socket: one JSON object as request, one as answer, each on a line.

    {"command":"status"}                    ─►  the summary, as `--summary` writes it
    {"command":"cancel","ids":["…"]}        ─►  {"canceling":1}

A Unix socket in the run directory, mode 0600, and only for this user's processes. A request
that cannot be carried out, whatever it is, gets {"error":"one sentence"}. Descriptors may
come with an answer: they arrive with its first byte (SCM_RIGHTS, unix(7)).
"""

import array
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
DESCRIPTORS_MAX = 253  # of one message, by the kernel (SCM_MAX_FD)
_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid; unix(7)

Request = dict[str, Any]
Answer = dict[str, Any]


class Handover(NamedTuple):
    """An answer that comes with descriptors; they are closed here once they are sent."""

    answer: Answer
    descriptors: Sequence[int]


Command = Callable[[Request], Answer | Handover | Awaitable[Answer]]


log = structlog.get_logger("control_socket")


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
                    line = await _read_line(reader)
                    answered = _line({"error": _TOO_LONG}) if line is None else await _answer(line, commands)
                    if isinstance(answered, Handover):
                        answered = _hand_over(writer, answered)
                    writer.write(answered)
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
    answer, descriptors = ask_for_descriptors(path, request, deadline_s)
    for fd in descriptors:
        os.close(fd)
    return answer


def ask_for_descriptors(
    path: Path, request: Request, deadline_s: float = ANSWER_DEADLINE_S
) -> tuple[Answer, list[int]]:
    """The answer, and the descriptors that came with it, which the caller owns; raises
    NobodyListens when there is none.
    """
    descriptors: list[int] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(deadline_s)
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            first, descriptors = _receive_first(sock)
            with sock.makefile("rb") as lines:
                line = first if first.endswith(b"\n") else first + lines.readline()
        return _decoded(line), descriptors
    except (OSError, NobodyListens) as error:
        for fd in descriptors:
            os.close(fd)
        if isinstance(error, TimeoutError):
            raise NobodyListens(f"no answer within {deadline_s:.0f} s") from None
        if isinstance(error, OSError):
            raise NobodyListens("nobody listens") from None
        raise


def _decoded(line: bytes) -> Answer:
    if not line:
        raise NobodyListens("no answer")
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except _UNREADABLE:
        raise NobodyListens("what came is no answer") from None


def _receive_first(sock: socket.socket) -> tuple[bytes, list[int]]:
    """The first byte of an answer, and the descriptors that came with it."""
    fds = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS_MAX * fds.itemsize)
    first, ancillary, _, _ = sock.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return first, list(fds)


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


def _line(answer: Answer) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


def _hand_over(writer: asyncio.StreamWriter, handover: Handover) -> bytes:
    """Send the first byte with the descriptors; returns the bytes that are left to send."""
    line = _line(handover.answer)
    try:
        # The loop's own object has no sendmsg; nothing of this answer is in its buffer yet.
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
            socket.send_fds(sock, [line[:1]], list(handover.descriptors))
    finally:
        for fd in handover.descriptors:
            os.close(fd)
    return line[1:]


async def _answer(line: bytes, commands: Mapping[str, Command]) -> bytes | Handover:
    try:
        request = msgspec.json.decode(line)
        command = commands[request["command"]]
    except (*_UNREADABLE, KeyError, TypeError):
        return _line({"error": f"not a command; there are {', '.join(sorted(commands))}"})
    try:
        answer = command(request)
        if isinstance(answer, Handover):
            return answer
        return _line(await answer if isinstance(answer, Awaitable) else answer)
    except EngineError as error:
        return _line({"error": str(error)})
    except Exception as error:  # an error of our own must not leave the caller without an answer
        log.exception("a command failed", command=request["command"])
        return _line({"error": f"the command failed: {type(error).__name__}; the log says more"})


def _uid_of_peer(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    uid: int = _PEER_CREDENTIALS.unpack(credentials)[1]
    return uid
