"""Bugs to be found: each a small change of the engine's own code, as it might be made by mistake."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.kraken.public.book_feed import BookFeed  # noqa: F401

Undo = Callable[[], None]


def _patch(owner: Any, name: str, value: Any) -> Undo:
    before = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)


PLANTS: dict[str, Callable[[], Undo]] = {}


@contextmanager
def plant(name: str) -> Iterator[None]:
    """The engine with this bug; none for an empty name."""
    undo = PLANTS[name]() if name else None
    try:
        yield
    finally:
        if undo is not None:
            undo()
