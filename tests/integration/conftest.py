"""Fixtures: engines that end with their test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.rig import COMMANDS, Engines


@pytest.fixture(scope="session", autouse=True)
def commands() -> Iterator[None]:
    """The program behind `Engines.call` ends with the tests."""
    yield
    COMMANDS.close()


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    """Starts engines; whatever still runs at the end of the test is killed."""
    engines = Engines(tmp_path)
    yield engines
    engines.close()
