"""The files that the container recipe copies are enough to build and install the engine, extension and all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.rig import ROOT, all_of

pytestmark = pytest.mark.external


def test_the_copied_files_make_an_engine(tmp_path: Path) -> None:
    """As the builder stage does it, in an environment of its own; it needs a C compiler and a package index."""
    source, home = tmp_path / "src", tmp_path / "opt"
    for rest in all_of("COPY"):
        *sources, target = rest.split()
        if sources[0].startswith("--"):
            continue
        for name in sources:
            place = source / (name if target == "./" else target)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
            else:
                shutil.copy(ROOT / name, place)
    subprocess.run((sys.executable, "-m", "venv", home), check=True)
    environment = os.environ | {"PIP_CONSTRAINT": str(source / "tools" / "constraints.txt")}
    built = subprocess.run(
        (home / "bin" / "pip", "install", "--quiet", ".[metrics,page]"), cwd=source, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    if "No matching distribution" in built.stderr or "Could not find a version" in built.stderr:
        pytest.skip("there is no package index to install from")
    assert built.returncode == 0, built.stderr[-3000:]
    check = all_of("RUN")[2].partition('-c "')[2].rstrip('"')
    assert "native" in check
    subprocess.run((home / "bin" / "python", "-P", "-c", check), cwd="/", check=True)
    asked = subprocess.run((home / "bin" / "engine", "settings"), cwd="/", capture_output=True, text=True)
    assert asked.returncode == 0
    assert "[trading]" in asked.stdout
