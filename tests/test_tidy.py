"""The repository tests its own shape."""

import ast
import tomllib
from pathlib import Path

import pytest

ENGINE = Path(__file__).parent.parent / "engine"
MODULES = sorted(ENGINE.rglob("*.py"))

PROJECT = tomllib.loads((ENGINE.parent / "pyproject.toml").read_text())

BUILT = (".c", ".so")  # made at installation, and no part of the repository

READS_TIME = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"),
    *("time.clock_gettime", "time.clock_gettime_ns", "datetime.now", "datetime.utcnow", "date.today"),
}
# Modules that may: the clock itself; the stopwatch of a replay, whose own clock is the capture's; the command
# line, which waits for processes and people.
MAY_READ_TIME = {"clock.py", "replay.py"}
MAY_READ_TIME_BELOW = ("cli",)

JOB_TITLES = ("Manager", "Handler", "Helper", "Processor", "Service", "Utils")
LEFTOVERS = ("FIX" + "ME", "XX" + "X", "HA" + "CK")
PURE = ("kraken/", "market/", "orders/", "strategy/", "records.py", "topology.py", "units.py", "timestamps.py")


def place(path):
    """For test names and messages: public_feed/feed.py."""
    return str(path.relative_to(ENGINE))


def tree_of(path):
    return ast.parse(path.read_text())


def names_used(tree):
    """(dotted name, line) of every attribute of a plain name: `time.monotonic_ns`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno


def is_public(node):
    return not node.name.startswith("_")


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_the_clock_asks_for_the_time(path):
    """Everything else takes `now`, or holds a Clock: so replay and tests own the time."""
    if place(path) in MAY_READ_TIME or place(path).startswith(MAY_READ_TIME_BELOW):
        return
    tree = tree_of(path)
    read = [f"line {line}: {name}" for name, line in names_used(tree) if name in READS_TIME]
    read += [
        f"line {node.lineno}: from time import"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        if {f"time.{alias.name}" for alias in node.names} & READS_TIME
    ]

    assert read == []


@pytest.mark.parametrize("path", [p for p in MODULES if place(p).startswith(PURE)], ids=place)
def test_pure_code_throws_no_dice(path):
    """No random, no uuid4: a seed is a parameter."""
    used = [
        alias.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.name in ("random", "uuid", "uuid4", "secrets")
        or getattr(node, "module", None) in ("random", "uuid", "secrets")
    ]

    assert used == []


@pytest.mark.parametrize("path", [p for p in MODULES if not place(p).startswith("ring/")], ids=place)
def test_nothing_packs_into_shared_words(path):
    """pack_into zeroes its target first, and another process can see the zero: payloads only, and only in the ring."""
    used = [
        node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute) and node.attr == "pack_into"
    ]

    assert used == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_nothing_is_left_for_later(path):
    """What must be done is done, or is an issue."""
    found = [f"line {number}: {word}" for number, line in enumerate(path.read_text().splitlines(), start=1)
             for word in LEFTOVERS if word in line]  # fmt: skip

    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_classes_are_named_after_things(path):
    """Not after job titles."""
    titled = [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)
              and node.name.endswith(JOB_TITLES)]  # fmt: skip

    assert titled == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_every_module_and_every_public_thing_is_introduced(path):
    """A docstring for each module, class and module-level function."""
    tree = tree_of(path)
    silent = [] if ast.get_docstring(tree) else ["the module"]
    silent += [
        f"line {node.lineno}: {node.name}"
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and is_public(node)
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_an_installed_engine_lacks_no_file():
    """What is not a module of a package is package data: README and errors point to the examples."""
    packages = {path.parent for path in ENGINE.rglob("__init__.py")}
    others = {path for path in ENGINE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
              and path.suffix not in BUILT and not (path.suffix == ".py" and path.parent in packages)}  # fmt: skip
    data = {path for glob in PROJECT["tool"]["setuptools"]["package-data"]["engine"] for path in ENGINE.glob(glob)}

    assert others - data == set()
