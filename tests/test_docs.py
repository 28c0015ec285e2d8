"""The pages that people read say what the code says."""

import ast
import asyncio
import functools
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

import engine
from engine.cli.main import COMMANDS
from engine.client.handlers import EVENTS
from engine.config import Config, override, settings
from engine.orders.refusal import ErrorKind
from engine.replay import Capture, replay
from engine.strategy.api import CALLBACKS, Context, Strategy
from engine.strategy.order_options import AmendOptions, OrderOptions
from engine.summary import ORDER_TOTALS, PAIR_TOTALS, TOTALS
from engine.telemetry import measures
from engine.telemetry.notice_events import NOTICE_EVENTS, URGENT, USUAL
from engine.topology import ROUTER_COUNTERS, ROUTER_HISTOGRAMS, WIRE_HISTOGRAMS
from tests import reference, reference_errors
from tests.markdown import PROSE_COLUMNS
from tests.parsed import nodes_of
from tests.snippets import PAGES

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "engine"
CAPTURE = ROOT / "tests" / "data" / "kraken" / "doc_book_examples.jsonl"


def name_of(path: Path) -> str:
    """For test names: engine/docs/commands.md."""
    return str(path.relative_to(ROOT))


def public(cls: type) -> set[str]:
    """The public names that a class itself defines or announces."""
    return {name for name in (*vars(cls), *inspect.get_annotations(cls)) if not name.startswith("_")}


@pytest.mark.parametrize("path", reference.pages(), ids=name_of)
def test_a_page_that_is_written_from_the_code_is_up_to_date(path: Path) -> None:
    """It is what tools/write-docs would write now: no entry is missing, none is stale."""
    assert path.read_text(encoding="utf-8") == reference.pages()[path](), "run tools/write-docs"


def test_every_command_and_option_is_told() -> None:
    """The page of the commands has a section for each, with its arguments and options."""
    sections = (reference.DOCS / "commands.md").read_text().split("\n## engine ")[1:]
    told = {section.split("\n", 1)[0]: section for section in sections}

    assert list(told) == list(COMMANDS)
    for name in COMMANDS:
        for parameter in reference.command_of(name).params:
            if isinstance(parameter, click.Option):
                assert f"| `{parameter.opts[0]}` |" in told[name]
            else:
                assert parameter.make_metavar(click.Context(reference.command_of(name))) in told[name]


def test_every_setting_is_told_with_type_default_and_meaning() -> None:
    """The page of the configuration has one row for each, and no cell of it is empty."""
    text = (reference.DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)

    assert [row[0] for row in rows] == [setting.path.rpartition(".")[2] for setting in settings()]


def test_every_callback_and_call_of_a_strategy_is_told() -> None:
    """The page has each callback, each call, and each member of the context, and each has a docstring."""
    strategy = {member.name: member for member in reference.members_of(Strategy)}
    context = {member.name: member for member in reference.members_of(Context)}

    assert strategy.keys() == public(Strategy)
    assert context.keys() == public(Context)
    assert set(CALLBACKS) == {name for name in strategy if name.startswith("on_")}
    assert [m.name for m in (*strategy.values(), *context.values()) if not m.text] == []


def test_every_event_of_notices_is_told() -> None:
    """The page of the notices has the events in their order, with the words of the code."""
    text = (reference.DOCS / "notices.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (yes|no) \| (yes|) \| (.*) \|$", text, flags=re.MULTILINE)

    assert told == [
        (event, "yes" if event in USUAL else "no", "yes" if event in URGENT else "", meaning)
        for event, meaning in NOTICE_EVENTS.items()
    ]


def test_every_key_of_a_replay_summary_is_told() -> None:
    """A real summary of market data has no key that the page lacks."""
    capture = Capture(CAPTURE)
    config = override(Config(), symbols=tuple(capture.symbols))
    summary = asyncio.run(replay([capture], capture.symbols, [("nobody", Strategy())], config))
    # A null price and an empty object have no keys below them; a live run has them, see test_pages.
    unseen = {"symbols.<symbol>.best_bid", "symbols.<symbol>.best_ask"}

    assert set(reference.summary_keys(summary)) - unseen <= reference.summary_keys_told()


def test_every_total_and_counter_is_told() -> None:
    """Names that the summary takes from tables of the code are on the page, and the page has no others."""
    told = reference.summary_keys_told()

    assert {f"trading.counts.{name}" for name in ROUTER_COUNTERS} == {k for k in told if "trading.counts." in k}
    assert {f"orders.{name}" for name in (*ORDER_TOTALS, "success_percent")} == {
        k for k in told if k.startswith("orders.")
    }
    assert {f"symbols.<symbol>.{name}" for name in PAIR_TOTALS} <= told
    assert set(TOTALS) <= told
    by_callback = {f"wire_to_{name}" for name in WIRE_HISTOGRAMS}
    assert reference.latencies_told() == {"wire_to_strategy", *by_callback, *ROUTER_HISTOGRAMS}


def test_every_reason_of_a_refusal_is_told() -> None:
    """On the page of the errors; what it lacks is the reason of `context.trading`, which it speaks of, and an error of
    a reader, which it has.
    """
    untold = {
        (path.relative_to(ENGINE).as_posix(), reason)
        for folder in reference_errors.REFUSES
        for path in (ENGINE / folder).rglob("*.py")
        for reason in reference_errors.reasons_without_a_sentence(path)
    }

    assert untold == {
        ("strategy_host/order_client.py", "self._why_off"),
        ("orders/refusal.py", "str(error)"),
        ("order_router/core/new_orders.py", "closed"),
        ("order_router/core/new_orders.py", "self._gate.journal_reason"),
    }


def test_every_kind_of_error_has_a_meaning() -> None:
    """No row of the page's table is empty."""
    assert [kind for kind in ErrorKind if not reference_errors.meaning_of(kind)] == []


def meanings_told() -> dict[str, str]:
    """What summary-and-status.md says of each key."""
    text = (reference.DOCS / "summary-and-status.md").read_text()
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|$", text, flags=re.MULTILINE))


def test_a_counter_means_the_same_wherever_it_is_told() -> None:
    """The page of the summary has the words of engine/telemetry/measures.py, which the metrics have too."""
    told = meanings_told()
    places = {
        "trading.counts.{}": measures.ROUTER,
        "symbols.<symbol>.{}": measures.PAIR,
        "strategies.<strategy>.{}": measures.STRATEGY,
        "notices.<target>.{}": measures.NOTICE_TARGET,
        "feeds.<process>.{}": (*measures.FEED, *measures.PRIVATE_FEED),
    }
    differing = {
        key: (told[key], measure.text)
        for place, of in places.items()
        for measure in of
        if (key := place.format(measure.name)) in told
        and told[key] != measure.text
        and not told[key].startswith("As ")
        and key not in DIFFERS
    }

    assert differing == {}
    latencies = measures.ROUTER_LATENCIES | {f"wire_to_{name}": ends for name, ends in measures.WIRE_LATENCIES.items()}
    text = (reference.DOCS / "summary-and-status.md").read_text()
    assert [name for name, (begin, end) in latencies.items() if f"| `{name}` | {begin} | {end} |" not in text] == []


# The summary shows them in words or with another unit.
DIFFERS = {"symbols.<symbol>.state", "strategies.<strategy>.halted"}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_between_pages_leads_somewhere(path: Path) -> None:
    """A link to a file of this repository names one that exists, and a link to a section one that is there."""
    broken = []
    for link in re.findall(r"\]\(([^)#\s]*#?[^)\s]*)\)", path.read_text()):
        place, _, section = link.partition("#")
        if "://" in link:
            continue
        target = path.parent / place if place else path
        headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE) if section else []
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        if not target.exists() or (section and section not in anchors):
            broken.append(link)

    assert broken == []


def test_the_index_has_every_page_once_in_four_groups() -> None:
    """engine/docs/README.md leads to each page beside it."""
    text = (reference.DOCS / "README.md").read_text()
    linked = re.findall(r"\]\(([\w-]+\.md)\)", text)

    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Tutorial", "How to", "Reference", "Explanation"]
    assert sorted(linked) == sorted(path.name for path in reference.DOCS.glob("*.md") if path.name != "README.md")


def test_the_promises_are_tried_by_what_is_named() -> None:
    """Each row of how-it-works.md names a file that exists, and what it quotes of the simulator stands there."""
    text = (reference.DOCS / "how-it-works.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", text.partition("## What is promised")[2], flags=re.MULTILINE)[2:]
    rules = (ROOT / "tests" / "simulate" / "README.md").read_text()

    assert len(rows) > 10
    for promise, tried in rows:
        files = re.findall(r"`([\w/.]+)`", tried)
        assert files, promise
        assert [name for name in files if not (ROOT / name).exists()] == []
        assert [rule for rule in re.findall(r"\*([^*]+)\*", tried) if rule not in rules] == []


def test_the_figures_of_the_front_page_are_those_of_the_benchmarks() -> None:
    """Each row of README's table is one of the table that `tools/bench --check --write` writes."""
    measured = {}
    for line in (ROOT / "bench" / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 7:
            what, target, figure, ratio = cells[:4]
            baseline = target.partition(" × ")[2]
            measured[what] = (figure, ratio if " × " in ratio.removesuffix(" ×") else f"{ratio} {baseline}")
    table = (ROOT / "README.md").read_text().partition("| measured by `tools/bench` |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", table, flags=re.MULTILINE)[1:]

    assert len(rows) >= 4
    for what, figure, beside in rows:
        assert measured[what][0].split(", ")[: len(figure.split(", "))] == figure.split(", "), what
        assert measured[what][1] == beside, what


# --- the names of other clients, and ours

CLASSES = {name: getattr(engine, name) for name in engine.__all__} | {
    "OrderOptions": OrderOptions,
    "AmendOptions": AmendOptions,
}


def there_is(name: str) -> bool:
    """Whether a name on the page of migration is one: a class's, an event's, a command's, a setting's, a status
    key's, or a file's.
    """
    if found := re.fullmatch(r'on\("(\w+)"\)', name):
        return found[1] in EVENTS
    if found := re.fullmatch(r"engine (\w+)((?: --[a-z-]+)*)(?: 7d| local| paper)?", name):
        return found[1] in COMMANDS and set(found[2].split()) <= {
            option for parameter in reference.command_of(found[1]).params for option in parameter.opts
        }
    if found := re.fullmatch(r"([A-Z]\w+)(?:\.(\w+))?", name):
        members = {member.name for member in reference.members_of(CLASSES[found[1]])} | set(dir(CLASSES[found[1]]))
        return found[2] is None or found[2] in members or found[2] in inspect.get_annotations(CLASSES[found[1]])
    return (
        name in {setting.path for setting in settings()} | reference.summary_keys_told() | reference.latencies_told()
        or (ROOT / name).is_file()
    )


def test_every_name_of_ours_that_stands_beside_another_clients_is_one() -> None:
    """Each row says what the name is here, with names that exist, or in a sentence why it is not."""
    rows = re.findall(
        r"^\| (.+?) \| (.*?) ?\| ?(.*?) ?\|$", (reference.DOCS / "migration.md").read_text(), re.MULTILINE
    )
    rows = [row for row in rows if row[0] != "elsewhere" and not row[0].startswith("---")]
    ours = {name for _, here, remark in rows for name in re.findall(r"`([^`]+)`", f"{here} {remark}")}

    assert len(rows) > 150
    assert [row[0] for row in rows if not row[1] and not row[2]] == []
    assert sorted(name for name in ours - SPOKEN if not there_is(name)) == []


# What the page's sentences name beside that: code to write, values, and parts of names.
SPOKEN = {
    "async with Engine.open(…) as engine", "msgspec.to_builtins(balance)", "age_s_max=", "rest=True", "open", "resume",
    "order_router",
}  # fmt: skip


# --- which process runs which file: the map of ARCHITECTURE.md

# What each process begins with. A command is any of `engine` that ends by itself.
ENTRIES = {
    "fork_server": ("engine.cli.actor",),
    "public_feed": ("engine.public_feed.process",),
    "private_feed": ("engine.private_feed.process",),
    "order_router": ("engine.order_router.process",),
    "engine": ("engine.cli.run", "engine.cli.view", "engine.cli.watch.command", "engine.client.engine"),
    "view": ("engine.cli.view",),
    "notices": ("engine.notices.process",),
    "metrics": ("engine.cli.onlookers.metrics",),
    "page": ("engine.cli.onlookers.page", "engine.page.server"),
    "top": ("engine.cli.onlookers.top", "engine.top.app"),
    "venue": ("engine.cli.venue", "engine.venue.server"),
    "replay": ("engine.cli.replay", "engine.replay"),
    "command": (
        "engine.cli.account",
        "engine.cli.control",
        "engine.cli.orders",
        "engine.cli.setup.backup",
        "engine.cli.setup.check",
        "engine.cli.setup.completion",
        "engine.cli.setup.doctor",
        "engine.cli.setup.keys",
        "engine.cli.setup.new",
        "engine.cli.setup.notices",
        "engine.cli.setup.settings",
    ),
}
ALL = "all"


def architecture_map() -> dict[str, set[str]]:
    """Each file or folder of the map, and the processes that it names for it."""
    text = (ENGINE / "ARCHITECTURE.md").read_text()
    section = text.partition("## Which process runs which file")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w/.]+)` \| (.*) \|$", section, flags=re.MULTILINE)
    named = {}
    for place, cell in rows:
        # What stands behind the semicolon is a remark, about a part of the folder.
        words = set(re.findall(r"[a-z_]+", re.split("[;:]", cell)[0]))
        named[place] = set(ENTRIES) if ALL in words else words
    return named


def file_of(module: str) -> Path:
    """The file of a module or package."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def imported_by(path: Path) -> tuple[str, ...]:
    """Modules of the engine that a file imports, inside functions too."""
    return tuple(imports_of(path))


def imports_of(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("engine."):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if file_of(whole).is_file() else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("engine."))


def reach(entries: tuple[str, ...]) -> set[Path]:
    """Every file that these modules import, and those that they import."""
    seen: set[Path] = set()
    todo = [file_of(module) for module in entries]
    while todo:
        if (path := todo.pop()) not in seen:
            seen.add(path)
            todo += map(file_of, imported_by(path))
            todo += [path.parent / "__init__.py"] if path.parent != ENGINE else []
    return seen


def test_the_map_names_every_file_and_folder() -> None:
    """Each module and folder of the engine stands in the map, or a folder above it does; each that it names exists."""
    named = architecture_map()
    modules = [path.relative_to(ENGINE) for path in sorted(ENGINE.rglob("*.py"))]
    unnamed = [
        str(module)
        for module in modules
        if str(module) != "__init__.py"
        and not {str(module), *(f"{parent}/" for parent in module.parents)} & named.keys()
        and module.parts != ("kraken", "__init__.py")
    ]

    assert unnamed == []
    assert [place for place in named if not (ENGINE / place).exists()] == []
    assert {process for processes in named.values() for process in processes} <= ENTRIES.keys()


def test_the_map_names_no_process_that_cannot_run_a_file() -> None:
    """Every process named for a file or folder imports it, or something in it."""
    reaches = {process: reach(entries) for process, entries in ENTRIES.items()}
    wrong = []
    for place, processes in architecture_map().items():
        of_place = set((ENGINE / place).rglob("*.py")) if place.endswith("/") else {ENGINE / place}
        wrong += [
            f"{place}: {process}"
            for process in sorted(processes)
            if not of_place & reaches[process] and place != "__main__.py"
        ]

    assert wrong == []


@pytest.mark.parametrize("room", ["public_feed", "private_feed", "order_router", "venue", "replay.py"])
def test_a_room_of_one_process_is_run_by_no_other(room: str) -> None:
    """The map names its own process for it, and beside that the replay at most."""
    named = architecture_map()
    place = room if room.endswith(".py") else f"{room}/"

    assert room.removesuffix(".py") in named[place]
    assert named[place] <= {room.removesuffix(".py"), "replay"}


def test_the_glossary_gives_each_word_one_meaning() -> None:
    """No word is explained twice."""
    section = (ENGINE / "ARCHITECTURE.md").read_text().partition("## Glossary")[2].partition("\n## ")[0]
    words = re.findall(r"^\| ([a-z' ,]+) \| ", section, flags=re.MULTILINE)
    words = [word for word in words if word != "word"]

    assert len(words) > 50
    assert [word for word in words if words.count(word) > 1] == []


# --- prose wraps

# Tables, drawings, columns, rulers, addresses: what is laid out in lines of its own.
LAID_OUT = re.compile(r"^\s*\||-{20,}$|[─-╿►◄▲▼]|\S\s{3,}\S|https?://|^\s*(>>>|\$ )")


def prose_of_module(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of each docstring, and of each comment that has a line of its own."""
    text = path.read_text()
    lines = text.splitlines()
    for node in nodes_of(path):
        for statement in getattr(node, "body", ()) if isinstance(getattr(node, "body", ()), list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str())):
                    yield from ((n, lines[n - 1]) for n in range(statement.lineno, statement.end_lineno + 1))
    yield from ((n, line) for n, line in enumerate(lines, start=1) if line.lstrip().startswith("# "))


def prose_of_page(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of a page, without its code blocks."""
    in_code = False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("```"):
            in_code = not in_code
        if not in_code:
            yield number, line


def too_wide(lines: Iterable[tuple[int, str]]) -> list[str]:
    """Prose that is wider than it may be."""
    return [f"line {number}: {line.strip()}" for number, line in sorted(set(lines))
            if len(line.removesuffix('"""')) > PROSE_COLUMNS and not LAID_OUT.search(line)]  # fmt: skip


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_the_prose_of_a_page_wraps(path: Path) -> None:
    """A reader's eye finds the next line: 92 columns, tables and code blocks excepted."""
    assert too_wide(prose_of_page(path)) == []


def test_the_prose_of_the_modules_wraps() -> None:
    """Docstrings and comments too: 92 columns, drawings and addresses excepted."""
    found = {name_of(path): too_wide(prose_of_module(path)) for path in sorted(ENGINE.rglob("*.py"))}

    assert {name: lines for name, lines in found.items() if lines} == {}
