"""What the tests of tools/deploy share: its files, namespaces, and an engine in the sandbox of the unit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.rig import CALM, ENGINE, Engines, RunningEngine, summary_of
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "tools" / "deploy"
UNIT = DEPLOY / "systemd" / "kraken-engine@.service"
PAGE = ROOT / "engine" / "docs" / "deployment.md"
QUOTER = ROOT / "engine" / "strategy" / "examples" / "quoter.py"

# A PID namespace of its own, whose PID 1 is the command that follows; it ends with `unshare`.
UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


def instructions() -> list[tuple[str, str]]:
    """The container recipe as (instruction, rest), without comments, lines joined."""
    text = (DEPLOY / "container" / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2]) for line in whole.splitlines() if line.strip()]


def all_of(name: str) -> list[str]:
    """What stands behind every instruction of that name."""
    return [rest for instruction, rest in instructions() if instruction == name]


def skip_without_mdwe() -> None:
    """Leave a test out on a kernel without PR_SET_MDWE."""
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    if (int(major), int(minor)) < (6, 3):
        pytest.skip(f"Linux {major}.{minor} cannot deny executable memory by prctl; 6.3 can")


def confined(*options: str) -> tuple[str, ...]:
    """What puts a command behind it into the sandbox of the unit."""
    return (sys.executable, "-m", "tests.deploy.confined", *options, str(UNIT))


def run_confined(engines: Engines, *options: str) -> RunningEngine:
    """An engine in the sandbox, with everything that can run beside it."""
    log = (engines.folder / "log-confined.txt").open("w")
    command = (*confined(*options), *ENGINE, "run", *map(str, CALM), "--strategy", str(QUOTER), "--metrics", "0",
               "--page", "--summary", str(engines.folder / "out.json"))  # fmt: skip
    environment = engines.environment | {"PYTHONPATH": str(ROOT)}
    with log:
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True, cwd=engines.folder, env=environment)
    engines.adopt(process)
    return RunningEngine(engines, process)


def trades_in_its_sandbox(engines: Engines, *options: str) -> None:
    """It is filled, looked at, stopped in order, and its records agree."""
    engine = run_confined(engines, *options)
    engine.wait_for(lambda status: status["fills"] >= 3, "it is filled")
    for what in ("page", "metrics"):
        eventually(lambda what=what: f"{what} of the engine named default at http" in engines.logs(), what)
    assert engine.stop() == 0
    summary = summary_of(engines.folder / "out.json")
    assert summary["ledger"]["agree"], summary["ledger"]
    assert set(summary["restarts"].values()) == {0}
    log = engines.logs()
    assert "[error" not in log, log
