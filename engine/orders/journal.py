"""The journal: an append-only file of records, written before the first byte of an order is
sent.

It survives the death of the process always (the kernel keeps what `write` has taken), and
the loss of power with `durability="power"`, which waits for the disk at every record.

    00000001.journal   begins with nothing
    00000002.journal   begins with a Snapshot of all before it, and so on; some old segments are kept, for people

One router at a time: `journal.lock` in the folder is locked by its process. Disk space for
a whole segment is reserved when it begins, so that other files (the history beside it, or
another program's) cannot take it. This is the only file I/O of this package, and only the
router calls it.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NoReturn

import msgspec

from engine.errors import UserError
from engine.native import ORDERS
from engine.orders.journal_format import (
    HEAD_BYTES,
    HEADER_BYTES,
    RECORD_BYTES_MAX,
    VERSION,
    Scan,
    pack_header,
    pack_record,
    scan,
)
from engine.orders.journal_records import JournalError, Record, Snapshot, decode_record, encode_record

Durability = Literal["process", "power"]

SEGMENT_BYTES_MAX: Final = 8 * 1024 * 1024  # behind the snapshot: 80,000 records, read in half a second
SEGMENTS_KEPT: Final = 8
LOCK: Final = "journal.lock"  # `lock` is the run directory's, which may be this one
PID_CHARS: Final = 10
RESERVE_MARGIN_BYTES: Final = 1024 * 1024  # beyond a full segment, for what is written until the next one begins
RESERVE_SHARE_MAX: Final = 4  # at most a fourth of the free space of a small disk
SUFFIX: Final = ".journal"
UNFINISHED: Final = ".journal-unfinished"
FALLOC_FL_KEEP_SIZE: Final = 1  # linux/falloc.h

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def portable_write_records(fd: int, sequence: int, payloads: Sequence[bytes]) -> int:
    """Write these records, the first with this sequence, with one call; returns their
    bytes. Raises OSError for a file that took fewer.
    """
    packed = b"".join(pack_record(sequence + place, payload) for place, payload in enumerate(payloads))
    if (written := os.write(fd, packed)) != len(packed):
        raise OSError(errno.ENOSPC, f"only {written} of {len(packed)} bytes fitted")
    return written


write_records: Callable[[int, int, Sequence[bytes]], int] = (
    portable_write_records if ORDERS is None else ORDERS.write_records
)


class JournalUnusable(UserError):
    """The journal must not be traded on. The text names the file, the place and the mend."""


class Journal:
    """The segment that is being written. Made by `open`; `append` is on the path of every
    order.
    """

    def __init__(self, folder: Path, durability: Durability, segment_bytes_max: int) -> None:
        self._folder = folder
        self._is_synced = durability == "power"
        self._segment_bytes_max = segment_bytes_max
        # Held for as long as the journal is open.
        self._lock_fd = -1
        self._fd = -1
        self._segment = 0
        # Offset of the first record behind the header, and behind the snapshot if there is
        # one.
        self._snapshot_end = 0
        # Offset of the next record; everything before it is complete.
        self._end = 0
        # Sequence of the next record; it never decreases, over all segments.
        self._sequence = 1
        # Why nothing can be appended any more; empty if it can.
        self._broken = ""
        # Bytes of an incomplete last record that were cut off when the journal was opened;
        # usually 0.
        self.torn_bytes = 0
        # Offset up to which the file system has reserved space; 0 if it reserves none.
        self.reserved_to = 0
        self.errors = 0

    @classmethod
    def open(
        cls, folder: Path, *, durability: Durability = "process", segment_bytes_max: int = SEGMENT_BYTES_MAX
    ) -> tuple["Journal", list[Record], str]:
        """Open or create the journal in a folder. Returns it, its records from the last
        snapshot on, and a sentence on what was found.

        Raises JournalUnusable if another router holds it, if it is damaged, or if another
        version of the engine wrote it.
        """
        journal = cls(folder, durability, segment_bytes_max)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            journal._lock()
            records = journal._load()
            journal._reserve()
        except OSError as error:
            journal.close()
            raise JournalUnusable(
                f"the journal in {folder} cannot be opened ({error.strerror}); make the folder writable, or name "
                "another as state_dir in [trading]"
            ) from None
        except BaseException:
            journal.close()
            raise
        return journal, records, journal._found(len(records))

    @property
    def path(self) -> Path:
        """The segment that is being written."""
        return _segment_path(self._folder, self._segment)

    @property
    def wants_compaction(self) -> bool:
        """True if so much was appended to the segment that it is time for `compact`. Its
        snapshot does not count: it may be longer than all that.
        """
        return self._end - self._snapshot_end > self._segment_bytes_max

    def append(self, record: Record) -> None:
        """Write one record; it is durable when this returns. Raises JournalError if it
        could not be written.
        """
        self.append_encoded(encode_record(record))

    def append_all(self, records: Sequence[Record]) -> None:
        """Write several records with one call: all of them, or none and JournalError."""
        if records:
            self.append_encoded(*map(encode_record, records))

    def append_encoded(self, *payloads: bytes) -> None:
        """`append_all` of records that `encode_record` has encoded, or whoever writes the
        same bytes.
        """
        # Hot: on the way of an order to its first byte.
        if self._broken:
            raise JournalError(self._broken)
        try:
            written = write_records(self._fd, self._sequence, payloads)
            if self._is_synced:
                os.fdatasync(self._fd)
        except OSError as error:
            self._undo(error)
        else:
            self._end += written
            self._sequence += len(payloads)

    def compact(self, snapshot: Snapshot, unwritten: Sequence[Record] = ()) -> None:
        """Begin a new segment with a snapshot of all records so far, and with those of them
        that the old one did not take. On JournalError the old segment stays in use; it
        takes nothing more if the new one could not be removed for certain.
        """
        if unwritten:
            snapshot = msgspec.structs.replace(
                snapshot, unwritten=tuple(msgspec.Raw(encode_record(it)) for it in unwritten)
            )
        segment = self._segment + 1
        unfinished, path = self._folder / f"{segment:08d}{UNFINISHED}", _segment_path(self._folder, segment)
        fd = folder_fd = -1
        is_named = False
        try:
            content = pack_header(segment, self._sequence) + pack_record(self._sequence, encode_record(snapshot))
            # Before anything has a name: what cannot be opened can be left at that.
            folder_fd = self._open_folder()
            fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            _write_whole(fd, content)
            # A wait for the disk does no harm here, and a file name without its content
            # would be damage.
            os.fsync(fd)
            is_named = True
            os.rename(unfinished, path)
            os.fsync(folder_fd)
        except OSError as error:
            self.errors += 1
            why = f"the journal in {self._folder} cannot begin a new segment: {error.strerror}"
            _close(fd)
            with suppress(OSError):
                os.unlink(unfinished)
            if is_named:
                self._take_back(path, folder_fd, why, error)
            raise JournalError(why) from None
        finally:
            _close(folder_fd)
        _close(self._fd)
        self._fd, self._segment, self._broken = fd, segment, ""
        self._snapshot_end = self._end = len(content)
        self._sequence += 1
        self._reserve()
        self._remove_old()

    def close(self) -> None:
        """Close the file and release the lock."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1
        self._broken = "the journal is closed"

    # --- writing

    def _undo(self, error: OSError) -> NoReturn:
        """Cut off a record that was written in part, so that the next one can follow."""
        self.errors += 1
        why = f"the journal {self.path} cannot be written: {error.strerror}"
        try:
            os.ftruncate(self._fd, self._end)
        except OSError as second:
            self._broken = f"{why}; nor can it be put in order ({second.strerror}), start the engine again to do so"
        if error.errno == errno.EIO:
            # The content of the disk is unknown now: after such an error a later success
            # proves nothing.
            self._broken = f"{why}; check the disk, then start the engine again"
        self._reserve()  # cutting gave the reserved space back
        raise JournalError(self._broken or why) from None

    def _remove_old(self) -> None:
        """Remove the segments that are not kept. What cannot be removed now, the next
        segment tries again.
        """
        with suppress(OSError):
            for old in _segments(self._folder)[:-SEGMENTS_KEPT]:
                with suppress(OSError):
                    os.unlink(_segment_path(self._folder, old))

    def _take_back(self, path: Path, folder_fd: int, why: str, error: OSError) -> None:
        """Remove a segment that may have its name already and is not used after all.

        Whoever opens the journal next would begin with it, and miss what follows here. As
        long as it may be there, nothing follows: every append fails.
        """
        try:
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.fsync(folder_fd)
        except OSError as second:
            self._broken = f"{why}; nor can it be removed ({second.strerror}), start the engine again to do so"
        if error.errno == errno.EIO:  # as in `_undo`: that it was removed is not proved
            self._broken = f"{why}; check the disk, then start the engine again"

    def _reserve(self) -> None:
        """Reserve disk space behind the end of the segment, as much as can be spared.

        The file's size does not change. A lack of space, or a file system that reserves
        none, is no error here: a later write reports it.
        """
        self.reserved_to = 0
        with suppress(OSError):
            disk = os.fstatvfs(self._fd)
            spare = disk.f_bavail * disk.f_frsize // RESERVE_SHARE_MAX
            left = self._segment_bytes_max - (self._end - self._snapshot_end)
            length = min(max(left, 0) + RESERVE_MARGIN_BYTES, spare)
            if length > 0:
                _fallocate(self._fd, self._end, length)
                self.reserved_to = self._end + length

    def _open_folder(self) -> int:
        return os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)

    def _sync_folder(self) -> None:
        fd = self._open_folder()
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    # --- opening

    def _lock(self) -> None:
        path = self._folder / LOCK
        self._lock_fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock_fd, 32).decode(errors="replace").strip() or "unknown"
            raise JournalUnusable(
                f"the journal in {self._folder} is in use by process {holder}; stop that engine first, or give this "
                "one another name or state_dir"
            ) from None
        # For people. Always of the same length, written over the old one; a full disk is no
        # reason not to trade.
        with suppress(OSError):
            os.pwrite(self._lock_fd, f"{os.getpid():<{PID_CHARS}}\n".encode(), 0)

    def _found(self, records: int) -> str:
        torn = f"; a torn record of {self.torn_bytes} bytes was cut off its end" if self.torn_bytes else ""
        return f"journal {self.path}: {records} records{torn}"

    def _load(self) -> list[Record]:
        for unfinished in self._folder.glob(f"*{UNFINISHED}"):
            unfinished.unlink()
        segments = _segments(self._folder)
        if not segments:
            self._begin()
            return []
        self._segment = segments[-1]
        found = scan(self.path.read_bytes())
        if found.header is None and found.damage is None:
            if len(segments) > 1:
                raise JournalUnusable(_damaged(self.path, 0, 0, "it is shorter than its header"))
            self.torn_bytes = found.torn_bytes
            self.path.unlink()
            self._begin()
            return []
        records = _records(self.path, found, self._segment)
        if self._is_synced:  # whoever began this segment may have died before its name was safe
            self._sync_folder()
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
        self._end = found.end
        self._snapshot_end = HEADER_BYTES
        if records and isinstance(records[0], Snapshot):
            self._snapshot_end += HEAD_BYTES + len(found.payloads[0][1])
        self.torn_bytes = found.torn_bytes
        if found.torn_bytes:
            os.ftruncate(self._fd, self._end)
            os.fsync(self._fd)
        header = found.header
        self._sequence = (header.first_sequence if header else 1) + len(records)
        return records

    def _begin(self) -> None:
        """Begin the first segment of a new journal."""
        self._segment = 1
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        _write_whole(self._fd, pack_header(1, self._sequence))
        os.fsync(self._fd)
        self._sync_folder()
        self._snapshot_end = self._end = HEADER_BYTES


def journal_holder(folder: Path) -> str | None:
    """The pid of the process that holds the journal in a folder; None when none does."""
    try:
        fd = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(fd, 32).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(fd)
    return None


def read_journal(folder: Path, unread: list[str] | None = None) -> Iterator[tuple[int, Record]]:
    """Yield (sequence, record) of everything that is kept, in older segments too, to
    rebuild the history.

    A router may be writing meanwhile. A snapshot comes where its segment begins, after the
    records that it sums up, as far as their segments still exist; those that no segment
    took come with its sequence. Reading a segment ends at its first damage, and continues
    with the next segment; `unread` gets a sentence for each that could not be read whole.
    """
    for segment in _segments(folder):
        path = _segment_path(folder, segment)
        try:
            found = scan(path.read_bytes())
        except FileNotFoundError:
            continue  # no longer kept
        except OSError as error:
            if unread is None:
                raise
            unread.append(f"the journal {path} cannot be read ({(error.strerror or str(error)).lower()})")
            continue
        try:
            records = _records(path, found, segment)
        except JournalUnusable as error:
            if unread is not None:
                unread.append(str(error))
            records = _up_to_an_unknown_kind(found)
        for (sequence, _), record in zip(found.payloads, records, strict=False):
            try:
                unwritten = (
                    [decode_record(bytes(each)) for each in record.unwritten] if isinstance(record, Snapshot) else []
                )
            except msgspec.DecodeError:
                break
            for each in unwritten:
                yield sequence, each
            yield sequence, record


def newest_records(folder: Path) -> list[Record]:
    """The records that a router would go on from, without its lock and without any change:
    those of the newest segment; none without a journal.

    Raises JournalUnusable when it must not be traded on, OSError when it cannot be read.
    """
    segments = _segments(folder)
    if not segments:
        return []
    path = _segment_path(folder, segments[-1])
    return _records(path, scan(path.read_bytes()), segments[-1])


def copy_journal(folder: Path, target: Path) -> int:
    """Copy what is kept of a journal, while a router may be writing it; returns the
    sequence of the last record that was copied. `target` is an empty folder.

    The copy is the journal as it was when copying began, or a little later: the newest
    segment is copied up to its last complete record, and one that is begun meanwhile is
    left out. Raises JournalUnusable when there is none, or it must not be traded on.
    """
    segments = _segments(folder)
    if not segments:
        raise JournalUnusable(
            f"there is no journal in {folder}; it begins when an engine first trades, --state-dir names another place"
        )
    last = 0
    for segment in segments:
        path = _segment_path(folder, segment)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if segment == segments[-1]:
                raise
            continue  # no longer kept
        if segment == segments[-1]:
            found = scan(content)
            records = _records(path, found, segment)
            content = content[: found.end]
            last = (found.header.first_sequence if found.header is not None else 1) + len(records) - 1
        copy = os.open(_segment_path(target, segment), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(copy, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(copy)
    return last


def journal_end(folder: Path) -> str:
    """Where a journal ends: its newest segment, and its length in bytes. Another text after
    every record; empty when there is no journal.
    """
    segments = _segments(folder)
    if not segments:
        return ""
    path = _segment_path(folder, segments[-1])
    return f"{path.name} {path.stat().st_size}"


def last_sequence(folder: Path) -> int:
    """The sequence of the last record of a journal; 0 when there is none that can be
    read.
    """
    for segment in reversed(_segments(folder)):
        with suppress(OSError):
            found = scan(_segment_path(folder, segment).read_bytes())
            if found.header is not None:
                return found.header.first_sequence + len(found.payloads) - 1
    return 0


def _segment_path(folder: Path, segment: int) -> Path:
    return folder / f"{segment:08d}{SUFFIX}"


def _segments(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def _records(path: Path, found: Scan, segment: int) -> list[Record]:
    """The decoded records of a scan; JournalUnusable if any cannot be trusted."""
    if found.damage is not None:
        raise JournalUnusable(_damaged(path, *found.damage))
    header = found.header
    if header is not None and header.version != VERSION:
        whose = "a newer" if header.version > VERSION else "an older"
        raise JournalUnusable(
            f"the journal {path} has format {header.version} and was written by {whose} engine, this one reads format "
            f"{VERSION}; start with the engine that wrote it, or {_moving(path.parent)}"
        )
    if header is not None and header.segment != segment:
        raise JournalUnusable(_damaged(path, 0, 0, f"it says that it is segment {header.segment}"))
    records: list[Record] = []
    for _, payload in found.payloads:
        try:
            records.append(decode_record(payload))
        except msgspec.DecodeError:
            raise JournalUnusable(
                f"record {len(records) + 1} of the journal {path} is of a kind that this engine does not know; start "
                f"with the engine that wrote it, or {_moving(path.parent)}"
            ) from None
    if segment > 1 and not (records and isinstance(records[0], Snapshot)):
        raise JournalUnusable(
            _damaged(path, HEADER_BYTES, 1, "it is not the snapshot that a later segment begins with")
        )
    return records


def _up_to_an_unknown_kind(found: Scan) -> list[Record]:
    records: list[Record] = []
    with suppress(msgspec.DecodeError):
        for _, payload in found.payloads:
            records.append(decode_record(payload))
    return records


def _moving(folder: Path) -> str:
    # All of them: the segment before would be gone on from, with positions of its time.
    return (
        f"move all segments of the journal aside (mkdir -p {folder}/aside && mv {folder}/*{SUFFIX} {folder}/aside): "
        "open orders and balances are then taken from Kraken, positions begin at zero"
    )


def _damaged(path: Path, offset: int, record: int, what: str) -> str:
    place = f"record {record}, at byte {offset}" if record else "its header"
    return (
        f"the journal {path} is damaged at {place}: {what}; nothing is traded on it. To start again, "
        f"{_moving(path.parent)}"
    )


def _close(fd: int) -> None:
    """Close a file that nobody needs any more; -1 is none. An error concerns nobody either."""
    if fd >= 0:
        with suppress(OSError):
            os.close(fd)


def _write_whole(fd: int, content: bytes) -> None:
    if len(content) > RECORD_BYTES_MAX:
        raise OSError(errno.EFBIG, f"{len(content)} bytes in one record")
    if (written := os.write(fd, content)) != len(content):
        raise OSError(errno.ENOSPC, f"only {written} of {len(content)} bytes fitted")


def _fallocate(fd: int, offset: int, length: int) -> None:
    """fallocate(2) with FALLOC_FL_KEEP_SIZE, which does not change the file's length;
    Python has only `posix_fallocate`, which does.

    It lasts until the file is truncated, beyond the end of this process. Raises OSError if
    there is no space, or the file system reserves none.
    """
    if _libc.fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
