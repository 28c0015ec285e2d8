"""The engine as PID 1, as in a container: it reaps, ends in order, and outlives a killed engine for its orders."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy.rig import UNSHARE
from tests.integration.rig import CALM, ENGINE, Engines, RunningEngine, summary_of
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.waiting import PATIENCE_S, eventually

ORPHANS = """
import subprocess
from engine import Strategy

class Orphans(Strategy):
    def on_start(self):
        # A process that loses its parent at once, and ends when the file is there.
        subprocess.run(["sh", "-c", f"(until [ -e '{self.until}' ]; do sleep 0.05; done) & exit 0"], check=True)
        print("own child", subprocess.run(["sh", "-c", "exit 7"]).returncode, flush=True)
    until: str
"""


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Leave the tests out where no PID namespace can be made."""
    if shutil.which(UNSHARE[0]) is None:
        pytest.skip("unshare is not installed: apt install util-linux")
    tried = subprocess.run((*UNSHARE, "true"), capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make a PID namespace: {tried.stderr.strip()}")


SUPERVISOR = "supervisor and strategies"


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """PID 1 of the namespace, the engine, and all others, as their numbers happen to be."""
    return psutil.Process(process.pid).children(recursive=True)


def named(process: subprocess.Popen[str], title: str) -> list[psutil.Process]:
    """Those whose command line has this text."""

    def has(one: psutil.Process) -> bool:
        try:
            return title in " ".join(one.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return False

    return [one for one in family_of(process) if has(one)]


def zombies(process: subprocess.Popen[str]) -> list[int]:
    """Who has ended and was not reaped."""
    found = []
    for one in family_of(process):
        try:
            found += [one.pid] if one.status() == psutil.STATUS_ZOMBIE else []
        except psutil.NoSuchProcess:
            continue
    return found


def test_pid_one_reaps_and_ends_in_order(engines: Engines, tmp_path: Path) -> None:
    """Children, orphans, and the end: no zombie stays, SIGTERM ends the orders first, and 0 is the exit code."""
    bot, until = tmp_path / "bot.py", tmp_path / "until"
    bot.write_text(ORPHANS)
    options = ("--strategy", str(bot), "--param", f"until={until}", "--summary", str(tmp_path / "out.json"))
    with (tmp_path / "log-0.txt").open("w") as log:
        process = subprocess.Popen(
            (*UNSHARE, *ENGINE, "run", *CALM, *options),
            stdout=log, stderr=log, text=True, env=engines.environment, cwd=tmp_path,
        )  # fmt: skip
    engines.adopt(process)
    engine = RunningEngine(engines, process)
    engine.wait_until_live()
    (pid_one,) = psutil.Process(process.pid).children()
    (supervisor,) = named(process, SUPERVISOR)
    assert "own child 7" in engines.logs()  # whose exit code the strategy itself was told

    orphans = named(process, "until [ -e")
    assert [orphan.ppid() for orphan in orphans] == [pid_one.pid]
    until.touch()
    eventually(lambda: not named(process, "until [ -e") and not zombies(process), "the orphan is gone without a trace")

    (feed,), (fork_server,) = named(process, "public_feed"), named(process, "fork server")
    assert (feed.ppid(), fork_server.ppid()) == (fork_server.pid, supervisor.pid)
    feed.kill()
    engine.wait_for(lambda status: status["restarts"]["public_feed-0"] == 1, "it was restarted")
    assert zombies(process) == []

    pid_one.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    summary = summary_of(tmp_path / "out.json")
    assert (summary["exit"], summary["ledger"]["agree"]) == ("clean", True)


def test_a_mistake_is_told_by_its_exit_code(engines: Engines) -> None:
    """PID 1 exits as the engine does."""
    done = subprocess.run(
        (*UNSHARE, *ENGINE, "run", "nowhere.toml"), capture_output=True, text=True, env=engines.environment,
        cwd=engines.folder, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.fixture
def start(engines: Engines, tmp_path: Path) -> Iterator[Callable[[], TradingEngine]]:
    """Starts an engine as PID 1, on a venue that outlives it."""
    venue, started = TradingVenue(engines, "--no-rate-counter"), []

    def start() -> TradingEngine:
        started.append(TradingEngine(venue, tmp_path / "it", relay=False, wrapper=UNSHARE))
        return started[-1].start()

    yield start
    for engine in started:
        engine.close()


def test_a_killed_engine_leaves_its_router_the_time_to_end_the_orders(start: Callable[[], TradingEngine]) -> None:
    """The kernel would kill it together with PID 1."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    (supervisor,) = named(engine.process, SUPERVISOR)
    supervisor.kill()

    assert engine.process.wait(PATIENCE_S) == 128 + signal.SIGKILL
    assert engine.venue.orders(engine.account)[0]["status"] == "canceled"
    assert engine.differences(told=False) == []
