"""Makes bench/rig.py importable by the benchmarks, and lets bench/judge.py choose some by
name.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--row FILE::NAME`, once or several times: only these. A name that there is not is no
    error here; who asked for it misses its result.
    """
    parser.addoption("--row", action="append", default=[], metavar="FILE::NAME", help="run this benchmark only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for."""
    if rows := config.getoption("--row"):
        items[:] = [item for item in items if item.nodeid.partition("/")[2] in rows]
