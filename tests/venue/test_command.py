"""`engine venue` as a process: one line when it is ready, a clean end, one sentence for what cannot be."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from click.testing import CliRunner
from venue_client import connected

from engine.cli.venue import venue
from engine.errors import UserError

COMMAND = [sys.executable, "-c", "from engine.cli.venue import venue; venue()"]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_ready_line_service_and_end(signal_number: int):
    """One line of JSON on standard output, a book that flows, and exit code 0 on SIGTERM or Ctrl-C."""
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

    assert list(ready) == ["public"]
    assert ready["public"].startswith("ws://127.0.0.1:")
    assert ready["public"].endswith("/v2")
    assert rest == b""
    assert b"Traceback" not in complaints
    assert process.returncode == 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_asks_twice_is_not_answered_worse(signal_number: int):
    """A second SIGTERM or Ctrl-C while the venue ends: still exit code 0, and no traceback."""
    process = subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while process.poll() is None:
        process.send_signal(signal_number)
        time.sleep(0.001)
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

    import select

    ended, _, _ = select.select([watched], [], [], 5)
    os.close(watched)
    assert ended


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--symbols", "BTC/USD,XBT/USD"], "--symbols: the venue does not list 'XBT/USD': use BTC/USD"),
        (["--symbols", "FOO/BAR"], "--symbols: the venue does not list 'FOO/BAR': it lists BTC/USD, ETH/USD"),
        (["--fault", "drop=7"], "--fault drop=7: '7' must be a number from 0 to 1"),
        (["--capture", "/nowhere.jsonl"], "--capture /nowhere.jsonl: there is no such file"),
        (["--host", "192.168.0.1"], "--host 192.168.0.1: the venue serves loopback only"),
        (["--host", "example.org"], "--host example.org: the venue serves loopback only"),
        (["--port", "99999"], "--port 99999: a port is a number from 0"),
        (["--rate", "-1"], "--rate -1: messages a second must be from 0"),
        (["--snapshot-delay-ms", "soon"], "--snapshot-delay-ms soon: write milliseconds"),
        (["--snapshot-delay-ms", "40-10"], "--snapshot-delay-ms 40-10: must be from 0 to 60000, the smaller first"),
        (["--heartbeat-s", "0"], "--heartbeat-s 0: must be more than 0"),
        (["--repeat", "-1"], "--repeat -1: rounds must be 0"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str):
    """Raised as a UserError, for the command line's main to print; nothing on standard output."""
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
    code = "import sys, engine.cli.venue; print(*{'picows', 'uvloop', 'structlog', 'asyncio'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "\n"
