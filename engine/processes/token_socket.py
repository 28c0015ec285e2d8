"""Requests for a WebSocket token to the order router, through its Unix socket in the run
directory.
"""

import asyncio
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import EngineError
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS
from engine.net.control_socket import NobodyListens
from engine.orders.refusal import ErrorKind
from engine.secret import Secret

ASK_DEADLINE_S: Final = 15.0  # a token's request may take 10 s
ANSWER_BYTES_MAX: Final = 64 * 1024

# Tokens that this process was given, so that its logs are searched for them.
_given_to_us: deque[Secret] = deque(maxlen=4)


class NoToken(EngineError):
    """No token is available. The text says why, and when the next attempt is made."""

    def __init__(self, text: str, kind: ErrorKind = ErrorKind.TRANSPORT, lockout_ns: int = LOCKOUT_PAUSE_NS) -> None:
        """`kind` is the kind of Kraken's error; `lockout_ns` the rest of a lockout."""
        super().__init__(text)
        self.kind = kind
        self.lockout_ns = lockout_ns


async def ask_token(path: Path, deadline_s: float = ASK_DEADLINE_S) -> str:
    """Ask the router behind the socket for a fresh token. Raises NoToken, or NobodyListens
    without a router.
    """
    try:
        async with asyncio.timeout(deadline_s):
            line = await _ask(path)
    except TimeoutError:
        raise NobodyListens(f"the order router gives no token within {deadline_s:g} s") from None
    except (OSError, ValueError):
        raise NobodyListens("the order router is not there to give a token") from None
    try:
        answer = msgspec.json.decode(line, type=dict[str, str])
    except msgspec.DecodeError:
        raise NobodyListens("the order router gave no token") from None
    if "token" not in answer:
        raise NoToken(answer.get("error", "the order router gave no token"))
    _given_to_us.append(Secret(answer["token"]))
    return answer["token"]


async def _ask(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES_MAX)
    try:
        writer.write(b'{"command":"token"}\n')
        return await reader.readline()
    finally:
        writer.close()
