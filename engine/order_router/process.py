"""The order router's process: runs the router, and ends it so that no order is left
unattended.

It outlives the engine. When the engine stops, or its process is gone, the router cancels
what is open (or keeps it, as configured), disarms the dead man's switch, and exits. If it
cannot cancel, the switch stays armed and does it.
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
from engine.order_router.router import OrderRouter
from engine.order_router.shell import RouterShell, assemble
from engine.order_router.token_server import serve_tokens
from engine.orders.journal import journal_holder
from engine.processes.connecting import keep_connected
from engine.processes.fork_server import TITLE as FORK_SERVER
from engine.processes.launch import News, RouterLaunch, Tell
from engine.processes.runner import LoopRunner, change_threads_sooner, settle_memory
from engine.processes.status_board import STOPPING
from engine.ring import Segment
from engine.telemetry import Counters
from engine.telemetry.heartbeat import Heartbeat
from engine.topology import ROUTER_COUNTERS
from engine.units import NS_PER_S

WORK_INTERVAL_S: Final = 0.05  # between two updates of tokens, counters and the status board
DISARM_DEADLINE_S: Final = 2.0  # for Kraken to confirm that the dead man's switch is off
ORPHAN_DEADLINE_S: Final = 30.0  # for canceling after the engine is gone; then the dead man's switch does it
PREDECESSOR_NS_MAX: Final = 35 * NS_PER_S  # its canceling, and its end
REST_DEADLINE_S: Final = 2.0  # for calls under way at the end, such as disarming the dead man's switch
NUDGE: Final = b"snapshot"


log = structlog.get_logger("order_router")


async def run_order_router(launch: RouterLaunch, news: socket.socket, tell: Tell) -> None:
    """Route orders until SIGTERM, or until the engine is gone and its orders are dealt
    with.
    """
    no_core_dumps(allow=launch.trading.core_dumps)
    clock = SystemClock()
    stopping, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    watch_engine(loop, launch.engine_fd, orphaned)
    counters = Counters(Segment.attach(launch.counters_fd).memory, ROUTER_COUNTERS)
    heartbeat = Heartbeat(counters)
    is_successor = heartbeat.last_at > 0
    if not await _await_predecessor(Path(launch.state_dir), heartbeat, clock, (stopping, orphaned)):
        return
    shell = assemble(launch, clock, counters, is_successor=is_successor)
    router, core = shell.router, shell.core
    router.look_at_clock()
    core.begin()
    settle_memory()
    change_threads_sooner()
    runner = LoopRunner(router, shell.doorbells, clock, spin=launch.trading.spin)
    if launch.is_live:
        core.shut("the key and the account are being checked")
    servers = await _serve(launch, shell)
    works = (
        keep_connected(shell.connection, tell, stopping),
        _look_after(shell, clock),
        shell.rest.failed,
        _check_account(launch, shell, tell, clock),
    )
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(work) for work in works]
    if shell.is_successor:
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
        await _close(shell)


async def _await_predecessor(
    state_dir: Path, heartbeat: Heartbeat, clock: Clock, ends: Sequence[asyncio.Event]
) -> bool:
    """Wait for the router of an engine that was killed: it still cancels that engine's
    orders, and has the journal and the key. False when one of `ends` comes first.

    One that stays longer than it may is left for the locks to name.
    """
    began = clock.mono_ns()
    while (orphan := orphan_with_journal(state_dir)) is not None and clock.mono_ns() - began < PREDECESSOR_NS_MAX:
        if heartbeat.last_at < began:
            log.warning("waiting for the order router of an engine that was killed", pid=orphan)
        heartbeat.beat(clock.mono_ns())
        await asyncio.sleep(WORK_INTERVAL_S)
        if any(end.is_set() for end in ends):
            return False
    return True


def orphan_with_journal(state_dir: Path) -> str | None:
    """The pid of a router that holds the journal and has outlived its engine; None when
    nobody holds it, or the router of an engine that runs.
    """
    holder = journal_holder(state_dir)
    if holder is None:
        return None
    # A router is a child of its fork server, which ends with the engine.
    with suppress(OSError, StopIteration):
        status = Path(f"/proc/{holder}/status").read_text().splitlines()
        parent = next(line.split()[1] for line in status if line.startswith("PPid:"))
        if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(FORK_SERVER.encode()):
            return None
    return holder


async def _serve(launch: RouterLaunch, shell: RouterShell) -> list[asyncio.AbstractServer]:
    commands = {**shell.status.commands(), "where": lambda _: {"state_dir": launch.state_dir, "pid": os.getpid()}}
    return [
        await serve_tokens(Path(launch.token_path), shell.router),
        await serve_control(Path(launch.control_path), commands),
    ]


async def _until_over(
    works: list[asyncio.Future[None]], failed: asyncio.Future[None], ends: Sequence[asyncio.Future[Any]]
) -> None:
    """Wait until the engine stops us, or is gone.

    An exception in one of the `works` is a bug of ours and ends the process.
    """
    watched: set[asyncio.Future[Any]] = {*works, failed, *ends}
    while True:
        done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
        if done != {works[-1]}:
            return


async def _close(shell: RouterShell) -> None:
    shell.counters.count()
    shell.status.publish(now_too=True)
    await shell.rest.close(REST_DEADLINE_S)
    await shell.connection.stop()
    await shell.https.close()
    if shell.history is not None:
        await asyncio.to_thread(shell.history.close)
    shell.key_lock.release()
    shell.journal.close()  # the last: a successor waits for it


async def _end_orders(router: OrderRouter, trading: TradingConfig, *, is_orphan: bool) -> None:
    """Cancel what is open, or keep it as configured. The dead man's switch is disarmed only
    when all is done. Exits of brackets stay: they protect what is held.
    """
    core = router.core
    router.look_at_clock()
    if is_orphan:
        core.gate.feed_reason = "the private feed is gone with the engine"
    core.end("the engine is gone" if is_orphan else STOPPING)
    policy = trading.on_engine_loss if is_orphan else trading.on_stop
    log.info("stopping", orders=len(core.own_to_end), policy=policy, orphan=is_orphan)
    with suppress(TimeoutError):
        async with asyncio.timeout(ORPHAN_DEADLINE_S):
            while (policy == "cancel" and core.own_to_end) or core.brackets.unprotected:
                router.look_at_clock()
                if policy == "cancel":
                    core.cancel_all_but_exits(None)
                await asyncio.sleep(WORK_INTERVAL_S)
    if unprotected := core.brackets.unprotected:
        log.error("something that is held has no stop: Kraken did not take it in time", brackets=unprotected)
    if exits := len(core.own_open) - len(core.own_to_end):
        log.info("exits of brackets stay open at Kraken; the next start looks after them", orders=exits)
    if policy == "cancel" and core.own_to_end:
        log.error("orders are left open for the dead man's switch", orders=len(core.own_to_end))
        return
    if trading.dead_man_s:
        router.look_at_clock()
        core.dead_man.disarm()
        with suppress(TimeoutError):
            async with asyncio.timeout(DISARM_DEADLINE_S):
                while not core.dead_man.is_off:
                    await asyncio.sleep(WORK_INTERVAL_S)
        if not core.dead_man.is_off:
            log.error("dead man's switch may still cancel what is open", orders=len(core.own_open))


async def _look_after(shell: RouterShell, clock: Clock) -> None:
    while True:
        shell.stacks.look(clock.mono_ns())
        shell.key_lock.catch_up()
        shell.counters.count()
        shell.status.publish()
        await asyncio.sleep(WORK_INTERVAL_S)


async def _check_account(launch: RouterLaunch, shell: RouterShell, tell: Tell, clock: Clock) -> None:
    """Check, before the first order with real money, that the key has the permissions it
    needs and no more.

    A failure ends a run that begins. In a run under way there may be orders to look after,
    so the router stays, takes no orders, and checks again after the fifteen minutes that a
    lockout lasts.
    """
    if not launch.is_live:
        return
    while (failure := await run_preflight(shell.rest, launch.symbols, clock)) is not None:
        _shut(shell.router, failure)
        if not shell.is_successor:
            tell(News("fatal", failure))
            return
        await asyncio.sleep(LOCKOUT_PAUSE_NS / NS_PER_S)
    _shut(shell.router, "")


def _shut(router: OrderRouter, reason: str) -> None:
    router.look_at_clock()
    router.core.shut(reason)


def _ask_for_snapshot(launch: RouterLaunch) -> None:
    """Have the private feed reconnect, since its earlier facts went to the last router."""
    nudge = socket.socket(fileno=launch.nudge_fd)
    with suppress(OSError):
        nudge.send(NUDGE, socket.MSG_DONTWAIT)


def watch_engine(loop: asyncio.AbstractEventLoop, engine_fd: int, orphaned: asyncio.Event) -> None:
    """Set `orphaned` when the engine's process is gone, even by SIGKILL; `engine_fd` is a
    pidfd of it.
    """

    def end() -> None:
        loop.remove_reader(engine_fd)  # it is readable for ever
        orphaned.set()

    loop.add_reader(engine_fd, end)
