"""Counts the changes of what a plain order's yes depends on, so that the compiled path
looks at it again only when something is new.

Every assignment to any attribute counts, whoever makes it: a change that is forgotten
cannot be. What is changed in place, an element of a dict, does not count.
"""

from typing import TYPE_CHECKING, Any, Self

from engine.native import ORDERS


class PortableChanges:
    """A count that the compiled path reads without a call."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


if TYPE_CHECKING or ORDERS is None:
    Changes = PortableChanges
else:
    Changes = ORDERS.Changes


class Watched:
    """An object whose assignments are counted in `changes`."""

    changes: Changes

    def __new__(cls, *_: Any, **__: Any) -> Self:
        watched = super().__new__(cls)
        object.__setattr__(watched, "changes", Changes())
        return watched

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        self.changes.count += 1
