"""The strategy API; its loader is beside it."""

from engine.strategy.api import Context, Strategy

__all__ = ["Context", "Strategy"]
