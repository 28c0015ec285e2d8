"""A log file that is rotated under a running engine: no line is lost, of any process."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.rig import CALM, Engines, RunningEngine, json_lines
from tests.waiting import eventually

COUNTING = Path(__file__).parent / "strategies" / "counting.py"
TIMES = 5


@pytest.fixture
def engine(engines: Engines) -> RunningEngine:
    """One that logs much, into log-0.txt."""
    return engines.start(*CALM, "--strategy", COUNTING, "--log-format", "json")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """What was logged there."""
    return json_lines(path.read_text())


def test_no_line_is_lost_and_each_process_writes_into_the_new_file(engine: RunningEngine, engines: Engines) -> None:
    """Renamed again and again; and a process that dies between has a successor that knows the name, too."""
    log = engines.folder / "log-0.txt"
    engine.wait_until_live()
    for turn in range(TIMES):
        eventually(lambda: any(line["event"] == "counted" for line in lines_of(log)), "it counts, in the file of now")
        log.rename(log.with_suffix(f".{turn}"))
        eventually(log.exists, "a new file is begun")
    (feed,) = engine.feed_pids()
    psutil.Process(feed).kill()
    engine.wait_for(lambda status: status["restarts"]["public_feed-0"] == 1, "the feed was restarted")
    engines.call("halt")
    wanted = {"engine", "order_router", "public_feed-0"}
    eventually(lambda: wanted <= {line["actor"] for line in lines_of(log)}, "all of them write there")
    assert engine.stop() == 0

    lines = [line for turn in range(TIMES) for line in lines_of(log.with_suffix(f".{turn}"))] + lines_of(log)
    numbers = [line["number"] for line in lines if line["event"] == "counted"]
    assert len(numbers) > 5 * TIMES
    assert numbers == list(range(1, len(numbers) + 1))
    assert lines[-1]["actor"] == "engine"


def test_a_line_that_is_still_being_written_is_none_yet() -> None:
    """As a page of the file ends within it."""
    assert json_lines('{"event": "whole"}\nno JSON\n{"event": "in pa') == [{"event": "whole"}]
