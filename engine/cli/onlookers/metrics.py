"""`engine metrics`: serves the metrics of a running engine to Prometheus."""

import click
from setproctitle import setproctitle

from engine.cli.ask import name_option
from engine.cli.help import command
from engine.cli.onlookers.process import die_with_parent_option, tell_address, wait_for_signal
from engine.cli.tables import json_option
from engine.config import MetricsConfig
from engine.prctl import die_with_parent
from engine.processes.scheduling import give_way
from engine.supervisor.extras import need_extra
from engine.supervisor.run_directory import RunDirectory
from engine.telemetry.log import configure_log

PORT = 9464  # of Prometheus exporters, by OpenTelemetry's convention


@command(examples=("engine metrics", "engine metrics --name my-bot --port 9465"))
@name_option
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--address", default=MetricsConfig().address, show_default=True, help="The address to listen at.")
@json_option
@die_with_parent_option
def metrics(name: str, port: int, address: str, as_json: bool, dies_with_parent: bool) -> None:
    """Serve the metrics of a running engine to Prometheus, at http://ADDRESS:PORT/metrics.

    Started before the engine, or after its end, it says kraken_engine_up 0 and waits for
    the next one. It only reads shared memory, so the engine does nothing for it.
    """
    need_extra("prometheus_client", "metrics", "`engine metrics`")
    from engine.metrics.server import MetricsServer

    if dies_with_parent:
        die_with_parent()
    else:
        RunDirectory(name).holder()  # it may not run yet, but this user must be allowed to see whether it does
    configure_log("info", "console", "metrics")
    setproctitle(f"kraken-engine {name}: metrics")
    give_way()
    server = MetricsServer(RunDirectory(name).control_path, address, port)
    tell_address("metrics", name, server.url, as_json)
    wait_for_signal()
    server.close()
