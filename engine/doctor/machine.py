"""Whether this computer can run the engine, and what would make it run steadier.

read_machine ─► Machine, the facts ─► machine_findings, pure: what they mean
"""

import mmap
import os
import platform
import re
import resource
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.config import Config
from engine.state_directory import default_state_dir

NO_LIMIT: Final = -1
SHARED_BYTES: Final = 64 * 1024 * 1024  # a market ring and what is beside it


class StateDirectory(Struct, frozen=True, kw_only=True):
    """What was found at the path of a state directory."""

    path: Path
    exists: bool
    is_directory: bool = True
    is_own: bool = True
    mode: int = 0o700
    is_writable: bool = True
    """The directory, or where it is not there yet, the nearest one above it."""
    free_bytes: int = 0


class Machine(Struct, frozen=True, kw_only=True):
    """The facts of a computer and of the limits of this process; an empty value where the
    system does not tell."""

    system: str
    cpus: frozenset[int]
    """That this process may use."""
    cpu_quota: float | None
    """CPUs' worth of time that a container may use; None without a limit."""
    isolated: frozenset[int]
    governors: Mapping[int, str]
    clock_source: str
    descriptors: tuple[int, int]
    """Soft and hard limit; NO_LIMIT for none."""
    locked_bytes: int
    processes: int
    shared_memory: str
    """Why a segment of SHARED_BYTES cannot be had; empty when it can."""
    free_memory_bytes: int
    swap_bytes: int
    state: StateDirectory


def read_machine(config: Config, root: Path = Path("/")) -> Machine:
    """The facts of this computer; `root` is where /sys and /proc are found."""
    memory = _memory(root)
    return Machine(
        system=f"{platform.system()} {platform.release()} on {platform.machine()}",
        cpus=frozenset(os.sched_getaffinity(0)),
        cpu_quota=_cpu_quota(_text(root / "sys/fs/cgroup/cpu.max")),
        isolated=cpu_list(_text(root / "sys/devices/system/cpu/isolated")),
        governors={
            int(match[1]): _text(path)
            for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
            if (match := re.fullmatch(r"cpu(\d+)", path.parent.parent.name))
        },
        clock_source=_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        descriptors=_limits(resource.RLIMIT_NOFILE),
        locked_bytes=_limits(resource.RLIMIT_MEMLOCK)[0],
        processes=_limits(resource.RLIMIT_NPROC)[0],
        shared_memory=_try_shared_memory(),
        free_memory_bytes=memory.get("MemAvailable", 0),
        swap_bytes=memory.get("SwapTotal", 0),
        state=read_state_directory(_state_path(config)),
    )


def cpu_list(text: str) -> frozenset[int]:
    """Parse the kernel's `0-3,8`; empty for anything else."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            return frozenset()
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def read_state_directory(path: Path) -> StateDirectory:
    """What stands at this path, without making anything."""
    exists = _is_there(path)
    nearest = next(place for place in (path, *path.parents) if _is_there(place))
    status = nearest.stat()
    free, holds_files = 0, True
    with suppress(OSError):
        disk = shutil.disk_usage(nearest)
        free, holds_files = disk.free, disk.total > 0  # of /proc and /sys the kernel makes all that there is
    return StateDirectory(
        path=path,
        exists=exists,
        is_directory=not exists or stat.S_ISDIR(status.st_mode),
        is_own=status.st_uid == os.geteuid(),
        mode=stat.S_IMODE(status.st_mode),
        is_writable=holds_files and os.access(nearest, os.W_OK | os.X_OK, effective_ids=True),
        free_bytes=free,
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # below a directory that this user may not look into
        return False


def _state_path(config: Config) -> Path:
    return Path(config.trading.state_dir) if config.trading.state_dir else default_state_dir(config.name)


def _limits(kind: int) -> tuple[int, int]:
    soft, hard = resource.getrlimit(kind)
    return tuple(NO_LIMIT if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))  # type: ignore[return-value]


def _try_shared_memory() -> str:
    """Make and map a segment as the rings are made; why it cannot be had."""
    try:
        fd = os.memfd_create("doctor", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, SHARED_BYTES)
            mmap.mmap(fd, SHARED_BYTES).close()
        finally:
            os.close(fd)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _memory(root: Path) -> dict[str, int]:
    """Bytes by the names of /proc/meminfo."""
    rows = re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), flags=re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in rows}


def _cpu_quota(text: str) -> float | None:
    """Parse a cgroup's cpu.max: `150000 100000` are one and a half CPUs, `max …` no limit."""
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
