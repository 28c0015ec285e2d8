"""The syntax trees of our own files, each made once in a process: many tests read them."""

import ast
import functools
from pathlib import Path


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax tree, which nobody may change."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Every node of it."""
    return list(ast.walk(tree_of(path)))
