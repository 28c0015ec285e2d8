"""The layer table of the design, enforced: a module imports only its own package and the layers below it."""

import ast
import functools
from pathlib import Path

from tests import parsed

ENGINE = Path(__file__).parent.parent / "engine"
MODULES = sorted(ENGINE.rglob("*.py"))

# Home of a module: the part of `engine` that it belongs to, and the layer of that part.
LAYERS = {
    -1: ("native",),
    0: (
        "ring",
        "units",
        "errors",
        "clock",
        "instant",
        "endpoints",
        "timestamps",
        "prctl",
        "readable",
        "secret",
        "wide",
    ),
    1: ("telemetry", "records", "market", "credentials", "state_directory"),
    2: ("topology", "orders"),
    3: ("config", "strategy", "kraken", "net", "history", "ledger_check"),
    4: ("processes", "venue", "backup"),
    5: ("kraken_rest", "paper"),
    6: ("public_feed", "private_feed", "order_router", "strategy_host"),
    7: ("summary",),
    8: ("attach", "screen"),
    9: ("supervisor", "replay", "metrics", "page", "top", "notices"),
    10: ("client", "doctor"),
    11: ("cli", "__main__"),
}
LAYER_OF = {home: layer for layer, homes in LAYERS.items() for home in homes}

# Layer 0 knows only the standard library, but for the vocabulary that all speak.
VOCABULARY = {"units", "errors", "endpoints", "clock", "instant"}
# Neighbours in one layer that the design joins: `python -m engine` is the command line's other door.
NEIGHBOURS = {("__main__", "cli")}

# The public face: what a strategy's file needs, and nothing else.
FACE = {"engine.market", "engine.records", "engine.strategy", "engine.errors", "engine.client"}

PURE = ("kraken", "market", "records", "topology", "timestamps", "units", "wide", "orders")
# The one file of a pure package that writes; all that it knows of the format is pure again.
WRITES = {"engine.orders.journal"}
IMPURE = {"socket", "asyncio", "time", "os", "random", "uuid", "secrets", "threading", "multiprocessing", "subprocess"}

# Beyond these, the order core brings in nothing that opens, maps or waits.
IMPURE_OF_CORE = IMPURE | {"aiohttp", "ctypes", "fcntl", "mmap", "pathlib", "picows", "select", "signal", "sqlite3",
                           "ssl", "tempfile", "uvloop"}  # fmt: skip


def home_of(module):
    """`engine.kraken.public.messages` lives in kraken."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def name_of(path):
    """engine/kraken/public/messages.py is engine.kraken.messages; a package is its own name."""
    parts = path.relative_to(ENGINE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def nodes_of(path):
    """What the rules here look at: the imports of a file, and where it waits."""
    looked_at = ast.Import | ast.ImportFrom | ast.Await | ast.AsyncFunctionDef
    return [node for node in parsed.nodes_of(path) if isinstance(node, looked_at)]


@functools.cache
def imports_of(path):
    """Every module that a file imports, at its top or inside a function, as (name, line)."""
    return list(_imports_of(path))


def _imports_of(path):
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "engine":
                for alias in node.names:  # a part of the engine, or a name of its public face
                    is_part = (ENGINE / alias.name).is_dir() or (ENGINE / f"{alias.name}.py").is_file()
                    yield f"engine.{alias.name}" if is_part else "engine.strategy", node.lineno
            else:
                yield module, node.lineno


def may_import(home, other):
    """Own package, a layer below, or the vocabulary."""
    return other == home or LAYER_OF[other] < LAYER_OF[home] or other in VOCABULARY or (home, other) in NEIGHBOURS


def test_every_module_has_a_home():
    """A new part of the engine says which layer it belongs to."""
    homes = {home_of(name_of(path)) for path in MODULES} - {""}

    assert homes <= LAYER_OF.keys()


def test_imports_point_down():
    """The one rule: own package and layers below. The public face imports records and strategy only."""
    up = []
    for path in MODULES:
        name = name_of(path)
        for module, line in imports_of(path):
            if not module.startswith("engine."):
                continue
            allowed = module in FACE or module.rpartition(".")[0] in FACE if name == "engine" else may_import(
                home_of(name), home_of(module)
            )  # fmt: skip
            if not allowed:
                up.append(f"{path.relative_to(ENGINE.parent)}:{line} imports {module}")

    assert up == []


def everything_behind(roots):
    """Modules of the engine that are imported with these, at whatever distance, and which module brought each in."""
    known = {name_of(path): path for path in MODULES}
    brought_by = dict.fromkeys(roots, "")
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        for module, _ in imports_of(known[name]):
            parts = module.split(".")
            # With a module come the packages that it lives in.
            for end in range(2, len(parts) + 1):
                one = ".".join(parts[:end])
                if one in known and one not in brought_by:
                    brought_by[one] = name
                    waiting.append(one)
    return brought_by


def test_the_order_core_brings_in_nothing_that_does_io():
    """No socket, file, clock, ring, task or await: not in its own files, and not in what they import."""
    known = {name_of(path): path for path in MODULES}
    core = {name for name in known if name.startswith("engine.order_router.core")}
    behind = everything_behind(core)
    impure = {
        f"{name} (by {behind[name]}) imports {module}"
        for name in behind
        if name != "engine.native"  # looks once, when it is imported, whether there is an extension
        for module, _ in imports_of(known[name])
        if module.partition(".")[0] in IMPURE_OF_CORE or module in ("engine.clock", "engine.ring")
    }
    awaits = {
        name for name in core for node in nodes_of(known[name])
        if isinstance(node, ast.Await | ast.AsyncFunctionDef)
    }  # fmt: skip

    assert len(core) > 15
    assert impure == set()
    assert awaits == set()


def test_the_vocabulary_knows_only_itself():
    """units, errors, endpoints, clock and instant import the standard library and one another, never a ring."""
    homes = {
        home: {home_of(m) for m, _ in imports_of(ENGINE / f"{home}.py") if m.startswith("engine.")}
        for home in VOCABULARY
    }

    assert all(imported <= VOCABULARY for imported in homes.values())


def test_the_venue_shares_no_code_with_what_it_judges():
    """A bug in our codec must not hide behind the same bug in the exchange that tests it."""
    judged = {"kraken", "market", "records", "ring"}
    shared = [
        f"{name_of(path)} line {line}: {module}"
        for path in MODULES
        if home_of(name_of(path)) == "venue"
        for module, line in imports_of(path)
        if home_of(module) in judged and module.startswith("engine.")
    ]

    assert shared == []


def is_pure(path):
    """Must this module leave the world alone?"""
    name = name_of(path)
    return name == "engine.strategy.api" or (home_of(name) in PURE and name not in WRITES)


def test_pure_code_knows_no_socket_clock_or_chance():
    """Bytes and a time go in, events and bytes come out: replay and simulation run the same code."""
    impure = [
        f"{name_of(path)} line {line}: {module}"
        for path in MODULES
        if is_pure(path)
        for module, line in imports_of(path)
        if module.split(".")[0] in IMPURE
    ]

    assert impure == []


def test_plugins_see_nothing_of_money():
    """The strategy API reaches no connection, no venue and no actor."""
    reach, todo = set(), [ENGINE / "strategy" / "api.py"]
    while todo:
        for module, _ in imports_of(todo.pop()):
            path = ENGINE.parent / (module.replace(".", "/") + ".py")
            path = path if path.is_file() else path.with_suffix("") / "__init__.py"
            if module.startswith("engine.") and module not in reach:
                reach.add(module)
                todo.append(path)

    assert {home_of(module) for module in reach} <= {
        "errors",
        "market",
        "orders",
        "records",
        "strategy",
        "timestamps",
        "units",
        "wide",
    }
    # Of the orders' package: what an order and a report are, which amounts can be, and nothing that counts or writes.
    words = {"amounts", "client_order_id", "intent", "life", "refusal", "rings.reports", "rings.framing"}
    assert {module.removeprefix("engine.orders.") for module in reach if module.startswith("engine.orders.")} <= words


ROOM_FILES_MAX = 20


def room_of(module):
    """The folder of a module, or the module itself where it stands alone."""
    path = ENGINE.parent / module.replace(".", "/")
    return module if path.is_dir() or path.parent == ENGINE else module.rpartition(".")[0]


def circles(edges):
    """Sets of nodes that reach one another."""
    reach = {node: set() for node in edges}
    for node in edges:
        todo = [*edges[node]]
        while todo:
            if (other := todo.pop()) not in reach[node]:
                reach[node].add(other)
                todo += edges.get(other, ())
    return {frozenset(other for other in reach[node] if node in reach.get(other, ())) for node in edges} - {frozenset()}


def modules_imported_by(path):
    """The engine's modules that a file imports; `from room import module` is an import of the module."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("engine."):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (ENGINE.parent / (whole.replace(".", "/") + ".py")).is_file()
                yield whole if is_module else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("engine."))


def test_no_module_and_no_room_imports_itself_in_a_circle():
    """Each can be read, and understood, after those that it imports."""
    modules = {name_of(path): set(modules_imported_by(path)) for path in MODULES if "examples" not in path.parts}
    rooms = {}
    for module, imported in modules.items():
        rooms.setdefault(room_of(module), set()).update(room_of(other) for other in imported)
    for room, imported in rooms.items():
        imported.discard(room)

    assert circles(modules) == set()
    assert circles(rooms) == set()


def test_no_room_is_larger_than_one_can_look_over():
    """A folder of code has at most so many files."""
    counts = {room: len(list(room.glob("*.py"))) for room in {path.parent for path in MODULES}}

    assert {str(room): count for room, count in counts.items() if count > ROOM_FILES_MAX} == {}
