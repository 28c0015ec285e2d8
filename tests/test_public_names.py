"""What `import engine` gives, and what `engine --help` does without."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine

HEAVY = ("aiohttp", "asyncio", "msgspec", "picows", "rich", "sortedcontainers", "ssl", "structlog", "uvloop")


@pytest.mark.parametrize("name", engine.__all__)
def test_a_public_name_is_where_a_checker_looks_for_it(name: str) -> None:
    """It is imported when it is asked for, from the module that the source names for type checkers."""
    tree = ast.parse(Path(engine.__file__).read_text())
    (home,) = (
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == name
    )

    assert getattr(engine, name) is getattr(sys.modules[str(home)], name)
    assert name in dir(engine)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = engine.Nonsense


TAB = {"_ENGINE_COMPLETE": "bash_complete", "COMP_WORDS": "engine st", "COMP_CWORD": "1"}


@pytest.mark.parametrize(("environment", "told"), [({}, "Usage: engine"), (TAB, "plain,status")], ids=["help", "tab"])
def test_help_and_completion_load_nothing_of_the_engine(environment: dict[str, str], told: str) -> None:
    """A shell asks at each Tab; click alone answers."""
    program = (
        "import sys; sys.argv = ['engine', '--help']\n"
        "import atexit; atexit.register(lambda: print('\\n'.join(sys.modules)))\n"
        "from engine.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, env=os.environ | environment
    )
    loaded = set(done.stdout.splitlines())

    assert told in done.stdout
    assert "click" in loaded
    assert not loaded & set(HEAVY)
