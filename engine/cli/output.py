"""Standard output that cannot be written: given up, so that nobody fails by it later."""

import os
import sys
from typing import Final

STDOUT_FD: Final = 1


def give_up_output() -> None:
    """Send to nowhere what is printed from now on, and what waits in Python's buffers.

    For output that fails, and for output that blocks: a thread may stay behind in a write to the old stream, whose
    buffer the end of the process must then not flush.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT_FD)
    os.close(nowhere)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # open for as long as the process lives
