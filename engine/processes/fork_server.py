"""The fork server: a process that has imported the actors, and forks one for each request.

    supervisor ── Fork, descriptors ──►  fork server ── fork ──►  actor
               ◄── Forked, pidfd ──────       │
               ◄── Ended, exit code ──────────┘ waits for it

An actor that is forked need not import anything: it starts, and starts again after a death,
within milliseconds, and what all of them have imported is in memory once. The fork server
has one thread, no event loop, and never holds what a child works with: it passes
descriptors on, unread. It ends with the engine, and the feeds end with it.
"""

import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

TITLE: Final = "kraken-engine fork server"  # of its process
STDERR: Final = 2
_DESCRIPTORS_MAX: Final = 253  # a message: SCM_MAX_FD of Linux
_MESSAGE_BYTES_MAX: Final = 65_536
_MORE: Final = b"more"  # descriptors of the request that follows


class Fork(Struct, frozen=True):
    """A request for an actor; its descriptors come with it, standard error behind them."""

    number: int
    """The sender's number for the request."""
    kind: str
    """The actor: the name of its package."""
    descriptors: tuple[int, ...]
    """The numbers that they are to have in the actor, its launch first."""


class Forked(Struct, frozen=True, tag=True):
    """The answer to a request, with a pidfd of the actor."""

    number: int
    pid: int


class Refused(Struct, frozen=True, tag=True):
    """The answer to a request when the kernel forks no process."""

    number: int
    reason: str


class Ended(Struct, frozen=True, tag=True):
    """The end of an actor."""

    pid: int
    code: int
    """Its exit code, negative for a signal."""


class Started(Struct, frozen=True):
    """What a forked process is to be."""

    kind: str
    launch_fd: int
    parent_pid: int
    """Of the fork server."""


Told = Forked | Refused | Ended

_encode = msgspec.json.Encoder().encode
_decode_fork = msgspec.json.Decoder(Fork).decode
_decode_told = msgspec.json.Decoder(Told).decode


def fork_server_command(socket_fd: int, kinds: Sequence[str]) -> Sequence[str]:
    """The command line of a fork server that ends with the calling process. `kinds` are the
    actors that it imports ahead.
    """
    # -P: a user's own files must not hide the engine's modules.
    return (sys.executable, "-P", "-m", "engine", "actor", "fork_server", f"{os.getpid()}", f"{socket_fd}", *kinds)


def send_fork(to: socket.socket, fork: Fork, stderr: int) -> None:
    """Ask for an actor. OSError when it cannot be sent."""
    descriptors = (*fork.descriptors, stderr)
    whole = len(descriptors) // _DESCRIPTORS_MAX * _DESCRIPTORS_MAX
    for begin in range(0, whole, _DESCRIPTORS_MAX):
        socket.send_fds(to, [_MORE], descriptors[begin : begin + _DESCRIPTORS_MAX])
    socket.send_fds(to, [_encode(fork)], descriptors[whole:])


def receive_told(source: socket.socket) -> tuple[Told, int] | None:
    """What the fork server tells next, with a pidfd; None when it has ended. -1 instead of
    a pidfd when there is none, or the calling process has no descriptor free for it.
    BlockingIOError when there is nothing.
    """
    try:
        message, descriptors, _, _ = socket.recv_fds(source, _MESSAGE_BYTES_MAX, 1)
    except ConnectionResetError:  # it ended before it read all requests
        return None
    if not message:
        return None
    return _decode_told(message), descriptors[0] if descriptors else -1


def serve(asking: socket.socket) -> Started | None:
    """Fork an actor for each request. Returns in each of them with what it is to be, and in
    the fork server itself None, once the other end of the socket is closed.

    SIGTERM is for the actors, whoever sends it to all processes: it is blocked here, and
    waits in an actor until that has its descriptors.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    # Ignored, as who started the engine may have left it, the kernel would forget how
    # children ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    children: dict[int, int] = {}  # pid by pidfd
    received: list[int] = []
    waiting = select.poll()  # unlike epoll it has no descriptor, which children would share
    waiting.register(asking, select.POLLIN)
    while True:
        for fd, _ in waiting.poll():
            if fd in children:
                waiting.unregister(fd)
                os.close(fd)
                pid = children.pop(fd)
                _tell(asking, Ended(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
                continue
            message, descriptors, _, _ = socket.recv_fds(asking, _MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX)
            if not message:
                return None
            received += descriptors
            if message == _MORE:
                continue
            fork = _decode_fork(message)
            server_pid = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:
                _tell(asking, Refused(fork.number, str(error)))
            else:
                if pid == 0:
                    asking.detach()
                    _take_descriptors(received, fork.descriptors)
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
                    return Started(fork.kind, fork.descriptors[0], server_pid)
                pidfd = os.pidfd_open(pid)
                children[pidfd] = pid
                waiting.register(pidfd, select.POLLIN)
                _tell(asking, Forked(fork.number, pid), pidfd)
            for descriptor in received:
                os.close(descriptor)
            received.clear()


def _tell(asking: socket.socket, told: Told, *descriptors: int) -> None:
    with suppress(BrokenPipeError):  # the next message is the end
        socket.send_fds(asking, [_encode(told)], descriptors)


def _take_descriptors(received: Sequence[int], numbers: Sequence[int]) -> None:
    """In a new process: give the descriptors their numbers, and close all others.

    The process is also made the leader of a group of its own: the terminal's Ctrl-C is for
    the engine, which stops its children in order.
    """
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    at = dict(zip((*numbers, STDERR, 0, 1), (*received, nothing, nothing), strict=True))
    for number in at:
        # Another one may lie at this number until it has its own.
        if any(place == number for wanted, place in at.items() if wanted != number):
            moved = os.dup(number)
            at = {wanted: moved if place == number else place for wanted, place in at.items()}
        os.dup2(at[number], number)
        at[number] = number
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in at:
            with suppress(OSError):  # that of the listing itself
                os.close(int(name))
