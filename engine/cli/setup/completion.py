"""`engine completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from engine.cli.help import command

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "engine"
VARIABLE = "_ENGINE_COMPLETE"  # click looks for it in the environment: _PROGRAM_COMPLETE


@command(
    examples=(
        'eval "$(engine completion bash)"  # in ~/.bashrc',
        'eval "$(engine completion zsh)"  # in ~/.zshrc',
        "engine completion fish > ~/.config/fish/completions/engine.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and values with Tab."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, PROGRAM, VARIABLE).source())
