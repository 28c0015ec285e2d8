"""The process of an engine that dies slowly: its sockets are closed, and for a moment it is still there.

python -m tests.notices.dying_engine engine.toml
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

import psutil

from engine.clock import SystemClock
from engine.config import load_config
from engine.processes.notice_secrets import hand_over
from engine.readable import is_readable
from engine.supervisor.notices import Notices

# From the one to the other a process under load may need tens of milliseconds.
LAST_MOMENT_S = 0.3


async def main(path: Path) -> None:
    """Start the process that sends notices, and die when it asks for the engine."""
    control_path = path.parent / "control"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(control_path))
        server.listen()
        server.setblocking(False)
        notices = Notices(load_config(path), "ws://127.0.0.1:1/v2", True, control_path, hand_over({}), SystemClock())
        notices.onlooker.start()
        connection, _ = await asyncio.get_running_loop().sock_accept(server)
        connection.close()
    (child,) = psutil.Process().children()
    print(os.getpid(), child.pid, flush=True)
    is_readable(os.pidfd_open(child.pid), timeout_s=LAST_MOMENT_S)  # its end would be too early
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
