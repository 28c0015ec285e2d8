"""Lines of the log, and streams that do not take them."""

import io
import os
import re
import subprocess
import sys
import threading

import pytest

from engine.telemetry.log import LINES_WAITING_MAX, LineWriter


def test_lines_are_written_in_order():
    """Everything that was handed over before `drain` is in the stream when it returns."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    for number in range(100):
        writer.write(f"{number}\n")

    assert writer.drain()
    assert stream.getvalue() == "".join(f"{number}\n" for number in range(100))


def test_a_pipe_that_nobody_reads_blocks_nobody_and_what_is_lost_is_counted():
    """Twice the lines that may wait: `write` returns for each, and later lines say how many
    were lost.
    """
    reader, writing_end = os.pipe()
    stream = os.fdopen(writing_end, "w")
    writer = LineWriter(stream)
    line = "x" * 200 + "\n"
    for _ in range(2 * LINES_WAITING_MAX):
        writer.write(line)

    assert not writer.drain(0)
    assert writer.lost > 0
    received = io.StringIO()

    def read_all() -> None:
        with os.fdopen(reader) as file:
            received.write(file.read())

    reading = threading.Thread(target=read_all)
    reading.start()
    assert writer.drain(60)
    writer.write("after them\n")
    assert writer.drain(60)
    stream.close()
    reading.join()
    said = re.findall(r"\((\d+) lines of the log were lost", received.getvalue())
    assert sum(map(int, said)) == writer.lost
    assert received.getvalue().count(line) == 2 * LINES_WAITING_MAX - writer.lost


def test_a_closed_stream_loses_lines_and_raises_nothing():
    """A terminal that went away."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    stream.close()
    writer.write("gone\n")

    assert writer.drain()


STREAM_OF_THE_USERS = """
import sys

class Lines:
    def write(self, text):
        sys.stdout.write(text)

    def flush(self):
        pass

sys.stderr = {stream}
import structlog
from engine.telemetry.log import configure_log, drain_log
configure_log("info", "console", "engine", is_guest=True)
structlog.get_logger("engine").info("hello")
assert drain_log(60)
"""


@pytest.mark.parametrize(("stream", "written"), [("None", False), ("Lines()", True)])
def test_standard_error_may_be_closed_or_anything_that_writes(stream: str, written: bool) -> None:
    """A service without it, or a program that puts an object of its own there."""
    program = STREAM_OF_THE_USERS.replace("{stream}", stream)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert ("hello" in done.stdout) is written
