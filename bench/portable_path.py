"""The book path in plain Python, in a process of its own: `python bench/portable_path.py FRAMES`.

A process has one implementation. For each line on standard input it takes the frames once and prints the seconds of
it; "cold" instead takes them one by one, 0.4 ms apart, and prints the median of each frame's seconds.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from feed_path import FeedPath
from rig import symbols_of

from engine.units import MonoNs

COLD_GAP_S = 0.0004
COLD_FRAMES = 1_500


def cold_s(path: FeedPath, frames: list[bytes]) -> float:
    """Median seconds of a frame that comes after a rest, as on a quiet connection."""
    seconds = []
    receive, on_events, on_burst_end = path.feed.receive, path.feed.on_events, path.feed.on_burst_end
    for frame in frames[:COLD_FRAMES]:
        time.sleep(COLD_GAP_S)
        began = time.perf_counter()
        if events := receive(frame, MonoNs(time.monotonic_ns())):
            on_events(events)
        on_burst_end()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


class PortablePath:
    """That process, as its parent sees it."""

    def __init__(self, folder: Path, frames: list[bytes]) -> None:
        file = folder / "frames"
        file.write_bytes(b"\n".join(frames))
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"ENGINE_PORTABLE": "1"},
        )

    def take_s(self, how: str = "hot") -> float:
        """Seconds of all frames, or, cold, of one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{how}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main(file: Path) -> None:
    """Serve the parent until it closes the pipe."""
    frames = file.read_bytes().split(b"\n")
    symbols = symbols_of(frames)
    memory = FeedPath.new_memory(symbols)
    for how in sys.stdin:
        path = FeedPath(symbols, memory)
        if how == "cold\n":
            print(cold_s(path, frames), flush=True)
            continue
        began = time.perf_counter()
        path.take(frames)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    main(Path(sys.argv[1]))
