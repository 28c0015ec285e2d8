"""A disk that fills up, fails, and is left in the middle of a write by whoever dies there.

The real `Journal` and `KeyLock` write real files in memory (a folder of /dev/shm); what they
call `os` is this module's, which decides what a write does. So records are written by the
portable `write_records`: the compiled one asks no `os`. Files of a process that died stay
as they were, with half a record at their end if that is where it died.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from engine.net import key_lock
from engine.orders import journal
from engine.orders.journal import UNFINISHED
from tests.descriptors import close_as_a_death_would
from tests.simulate.kernel import Kernel, Process

STEPS: Final = ("open the folder", "open the file", "write", "sync the file", "name it", "sync the folder")
"""Of beginning a segment of the journal: the writer may die before each, and each may fail."""
SEGMENTS_KEPT: Final = 10_000  # all: at rest every order of the day is compared with the journal

_numbers = count()


class SimDisk:
    """The folder, and the mood of the disk under it."""

    def __init__(self, kernel: Kernel, rng: Random) -> None:
        self._kernel = kernel
        self._rng = rng
        root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
        # Always of one length: its name is in sentences that strategies are told, cut to a length.
        self.folder = Path(root) / f"simulate-{os.getpid():08d}-{next(_numbers):08d}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        kernel.hidden = str(self.folder).encode()
        # Whose writes are under way.
        self.writer: Process | None = None
        self.is_full = False
        self.fails = False
        # The step of beginning a segment that fails the next time, and its error.
        self.failing_step: tuple[str, int] | None = None
        # Did a write meet with an error of the device since a person last looked?
        self.has_failed = False
        # Was there ever one? What the journal had not taken by then is lost with its process.
        self.has_lost = False
        # How often the journal was written, and files were opened.
        self.writes = self.opened = 0
        # Was the key's file not written? Then only the clock keeps the nonces of two processes apart.
        self.keys_failed = False

    def close(self) -> None:
        """Nothing is left; processes that still live have lost their files."""
        close_as_a_death_would(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self) -> None:
        """There is room again."""
        self.is_full = self.fails = False

    def step(self, step: str) -> None:
        """A segment is being begun: its writer may die here, or the step fails."""
        if self.writer is not None:
            self.writer.point()
        if self.failing_step is not None and self.failing_step[0] == step:
            code, self.failing_step = self.failing_step[1], None
            if code == errno.EIO and step in STEPS[-2:]:
                self.has_failed = self.has_lost = True  # nothing is written where it may not be found again
            raise OSError(code, os.strerror(code))

    def write(self, descriptor: int, data: bytes) -> int:
        """Of the journal: all, some, or nothing of it; or the writer dies before, within or after it."""
        writer = self.writer
        self.writes += 1
        if writer is not None:
            writer.point()
        if self.fails:
            self.has_failed = self.has_lost = True
            raise OSError(errno.EIO, "Input/output error")
        if self.is_full:
            fits = self._rng.randrange(len(data)) if self._rng.random() < 0.5 else 0
            if not fits:
                raise OSError(errno.ENOSPC, "No space left on device")
            return os.write(descriptor, data[:fits])
        if writer is not None and writer.is_doomed and len(data) > 1:
            part = self._rng.randrange(1, len(data))
            os.write(descriptor, data[:part])
            writer.point()
            os.write(descriptor, data[part:])
            writer.point()
            return len(data)
        return os.write(descriptor, data)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """The journal's and the key file's `os` is this disk's, and nothing is written past it."""
        disk = self

        class _Os:
            """`os`, but for what this disk decides."""

            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

            def fstatvfs(self, descriptor: int) -> Any:
                raise OSError(errno.ENOSYS, "room is not reserved here")

            # The segment that is being begun; -1: none.
            _begun = -1

            def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
                disk.opened += 1
                is_folder, is_segment = bool(flags & os.O_DIRECTORY), path.suffix == UNFINISHED
                if is_folder or is_segment:
                    self._begun = -1
                    disk.step("open the folder" if is_folder else "open the file")
                descriptor = os.open(path, flags, mode)
                if is_segment:
                    self._begun = descriptor
                return descriptor

            def write(self, descriptor: int, data: bytes) -> int:
                if descriptor == self._begun:
                    disk.step("write")
                return disk.write(descriptor, data)

            def fsync(self, descriptor: int) -> None:
                disk.step("sync the folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync the file")
                os.fsync(descriptor)

            def rename(self, before: Path, after: Path) -> None:
                disk.step("name it")
                os.rename(before, after)

            def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
                if disk.fails:  # a full disk takes what goes over bytes that are there
                    disk.keys_failed = True
                    raise OSError(errno.EIO, "Input/output error")
                return os.pwrite(descriptor, data, offset)

        before = journal.os, key_lock.os, journal.write_records, journal.SEGMENTS_KEPT
        journal.os = key_lock.os = _Os()  # type: ignore[assignment]
        journal.write_records = journal.portable_write_records
        journal.SEGMENTS_KEPT = SEGMENTS_KEPT  # type: ignore[misc]
        try:
            yield
        finally:
            journal.os, key_lock.os, journal.write_records, journal.SEGMENTS_KEPT = before  # type: ignore[misc]


def drop_descriptors(*descriptors: int) -> None:
    """What the kernel does with the files of a process that died."""
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
