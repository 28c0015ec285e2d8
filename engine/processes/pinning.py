"""Keeps a process, or a thread, on some of the machine's CPUs."""

import os
from collections.abc import Collection, Iterable, Sequence

from engine.errors import ConfigError


def pin(cpus: Sequence[int]) -> None:
    """Let the calling thread, and what it starts from now on, run on these CPUs only; none:
    change nothing.
    """
    if cpus:
        os.sched_setaffinity(0, cpus)


def check_cpus(settings: Iterable[tuple[str, Sequence[int]]], usable: Collection[int] | None = None) -> None:
    """Raise ConfigError for a setting, given with its name, with a CPU that is not
    `usable`: those of this process unless given.
    """
    usable = os.sched_getaffinity(0) if usable is None else usable
    for name, cpus in settings:
        if wrong := [cpu for cpu in cpus if cpu not in usable]:
            there_are = ", ".join(map(str, sorted(usable)))
            raise ConfigError(
                f"{name} has {wrong[0]}, which is no CPU that this process may use; there are {there_are}"
            )
