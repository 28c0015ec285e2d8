"""`engine top`: a screen for a running engine."""

import sys

import click
from setproctitle import setproctitle

from engine.cli.ask import name_option, why_silent
from engine.cli.help import command
from engine.errors import ConfigError
from engine.net.control_socket import NobodyListens
from engine.processes.scheduling import give_way
from engine.supervisor.extras import need_extra
from engine.supervisor.run_directory import RunDirectory


@command(examples=("engine top", "engine top --name my-bot --control"))
@name_option
@click.option("--control", is_flag=True, help="Keys to halt, resume and cancel; each asks back.")
def top(name: str, control: bool) -> int:
    """Watch a running engine on one screen: books, own orders in them, fills, profit and
    loss, latency, rings, processes.

    It reads the engine's shared memory, so the engine does nothing for it, and it attaches
    again when the engine starts again. Without --control it changes nothing. Needs the
    extra `top`.
    """
    need_extra("textual", "top", "`engine top`")
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # textual draws on the last one
        raise ConfigError("`engine top` needs a terminal; `engine status` prints what it shows, once")
    from engine.top.app import TopApp
    from engine.top.link import Link

    directory = RunDirectory(name)
    link = Link(name, directory.control_path, directory.router_path)
    try:
        link.open()
    except NobodyListens:
        raise ConfigError(why_silent(name)) from None
    setproctitle(f"kraken-engine {name}: top")
    give_way()
    app = TopApp(link, control=control)
    app.run()
    link.close()
    return app.return_code or 0
