"""The process that sends notices, at the death of an engine's."""

import subprocess
import sys
from pathlib import Path

import psutil

from tests.notices.receiver import receiver
from tests.waiting import PATIENCE_S, eventually


def test_an_engine_that_is_still_dying_when_it_is_looked_for_is_told(tmp_path: Path) -> None:
    """Its sockets are closed before the kernel gives its children another parent."""
    secret, config = tmp_path / "secret", tmp_path / "engine.toml"
    config.write_text(
        'symbols = ["BTC/USD"]\n'
        '[[notices.target]]\nname = "phone"\nkind = "slack"\nsecret_file = "secret"\nevery_s = 1\n'
    )
    with receiver() as target:
        secret.write_text(target.url)
        secret.chmod(0o600)
        engine = subprocess.run(
            [sys.executable, "-m", "tests.notices.dying_engine", config],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        )  # fmt: skip
        pid, notices_pid = map(int, engine.stdout.split())
        told = target.wait_for(" stop: ")

        assert f"the engine's process (pid {pid}) has died without a word" in told
        eventually(lambda: not psutil.pid_exists(notices_pid), "it is not left behind")
