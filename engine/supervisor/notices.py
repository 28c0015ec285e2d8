"""The supervisor's side of the process that sends notices: its launch, and its counters,
which outlive the process.
"""

import os
import sys
import weakref
from pathlib import Path
from typing import Final

import msgspec

from engine.clock import Clock
from engine.config import Config, is_kraken
from engine.processes.launch import NoticesLaunch, program_command
from engine.processes.run_view import NoticesMap
from engine.ring import Segment
from engine.secret.private_text import hand_over_text
from engine.supervisor.onlooker import Onlooker
from engine.telemetry import counters_bytes, format_counters
from engine.topology import notices_counter_names

FLUSH_S: Final = 2.0  # for the last message to be taken; the engine's end waits so long at most
END_S: Final = FLUSH_S + 2.0  # with the question why the engine ends, and Python's own end


class Notices:
    """The process that sends notices, and its memory."""

    def __init__(
        self, config: Config, venue: str, has_trading: bool, control_path: Path, secrets_fd: int, clock: Clock
    ) -> None:
        """`venue` is the name of the venue in notices; `has_trading` says whether the run
        trades there. `secrets_fd` holds the targets' secrets from the environment, and
        stays the caller's.
        """
        targets = [target.name for target in config.notices.targets]
        names = notices_counter_names(targets)
        self.segment = Segment.create("counters-notices", counters_bytes(names))
        format_counters(self.segment.memory, names)
        self.mapped = NoticesMap(targets, self.segment.fd)
        launch = NoticesLaunch(
            name=config.name,
            engine_pid=os.getpid(),
            control_path=str(control_path),
            targets=config.notices.targets,
            venue=venue,
            is_kraken=is_kraken(venue),
            has_trading=has_trading,
            on_engine_loss=config.trading.on_engine_loss,
            flush_s=FLUSH_S,
            counters_fd=self.segment.fd,
            secrets_fd=secrets_fd,
            log=config.log,
        )
        launch_fd = hand_over_text(msgspec.json.encode(launch))
        weakref.finalize(self, os.close, launch_fd)
        self.onlooker = Onlooker(
            "notices",
            program_command(sys.executable, "notices", launch_fd),
            config.engine,
            clock,
            descriptors=(launch_fd, *launch.descriptors),
            end_s=END_S,
        )
