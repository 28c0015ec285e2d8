"""The log of a process: repeated lines are limited whoever writes them, but for a
strategy's own.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from engine.telemetry.log import FRAMES, MODULES

ENGINE = Path(__file__).parents[2] / "engine"

PROGRAM = """
import logging
import structlog
from engine.telemetry.log import UNLIMITED, configure_log, say_left_out

configure_log("info", "json", "test")
log = structlog.get_logger("router")
for number in range(500):
    log.warning("no token", reason=f"asked again in {number / 7:.1f} s")
    logging.getLogger("asyncio").warning("socket.send() raised exception.")
try:
    raise ValueError("broken")
except ValueError as error:
    for _ in range(3):
        log.error("failed", exc_info=error)
own = structlog.get_logger("strategy").bind(strategy="mine", **{UNLIMITED: True})
for number in range(50):
    own.info("buyers waiting", number=1)
say_left_out()
"""


def test_a_line_that_comes_again_and_again_is_written_twice_with_its_count():
    """At once, and at the end of the process with how many were left out; a strategy's own
    lines are all there.
    """
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stderr.splitlines()
    ours = [json.loads(line) for line in lines if line.startswith("{")]
    no_token = [line for line in ours if line["event"] == "no token"]

    assert [line.get("left_out", 0) for line in no_token] == [0, 498]
    assert no_token[1]["reason"] == "asked again in 71.3 s"
    assert sum("socket.send() raised" in line for line in lines) == 2
    assert len([line for line in ours if line["event"] == "failed"]) == 2
    assert [set(line) for line in ours if line["event"] == "buyers waiting"] == [
        {"event", "strategy", "number", "level", "timestamp", "actor"}
    ] * 50


UNCAUGHT = """
import threading
from engine.telemetry.log import configure_log

configure_log("info", "json", "test")

class Broken:
    def __del__(self):
        raise ValueError("no end")

def fail():
    raise ValueError("no good")

for _ in range(200):
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Broken()
"""


def test_what_nobody_catches_is_a_line_of_the_log_and_limited_as_all_are():
    """Errors of threads and destructors: with their traceback, twice, and with the number of the others."""
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    of_thread = [line for line in lines if line["event"] == "a thread raised"]
    unraisable = [line for line in lines if line["event"] == "an error that nobody can catch"]

    assert len(lines) == len(of_thread) + len(unraisable) == 4
    assert [line.get("left_out", 0) for line in of_thread] == [0, 198]
    assert [line.get("left_out", 0) for line in unraisable] == [0, 198]
    assert of_thread[0]["thread"] == "worker"
    assert "in fail" in of_thread[0]["exception"]
    assert "Broken.__del__" in unraisable[0]["place"]


LEVELS = """
import structlog
from engine.telemetry.log import configure_log

configure_log("warning", "json", "test", levels={"order_router": "debug", "websocket": "error"})
for module in ("order_router", "engine.net.websocket", "supervisor"):
    log = structlog.get_logger(module)
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"{module} {level}")
"""


def test_a_module_may_have_a_level_of_its_own():
    """The others have the usual one."""
    done = subprocess.run([sys.executable, "-c", LEVELS], capture_output=True, text=True, timeout=60, check=True)

    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == [
        "order_router debug", "order_router info", "order_router warning", "order_router error",
        "engine.net.websocket error", "supervisor warning", "supervisor error",
    ]  # fmt: skip


def test_every_module_that_logs_can_be_given_a_level():
    """The names in the source are those that the configuration takes."""
    names = set()
    for path in ENGINE.rglob("*.py"):
        for name in re.findall(r"get_logger\((.*?)\)", path.read_text()):
            names.add(path.stem if name == "__name__" else FRAMES if name == "FRAMES" else name.strip('"'))

    assert names == set(MODULES)


FORKED = """
import os
import structlog
from engine.telemetry.log import configure_log, drain_log, keep_warnings
from engine.telemetry.warning_ring import last_warnings, warning_segment

configure_log("info", "json", "test")
ring = warning_segment("test")
keep_warnings(ring.memory)
log = structlog.get_logger("program")
log.warning("before")
if (child := os.fork()) == 0:
    log.warning("of the child")
    drain_log()
    os._exit(0)
os.waitpid(child, 0)
log.warning("after")
drain_log()
print([warned.text for warned in last_warnings(ring.memory)])
"""


def test_a_process_that_was_forked_off_writes_its_own_lines_once():
    """Multiprocessing forks, where the thread that writes is not there; those who watch see the engine's own."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=True)

    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["before", "of the child", "after"]
    assert done.stdout == "['before', 'after']\n"
