"""Every end goes through one door: orders settled, summary written, ledger compared, an exit code that is true."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.cli.ending import SIGNALS, StopSignals
from tests.integration.rig import CALM, CAPTURES, PATIENCE_S, Engines, RunningEngine, eventually, summary_of

LEAVING = Path(__file__).parent / "strategies" / "leaving.py"
ENDS_AT_ONCE = ("exit", "task", "async on_start")  # and "nothing", with each signal below
KEEPS_THE_PROCESS = ("thread", "executor", "atexit")
NEVER_RETURNS = ("on_start", "on_stop")
SETTINGS = "[engine]\nstop_deadline_s = 1.0\n"


def started(engines: Engines, folder: Path, how: str, *options: object, venue: tuple[str, ...] = CALM) -> RunningEngine:
    """An engine with a strategy of that kind, on a venue of its own unless another is named."""
    config = folder / "engine.toml"
    config.write_text(
        f'{SETTINGS}[[strategy]]\ntarget = "{LEAVING}:Leaving"\nname = "it"\nparams = {{ how = "{how}" }}\n'
    )
    is_new = how in KEEPS_THE_PROCESS  # what is left behind meets Python's own end
    return engines.start(config, *venue, "--summary", folder / "out.json", *options, is_new=is_new)


def has_an_order(engine: RunningEngine) -> Any:
    """Has it one that rests at the venue?"""
    return engine.wait_for(lambda status: status["orders"]["acknowledged"], "its order rests")


@pytest.mark.parametrize("how", [*ENDS_AT_ONCE, *KEEPS_THE_PROCESS, *NEVER_RETURNS])
def test_an_engine_is_stopped_whatever_its_strategy_does(engines: Engines, tmp_path: Path, how: str) -> None:
    """0 for a clean end that was asked for; 1, and who kept it, where a strategy did not come back."""
    engine = started(engines, tmp_path, how)
    if "on_start" in how:
        engine.wait_for(lambda status: status["strategies"]["it"]["hangs"], "it hangs in on_start")
    elif how == "exit":
        engine.wait_for(lambda status: status["strategies"]["it"]["halted"], "it was halted")
    elif how == "task":
        eventually(lambda: "a strategy's task raised" in engines.logs(), "its task has raised")
    else:
        has_an_order(engine)
    code = engine.stop()
    summary = summary_of(tmp_path / "out.json")

    if how in NEVER_RETURNS:
        assert code == 1
        assert summary["exit"].startswith(f"a strategy did not stop in time: it does not return from {how} (leaving.py")
    else:
        assert (code, summary["exit"]) == (0, "clean")
    assert summary["ledger"]["agree"], summary["ledger"]
    assert summary["orders"]["acknowledged"] == summary["orders"]["canceled"]
    assert summary["strategies"]["it"]["errors"] == (11 if how == "exit" else 0)
    assert ("kept the process for 5 s after its end" in engines.logs()) == (how in KEEPS_THE_PROCESS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_each_signal_asks_for_a_clean_end_and_more_of_them_change_nothing(
    engines: Engines, tmp_path: Path, number: signal.Signals
) -> None:
    """Once is enough; an impatient second and third interrupt nothing."""
    engine = started(engines, tmp_path, "nothing")
    has_an_order(engine)
    for more in (number, signal.SIGTERM, number):
        engine.process.send_signal(more)
    code = engine.stop(number)
    summary = summary_of(tmp_path / "out.json")

    assert (code, summary["exit"]) == (0, "clean")
    assert summary["ledger"]["agree"]
    assert summary["orders"]["canceled"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_while_the_engine_starts_is_kept_until_it_can_end_in_order(
    engines: Engines, tmp_path: Path, number: signal.Signals
) -> None:
    """As soon as it has its run directory."""
    _, url = engines.venue()  # one that is there already, for `engine run` has a deadline to have begun by
    engine = started(engines, tmp_path, "nothing", venue=("--venue", url))
    lock = engines.runtime / "kraken-engine" / "default" / "lock"
    eventually(lambda: lock.exists() and lock.read_text(), "it has begun")
    code = engine.stop(number)

    assert (code, summary_of(tmp_path / "out.json")["exit"]) == (0, "clean")
    assert not lock.parent.exists()


def test_a_hangup_that_was_put_off_ends_nothing() -> None:
    """An engine under nohup outlives its terminal."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for put_off in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGHUP, put_off)
            StopSignals().install()
            assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) is (put_off is signal.SIG_IGN)
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_strategy_whose_import_never_ends_is_given_up(engines: Engines, tmp_path: Path) -> None:
    """There is no run to sum up: one sentence, and an exit code that is not 0."""
    bot = tmp_path / "bot.py"
    bot.write_text(f"import time\nopen({str(tmp_path / 'imported')!r}, 'w').close()\ntime.sleep(3600)\n")
    engine = engines.start(*CALM, "--strategy", bot, "--summary", tmp_path / "out.json")
    eventually((tmp_path / "imported").exists, "its import began")
    code = engine.stop()

    assert code == 1
    assert "it was to stop while it started, and had not begun 5 s later" in engines.logs()
    assert "Traceback" not in engines.logs()
    assert not list(engines.runtime.glob("kraken-engine/*"))


def test_an_import_that_swallows_its_interruption_is_ended_all_the_same(engines: Engines, tmp_path: Path) -> None:
    """A bare `except:` around a loop is no rare thing."""
    bot = tmp_path / "bot.py"
    loop = "while True:\n    try:\n        time.sleep(3600)\n    except BaseException:\n        pass\n"
    bot.write_text(f"import time\nopen({str(tmp_path / 'imported')!r}, 'w').close()\n{loop}")
    engine = engines.start(*CALM, "--strategy", bot)
    eventually((tmp_path / "imported").exists, "its import began")
    code = engine.stop()

    assert code == 1
    assert "nor 5 s after it had been interrupted; it is ended" in engines.logs()


def test_a_process_that_a_strategy_forked_off_does_not_hold_the_name_of_an_engine_that_was_killed(
    engines: Engines, tmp_path: Path
) -> None:
    """`multiprocessing` forks by default: whoever starts the engine again must not have to look for the child."""
    bot = tmp_path / "bot.py"
    pid_file = tmp_path / "pid"
    bot.write_text(
        "import multiprocessing, pathlib, time\nfrom engine import Strategy\n\n\nclass Bot(Strategy):\n"
        "    def on_start(self):\n        child = multiprocessing.Process(target=time.sleep, args=(3600,))\n"
        f"        child.start()\n        pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
    )
    first = engines.start(*CALM, "--strategy", bot)
    eventually(lambda: pid_file.exists() and pid_file.read_text(), "it has forked")
    first.process.kill()
    first.process.wait()
    try:
        again = engines.start(*CALM, "--seconds", 0.5, "--summary", tmp_path / "out.json")
        code = again.process.wait(PATIENCE_S)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)

    assert code == 0, engines.logs()


def test_a_strategys_module_cannot_take_the_signals(engines: Engines, tmp_path: Path) -> None:
    """They are the engine's again when it has been imported; an output that it closed is no failure of the run."""
    engine = engines.start(
        *CALM, "--strategy", f"{LEAVING}:Grabbing", "--summary", tmp_path / "out.json"
    )  # fmt: skip
    has_an_order(engine)

    assert engine.stop() == 0
    assert summary_of(tmp_path / "out.json")["exit"] == "clean"


def test_an_on_start_that_never_returns_does_not_outlast_the_seconds_of_a_run(engines: Engines, tmp_path: Path) -> None:
    """`--seconds` ends it, and the exit code says how."""
    engine = started(engines, tmp_path, "on_start", "--seconds", 1)
    code = engine.process.wait(PATIENCE_S)

    assert code == 1
    assert "it does not return from on_start (leaving.py" in summary_of(tmp_path / "out.json")["exit"]


def test_a_replay_is_not_ended_with_0_by_a_strategys_exit(engines: Engines, tmp_path: Path) -> None:
    """In a callback it is an error; in a task of its own it ends the replay, with a sentence."""
    bot = tmp_path / "bot.py"
    bot.write_text(
        "import asyncio, sys\nfrom engine import Strategy\n"
        "class Exiting(Strategy):\n    task: bool = False\n"
        "    def on_start(self):\n        self.kept = asyncio.ensure_future(self.leave()) if self.task else None\n"
        "    async def leave(self):\n        await asyncio.sleep(0)\n        sys.exit(0)\n"
        "    def on_book(self, book):\n        sys.exit(0)\n"
    )
    capture = CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
    in_callback = engines.call("replay", capture, "--strategy", bot, "--summary", tmp_path / "out.json")
    in_task = engines.call("replay", capture, "--strategy", bot, "--param", "task=true")

    assert in_callback.returncode == 0
    assert summary_of(tmp_path / "out.json")["strategies"]["Exiting"]["halted"]
    assert in_task.returncode == 2
    assert "a strategy's task raised SystemExit(0), which ended the replay" in in_task.stderr
