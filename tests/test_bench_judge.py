"""The judge of the benchmarks (bench/judge.py), on made-up results."""

import ast
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from bench.judge import (
    HISTORY,
    PAGE,
    TABLE,
    TABLE_HEAD,
    TARGETS,
    BadTargets,
    Target,
    asked,
    judge,
    judge_all,
    main,
    read_targets,
    rewritten,
    table_row,
    unmeasured,
)

ROW = "test_path.py::test_path[deep]"
LESS = Target(
    what="path", rows=(ROW,), figure="path_us", unit="µs", ratio="ratio", of="decoding", target_ratio=2.0, bound=3.0
)
MORE = Target(
    what="pipeline", rows=(ROW,), figure="per_s", unit="/s", better="more", ratio="share", of="a lone client",
    target_figure=300_000, bound=0.1, headline="pipeline",
)  # fmt: skip
PLAIN = Target(what="memory", rows=(ROW,), figure="mb", unit="MB", target_figure=5)
PAGE_TEXT = f"# Benchmarks\n\n{TABLE[0]}\n{TABLE[1]}\n\nBetween.\n\n{HISTORY[0]}\n{HISTORY[1]}\n\nAfter.\n"


def ratios(*values: float) -> list[dict[str, Any]]:
    """Runs of the row of LESS."""
    return [{"path_us": 4.6, "ratio": value} for value in values]


@pytest.mark.parametrize(
    ("target", "runs", "is_reached"),
    [
        (LESS, ratios(1.9), True),
        (LESS, ratios(2.0), True),
        (LESS, ratios(3.0), False),  # beyond the target, on the bound
        (LESS, ratios(9.0, 1.5, 1.6), True),  # one bad run of three
        (MORE, [{"per_s": 310_000, "share": 0.3}], True),
        (MORE, [{"per_s": 200_000, "share": 0.1}], False),
        (PLAIN, [{"mb": 4.6}], True),
        (PLAIN, [{"mb": 400}], False),  # a figure without a baseline fails nothing
    ],
)
def test_a_row_on_the_right_side_of_its_bound_passes(target: Target, runs: list[dict[str, Any]], is_reached: bool):
    """The bound alone decides; whether the target is reached is told beside it."""
    verdict = judge(target, target.rows, {ROW: runs})

    assert verdict.wrong == verdict.missed == ()
    assert verdict.is_reached is is_reached


@pytest.mark.parametrize(
    ("target", "runs", "sentence"),
    [
        (
            LESS,
            ratios(3.1),
            f"path: {ROW} is 3.1 × decoding (measured: 3.1); the bound is ≤ 3 ×",
        ),
        (
            LESS,
            ratios(1.0, 4.0, 5.0),
            f"path: {ROW} is 4 × decoding (measured: 1, 4, 5); the bound is ≤ 3 ×",
        ),
        (
            MORE,
            [{"per_s": 900_000, "share": 0.05}],
            f"pipeline: {ROW} is 0.05 × a lone client (measured: 0.05); the bound is ≥ 0.1 ×",
        ),
    ],
)
def test_a_row_beyond_its_bound_fails(target: Target, runs: list[dict[str, Any]], sentence: str):
    """The median of the runs decides, on either side; the sentence has every measurement."""
    verdict = judge(target, target.rows, {ROW: runs})

    assert verdict.wrong == (sentence,)
    assert verdict.missed == (ROW,)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({}, f"path: {ROW} gave no result: it failed, or it has another name now"),
        ({ROW: []}, f"path: {ROW} gave no result: it failed, or it has another name now"),
        ({ROW: [{}]}, f"path: {ROW} has no figure 'path_us'; it has nothing"),
        ({ROW: [{"path_us": 4.6}]}, f"path: {ROW} has no figure 'ratio'; it has path_us"),
        ({ROW: [{"path_us": 4.6, "ratio": None}]}, f"path: {ROW} has no figure 'ratio'; it has path_us"),
        ({ROW: [*ratios(1.0), {"path_us": 1.0}]}, f"path: {ROW} has no figure 'ratio'; it has path_us, ratio"),
    ],
)
def test_a_missing_row_or_figure_fails(found: Mapping[str, list[dict[str, Any]]], sentence: str):
    """A benchmark that failed or was renamed is no pass, and one sentence says which."""
    assert judge(LESS, LESS.rows, found).wrong == (sentence,)


def test_each_row_is_held_against_the_bound_by_itself():
    """A good row does not make up for a bad one."""
    target = Target(what="paths", rows=("a", "b", "c"), figure="us", unit="µs", ratio="ratio", of="x", bound=2.0)
    found = {"a": [{"us": 1, "ratio": 1.0}], "b": [{"us": 9, "ratio": 9.0}], "c": [{"us": 1, "ratio": 1.0}]}

    verdict = judge(target, target.rows, found)

    assert verdict.missed == ("b",)
    assert verdict.ratios == (1.0, 9.0, 1.0)


def test_percentiles_are_judged_by_the_first():
    """A list of p50, p99, p99.9 counts with its p50."""
    verdict = judge(LESS, LESS.rows, {ROW: [{"path_us": [4.5, 90.0, 400.0], "ratio": [1.5, 9.0]}]})

    assert (verdict.figures, verdict.ratios, verdict.wrong) == ((4.5,), (1.5,), ())


def measurements(*runs: Mapping[str, float]) -> tuple[list[tuple[str, ...]], Any]:
    """Something that measures: what was asked of it, and it. A run gives each row's ratio."""
    requests: list[tuple[str, ...]] = []

    def measure(rows: Collection[str]) -> dict[str, dict[str, Any]]:
        run = runs[len(requests)]
        requests.append(tuple(rows))
        return {row: {"path_us": 1.0, "ratio": run[row]} for row in rows if row in run}

    return requests, measure


PAIR = Target(what="pair", rows=("a", "b"), figure="path_us", unit="µs", ratio="ratio", of="x", bound=3.0)


@pytest.mark.parametrize(
    ("repeats", "runs", "requests", "is_right"),
    [
        (1, [{"a": 1, "b": 1}], [("a", "b")], True),
        (1, [{"a": 1, "b": 9}, {"b": 1}, {"b": 1}], [("a", "b"), ("b",), ("b",)], True),
        (1, [{"a": 1, "b": 9}, {"b": 9}, {"b": 1}], [("a", "b"), ("b",), ("b",)], False),
        (1, [{"a": 1}], [("a", "b")], False),  # without a result it failed: that is no noise
        (3, [{"a": 1, "b": 1}] * 3, [("a", "b")] * 3, True),
        (3, [{"a": 1, "b": 9}] * 3, [("a", "b")] * 3, False),
    ],
)
def test_what_misses_its_bound_is_measured_again(
    repeats: int, runs: list[dict[str, float]], requests: list[tuple[str, ...]], is_right: bool
):
    """Up to three measurements of the rows that miss theirs, and of no other."""
    asked_for, measure = measurements(*runs)

    (verdict,) = judge_all([(PAIR, PAIR.rows)], measure, repeats=repeats)

    assert asked_for == requests
    assert (verdict.wrong == ()) is is_right


def test_a_run_asks_for_what_it_can_judge():
    """Targets of the other implementation are left out, and of other files; the small set takes a row of each."""
    native = Target(what="n", rows=("f.py::a", "f.py::b"), figure="x", unit="", needs="native", quick=True)
    portable = Target(what="p", rows=("f.py::a", "g.py::b"), figure="x", unit="", needs="portable")
    both = Target(what="both", rows=("g.py::c",), figure="x", unit="")
    targets = (native, portable, both)

    assert asked(targets, native=True, quick=False) == ((native, native.rows), (both, both.rows))
    assert asked(targets, native=False, quick=False) == ((portable, portable.rows), (both, both.rows))
    assert asked(targets, native=True, quick=True) == ((native, ("f.py::a",)),)
    assert asked(targets, native=False, quick=False, files={"f.py"}) == ((portable, ("f.py::a",)),)


@pytest.mark.parametrize(
    ("target", "runs", "cells"),
    [
        (LESS, ratios(2.5), ("path", "≤ 2 × decoding", "4.6 µs", "2.5 ×", "≤ 3 ×", "not yet", "abc")),
        (
            MORE,
            [{"per_s": 310_123.4, "share": 0.3}],
            ("pipeline", "≥ 300,000/s", "310,123/s", "0.3 × a lone client", "≥ 0.1 ×", "✓", "abc"),
        ),
        (PLAIN, [{"mb": 4.64}], ("memory", "≤ 5 MB", "4.64 MB", "–", "–", "✓", "abc")),
        (PLAIN, [], ("memory", "≤ 5 MB", "–", "–", "–", "–", "–")),
    ],
)
def test_a_line_of_the_table(target: Target, runs: list[dict[str, Any]], cells: tuple[str, ...]):
    """Target, measured, ratio, bound, commit; a dash for what there is not."""
    assert table_row(judge(target, target.rows, {ROW: runs}), "abc") == cells


def test_several_rows_are_a_range():
    """From the least to the greatest, and once where they are alike."""
    found = {"a": [{"path_us": 2.0, "ratio": 1.0}], "b": [{"path_us": 1.0, "ratio": 1.0}]}

    assert table_row(judge(PAIR, PAIR.rows, found), "abc")[2:4] == ("1–2 µs", "1 × x")


def lines_between(page: str, marks: tuple[str, str]) -> list[str]:
    """The lines of a table, without its head and rule."""
    inside = page.partition(marks[0])[2].partition(marks[1])[0]
    return [line for line in inside.splitlines() if line.startswith("|")][2:]


def test_the_page_keeps_what_was_not_measured():
    """A second run writes its own lines and leaves the others with their commits; all else of the page stays."""
    targets = (LESS, MORE)
    first = [judge(LESS, LESS.rows, {ROW: ratios(2.5)}), judge(MORE, MORE.rows, {})]
    second = [judge(MORE, MORE.rows, {ROW: [{"per_s": 310_000, "share": 0.3}]})]

    page = rewritten(PAGE_TEXT, targets, first, "aaa", "2026-01-01")
    page = rewritten(page, targets, second, "bbb", "2026-01-02")

    assert lines_between(page, TABLE) == [
        "| path | ≤ 2 × decoding | 4.6 µs | 2.5 × | ≤ 3 × | not yet | aaa |",
        "| pipeline | ≥ 300,000/s | 310,000/s | 0.3 × a lone client | ≥ 0.1 × | ✓ | bbb |",
    ]
    assert lines_between(page, HISTORY) == ["| 2026-01-02 | bbb | 310,000/s · 0.3 × |"]
    assert page.startswith("# Benchmarks\n")
    assert page.endswith("After.\n")
    assert "Between." in page


def test_the_history_has_one_line_a_commit():
    """The same commit again replaces its figures; another one follows; a new headline has dashes before."""
    other = Target(
        what="o", rows=(ROW,), figure="path_us", unit="µs", ratio="ratio", of="x", bound=9.0, headline="other"
    )

    def verdict(per_s: int):
        return judge(MORE, MORE.rows, {ROW: [{"per_s": per_s, "share": 0.3}]})

    page = rewritten(PAGE_TEXT, (MORE,), [verdict(1000)], "aaa", "2026-01-01")
    page = rewritten(page, (MORE,), [verdict(2000)], "aaa", "2026-01-01")
    page = rewritten(page, (MORE,), [verdict(3000)], "bbb", "2026-01-02")
    page = rewritten(page, (MORE, other), [judge(other, other.rows, {ROW: ratios(2.5)})], "bbb", "2026-01-03")

    assert lines_between(page, HISTORY) == [
        "| 2026-01-01 | aaa | 2,000/s · 0.3 × | – |",
        "| 2026-01-03 | bbb | 3,000/s · 0.3 × | 4.6 µs · 2.5 × |",
    ]


def test_a_page_without_the_marks_is_refused():
    """Nothing is written over."""
    with pytest.raises(BadTargets, match=r"README\.md lacks the line '<!-- end of targets -->'"):
        rewritten(PAGE_TEXT.replace(TABLE[1], ""), (LESS,), [], "aaa", "2026-01-01")


ENTRY = '[[target]]\nwhat = "w"\nrows = ["a"]\nfigure = "f"\nunit = "u"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[target", "targets.toml is not TOML"),
        (ENTRY + ENTRY, "two targets are called 'w'"),
        (ENTRY + "bond = 3", "target 'w': there is no key 'bond'"),
        (ENTRY + "target = {least = 3}", "target 'w': there is no key 'target.least'"),
        (ENTRY.replace('unit = "u"', ""), "target 'w': it lacks 'unit'"),
        (ENTRY.replace('"a"', ""), "target 'w': it lacks 'rows'"),
        (ENTRY + 'needs = "rust"', "needs is 'native' or 'portable', or is left out; not 'rust'"),
        (ENTRY + 'better = "most"', "better is 'less' or 'more', not 'most'"),
        (ENTRY + "bound = 3", "a bound and target.ratio are of a ratio, and it names none"),
        (ENTRY + "target = {ratio = 3}", "a bound and target.ratio are of a ratio, and it names none"),
    ],
)
def test_a_mistake_in_the_targets_is_named(text: str, sentence: str):
    """The entry and the key."""
    with pytest.raises(BadTargets) as refused:
        read_targets(text)

    assert sentence in str(refused.value)


def test_every_target_of_the_project_names_a_benchmark_that_there_is():
    """File and function exist, except those of the compiled implementation where it is not in the tree."""
    native_files = {"test_socket.py", "test_ring.py::test_publish_and_poll"}
    missing = []
    for target in read_targets(TARGETS.read_text()):
        for row in target.rows:
            file, _, test = row.partition("::")
            name = test.partition("[")[0]
            path = TARGETS.parent / file
            tests = (
                {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
                if path.exists()
                else set()
            )
            if name not in tests and not (target.needs == "native" and {file, f"{file}::{name}"} & native_files):
                missing.append(row)

    assert missing == []


def test_the_page_has_every_target_of_the_project():
    """Its table and targets.toml name the same targets, with the same targets and bounds."""
    page, targets = PAGE.read_text(), read_targets(TARGETS.read_text())
    told = [line.strip("| ").split(" | ") for line in lines_between(page, TABLE)]
    expected = [table_row(unmeasured(target), "") for target in targets]

    assert [(row[0], row[1], row[4]) for row in told] == [(row[0], row[1], row[4]) for row in expected]
    assert {len(row) for row in told} == {len(TABLE_HEAD)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--repeats", "0"], "--repeats is at least 1, not 0"),
        (["--quick", "--write"], "--write needs them all"),
        (["bench/test_nothing.py"], "targets.toml has no target for bench/test_nothing.py"),
    ],
)
def test_a_wrong_call_is_refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]):
    """Before anything is measured."""
    with pytest.raises(SystemExit) as left:
        main(arguments)

    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_target_is_not_reached_by_what_must_be_none_and_is_not():
    """A rate with records missed is no rate: it says so, though the bound holds."""
    text = (
        '[[target]]\nwhat = "pipeline"\nrows = ["test_pipeline.py::test_full_rate"]\nbetter = "more"\nfigure = "rate"\n'
        'unit = "/s"\nshown = ["gaps"]\nnone = ["gaps"]\ntarget = { figure = 100 }\n'
    )
    (target,) = read_targets(text)
    verdicts = [judge(target, target.rows, {target.rows[0]: [{"rate": 200, "gaps": gaps}]}) for gaps in (0, 7)]

    assert [verdict.is_reached for verdict in verdicts] == [True, False]
