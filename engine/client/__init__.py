"""The engine inside the user's own program: opened, queried and traded with by `await`.

Runs in the user's process; owns the handlers that the program registered.
"""

from engine.client.engine import Engine
from engine.client.statistics import Statistics

__all__ = ["Engine", "Statistics"]
