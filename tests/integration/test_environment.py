"""Keys and tokens in the environment: no strategy and no child gets to see them, whatever the run is for."""

import json
from pathlib import Path

import pytest

from tests.integration.rig import CALM, CAPTURES, Engines

SPY = """
import json
import os
from pathlib import Path

import psutil
from engine import Strategy


def environments():
    yield dict(os.environ)
    for child in psutil.Process().children(recursive=True):
        yield child.environ()


class Spy(Strategy):
    def on_start(self):
        Path("seen.json").write_text(json.dumps(list(environments())))
"""
SECRETS = {"KRAKEN_API_KEY": "the-public-part", "KRAKEN_API_SECRET": "c2VjcmV0", "KRAKEN_NOTICE_PHONE": "a-token"}


@pytest.mark.parametrize(
    "command",
    [
        ("run", *CALM, "--symbols", "BTC/USD", "--seconds", "1"),
        ("replay", str(CAPTURES / "capture_crossbook_kraken_btcusd_sample.jsonl")),
    ],
    ids=lambda command: command[0],
)
def test_a_run_without_a_use_for_them_forgets_them(engines: Engines, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Play money and a replay need no key, and leave none lying about."""
    (tmp_path / "spy.py").write_text(SPY)
    done = engines.call(*command, "--strategy", "spy.py", **SECRETS)
    seen = json.loads((tmp_path / "seen.json").read_text())

    assert done.returncode == 0, done.stderr
    assert len(seen) > (1 if command[0] == "run" else 0)
    assert [names for names in (SECRETS.keys() & each.keys() for each in seen) if names] == []
