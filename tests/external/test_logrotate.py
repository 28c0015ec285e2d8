"""logrotate itself, with our recipe, under a running engine."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.rig import CALM, Engines
from tests.waiting import eventually

pytestmark = pytest.mark.external
RECIPE = Path(__file__).parents[2] / "tools" / "deploy" / "logrotate.conf"
COUNTING = Path(__file__).parents[1] / "integration" / "strategies" / "counting.py"
TURNS = 3


def test_the_recipe_loses_no_line(engines: Engines, tmp_path: Path) -> None:
    """Renamed, compressed a turn later, and every number is in one of the files, once."""
    logrotate = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if logrotate is None:
        pytest.skip("logrotate is not installed: apt install logrotate")
    log = tmp_path / "log-0.txt"
    text = RECIPE.read_text().replace("/var/log/kraken-engine/*.log", str(log))
    (tmp_path / "logrotate.conf").write_text("\n".join(line for line in text.splitlines() if " su " not in line) + "\n")
    engine = engines.start(*CALM, "--strategy", COUNTING, "--log-format", "json")
    engine.wait_until_live()
    for _ in range(TURNS):
        eventually(lambda: '"counted"' in log.read_text(), "it counts, in the file of now")
        command = (logrotate, "--force", "--state", str(tmp_path / "state"), str(tmp_path / "logrotate.conf"))
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        eventually(log.exists, "a new file is begun")
    assert engine.stop() == 0

    newest = [log.with_name(f"{log.name}.{turn}.gz") for turn in range(TURNS, 1, -1)]
    texts = [gzip.decompress(path.read_bytes()).decode() for path in newest]
    texts += [log.with_name(f"{log.name}.1").read_text(), log.read_text()]
    lines = [json.loads(line) for text in texts for line in text.splitlines() if line.startswith("{")]
    numbers = [line["number"] for line in lines if line["event"] == "counted"]
    assert numbers == list(range(1, len(numbers) + 1))
