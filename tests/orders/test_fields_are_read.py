"""No field is decoded, carried through a ring and kept for nobody: what is not read is not there."""

import ast
from pathlib import Path

import pytest

from engine.kraken.private.messages import ExecutionRow
from engine.orders.venue_facts import ExecutionFact
from tests.parsed import tree_of

ENGINE = Path(__file__).parents[2] / "engine"
# What is read from Kraken's private frames, and what crosses the rings of orders.
HOMES = (
    "engine.kraken.private.messages",
    "engine.orders.venue_facts",
    "engine.orders.rings.commands",
    "engine.orders.rings.reports",
)
# Read by strategies, which are not in this repository.
FOR_STRATEGIES = frozenset(("Order", "Fill", "Position", "Balance", "TradingStatus"))
# What the trading session tells of an answer; its own tests judge it.
ELSEWHERE = frozenset(("ResultRow", "TradingReply", "BareReply"))


def path_of(module):
    return ENGINE.parent / (module.replace(".", "/") + ".py")


def names_read(tree):
    """Every name that is read as an attribute, or matched as a keyword of a pattern."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.MatchClass):
            yield from node.kwd_attrs


def classes_of(module):
    """Every Struct of a module with the names of its fields, in order."""
    for node in tree_of(path_of(module)).body:
        if isinstance(node, ast.ClassDef):
            fields = [
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign)
                and isinstance(each.target, ast.Name)
                and "ClassVar" not in ast.unparse(each.annotation)
            ]
            if fields:
                yield node.name, fields


def readers_of(module):
    """The modules that may read its Structs: those that import it, and itself."""
    home = path_of(module)
    for path in ENGINE.rglob("*.py"):
        if path == home or f"from {module} import" in (text := path.read_text()) or f"import {module}" in text:
            yield tree_of(path)


def matched_by_position(trees, name):
    """How many fields a class pattern names without keyword, at most."""
    patterns = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.MatchClass)]
    return max((len(it.patterns) for it in patterns if ast.unparse(it.cls) == name), default=0)


@pytest.mark.parametrize("module", HOMES)
def test_every_field_is_read_somewhere(module):
    """By a module that knows the Struct; the name is what is looked for, so a namesake counts too."""
    trees = list(readers_of(module))
    read = {name for tree in trees for name in names_read(tree)}

    unread = [
        f"{name}.{field}"
        for name, fields in classes_of(module)
        if name not in FOR_STRATEGIES | ELSEWHERE
        for field in fields[matched_by_position(trees, name) :]
        if field not in read and not (name == "ExecutionRow" and field in ExecutionFact.__struct_fields__)
    ]
    assert unread == []


# Where a fill passes: from Kraken's frame to the strategy's callback.
ROOMS_OF_A_FILL = ("kraken/private", "private_feed", "orders", "order_router", "strategy_host", "strategy")


def test_a_fill_has_four_shapes_from_the_wire_to_the_callback():
    """The row, decoded as the fact that crosses the account ring; the journal's record; what on_fill is called with."""
    shapes = {
        name
        for room in ROOMS_OF_A_FILL
        for path in (ENGINE / room).rglob("*.py")
        for name, fields in classes_of(".".join(path.relative_to(ENGINE.parent).with_suffix("").parts))
        if "exec_id" in fields and {"price", "last_price"} & set(fields)
    }

    assert shapes == {"ExecutionRow", "ExecutionFact", "Filled", "Fill"}
    assert issubclass(ExecutionRow, ExecutionFact)
