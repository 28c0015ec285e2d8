"""The fork server, in a process of its own: what its children have, and what it tells of them."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from engine.processes.fork_server import Ended, Fork, Forked, receive_told, send_fork

# Each child writes what it is into its launch, and then does as its kind says.
PROGRAM = """
import json, os, signal, socket, sys
from engine.processes.fork_server import serve

actor = serve(socket.socket(fileno=int(sys.argv[1])))
if actor is not None:
    open_ones = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            open_ones[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # that of the listing
    told = {"open": open_ones, "parent": actor.parent_pid, "group": os.getpgrp()}
    os.ftruncate(actor.launch_fd, 0)
    os.pwrite(actor.launch_fd, json.dumps(told).encode(), 0)
    if actor.kind == "waits":
        signal.pause()
    sys.exit(7)
"""


class Server:
    """The program above, and the socket to it."""

    def __init__(self, begin: str = "") -> None:
        """`begin`: what its program does first."""
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                (sys.executable, "-c", begin + PROGRAM, f"{theirs.fileno()}"), pass_fds=[theirs.fileno()]
            )

    def fork(self, kind: str, descriptors: list[int]) -> tuple[int, int]:
        """Ask for a child; its pid and a pidfd of it."""
        send_fork(self.socket, Fork(0, kind, tuple(descriptors)), 2)
        answer = receive_told(self.socket)
        assert answer is not None
        told, pidfd = answer
        assert isinstance(told, Forked)
        return told.pid, pidfd

    def end(self) -> Ended:
        """The next end of a child."""
        answer = receive_told(self.socket)
        assert answer is not None
        assert isinstance(answer[0], Ended)
        return answer[0]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.socket.close()
    assert server.process.wait() == 0  # it ends with the other end of its socket


def launch_of(fd: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(os.pread(fd, 1_000_000, 0))
    return told


@pytest.mark.parametrize("seed", range(3))
def test_every_descriptor_has_its_number_and_nothing_else_is_open(server: Server, seed: int) -> None:
    """More than a message can bring, and numbers that the fork server itself has in use."""
    choice = random.Random(seed)
    made = [os.memfd_create(f"memory-{number}") for number in range(300)]
    spread = [os.dup2(fd, number) for fd, number in zip(made[:20], choice.sample(range(600, 900), 20), strict=True)]
    wanted = [*made, *spread]
    choice.shuffle(wanted)
    for _ in range(2):
        pid, pidfd = server.fork("ends", [*wanted, wanted[-1]])  # one of them twice
        assert server.end() == Ended(pid, 7)
        os.close(pidfd)
    told = launch_of(wanted[0])
    expected = {f"{fd}": os.readlink(f"/proc/self/fd/{fd}") for fd in (*wanted, 2)}
    for fd in wanted:
        os.close(fd)

    assert told["open"] == expected | {"0": os.devnull, "1": os.devnull}
    assert told["group"] == pid
    assert told["parent"] == server.process.pid


def test_it_tells_how_its_children_end(server: Server) -> None:
    """Also of one that was told to stop before it could listen."""
    launches = [os.memfd_create("launch") for _ in range(2)]
    children = [server.fork("waits", [fd]) for fd in launches]
    for (pid, pidfd), number in zip(children, (signal.SIGTERM, signal.SIGKILL), strict=True):
        signal.pidfd_send_signal(pidfd, number)
        assert server.end() == Ended(pid, -number)
        os.close(pidfd)
    for fd in launches:
        os.close(fd)


def test_it_tells_of_ends_though_it_was_started_with_sigchld_ignored() -> None:
    """Which is inherited, and has the kernel forget the ends of children."""
    server = Server("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    launch = os.memfd_create("launch")
    for _ in range(2):
        pid, pidfd = server.fork("ends", [launch])
        assert server.end() == Ended(pid, 7)
        os.close(pidfd)
    os.close(launch)
    server.socket.close()
    assert server.process.wait() == 0


def test_sigterm_is_for_its_children(server: Server) -> None:
    """Whoever sends it to all processes, as a service manager may."""
    launch = os.memfd_create("launch")
    for _ in range(2):
        pid, pidfd = server.fork("ends", [launch])
        assert server.end() == Ended(pid, 7)
        os.close(pidfd)
        server.process.terminate()
    os.close(launch)


def test_its_own_end_is_told() -> None:
    """With a request that it has not read as well as without."""
    for requests in (0, 1):
        server = Server()
        os.kill(server.process.pid, signal.SIGSTOP)
        for _ in range(requests):
            send_fork(server.socket, Fork(0, "ends", (1,)), 2)
        server.process.kill()
        server.process.wait()

        assert receive_told(server.socket) is None
        server.socket.close()
