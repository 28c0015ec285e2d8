"""`engine venue`: the Kraken-faithful exchange alone, on loopback, for any Kraken client."""

import signal
from decimal import Decimal, InvalidOperation
from typing import Final

import click

from engine.cli.help import Finite, command
from engine.cli.loading import load_aiohttp, loading

# What only a market of the venue's own has, by parameter.
MADE_UP: Final = {
    "pairs": "--pairs", "zipf": "--zipf", "only_list": "--list", "also": "--also", "rate": "--rate",
    "captures": "--capture", "pace": "--pace", "repeat": "--repeat",
}  # fmt: skip
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@command(
    examples=(
        "engine venue --port 8765 --symbols BTC/USD --rate 1000",
        "engine venue --port 0 --fault badcrc=0.001  # trouble, by seed",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to serve on.")
@click.option("--port", default=8765, show_default=True, help="Port of the public WebSocket; 0 takes any free one.")
@click.option("--private-port", type=int, help="Port of the private WebSocket.  [default: the one after --port]")
@click.option("--rest-port", type=int, help="Port of REST.  [default: the second after --port]")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Seed of order flow, delays and faults: same seed, same venue. Only the history before the venue opens, its "
    "trades and candles, depends on the moment at which it opens.",
)
@click.option("--symbols", default="", metavar="A,B,C", help="Pairs to list.  [default: all that the venue knows]")
@click.option(
    "--pairs",
    default=0,
    help="How many pairs there are: the venue's own, then made-up ones as unlike as Kraken's, by --seed; their rates "
    "are uneven (see --zipf) and come in bursts. Kraken has some 1450.  [default: its own alone]",
)
@click.option(
    "--zipf",
    default=1.2,
    show_default=True,
    help="With --pairs: the r-th busiest pair has a share of the messages by 1/r to this power; 0 makes all equal.",
)
@click.option(
    "--list", "only_list", is_flag=True, help="Print the symbols of the pairs, as --symbols takes them, and end."
)
@click.option(
    "--also",
    is_flag=True,
    help="List every other pair too; its book begins to move when somebody follows it.",
)
@click.option(
    "--rate", default=100.0, show_default=True, help="Book messages a second, all pairs together, seen at depth 10."
)
@click.option(
    "--mirror",
    default="",
    metavar="URL",
    help="Take books and trades from this public WebSocket, Kraken's for paper trading, instead of making them; needs "
    "--symbols.",
)
@click.option(
    "--ca-file", metavar="FILE", help="With --mirror: PEM file of further trusted authorities, for a private setup."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=RATE[@SYMBOL]|KIND@SECONDS[@SYMBOL]",
    help="Trouble on outgoing data frames, by seed: corrupt, badcrc, drop, duplicate, cut, silent, mute, noise, "
    "unknown, close:CODE, maintenance, precision:PRICExQTY@SECONDS@SYMBOL; and with trading requests: drop-answer, "
    "late, unavailable, unavailable-done, "
    "token-death, sequence-gap, snapshot-again, reorder, batch-refusal, lost, private-cut, html-520, rest-lag. "
    "May be given several times.",
)
@click.option(
    "--capture",
    "captures",
    multiple=True,
    metavar="FILE",
    help="Serve the genuine frames of this file, one a line, instead of a living exchange. May be given several times.",
)
@click.option(
    "--pace",
    type=click.Choice(["original", "max"]),
    default="original",
    show_default=True,
    help="Send a capture as it was recorded, or as fast as the client reads.",
)
@click.option("--repeat", default=1, show_default=True, help="How often to send a capture; 0 repeats it for ever.")
@click.option(
    "--snapshot-delay-ms",
    default="10-40",
    show_default=True,
    metavar="MS[-MS]",
    help="Delay from a subscription's confirmation to its snapshot.",
)
@click.option("--heartbeat-s", default=1.0, type=Finite(min=0), show_default=True, help="Seconds between heartbeats.")
@click.option(
    "--idle-close-s",
    default=60.0,
    type=Finite(min=0),
    show_default=True,
    help="Seconds until an idle connection is closed.",
)
@click.option(
    "--requests-per-s",
    default=50.0,
    type=Finite(min=0),
    show_default=True,
    help="Requests a second that a client may send.",
)
@click.option("--requests-burst", default=100, show_default=True, help="Requests that may come at once.")
@click.option(
    "--maintenance-phase-s",
    default=1.0,
    type=Finite(min=0),
    show_default=True,
    help="Length of the phase cancel_only of the fault maintenance; the others keep Kraken's proportion to it. "
    "Kraken's own takes 100.",
)
@click.option(
    "--maintenance-loss",
    type=click.Choice(["none", "private", "all"]),
    default="none",
    show_default=True,
    help="Connections that the fault maintenance closes: none, the private ones in post_only, or all as it begins.",
)
@click.option(
    "--tier",
    type=click.Choice(["starter", "intermediate", "pro"]),
    default="intermediate",
    show_default=True,
    help="Tier of the funded account: its rate counters, and how many orders it may have open.",
)
@click.option(
    "--fee-volume-usd",
    default=0.0,
    type=Finite(min=0),
    show_default=True,
    help="What the account traded in the 30 days before; it decides the fees.",
)
@click.option(
    "--funds",
    default="",
    metavar="A=N,B=N",
    help="What the account begins with, and nothing else: USD=10000,BTC=0.5.  [default: ample of everything; with "
    "--mirror, what some 10000 USD are in each currency that the pairs are paid in]",
)
@click.option("--no-rate-counter", is_flag=True, help="Do not count requests and do not limit open orders.")
@click.option(
    "--engine-latency-ms",
    default="1-3",
    show_default=True,
    metavar="MS[-MS]",
    help="How long the venue takes for a trading request.",
)
@click.option(
    "--rest-lag-ms",
    default="500-3000",
    show_default=True,
    metavar="MS[-MS]",
    help="How old the state is that the fault rest-lag shows.",
)
@click.option(
    "--ledger",
    default="",
    metavar="FILE",
    help="Write every accepted order, its changes, its end and every fill to this file.",
)
@click.option(
    "--clock-offset-s", default=0.0, type=Finite(), show_default=True, help="Seconds by which REST's Time is wrong."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="As of `engine run`, and lines as those.",
)
@click.option("--log-format", type=click.Choice(["console", "json"]), default="console", help="Of those lines.")
@click.option("--die-with-parent", is_flag=True, help="End when the process that started this one ends.")
def venue(
    host: str,
    port: int,
    private_port: int | None,
    rest_port: int | None,
    seed: int,
    symbols: str,
    pairs: int,
    zipf: float,
    only_list: bool,
    also: bool,
    rate: float,
    mirror: str,
    ca_file: str | None,
    faults: tuple[str, ...],
    captures: tuple[str, ...],
    pace: str,
    repeat: int,
    snapshot_delay_ms: str,
    heartbeat_s: float,
    idle_close_s: float,
    requests_per_s: float,
    requests_burst: int,
    maintenance_phase_s: float,
    maintenance_loss: str,
    tier: str,
    fee_volume_usd: float,
    funds: str,
    no_rate_counter: bool,
    engine_latency_ms: str,
    rest_lag_ms: str,
    ledger: str,
    clock_offset_s: float,
    log_level: str | None,
    log_format: str,
    die_with_parent: bool,
) -> None:
    """Serve a Kraken-faithful exchange on loopback.

    Prints one line of JSON when it is ready and logs to standard error; it ends on SIGTERM
    or Ctrl-C. The line has the addresses of the public and the private WebSocket and of
    REST, and the API key and secret of a funded account. With --capture there is the public
    WebSocket alone.

    {"public": "ws://127.0.0.1:8765/v2", "private": "ws://127.0.0.1:8766/v2",
    "rest": "http://127.0.0.1:8767", "api_key": "...", "api_secret": "..."}
    """
    if die_with_parent:
        from engine.prctl import die_with_parent as end_with_it

        end_with_it()
    # Imported here: the other commands of `engine` do not need the venue's libraries.
    from engine.venue.setup.rate_counter import Tier
    from engine.venue.setup.settings import MaintenanceLoss, Pace, VenueSettings
    from engine.venue.websocket.faults import parse_fault

    chosen_pace: Pace = "max" if pace == "max" else "original"
    chosen_loss: MaintenanceLoss = (
        "private" if maintenance_loss == "private" else "all" if maintenance_loss == "all" else "none"
    )
    chosen_tier: Tier = "pro" if tier == "pro" else "starter" if tier == "starter" else "intermediate"
    settings = VenueSettings(
        host=host,
        port=port,
        seed=seed,
        symbols=tuple(symbol.strip() for symbol in symbols.split(",") if symbol.strip()),
        pairs=pairs,
        zipf=zipf,
        also=also,
        rate=rate,
        faults=tuple(parse_fault(fault) for fault in faults),
        capture=captures,
        pace=chosen_pace,
        repeat=repeat,
        snapshot_delay_ms=_delay_range("--snapshot-delay-ms", snapshot_delay_ms),
        heartbeat_s=heartbeat_s,
        idle_close_s=idle_close_s,
        requests_per_s=requests_per_s,
        requests_burst=requests_burst,
        maintenance_phase_s=maintenance_phase_s,
        maintenance_loss=chosen_loss,
        private_port=private_port,
        rest_port=rest_port,
        tier=chosen_tier,
        fee_volume_usd=fee_volume_usd,
        funds=_funds(funds),
        count_rates=not no_rate_counter,
        engine_latency_ms=_delay_range("--engine-latency-ms", engine_latency_ms),
        rest_lag_ms=_delay_range("--rest-lag-ms", rest_lag_ms),
        ledger=ledger,
        clock_offset_s=clock_offset_s,
    )
    if mirror:
        _check_mirror(mirror, settings.symbols)
    if only_list:
        from engine.venue.core import listed_pairs
        from engine.venue.market.pairs import pairs_of_symbols

        listed = pairs_of_symbols(settings.symbols, listed_pairs(settings))
        click.echo(",".join(pair.symbol for pair in listed))
        return
    import asyncio
    import json
    import logging

    import structlog
    import uvloop

    with loading():
        load_aiohttp()
        from engine.telemetry.log import configure_log, log_stream
        from engine.venue.server import serve

        if mirror:
            from engine.paper.serve import serve_paper

    if log_level is not None:
        configure_log(log_level, "json" if log_format == "json" else "console", "venue")
    elif not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.WriteLoggerFactory(file=log_stream()),
        )

    async def serve_until_stopped() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def end(*_: object) -> None:
            # Not the loop's own signal handlers: when it closes they become fatal, and a
            # second signal would kill this process.
            for signal_number in ENDING_SIGNALS:
                signal.signal(signal_number, signal.SIG_IGN)
            loop.call_soon_threadsafe(stop.set)

        for signal_number in ENDING_SIGNALS:
            signal.signal(signal_number, end)

        def ready(addresses: dict[str, str]) -> None:
            print(json.dumps(addresses), flush=True)

        await (serve_paper(settings, mirror, ca_file, ready, stop) if mirror else serve(settings, ready, stop))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped())


def _check_mirror(url: str, symbols: tuple[str, ...]) -> None:
    """Raise ConfigError for what cannot be together with --mirror."""
    from engine.endpoints import check_url
    from engine.errors import ConfigError

    check_url(url)
    if not symbols:
        raise ConfigError("--mirror: name the pairs with --symbols, such as BTC/USD,ETH/USD")
    context = click.get_current_context()
    for name, option in MADE_UP.items():
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise ConfigError(f"{option}: with --mirror nothing is made up and no capture is served, leave it out")


def _funds(text: str) -> dict[str, Decimal]:
    """Parse `USD=10000,BTC=0.5`. Raises ConfigError."""
    from engine.errors import ConfigError

    funds = {}
    for part in filter(None, map(str.strip, text.split(","))):
        asset, _, amount = part.partition("=")
        try:
            funds[asset.strip()] = Decimal(amount)
        except InvalidOperation:
            raise ConfigError(f"--funds {part}: write a currency and an amount, such as USD=10000") from None
    return funds


def _delay_range(option: str, text: str) -> tuple[float, float]:
    """Parse milliseconds such as `25`, or a range such as `10-40`. Raises ConfigError."""
    from engine.errors import ConfigError

    low, _, high = text.partition("-")
    try:
        return float(low), float(high or low)
    except ValueError:
        raise ConfigError(f"{option} {text}: write milliseconds such as 25, or a range such as 10-40") from None
