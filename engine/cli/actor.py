"""A child process: `python -m engine actor …`, the fork server and all that it forks among
them.

SIGTERM stops it; SIGINT is left to the engine, which gets it from the same terminal. The
fork server dies with the engine, the feeds die with the fork server; the order router
outlives both, for as long as its orders need.
"""

import asyncio
import importlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NoReturn

import msgspec
import structlog
import uvloop
from setproctitle import setproctitle

from engine.cli.loading import load_aiohttp, loading
from engine.credentials import no_core_dumps
from engine.errors import EngineError
from engine.prctl import end_with_parent
from engine.processes.fork_server import TITLE, Started, serve
from engine.processes.launch import (
    ActorLaunch,
    FeedLaunch,
    News,
    NoticesLaunch,
    PrivateFeedLaunch,
    RouterLaunch,
    Tell,
    read_launch,
)
from engine.processes.news import NewsSender
from engine.processes.pinning import pin
from engine.processes.scheduling import give_way, shorten_time_slice
from engine.ring import Segment
from engine.secret.private_text import take_over_text
from engine.telemetry.log import FRAMES, configure_log, end_log, keep_warnings, say_left_out
from engine.topology import ORDER_ROUTER, PRIVATE_FEED

EXIT_MISCONFIGURED = 2

log = structlog.get_logger("actor")


def main(arguments: list[str]) -> int:
    """Run the child process that the arguments name; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program, *options = arguments
    # Imported one by one: no process loads what another one needs.
    match program:
        case "notices":
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))  # until it can say goodbye
            with loading():
                from engine.notices.process import run_notices

            notices = msgspec.json.decode(take_over_text(int(options[-1])), type=NoticesLaunch)
            return _run_notices(notices, run_notices)
        case "view":
            with loading():
                from engine.cli.view import run_view

            return run_view(int(options[-1]))
        case _:
            parent_pid, socket_fd, *kinds = options
            die_with_parent(int(parent_pid))
            return _run_fork_server(int(socket_fd), kinds)


def _run_fork_server(socket_fd: int, kinds: Sequence[str]) -> int:
    """Returns in the fork server at its end, and in each actor at that actor's end."""
    setproctitle(TITLE)
    with loading():
        if ORDER_ROUTER in kinds:
            load_aiohttp()
        for kind in kinds:
            importlib.import_module(f"engine.{kind}.process")
    actor = serve(socket.socket(fileno=socket_fd))
    if actor is not None:
        _end(_exit_code_of(actor))
    return 0


def _exit_code_of(actor: Started) -> int:
    try:
        return _run_actor(actor)
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


def _end(code: int) -> NoReturn:
    """End a forked process without Python's own end, which writes to whatever it shares
    with the fork server, and so would copy all of it first: nine tenths of an end.
    """
    end_log()
    os._exit(code)


def _run_actor(actor: Started) -> int:
    if actor.kind == ORDER_ROUTER:  # which outlives the engine
        from engine.order_router.process import run_order_router

        router = read_launch(actor.launch_fd, RouterLaunch)
        return _run(router, actor.kind, actor.kind, run_order_router)
    die_with_parent(actor.parent_pid)
    if actor.kind == PRIVATE_FEED:
        from engine.private_feed.process import run_private_feed

        private = read_launch(actor.launch_fd, PrivateFeedLaunch)
        return _run(private, actor.kind, actor.kind, run_private_feed)
    from engine.public_feed.process import run_public_feed

    feed = read_launch(actor.launch_fd, FeedLaunch)
    pairs = " ".join(feed.shard.symbols)
    return _run(feed, feed.shard.actor_name, f"{actor.kind} {feed.shard.number}: {pairs}", run_public_feed)


def _run_notices(launch: NoticesLaunch, run: Callable[[NoticesLaunch], Coroutine[Any, Any, None]]) -> int:
    """It is no part of trading, so it has no news for the supervisor and no warnings that
    others watch, and it goes behind those that trade.
    """
    setproctitle(f"kraken-engine {launch.name}: notices")
    configure_log(launch.log.level, launch.log.format, "notices", levels=launch.log.levels)
    no_core_dumps()
    give_way()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(launch))
    except EngineError as error:
        log.error("cannot run", error=str(error))
        return EXIT_MISCONFIGURED
    return 0


async def _say_left_out() -> None:
    while True:
        await asyncio.sleep(1)
        say_left_out()


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, be it by SIGKILL."""
    if not end_with_parent(parent_pid, signal.SIGKILL):
        sys.exit(1)


def _run(
    launch: ActorLaunch,
    name: str,
    title: str,
    run: Callable[[Any, socket.socket, Tell], Awaitable[None]],
) -> int:
    setproctitle(f"kraken-engine {title}"[:120])
    pin(launch.cpus)
    shorten_time_slice()
    levels = ({FRAMES: "info"} if launch.log.frames else {}) | launch.log.levels
    configure_log(launch.log.level, launch.log.format, name, levels=levels)
    keep_warnings(Segment.attach(launch.warnings_fd).memory)
    news = socket.socket(fileno=launch.news_fd)
    sender = NewsSender(news)

    async def run_until_done() -> None:
        saying = asyncio.create_task(_say_left_out())
        try:
            await run(launch, news, sender.tell)
        finally:
            saying.cancel()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_until_done())
    except EngineError as error:
        sender.tell_at_last(News("fatal", str(error)))
        log.error("cannot run", error=str(error))
        return EXIT_MISCONFIGURED
    return 0
