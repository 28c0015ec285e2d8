"""Events of the engine itself: its connections, and errors."""

from msgspec import Struct

from engine.units import WallNs


class ErrorReport(Struct, frozen=True):
    """An error that belongs to no order and no pair."""

    place: str
    """Where: the name of a process, a strategy, or a program's handler."""
    text: str
    """What, in one sentence."""
    at: WallNs


class Connection(Struct, frozen=True):
    """A process of the engine connected to Kraken, or lost its connection."""

    process: str
    """public_feed-0, private_feed, order_router."""
    is_connected: bool
    at: WallNs
    """When it was noticed, at most a quarter of a second later."""
