"""Findings as people and programs read them."""

from collections.abc import Sequence
from typing import Final

import click

from engine.cli.tables import print_json
from engine.doctor import Finding, Level, is_well

EXIT_NOT_WELL: Final = 2  # as for a mistake: something has to be changed
COLORS: Final = {Level.OK: "green", Level.ADVICE: "cyan", Level.WARNING: "yellow", Level.FAILURE: "red"}


def report(findings: Sequence[Finding], well: str, not_well: str, *, as_json: bool, **more: object) -> int:
    """Print the findings, and `well` or `not_well` in a last line; the exit code.

    As JSON: `ok`, `checks` with name, level and text of each, and `more`.
    """
    ok = is_well(findings)
    if as_json:
        rows = [{"name": row.name, "level": row.level, "text": row.text} for row in findings]
        print_json({"ok": ok, **more, "checks": rows})
    else:
        for finding in findings:
            level = click.style(f"{finding.level.value:<8}", fg=COLORS[finding.level])
            click.echo(f"{level} {finding.name:<12} {finding.text}")
        failures = sum(finding.level is Level.FAILURE for finding in findings)
        click.echo(well if ok else f"{not_well}: {failures} {'failure' if failures == 1 else 'failures'}")
    return 0 if ok else EXIT_NOT_WELL
