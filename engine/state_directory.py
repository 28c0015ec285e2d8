"""The state directory of one engine: what must outlive it.

$XDG_STATE_HOME/kraken-engine/NAME                 mode 0700; ~/.local/state when the variable is not set
    run                 number of the last run
    NNNNNNNN.journal    the order router's journal
    history.sqlite      the same for people
"""

import os
from pathlib import Path

from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.units import NS_PER_S

RUN_FILE = "run"
HISTORY_FILE = "history.sqlite"
EPOCH_S = 1_735_689_600  # 2025-01-01: runs are numbered by seconds since then, or one more than the last


def default_state_dir(name: str) -> Path:
    """Where the state of the engine of this name lives."""
    base = os.environ.get("XDG_STATE_HOME")
    root = Path(base) if base else Path.home() / ".local" / "state"
    return root / "kraken-engine" / name


def next_run(state_dir: Path) -> int:
    """The number of a run that begins: larger than all before, and written down before it is used.

    It counts in seconds since 2025, so it grows even when the file is lost, and by one when the clock was set back.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = state_dir / RUN_FILE
        text = path.read_text() if path.exists() else "0"
        last = int(text) if text.strip().isdigit() else 0
        run = max(last + 1, SystemClock().wall_ns() // NS_PER_S - EPOCH_S)
        new = path.with_suffix(".new")
        with new.open("w") as file:
            file.write(f"{run}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigError(
            f"the state directory {state_dir} cannot be written ({(error.strerror or str(error)).lower()}); "
            "choose another with trading.state_dir"
        ) from None
    return run
