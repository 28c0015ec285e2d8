"""`engine settings`: the commented configuration that comes with the engine."""

from importlib import resources

import click

from engine.cli.help import command


@command(examples=("engine settings > engine.toml",))
def settings() -> None:
    """Print every setting with its default and its reason.

    The text is a configuration file to begin with.
    """
    file = resources.files("engine") / "strategy" / "examples" / "engine.toml"
    click.echo(file.read_text(encoding="utf-8"), nl=False)
