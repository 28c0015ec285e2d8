"""The program of `forked_commands`: a message asks for a command, and brings what it is to have
open; the answer is its pid. When it has ended, its wait status is written to the last descriptor.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any, NoReturn

from setproctitle import getproctitle

from engine.cli.loading import loading
from tests.integration.forked_commands import DESCRIPTORS, MESSAGE_BYTES_MAX
from tests.integration.forked_programs import WaitingChildren, as_started

with loading():  # all of them only for the children, which a collection would make copy them
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
    import engine.notices.process
    import engine.order_router.process
    import engine.private_feed.process
    import engine.public_feed.process
    import engine.venue.server  # noqa: F401


def become(request: dict[str, Any], streams: list[int]) -> Callable[[], NoReturn]:
    """The main of the command, as if it had been started from a shell; or of a program that the
    command starts later, in a process of its own.
    """
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
    if request["has_terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.closerange(3, 256)
    signal.alarm(request["seconds_max"])
    if is_new:
        command = [*request["wrapper"], sys.executable, "-P", "-m", "engine", *request["arguments"]]
        os.execvp(command[0], command)
    children = WaitingChildren()
    main_of_child = children.prepare(request["arguments"])
    if main_of_child is not None:
        return main_of_child
    subprocess.Popen = children.start  # type: ignore[misc,assignment]
    return as_started(request["arguments"])


# A hangup that the tests' own caller has put off, as nohup does, is none for engines: they
# would inherit that, and honour it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
getproctitle()  # finds where titles are written, which is lost with the environment of its start
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
                become(json.loads(message), streams)()
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
