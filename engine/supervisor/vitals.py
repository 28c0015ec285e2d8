"""The supervisor's own observations of its children and strategies, as counters that other
processes can read.
"""

from collections.abc import Mapping, Sequence

from engine.ring import Segment
from engine.supervisor.actor import Actor
from engine.telemetry import Counters, Heartbeat, counters_bytes, format_counters
from engine.topology import supervisor_counter_names
from engine.units import MonoNs


class Vitals:
    """The supervisor's counters; see measures.SUPERVISOR, CHILD and WATCHED."""

    def __init__(self, children: Sequence[str], strategies: Sequence[str]) -> None:
        names = supervisor_counter_names(children, strategies)
        self.segment = Segment.create("counters-supervisor", counters_bytes(names))
        format_counters(self.segment.memory, names)
        self._counters = Counters(self.segment.memory, names)
        self._heartbeat = Heartbeat(self._counters)

    def write(self, now: MonoNs, commands_held_up: int, actors: Sequence[Actor], hung: Mapping[str, int]) -> None:
        """Store the current values; `hung` counts callbacks that did not return, by
        strategy.
        """
        self._counters.set("commands_held_up", commands_held_up)
        for actor in actors:
            self._counters.set(f"{actor.name} pid", actor.pid or 0)
            self._counters.set(f"{actor.name} restarts", actor.restarts)
        for strategy, count in hung.items():
            self._counters.set(f"{strategy} hung", count)
        self._heartbeat.beat(now)
