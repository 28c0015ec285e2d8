"""`engine fills`, `positions` and `balances`: what was traded, and what is held.

Fills and positions are known of a stopped engine too, from its history and its journal.
"""

from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from engine.cli.ask import ask_router, name_option
from engine.cli.help import command
from engine.cli.past import (
    ROWS_SHOWN_MAX,
    check_name,
    is_running,
    moment,
    rest_text,
    state_dir_of,
    state_dir_option,
    tell_missing,
    up_to_date_history,
)
from engine.cli.tables import json_option, print_json, print_table
from engine.config import parse_symbols
from engine.errors import ConfigError
from engine.units import WallNs

FILLS_SHOWN = 50  # unless a time or a number is asked for


@command(examples=("engine fills --since 7d --symbol BTC/USD",))
@name_option
@json_option
@click.option("--since", metavar="TIME", help="All since then: 90m, 12h, 7d, or a date such as 2026-11-21.")
@click.option("--limit", type=click.IntRange(1, ROWS_SHOWN_MAX),
              help=f"The newest so many.  [default: {FILLS_SHOWN}; {ROWS_SHOWN_MAX:,} with --since]")  # fmt: skip
@click.option("--strategy", help="Only fills of this strategy.")
@click.option("--symbol", help="Only fills of this pair.")
@state_dir_option
def fills(
    name: str,
    as_json: bool,
    since: str | None,
    limit: int | None,
    strategy: str | None,
    symbol: str | None,
    state_dir: Path | None,
) -> None:
    """Show the last fills, oldest first; of a running or a stopped engine."""
    from engine.history import fill_object, query_fills

    limit = limit or (FILLS_SHOWN if since is None else ROWS_SHOWN_MAX)
    begin = WallNs(0) if since is None else moment(since)
    if symbol is not None:
        symbol = _one_pair(symbol)
    path, unread = up_to_date_history(name, state_dir)
    found = query_fills(path, begin, strategy=strategy, symbol=symbol, rows_max=limit + 1)
    rows = [fill_object(row) for row in found[-limit:]]
    if as_json:
        print_json({"fills": rows, "has_more": len(found) > limit})
        tell_missing(unread)
        return
    print_table(
        ("time", "strategy", "symbol", "side", "qty", "price", "cost", "fees", "liquidity", "order"),
        [
            (
                row["kraken_time"],
                row["strategy"] or "external",
                row["symbol"],
                row["side"],
                row["qty"],
                row["price"],
                row["cost"],
                ", ".join(f"{qty} {asset}" for asset, qty in row["fees"].items()),
                row["liquidity"],
                row["id"],
            )
            for row in rows
        ],
        _no_fills(since, strategy, symbol),
    )
    if len(found) > limit:
        click.echo(rest_text(path, limit, ROWS_SHOWN_MAX))
    tell_missing(unread)


def _no_fills(since: str | None, strategy: str | None, symbol: str | None) -> str:
    """What a table without rows says: a filter may be what leaves none."""
    by = "" if strategy is None else f" of a strategy named {strategy}"
    pair = "" if symbol is None else f" in {symbol}"
    return f"no fills{by}{pair} {'yet' if since is None else 'in that time'}"


def _one_pair(text: str) -> str:
    pairs = parse_symbols(text, "--symbol")
    if len(pairs) != 1:
        raise ConfigError(f"--symbol {text} must be one pair, such as BTC/USD")
    return pairs[0]


@command(examples=("engine positions --json",))
@name_option
@json_option
@state_dir_option
@click.option("--cost", metavar="SYMBOL=PRICE",
              help="Say at which average price what the account held was bought; of a running engine.")  # fmt: skip
@click.option("--strategy", default="", help="Whose position --cost is about, where several have one.")
def positions(name: str, as_json: bool, state_dir: Path | None, cost: str | None, strategy: str) -> None:
    """Show what each strategy holds, at which average price, and its profit; of a running
    or a stopped engine.

    A position is what the strategy's own fills came to, and with positions = "account" what
    the account held at the start: that has no known price until --cost tells it, so none is
    shown, and profit counts what was bought by fills alone. What is held is valued while
    the engine runs, at the last verified book.
    """
    if cost is not None and state_dir is not None:
        raise click.UsageError("--cost is told to a running engine, by its name; leave --state-dir out")
    if cost is None and strategy:
        raise click.UsageError("--strategy belongs to --cost; without it all positions are shown")
    if cost is not None:
        symbol, equals, price = cost.partition("=")
        if not equals:
            raise click.UsageError(f"--cost {cost} must be a pair and its price, such as BTC/USD=52000.5")
        rows = ask_router(name, {"command": "cost", "symbol": symbol, "price": price, "strategy": strategy})[
            "positions"
        ]
    elif state_dir is None and is_running(name):
        rows = ask_router(name, {"command": "positions"})["positions"]
    else:
        rows = _positions_of_journal(name, state_dir or state_dir_of(name))
    rows = sorted(rows, key=itemgetter("strategy", "symbol"))  # not by who traded first
    if as_json:
        print_json({"positions": rows})
        return
    print_table(
        ("strategy", "symbol", "qty", "avg price", "realized", "unrealized", "fees"),
        [
            (
                row["strategy"] or "external",
                row["symbol"],
                *(
                    "unknown" if row[name] is None else row[name]
                    for name in ("qty", "avg_price", "realized", "unrealized", "fees")
                ),
            )
            for row in rows
        ],
        "no positions: nothing was traded yet",
    )


@command(examples=("engine balances",))
@name_option
@json_option
def balances(name: str, as_json: bool) -> None:
    """Show what the account holds, what open orders reserve, and what is free."""
    answer = ask_router(name, {"command": "balances"})
    if as_json:
        print_json(answer)
        return
    if answer["balances"] is None:
        click.echo(answer["reason"])
        return
    print_table(
        ("asset", "total", "held", "free", "earning"),
        [(row["asset"], row["total"], row["held"], row["free"], row["earning"]) for row in answer["balances"]],
        "the account holds nothing",
    )


def _positions_of_journal(name: str, folder: Path) -> list[dict[str, Any]]:
    # Imported here: the other commands need no journal.
    from engine.orders.blotter import fold
    from engine.orders.journal import newest_records
    from engine.orders.positions import position_texts

    check_name(name, folder)
    records = newest_records(folder)
    if not records:
        raise ConfigError(
            f"no engine named {name} is running, and there is no journal in {folder} that tells what it held; "
            "--state-dir names another place (trading.state_dir of the configuration)"
        )
    return [
        {"strategy": strategy, "symbol": symbol, **position_texts(state, None)}
        for strategy, symbol, state in fold(records).positions.items()
    ]
