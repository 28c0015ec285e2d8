"""What a command prints: a table for people, or one JSON object for programs."""

import json
import sys
from typing import Any

import click
import msgspec

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")

WIDTH = 200  # of a table that goes to a file or a pipe


def print_json(answer: dict[str, Any]) -> None:
    """Print one object, indented."""
    sys.stdout.write(msgspec.json.format(_encoded(answer), indent=2).decode() + "\n")


def print_json_line(answer: dict[str, Any]) -> None:
    """Print one object as a line, at once: the command goes on."""
    click.echo(_encoded(answer))


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:  # a file's name that is no UTF-8, which JSON cannot have
        return json.dumps(answer, ensure_ascii=False).encode(errors="replace")


def tell(answer: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Print what was done: a sentence for people, or the whole answer."""
    if as_json:
        print_json(answer)
    else:
        click.echo(sentence)


def print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]], nothing: str) -> None:
    """Print rows under their heads; `nothing` when there are none."""
    if not rows:
        click.echo(nothing)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # a cell is no markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table)
