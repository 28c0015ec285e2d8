"""`engine doctor`: whether this computer, its network and the key can run the engine."""

import asyncio
from pathlib import Path

import click
import uvloop

from engine.cli.help import command
from engine.cli.options import read_config
from engine.cli.setup.report import EXIT_NOT_WELL, report
from engine.cli.tables import json_option
from engine.clock import SystemClock
from engine.doctor.examination import examine_machine
from engine.telemetry.log import configure_log


@command(
    examples=("engine doctor", "engine doctor my.toml --json"),
    exits={0: "nothing fails; there may be warnings", EXIT_NOT_WELL: "something fails, or a mistake"},
)
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@json_option
def doctor(config_path: Path | None, as_json: bool) -> int:
    """Examine this computer, its network and the key.

    Python and libraries; CPUs, limits, shared memory and state directory; DNS, TLS and the
    clock beside Kraken's; and, where there is a key, each of its permissions and the
    account's tier. Each line says what to do about it. Without a network it says what it
    could not ask, after some seconds.

    `engine check` tells what stands between a configuration and live trading.
    """
    config = read_config(config_path, {})
    configure_log("error", config.log.format, "doctor")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        findings = runner.run(examine_machine(config, SystemClock()))
    return report(findings, "this computer can run the engine", "not well", as_json=as_json)
