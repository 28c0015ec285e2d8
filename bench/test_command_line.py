"""How long `engine --help` takes, from the shell's point of view: an interpreter, click, and
the names of the commands.

Target: 200 ms. The baseline is a Python that imports click, measured in turn with it; the
least of each counts, because both do the same work every time.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from rig import ENGINE

ROUNDS = 15


def took_ms(command: Sequence[str]) -> float:
    """One run of a command, to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def test_help(benchmark: Any) -> None:
    """`engine --help` beside `import click`."""
    help_ms, click_ms = [], []
    for _ in range(ROUNDS):
        help_ms.append(took_ms((*ENGINE, "--help")))
        click_ms.append(took_ms((sys.executable, "-P", "-c", "import click")))
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(
        help_ms=round(min(help_ms), 1), click_ms=round(min(click_ms), 1), ratio=round(min(help_ms) / min(click_ms), 2)
    )
