"""The systemd unit: what it starts, how long it waits, and whether the engine works in its sandbox."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.control import ROUTER_DEADLINE_S, STOP_DEADLINE_S
from engine.cli.help import EXIT_MISTAKE
from engine.cli.main import COMMANDS
from engine.config import Config
from engine.credentials import DIRECTORY_KEY, DIRECTORY_SECRET
from engine.order_router.process import ORPHAN_DEADLINE_S
from engine.state_directory import default_state_dir
from engine.supervisor.run_directory import RunDirectory
from tests import reference
from tests.deploy.rig import PAGE, ROOT, UNIT, confined, skip_without_mdwe, trades_in_its_sandbox
from tests.deploy.unit import Unit
from tests.integration.rig import Engines

NAME = "my-bot"
# Which may come more than once, and add up.
LISTS = {"LoadCredential", "SystemCallFilter"}


@pytest.fixture
def unit() -> Unit:
    return Unit(UNIT)


def seconds(unit: Unit, name: str) -> float:
    return float(unit.one("Service", name))


def arguments(unit: Unit, name: str) -> list[str]:
    """A command line as systemd gives it to the instance of this name."""
    program, *arguments = shlex.split(unit.one("Service", name).replace("%i", NAME))
    assert program == "/opt/kraken-engine/bin/engine"
    return arguments


def test_no_directive_is_said_twice(unit: Unit) -> None:
    """The later one would win, unseen."""
    for directives in unit.directives.values():
        names = [name for name, _ in directives if name not in LISTS]
        assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", ["ExecStart", "ExecStop", "ExecStopPost"])
def test_the_command_line_takes_what_the_unit_says(unit: Unit, name: str) -> None:
    """Each is a command of the engine, with options that it has."""
    command, *rest = arguments(unit, name)
    assert command in COMMANDS
    context = reference.command_of(command).make_context(command, rest)
    assert context.params["name"] == NAME  # the instance is the engine's name
    if name == "ExecStart":
        assert str(context.params["config_path"]) == unit.one("Service", "WorkingDirectory").replace("%i", NAME)


def test_an_end_has_as_long_as_the_engine_gives_itself(unit: Unit) -> None:
    """systemd never kills what would still have ended its orders, and waits for the router of a dead engine."""
    assert seconds(unit, "TimeoutStopSec") > max(STOP_DEADLINE_S, ROUTER_DEADLINE_S) > ORPHAN_DEADLINE_S
    assert seconds(unit, "TimeoutAbortSec") > ROUTER_DEADLINE_S
    assert seconds(unit, "WatchdogSec") > 2 * Config().engine.hang_s_max  # a callback that hangs is the engine's affair
    assert unit.one("Service", "ExecStop") == unit.one("Service", "ExecStopPost")
    # Of an engine that is dead, `mixed` kills the rest at once; the usual signal of the watchdog kills the router, too.
    assert unit.one("Service", "KillMode") == "control-group"
    assert unit.one("Service", "KillSignal") == unit.one("Service", "WatchdogSignal") == "SIGTERM"


def test_a_mistake_of_the_users_is_not_repeated(unit: Unit) -> None:
    """Nor is a clean end; anything else is started again."""
    assert unit.one("Service", "RestartPreventExitStatus") == str(EXIT_MISTAKE)
    assert unit.one("Service", "Restart") == "on-failure"
    assert int(unit.one("Unit", "StartLimitBurst")) * seconds(unit, "RestartSec") < float(
        unit.one("Unit", "StartLimitIntervalSec")
    )


def test_the_engine_finds_its_places_where_the_unit_makes_them(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and run directory, and the key's two files; the page names each place."""
    for setting in unit.one("Service", "Environment").split():
        monkeypatch.setenv(*setting.split("=", 1))
    state, run = default_state_dir(NAME), RunDirectory(NAME).path

    assert state.parent == Path("/var/lib", unit.one("Service", "StateDirectory"))
    assert run.parent == Path("/run", unit.one("Service", "RuntimeDirectory"))
    assert [line.partition(":")[0] for line in unit.all("Service", "LoadCredential")] == [
        DIRECTORY_KEY,
        DIRECTORY_SECRET,
    ]
    text = PAGE.read_text()
    sources = [line.partition(":")[2].replace("%i", NAME) for line in unit.all("Service", "LoadCredential")]
    for place in (state, run.parent, *sources, "/opt/kraken-engine"):
        assert str(place) in text or str(place).replace(f"/{NAME}", "/NAME") in text, place


def test_the_user_of_the_unit_is_made(unit: Unit) -> None:
    """By systemd-sysusers."""
    (line,) = re.findall(r"^u .*", (UNIT.parent / "kraken-engine.sysusers.conf").read_text(), re.MULTILINE)
    assert line.split()[1] == unit.one("Service", "User") == unit.one("Service", "Group")


# --- the sandbox


def test_the_engine_trades_without_executable_memory_and_other_sockets(engines: Engines) -> None:
    """MemoryDenyWriteExecute, RestrictAddressFamilies, no new privileges and no capabilities, by the kernel itself."""
    skip_without_mdwe()
    trades_in_its_sandbox(engines)


def test_the_sandbox_of_these_tests_is_one() -> None:
    """What the unit forbids fails there, so that an engine which works proves something."""
    skip_without_mdwe()
    tries = (
        "import mmap, socket\n"
        "for name, it in (('memory', lambda: mmap.mmap(-1, 4096, prot=7)),\n"
        "                 ('netlink', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM)),\n"
        "                 ('inet', lambda: socket.socket().close())):\n"
        "    try: it(); print(name, 'ok')\n"
        "    except OSError: print(name, 'refused')\n"
    )
    done = subprocess.run((*confined(), sys.executable, "-c", tries), capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split("\n")[:3] == ["memory refused", "netlink refused", "inet ok"], done.stderr
