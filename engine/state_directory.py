"""The state directory of one engine: what must outlive its process.

$XDG_STATE_HOME/kraken-engine/NAME                 mode 0700; ~/.local/state when the variable is not set
    run                 number of the last run
    NNNNNNNN.journal    the order router's journal
    history.sqlite      the same for people
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.units import NS_PER_S

NAME = re.compile(r"[a-z0-9_-]{1,32}")  # of an engine: it becomes a part of paths
NAME_RULE = "1 to 32 characters of a-z, 0-9, _ and -"
RUN_FILE = "run"
RUN_DIGITS_MAX = 20
RUN_MAX = 36**6 - 1  # of what fits into a client order id
RUNS_LEFT_MIN = 1_000_000  # a file that leaves fewer is damaged
HISTORY_FILE = "history.sqlite"
EPOCH_S = 1_735_689_600  # 2025-01-01: a run's number is the seconds since then, or one more than the last


def state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory for all engines of this user; raises ConfigError when the user has no
    home.

    As in the XDG Base Directory Specification, a variable that is not an absolute path is
    ignored.
    """
    base = environment.get("XDG_STATE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "kraken-engine"
    try:
        if environment.get("HOME") == "":
            raise RuntimeError
        return Path.home() / ".local" / "state" / "kraken-engine"
    except RuntimeError:
        raise ConfigError(
            "this user has no home directory to keep the engine's state in; set XDG_STATE_HOME to an absolute path"
        ) from None


def default_state_dir(name: str) -> Path:
    """The default state directory of the engine of this name."""
    return state_root() / name


def next_run(state_dir: Path) -> int:
    """The number of a run that begins: larger than all before, and stored before it is
    used.

    It counts seconds since 2025, so it grows even when the file is lost, and by one when
    the clock was set back.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = state_dir / RUN_FILE
        text = path.read_bytes()[:RUN_DIGITS_MAX].strip() if path.exists() else b"0"
        last = int(text) if text.isdigit() else 0
        if last > RUN_MAX - RUNS_LEFT_MIN:  # no clock told that
            last = 0
        run = max(last + 1, SystemClock().wall_ns() // NS_PER_S - EPOCH_S)
        new = path.with_suffix(".new")
        with open(new, "w", opener=_owner_only) as file:
            file.write(f"{run}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigError(
            f"the state directory {state_dir} cannot be written ({(error.strerror or str(error)).lower()}); "
            "choose another with trading.state_dir or XDG_STATE_HOME"
        ) from None
    return run


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
