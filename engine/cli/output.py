"""Giving up standard output that cannot be written, so that nothing fails by it later."""

import os
import sys
from typing import Final

STDOUT_FD: Final = 1


def give_up_output() -> None:
    """Discard what is printed from now on, and what waits in Python's buffers.

    For output that fails and for output that blocks: a thread may be blocked in a write to
    the old stream, whose buffer must then not be flushed at the end of the process.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT_FD)
    os.close(nowhere)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # open for as long as the process lives
