"""`engine page`: shows a running engine in the browser, read-only."""

import asyncio

import click
from setproctitle import setproctitle

from engine.cli.ask import name_option, nobody
from engine.cli.ending import end_signals
from engine.cli.help import command
from engine.cli.onlookers.process import die_with_parent_option, tell_address
from engine.cli.tables import json_option
from engine.errors import ConfigError
from engine.prctl import die_with_parent
from engine.processes.scheduling import give_way
from engine.supervisor.extras import need_extra
from engine.supervisor.run_directory import RunDirectory
from engine.telemetry.log import configure_log


@command(examples=("engine page", "engine page --name my-bot --port 8080"))
@name_option
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="On loopback; 0 takes a free one."
)
@json_option
@die_with_parent_option
def page(name: str, port: int, as_json: bool, dies_with_parent: bool) -> None:
    """Show a running engine in the browser, read-only.

    Prints an address on loopback with a token in it; who has the address can see prices,
    orders and profit, and change nothing. It reads shared memory, so the trading path does
    nothing for it; while somebody looks, the order router lists orders and balances every
    two seconds.
    """
    need_extra("plotly", "page", "`engine page`")
    if dies_with_parent:
        die_with_parent()
    elif RunDirectory(name).holder() is None:
        raise ConfigError(nobody(name, "; start one with `engine run`, or `engine run --page`"))
    configure_log("info", "console", "page")
    setproctitle(f"kraken-engine {name}: page")
    give_way()
    asyncio.run(_serve(RunDirectory(name), port, as_json))


async def _serve(directory: RunDirectory, port: int, as_json: bool) -> None:
    from engine.page.server import PageServer

    asked = asyncio.Event()
    for number in end_signals():
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    server = PageServer(directory.control_path, directory.router_path)
    url = await server.start(port)
    tell_address("page", directory.name, url, as_json)
    await asked.wait()
    await server.close()
