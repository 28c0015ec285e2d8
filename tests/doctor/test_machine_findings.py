"""What the facts of a computer mean: each that keeps the engine from running fails, with its mend."""

import os
from pathlib import Path

import msgspec
import pytest

from engine.config import Config, override
from engine.doctor.machine import NO_LIMIT, Machine, StateDirectory, cpu_list, read_machine, read_state_directory
from engine.doctor.machine_findings import machine_findings
from engine.kraken_rest.preflight import Finding, Level
from tests.other_user import as_somebody_else

GB = 1024**3
STATE = StateDirectory(path=Path("/home/me/.local/state/kraken-engine/default"), exists=True, free_bytes=100 * GB)
SOUND = Machine(
    system="Linux 6.1 on x86_64",
    cpus=frozenset(range(4)),
    cpu_quota=None,
    isolated=frozenset({2, 3}),
    governors={0: "performance", 1: "performance"},
    clock_source="tsc",
    descriptors=(1024, 4096),
    locked_bytes=8 * 1024 * 1024,
    processes=4096,
    shared_memory="",
    free_memory_bytes=4 * GB,
    swap_bytes=0,
    state=STATE,
)
PINNED = override(Config(), **{"feed.cpus": (2,), "trading.cpus": (3,)})


def found(config: Config = PINNED, **changes: object) -> list[Finding]:
    """What is not well of a sound machine with these changes."""
    machine = msgspec.structs.replace(SOUND, **changes)
    return [finding for finding in machine_findings(machine, config) if finding.level is not Level.OK]


def test_nothing_is_said_against_a_sound_machine() -> None:
    """Every line is ok, and each question has one."""
    names = [finding.name for finding in machine_findings(SOUND, PINNED)]

    assert found() == []
    assert names == [
        "system", "cpus", "isolation", "governor", "timer", "descriptors", "processes", "memfd", "memory",
        "memory lock", "state",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "level", "mend", "changes"),
    [
        ("cpus", Level.WARNING, "give them 2", {"cpu_quota": 0.5}),
        ("cpus", Level.FAILURE, "feed.cpus has 2", {"cpus": frozenset({0, 1})}),
        ("isolation", Level.ADVICE, "isolcpus=", {"isolated": frozenset()}),
        ("isolation", Level.ADVICE, "name them in feed.cpus", {"isolated": frozenset({1})}),
        ("governor", Level.ADVICE, "cpupower", {"governors": {0: "performance", 1: "powersave"}}),
        ("timer", Level.WARNING, "clocksource=tsc", {"clock_source": "hpet"}),
        ("descriptors", Level.FAILURE, "ulimit -n", {"descriptors": (64, 64)}),
        ("processes", Level.WARNING, "ulimit -u", {"processes": 20}),
        ("memfd", Level.FAILURE, "memfd_create", {"shared_memory": "cannot allocate memory"}),
        ("memory", Level.WARNING, "512 MB", {"free_memory_bytes": 100 * 1024 * 1024}),
        ("memory lock", Level.ADVICE, "swappiness", {"swap_bytes": 2 * GB}),
    ],
)  # fmt: skip
def test_each_fact_that_is_not_well_has_its_line_and_its_mend(
    name: str, level: Level, mend: str, changes: dict[str, object]
) -> None:
    """One line, one sentence, and nothing about what is well."""
    (finding,) = found(**changes)

    assert (finding.name, finding.level) == (name, level)
    assert mend in finding.text
    assert "\n" not in finding.text


@pytest.mark.parametrize(
    ("level", "mend", "changes"),
    [
        (Level.FAILURE, "not a directory", {"is_directory": False}),
        (Level.FAILURE, "cannot be written", {"is_writable": False}),
        (Level.FAILURE, "cannot be made", {"exists": False, "is_writable": False}),
        (Level.FAILURE, "another user", {"is_own": False}),
        (Level.WARNING, "chmod 700", {"mode": 0o755}),
        (Level.FAILURE, "make room", {"free_bytes": 1024}),
        (Level.WARNING, "make room", {"free_bytes": 100 * 1024 * 1024}),
    ],
)
def test_a_state_directory_that_is_not_well_says_what_to_do(
    level: Level, mend: str, changes: dict[str, object]
) -> None:
    """Journal and history are in it, and nobody else may read them."""
    (finding,) = found(state=msgspec.structs.replace(STATE, **changes))

    assert (finding.name, finding.level) == ("state", level)
    assert mend in finding.text


def test_no_limit_is_no_small_one() -> None:
    """The system's word for it is a negative number."""
    assert found(descriptors=(NO_LIMIT, NO_LIMIT), processes=NO_LIMIT, locked_bytes=NO_LIMIT) == []


def test_processes_that_never_sleep_leave_a_cpu_to_the_others() -> None:
    """Two that spin on two CPUs starve the rest."""
    spinning = override(Config(), **{"feed.spin": True, "trading.spin": True})
    warned = [finding for finding in found(spinning, cpus=frozenset({0, 1})) if finding.name == "cpus"]

    assert [finding.level for finding in warned] == [Level.WARNING]
    assert "feed.spin, trading.spin" in warned[0].text


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("0-2,5", {0, 1, 2, 5}), ("7", {7}), ("none", set()), ("1-", {1})]
)
def test_the_kernels_lists_of_cpus_are_read(text: str, cpus: set[int]) -> None:
    """As /sys/devices/system/cpu/isolated writes them."""
    assert cpu_list(text) == cpus


def test_the_facts_are_read_where_the_kernel_tells_them(tmp_path: Path) -> None:
    """From /sys and /proc of another root; the limits are this process's own."""
    cpu = tmp_path / "sys/devices/system/cpu"
    for place, text in {
        "sys/devices/system/cpu/isolated": "2-3\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
        "proc/meminfo": "MemTotal: 8 kB\nMemAvailable:    2048 kB\nSwapTotal:       1024 kB\n",
    }.items():
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    state = tmp_path / "state"
    machine = read_machine(override(Config(), **{"trading.state_dir": str(state)}), tmp_path)

    assert cpu.is_dir()
    assert (machine.isolated, machine.governors, machine.clock_source) == ({2, 3}, {0: "powersave"}, "hpet")
    assert (machine.cpu_quota, machine.free_memory_bytes, machine.swap_bytes) == (1.5, 2048 * 1024, 1024 * 1024)
    assert machine.shared_memory == ""
    assert machine.cpus == os.sched_getaffinity(0)
    assert not machine.state.exists
    assert not state.exists()


def test_a_computer_that_tells_nothing_is_no_reason_to_fail(tmp_path: Path) -> None:
    """A container without /sys: what is not told is left out."""
    machine = read_machine(override(Config(), **{"trading.state_dir": str(tmp_path)}), tmp_path / "nothing")
    levels = {finding.name: finding.level for finding in machine_findings(machine, Config())}

    assert levels["governor"] is levels["timer"] is levels["memory"] is Level.OK


def test_a_state_directory_is_looked_at_and_not_made(tmp_path: Path) -> None:
    """Its own mode; of one that is not there, the nearest above it."""
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    own.chmod(0o755)
    file = tmp_path / "file"
    file.write_text("")

    assert read_state_directory(own).mode == 0o755
    assert read_state_directory(own / "a" / "b").is_writable
    assert not read_state_directory(own / "a" / "b").exists
    assert not read_state_directory(file).is_directory
    assert not (own / "a").exists()


@pytest.mark.parametrize("place", ["/proc/state", "/sys/a/state"])
def test_a_place_that_takes_no_directory_is_no_matter_of_room(place: str) -> None:
    """What the kernel makes up has no room at all."""
    (finding,) = found(state=read_state_directory(Path(place)))

    assert "cannot be made; choose another with trading.state_dir" in finding.text


def test_a_place_that_may_not_be_looked_into_is_a_finding(tmp_path: Path) -> None:
    """And no end of the examination."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with as_somebody_else(closed):
        (finding,) = found(state=read_state_directory(closed / "state"))

    assert "cannot be made; choose another with trading.state_dir" in finding.text
