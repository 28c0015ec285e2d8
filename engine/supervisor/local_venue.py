"""The built-in exchange as a child process of one run."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

import msgspec

from engine.errors import ConfigError
from engine.telemetry.log import write_line

END_S = 20.0  # after SIGTERM; then it is killed
RATE = "1000"  # book messages a second: a busy day on three pairs


class VenueReady(msgspec.Struct):
    """The line that the local venue prints when it takes connections."""

    public: str
    private: str
    rest: str
    api_key: str
    api_secret: str


class LocalVenue:
    """The built-in exchange, from its start to the end of the run."""

    def __init__(self, symbols: Sequence[str], options: Sequence[str]) -> None:
        """Start it with these pairs; it lists all others that it knows too, for who
        subscribes at run time. `options` are those of `engine venue`."""
        command = (sys.executable, "-P", "-m", "engine", "venue", "--port", "0", "--die-with-parent")
        # The user's options come last and win.
        self.process = subprocess.Popen(
            (*command, "--symbols", ",".join(symbols), "--also", "--rate", RATE, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            text=True,
        )

    def ready(self) -> VenueReady:
        """Wait until it takes connections; raises ConfigError with the venue's own sentence
        if it could not start.
        """
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            with self.process.stderr:
                told = self.process.stderr.read().strip().splitlines()
            sentence = told[-1].removeprefix("engine: ") if told else "it ended without a word"
            raise ConfigError(f"the local venue cannot run: {sentence}")
        threading.Thread(target=_relay, args=(self.process.stderr,), name="venue-log", daemon=True).start()
        return msgspec.json.decode(line, type=VenueReady)

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _relay(lines: IO[str]) -> None:
    """Copy the venue's log to ours: a full pipe would stop it."""
    with lines:
        for line in lines:
            write_line(line)
