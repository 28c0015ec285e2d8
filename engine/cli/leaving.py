"""How a command's process ends: with its exit code, whatever strategies left behind.

Threads that are no daemons, executors and atexit handlers of a plugin keep a process alive;
`leave` gives them LEAVE_S. A command that ran no strategy simply exits.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

EXIT_FAILED: Final = 1
LEAVE_S: Final = 5.0  # for what strategies left behind: threads that are no daemons, atexit handlers
LEAVE_MARGIN_S: Final = 2.0  # more, for a thread that keeps the interpreter's lock


class _Left:
    """What strategy code in this process may have left running."""

    # Writes a last line to the log and waits until it is out; None while no strategy's code
    # has run.
    say: Callable[[str], None] | None = None


def expect_leftovers(say: Callable[[str], None]) -> None:
    """Give `leave` a deadline from now on; `say` writes the line that reports a late end."""
    _Left.say = say


def leave(code: int) -> NoReturn:
    """End the process with this exit code, within LEAVE_S of whatever strategies left
    behind.
    """
    if _Left.say is not None:
        threading.Thread(target=_end_late, args=(code, _Left.say), name="leave", daemon=True).start()
        with suppress(OSError, ValueError, RuntimeError):
            faulthandler.dump_traceback_later(LEAVE_S + LEAVE_MARGIN_S, exit=True)
    sys.exit(code)


def _end_late(code: int, say: Callable[[str], None]) -> None:
    time.sleep(LEAVE_S)
    ours = (threading.main_thread(), threading.current_thread())
    threads = [thread.name for thread in threading.enumerate() if not thread.daemon and thread not in ours]
    what = f"thread {', '.join(threads)}" if threads else "atexit handler"
    say(f"engine: a strategy's {what} kept the process for {LEAVE_S:g} s after its end; it is ended\n")
    os._exit(code)
