"""Notices of a running engine, at a target with real sockets: what is told, and what a dead target costs nobody."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.rig import CALM, Engines, RunningEngine, places_of
from tests.notices.receiver import Answer, Receiver, receiver
from tests.waiting import PATIENCE_S, eventually

QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"
HIDDEN = "/services/T0/B0/canarycanarycanary"


@pytest.fixture
def target() -> Iterator[Receiver]:
    """A target that takes everything."""
    with receiver() as served:
        yield served


def config_of(engines: Engines, target: Receiver, more: str = "", kind: str = "slack") -> Path:
    """A strategy that trades, and one target whose address lies in a file."""
    secret = engines.folder / "secret"
    secret.write_text(target.url + HIDDEN + "\n")
    secret.chmod(0o600)
    path = engines.folder / "engine.toml"
    path.write_text(
        f'symbols = ["BTC/USD"]\n[[strategy]]\ntarget = "{QUOTER}"\n'
        f'[[notices.target]]\nname = "phone"\nkind = "{kind}"\nsecret_file = "secret"\nevery_s = 1\n{more}'
    )
    return path


def start(engines: Engines, target: Receiver, more: str = "") -> RunningEngine:
    """A trading engine that has filled an order."""
    engine = engines.start(config_of(engines, target, more), *CALM)
    engine.wait_for(lambda status: status["fills"], "it is filled")
    return engine


def notices_process(engine: RunningEngine) -> psutil.Process:
    """The process that sends notices."""
    return eventually(
        lambda: next((each for each in engine.children() if ": notices" in " ".join(each.cmdline())), None),
        "the process that sends notices runs",
    )


def counts(status: dict[str, Any], name: str = "phone") -> dict[str, int]:
    found: dict[str, int] = status["notices"][name]
    return found


def test_a_run_is_told_from_its_start_to_its_end(engines: Engines, target: Receiver) -> None:
    """Start, fills, halt and resume by a person, the end; each notice is counted as told in the end."""
    summary = engines.folder / "summary.json"
    engine = engines.start(config_of(engines, target), *CALM, "--summary", summary)
    target.wait_for(" start: the engine has started with Quoter on BTC/USD; it trades")
    target.wait_for(" trading: orders are taken")
    target.wait_for(" fill: ")
    assert engines.call("halt").returncode == 0
    target.wait_for(" halt: trading is halted: as a person asked")
    assert engines.call("resume").returncode == 0
    target.wait_for(" resume: trading was resumed")
    assert engine.stop() == 0, engines.logs()
    last = target.texts()[-1]

    assert last.splitlines()[-1].endswith(" stop: the engine ends, as it was asked to")
    assert "connection" not in "".join(target.texts())
    assert {each.path for each in target.received} == {HIDDEN}
    end = json.loads(summary.read_text())
    told = counts(end)
    assert told["notices"] == told["told"]
    assert (told["waiting"], told["lost"], told["failures"]) == (0, 0, 0)
    lines = [line for text in target.texts() for line in text.splitlines()]
    fills = sum(" fill: " in line for line in lines)
    fills += sum(int(line.split()[0].replace(",", "")) for line in lines if re.search(r"^[\d,]+ more fill", line))
    assert fills == end["fills"]


def test_a_target_that_never_answers_delays_neither_trading_nor_the_end(engines: Engines, target: Receiver) -> None:
    """Fills go on beside a request that hangs; the end gives the last message its time, then counts what is lost."""
    target.is_silent = True
    summary = engines.folder / "summary.json"
    engine = engines.start(config_of(engines, target), *CALM, "--summary", summary)
    eventually(lambda: target.received, "the first message is under way")
    before = engine.wait_for(lambda status: status["fills"], "it is filled")
    engine.wait_for(lambda status: status["fills"] > before["fills"] + 5, "it goes on trading")
    assert engine.stop() == 0, engines.logs()

    told = counts(json.loads(summary.read_text()))
    assert told["told"] == 0
    assert told["lost"] == told["notices"] > 5
    assert "notices are lost" in engines.logs()
    assert "killed" not in engines.logs()


def test_a_target_that_is_not_there_is_tried_again(engines: Engines, target: Receiver) -> None:
    """Errors and a request to wait first; then everything is told, with what came meanwhile."""
    target.next_answers = [Answer(503, b"busy"), Answer(429, b"slow down", {"Retry-After": "1"})]
    engine = start(engines, target)
    status = engine.wait_for(lambda status: counts(status)["messages"], "it is told")

    assert counts(status)["failures"] == 2
    assert " start: " in target.texts()[2]
    assert "slack answered 503 (busy)" in engines.logs()
    assert engine.stop() == 0


def test_a_target_that_refuses_is_named_in_the_log_and_the_notices_are_counted(
    engines: Engines, target: Receiver
) -> None:
    """Sending it again could not help."""
    target.next_answers = [Answer(404, b"no_service")]
    engine = start(engines, target)
    status = engine.wait_for(lambda status: counts(status)["lost"] and counts(status)["messages"], "the next is told")

    assert counts(status)["lost"] >= 1
    assert "slack answered 404 (no_service); its address and token must be made anew" in engines.logs()
    assert engine.stop() == 0


def test_the_death_of_the_engine_is_told(engines: Engines, target: Receiver) -> None:
    """The process that sends notices outlives it for that, and no longer."""
    engine = start(engines, target)
    process = notices_process(engine)
    engine.process.kill()
    told = target.wait_for(" stop: ")

    assert f"the engine's process (pid {engine.process.pid}) has died without a word" in told
    assert "the order router cancels its open orders and ends, too" in told
    eventually(lambda: not process.is_running(), "it is not left behind")


def test_the_death_of_an_engine_that_had_just_begun_is_told(engines: Engines, target: Receiver) -> None:
    """Of one that dies while the process that sends notices is starting, and has not looked at it yet."""
    engine = engines.start(config_of(engines, target), *CALM)
    children = psutil.Process(engine.process.pid).children
    process = eventually(
        lambda: next((each for each in children() if "notices" in each.cmdline()), None),
        "the process that sends notices is started",
    )
    engine.process.kill()
    told = target.wait_for(" stop: ")

    assert f"the engine's process (pid {engine.process.pid}) has died without a word" in told
    assert "the order router cancels its open orders and ends, too" in told
    eventually(lambda: not process.is_running(), "it is not left behind")


def test_a_process_that_dies_is_told_and_so_is_that_of_the_notices_itself(engines: Engines, target: Receiver) -> None:
    """Trading goes on."""
    engine = start(engines, target, 'events = ["restart", "error"]\n')
    os.kill(engine.feed_pids()[0], signal.SIGKILL)
    target.wait_for(
        " restart: public_feed-0 died and was started again (restart 1); its books are stale until they verify again"
    )
    before = engine.status()["fills"]
    notices_process(engine).kill()
    target.wait_for(" restart: the process that sends notices died and was started again")
    engine.wait_for(lambda status: status["fills"] > before, "it goes on trading")

    told = "".join(target.texts())
    assert "actor died" not in told
    assert " fill: " not in told
    assert engine.stop() == 0


def test_a_secret_is_where_nobody_can_look(engines: Engines, target: Receiver) -> None:
    """Neither in a log nor in what others can read of the processes, though it came by the environment."""
    path = config_of(engines, target)
    path.write_text(path.read_text().replace('secret_file = "secret"\n', ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRAKEN_NOTICE_PHONE", target.url + HIDDEN)
        engine = engines.start(path, *CALM)
        (engines.folder / "secret").unlink()
    target.next_answers = [Answer(500, HIDDEN.encode()), Answer(400, (target.url + HIDDEN).encode())]
    target.wait_for(" fill: ")
    family = [psutil.Process(engine.process.pid), *engine.children()]
    seen = [(place, text) for process in family for place, text in places_of(process)]
    status = engines.call("status", "--json").stdout
    assert engine.stop() == 0

    assert [place for place, text in seen if b"canarycanary" in text] == []
    assert "canarycanary" not in engines.logs() + status
    assert "secrets of notices come from the environment" in engines.logs()
    assert "slack answered 500 ([redacted])" in engines.logs()


PROGRAM = """
import asyncio, sys
from engine import Engine

async def main():
    async with Engine.open(sys.argv[1], venue="local") as engine:
        while not any(target["told"] for target in engine.status()["notices"].values()):
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


def test_a_program_is_told_as_a_run_is(engines: Engines, target: Receiver) -> None:
    """One way to start up; the last notice is told when the program closes its engine."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, config_of(engines, target)], env=engines.environment, cwd=engines.folder,
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert " start: the engine has started with " in target.texts()[0]
    assert target.texts()[-1].endswith(" stop: the engine ends, as it was asked to")


# --- commands


@pytest.mark.parametrize("kind", ["slack", "discord", "telegram", "webhook"])
def test_a_target_is_tested_and_its_answer_told(engines: Engines, target: Receiver, kind: str) -> None:
    """Each kind in its own form; as one sentence and as JSON."""
    path = config_of(engines, target, kind=kind)
    if kind == "telegram":
        (engines.folder / "secret").write_text("123456:canarycanarycanary")
        path.write_text(f'{path.read_text()}chat = "-100"\nurl = "{target.url}"\n')
        target.answer = Answer(200, b'{"ok":true,"result":{}}')
    done = engines.call("notices", "test", path)
    as_json = json.loads(engines.call("notices", "test", path, "--target", "phone", "--json").stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"ok       notices      phone: {kind} answered 200: taken", "every target has taken it",
    ]  # fmt: skip
    assert as_json["ok"] is True
    assert "this is a test" in target.texts()[1]


def test_a_target_that_does_not_take_the_test_is_one_sentence(engines: Engines, target: Receiver) -> None:
    """What it answered, or that it did not."""
    target.answer = Answer(403, b"invalid_token")
    path = config_of(engines, target)
    refused = engines.call("notices", "test", path)
    (engines.folder / "secret").write_text("http://127.0.0.1:1" + HIDDEN)
    unreachable = engines.call("notices", "test", path)

    assert (refused.returncode, unreachable.returncode) == (2, 2)
    assert "slack answered 403 (invalid_token); its address and token must be made anew" in refused.stdout
    assert "slack did not answer: cannot connect: connection refused" in unreachable.stdout
    assert "canary" not in refused.stdout + unreachable.stdout


def test_what_is_missing_is_one_sentence_before_anything_starts(engines: Engines, target: Receiver) -> None:
    """At the start of a run, of a check and of a test alike; nothing is sent."""
    path = config_of(engines, target)
    (engines.folder / "secret").chmod(0o644)
    readable = engines.call("run", path, "--venue", "local")
    (engines.folder / "secret").unlink()
    gone = engines.call("notices", "test", path)
    path.write_text(path.read_text().replace('secret_file = "secret"\n', ""))
    nowhere = engines.call("run", path, "--venue", "local")
    checked = engines.call("check", path, "--venue", "local")
    unknown = engines.call("notices", "test", path, "--target", "phome")
    without = engines.call("notices", "test")

    mend = "put the address into a file of mode 0600 and name that in secret_file, or set KRAKEN_NOTICE_PHONE"
    assert readable.returncode == 2
    assert "secret can be read by other users (mode 0644); run: chmod 600" in readable.stderr
    assert "secret cannot be read: no such file or directory" in gone.stdout
    assert nowhere.stderr == f"engine: notices.target phone has no secret; {mend}\n"
    assert nowhere.returncode == checked.returncode == unknown.returncode == without.returncode == 2
    assert f"failure  notices      notices.target phone has no secret; {mend}" in checked.stdout
    assert "--target phome is not one of the configuration's; there are phone" in unknown.stderr
    assert "the configuration has no target of notices" in without.stderr
    assert target.received == []
