"""Whether the strategies of a configuration can be loaded, as `engine run` does first of
all.

They are loaded in a process of their own: no code of theirs runs where the key is.
"""

import os
from contextlib import suppress
from typing import Final, NoReturn

from engine.config import Config
from engine.credentials import take_environment
from engine.doctor import Finding, Level
from engine.errors import EngineError
from engine.processes.notice_secrets import take_variables
from engine.strategy_host.loading import holders, make_strategies

NAME: Final = "strategies"
WELL: Final = b"\0"  # no sentence begins with it
SAID_BYTES_MAX: Final = 4096  # what a pipe takes at once


def strategy_findings(config: Config) -> list[Finding]:
    """Load every strategy with its parameters; one finding, or none without a strategy."""
    if not config.strategies:
        return []
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _load(config, writing)
    os.close(writing)
    os.waitpid(pid, 0)
    os.set_blocking(reading, False)  # a process that a strategy's code has started may hold the other end
    said = b""
    with suppress(BlockingIOError):
        said = os.read(reading, SAID_BYTES_MAX)
    os.close(reading)
    if said.startswith(WELL):
        return [Finding(NAME, Level.OK, f"loaded: {said[1:].decode(errors='replace')}")]
    why = (
        said.decode(errors="replace")
        or "the process that loads them ended before they were loaded; run `engine run` to see why"
    )
    return [Finding(NAME, Level.FAILURE, why)]


def _load(config: Config, writing: int) -> NoReturn:
    """Say what came of it, and end this process, whatever a strategy's code does in it."""
    try:
        with suppress(EngineError):  # whoever looks for the key says what is wrong with it
            take_environment()
            take_variables(config.notices.targets)
        os.dup2(2, 1)  # what a strategy prints is no part of the answer
        try:
            strategies = make_strategies(config, config.symbols, lambda *_, **__: None)
            holders(strategies)
            said = WELL + ", ".join(named.name for named in strategies).encode()
        except EngineError as error:
            said = str(error).encode(errors="replace")
        os.write(writing, said[:SAID_BYTES_MAX])
    finally:
        os._exit(0)
