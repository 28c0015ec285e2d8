"""`engine notices`: whether a notice reaches each target."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop

from engine.cli.help import command
from engine.cli.options import read_config
from engine.cli.setup.report import EXIT_NOT_WELL, report
from engine.cli.tables import json_option
from engine.clock import SystemClock
from engine.config import Config, NoticeTargetConfig, is_kraken
from engine.doctor.notices import NAME, examine_target
from engine.errors import ConfigError
from engine.kraken_rest.preflight import Finding, Level
from engine.notices.digest import Digest
from engine.notices.formats import Sender, message_of
from engine.notices.notice import notice
from engine.notices.target import Target
from engine.telemetry.log import configure_log

TEST_TEXT = "this is a test: `engine notices test` sent it, and nothing has happened"


@click.group()
def notices() -> None:
    """Test where notices go: the targets of [[notices.target]].

    `engine run` sends them by a process of its own; see engine/docs/notices.md.
    """


@command(
    "test",
    examples=("engine notices test my-bot", "engine notices test my.toml --target phone --json"),
    exits={0: "every target has taken it", EXIT_NOT_WELL: "one has not, or a mistake"},
)
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@click.option("--target", "names", multiple=True, metavar="NAME", help="This one only.  [default: all]")
@json_option
def test(config_path: Path | None, names: Sequence[str], as_json: bool) -> int:
    """Send a notice to each target of a configuration, and say what it answered.

    It is a notice of the event `start` that says that it is a test; it is sent whether or
    not the target wants that event.
    """
    config = read_config(config_path, {})
    configure_log("error", config.log.format, "notices")
    targets = _chosen(config, names)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        findings = runner.run(_test_all(config, targets))
    return report(findings, "every target has taken it", "not every target has taken it", as_json=as_json)


notices.add_command(test)


def _chosen(config: Config, names: Sequence[str]) -> list[NoticeTargetConfig]:
    targets = {target.name: target for target in config.notices.targets}
    if not targets:
        raise ConfigError("the configuration has no target of notices; write a [[notices.target]] with name and kind")
    for name in names:
        if name not in targets:
            raise ConfigError(f"--target {name} is not one of the configuration's; there are {', '.join(targets)}")
    return [target for name, target in targets.items() if not names or name in names]


async def _test_all(config: Config, targets: Sequence[NoticeTargetConfig]) -> list[Finding]:
    return list(await asyncio.gather(*(_test(config, target) for target in targets)))


async def _test(config: Config, target: NoticeTargetConfig) -> Finding:
    examined = examine_target(target)
    if examined.route is None:
        return examined.finding
    clock = SystemClock()
    digest = Digest()
    digest.add(notice("start", clock.wall_ns(), TEST_TEXT))
    sender = Sender(config.name, config.venue.url, is_kraken(config.venue.url))
    to = Target(target, examined.secret, sender, clock)
    try:
        told = await to.ask(message_of(target, sender, digest))
    finally:
        await to.close()
    return Finding(NAME, Level.OK if told.is_taken else Level.FAILURE, f"{target.name}: {told.text}")
