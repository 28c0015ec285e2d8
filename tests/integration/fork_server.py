"""The program of `forked_commands`: a line of JSON asks for a command, a line with its wait
status answers.
"""

import json
import os
import signal
import sys
from typing import Any

import engine.cli.account
import engine.cli.control
import engine.cli.orders
import engine.cli.replay
import engine.cli.run
import engine.cli.setup.check
import engine.cli.setup.completion
import engine.cli.setup.doctor
import engine.cli.setup.keys
import engine.cli.setup.new
import engine.cli.setup.settings
import engine.cli.venue
import engine.cli.watch.command  # noqa: F401 - all of them are only loaded here, for the children
from engine.cli.main import main


def become(request: dict[str, Any]) -> None:
    """The command, as if it had been started from a shell."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, number in (("output", 1), ("errors", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.closerange(3, 64)
    signal.alarm(request["seconds_max"])
    sys.argv = ["engine", *request["arguments"]]
    main(request["arguments"])


while line := sys.stdin.readline():
    child = os.fork()
    if child == 0:
        become(json.loads(line))
    _, status = os.waitpid(child, 0)
    sys.stdout.write(f"{status}\n")
    sys.stdout.flush()
