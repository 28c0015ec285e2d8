"""`engine status` and `engine sources`, which look at a running engine's memory, and
`engine stop`, all through its control socket.
"""

import time

import click

from engine.cli.ask import ask_engine, name_option, summary_of
from engine.cli.help import command
from engine.cli.tables import json_option, print_json, tell
from engine.errors import UserError
from engine.supervisor.run_directory import RunDirectory

STOP_DEADLINE_S = 30.0
LOOK_INTERVAL_S = 0.05


@command(
    examples=(
        "engine status",
        "engine status --json",
    ),
)
@name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as --summary writes it.")
def status(name: str, as_json: bool) -> None:
    """Show how a running engine does: books, counts, latency, restarts."""
    summary = summary_of(name)
    if as_json:
        print_json(summary)
        return
    from engine.cli.view import status_text

    click.echo(status_text(summary))


@command(examples=("engine sources",))
@name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object: `sources` of the status.")
def sources(name: str, as_json: bool) -> None:
    """Show where the market data of a running engine come from: WebSocket, REST or
    nowhere.
    """
    told = summary_of(name)["sources"]
    if as_json:
        print_json(told)
        return
    from engine.cli.view import sources_text

    click.echo(sources_text(told))


@command(examples=("engine stop --name my-bot",))
@name_option
@json_option
def stop(name: str, as_json: bool) -> None:
    """Stop a running engine and wait until it has stopped."""
    answer = ask_engine(name, {"command": "stop"})
    lock = RunDirectory(name).path / "lock"
    deadline = time.monotonic() + STOP_DEADLINE_S
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(LOOK_INTERVAL_S)
    if lock.exists():
        raise UserError(f"the engine named {name} (pid {answer['pid']}) has not stopped in {STOP_DEADLINE_S:.0f} s")
    tell({"name": name, "pid": answer["pid"]}, f"stopped {name} (pid {answer['pid']})", as_json)
