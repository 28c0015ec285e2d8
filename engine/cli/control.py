"""`engine status` and `engine sources`, which look at a running engine's memory, and
`engine stop`, all through its control socket.
"""

import os
import time

import click

from engine.cli.ask import ask_engine, name_option, summary_of
from engine.cli.help import command
from engine.cli.tables import json_option, print_json, tell
from engine.errors import UserError
from engine.net.control_socket import NobodyListens, ask
from engine.readable import is_readable
from engine.supervisor.run_directory import RunDirectory

STOP_DEADLINE_S = 30.0
# For the router of an engine that is gone: 30 s to end its orders, and a margin for its
# files and for calls under way.
ROUTER_DEADLINE_S = 45.0
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


@command(
    examples=(
        "engine stop --name my-bot",
        "engine stop --name my-bot --if-running  # for a script: nothing to stop is 0",
    ),
)
@name_option
@json_option
@click.option("--if-running", is_flag=True, help="An engine that does not run is no mistake.")
def stop(name: str, as_json: bool, if_running: bool) -> None:
    """Stop a running engine and wait until it has stopped.

    Of an engine that was killed the order router lives on until its orders are ended; then
    that is waited for.
    """
    directory = RunDirectory(name)
    router_fd = _router_of(directory)
    try:
        if router_fd is None and if_running and directory.holder() is None:
            tell({"name": name, "pid": None}, f"no engine named {name} is running", as_json)
            return
        if router_fd is not None and directory.holder() is None:
            pid, what = None, f"the engine named {name} was gone; its order router has ended its orders"
        else:
            pid = ask_engine(name, {"command": "stop"})["pid"]
            what = f"stopped {name} (pid {pid})"
            _wait_for_engine(directory, pid)
        if router_fd is not None and not is_readable(router_fd, ROUTER_DEADLINE_S):
            raise UserError(f"the order router of {name} has not ended in {ROUTER_DEADLINE_S:.0f} s")
    finally:
        if router_fd is not None:
            os.close(router_fd)
    tell({"name": name, "pid": pid}, what, as_json)


def _wait_for_engine(directory: RunDirectory, pid: int) -> None:
    deadline = time.monotonic() + STOP_DEADLINE_S
    while directory.holder() is not None:
        if time.monotonic() > deadline:
            raise UserError(
                f"the engine named {directory.name} (pid {pid}) has not stopped in {STOP_DEADLINE_S:.0f} s; its log "
                "says what it waits for"
            )
        time.sleep(LOOK_INTERVAL_S)


def _router_of(directory: RunDirectory) -> int | None:
    """A descriptor that becomes readable when the order router's process has ended; None
    when there is none.
    """
    try:
        return os.pidfd_open(int(ask(directory.router_path, {"command": "where"})["pid"]))
    except (NobodyListens, KeyError, ProcessLookupError):
        return None
