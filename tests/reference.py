"""The pages of engine/docs that are written from the code; `tools/write-docs` writes them.

    click commands ─► commands.md        Config's schema ─► configuration.md
    engine/strategy/api.py, orders.py, order_options.py, records.py, pair.py ─► callbacks.md
    engine/client/engine.py ─► programs.md
    engine/metrics/families.py, engine/telemetry/measures.py ─► metrics.md
    engine/errors.py, engine/orders/refusal.py, refusals in the code, Kraken's errors ─► errors.md
    every log line of the code, engine/telemetry/messages.py ─► messages.md

`tests/test_docs.py` compares the pages with what `pages` returns, so a page cannot differ from the
code. summary-and-status.md and json.md are written by hand and compared with what commands print.
"""

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from engine.cli.help import DEFAULT_EXITS, Command
from engine.cli.main import COMMANDS, engine
from engine.client import Engine, Statistics, handlers
from engine.client.handlers import EVENTS, OF_PAIRS
from engine.client.program import Program
from engine.config import Config, Setting, settings
from engine.market.pair import Pair
from engine.metrics.families import families
from engine.orders.intent import Conditional
from engine.orders.life import OrderState
from engine.orders.refusal import ErrorKind
from engine.orders.rings.reports import Order as OrderView
from engine.orders.rings.reports import OrderError
from engine.records import BookTop, Candle, FeedState, FeedStateChange, Level, Ticker, Trade, VenueStatus
from engine.strategy.api import CALLBACKS, Context, Strategy
from engine.strategy.events import Connection, ErrorReport
from engine.strategy.order_options import AmendOptions, OrderOptions
from engine.strategy.orders import Balance, Fill, Order, Position, TradingStatus
from engine.telemetry.messages import MESSAGES
from tests import reference_errors
from tests.markdown import capital, first_paragraph, page, paragraphs, prose, table
from tests.parsed import tree_of

DOCS = Path(__file__).parents[1] / "engine" / "docs"


class Member(NamedTuple):
    """A public field, property or method of a class."""

    name: str
    signature: str
    """As one writes it: `buy(symbol, qty, **options)`, `qty: Decimal`."""
    text: str
    """The first paragraph of its docstring; empty when it has none."""


def pages() -> dict[Path, Callable[[], str]]:
    """Each page that is written from the code, and what writes it."""
    return {
        DOCS / "commands.md": commands_page,
        DOCS / "configuration.md": configuration_page,
        DOCS / "callbacks.md": callbacks_page,
        DOCS / "programs.md": programs_page,
        DOCS / "metrics.md": metrics_page,
        DOCS / "errors.md": reference_errors.errors_page,
        DOCS / "messages.md": messages_page,
    }


# --- commands


def commands_page() -> str:
    """Every command of `engine` with its arguments and options."""
    parts = [
        "# Commands",
        prose(
            "A command exits with 0 when it is done. A mistake of the user's is answered by one sentence on "
            "standard error that names the place and the mend, and by exit code 2. Where these mean more, and for "
            "other codes, see the command. Every command exits with 1 when standard output cannot be written, and "
            "with 130 when Ctrl-C answers a question of its. `--json` prints one object for programs. "
            "`engine --version` shows the version."
        ),
        table(("command", "what it does"), ((f"[`engine {name}`](#engine-{name})", about) for name, (_, about) in
                                            COMMANDS.items())),
    ]  # fmt: skip
    for name in COMMANDS:
        parts += command_parts(f"engine {name}", command_of(name), level=2)
    return page(parts)


def command_parts(name: str, command: click.Command, *, level: int) -> Iterator[str]:
    """One command: how it is written, what it does, options, examples, exit codes; and the commands of a group."""
    yield f"{'#' * level} {name}"
    yield f"```\n{name} {' '.join(command.collect_usage_pieces(click.Context(command)))}\n```"
    yield from map(prose, paragraphs(command.help))
    if rows := [option_row(option) for option in command.params if isinstance(option, click.Option)]:
        yield table(("option", "value", "default", "meaning"), rows)
    if isinstance(command, Command):
        yield "```\n" + "\n".join(command.examples) + "\n```"
        if command.exits != DEFAULT_EXITS:
            yield table(("exit code", "meaning"), ((f"`{code}`", meaning) for code, meaning in command.exits.items()))
    if isinstance(command, click.Group):
        for part, inner in command.commands.items():
            yield from command_parts(f"{name} {part}", inner, level=level + 1)


def command_of(name: str) -> click.Command:
    """The command `engine NAME`."""
    assert isinstance(engine, click.Group)
    command = engine.get_command(click.Context(engine), name)
    assert command is not None
    return command


def option_row(option: click.Option) -> tuple[str, str, str, str]:
    """An option as a row: how it is written, its value, its default, its meaning."""
    told, _, default = (option.help or "").partition("[default: ")
    if default:
        default = default.rstrip("]")
    elif option.show_default and option.default not in ("", None):
        default = f"`{option.default:g}`" if isinstance(option.default, float) else f"`{option.default}`"
    if option.is_flag:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = " ".join(f"`{choice}`" for choice in option.type.choices)
    elif option.metavar:
        value = f"`{option.metavar}`"
    else:
        value = {"integer": "a whole number", "float": "a number", "path": "a file", "text": "text"}[
            option.type.name.removesuffix(" range")
        ]
    if option.multiple:
        value += ", repeatable"
    return f"`{option.opts[0]}`", value, default, told.strip()


# --- metrics


def metrics_page() -> str:
    """Every family of metrics."""
    parts = [
        "# Metrics",
        prose(
            "`engine run --metrics 9464`, or `engine metrics` beside an engine that runs, serves these to Prometheus "
            "at `http://127.0.0.1:9464/metrics`. It needs the extra: `pip install 'kraken-engine[metrics]'`. The "
            "process that serves them attaches to the engine once and then reads its shared memory; the engine does "
            "nothing for a scrape. [`tools/deploy`](../../tools/deploy) has a configuration of Prometheus, alert rules "
            "and a dashboard for Grafana; OpenTelemetry's collector reads the same address, by its Prometheus receiver."
        ),
        prose(
            "Counters are those of the run: a process that dies and is started again resets none, a new run begins "
            "at 0. The number of series is bounded by the configuration: about 16 a pair, 20 a strategy, and 50 for "
            "each latency. What `hop` stands for is told in [Summary and status](summary-and-status.md), under "
            "latency; the edges of its buckets are two to a power of two, from 1 µs to 17 s."
        ),
        prose(
            "While the engine is away `kraken_engine_up` is 0 and alone. P&L and positions can be read by who reaches "
            "the port: it listens on this machine only, unless `metrics.address` says else."
        ),
        table(
            ("metric", "type", "labels", "meaning"),
            ((f"`{family.name}`", family.type, " ".join(f"`{label}`" for label in family.labels), family.text)
             for family in families()),
        ),
    ]  # fmt: skip
    return page(parts)


# --- messages


class Logged(NamedTuple):
    """One call that writes a line of the log."""

    event: str
    """Its first text; `…` stands for what is put in."""
    level: str
    module: str
    """The name that `log.levels` has for it."""
    place: str
    """engine/net/link.py:337"""


LEVELS = {"exception": "error", "critical": "error"} | {name: name for name in ("error", "warning", "info", "debug")}
LEVEL_HEADINGS = {"error": "Errors", "warning": "Warnings", "info": "Information", "debug": "For debugging"}


@cache
def logged() -> tuple[Logged, ...]:
    """Every line of the log that the engine's own code can write."""
    return tuple(
        line
        for path in sorted(DOCS.parent.rglob("*.py"))
        if not {"examples", "templates"} & set(path.parts)
        for line in logged_in(tree_of(path), str(path.relative_to(DOCS.parents[1])))
    )


def logged_in(tree: ast.Module, place: str) -> Iterator[Logged]:
    """Those of one module: calls of `log.info` and the like, or of a logger that is bound or made on the spot."""
    names = logger_names(tree, Path(place).stem)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=level, value=logger), args=[event, *_]) if level in LEVELS:
                written = ast.unparse(logger)
                named = re.search(r"get_logger\((.*)\)", written)
                if module := names.get(written) or (named and named[1].strip("'")):
                    for text in texts_of(event):
                        yield Logged(text, LEVELS[level], module, f"{place}:{node.lineno}")
            case ast.Call(func=ast.Name(id="say"), args=[event, *_], keywords=[_, *_]):  # log.info
                yield Logged(*texts_of(event), "info", "engine", f"{place}:{node.lineno}")


def logger_names(tree: ast.Module, stem: str) -> dict[str, str]:
    """The loggers of a module, and their names: {"log": "link", "self._log": "strategy_host"}."""
    names = {}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value
            and (named := re.search(r"get_logger\(([^)]*)\)", ast.unparse(node.value)))
        ):
            name = {"FRAMES": "frames", "__name__": stem}.get(named[1], named[1].strip("'"))
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names[ast.unparse(target)] = name
    return names


def texts_of(event: ast.expr) -> list[str]:
    """What the first argument of such a call can be."""
    match event:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return [*texts_of(one), *texts_of(other)]
        case ast.JoinedStr(values=parts):
            return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)]
    raise AssertionError(f"a line of the log must begin with a text, not {ast.unparse(event)}")


def messages_page() -> str:
    """Every line that the engine's own code can log, and every error of Kraken's."""
    parts = [
        "# Messages",
        prose(
            "What each line of the log means: by its event, which is the first text of a line. A line of JSON has it "
            "as `event`, beside `level`, `timestamp` in UTC and `actor`, the process that wrote it; the other fields "
            "say where and why. `…` stands for a word that differs. Modules are what `log.levels` takes."
        ),
        prose(
            "Lines that say the same are written less and less often, from every 5 s to every ten minutes, and say "
            "with `left_out` how many there were; the last one is always written. What a strategy logs itself is all "
            "written. Lines of level error are told by [notices](notices.md), too."
        ),
        prose(
            "A mistake of the user's, in a command or a configuration, is no line of the log: it is one sentence on "
            "standard error that names the place and the mend, with exit code 2."
        ),
    ]
    lines = {message.event: [each for each in logged() if each.event == message.event] for message in MESSAGES}
    for level, heading in LEVEL_HEADINGS.items():
        rows = []
        for message in MESSAGES:
            levels = [each for each in LEVEL_HEADINGS if any(line.level == each for line in lines[message.event])]
            if levels[:1] == [level]:
                modules = sorted({line.module for line in lines[message.event]})
                event = f"`{message.event}`" + "".join(f", also {other}" for other in levels[1:])
                shown = " ".join(f"`{module}`" for module in modules)
                rows.append((event, shown, message.meaning, message.does, message.mend))
        parts += [
            f"## {heading}",
            table(("line", "module", "what it means", "what the engine does", "what you do"), rows),
        ]
    parts += [
        prose("What Kraken answers, and what each of its errors means, stands in [Errors](errors.md#krakens-errors)."),
    ]
    return page(parts)


# --- configuration


def configuration_page() -> str:
    """Every setting with its type, default and meaning."""
    parts = [
        "# Configuration",
        prose(
            "`engine settings > my.toml` prints a file with every setting at its default; `engine run my.toml` "
            "reads it. Every setting has a default except those marked *must be given*, and options of the command "
            "line win over the file. What is wrong in a file is answered by one sentence that names the setting."
        ),
        prose("Paths in a file count from the folder of that file. Times are in seconds unless the name says else."),
    ]
    by_table: dict[str, list[Setting]] = {}
    for setting in settings():
        by_table.setdefault(setting.path.rpartition(".")[0], []).append(setting)
    for name, of_table in by_table.items():
        about = inspect.getdoc(struct_of(name)) or ""
        if name:
            parts.append(f"## [[{name[:-2]}]]" if name.endswith("[]") else f"## [{name}]")
            parts.append(prose(capital(about.partition(": ")[2])))
        else:
            parts.append("## Top level")
        parts.append(
            table(
                ("key", "type", "default", "meaning"),
                ((f"`{setting.path.rpartition('.')[2]}`", setting.kind, toml(setting.default), setting.meaning)
                 for setting in of_table),
            )
        )  # fmt: skip
    return page(parts)


def struct_of(table_name: str) -> type[msgspec.Struct]:
    """The Struct behind `feed`, `strategy[]` or `risk.pair[]`."""
    struct: type[msgspec.Struct] = Config
    for key in filter(None, table_name.replace("[]", "").split(".")):
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        kind = fields[key].type
        struct = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
    return struct


def toml(default: object) -> str:
    """A default as the file writes it."""
    if default is msgspec.NODEFAULT:
        return "*must be given*"
    if default is None:
        return "none"
    if default == {}:
        return "`{}`"
    text = msgspec.json.encode(default).decode()
    return f"`{text}`"


# --- the strategy's side


def callbacks_page() -> str:
    """Everything that a strategy's file uses: callbacks, order calls, context, and what they take and give."""
    members = {member.name: member for member in members_of(Strategy)}
    calls = [member for name, member in members.items() if name not in CALLBACKS]
    parts = [
        "# Strategies: callbacks, order calls, context",
        prose(
            "A strategy is a class derived from `engine.Strategy`. Its annotated fields are its parameters, set "
            "with `--param` or under `params` in the configuration. A strategy imports its types from `engine`: "
            "`from engine import BookTop, Order, Strategy`. Its file may import modules that lie beside it."
        ),
        prose(
            "Amounts are exact Decimals in the pair's own currencies. `MonoNs` is nanoseconds of this host's "
            "monotonic clock, `WallNs` nanoseconds since 1970 UTC; `PriceTicks` and `QtyLots` are counts of the "
            "smallest steps that the decimals beside them allow. The tables give the first paragraph of each "
            "docstring; `engine/strategy/api.py` has the rest."
        ),
        "## Callbacks",
        prose(
            "Plain or `async`; one strategy's callbacks never overlap. Whatever a callback raises counts as an "
            "error of the strategy; more than `engine.strategy_errors_per_minute_max` a minute halt it."
        ),
        member_table("callback", [members[name] for name in CALLBACKS]),
        "## Order calls and fields of a strategy",
        prose(
            "Each call returns at once. None of them raises for what it was given, nor for what a limit or the "
            "market says: an order that cannot be sent comes back `REFUSED`, and its `reason` says what to change."
        ),
        member_table("call or field", calls),
        "## `self.context`",
        member_table("member", [m for m in members_of(Context) if not m.text.startswith("See `Strategy.")]),
    ]
    for cls in (
        *(Order, OrderState, OrderError, ErrorKind, OrderOptions, AmendOptions, Conditional),
        *(Fill, Position, Balance, TradingStatus),
        *(BookTop, Level, FeedState, Trade, Ticker, Candle, Pair),
        *(VenueStatus, Connection, ErrorReport),
    ):
        parts += [f"## {cls.__name__}", *map(prose, paragraphs(inspect.getdoc(cls)))]
        parts.append(member_table("member", [*(members_of(OrderView) if cls is Order else ()), *members_of(cls)]))
    return page(parts)


# --- the program's side


def programs_page() -> str:
    """Everything that a program of one's own uses: the engine, its calls, its errors."""
    return page([
        "# Programs: the engine in your own code",
        prose(
            "`from engine import Engine` opens the engine inside a program: the same processes, books, orders and "
            "limits as `engine run`, asked and traded with by `await`. It runs on the loop that opens it, asyncio's or "
            "uvloop's, in a script or in a notebook; call it on that loop's thread. What it returns is described in "
            "[Strategies](callbacks.md), and so are the options of an order."
        ),
        *map(prose, paragraphs(inspect.getdoc(Engine.open))),
        member_table("call or field", [member for member in members_of(Engine) if member.name != "open"]),
        "## Pairs that come and go",
        *map(prose, paragraphs(inspect.getdoc(Engine.subscribe))),
        *map(prose, paragraphs(inspect.getdoc(Engine.unsubscribe))),
        prose(
            "A name that Kraken refuses is forgotten again; a pair keeps its place for the whole run, also when it is "
            "given back, so a program that goes through many pairs sets `feed.pairs_added_max` to as many. "
            "Subscribing to what is followed, and giving back what is not, changes nothing. New orders on a pair that "
            "was given back are refused until it is subscribed again; its open orders go on, can be amended and "
            "canceled, and tell their fills, and what is held of it counts at the last price that was seen. "
            "`engine status` shows the pairs that were added, and the channels of each."
        ),
        prose(
            "The limits of `[risk]` hold for added pairs as for all, in the quote currency of each; those of one pair, "
            "`[[risk.pair]]`, name a pair to come with `added = true`; then `risk.symbols`, the pairs that may be "
            "traded, may name it too."
        ),
        prose(
            "A strategy has the same as `self.context.subscribe` and `unsubscribe`, which return at once: "
            "`on_feed_state` tells what comes of it. Each strategy, and the program, is told only of what it follows "
            "itself."
        ),
        "## Statistics",
        prose(f"What `engine.statistics()` returns. {first_paragraph(inspect.getdoc(Statistics))}"),
        member_table("figure", members_of(Statistics)),
        "## Events",
        prose(
            "A handler is registered with `engine.on(event, handler)`, or by `@engine.on(event)`, and is given one "
            f"object. With `symbol` it is given those of one pair: of {', '.join(OF_PAIRS)}."
        ),
        table(("event", "what it is given", "when"), event_rows()),
        *map(prose, paragraphs(inspect.getdoc(handlers))[2:]),
        "### FeedStateChange",
        prose(first_paragraph(inspect.getdoc(FeedStateChange))),
        member_table("member", members_of(FeedStateChange)),
        "## Errors",
        prose("Each text is one sentence that says what to change; [Errors](errors.md) lists what may be raised."),
    ])  # fmt: skip


def event_rows() -> Iterator[tuple[str, str, str]]:
    """Each event of `Engine.on`, as the program behind it is told."""
    meanings = {member.name: member.text for member in members_of(Strategy)}
    for event in EVENTS:
        callback = "on_book" if event == "rest_book" else f"on_{event}"
        (_, *parameters) = inspect.signature(getattr(Program, callback), eval_str=True).parameters.values()
        given = FeedStateChange if event == "feed_state" else parameters[0].annotation
        anchor = f"#{given.__name__.lower()}" if given is FeedStateChange else f"callbacks.md#{given.__name__.lower()}"
        meaning = meanings[callback].partition("; or, with")[0].removesuffix(".")
        if event == "rest_book":
            meaning = "REST has told a book, which no checksum verifies, while the WebSocket does not serve the pair"
        yield f"`{event}`", f"[`{given.__name__}`]({anchor})", f"{meaning}."


@cache
def members_of(cls: type) -> tuple[Member, ...]:
    """The public members of a class, in the order of its source, read from the source itself."""
    # Of one that is declared with its meaning and then given a value, the declaration.
    return tuple({member.name: member for member in reversed([*_members_of(cls)])}.values())[::-1]


def _members_of(cls: type) -> Iterator[Member]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    body = definition.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not name.startswith(
                "_"
            ) and not is_overload(node):
                is_property = any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list)
                returned = "" if node.returns is None else ast.unparse(node.returns)
                arguments = ", ".join(arguments_of(node.args))
                written = f"{name}: {returned}" if is_property else f"{name}({arguments})"
                if not is_property and returned not in ("None", "Answer"):
                    written += f" -> {returned}"
                if isinstance(node, ast.AsyncFunctionDef):
                    written = f"await {written}"
                yield Member(name, written, first_paragraph(ast.get_docstring(node)))
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                value = "" if node.value is None else f" = {ast.unparse(node.value)}"
                yield Member(name, f"{name}: {ast.unparse(node.annotation)}{value}", text_after(after))
            case ast.Assign(targets=[ast.Name(id=name)]) if name.isupper():  # of an enumeration
                yield Member(name, name, text_after(after))
            case _:
                yield from attributes_of(node)


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """One of several signatures of a function, for a checker alone."""
    return any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)


def attributes_of(node: ast.stmt) -> Iterator[Member]:
    """What `__init__` gives an object."""
    if not (isinstance(node, ast.FunctionDef) and node.name == "__init__"):
        return
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        match statement:
            case ast.Assign(targets=[ast.Attribute(attr=name)]) if not name.startswith("_"):
                yield Member(name, name, text_after(after))
            case ast.AnnAssign(target=ast.Attribute(attr=name)) if not name.startswith("_"):
                yield Member(name, f"{name}: {ast.unparse(statement.annotation)}", text_after(after))


def arguments_of(arguments: ast.arguments) -> Iterator[str]:
    """As the caller sees them: without `self`, and without types that only a checker reads."""
    for argument in arguments.args[1:]:
        yield argument.arg
    if arguments.vararg is not None:
        yield f"*{arguments.vararg.arg}"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"
    if arguments.kwarg is not None:
        yield f"**{arguments.kwarg.arg}"


def text_after(node: ast.stmt | None) -> str:
    """The docstring that follows a field; empty when none does."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return first_paragraph(text)
        case _:
            return ""


def member_table(head: str, members: Iterable[Member]) -> str:
    """Members as a table, without those that only the engine uses."""
    shown = (member for member in members if not member.text.endswith("for the engine alone."))
    return table((head, "meaning"), ((f"`{member.signature}`", member.text) for member in shown))


# --- the page that is written by hand


# Objects of the summary whose keys are names: of what.
NAMED = {
    "symbols": "<symbol>",
    "sources.pairs": "<symbol>",
    "processes": "<process>",
    "restarts": "<process>",
    "rings": "<ring>",
    "rings.<ring>.lag": "<reader>",
    "feeds": "<process>",
    "latency_us": "<latency>",
    "strategies": "<strategy>",
    "notices": "<target>",
    "positions": "<symbol>",
    "pnl.by_currency": "<currency>",
    "trading.by_strategy": "<strategy and symbol>",
    "trading.rate.counts": "<symbol>",
}


def summary_keys_told() -> set[str]:
    """The keys on summary-and-status.md: the first cells of its tables of two columns."""
    text = (DOCS / "summary-and-status.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([^`]+)` \| [^|]+ \|$", text, flags=re.MULTILINE))


def latencies_told() -> set[str]:
    """The latencies on that page: the first cells of its table of three columns."""
    text = (DOCS / "summary-and-status.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([^`]+)` \| [^|]+ \| [^|]+ \|$", text, flags=re.MULTILINE))


def summary_keys(summary: object, path: str = "") -> Iterator[str]:
    """The key of every value in a summary, as the page writes it: `symbols.<symbol>.updates`."""
    if path == "strategies.<strategy>.hangs" or not isinstance(summary, dict):
        yield path
        return
    for key, inner in summary.items():
        step = NAMED.get(path, key)
        yield from summary_keys(inner, f"{path}.{step}" if path else step)


def write() -> None:
    """Write every page."""
    DOCS.mkdir(exist_ok=True)
    for path, written in pages().items():
        path.write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    write()
