"""The built-in exchange as a child process of one run: with a market of its own, or with
Kraken's for paper trading.
"""

import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Final, Literal

import msgspec
from msgspec import Struct

from engine.config import Config
from engine.errors import ConfigError
from engine.telemetry.log import write_line

END_S: Final = 20.0  # after SIGTERM; then it is killed
LOCAL: Final = "local"
PAPER: Final = "paper"
RATE: Final = "1000"  # book messages a second: a busy day on three pairs


class VenueReady(msgspec.Struct):
    """The line that the local venue prints when it takes connections."""

    public: str
    private: str
    rest: str
    api_key: str
    api_secret: str


class VenuePlan(Struct, frozen=True):
    """Which built-in exchange to start."""

    kind: Literal["local", "paper"]
    options: tuple[str, ...]
    """Of `engine venue`."""


def venue_plan(venue: str | None, options: str, config: Config) -> VenuePlan | None:
    """The built-in exchange that `--venue` names; None if it names another venue.

    `options` is the text of --venue-options, which takes precedence. On paper the market is
    the configured one. The local venue lists all pairs that it knows, so that further ones
    can be subscribed at run time. Raises ConfigError for options that are not a valid
    command line.
    """
    if options and venue not in (LOCAL, PAPER):
        raise ConfigError("--venue-options are those of the local or paper venue; leave them out, or use one of these")
    level = config.log.levels.get(PAPER, config.log.level) if venue == PAPER else config.log.level
    common = ("--log-level", level, "--log-format", config.log.format)
    try:
        chosen = shlex.split(options)
    except ValueError as error:  # a quotation mark that stands alone, or a backslash at the end
        raise ConfigError(f"--venue-options {options!r} cannot be read as a command line: {error}") from None
    if venue == LOCAL:
        return VenuePlan(LOCAL, (*common, "--also", "--rate", RATE, *chosen))
    if venue == PAPER:
        ca_file = config.venue.ca_file
        authorities = ("--ca-file", ca_file) if ca_file is not None else ()
        return VenuePlan(PAPER, (*common, "--mirror", config.venue.url, *authorities, *chosen))
    return None


class LocalVenue:
    """The built-in exchange, from its start to the end of the run."""

    def __init__(self, symbols: Sequence[str], plan: VenuePlan) -> None:
        """Start it with these pairs."""
        self.kind = plan.kind
        # Its log is copied to ours, by who closes the pipe of it.
        self._is_relayed = False
        command = (sys.executable, "-P", "-m", "engine", "venue", "--port", "0", "--die-with-parent")
        self.process = subprocess.Popen(
            (*command, "--symbols", ",".join(symbols), *plan.options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            text=True,
        )

    def ready(self) -> VenueReady:
        """Wait until it accepts connections. Raises ConfigError with the venue's own
        sentence if it could not start.
        """
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            with self.process.stderr:
                told = self.process.stderr.read().strip().splitlines()
            sentence = told[-1].removeprefix("engine: ") if told else "it ended without a word"
            raise ConfigError(f"the {self.kind} venue cannot run: {sentence}")
        self._is_relayed = True
        threading.Thread(target=_relay, args=(self.process.stderr,), name="venue-log", daemon=True).start()
        try:
            return msgspec.json.decode(line, type=VenueReady)
        except msgspec.DecodeError:
            raise ConfigError(
                f"the {self.kind} venue cannot run: its options have it print something else than its addresses; look "
                "at --venue-options"
            ) from None

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
        if self.process.stderr is not None and not self._is_relayed:
            self.process.stderr.close()


def _relay(lines: IO[str]) -> None:
    """Copy the venue's log to ours: a full pipe would stop it."""
    with lines:
        for line in lines:
            write_line(line)
