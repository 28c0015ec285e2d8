"""The order router's process: runs the router, and ends it so that no order is forgotten.

It outlives the engine. When the engine stops, or its process is gone, the router ends what is open (or keeps it, as
configured), switches the dead man's switch off, and exits; when it cannot, the switch does it.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from engine.clock import Clock, SystemClock
from engine.config import TradingConfig
from engine.credentials import no_core_dumps
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS
from engine.kraken_rest.preflight import run_preflight
from engine.net.control_socket import serve_control
from engine.order_router.assembly import RouterParts, assemble
from engine.order_router.router import OrderRouter
from engine.order_router.tokens import serve_tokens
from engine.processes.launch import News, RouterLaunch, Tell
from engine.processes.runner import LoopRunner, settle_memory
from engine.processes.token_socket import NoToken
from engine.units import NS_PER_S

WORK_INTERVAL_S: Final = 0.05  # between two looks at tokens, counters and the status board
ORPHAN_DEADLINE_S: Final = 30.0  # for the last orders of an engine that is gone; then the dead man's switch must do
NUDGE: Final = b"snapshot"


log = structlog.get_logger("order_router")


async def run_order_router(launch: RouterLaunch, news: socket.socket, tell: Tell) -> None:
    """Route orders until SIGTERM, or until the engine is gone and its orders are taken care of."""
    no_core_dumps(allow=launch.trading.core_dumps)
    clock = SystemClock()
    parts = assemble(launch, clock)
    router = parts.router
    router.begin()
    settle_memory()
    runner = LoopRunner(router, parts.doorbells, clock, spin=launch.trading.spin)
    stopping, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    _watch_engine(loop, launch, orphaned)
    if launch.is_live:
        router.shut("the key and the account are being checked")
    servers = await _serve(launch, parts)
    works = (
        parts.connection.run(), parts.resolver.run(), _authorise(parts, clock), _look_after(parts),
        _check_account(launch, parts, tell, clock),
    )  # fmt: skip
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(work) for work in works]
    if parts.is_successor:
        _ask_for_snapshot(launch)
    runner.start()
    ends = [asyncio.ensure_future(event.wait()) for event in (stopping, orphaned)]
    try:
        await _until_over(tasks, runner.failed, ends)
        await _end_orders(router, launch.trading, is_orphan=orphaned.is_set())
    finally:
        runner.stop()
        for task in tasks[1:]:
            task.cancel()
        for end in ends:
            end.cancel()
        if not runner.failed.done():
            router.do_work()
        for server in servers:
            server.close()
        await _close(parts)


async def _serve(launch: RouterLaunch, parts: RouterParts) -> list[asyncio.AbstractServer]:
    commands = {**parts.status.commands(), "where": lambda _: {"state_dir": launch.state_dir}}
    return [
        await serve_tokens(Path(launch.token_path), parts.tokens),
        await serve_control(Path(launch.control_path), commands),
    ]


async def _until_over(
    works: list[asyncio.Future[None]], failed: asyncio.Future[None], ends: Sequence[asyncio.Future[Any]]
) -> None:
    """Until the engine wants us to end, or is gone.

    What a work raises is a broken rule of our own and ends the process; the last of them may come to its end.
    """
    watched: set[asyncio.Future[Any]] = {*works, failed, *ends}
    while True:
        done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
        if done != {works[-1]}:
            return


async def _close(parts: RouterParts) -> None:
    parts.counters.count()
    parts.status.publish(now_too=True)
    await parts.by_rest.close()
    await parts.connection.stop()
    await parts.tokens.close()
    await parts.https.close()
    if parts.history is not None:
        await asyncio.to_thread(parts.history.close)
    parts.journal.close()
    parts.key_lock.release()


async def _end_orders(router: OrderRouter, trading: TradingConfig, *, is_orphan: bool) -> None:
    """Cancel what is open, or keep it; the switch that would cancel it later is switched off only when all is done."""
    if is_orphan:
        router.gate.feed_reason = "the private feed is gone with the engine"
    router.shut("the engine is gone" if is_orphan else "the engine is stopping")
    policy = trading.on_engine_loss if is_orphan else trading.on_stop
    log.info("stopping", orders=len(router.own_open), policy=policy, orphan=is_orphan)
    if policy == "cancel":
        router.cancel_all_of(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(ORPHAN_DEADLINE_S):
                while router.own_open:
                    router.cancel_all_of(None)
                    await asyncio.sleep(WORK_INTERVAL_S)
        if router.own_open:
            log.error("orders are left open for the dead man's switch", orders=len(router.own_open))
            return
    if trading.dead_man_s:
        router.dead_man.disarm()
        await asyncio.sleep(WORK_INTERVAL_S)


async def _authorise(parts: RouterParts, clock: Clock) -> None:
    """A fresh token for each connection, and another when Kraken refuses it."""
    wanted, connects = parts.token_wanted, 0
    while True:
        if parts.connection.connects != connects:
            connects = parts.connection.connects
            parts.tokens.reachable_again()
        if parts.session.wants_token:
            try:
                parts.session.authorise(await parts.tokens.fresh(), clock.mono_ns())
                parts.connection.send_due()
            except NoToken as error:
                log.warning("no token", reason=str(error))
                await asyncio.sleep(WORK_INTERVAL_S * 5)
        wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(WORK_INTERVAL_S / 2):
                await wanted.wait()


async def _look_after(parts: RouterParts) -> None:
    while True:
        parts.tokens.do_work()
        parts.counters.count()
        parts.status.publish()
        await asyncio.sleep(WORK_INTERVAL_S)


async def _check_account(launch: RouterLaunch, parts: RouterParts, tell: Tell, clock: Clock) -> None:
    """Before the first order with real money: may the key do what is needed, and nothing more?

    A no ends a run that begins. One under way has orders to look after: its router stays, takes none, and asks again
    after the quarter of an hour that a lockout takes.
    """
    if not launch.is_live:
        return
    while (failure := await run_preflight(parts.rest, launch.symbols, clock)) is not None:
        parts.router.shut(failure)
        if not parts.is_successor:
            tell(News("fatal", failure))
            return
        await asyncio.sleep(LOCKOUT_PAUSE_NS / NS_PER_S)
    parts.router.shut("")


def _ask_for_snapshot(launch: RouterLaunch) -> None:
    """What the private feed told the router before us, it tells again."""
    nudge = socket.socket(fileno=launch.nudge_fd)
    with suppress(OSError):
        nudge.send(NUDGE, socket.MSG_DONTWAIT)


def _watch_engine(loop: asyncio.AbstractEventLoop, launch: RouterLaunch, orphaned: asyncio.Event) -> None:
    """Know when the engine's process is gone, be it by SIGKILL."""
    try:
        pidfd = os.pidfd_open(launch.parent_pid)
    except ProcessLookupError:
        orphaned.set()
        return
    loop.add_reader(pidfd, orphaned.set)
    if os.getppid() != launch.parent_pid:
        orphaned.set()
