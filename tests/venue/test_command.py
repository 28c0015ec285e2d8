"""`engine venue` as a process: one line when it is ready, a clean end, one sentence for
what cannot be.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from engine.cli.venue import venue
from engine.errors import UserError
from engine.readable import is_readable
from tests.venue.rest_client import RestClient, limit_buy
from tests.venue.venue_client import connected
from tests.waiting import PATIENCE_S, eventually

COMMAND = [sys.executable, "-c", "from engine.cli.venue import venue; venue()"]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_ready_line_service_and_end(signal_number: int):
    """One line of JSON on standard output, a book that flows, and exit code 0 on SIGTERM or
    Ctrl-C.
    """
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", "0", "--symbols", "BTC/USD,ETH/USD", "--seed", "7", "--rate", "500",
        "--fault", "unknown=0.01", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    async with connected(ready["public"]) as client:
        client.subscribe("book", "BTC/USD")
        await client.until(lambda seen: sum('"channel":"book","type"' in text for text in seen.frames) > 5)
        process.send_signal(signal_number)
        rest, complaints = await process.communicate()

    assert list(ready) == ["public", "private", "rest", "api_key", "api_secret"]
    for name in ("public", "private"):
        assert ready[name].startswith("ws://127.0.0.1:")
        assert ready[name].endswith("/v2")
    assert ready["rest"].startswith("http://127.0.0.1:")
    assert rest == b""
    assert b"Traceback" not in complaints
    assert process.returncode == 0


async def test_the_ready_line_is_enough_to_trade(tmp_path: Path):
    """Its key signs, its order lands in the ledger file; the clock is as wrong as it was
    told to be.
    """
    ledger = tmp_path / "ledger.jsonl"
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", "0", "--rate", "0", "--ledger", str(ledger), "--clock-offset-s", "-86400",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    async with aiohttp.ClientSession() as session:
        client = RestClient(session, ready["rest"], ready["api_key"], ready["api_secret"])
        now = (await client.public("Time"))["result"]["unixtime"]
        txid = (await client.result("AddOrder", **limit_buy()))["txid"][0]
    process.terminate()
    await process.communicate()

    assert abs(time.time() - now - 86400) < 60
    (entry,) = map(json.loads, ledger.read_text().splitlines())
    assert (entry["event"], entry["entry"]["order_id"]) == ("accepted", txid)
    assert process.returncode == 0


def test_no_secret_is_a_flag():
    """Keys come from the seed or from the venue's own paths, never from a command line that
    anybody can list.
    """
    assert not [
        option for parameter in venue.params for option in parameter.opts if "key" in option or "secret" in option
    ]


def test_the_pairs_are_listed_before_a_run():
    """`--list` prints what `--symbols` takes, in the venue's order, and ends."""
    told = CliRunner().invoke(venue, ["--pairs", "40", "--seed", "7", "--list"])
    again = CliRunner().invoke(venue, ["--pairs", "40", "--seed", "7", "--symbols", told.output.strip(), "--list"])

    assert told.exit_code == 0
    assert len(told.output.split(",")) == 40
    assert told.output.startswith("BTC/USD,ETH/USD,")
    assert again.output == told.output


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_asks_twice_is_not_answered_worse(signal_number: int):
    """A second SIGTERM or Ctrl-C while the venue ends: still exit code 0, and no traceback."""
    process = subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()

    def has_ended_after_another() -> bool:
        process.send_signal(signal_number)
        return process.poll() is not None

    eventually(has_ended_after_another, "the venue ends")
    _, complaints = process.communicate()

    assert process.returncode == 0
    assert complaints == b""


def test_it_dies_with_its_parent():
    """A parent that is killed takes the venue with it."""
    parent = textwrap.dedent(f"""
        import subprocess, sys, time
        venue = subprocess.Popen({[*COMMAND, "--port", "0", "--die-with-parent"]!r}, stdout=subprocess.PIPE)
        venue.stdout.readline()
        print(venue.pid, flush=True)
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert process.stdout is not None
    venue_pid = int(process.stdout.readline())
    watched = os.pidfd_open(venue_pid)
    process.kill()
    process.wait()
    process.stdout.close()

    ended = is_readable(watched, PATIENCE_S)
    os.close(watched)
    assert ended


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--symbols", "BTC/USD,XBT/USD"], "--symbols: the venue does not list 'XBT/USD': use BTC/USD"),
        (["--pairs", "5000"], "--pairs 5000: the venue lists up to 2000 pairs; 0 lists its own alone"),
        (["--pairs", "20", "--zipf", "-1"], "--zipf -1: the exponent must be from 0 (all alike) to 4"),
        (["--pairs", "20", "--symbols", "FOO/BAR"], "--symbols: the venue does not list 'FOO/BAR': it lists BTC/USD"),
        (["--symbols", "FOO/BAR"], "--symbols: the venue does not list 'FOO/BAR': it lists BTC/USD, ETH/USD"),
        (["--fault", "drop=7"], "--fault drop=7: '7' must be a number from 0 to 1"),
        (["--fault", "cut=0.1@FOO/BAR"], "--fault cut of FOO/BAR: the venue lists BTC/USD, ETH/USD"),
        (["--symbols", "BTC/USD", "--fault", "lost=1@ETH/USD"], "--fault lost of ETH/USD: the venue lists BTC/USD"),
        (["--fault", "precision:2x13@5@BTC/USD"], "--fault precision:2x13@5@BTC/USD: decimals are from 0 to 12"),
        (["--capture", "/nowhere.jsonl"], "--capture /nowhere.jsonl: there is no such file"),
        (["--host", "192.168.0.1"], "--host 192.168.0.1: the venue serves loopback only"),
        (["--host", "example.org"], "--host example.org: the venue serves loopback only"),
        (["--port", "99999"], "--port 99999: a port is a number from 0"),
        (["--rate", "-1"], "--rate -1: messages a second must be from 0"),
        (["--snapshot-delay-ms", "soon"], "--snapshot-delay-ms soon: write milliseconds"),
        (["--snapshot-delay-ms", "40-10"], "--snapshot-delay-ms 40-10: must be from 0 to 60000, the smaller first"),
        (["--heartbeat-s", "0"], "--heartbeat-s 0: must be more than 0"),
        (["--repeat", "-1"], "--repeat -1: rounds must be 0"),
        (["--rest-port", "99999"], "--rest-port 99999: a port is a number from 0"),
        (["--private-port", "-1"], "--private-port -1: a port is a number from 0"),
        (["--engine-latency-ms", "fast"], "--engine-latency-ms fast: write milliseconds"),
        (["--clock-offset-s", "1e9"], "--clock-offset-s 1e+09: must be from -86400 to 86400"),
        (["--ledger", "/nowhere/ledger.jsonl"], "--ledger /nowhere/ledger.jsonl: cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str):
    """Raised as a UserError, for the command line's main to print; nothing on standard
    output.
    """
    outcome = CliRunner().invoke(venue, ["--port", "0", *arguments])

    assert isinstance(outcome.exception, UserError)
    assert str(outcome.exception).startswith(sentence)
    assert "\n" not in str(outcome.exception)
    assert outcome.stdout == ""


def test_a_port_in_use_is_one_sentence():
    """With the port, and what to choose instead."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = CliRunner().invoke(venue, ["--port", str(port)])

    assert isinstance(outcome.exception, UserError)
    assert f"--port {port}: this port of 127.0.0.1 is already in use" in str(outcome.exception)


def test_the_command_is_imported_quickly():
    """Without the venue's libraries: other commands of `engine` need not wait for them."""
    late = {"picows", "uvloop", "structlog", "asyncio", "aiohttp"}
    code = f"import sys, engine.cli.venue; print(*{late} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "\n"
