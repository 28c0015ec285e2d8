"""The command `engine`: the place where a mistake becomes one sentence and exit code 2.

Refusals of the operating system are treated the same: too few file descriptors, a read-only
file system, no space. Output that is closed, not read (`| head`) or cannot print a
character never makes a command fail with a traceback.
"""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from engine.cli.leaving import EXIT_FAILED, leave
from engine.cli.loading import loading
from engine.cli.output import STANDARD_OUTPUT, give_up_output, prepare_streams
from engine.errors import UserError

EXIT_MISTAKE = 2
NO_THREAD = "can't start new thread"  # as Python says it
EXIT_NO_OUTPUT = 1  # standard output could not take what the command printed

# What the user can do about an error of the operating system.
MENDS = {
    errno.EMFILE: "raise the limit on open files, for example `ulimit -n 1024`",
    errno.ENFILE: "this machine has no file descriptors left: end other programs or raise fs.file-max",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room within your quota there",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name another place, or change its permissions",
    errno.EPERM: "name another place, or change its permissions",
    errno.ENOMEM: "free memory, or configure fewer pairs, publish_levels or ring_slots",
    errno.EAGAIN: "raise the limit on processes, for example `ulimit -u 4096`",
}

# Each command is imported when it is called, so that `engine stop` does not load the
# engine.
COMMANDS = {
    "new": ("engine.cli.setup.new", "Write a folder with a strategy that runs as it is."),
    "run": ("engine.cli.run", "Run strategies on a venue's live market data."),
    "replay": ("engine.cli.replay", "Replay captured frames through the same engine, in one process."),
    "venue": ("engine.cli.venue", "Run the built-in exchange alone, for any Kraken client."),
    "watch": ("engine.cli.watch.command", "Show books and trades as they come, without a key."),
    "orders": ("engine.cli.orders", "Show the open orders of a running engine, or its history."),
    "fills": ("engine.cli.account", "Show the last fills, of a running or a stopped engine."),
    "positions": ("engine.cli.account", "Show what each strategy holds, and its profit."),
    "balances": ("engine.cli.account", "Show what the account holds, and what open orders reserve."),
    "cancel": ("engine.cli.orders", "Cancel orders of a running engine."),
    "halt": ("engine.cli.orders", "Take no more orders and cancel the open ones."),
    "resume": ("engine.cli.orders", "Take orders again after a halt."),
    "check": ("engine.cli.setup.check", "Prove strategies, keys, permissions, clock and limits, without trading."),
    "doctor": ("engine.cli.setup.doctor", "Examine this computer, its network and the key."),
    "keys": ("engine.cli.setup.keys", "Store, test and remove the API key."),
    "backup": ("engine.cli.setup.backup", "Copy an engine's journal and history, while it trades or not."),
    "restore": ("engine.cli.setup.backup", "Put such a copy where an engine's state is to be."),
    "notices": ("engine.cli.setup.notices", "Test where notices of what happened go."),
    "settings": ("engine.cli.setup.settings", "Print every setting with its default and its reason."),
    "completion": ("engine.cli.setup.completion", "Print what a shell needs to complete commands."),
    "status": ("engine.cli.control", "Show how a running engine does."),
    "sources": ("engine.cli.control", "Show where a running engine's market data come from."),
    "top": ("engine.cli.onlookers.top", "Watch a running engine on one screen."),
    "metrics": ("engine.cli.onlookers.metrics", "Serve a running engine's metrics to Prometheus."),
    "page": ("engine.cli.onlookers.page", "Show a running engine in the browser, read-only."),
    "stop": ("engine.cli.control", "Stop a running engine."),
}


class _Commands(click.Group):
    """The commands, by name, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with loading():
            command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click's own imports every command for its help.
        commands = [
            CompletionItem(name, help=told) for name, (_, told) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])


def _say_version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if not is_asked:
        return
    from engine.telemetry.version import (  # what it imports is a tenth of what a command takes to begin
        PACKAGE,
        engine_version,
    )

    click.echo(f"{PACKAGE} {engine_version()}")
    ctx.exit()


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version and exit.",
)
def engine() -> None:
    """A multi-process trading engine for Kraken's spot exchange."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with 0 when all went well, with 2 for a user's
    mistake.
    """
    prepare_streams()
    try:
        try:
            code = engine.main(arguments, prog_name="engine", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            code = 0
        if not sys.stdout.closed:  # a strategy may have closed it
            sys.stdout.flush()
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "engine"
        _say(f"{error.format_message().rstrip('.')}; see `{where} --help`")
    except UserError as error:
        _say(str(error))
    except click.Abort:
        leave(130)
    except BrokenPipeError:
        give_up_output()
        leave(EXIT_NO_OUTPUT)
    except OSError as error:
        if error.filename == STANDARD_OUTPUT or not _takes_output():
            give_up_output()
            reason = (error.strerror or str(error)).lower()
            _say(f"standard output cannot be written ({reason})", EXIT_NO_OUTPUT)
        _say(os_error_sentence(error))
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            sys.excepthook(*sys.exc_info())
            leave(EXIT_FAILED)
        _say(f"{error}; {MENDS[errno.EAGAIN]}, or give this process more memory (`ulimit -v`)")
    except Exception:
        sys.excepthook(*sys.exc_info())
        leave(EXIT_FAILED)
    leave(code if isinstance(code, int) else 0)


def os_error_sentence(error: OSError) -> str:
    """One sentence: what the operating system refused, where, and what to do."""
    reason = (error.strerror or str(error)).lower()
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    mend = MENDS.get(error.errno or 0, "see the system's log")
    return f"{place}{reason}; {mend}"


def _takes_output() -> bool:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return False
    return True


def _say(sentence: str, code: int = EXIT_MISTAKE) -> NoReturn:
    with suppress(OSError, ValueError):
        click.echo(f"engine: {' '.join(sentence.split())}", err=True)
    leave(code)
