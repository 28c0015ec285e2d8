"""What systemd's own program says of the unit, and an engine behind its filter of system calls."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.confined import SYSCALL_NUMBERS
from tests.deploy.rig import ROOT, UNIT, skip_without_mdwe, trades_in_its_sandbox
from tests.integration.rig import Engines

pytestmark = pytest.mark.external
EXPOSURE_MAX = 1.5  # of 10; what is left is mostly the network itself


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; the test is left out when it is not installed."""
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("systemd-analyze is not installed: apt install systemd")
    return subprocess.run((path, *map(str, arguments)), capture_output=True, text=True)


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """The unit of one engine, with a program that is there."""
    program = Path(sys.executable).parent / "engine"
    path = tmp_path / "kraken-engine@my-bot.service"
    path.write_text(UNIT.read_text().replace("/opt/kraken-engine/bin/engine", str(program)))
    return path


def test_systemd_knows_every_directive(instance: Path) -> None:
    """It says nothing: no unknown name, no value that it would ignore."""
    checked = analyze("verify", instance)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    instance.write_text(instance.read_text().replace("LockPersonality", "LockedPersonality"))
    assert "LockedPersonality" in analyze("verify", instance).stderr  # it would say so


def test_little_is_left_exposed(instance: Path) -> None:
    """The figure of `systemd-analyze security`."""
    told = analyze("security", "--offline=true", instance).stdout
    (figure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert float(figure) <= EXPOSURE_MAX, told


def test_the_engine_trades_behind_the_filter_of_system_calls(engines: Engines) -> None:
    """The kernel refuses every call that the unit does not name, in every process of the run."""
    analyze("--version")
    skip_without_mdwe()
    if not SYSCALL_NUMBERS.exists():
        pytest.skip(f"{SYSCALL_NUMBERS} is not there: apt install linux-libc-dev")
    trades_in_its_sandbox(engines, "--with-calls")
    tries = "import os\ntry: os.chroot('/')\nexcept PermissionError: print('refused')"
    command = (sys.executable, "-m", "tests.deploy.confined", "--with-calls", str(UNIT), sys.executable, "-c", tries)
    assert subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout == "refused\n"
