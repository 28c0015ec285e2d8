"""`engine new`: what it writes runs as it is, its tests pass, and live trading waits for the user's limits."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.cli.setup.new import FILES, KINDS, new
from engine.config import load_config
from engine.errors import ConfigError
from tests.integration.rig import PATIENCE_S, Engines, summary_of


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_strategy_pass(engines: Engines, tmp_path: Path, kind: str) -> None:
    """They run it on the built-in exchange; from the folder above too, in a project that imports otherwise."""
    made = engines.call("new", "bots/my-own", "--from", kind)
    folder = tmp_path / "bots" / "my-own"
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n')
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder], capture_output=True, text=True,
        timeout=PATIENCE_S, cwd=tmp_path, env=engines.environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip

    assert (made.returncode, made.stderr) == (0, "")
    assert {*FILES, "pytest.ini", ".gitignore"} <= {path.name for path in folder.iterdir()}
    assert load_config(folder).name == "my-own"
    assert "my-bot" not in "".join(path.read_text() for path in folder.iterdir() if path.is_file())
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_program_is_told_what_was_written(engines: Engines, tmp_path: Path) -> None:
    """One object with each file."""
    told = json.loads(engines.call("new", "bots/my-own", "--json").stdout)

    assert (told["name"], told["from"]) == ("my-own", "market-maker")
    assert {tmp_path / file for file in told["files"]} == set((tmp_path / "bots" / "my-own").iterdir())


def test_a_new_strategy_runs_as_it_is_by_one_flag(engines: Engines, tmp_path: Path) -> None:
    """On the built-in exchange at once; live not before its limits are set by the user."""
    engines.call("new", "my-own")
    engine = engines.start("my-own", "--venue", "local", "--name", "default", "--summary", tmp_path / "out.json")
    engine.wait_for(lambda status: status["fills"], "it is filled")
    assert engine.stop() == 0, engines.logs()
    summary = summary_of(tmp_path / "out.json")
    live = engines.call("run", "my-own", "--venue", "live")

    assert summary["ledger"]["agree"]
    assert [conduct["errors"] for conduct in summary["strategies"].values()] == [0]
    assert live.returncode == 2
    assert "risk.order_notional_max is missing" in live.stderr


def test_nothing_is_written_over(engines: Engines, tmp_path: Path) -> None:
    """Neither a folder with something in it nor a file; an empty folder is filled."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.py").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()

    for name in ("full", "file"):
        refused = engines.call("new", name)
        assert refused.returncode == 2
        assert "is there already" in refused.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.py"]
    assert (tmp_path / "file").read_text() == "mine"
    assert engines.call("new", "empty").returncode == 0
    assert engines.call("new", "empty").returncode == 2


@pytest.mark.parametrize("name", ["My Bot", "bot!", "x" * 33, "/"])
def test_a_name_that_cannot_be_an_engines_is_one_sentence(engines: Engines, tmp_path: Path, name: str) -> None:
    """And nothing is written."""
    refused = engines.call("new", name)

    assert refused.returncode == 2
    assert "1 to 32 characters" in refused.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_kind_that_there_is_not_names_those_that_there_are(engines: Engines) -> None:
    """One sentence."""
    refused = engines.call("new", "bot", "--from", "arbitrage")

    assert refused.returncode == 2
    assert all(kind in refused.stderr for kind in KINDS)


def test_the_local_venue_never_reads_the_real_key(engines: Engines, tmp_path: Path) -> None:
    """The same configuration trades there while its key lies beside it, or lies there badly."""
    engines.call("new", "bot")
    key = tmp_path / "bot" / "kraken-key.toml"
    key.write_text(f'api_key = "{"a" * 56}"\napi_secret = "c2VjcmV0"\n')
    key.chmod(0o644)  # of which a router that read it would say so
    engine = engines.start("bot", "--venue", "local", "--name", "default")
    engine.wait_for(lambda status: status["orders"]["acknowledged"], "an order was acknowledged")

    assert engine.stop() == 0
    assert "the local venue" in engines.logs()


def test_a_full_disk_leaves_no_half_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be in the way of the next attempt."""
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            new.main(["my-bot"], standalone_mode=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_writes_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another `engine new` of the same name, say: what this one has written is removed, and nothing else."""
    monkeypatch.chdir(tmp_path)
    theirs, opened = list(FILES)[1], Path.open

    def open_late(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == theirs:
            os.close(os.open(path, os.O_CREAT))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_late)
    with pytest.raises(ConfigError, match=f"{theirs} has come to be there meanwhile"):
        new.main(["my-bot"], standalone_mode=False)

    assert [(path.name, path.read_bytes()) for path in (tmp_path / "my-bot").iterdir()] == [(theirs, b"")]
