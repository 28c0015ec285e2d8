"""The engine as PID 1, as in a container: it becomes the parent of all, and nothing else.

    PID 1 ── engine (a fork of it) ── public_feed, private_feed, order_router, …
      │  signals ─► engine
      └─ reaps whatever lost its parent

The kernel ends every process of a container with its PID 1. So where the engine is killed,
PID 1 stays until the order router has ended its orders, as it would on a host.
"""

import os
import signal
from collections.abc import Iterator
from typing import Final

FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
OTHERS_DEADLINE_S: Final = 45.0  # for the router of a killed engine: as long as `engine stop` waits for it


def stay_parent() -> None:
    """Return in a process that is not PID 1: at once, or as the child of what was PID 1,
    which never returns and exits as the child does.
    """
    if os.getpid() != 1:
        return
    # Blocked, so that none is lost between here and where they are waited for.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGCHLD))
    engine = os.fork()
    if engine == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os._exit(_exit_code_of(engine))


def _exit_code_of(engine: int) -> int:
    """Forward signals and reap until the engine has ended; where it was killed, until all
    have.
    """
    status = None
    while status is None:
        number = signal.sigwaitinfo((*FORWARDED, signal.SIGCHLD)).si_signo
        if number == signal.SIGCHLD:
            status = dict(_reaped()).get(engine)
        else:
            os.kill(engine, number)  # it is not reaped yet, so the number is still its own
    if os.WIFSIGNALED(status):
        _wait_for_the_others()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _wait_for_the_others() -> None:
    # A further SIGTERM asks for nothing that is not under way.
    while _has_children() and signal.sigtimedwait((signal.SIGCHLD,), OTHERS_DEADLINE_S) is not None:
        list(_reaped())


def _reaped() -> Iterator[tuple[int, int]]:
    """Pid and wait status of each child that has ended, which are no zombies any more."""
    try:
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield ended
    except ChildProcessError:
        return


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
