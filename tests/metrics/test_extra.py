"""Without the extra there is one sentence, and how to get it."""

import importlib.util

import click
import pytest

from engine.cli.onlookers.metrics import metrics
from engine.config import Config, override
from engine.errors import ConfigError
from engine.supervisor.run import Run


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch):
    """An installation without extras."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_the_command_says_how_to_install_it():
    with pytest.raises(ConfigError, match=r"pip install 'kraken-engine\[metrics\]'"):
        metrics.main(["--port", "0"], standalone_mode=False)
    assert isinstance(metrics, click.Command)


def test_a_run_says_so_before_it_begins():
    """Not when the market is open already."""
    run = Run(override(Config(), {}, **{"metrics.port": 0}))
    with pytest.raises(ConfigError, match=r"^metrics.port needs the package prometheus-client; install it with"):
        run.begin(0)
