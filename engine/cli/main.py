"""The command `engine`: one place where a mistake becomes one sentence and exit code 2."""

import importlib
import sys
from collections.abc import Sequence

import click

from engine.cli.ending import leave
from engine.errors import UserError

EXIT_MISTAKE = 2

# Each command is imported when it is called: `engine stop` need not load the engine.
COMMANDS = {
    "run": ("engine.cli.run", "Run strategies on a venue's live market data."),
    "replay": ("engine.cli.replay", "Replay captured frames through the same engine, in one process."),
    "venue": ("engine.cli.venue", "Run the built-in exchange alone, for any Kraken client."),
    "orders": ("engine.cli.orders", "Show the open orders of a running engine, or its history."),
    "balances": ("engine.cli.orders", "Show what the account holds, and what open orders reserve."),
    "cancel": ("engine.cli.orders", "Cancel orders of a running engine."),
    "halt": ("engine.cli.orders", "Take no more orders and cancel the open ones."),
    "resume": ("engine.cli.orders", "Take orders again after a halt."),
    "check": ("engine.cli.check", "Prove keys, permissions, clock and limits, without trading."),
    "status": ("engine.cli.control", "Show how a running engine does."),
    "stop": ("engine.cli.control", "Stop a running engine."),
}


class _Commands(click.Group):
    """The commands, by name, loaded on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def engine() -> None:
    """A multi-process trading engine for Kraken's spot exchange."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when all went well, 2 for a mistake of the user's."""
    try:
        code = engine.main(arguments, prog_name="engine", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "engine"
        _say(f"{error.format_message().rstrip('.')}; see `{where} --help`")
    except UserError as error:
        _say(str(error))
    except click.Abort:
        leave(130)
    except Exception:
        sys.excepthook(*sys.exc_info())
        leave(1)
    leave(code if isinstance(code, int) else 0)


def _say(sentence: str) -> None:
    click.echo(f"engine: {' '.join(sentence.split())}", err=True)
    leave(EXIT_MISTAKE)
