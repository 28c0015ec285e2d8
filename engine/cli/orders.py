"""`engine orders`, `cancel`, `halt`, `resume`, which ask the order router itself.

The router answers even when a strategy or the engine's own process hangs.
"""

from pathlib import Path

import click

from engine.cli.ask import ask_router, name_option
from engine.cli.help import command
from engine.cli.past import (
    ROWS_SHOWN_MAX,
    moment,
    rest_text,
    state_dir_option,
    tell_missing,
    up_to_date_history,
)
from engine.cli.tables import json_option, print_json, print_table, tell


@command(
    examples=(
        "engine orders",
        "engine orders --since 12h --strategy quoter --json",
    ),
)
@name_option
@json_option
@click.option("--since", metavar="TIME", help="From the history: 90m, 12h, 7d, or a date such as 2026-11-21.")
@click.option("--strategy", help="Only orders of this strategy.")
@state_dir_option
def orders(name: str, as_json: bool, since: str | None, strategy: str | None, state_dir: Path | None) -> None:
    """Show open orders; with --since, all orders of that time from the history."""
    unread: list[str] = []
    rest = ""
    if since is None and state_dir is not None:
        raise click.UsageError("--state-dir belongs to --since: open orders are those of a running engine, by its name")
    if since is None:
        rows = ask_router(name, {"command": "orders"})["orders"]
        rows = [row for row in rows if strategy is None or row["strategy"] == strategy]
    else:
        # Imported here: none of the other commands needs a database.
        from engine.history import order_object, query_orders

        path, unread = up_to_date_history(name, state_dir)
        found = query_orders(path, moment(since), strategy=strategy, rows_max=ROWS_SHOWN_MAX + 1)
        rows = [order_object(row) for row in found[-ROWS_SHOWN_MAX:]]
        rest = rest_text(path, ROWS_SHOWN_MAX, ROWS_SHOWN_MAX) if len(found) > ROWS_SHOWN_MAX else ""
    if as_json:
        print_json({"orders": rows, "has_more": bool(rest)})
        tell_missing(unread)
        return
    print_table(
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
    if rest:
        click.echo(rest)
    tell_missing(unread)


@command(examples=("engine cancel --all",))
@name_option
@json_option
@click.option("--all", "everything", is_flag=True, help="Cancel every open order of this engine.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
def cancel(name: str, as_json: bool, everything: bool, ids: tuple[str, ...]) -> None:
    """Cancel orders, by the engine's id or Kraken's."""
    if everything == bool(ids):
        raise click.UsageError("give order ids, or --all")
    answer = ask_router(name, {"command": "cancel", "ids": list(ids), "all": everything})
    tell(answer, f"canceling {answer['canceling']} orders", as_json)


@command(
    examples=(
        "engine halt",
        "engine halt --reducing  # keep open orders, and let positions become smaller",
    ),
)
@name_option
@json_option
@click.option("--reducing", is_flag=True, help="Only stop what would make positions larger; keep open orders.")
def halt(name: str, as_json: bool, reducing: bool) -> None:
    """Take no more orders and cancel the open ones, until `engine resume`."""
    answer = ask_router(name, {"command": "halt", "reducing": reducing})
    tell(answer, f"{answer['mode']}: canceling {answer['canceling']} orders; `engine resume` ends it", as_json)


@command(examples=("engine resume",))
@name_option
@json_option
def resume(name: str, as_json: bool) -> None:
    """Take orders again after a halt."""
    answer = ask_router(name, {"command": "resume"})
    tell(answer, str(answer["mode"]), as_json)
