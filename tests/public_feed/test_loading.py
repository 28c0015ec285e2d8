"""What a feed's process loads before it has a connection: every feed that dies is away for so long."""

import subprocess
import sys


def test_a_feed_loads_no_http_before_it_asks():
    """REST stands in for the WebSocket; while that serves, nobody asks, and aiohttp is a third of a start."""
    late = {"aiohttp", "yarl", "sqlite3"}
    code = f"import sys, engine.public_feed.process; print(*{late} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "\n"
