"""`engine replay`: captured frames through the same engine, in one process."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import structlog
import uvloop

from engine.cli.ending import last_words
from engine.cli.help import command
from engine.cli.leaving import expect_leftovers
from engine.cli.options import (
    check_writable,
    engine_options,
    read_config,
    read_strategies,
    read_symbols,
    with_params,
    write_summary,
)
from engine.errors import CaptureError, StrategyError
from engine.secret.private_text import forget_variables
from engine.strategy_host.loading import make_strategies
from engine.telemetry.log import configure_log

log = structlog.get_logger("replay")


@command(examples=("engine replay capture.jsonl --strategy my_bot.py --summary out.json",))
@click.argument("captures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CAPTURE.jsonl...")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="A TOML file, as for `engine run`.")
@engine_options
def replay(
    captures: Sequence[Path],
    config_path: Path | None,
    symbols: str | None,
    targets: Sequence[str],
    params: Sequence[str],
    publish_levels: int | None,
    summary_path: Path | None,
    log_level: str | None,
    log_format: str | None,
) -> int:
    """Replay captured frames, one a line, through the same sessions, books, ring and
    strategies.
    """
    from engine.cli.view import status_text
    from engine.replay import Capture
    from engine.replay import replay as run_replay

    wanted = read_symbols(symbols)
    config = read_config(
        config_path,
        {
            "symbols": ("--symbols", wanted),
            "strategy": ("--strategy", read_strategies(targets)),
            "feed.publish_levels": ("--publish-levels", publish_levels),
            "log.level": ("--log-level", log_level),
            "log.format": ("--log-format", log_format),
        },
    )
    config = with_params(config, params)
    check_writable(summary_path, config, config_path, *captures)
    configure_log(config.log.level, config.log.format, "replay", levels=config.log.levels)
    opened = [Capture(path) for path in captures]
    held = dict.fromkeys(symbol for capture in opened for symbol in capture.symbols)
    # The pairs of a configuration file are those of live runs; a replay takes what the
    # captures hold.
    followed = wanted or tuple(held)
    missing = [symbol for symbol in followed if symbol not in held]
    if missing or not followed:
        holds = f"they hold {', '.join(held)}" if held else "they hold no pair's data"
        raise CaptureError(f"the captures have nothing of {', '.join(missing) or 'any pair'}; {holds}")
    expect_leftovers(last_words)
    forget_variables()
    strategies = make_strategies(config, followed, log.info)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            summary = runner.run(
                run_replay(opened, followed, [(named.name, named.strategy) for named in strategies], config)
            )
        except (SystemExit, GeneratorExit) as error:  # raised by a strategy's own task: asyncio lets it through
            raise StrategyError(f"a strategy's task raised {error!r}, which ended the replay") from error
    write_summary(summary_path, summary)
    click.echo(status_text(summary))
    return 0
