"""`engine orders`, `balances`, `cancel`, `halt`, `resume`, which ask the order router
itself.

The router answers even when a strategy or the engine's own process hangs.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.cli.ask import ask_router, name_option
from engine.errors import ConfigError
from engine.state_directory import HISTORY_FILE, default_state_dir
from engine.supervisor.run_directory import RunDirectory
from engine.units import NS_PER_S, WallNs

PERIODS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.command()
@name_option
@json_option
@click.option("--since", metavar="TIME", help="From the history: 90m, 12h, 7d, or a date such as 2026-11-21.")
@click.option("--strategy", help="Only orders of this strategy.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="State directory of an engine that does not run.")
def orders(name: str, as_json: bool, since: str | None, strategy: str | None, state_dir: Path | None) -> None:
    """Show open orders; with --since, all orders of that time from the history."""
    if since is None:
        rows = ask_router(name, {"command": "orders"})["orders"]
        rows = [row for row in rows if strategy is None or row["strategy"] == strategy]
    else:
        is_running = state_dir is None and RunDirectory(name).holder() is not None
        rows = _from_history(state_dir or _state_dir(name), _moment(since), strategy, is_running)
    if as_json:
        _print_json({"orders": rows})
        return
    _print_table(
        ("id", "strategy", "symbol", "side", "type", "qty", "filled", "limit", "state", "reason"),
        [
            (
                row["id"],
                row["strategy"] or "external",
                row["symbol"],
                row["side"],
                row["type"],
                row["qty"] if row["cash_qty"] is None else f"for {row['cash_qty']} {row['symbol'].partition('/')[2]}",
                row["filled"],
                row["limit_price"] or "",
                row["state"],
                row["reason"],
            )
            for row in rows
        ],
        "no open orders" if since is None else "no orders in that time",
    )


@click.command()
@name_option
@json_option
def balances(name: str, as_json: bool) -> None:
    """Show what the account holds, what open orders reserve, and what is free."""
    answer = ask_router(name, {"command": "balances"})
    if as_json:
        _print_json(answer)
        return
    _print_table(
        ("asset", "total", "held", "free", "earning"),
        [(row["asset"], row["total"], row["held"], row["free"], row["earning"]) for row in answer["balances"]],
        "no balances yet",
    )


@click.command()
@name_option
@click.option("--all", "everything", is_flag=True, help="Cancel every open order of this engine.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
def cancel(name: str, everything: bool, ids: tuple[str, ...]) -> None:
    """Cancel orders, by the engine's id or Kraken's."""
    if everything == bool(ids):
        raise click.UsageError("give order ids, or --all")
    answer = ask_router(name, {"command": "cancel", "ids": list(ids), "all": everything})
    click.echo(f"canceling {answer['canceling']} orders")


@click.command()
@name_option
@click.option("--reducing", is_flag=True, help="Only stop what would make positions larger; keep open orders.")
def halt(name: str, reducing: bool) -> None:
    """Take no more orders and cancel the open ones, until `engine resume`."""
    answer = ask_router(name, {"command": "halt", "reducing": reducing})
    click.echo(f"{answer['mode']}: canceling {answer['canceling']} orders; `engine resume` ends it")


@click.command()
@name_option
def resume(name: str) -> None:
    """Take orders again after a halt."""
    answer = ask_router(name, {"command": "resume"})
    click.echo(str(answer["mode"]))


def _moment(text: str) -> datetime:
    """Parse `12h` (ago), or a date and time in UTC. Raises ConfigError."""
    if text[:-1].isdigit() and text[-1] in PERIODS:
        return datetime.now(UTC) - timedelta(**{PERIODS[text[-1]]: int(text[:-1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--since {text}: write a period such as 90m, 12h or 7d, or a date such as 2026-11-21"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _state_dir(name: str) -> Path:
    """The running engine's state directory, or the default one for this name."""
    try:
        return Path(ask_router(name, {"command": "where"})["state_dir"])
    except ConfigError:
        return default_state_dir(name)


def _from_history(state_dir: Path, since: datetime, strategy: str | None, is_running: bool) -> list[dict[str, Any]]:
    # Imported here: none of the other commands needs a database.
    from engine.history import is_incomplete, order_object, query_orders, rebuild
    from engine.orders.journal import read_journal

    path = state_dir / HISTORY_FILE
    if state_dir.is_dir() and is_incomplete(path, is_running=is_running):
        rebuild(path, (record for _, record in read_journal(state_dir)), is_running=is_running)
    rows = query_orders(path, WallNs(int(since.timestamp() * NS_PER_S)), strategy=strategy)
    return [order_object(row) for row in rows]


def _print_json(answer: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")


def _print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]], nothing: str) -> None:
    if not rows:
        click.echo(nothing)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
