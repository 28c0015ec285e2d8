"""The program of `forked_commands`: a message asks for a command, and brings what it is to have
open; the answer is its pid. When it has ended, its wait status is written to the last descriptor.
"""

import json
import os
import selectors
import signal
import socket
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
import engine.cli.watch.command
import engine.venue.server  # noqa: F401 - all of them are only loaded here, for the children
from engine.cli.main import main
from tests.integration.forked_commands import DESCRIPTORS, MESSAGE_BYTES_MAX


def become(request: dict[str, Any], streams: list[int]) -> None:
    """The command, as if it had been started from a shell."""
    environment = request["environment"]
    # Which implementation runs is decided while importing.
    is_other = environment.get("ENGINE_PORTABLE") != os.environ.get("ENGINE_PORTABLE")
    is_new = request["is_new"] or request["wrapper"] or is_other
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(environment)
    if request["has_session"]:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, 256)
    signal.alarm(request["seconds_max"])
    if is_new:
        command = [*request["wrapper"], sys.executable, "-P", "-m", "engine", *request["arguments"]]
        os.execvp(command[0], command)
    # Python's own are those of the program: whether they can seek, for one.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["engine", *request["arguments"]]
    main(request["arguments"])


asking = socket.socket(fileno=int(sys.argv[1]))
waiting = selectors.DefaultSelector()
waiting.register(asking, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        if key.fileobj is asking:
            message, descriptors, _, _ = socket.recv_fds(asking, MESSAGE_BYTES_MAX, DESCRIPTORS)
            if not message:
                sys.exit(0)
            *streams, end = descriptors
            child = os.fork()
            if child == 0:
                become(json.loads(message), streams)
                sys.exit(0)
            asking.send(str(child).encode())
            for descriptor in streams:
                os.close(descriptor)
            waiting.register(os.pidfd_open(child), selectors.EVENT_READ, (child, end))
        else:
            child, end = key.data
            _, status = os.waitpid(child, 0)
            os.write(end, str(status).encode())
            os.close(end)
            waiting.unregister(key.fileobj)
            os.close(key.fd)
