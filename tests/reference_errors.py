"""The page errors.md: what a program may catch, why an order is refused, and what Kraken's errors mean.

    engine/errors.py ─► exceptions        engine/orders/refusal.py ─► kinds
    every `Refusal(…)` and `ValueError(…)` of the code that refuses orders ─► reasons
    engine/kraken/connection/error_catalog.py ─► Kraken's errors

In a reason, … stands for what is known at that moment only: a price, a pair, a limit.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from engine import errors
from engine.kraken.connection import error_catalog
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome
from tests.markdown import first_paragraph, page, prose, table
from tests.parsed import nodes_of

ENGINE = Path(__file__).parents[1] / "engine"
RAISED = (errors.ConfigError, errors.StrategyError, errors.CallError, errors.OrderRefused, errors.NotAvailable,
          errors.EngineStopped)  # fmt: skip
# What refuses orders and amends. Beside `Refusal`, readers of options raise ValueError, of the kind ARGUMENT.
REFUSES = ("strategy_host", "strategy", "orders", "order_router/core")
READERS = ("strategy/option_rules.py", "strategy/order_options.py", "orders/amounts.py")
OUTCOMES = {
    Outcome.NOT_PLACED: "it was not placed",
    Outcome.UNKNOWN: "not known; the engine looks it up",
    Outcome.NOT_OPEN: "it is not open",
    Outcome.ALREADY_PLACED: "it is there already; the engine looks it up",
}


def errors_page() -> str:
    """What can go wrong with a call or an order, by name."""
    return page(
        [
            "# Errors",
            prose(
                "Every error is one sentence that says what, where, and what to do about it. Of a command it stands "
                "on standard error, with exit code 2. Of a strategy's order it is `order.reason`, and nothing raises."
                " Of a program it is raised."
            ),
            "## What a program may catch",
            prose("All of them are in `engine`: `from engine import OrderRefused`."),
            table(
                ("error", "is also", "raised when"),
                ((f"`{error.__name__}`", bases(error), first_paragraph(error.__doc__)) for error in RAISED),
            ),
            "## Kinds of errors of an order",
            prose(
                "`order.error.kind` says what an error is about, whoever said no: the engine (`REFUSED`) or Kraken "
                "(`REJECTED`, or an amend that was not done). *Try again* says yes where "
                "`order.error.is_final` is False: the same order may pass later. No: change the order, the account or "
                "the settings first. The engine itself sends nothing twice."
            ),
            table(
                ("kind", "try again", "what it is about"),
                ((f"`{kind.value}`", "no" if kind.is_final else "yes", meaning_of(kind)) for kind in ErrorKind),
            ),
            "## Why the engine refuses an order or an amend",
            prose(
                "It was never sent: `order.state` is `REFUSED`, and `order.reason` is one of these sentences. Of an "
                "amend the order stays as it is, and the reason begins with `amend refused`. What stands for … is "
                "known at that moment only. `[risk]` and its settings are told in "
                "[Configuration](configuration.md#risk)."
            ),
            *(
                part
                for kind, reasons in reasons_by_kind().items()
                for part in (f"### {kind}", table(("reason",), ((reason,) for reason in reasons)))
            ),
            prose(
                "Beside these, of the kind `not_trading`, the reason of `context.trading`: what trading waits for, "
                "such as `waiting for the account's snapshot`, or what has closed it, such as a lost connection or a "
                "journal that cannot be written."
            ),
            "## Kraken's errors",
            prose(
                "`order.reason` has Kraken's text and this advice. The longest beginning that fits decides. An error "
                "that is not listed proves nothing: the order is in doubt (`UNKNOWN`) until it has been looked up."
            ),
            table(
                ("Kraken's text begins with", "kind", "of the order", "what to do"),
                (
                    (f"`{text}`", f"`{meaning.kind.value}`", OUTCOMES[meaning.outcome], meaning.advice)
                    for text, meaning in error_catalog.CATALOG.items()
                ),
            ),
        ]
    )


def bases(error: type[Exception]) -> str:
    """What else it can be caught as."""
    others = (base for base in error.__mro__[1:] if base in (*RAISED, ValueError, TimeoutError))
    return ", ".join(f"`{base.__name__}`" for base in others)


def meaning_of(kind: ErrorKind) -> str:
    """The docstring below an enumeration's member."""
    (definition,) = [
        node
        for node in ast.parse((ENGINE / "orders" / "refusal.py").read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "ErrorKind"
    ]
    for node, after in zip(definition.body, definition.body[1:], strict=False):
        match node, after:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                if name == kind.name:
                    return first_paragraph(text)
    return ""


def reasons_by_kind() -> dict[str, list[str]]:
    """Every sentence with which the engine refuses, by its kind, in the order of the kinds."""
    found: dict[str, list[str]] = {kind.value: [] for kind in ErrorKind}
    for folder in REFUSES:
        for path in sorted((ENGINE / folder).rglob("*.py")):
            for kind, sentence in reasons_in(path):
                if sentence not in found[kind]:
                    found[kind].append(sentence)
    return {kind: sorted(sentences, key=str.casefold) for kind, sentences in found.items() if sentences}


def reasons_in(path: Path) -> Iterator[tuple[str, str]]:
    """(kind, sentence) of the refusals in a file."""
    is_reader = path.relative_to(ENGINE).as_posix() in READERS
    for function in nodes_of(path):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        for node in own_nodes(function):
            match node:
                case ast.Call(
                    func=ast.Name(id="Refusal"), args=[ast.Attribute(value=ast.Name(id="ErrorKind"), attr=name), text]
                ):
                    for sentence in sentences_of(text, function):
                        yield ErrorKind[name].value, sentence
                case ast.Call(func=ast.Name(id="ValueError"), args=[text]) if is_reader:
                    for sentence in sentences_of(text, function):
                        yield ErrorKind.ARGUMENT.value, sentence


def reasons_without_a_sentence(path: Path) -> Iterator[str]:
    """The texts of refusals in a file that stand elsewhere: as they are written there."""
    for function in nodes_of(path):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        for node in own_nodes(function):
            match node:
                case ast.Call(func=ast.Name(id="Refusal"), args=[ast.Attribute(value=ast.Name(id="ErrorKind")), text]):
                    if not list(sentences_of(text, function)):
                        yield ast.unparse(text)


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function or module, without those of the functions in it."""
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef):
            todo += ast.iter_child_nodes(node)


def sentences_of(text: ast.expr, function: ast.AST) -> Iterator[str]:
    """The sentences that an expression may be: a text, one of two, or what a name of the function may hold."""
    match text:
        case ast.Constant(value=str(sentence)):
            yield sentence
        case ast.JoinedStr(values=parts):
            shown = [part.value if isinstance(part, ast.Constant) else "…" for part in parts]
            yield re.sub("…+", "…", "".join(map(str, shown)))
        case ast.IfExp(body=one, orelse=other):
            yield from sentences_of(one, function)
            yield from sentences_of(other, function)
        case ast.Name(id=name):
            for node in own_nodes(function):
                match node:
                    case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                        yield from sentences_of(value, function)
