"""The repository tests its own shape."""

import ast
import tomllib
from pathlib import Path

from tests.parsed import nodes_of, tree_of

ENGINE = Path(__file__).parent.parent / "engine"
MODULES = sorted(ENGINE.rglob("*.py"))

PROJECT = tomllib.loads((ENGINE.parent / "pyproject.toml").read_text())

BUILT = (".c", ".so")  # made at installation, and no part of the repository

READS_TIME = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"),
    *("time.clock_gettime", "time.clock_gettime_ns", "datetime.now", "datetime.utcnow", "date.today"),
}
# Modules that may: the clock itself; the stopwatch of a replay, whose own clock is the
# capture's; the command line, which waits for processes and people.
MAY_READ_TIME = {"clock.py", "replay.py"}
MAY_READ_TIME_BELOW = ("cli",)

JOB_TITLES = ("Manager", "Handler", "Helper", "Processor", "Service", "Utils")
LEFTOVERS = ("FIX" + "ME", "XX" + "X", "HA" + "CK")
PURE = ("kraken/", "market/", "orders/", "strategy/", "records.py", "topology.py", "units.py", "timestamps.py")


TESTS = Path(__file__).parent
TEST_MODULES = sorted(TESTS.rglob("*.py"))
# Where a test may sleep, and why: waits belong to tests.waiting, which waits for a
# condition.
MAY_SLEEP = {
    "waiting.py": "the waits themselves",
    "virtual_time.py": "virtual time passes at once",
    "integration/strategies/diary.py": "strategies that are slow, or hang until a test wakes them",
    "integration/strategies/leaving.py": "a strategy whose task goes on for a while",
    "integration/strategies/lockholder.py": "a strategy that hangs until a test wakes it",
    "integration/strategies/puppet.py": "a strategy that hangs as it is told",
    "simulate/": "virtual time passes at once",
}
# Whose private names a test may use, and why; "room/file.py": names.
MAY_REACH_INTO = {
    "ring/children.py": {"_words", "_copy", "_copy_slots", "_pack"},  # deaths between two stores of a process
    "simulate/feeds.py": {"_publish", "_board"},  # deaths between two stores
    # Deaths of a process with its files, and between two stores.
    "simulate/orders.py": {"_fd", "_lock_fd", "_queue_of", "_end_orders", "_publisher"},
    "simulate/engine_run.py": {"_feeds"},  # what a strategy's death leaves behind
    "simulate/judge.py": {"_due", "_attempts"},  # is every queue bounded?
    "simulate/kernel.py": {"_set_running_loop"},  # asyncio's, for a loop in virtual time
    "simulate/network.py": {"_arrives_here"},
    "simulate/venue.py": {"_changed_at"},
    "integration/strategies/poisoner.py": {"_orders", "_ports"},  # a hostile plugin, which does just that
}
# Public in spite of their names: of the standard library, and what named tuples offer.
DOCUMENTED = {"_exit", "_current_frames", "_replace", "_asdict", "_fields", "_make"}


def place_of_test(path):
    """For test names and messages: net/test_tls.py."""
    return str(path.relative_to(TESTS))


def place(path):
    """A path for test names and messages: public_feed/feed.py."""
    return str(path.relative_to(ENGINE))


def engine_offences(offences_of, but_not=lambda _: False):
    """What a rule finds in the engine's modules, by file; the files that keep it are left out."""
    found = {place(path): offences_of(path) for path in MODULES if not but_not(place(path))}
    return {where: lines for where, lines in found.items() if lines}


def names_used(nodes):
    """(dotted name, line) of every attribute of a plain name: `time.monotonic_ns`."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno


def is_public(node):
    return not node.name.startswith("_")


def test_only_the_clock_asks_for_the_time():
    """Everything else takes `now`, or holds a Clock: so replay and tests control the time."""

    def read(path):
        imported = [
            f"line {node.lineno}: from time import"
            for node in nodes_of(path)
            if isinstance(node, ast.ImportFrom) and node.module == "time"
            if {f"time.{alias.name}" for alias in node.names} & READS_TIME
        ]
        return imported + [f"line {line}: {name}" for name, line in names_used(nodes_of(path)) if name in READS_TIME]

    def may(where):
        return where in MAY_READ_TIME or where.startswith(MAY_READ_TIME_BELOW)

    assert engine_offences(read, but_not=may) == {}


def test_pure_code_throws_no_dice():
    """Pure code uses no random and no uuid4: a seed is a parameter."""

    def used(path):
        return [
            alias.name
            for node in nodes_of(path)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            if alias.name in ("random", "uuid", "uuid4", "secrets")
            or getattr(node, "module", None) in ("random", "uuid", "secrets")
        ]

    assert engine_offences(used, but_not=lambda where: not where.startswith(PURE)) == {}


def test_nothing_packs_into_shared_words():
    """pack_into zeroes its target first, and another process can see the zero: only
    payloads in the ring may use it.
    """

    def used(path):
        return [node.lineno for node in nodes_of(path) if isinstance(node, ast.Attribute) and node.attr == "pack_into"]

    assert engine_offences(used, but_not=lambda where: where.startswith("ring/")) == {}


def test_nothing_is_left_for_later():
    """What must be done is done, or is an issue."""

    def left(path):
        return [f"line {number}: {word}" for number, line in enumerate(path.read_text().splitlines(), start=1)
                for word in LEFTOVERS if word in line]  # fmt: skip

    assert engine_offences(left) == {}


def test_classes_are_named_after_things():
    """No class is named after a job title."""

    def titled(path):
        return [node.name for node in nodes_of(path) if isinstance(node, ast.ClassDef)
                and node.name.endswith(JOB_TITLES)]  # fmt: skip

    assert engine_offences(titled) == {}


def test_every_module_and_every_public_thing_is_introduced():
    """Each module, class and module-level function has a docstring."""

    def silent(path):
        tree = tree_of(path)
        found = [] if ast.get_docstring(tree) else ["the module"]
        return found + [
            f"line {node.lineno}: {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and is_public(node)
            and not ast.get_docstring(node)
        ]

    assert engine_offences(silent) == {}


def offences(offences_of, *, but_not=()):
    """What a rule finds in the files of the tests, by file; the files that keep it are left
    out.
    """
    found = {place_of_test(path): offences_of(path) for path in TEST_MODULES
             if not place_of_test(path).startswith(tuple(but_not))}  # fmt: skip
    return {place: lines for place, lines in found.items() if lines}


def test_no_test_sleeps():
    """It waits for what it waits for (tests/waiting.py): fixed times are too long, or under load too short.

    `sleep(0)` is a turn of the event loop, and waits for nothing.
    """

    def slept(path):
        return [
            f"line {node.lineno}: {ast.unparse(node)}"
            for node in nodes_of(path)
            if isinstance(node, ast.Call)
            and (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) == "sleep"
            and [ast.unparse(argument) for argument in node.args] != ["0"]
        ]

    assert offences(slept, but_not=MAY_SLEEP) == {}


def test_nothing_waits_with_select():
    """It refuses descriptors from 1,024 on, which a program with many connections has:
    engine.readable waits for any.
    """
    found = {
        str(path): [f"line {line}" for name, line in names_used(nodes_of(path)) if name == "select.select"]
        for path in (*MODULES, *TEST_MODULES)
    }

    assert {path: lines for path, lines in found.items() if lines} == {}


def test_no_test_asserts_how_long_something_took():
    """A machine that is busy with other things is slower; what must be soon is a claim
    about an order of events.
    """

    def timed(path):
        return [
            f"line {node.lineno}: {name}"
            for node in nodes_of(path)
            if isinstance(node, ast.Assert)
            for name, _ in names_used(ast.walk(node))
            if name in ("time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns")
        ]

    assert offences(timed) == {}


# Rooms whose tests still reach into what they test, or into each other.
NOT_YET_PUBLIC = ("order_router/",)


def test_no_test_reaches_into_private_names():
    """What a test needs to see is something that a user or `engine status` may want to see:
    then it is public.
    """

    def is_own(node):
        return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")

    def reached(path):
        allowed = DOCUMENTED | MAY_REACH_INTO.get(place_of_test(path), set())
        nodes = nodes_of(path)
        attributes = [
            (node.lineno, node.attr)
            for node in nodes
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__") and not is_own(node)
        ]
        imports = [
            (node.lineno, each.name) for node in nodes if isinstance(node, ast.ImportFrom) for each in node.names
        ]
        return [
            f"line {line}: {name}"
            for line, name in attributes + imports
            if name.startswith("_") and name not in allowed
        ]

    assert offences(reached, but_not=NOT_YET_PUBLIC) == {}


def test_what_tests_share_is_in_a_rig():
    """No test file imports another: a helper of two files belongs to its room's rig. No
    path is edited either.
    """

    def shared(path):
        imported = [
            f"line {node.lineno}: {node.module}"
            for node in nodes_of(path)
            if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
        ]
        return imported + [f"line {line}: {name}" for name, line in names_used(nodes_of(path)) if name == "sys.path"]

    assert offences(shared, but_not=NOT_YET_PUBLIC) == {}


def test_an_installed_engine_lacks_no_file():
    """Every file that is no module of a package is package data: README and errors point to
    some.
    """
    packages = {path.parent for path in ENGINE.rglob("__init__.py")}
    others = {path for path in ENGINE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
              and path.suffix not in BUILT and not (path.suffix == ".py" and path.parent in packages)}  # fmt: skip
    data = {path for glob in PROJECT["tool"]["setuptools"]["package-data"]["engine"] for path in ENGINE.glob(glob)}

    assert others - data == set()
