"""What commands share that look at a running engine until they are asked to end."""

import signal
from threading import Event

import click

from engine.cli.ending import end_signals
from engine.cli.tables import print_json_line

die_with_parent_option = click.option(
    "--die-with-parent", "dies_with_parent", is_flag=True, help="End when the process that started this one ends."
)


def tell_address(what: str, name: str, url: str, as_json: bool) -> None:
    """Say where the page, or the metrics, of an engine are: a sentence, or a line of JSON."""
    if as_json:
        print_json_line({"name": name, "url": url})
    else:
        click.echo(f"{what} of the engine named {name} at {url}")


def wait_for_signal() -> None:
    """Wait for a signal that asks for an end."""
    asked = Event()
    for number in end_signals():
        signal.signal(number, lambda *_: asked.set())
    asked.wait()
