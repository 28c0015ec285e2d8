"""The container recipe: what is copied, what is run, and whether the engine needs what it is not given."""

import fnmatch
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from engine.cli.main import COMMANDS
from engine.secret.private_text import DIRECTORY_VARIABLE
from engine.state_directory import default_state_dir
from engine.supervisor.run_directory import RunDirectory
from tests import reference
from tests.deploy.rig import DEPLOY, PAGE, ROOT, UNSHARE, all_of
from tests.integration.rig import CALM, ENGINE, Engines, RunningEngine, summary_of
from tests.waiting import PATIENCE_S, eventually

FOLDER = DEPLOY / "container"


def settings() -> dict[str, str]:
    """The environment of the image."""
    last = all_of("ENV")[-1]
    return dict(pair.split("=", 1) for pair in shlex.split(last))


def service() -> dict[str, Any]:
    """The engine in compose.yaml."""
    (it,) = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"].values()
    return dict(it)


def test_every_base_has_a_tag_that_is_not_the_latest() -> None:
    """So that the same recipe makes the same image; the last stage has no compiler."""
    arguments = dict(rest.split("=") for rest in all_of("ARG"))
    bases = [re.sub(r"\$\{(\w+)\}", lambda it: arguments[it[1]], rest).split()[0] for rest in all_of("FROM")]

    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", base)
    last_stage = (FOLDER / "Containerfile").read_text().rpartition("\nFROM ")[2]
    assert "apt-get" not in last_stage


def test_what_is_copied_is_there_and_not_left_out() -> None:
    """Each source exists, and .dockerignore lets it through; caches and what is built stay outside."""
    rules = (ROOT / ".dockerignore").read_text().split()
    for rest in all_of("COPY"):
        *sources, _ = [word for word in rest.split() if not word.startswith("--")]
        for source in sources:
            if not source.startswith("/"):
                assert (ROOT / source).exists()
                assert f"!{source}" in rules
    for left_out in ("engine/__pycache__", "engine/native/core.cpython-313-x86_64-linux-gnu.so"):
        assert any(fnmatch.fnmatch(f"/{left_out}", rule) for rule in rules if not rule.startswith("!"))
    assert rules[0] == "*"


def test_the_image_runs_as_nobody_special_and_is_told_to_stop() -> None:
    """A user of its own by number, which a cluster can check; and the signal that ends orders first."""
    assert all_of("USER") == ["10001:10001"]
    assert all_of("STOPSIGNAL") == ["SIGTERM"]
    assert all_of("ENTRYPOINT") == ['["engine"]']
    assert all_of("VOLUME") == ["/var/lib/kraken-engine"]


def test_the_engine_finds_its_places_where_the_image_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """State in the volume, sockets in the tmpfs, the key beside other secrets."""
    for name, value in settings().items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    assert default_state_dir("default").parent == Path(all_of("VOLUME")[0])
    run_directory = str(RunDirectory("default").path.parent)
    assert any(mount.startswith(f"{run_directory}:") for mount in service()["tmpfs"])
    assert any(mount.endswith(f":{settings()[DIRECTORY_VARIABLE]}:ro") for mount in service()["volumes"])


def test_the_command_lines_are_taken() -> None:
    """What runs by default, and what asks for health, are commands with options that they have."""
    health = all_of("HEALTHCHECK")[0]
    for line in (json.loads(all_of("CMD")[0]), shlex.split(re.search(r"CMD engine (.*?) > ", health)[1])):  # type: ignore[index]
        command, *rest = line
        assert command in COMMANDS
        assert reference.command_of(command).make_context(command, rest).params["name"] == "default"


def test_health_is_that_the_supervisor_answers(engines: Engines) -> None:
    """0 while it does, 1 without it: Docker reserves 2."""
    command = all_of("HEALTHCHECK")[0].partition("CMD ")[2]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    def code() -> int:
        environment = engines.environment | {"PATH": path}
        return subprocess.run(["sh", "-c", command], env=environment, capture_output=True).returncode

    engine: RunningEngine = engines.start(*CALM)
    engine.wait_until_live()
    assert code() == 0
    assert engine.stop() == 0
    assert code() == 1


def test_compose_and_the_page_say_the_same() -> None:
    """The line of `docker run` on the page has every limit of compose.yaml, and `podman run` takes the same."""
    text = re.sub(r" \\\n\s*", " ", PAGE.read_text())
    line = next(line for line in text.splitlines() if line.startswith("docker run "))
    it = service()
    wanted = [
        "--read-only",
        *(f"--tmpfs {mount}" for mount in it["tmpfs"]),
        *(f"--cap-drop {name}" for name in it["cap_drop"]),
        *(f"--security-opt {name}" for name in it["security_opt"]),
        f"--pids-limit {it['pids_limit']}",
        f"--memory {it['mem_limit']}",
        f"--ulimit nofile={it['ulimits']['nofile']}",
        f"--stop-timeout {it['stop_grace_period'].removesuffix('s')}",
        f"--restart {it['restart']}",
        f"--log-driver {it['logging']['driver']}",
        *(f"--log-opt {name}={value}" for name, value in it["logging"]["options"].items()),
        it["image"],
    ]
    assert [option for option in wanted if option not in line] == []
    assert it["read_only"] is True


# Everything but the run directory and the state is read-only, /tmp and /dev/shm too.
READ_ONLY = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib &&
mount --bind /tmp /tmp && mount -o remount,bind,ro,nosuid,nodev /tmp &&
mount -t tmpfs -o ro tmpfs /dev/shm && mount -o remount,bind,ro / && cd / &&
for place in /root /tmp /dev/shm /etc; do ! touch $place/tried 2>/dev/null || exit 9; done &&
exec "$@"
"""


def test_the_engine_needs_no_other_place_to_write(engines: Engines) -> None:
    """A read-only root, with everything that can run beside it, and no /dev/shm."""
    command = (*UNSHARE, "--mount", "sh", "-c", READ_ONLY, "sh", *ENGINE, "run", *CALM, "--metrics", "0", "--page",
               "--summary", "/dev/stdout")  # fmt: skip
    if (
        shutil.which(UNSHARE[0]) is None
        or subprocess.run((*UNSHARE, "--mount", "true"), capture_output=True).returncode
    ):
        pytest.skip("this machine lets nobody make a mount namespace")
    image = {name: value for name, value in settings().items() if name != "PATH"}
    with (engines.folder / "log-0.txt").open("w") as log, (engines.folder / "out").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=log, text=True, env=engines.environment | image)
    engines.adopt(process)
    for what in ("page of the engine named default at", "metrics of the engine named default at", "book live"):
        eventually(lambda what=what: what in engines.logs() or process.poll() is not None, what)
    pid_one = psutil.Process(process.pid).children()[0]
    pid_one.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE_S) == 0, engines.logs()
    summary = summary_of(engines.folder / "out")
    assert (summary["exit"], summary["ledger"]["agree"]) == ("clean", True)
    assert "[error" not in engines.logs()
