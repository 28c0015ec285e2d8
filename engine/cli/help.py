"""What `--help` and engine/docs/commands.md say of a command beside its options.

@command(examples=("engine run --venue local  # play money",), exits={1: "any other end"})
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

EXIT_OK: Final = 0
EXIT_MISTAKE: Final = 2

DEFAULT_EXITS: Final[Mapping[int, str]] = {
    EXIT_OK: "it is done",
    EXIT_MISTAKE: "a mistake: one sentence on standard error names the place and the mend",
}


class Finite(click.FloatRange):
    """A number of an option: neither nan, which is within every range, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class Command(click.Command):
    """A command with examples and exit codes."""

    def __init__(
        self, *arguments: Any, examples: Sequence[str] = (), exits: Mapping[int, str] | None = None, **options: Any
    ) -> None:
        """`examples` are lines to type, each with a remark behind `#` if it needs one;
        `exits` are the exit codes that mean something other than done (0) and mistake (2).
        """
        super().__init__(*arguments, **options)
        self.examples = tuple(examples)
        self.exits = dict(sorted({**DEFAULT_EXITS, **(exits or {})}.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and exit codes behind the options."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in self.exits.items()])


def command(
    name: str | None = None, *, examples: Sequence[str], exits: Mapping[int, str] | None = None, **options: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a function as a command; see `Command`."""
    return click.command(name, cls=Command, examples=examples, exits=exits, **options)
