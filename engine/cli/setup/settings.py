"""`engine settings`: the commented configuration that comes with the engine."""

from importlib import resources
from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli.help import command
from engine.cli.tables import json_option, print_json

if TYPE_CHECKING:
    from engine.config import Setting


@command(examples=("engine settings > engine.toml", "engine settings --json"))
@json_option
def settings(as_json: bool) -> None:
    """Print every setting with its default and its reason.

    The text is a configuration file to begin with. As JSON: path, values, meaning and
    default of each; `required` where there is no default.
    """
    if as_json:
        from engine import config

        print_json({"settings": [_as_object(setting) for setting in config.settings()]})
        return
    file = resources.files("engine") / "strategy" / "examples" / "engine.toml"
    click.echo(file.read_text(encoding="utf-8"), nl=False)


def _as_object(setting: "Setting") -> dict[str, object]:
    told = {"path": setting.path, "values": setting.kind, "meaning": setting.meaning}
    if setting.default is msgspec.NODEFAULT:
        return told | {"required": True}
    return told | {"required": False, "default": msgspec.to_builtins(setting.default)}
