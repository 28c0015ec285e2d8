"""Without the extra there is one sentence, and how to get it."""

import importlib.util

import pytest

from engine.cli.onlookers.page import page
from engine.config import Config, override
from engine.errors import ConfigError
from engine.supervisor.run import Run


def test_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    """The command's, and a run's before it begins."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"`engine page` needs the package plotly; .*'kraken-engine\[page\]'"):
        page.main([], standalone_mode=False)
    with pytest.raises(ConfigError, match=r"^page.port needs the package plotly; install it with"):
        Run(override(Config(), {}, **{"page.port": 0})).begin(0)
