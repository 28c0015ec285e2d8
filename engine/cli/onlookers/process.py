"""What commands share that look at a running engine until they are asked to end."""

import signal
from threading import Event

import click

die_with_parent_option = click.option(
    "--die-with-parent", "dies_with_parent", is_flag=True, help="End when the process that started this one ends."
)


def wait_for_signal() -> None:
    """Wait for SIGTERM, SIGINT or SIGHUP."""
    asked = Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()
