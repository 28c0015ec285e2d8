"""Judges the benchmarks: runs those that bench/targets.toml names, and holds their ratios
against its bounds.

    python bench/judge.py [--quick] [--repeats N] [--write] [FILE...]

Exits with 1 when a ratio is on the wrong side of its bound, or a benchmark gave no result;
each with one sentence. A row that misses its bound is measured again, and judged by the
median of three measurements, so that a busy minute of the machine is not a verdict.
`--quick` takes the first row of the targets that are `quick`, `--write` puts the figures
into the tables of bench/README.md.

A target in targets.toml:

    what      the first column of the table; no two alike
    needs     "native" or "portable": judged only when that implementation runs
    rows      the benchmarks that are held against it, each by itself: FILE::NAME
    better    "less" (without it) or "more": on which side of a bound a figure should be
    figure    the key of `extra_info` with what was measured; of a list, its first (the p50)
    unit      of the figure
    shown     further keys that stand beside it in the table
    none      of those, the keys that must be 0 where the target is to count as reached
    ratio     the key with the ratio to the baseline of the same run
    of        that baseline
    target    {ratio = …} or {figure = …}: what the engine is to reach
    bound     of the ratio: beyond it, the check fails. Without it nothing fails: a figure
              with no baseline says as much about the machine as about the engine.
    quick     whether tools/check asks for it
    headline  its column in the history of the headline figures
"""

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

BENCH = Path(__file__).parent
TARGETS = BENCH / "targets.toml"
PAGE = BENCH / "README.md"
MEASUREMENTS = 3  # of a row that missed its bound, the first one included
NOT_MEASURED = "–"
TABLE = ("<!-- targets: written by `tools/bench --check --write` -->", "<!-- end of targets -->")
HISTORY = ("<!-- history: written by `tools/bench --check --write` -->", "<!-- end of history -->")
TABLE_HEAD = ("what", "target", "measured", "ratio", "bound", "reached", "commit")

# What the runs of a row found: its `extra_info`, one a run.
Found = Mapping[str, Sequence[Mapping[str, Any]]]


class BadTargets(Exception):
    """targets.toml, or the page, is not as it should be; the message names the place."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One entry of targets.toml; the module's docstring says what each field means."""

    what: str
    rows: tuple[str, ...]
    figure: str
    unit: str
    needs: Literal["native", "portable", ""] = ""
    better: Literal["less", "more"] = "less"
    shown: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    ratio: str = ""
    of: str = ""
    target_ratio: float | None = None
    target_figure: float | None = None
    bound: float | None = None
    quick: bool = False
    headline: str = ""

    def is_within(self, value: float, limit: float) -> bool:
        """Whether a value is on the right side of a limit, or on it."""
        return value <= limit if self.better == "less" else value >= limit

    @property
    def sign(self) -> str:
        """Before a limit."""
        return "≤" if self.better == "less" else "≥"


@dataclass(frozen=True)
class Verdict:
    """Of one target: what is wrong, a sentence each, and the medians of its rows, as far as
    they were measured.
    """

    target: Target
    wrong: tuple[str, ...]
    missed: tuple[str, ...]
    """The rows that were measured and are beyond the bound."""
    figures: tuple[float, ...]
    ratios: tuple[float, ...]
    shown: Mapping[str, tuple[float, ...]]

    @property
    def is_reached(self) -> bool | None:
        """Whether every row is where the issue wants it; None where nothing says so."""
        target = self.target
        if any(value for key in target.none for value in self.shown.get(key, ())):
            return False
        if target.target_ratio is not None and self.ratios:
            return all(target.is_within(ratio, target.target_ratio) for ratio in self.ratios)
        if target.target_figure is not None and self.figures:
            return all(target.is_within(figure, target.target_figure) for figure in self.figures)
        return None


def read_targets(text: str) -> tuple[Target, ...]:
    """The targets of a TOML text. BadTargets names the target and the key that is wrong."""
    try:
        entries = tomllib.loads(text).get("target", [])
    except tomllib.TOMLDecodeError as error:
        raise BadTargets(f"targets.toml is not TOML: {error}") from None
    targets = tuple(_read_target(entry) for entry in entries)
    names = [target.what for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise BadTargets(f"targets.toml: two targets are called {name!r}")
    return targets


def _read_target(entry: Mapping[str, Any]) -> Target:
    what = entry.get("what")
    place = f"targets.toml, target {what!r}"
    known = {name: value for name, value in entry.items() if name in Target.__dataclass_fields__}
    limits = entry.get("target", {})
    if unknown := [
        *(set(entry) - set(known) - {"target"}),
        *(f"target.{n}" for n in set(limits) - {"ratio", "figure"}),
    ]:
        raise BadTargets(f"{place}: there is no key {unknown[0]!r}")
    if missing := [name for name in ("what", "rows", "figure", "unit") if not entry.get(name)]:
        raise BadTargets(f"{place}: it lacks {missing[0]!r}")
    if entry.get("needs", "") not in ("", "native", "portable"):
        raise BadTargets(f"{place}: needs is 'native' or 'portable', or is left out; not {entry['needs']!r}")
    if entry.get("better", "less") not in ("less", "more"):
        raise BadTargets(f"{place}: better is 'less' or 'more', not {entry['better']!r}")
    if not entry.get("ratio") and ("bound" in entry or "ratio" in limits):
        raise BadTargets(f"{place}: a bound and target.ratio are of a ratio, and it names none")
    for name in ("rows", "shown", "none"):
        known[name] = tuple(entry.get(name, ()))
    return Target(**known, target_ratio=limits.get("ratio"), target_figure=limits.get("figure"))


def asked(
    targets: Iterable[Target], *, native: bool, quick: bool, files: Collection[str] = ()
) -> tuple[tuple[Target, tuple[str, ...]], ...]:
    """The targets of a run, each with the rows that are measured for it: of the
    implementation that runs, of these files when some are named, and with `quick` the first
    row of the quick ones.
    """
    found = []
    for target in targets:
        if target.needs not in ("", "native" if native else "portable") or (quick and not target.quick):
            continue
        rows = target.rows[:1] if quick else target.rows
        if rows := tuple(row for row in rows if not files or row.partition("::")[0] in files):
            found.append((target, rows))
    return tuple(found)


def judge(target: Target, rows: Sequence[str], found: Found) -> Verdict:
    """Hold the medians of each row against the target's bound."""
    wrong, missed, figures, ratios = [], [], [], []
    shown: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        runs = found.get(row, ())
        if not runs:
            wrong.append(f"{target.what}: {row} gave no result: it failed, or it has another name now")
            continue
        keys = [key for key in (target.figure, target.ratio, *target.shown) if key]
        if lacking := [key for key in keys if any(not _is_figure(run.get(key)) for run in runs)]:
            has = ", ".join(key for key, value in runs[0].items() if _is_figure(value)) or "nothing"
            wrong.append(f"{target.what}: {row} has no figure {lacking[0]!r}; it has {has}")
            continue
        medians = {key: median(_number(run[key]) for run in runs) for key in keys}
        figures.append(medians[target.figure])
        for key in target.shown:
            shown[key].append(medians[key])
        if not target.ratio:
            continue
        ratios.append(ratio := medians[target.ratio])
        if target.bound is not None and not target.is_within(ratio, target.bound):
            measured = ", ".join(f"{_number(run[target.ratio]):g}" for run in runs)
            missed.append(row)
            wrong.append(
                f"{target.what}: {row} is {ratio:g} × {target.of} (measured: {measured}); "
                f"the bound is {target.sign} {target.bound:g} ×"
            )
    return Verdict(
        target, tuple(wrong), tuple(missed), tuple(figures), tuple(ratios), {k: tuple(v) for k, v in shown.items()}
    )


def _is_figure(value: object) -> bool:
    if isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    return float(value[0] if isinstance(value, list) else value)


def judge_all(
    wanted: Sequence[tuple[Target, tuple[str, ...]]],
    measure: Callable[[Collection[str]], Mapping[str, Mapping[str, Any]]],
    *,
    repeats: int,
) -> list[Verdict]:
    """Measure all rows `repeats` times, those that miss their bound up to MEASUREMENTS
    times, and judge. `measure` returns the `extra_info` of the rows that gave a result.
    """
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    rows = list(dict.fromkeys(row for _, rows in wanted for row in rows))
    for number in range(max(repeats, MEASUREMENTS)):
        for row, figures in measure(rows).items():
            found[row].append(figures)
        verdicts = [judge(target, rows, found) for target, rows in wanted]
        if number + 1 >= repeats:
            rows = list(dict.fromkeys(row for verdict in verdicts for row in verdict.missed))
        if not rows:
            break
    return verdicts


def as_range(values: Sequence[float], unit: str) -> str:
    """Of several rows, from the least to the greatest: `0.36–0.81 µs`."""
    if not values:
        return NOT_MEASURED
    texts = [_figure_text(value) for value in (min(values), max(values))]
    return f"{'–'.join(dict.fromkeys(texts))}{'' if unit.startswith('/') else ' '}{unit}"


def _figure_text(value: float) -> str:
    return f"{round(value):,}" if abs(value) >= 1000 else f"{value:.3g}"


def table_row(verdict: Verdict, commit: str) -> tuple[str, ...]:
    """A target's cells, in the order of TABLE_HEAD."""
    target = verdict.target
    if target.target_ratio is not None:
        wanted = f"{target.sign} {target.target_ratio:g} × {target.of}"
    elif target.target_figure is not None:
        wanted = f"{target.sign} {as_range([target.target_figure], target.unit)}"
    else:
        wanted = NOT_MEASURED
    measured = as_range(verdict.figures, target.unit)
    for key, values in verdict.shown.items():
        measured += f", {key} {as_range(values, '').strip()}"
    ratio = as_range(verdict.ratios, "×")
    if verdict.ratios and target.target_ratio is None:
        ratio += f" {target.of}"
    bound = NOT_MEASURED if target.bound is None else f"{target.sign} {target.bound:g} ×"
    reached = {True: "✓", False: "not yet", None: NOT_MEASURED}[verdict.is_reached]
    return (target.what, wanted, measured, ratio, bound, reached, commit if verdict.figures else NOT_MEASURED)


def unmeasured(target: Target) -> Verdict:
    """Of a target that no run was asked for."""
    return Verdict(target, (), (), (), (), {})


def rewritten(page: str, targets: Sequence[Target], verdicts: Sequence[Verdict], commit: str, date: str) -> str:
    """The page with the figures of these verdicts in both tables.

    Targets that were not measured keep their figures and their commit. The history has one
    line a commit. BadTargets when the page lacks a table's marks.
    """
    new = {verdict.target.what: verdict for verdict in verdicts if verdict.figures}
    old = {cells[0]: cells for cells in _cells_between(page, TABLE)[1:] if len(cells) == len(TABLE_HEAD)}
    table = [TABLE_HEAD]
    for target in targets:
        row = table_row(new.get(target.what, unmeasured(target)), commit)
        if target.what not in new and target.what in old:
            kept = old[target.what]
            row = (*row[:2], *kept[2:4], row[4], *kept[5:])
        table.append(row)
    page = _with_table(page, TABLE, table)

    names = [target.headline for target in targets if target.headline]
    head = ("date", "commit", *names)
    earlier = _cells_between(page, HISTORY)
    lines = {cells[1]: dict(zip(earlier[0], cells, strict=False)) for cells in earlier[1:] if len(cells) > 1}
    figures = {
        verdict.target.headline: f"{as_range(verdict.figures, verdict.target.unit)} · {as_range(verdict.ratios, '×')}"
        for verdict in new.values()
        if verdict.target.headline
    }
    if figures:
        lines[commit] = lines.get(commit, {}) | {"date": date, "commit": commit} | figures
    history = [head, *(tuple(line.get(name, NOT_MEASURED) for name in head) for line in lines.values())]
    return _with_table(page, HISTORY, history)


def _between(page: str, marks: tuple[str, str]) -> tuple[str, str, str]:
    before, begun, rest = page.partition(marks[0])
    inside, ended, after = rest.partition(marks[1])
    if not begun or not ended:
        raise BadTargets(f"bench/README.md lacks the line {marks[1] if begun else marks[0]!r}")
    return before, inside, after


def _cells_between(page: str, marks: tuple[str, str]) -> list[tuple[str, ...]]:
    lines = [line.strip() for line in _between(page, marks)[1].splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [rows[0], *rows[2:]] if rows else [()]  # the second is the rule under the head


def _with_table(page: str, marks: tuple[str, str], rows: Sequence[Sequence[str]]) -> str:
    before, _, after = _between(page, marks)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return f"{before}{marks[0]}\n\n" + "\n".join(lines) + f"\n\n{marks[1]}{after}"


def run_benchmarks(rows: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The `extra_info` of each of these benchmarks that gave a result."""
    files = dict.fromkeys(str(BENCH / row.partition("::")[0]) for row in rows)
    present = [file for file in files if Path(file).exists()]
    if not present:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        command = [sys.executable, "-m", "pytest", "--quiet", "--benchmark-disable-gc", "--benchmark-json", str(out)]
        command += [part for row in rows for part in ("--row", row)]
        subprocess.run([*command, *present], stdout=sys.stderr, cwd=BENCH.parent, check=False)
        text = out.read_text() if out.exists() else ""  # it is empty when no benchmark ran
    results = json.loads(text)["benchmarks"] if text else []
    return {result["fullname"].partition("/")[2]: result["extra_info"] for result in results}


def is_native() -> bool:
    """Whether the compiled implementation runs; False in a tree that has none."""
    if importlib.util.find_spec("engine.native") is None:
        return False
    return bool(importlib.import_module("engine.native").IS_NATIVE)


def _commit() -> str:
    """Short, with a + when files beside the page differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(("git", *arguments), cwd=BENCH, capture_output=True, text=True, check=True).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", ":/", f":(exclude,top){PAGE.parent.name}/README.md"
    )
    return git("rev-parse", "--short=7", "HEAD") + ("+" if changed else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table and what is wrong; 0 when nothing is."""
    parser = argparse.ArgumentParser(
        prog="tools/bench --check", description="Hold the benchmarks against their bounds."
    )
    parser.add_argument("--quick", action="store_true", help="the small set of tools/check")
    parser.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="measure every row N times and take medians"
    )
    parser.add_argument("--write", action="store_true", help="put the figures into bench/README.md")
    parser.add_argument("files", nargs="*", metavar="FILE", help="only the targets of these benchmark files")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats is at least 1, not {options.repeats}")
    if options.quick and options.write:
        parser.error("--quick measures one row of each target; --write needs them all")
    native = is_native()
    try:
        targets = read_targets(TARGETS.read_text())
        wanted = asked(targets, native=native, quick=options.quick, files={Path(file).name for file in options.files})
        if not wanted:
            parser.error(f"targets.toml has no target for {' '.join(options.files) or 'this run'}")
        verdicts = judge_all(wanted, run_benchmarks, repeats=options.repeats)
        commit = _commit() if options.write else ""
        if options.write:
            date = datetime.now(UTC).date().isoformat()
            PAGE.write_text(rewritten(PAGE.read_text(), targets, verdicts, commit, date))
    except BadTargets as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(f"native: {'yes' if native else 'no'}\n")
    for row in (TABLE_HEAD[:-1], ("---",) * (len(TABLE_HEAD) - 1), *(table_row(v, commit)[:-1] for v in verdicts)):
        print("| " + " | ".join(row) + " |")
    wrong = [sentence for verdict in verdicts for sentence in verdict.wrong]
    for sentence in wrong:
        print(f"bench: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
