"""A child process: `python -m engine actor public_feed --launch-fd N`.

SIGTERM stops it; SIGINT is left to the parent, which gets it from the same terminal. The
feeds die with their parent; the order router outlives it, for as long as its orders need.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
import structlog
import uvloop
from setproctitle import setproctitle

from engine.cli.loading import load_aiohttp, loading
from engine.credentials import no_core_dumps
from engine.errors import EngineError
from engine.prctl import end_with_parent
from engine.processes.launch import (
    ActorLaunch,
    FeedLaunch,
    News,
    NoticesLaunch,
    PrivateFeedLaunch,
    RouterLaunch,
    Tell,
    encode_news,
    read_launch,
)
from engine.processes.pinning import pin
from engine.processes.scheduling import give_way, shorten_time_slice
from engine.ring import Segment
from engine.secret.private_text import take_over_text
from engine.telemetry.log import FRAMES, configure_log, keep_warnings, say_left_out

EXIT_MISCONFIGURED = 2

log = structlog.get_logger("actor")


def main(arguments: list[str]) -> int:
    """Run the child process that the arguments name; returns its exit code."""
    actor, _, launch_fd = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Imported one by one: no process loads what another one needs.
    match actor:
        case "public_feed":
            with loading():
                from engine.public_feed.process import run_public_feed

            feed = read_launch(int(launch_fd), FeedLaunch)
            die_with_parent(feed.parent_pid)
            pairs = " ".join(feed.shard.symbols)
            return _run(feed, feed.shard.actor_name, f"{actor} {feed.shard.number}: {pairs}", run_public_feed)
        case "private_feed":
            with loading():
                from engine.private_feed.process import run_private_feed

            private = read_launch(int(launch_fd), PrivateFeedLaunch)
            die_with_parent(private.parent_pid)
            return _run(private, actor, actor, run_private_feed)
        case "notices":
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))  # until it can say goodbye
            with loading():
                from engine.notices.process import run_notices

            notices = msgspec.json.decode(take_over_text(int(launch_fd)), type=NoticesLaunch)
            return _run_notices(notices, run_notices)
        case "view":
            with loading():
                from engine.cli.view import run_view

            return run_view(int(launch_fd))
        case _:
            with loading():
                load_aiohttp()
                from engine.order_router.process import run_order_router

            router = read_launch(int(launch_fd), RouterLaunch)
            return _run(router, actor, actor, run_order_router)


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

    def tell(item: News) -> None:
        with suppress(OSError):  # a full or closed socket: the log has the same news
            news.send(encode_news(item), socket.MSG_DONTWAIT)

    async def run_until_done() -> None:
        saying = asyncio.create_task(_say_left_out())
        try:
            await run(launch, news, tell)
        finally:
            saying.cancel()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_until_done())
    except EngineError as error:
        tell(News("fatal", str(error)))
        log.error("cannot run", error=str(error))
        return EXIT_MISCONFIGURED
    return 0
