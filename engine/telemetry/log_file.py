"""A log that is a file, as in `engine run 2>> engine.log`, and is rotated by renaming it.

    engine.log ─ renamed ─► engine.log.1      the next line of each process goes into a new engine.log

No signal is needed, and nothing is copied: each process looks before each line whether the
name still leads to the file that it writes. A line that is under way goes into the renamed
file. *Instead of* a signal, which the engine would have to pass on to processes that may
just be starting; and of logrotate's copytruncate, which loses what is written meanwhile.
"""

import os
import stat

OPENED = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class FollowedFile:
    """A descriptor that follows the name of its file."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path
        found = os.fstat(fd)
        self._identity = found.st_dev, found.st_ino
        self._mode = stat.S_IMODE(found.st_mode)

    def follow(self) -> None:
        """Open the file again if another one has its name now, or none; made anew it has
        the permissions of the old one. What cannot be opened is tried again with the next
        line; until then the old file takes all.
        """
        try:
            named = os.stat(self.path)
            if (named.st_dev, named.st_ino) == self._identity:
                return
        except FileNotFoundError:
            pass
        except OSError:
            return
        try:
            opened = os.open(self.path, OPENED, self._mode)
        except OSError:
            return
        try:
            found = os.fstat(opened)
            self._identity = found.st_dev, found.st_ino
            os.dup2(opened, self._fd)  # all of this process's lines, stacks that faulthandler writes too
        finally:
            os.close(opened)


def followed(fd: int) -> FollowedFile | None:
    """The file behind a descriptor; None when it is none that has a name."""
    try:
        path, found = os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and os.path.samestat(os.stat(path), found):
            return FollowedFile(fd, path)
    except OSError:
        pass
    return None
