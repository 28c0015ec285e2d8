"""What shows, logs or tells never ends what trades; and what the system refuses at start is one sentence."""

import fcntl
import os
import resource
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.supervisor.run_directory import RunDirectory
from tests.integration.rig import CALM, ENGINE, PATIENCE_S, Engines, eventually, summary_of

QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"
PIPE_BYTES_MIN = 4096  # fcntl(2): the smallest pipe there is


def trading_run(engines: Engines, tmp_path: Path, *more: object) -> Sequence[str]:
    """`engine run` on the local venue, quoting, with a view."""
    return (
        *ENGINE, "run", *CALM, "--symbols", "BTC/USD", "--strategy", str(QUOTER), "--view",
        "--summary", str(tmp_path / "out.json"), *map(str, more),
    )  # fmt: skip


def run_until_it_has_traded(
    engines: Engines, tmp_path: Path, command: Sequence[str], **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run it until an order has left, and end it with `engine stop`."""
    output, errors = tmp_path / "output", tmp_path / "errors"
    with output.open("w") as out, errors.open("w") as err:
        run = subprocess.Popen(command, **{"stdout": out, "stderr": err, "env": engines.environment} | options)
    try:
        eventually(
            lambda: run.poll() is not None or engines.status().get("orders", {}).get("acknowledged"), "it has traded"
        )
        assert run.poll() is None, errors.read_text()
        engines.call("stop")
        run.wait(PATIENCE_S)
    finally:
        run.kill()
    return subprocess.CompletedProcess(command, run.returncode, output.read_text(), errors.read_text())


def assert_it_traded_to_its_end(tmp_path: Path) -> None:
    """Orders went out, and every record of them agrees."""
    summary = summary_of(tmp_path / "out.json")
    assert summary["exit"] == "clean"
    assert summary["orders"]["submitted"] > 0
    assert summary["ledger"]["agree"], summary["ledger"]["differences"]


@pytest.mark.parametrize("shell", ["| head -1", "> /dev/full", "<&- >&- 2>&-"])
def test_output_that_nobody_takes_ends_the_view_alone(engines: Engines, tmp_path: Path, shell: str) -> None:
    """A reader that has seen enough, a full disk, a stream that is closed: the run goes on to its end."""
    command = shlex.join(trading_run(engines, tmp_path))
    done = run_until_it_has_traded(engines, tmp_path, ["bash", "-o", "pipefail", "-c", f"{command} {shell}"])

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert_it_traded_to_its_end(tmp_path)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["", "keys", "settings", "watch BTC/USD --venue local --json"])
def test_a_full_disk_under_the_output_is_one_sentence(engines: Engines, arguments: str, unbuffered: str) -> None:
    """Exit code 1, not 2: what the command did is done, however much it had to print."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            (*ENGINE, *arguments.split()), stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S,
            env=engines.environment | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.stderr == "engine: standard output cannot be written (no space left on device)\n"
    assert done.returncode == 1


def test_a_terminal_that_cannot_print_a_sign_gets_another(engines: Engines, tmp_path: Path) -> None:
    """µ and · are no ASCII."""
    ascii_only = engines.environment | {"PYTHONIOENCODING": "ascii"}
    done = run_until_it_has_traded(engines, tmp_path, trading_run(engines, tmp_path), env=ascii_only)

    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout
    assert_it_traded_to_its_end(tmp_path)


def test_pipes_that_nobody_reads_stop_nobody(engines: Engines, tmp_path: Path) -> None:
    """Both pipes are full after some lines: everything trades on, ends in time, and reports."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES_MIN)
    command = trading_run(engines, tmp_path, "--log-level", "debug")
    done = run_until_it_has_traded(engines, tmp_path, command, stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)

    assert done.returncode == 0
    assert_it_traded_to_its_end(tmp_path)


def refused(engines: Engines, *arguments: str, **options: Any) -> str:
    """The one sentence of an `engine run` that the system refuses."""
    done = subprocess.run(
        (*ENGINE, "run", *CALM, "--symbols", "BTC/USD", "--log-level", "error", *arguments),
        capture_output=True, text=True, timeout=PATIENCE_S, **{"env": engines.environment} | options,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("engine: ")
    return sentence


@pytest.mark.parametrize("most", [12, 24, 48])
def test_too_few_descriptors_is_one_sentence(engines: Engines, most: int) -> None:
    """Whether the limit stops the command itself or a later step of its start."""
    sentence = refused(engines, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))

    assert "ulimit -n" in sentence


def test_a_soft_limit_on_descriptors_is_raised(engines: Engines, tmp_path: Path) -> None:
    """What may be raised is raised: a login's 24 of 4,096 are no reason to refuse."""
    done = run_until_it_has_traded(
        engines, tmp_path, trading_run(engines, tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 4096)),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert_it_traded_to_its_end(tmp_path)


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME"])
def test_a_directory_that_cannot_be_made_is_named_with_its_variable(
    engines: Engines, tmp_path: Path, variable: str
) -> None:
    """/proc is a file system where nobody makes directories."""
    config = tmp_path / "live.toml"
    config.write_text(
        'symbols = ["BTC/USD"]\n[trading]\nenabled = true\n[risk]\norder_notional_max = 1\nposition_notional_max = 1\n'
        "daily_loss_max = 1\n"
    )
    done = subprocess.run(
        (*ENGINE, "run", str(config), "--venue", "live", "--log-level", "error"),
        capture_output=True, text=True, timeout=PATIENCE_S,
        env=engines.environment | {variable: "/proc", "KRAKEN_API_KEY": "k" * 56, "KRAKEN_API_SECRET": "c2VjcmV0" * 8},
    )  # fmt: skip

    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert "/proc/kraken-engine" in sentence
    assert variable in sentence or "state_dir" in sentence


@pytest.mark.parametrize("place", ["/proc", "."])
def test_a_summary_that_cannot_be_written_is_refused_before_the_run(engines: Engines, place: str) -> None:
    """A run of hours would end without one."""
    sentence = refused(engines, "--summary", place)

    assert "is a directory" in sentence
    assert not list(engines.runtime.glob("kraken-engine*"))


@pytest.mark.parametrize("place", ["it.jsonl", "settings.toml", "bot.py", "link.json"])
def test_a_summary_never_replaces_what_the_run_reads(engines: Engines, tmp_path: Path, place: str) -> None:
    """A recording, a configuration, a strategy; by another name of the file, too."""
    for name in ("it.jsonl", "settings.toml", "bot.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "link.json").symlink_to("it.jsonl")
    reads = ("replay", "it.jsonl", "--config", "settings.toml", "--strategy", "bot.py")
    done = engines.call(*reads, "--summary", place)

    assert (done.returncode, f"--summary {place} is a file that the run itself reads" in done.stderr) == (2, True)
    assert (tmp_path / place).read_text() == ""


def test_a_summary_into_a_pipe_that_nobody_reads_is_given_up(engines: Engines, tmp_path: Path) -> None:
    """Everything has a deadline, the last words too."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sentence = refused(engines, "--seconds", "0.1", "--summary", str(pipe))

    assert f"--summary {pipe} cannot be written: nobody took it for 5 s" in sentence


def test_a_run_directory_that_depends_on_where_one_stands_is_taken_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`engine stop` from another directory must find the engine; XDG says the same."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "here")

    assert RunDirectory("it").path == Path(f"/tmp/kraken-engine-{os.getuid()}/it")


def test_settings_prints_a_configuration_that_is_taken(engines: Engines, tmp_path: Path) -> None:
    """An installed engine has no examples in sight: the command prints the one with every setting."""
    settings = engines.call("settings")
    (tmp_path / "my.toml").write_text(settings.stdout)
    run = engines.call("run", tmp_path / "my.toml", *CALM, "--seconds", 1)

    assert "order_notional_max" in settings.stdout
    assert run.returncode == 0, run.stderr
