"""What the pages show can be used as it stands: code compiles, settings are read, commands are understood.

tests/snippets.py says what each kind of block promises; tests/integration/test_pages.py walks through the pages that
have something to type or to run.
"""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from engine.cli.main import COMMANDS
from engine.config import load_config
from tests import reference
from tests.snippets import PAGES, ROOT, Snippet, snippets_of

SNIPPETS = [snippet for page in PAGES for snippet in snippets_of(page)]


# By itself, as another user in its environment, and in a container.
AT_THE_PROMPT = re.compile(r"(?:sudo .*/bin/|docker exec \S+ )?(engine .*)")


def commands_of(page: Path) -> Iterator[tuple[str, str, bool]]:
    """(place, command, is it a whole one?) of every `engine …` of a page: lines of its blocks, and what stands in
    backticks, which may be a part of one.
    """
    for snippet in snippets_of(page):
        for number, line in enumerate(snippet.text.splitlines(), start=snippet.line + 1):
            if (found := AT_THE_PROMPT.match(line.removeprefix("$ "))) and "[OPTIONS]" not in line:
                yield f"{page.relative_to(ROOT)}:{number}", found[1], True
    prose = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), page.read_text(), flags=re.M | re.S)
    for found in re.finditer(r"`(engine [a-z][^`]*)`", prose):
        yield f"{page.relative_to(ROOT)}:{prose.count(chr(10), 0, found.start()) + 1}", found[1], False


def mistake_in(command: str, *, is_whole: bool) -> str:
    """What the command line would say to it; a part of a command may lack what it needs."""
    name, *arguments = shlex.split(re.split(r" 2?>>? | \| ", command)[0], comments=True)[1:]
    if name not in COMMANDS:
        return f"there is no engine {name}"
    command = reference.command_of(name)
    while isinstance(command, click.Group):
        if not arguments or arguments[0] not in command.commands:
            return "" if not arguments and not is_whole else f"there is no {name} {' '.join(arguments[:1])}"
        name = f"{name} {arguments[0]}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    try:
        with command.make_context(name, arguments, help_option_names=["-h", "--help"]):
            return ""
    except click.MissingParameter as error:
        return error.format_message() if is_whole else ""
    except click.ClickException as error:
        return error.format_message()


@pytest.mark.parametrize("snippet", [one for one in SNIPPETS if one.kind == "python"], ids=lambda one: one.place)
def test_code_on_a_page_compiles_and_names_its_file(snippet: Snippet) -> None:
    """Code of ours is in a file that the page's walk writes and runs; other code says whose it is."""
    compile(snippet.text, snippet.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    assert bool(snippet.file) != snippet.is_of_another_client


@pytest.mark.parametrize(
    "snippet", [one for one in SNIPPETS if one.kind == "toml" and not one.file], ids=lambda one: one.place
)
def test_settings_on_a_page_are_settings(snippet: Snippet, tmp_path: Path) -> None:
    """As `engine run` would read them; those of a file are read by the engine that the page's walk starts."""
    path = tmp_path / "my.toml"
    path.write_text(snippet.text)

    assert tomllib.loads(snippet.text)
    load_config(path)


def test_every_kind_of_block_is_looked_at() -> None:
    """A block is code, settings, or plain: nothing is left out because it is called otherwise."""
    assert {snippet.kind for snippet in SNIPPETS} <= {"python", "toml", "console", ""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_page_are_understood(page: Path) -> None:
    """Every option that is shown exists, and takes the value that is shown."""
    wrong = [
        f"{place}: {command}: {mistake}"
        for place, command, is_whole in commands_of(page)
        if (mistake := mistake_in(command, is_whole=is_whole))
    ]

    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tools_on_a_page_are_there_and_know_their_options(page: Path) -> None:
    """A tool is a script; the options that it is shown with stand in it, or in what it starts."""
    behind = {"bench": ["bench/judge.py", "bench/peers/run.py"], "demo": ["engine/cli/run.py", "engine/cli/options.py"]}
    for tool, rest in re.findall(r"tools/([a-z-]+)([^\n`#|]*)", page.read_text()):
        path = ROOT / "tools" / tool
        if path.is_dir():
            continue  # files to deploy
        known = "".join(file.read_text() for file in (path, *(ROOT / name for name in behind.get(tool, ()))))
        for option in re.findall(r"(?<= )--[a-z][a-z-]*", rest):
            assert option in known, f"tools/{tool} {option}"


def test_commands_that_the_engine_speaks_of_are_understood() -> None:
    """Its sentences tell users what to type, and its docstrings readers."""
    wrong = [
        f"{path.relative_to(ROOT)}: {command}: {mistake}"
        for path in sorted((ROOT / "engine").rglob("*.py"))
        for command in re.findall(r"`(engine [a-z][^`{}]*)`", path.read_text())
        if (mistake := mistake_in(" ".join(command.split()), is_whole=False))
    ]

    assert wrong == []
