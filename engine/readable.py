"""Waiting for one descriptor, whatever its number."""

import select


def is_readable(fd: int, timeout_s: float | None = 0) -> bool:
    """Wait until a descriptor has something to read, its other end is closed or, of a
    pidfd, the process has ended; False when none of it is so after `timeout_s` (None: no
    limit).

    select(2) refuses numbers from 1,024 on, which a program with many connections has.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1e3))
