"""Keeps a process, or a thread, on some of the machine's CPUs."""

import os
from collections.abc import Collection, Iterable, Sequence

from engine.errors import ConfigError


def pin(cpus: Sequence[int]) -> None:
    """Restrict the calling thread, and what it starts from now on, to these CPUs; an empty
    sequence changes nothing.
    """
    if cpus:
        os.sched_setaffinity(0, cpus)


def check_cpus(settings: Iterable[tuple[str, Sequence[int]]], usable: Collection[int] | None = None) -> None:
    """Raise ConfigError if a setting, given with its name, has a CPU that is not in
    `usable`; by default the CPUs of this process.
    """
    usable = os.sched_getaffinity(0) if usable is None else usable
    for name, cpus in settings:
        if wrong := [cpu for cpu in cpus if cpu not in usable]:
            there_are = ", ".join(map(str, sorted(usable)))
            raise ConfigError(
                f"{name} has {wrong[0]}, which is no CPU that this process may use; there are {there_are}"
            )
