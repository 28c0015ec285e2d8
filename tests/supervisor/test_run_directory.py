"""Whether an engine runs: who may not know is never told that none does."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from engine.cli.past import check_name
from engine.errors import ConfigError
from engine.supervisor.run_directory import RunDirectory
from tests.other_user import as_somebody_else

ROUNDS = 400


def test_an_engine_of_another_user_is_not_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`engine stop --if-running` would be content, and `engine halt` would halt nothing."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    running, another = RunDirectory("mine"), RunDirectory("another")
    assert (another.holder(), another.others()) == (None, [])
    running.acquire()
    assert (running.holder(), another.holder(), another.others()) == (str(os.getpid()), None, ["mine"])
    with as_somebody_else(tmp_path / "kraken-engine"):
        for ask in (running.holder, another.holder, another.others):
            with pytest.raises(ConfigError, match=r"cannot be seen: .*: permission denied; ask as the user who runs"):
                ask()
    running.release()


def test_a_state_that_may_not_be_looked_into_is_not_said_to_be_none(tmp_path: Path) -> None:
    """An engine that holds something would be told to hold nothing."""
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    check_name("mine", folder)
    check_name("mine", tmp_path / "nowhere")
    with as_somebody_else(folder), pytest.raises(PermissionError):
        check_name("mine", folder)


def test_engines_that_start_and_end_at_once_are_not_in_one_anothers_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one removes what all share; and who asks whether one runs is no engine."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    over = Event()

    def live(name: str) -> None:
        for _ in range(ROUNDS):
            directory = RunDirectory(name)
            directory.acquire()
            assert directory.control_path.parent.is_dir()
            directory.release()

    def look() -> None:
        while not over.is_set():
            RunDirectory("a").others()

    with ThreadPoolExecutor() as threads:
        looking = threads.submit(look)
        lives = [threads.submit(live, name) for name in ("a", "b", "c")]
        try:
            for each in lives:
                each.result()
        finally:
            over.set()
        looking.result()
    assert not (tmp_path / "kraken-engine").exists()
