"""What the facts of a computer mean for the engine: what keeps it from running, and what
would make it run steadier.

    read_machine ─► Machine, the facts ─► machine_findings, pure
"""

from collections.abc import Iterable, Mapping
from typing import Final

from engine.config import Config
from engine.doctor.machine import NO_LIMIT, SHARED_BYTES, Machine, StateDirectory, read_machine
from engine.errors import ConfigError
from engine.kraken_rest.preflight import Finding, Level
from engine.processes.pinning import check_cpus
from engine.supervisor.descriptors import descriptors_needed

CPUS_MIN: Final = 2  # a feed must not wait for a strategy that computes
PROCESSES_MIN: Final = 256  # and threads; one engine has some twenty
MEMORY_BYTES_MIN: Final = 512 * 1024 * 1024  # four processes of Python with books
STATE_BYTES_MIN: Final = 16 * 1024 * 1024  # the journal sets 9 MB aside, and the history needs a little
STATE_BYTES_GOOD: Final = 512 * 1024 * 1024
GROUP_AND_OTHERS: Final = 0o077
STEADY_CLOCKS: Final = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "xen"})


def machine_findings(machine: Machine, config: Config) -> list[Finding]:
    """What the facts mean for this configuration."""
    return [
        Finding("system", Level.OK, machine.system),
        _cpus(machine, config),
        _isolation(machine, config),
        _governor(machine.governors),
        _clock_source(machine.clock_source),
        descriptors_finding(machine, config),
        _processes(machine.processes),
        shared_memory_finding(machine),
        _memory_finding(machine),
        _locked(machine),
        *state_findings(machine.state),
    ]


def start_findings(config: Config) -> list[Finding]:
    """What of the machine would keep a run of this configuration from starting."""
    machine = read_machine(config)
    found = [descriptors_finding(machine, config), shared_memory_finding(machine), *state_findings(machine.state)]
    return [finding for finding in found if finding.level in (Level.FAILURE, Level.WARNING)]


def _cpus(machine: Machine, config: Config) -> Finding:
    parts = (("feed", config.feed), ("engine", config.engine), ("trading", config.trading))
    try:
        check_cpus([(f"{name}.cpus", part.cpus) for name, part in parts], machine.cpus)
    except ConfigError as error:
        return Finding("cpus", Level.FAILURE, str(error))
    count = len(machine.cpus) if machine.cpu_quota is None else min(len(machine.cpus), machine.cpu_quota)
    spinning = [f"{name}.spin" for name, part in parts if part.spin]
    if spinning and len(spinning) >= count:
        text = (
            f"{count:g} CPUs for what never sleeps ({', '.join(spinning)}); leave one more for everything else, "
            "or set spin = false"
        )
        return Finding("cpus", Level.WARNING, text)
    if count < CPUS_MIN:
        text = f"{count:g} CPU, on which feed, order router and strategies take turns; give them {CPUS_MIN}"
        return Finding("cpus", Level.WARNING, text)
    return Finding("cpus", Level.OK, f"{count:g} CPUs")


def _isolation(machine: Machine, config: Config) -> Finding:
    mine = {*config.feed.cpus, *config.engine.cpus, *config.trading.cpus}
    if machine.isolated and mine & machine.isolated:
        return Finding(
            "isolation", Level.OK, f"the engine has isolated CPUs of its own: {_numbers(mine & machine.isolated)}"
        )
    if machine.isolated:
        text = (
            f"the isolated CPUs {_numbers(machine.isolated)} are used by no process of the engine; "
            "name them in feed.cpus, engine.cpus and trading.cpus"
        )
        return Finding("isolation", Level.ADVICE, text)
    text = "no CPU is isolated, so other programs delay the engine at times; isolcpus= of the kernel keeps some free"
    return Finding("isolation", Level.ADVICE, text)


def _governor(governors: Mapping[int, str]) -> Finding:
    slow = sorted(cpu for cpu, governor in governors.items() if governor != "performance")
    if not governors:
        return Finding("governor", Level.OK, "the system tells no CPU frequency governor, as in most virtual machines")
    if slow:
        text = (
            f"the governor of CPU {_numbers(slow)} is {governors[slow[0]]}, which wakes up slowly; "
            "for steady latency run: cpupower frequency-set --governor performance"
        )
        return Finding("governor", Level.ADVICE, text)
    return Finding("governor", Level.OK, "performance on every CPU")


def _clock_source(name: str) -> Finding:
    if not name or name in STEADY_CLOCKS:
        return Finding("timer", Level.OK, name or "the system does not tell its clock source")
    text = (
        f"the kernel's clock source is {name}, which takes a microsecond a reading; "
        "the kernel option clocksource=tsc chooses a faster one, where the machine has it"
    )
    return Finding("timer", Level.WARNING, text)


def descriptors_finding(machine: Machine, config: Config) -> Finding:
    """Whether a run may open the files that it needs."""
    soft, hard = machine.descriptors
    needed = descriptors_needed(shards=config.feed.shards, strategies=len(config.strategies))
    if hard != NO_LIMIT and hard < needed:
        text = (
            f"this process may open {hard} files and a run needs {needed}; raise the limit, for example with "
            "`ulimit -n 1024` or LimitNOFILE= of the systemd unit"
        )
        return Finding("descriptors", Level.FAILURE, text)
    allowed = "any number of" if soft == NO_LIMIT else f"{soft:,}"
    return Finding("descriptors", Level.OK, f"{allowed} open files are allowed, a run needs {needed}")


def _processes(allowed: int) -> Finding:
    if allowed != NO_LIMIT and allowed < PROCESSES_MIN:
        text = (
            f"this user may have {allowed} processes and threads, of which a run needs some twenty; raise the limit, "
            "for example with `ulimit -u 4096`"
        )
        return Finding("processes", Level.WARNING, text)
    return Finding(
        "processes", Level.OK, "any number" if allowed == NO_LIMIT else f"{allowed:,} processes and threads are allowed"
    )


def shared_memory_finding(machine: Machine) -> Finding:
    """Whether the rings can be made."""
    if machine.shared_memory:
        text = (
            f"a shared-memory segment (memfd) of {_size(SHARED_BYTES)} cannot be had: {machine.shared_memory}; "
            "allow memfd_create, or raise the container's memory limit"
        )
        return Finding("memfd", Level.FAILURE, text)
    return Finding(
        "memfd", Level.OK, f"a shared-memory segment of {_size(SHARED_BYTES)} can be had; /dev/shm is not needed"
    )


def _memory_finding(machine: Machine) -> Finding:
    free = machine.free_memory_bytes
    if free and free < MEMORY_BYTES_MIN:
        text = f"{_size(free)} of memory are free; free {_size(MEMORY_BYTES_MIN)}, or the system may end the engine"
        return Finding("memory", Level.WARNING, text)
    return Finding("memory", Level.OK, f"{_size(free)} are free" if free else "the system does not tell what is free")


def _locked(machine: Machine) -> Finding:
    may = "any amount" if machine.locked_bytes == NO_LIMIT else _size(machine.locked_bytes)
    if machine.swap_bytes:
        text = (
            f"{may} may be locked, but the engine locks none, and there are {_size(machine.swap_bytes)} of swap: "
            "what is swapped out comes back in milliseconds; run: sysctl vm.swappiness=1"
        )
        return Finding("memory lock", Level.ADVICE, text)
    return Finding("memory lock", Level.OK, f"{may} may be locked; there is no swap, so the engine needs none")


def state_findings(state: StateDirectory) -> list[Finding]:
    """Whether journal and history can be written, and only by their owner be read."""
    choose = "choose another with trading.state_dir or XDG_STATE_HOME"
    if state.exists and not state.is_directory:
        return [Finding("state", Level.FAILURE, f"{state.path} is not a directory; remove it, or {choose}")]
    if not state.is_writable:
        made = "written" if state.exists else "made"
        return [Finding("state", Level.FAILURE, f"the state directory {state.path} cannot be {made}; {choose}")]
    findings = []
    if state.exists and not state.is_own:
        findings.append(Finding("state", Level.FAILURE, f"{state.path} belongs to another user; {choose}"))
    elif state.exists and state.mode & GROUP_AND_OTHERS:
        text = f"{state.path} is open to other users (mode {state.mode:04o}); run: chmod 700 {state.path}"
        findings.append(Finding("state", Level.WARNING, text))
    if state.free_bytes < STATE_BYTES_MIN:
        room = f"{_size(state.free_bytes)} are free, and the journal needs {_size(STATE_BYTES_MIN)}"
        findings.append(Finding("state", Level.FAILURE, f"{state.path}: {room}; make room there"))
    elif state.free_bytes < STATE_BYTES_GOOD:
        text = f"{state.path}: only {_size(state.free_bytes)} are free; make room before they are used up"
        findings.append(Finding("state", Level.WARNING, text))
    if findings:
        return findings
    made = "" if state.exists else ", made at the first start that trades"
    return [Finding("state", Level.OK, f"{state.path}{made}; {_size(state.free_bytes)} are free")]


def _numbers(cpus: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))


def _size(count: int) -> str:
    return f"{count / 1024**3:.1f} GB" if count >= 1024**3 else f"{count / 1024**2:.0f} MB"
