"""What the engine hands over to a process that attaches to it; see engine/attach."""

import os
from collections.abc import Mapping

import msgspec

from engine.attach.memory import EngineMemory
from engine.net.control_socket import Handover


def hand_over(told: EngineMemory, descriptors: Mapping[str, int]) -> Handover:
    """The answer to a process that attaches, with a descriptor of each segment that can be
    read and not written.
    """
    opened: list[int] = []
    try:
        # A memfd's own descriptor would allow writing; opening it again does not.
        opened.extend(
            os.open(f"/proc/self/fd/{descriptors[name]}", os.O_RDONLY | os.O_CLOEXEC) for name in told.segments
        )
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    return Handover(msgspec.to_builtins(told), opened)
