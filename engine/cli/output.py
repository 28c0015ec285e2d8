"""The standard streams of a process: made fit for any text, and standard output given up
when it cannot be written, so that nothing fails by it later.
"""

import io
import os
import sys
from typing import Final

STDOUT_FD: Final = 1
STANDARD_STREAMS: Final = 3


def give_up_output() -> None:
    """Discard what is printed from now on, and what waits in Python's buffers.

    For output that fails and for output that blocks: a thread may be blocked in a write to
    the old stream, whose buffer must then not be flushed at the end of the process.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT_FD)
    os.close(nowhere)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # open for as long as the process lives


def prepare_streams() -> None:
    """Open all three standard streams, and have them print any text as well as they can.

    A stream that the caller has closed would leave its number to the next file or socket,
    which would then get the text meant for people.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) < STANDARD_STREAMS:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # open for as long as the process lives
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
