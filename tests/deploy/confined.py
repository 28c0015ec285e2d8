"""Run a command in the sandbox that a systemd unit describes, as far as a process can put itself into one:

    python -m tests.deploy.confined tools/deploy/systemd/kraken-engine@.service engine run …

    NoNewPrivileges, MemoryDenyWriteExecute     prctl(2)
    CapabilityBoundingSet                       prctl(2): root without capabilities owns its files, and no more
    RestrictAddressFamilies                     seccomp(2) on socket(2)
    SystemCallFilter                            seccomp(2); systemd-analyze says what a group of calls is

The kernel enforces all of it, in every process that the command starts.
"""

import ctypes
import errno
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.deploy.unit import Unit

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # Linux 6.3
PR_CAPBSET_DROP = 24
CAPABILITY_MAX = 63  # the kernel refuses those that it does not know

# Of <linux/filter.h> and <linux/seccomp.h>, for x86-64.
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER_AT, ARCH_AT, FIRST_ARGUMENT_AT = 0, 4, 16
ARCH_X86_64 = 0xC000003E
SYSCALL_NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def calls_of(filters: list[str]) -> set[str]:
    """The system calls that SystemCallFilter= lines leave; asks systemd-analyze."""
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None
    asked = subprocess.run([analyze, "syscall-filter"], capture_output=True, text=True, check=True)
    told = asked.stdout.replace("-", "_")  # the groups' names, as words
    groups = {
        group: re.findall(r"^ +([@\w]+)$", text, re.MULTILINE)
        for group, text in re.findall(r"^(@\w+)\n((?: +.*\n)*)", told, re.MULTILINE)
    }

    def members(name: str) -> set[str]:
        return set().union(*map(members, groups[name])) if name.startswith("@") else {name}

    left: set[str] = set()
    for line in filters:
        named = set().union(*(members(name) for name in line.removeprefix("~").replace("-", "_").split()))
        left = left - named if line.startswith("~") else left | named
    return left


def program(allowed: set[int] | None, families: set[int]) -> bytes:
    """A seccomp filter: these calls, or all for None; sockets of these families."""
    socket_number = 41

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, if_true, if_false, value)

    def allow(value: int) -> list[bytes]:
        return [instruction(JUMP_IF_EQUAL, value, 0, 1), instruction(RETURN, ALLOW)]

    lines = [instruction(LOAD_WORD, ARCH_AT), *allow_native(instruction), instruction(LOAD_WORD, NUMBER_AT)]
    of_socket = [instruction(LOAD_WORD, FIRST_ARGUMENT_AT), *(line for family in families for line in allow(family)),
                 instruction(RETURN, ERROR | errno.EAFNOSUPPORT)]  # fmt: skip
    lines += [instruction(JUMP_IF_EQUAL, socket_number, 0, len(of_socket)), *of_socket]
    if allowed is None:
        lines.append(instruction(RETURN, ALLOW))
    else:
        lines += [line for number in sorted(allowed) for line in allow(number)]
        lines.append(instruction(RETURN, ERROR | errno.EPERM))
    return b"".join(lines)


def allow_native(instruction) -> list[bytes]:  # type: ignore[no-untyped-def]
    """Go on for a call of this machine's own kind; refuse any other."""
    return [instruction(JUMP_IF_EQUAL, ARCH_X86_64, 1, 0), instruction(RETURN, ERROR | errno.ENOSYS)]


def confine(unit: Unit, *, with_calls: bool) -> None:
    """Put this process into the sandbox."""
    if os.getuid() == 0 and unit.one("Service", "CapabilityBoundingSet") == "":
        for capability in range(CAPABILITY_MAX + 1):
            with suppress(OSError):
                _prctl(PR_CAPBSET_DROP, capability)
    if unit.one("Service", "NoNewPrivileges") == "yes":
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if unit.one("Service", "MemoryDenyWriteExecute") == "yes":
        _prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)
    families = {getattr(socket, name) for name in unit.one("Service", "RestrictAddressFamilies").split()}
    allowed = None
    if with_calls:
        numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", SYSCALL_NUMBERS.read_text()))
        calls = calls_of(unit.all("Service", "SystemCallFilter"))
        allowed = {int(numbers[name]) for name in calls & numbers.keys()}
    code = ctypes.create_string_buffer(instructions := program(allowed, {int(family) for family in families}))
    filter_program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(code))
    )
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filter_program))


def _prctl(option: int, *arguments: int) -> None:
    filled = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *filled) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


if __name__ == "__main__":
    with_calls = sys.argv[1] == "--with-calls"
    path, *command = sys.argv[2:] if with_calls else sys.argv[1:]
    confine(Unit(Path(path)), with_calls=with_calls)
    os.execv(command[0], command)
