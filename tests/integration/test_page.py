"""The page of a running engine, as its browser asks for it: the truth, the end, and the next engine."""

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.integration.rig import CALM, Engines
from tests.waiting import PATIENCE_S, eventually

QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"
SERVED = re.compile(r"page of the engine named default at (http://\S+)")


def address_of(engines: Engines) -> str:
    """Where the page is served, as the process says."""
    return eventually(lambda: SERVED.search(engines.logs()), "the page is served")[1]


def data(url: str, query: str = "") -> dict[str, Any]:
    """What the page is told."""
    found: dict[str, Any] = json.load(urlopen(f"{url}data?{query}", timeout=PATIENCE_S))
    return found


def test_it_is_told_the_truth_of_a_run(engines: Engines):
    """Figures between two statuses, own orders and fills, equity, and only new samples when asked again."""
    engine = engines.start(*CALM, "--page", "--strategy", QUOTER)
    url = address_of(engines)
    before = engine.wait_for(lambda s: s["fills"], "it is filled")
    told = eventually(
        lambda: (d := data(url)).get("fills") and d["orders"] and d["now"]["equity"]
        and d["now"]["fills"] >= before["fills"] and d,
        "orders, fills and equity are told",
    )  # fmt: skip
    after = engine.status()

    now = told["now"]
    assert before["orders"]["submitted"] <= now["orders"]["submitted"] <= after["orders"]["submitted"]
    assert before["fills"] <= now["fills"] <= after["fills"]
    assert now["processes"].keys() == {"engine", *after["processes"]}
    assert {fill["strategy"] for fill in told["fills"]} == {"Quoter"}
    assert now["equity"]["currency"] == "USD"
    assert now["equity"]["worth"] > 0
    rows = told["rows"]
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["bid"] < rows[-1]["ask"]
    assert len(rows[-1]["counts"]) == len(now["edges_us"]) + 1
    later = eventually(lambda: data(url, f"since={rows[-1]['n']}")["rows"], "there are new samples")
    assert later[0]["n"] == rows[-1]["n"] + 1
    counted = sum(sum(row["counts"]) for row in data(url, "hop=wire_to_on_book")["rows"])
    assert 0 < counted <= engine.status()["latency_us"]["wire_to_on_book"]["count"]
    assert engine.stop() == 0, engines.logs()


def test_a_page_outlives_an_engine_and_shows_the_next(engines: Engines):
    """It says that the engine has ended; the next one is another run."""
    engine = engines.start(*CALM)
    engine.wait_until_live()
    page = engines.spawn("page", "--json", stdout=subprocess.PIPE)
    assert page.stdout is not None
    url = json.loads(page.stdout.readline())["url"]  # a program is told so; people, as `engine run --page` does it
    first = eventually(lambda: (d := data(url))["is_running"] and d["rows"] and d, "the engine is shown")
    assert engine.stop() == 0
    ended = eventually(lambda: (d := data(url)) and not d["is_running"] and d, "its end is told")
    assert ended["now"]["pid"] == first["now"]["pid"]

    engines.start(*CALM).wait_until_live()
    eventually(lambda: (d := data(url))["is_running"] and d["run"] != first["run"] and d["rows"], "the next is shown")


def has(pid: int, what: str, number: signal.Signals) -> bool:
    """Whether a signal is among those that a process catches, SigCgt, or ignores, SigIgn: see proc(5)."""
    found = re.search(rf"{what}:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(found[1], 16) >> number - 1 & 1) if found else False


@pytest.mark.parametrize("looker", ["page", "metrics"])
def test_a_looker_under_nohup_outlives_its_terminal(engines: Engines, looker: str):
    """A hangup that was put off ends nothing; otherwise it ends it in order."""
    engines.start(*CALM).wait_until_live()
    kept, ended = lookers = [
        engines.spawn(looker, "--port", 0, "--json", stdout=subprocess.PIPE, wrapper=wrapper)
        for wrapper in (["nohup"], [])
    ]
    for each in lookers:
        assert each.stdout is not None
        assert json.loads(each.stdout.readline())["url"]
        eventually(lambda each=each: has(each.pid, "SigCgt", signal.SIGTERM), "it can be asked to end")

    assert has(kept.pid, "SigIgn", signal.SIGHUP)
    ended.send_signal(signal.SIGHUP)
    assert ended.wait(PATIENCE_S) == 0
    kept.terminate()
    assert kept.wait(PATIENCE_S) == 0


def test_without_an_engine_it_is_one_sentence(engines: Engines):
    """A page of nothing helps nobody."""
    failed = engines.call("page")

    assert failed.returncode == 2
    assert failed.stderr == (
        "engine: no engine named default is running; start one with `engine run`, or `engine run --page`\n"
    )
