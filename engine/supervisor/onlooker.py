"""A child of the engine that only looks on: it serves metrics or the page, or sends
notices.

start ─► alive ─► died ─► delay ─► start …        until `stop`, or a mistake of the user's

It is no part of trading: it attaches to the engine by its control socket as any other
process could, and when it dies nothing else does.
"""

import asyncio
import sys
from collections.abc import Sequence

import structlog

from engine.clock import Clock
from engine.config import Config, EngineConfig
from engine.supervisor.children import Child, RestartDelay, exit_text, start_program
from engine.units import MonoNs

STDERR = 2  # the descriptor: what it prints is part of the log
EXIT_MISTAKE = 2  # its own sentence is on standard error

log = structlog.get_logger("supervisor")


class Onlooker:
    """One child that only looks on, from the start of the run to its end."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        settings: EngineConfig,
        clock: Clock,
        *,
        descriptors: Sequence[int] = (),
        end_s: float = 0.0,
    ) -> None:
        """`descriptors` are inherited by each process that is started. `end_s` is the
        longest time that the process needs to end.
        """
        self.name = name
        self._end_s = end_s
        self._command = command
        self._descriptors = descriptors
        self._clock = clock
        self._delay = RestartDelay(settings.restart_delay_min_s, settings.restart_delay_max_s)
        self._child: Child | None = None
        self._started_at = MonoNs(0)
        self._stopping = False

    def start(self) -> None:
        """Start the process, unless the engine stops. A failed start is retried, as after a
        death.
        """
        if self._stopping:
            return
        self._started_at = self._clock.mono_ns()
        try:
            self._child = start_program(self._command, self._descriptors, self._ended, stdout=STDERR)
        except OSError as error:
            delay_s = self._delay.after_life(self._started_at, self._started_at)
            log.error("onlooker cannot be started", name=self.name, reason=str(error), try_in_s=delay_s)
            asyncio.get_running_loop().call_later(delay_s, self.start)

    async def stop(self, deadline_s: float) -> None:
        """Stop the process for good. It is killed if it has not ended after the deadline
        and its own time to end.
        """
        self._stopping = True
        if self._child is not None:
            await self._child.stop(max(deadline_s, self._end_s))

    def _ended(self, code: int | None) -> None:
        if self._stopping:
            return
        if code == EXIT_MISTAKE:
            log.error("onlooker cannot run as it is configured; the engine goes on without it", name=self.name)
            return
        delay_s = self._delay.after_life(self._started_at, self._clock.mono_ns())
        log.error("onlooker died", name=self.name, how=exit_text(code), restart_in_s=delay_s)
        asyncio.get_running_loop().call_later(delay_s, self.start)


def onlookers(config: Config, clock: Clock) -> list[Onlooker]:
    """The onlookers that the configuration asks for."""
    commands: dict[str, tuple[str, ...]] = {}
    if config.metrics.port is not None:
        commands["metrics"] = ("--port", str(config.metrics.port), "--address", config.metrics.address)
    if config.page.port is not None:
        commands["page"] = ("--port", str(config.page.port))
    return [
        Onlooker(
            name,
            (sys.executable, "-P", "-m", "engine", name, "--name", config.name, "--die-with-parent", *options),
            config.engine,
            clock,
        )
        for name, options in commands.items()
    ]
