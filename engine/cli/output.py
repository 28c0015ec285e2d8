"""The standard streams of a process: made fit for any text, and standard output given up
when it cannot be written, so that nothing fails by it later.
"""

import io
import os
import sys
from typing import Any, Final

STDOUT_FD: Final = 1
STANDARD_OUTPUT: Final = "standard output"  # the `filename` of its errors
STANDARD_STREAMS: Final = 3


class _StandardOutput(io.FileIO):
    """Says of its errors that they are its own: with other files, an error may leave
    nothing behind that another write would show.
    """

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            error.filename = STANDARD_OUTPUT
            raise


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
    if isinstance(sys.stdout, io.TextIOWrapper) and _is_stdout(sys.stdout):
        sys.stdout = _named(sys.stdout)
        vars(sys)["__stdout__"] = sys.stdout  # kept there, as the one before it was: see `give_up_output`


def _is_stdout(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.fileno() == STDOUT_FD
    except OSError:
        return False


def _named(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    raw = _StandardOutput(STDOUT_FD, "w", closefd=False)
    stream.flush()
    return io.TextIOWrapper(
        # PYTHONUNBUFFERED: nothing is kept.
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
