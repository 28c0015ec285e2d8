"""`engine new`: a folder with a strategy, its test, its configuration and a README, which
run as they are.

engine/strategy/templates/KIND ─► NAME: strategy.py, test_strategy.py, engine.toml, README.md
"""

from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Final

import click

from engine.cli.help import command
from engine.cli.tables import json_option, print_json
from engine.config import FOLDER_FILE
from engine.errors import ConfigError
from engine.state_directory import NAME, NAME_RULE

KINDS: Final = {
    "market-maker": "quotes both sides of a pair, and leans against what it holds",
    "crossover": "holds a pair while its fast moving average is above the slow one",
    "imbalance": "buys when much more waits to buy than to sell, and sells again soon",
    "portfolio": "keeps several pairs at fixed shares of a capital",
}
FILES: Final = {
    "strategy.py": "the strategy; begin here",
    "test_strategy.py": "its tests: pytest",
    FOLDER_FILE: "pairs, parameters, limits",
    "README.md": "how to run it, and how with real money",
}
TEMPLATES: Final = "engine.strategy.templates"
TEMPLATE_NAME: Final = "my-bot"  # in the templates' texts
# pytest finds strategy.py from there, whatever project the folder lies in; a key is no part
# of a repository.
OTHERS: Final = {"pytest.ini": "[pytest]\npythonpath = .\n", ".gitignore": "kraken-key.toml\n__pycache__/\n"}


@command(examples=("engine new my-bot", "engine new bots/pairs --from portfolio --json"))
@click.argument("path", type=click.Path(path_type=Path), metavar="NAME")
@click.option(
    "--from",
    "kind",
    type=click.Choice(list(KINDS)),
    default="market-maker",
    show_default=True,
    help="; ".join(f"{kind}: {about}" for kind, about in KINDS.items()) + ".",
)
@json_option
def new(path: Path, kind: str, as_json: bool) -> None:
    """Write a folder with a strategy that runs as it is: on the built-in exchange, on
    Kraken's books without orders, and, once its limits are set, with real money.

    What is there is never written over.
    """
    name = path.resolve().name
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name} cannot be an engine's name: it is {NAME_RULE}")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{path} is there already, and not an empty folder; choose another name")
    is_made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for file, text in {**{file: template_text(kind, file, name) for file in FILES}, **OTHERS}.items():
            with (path / file).open("x", encoding="utf-8") as out:
                written.append(path / file)
                out.write(text)
    except OSError as error:
        # Half a folder would be in the way of the next attempt.
        for each in written:
            each.unlink(missing_ok=True)
        if is_made:
            with suppress(OSError):  # somebody else has put something there
                path.rmdir()
        if isinstance(error, FileExistsError):
            raise ConfigError(f"{error.filename} has come to be there meanwhile; choose another name") from None
        raise
    if as_json:
        print_json({"name": name, "from": kind, "files": [str(path / file) for file in (*FILES, *OTHERS)]})
        return
    width = max(len(str(path / file)) for file in FILES)
    for file, about in FILES.items():
        click.echo(f"{path / file!s:<{width}}   {about}")
    here = Path() == path
    click.echo("\nNext:" + ("" if here else f"\n  cd {path}"))
    click.echo("  engine run . --venue local --view     play money, on the built-in exchange, until Ctrl-C")
    click.echo("  pytest                                its tests (pip install pytest)")


def template_text(kind: str, file: str, name: str) -> str:
    """A file of a template, as it stands in the folder of this name."""
    package = f"{TEMPLATES}.{kind.replace('-', '_')}"
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    return text.replace(f"{package}.", "").replace(TEMPLATE_NAME, name)
