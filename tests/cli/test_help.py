"""Every command shows an example and what its exit codes mean; a shell can complete them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from engine.cli.help import DEFAULT_EXITS, Command
from engine.cli.main import COMMANDS, engine
from engine.cli.setup.completion import SHELLS
from engine.config import settings


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and command of a group, with its whole name."""
    assert isinstance(engine, click.Group)
    for name in COMMANDS:
        command = engine.get_command(click.Context(engine), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {part}", inner) for part, inner in command.commands.items())
        else:
            yield name, command


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_a_command_shows_examples_and_exit_codes(name: str, command: click.Command) -> None:
    """Each example is one of this command; tests/test_snippets.py tries whether its options are understood."""
    assert isinstance(command, Command)
    assert command.examples
    assert all(f"engine {name}" in example for example in command.examples)
    assert command.exits.keys() >= DEFAULT_EXITS.keys()

    told = CliRunner().invoke(engine, [*name.split(), "--help"]).output
    assert all(example in told for example in command.examples)
    assert all(f"\n  {code}  " in told for code in command.exits)


# What a program reads of these instead.
WITHOUT_JSON = {
    "run": "--summary",
    "replay": "--summary",
    "venue": "its addresses are a line of JSON anyway",
    "top": "a screen; engine status --json has what it shows",
    "completion": "a script for a shell",
}


def test_every_command_tells_a_program_what_it_tells_people() -> None:
    """By --json, or in a way of its own."""
    has_json = {name for name, command in commands() if any("--json" in option.opts for option in command.params)}
    assert {name for name, _ in commands()} - has_json == WITHOUT_JSON.keys()


def test_settings_as_json_are_those_of_the_reference() -> None:
    """With what must be given, and with defaults that a TOML file could have."""
    told = json.loads(CliRunner().invoke(engine, ["settings", "--json"]).output)["settings"]

    assert [each["path"] for each in told] == [setting.path for setting in settings()]
    assert {each["path"] for each in told if each["required"]} >= {"strategy[].target"}
    assert all(each["required"] != ("default" in each) for each in told)


def test_help_fits_a_terminal_of_eighty_columns() -> None:
    """Beside examples, which are copied whole."""
    for name, command in commands():
        assert isinstance(command, Command)
        told = CliRunner().invoke(engine, [*name.split(), "--help"], terminal_width=80).output
        wide = [line for line in told.splitlines() if len(line) > 80 and line.strip() not in command.examples]
        assert wide == [], name
        assert all(len(example) <= 96 for example in command.examples)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_needs_is_printed(shell: str) -> None:
    """A script that asks `engine` itself; where the shell is installed, one that it can read."""
    done = CliRunner().invoke(engine, ["completion", shell])

    assert done.exit_code == 0
    assert f"_ENGINE_COMPLETE={shell}_complete" in done.output
    if program := shutil.which(shell):
        assert subprocess.run([program, "-n"], input=done.output, text=True, capture_output=True).returncode == 0


def test_a_shell_that_there_is_not_names_those_that_there_are() -> None:
    """One sentence."""
    done = CliRunner().invoke(engine, ["completion", "tcsh"])

    assert done.exit_code == 2
    assert all(shell in done.output for shell in SHELLS)


def test_the_version_is_that_of_the_package() -> None:
    """What a report of a fault begins with."""
    told = CliRunner().invoke(engine, ["--version"])

    assert (told.exit_code, told.output) == (0, f"kraken-engine {version('kraken-engine')}\n")
