"""The journal: what was written is there, what was torn is cut, what was changed is named and never replayed."""

import errno
import fcntl
import os
import re
import resource
import signal
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from engine.orders import journal as journal_module
from engine.orders.blotter import Blotter, fold
from engine.orders.journal import SEGMENTS_KEPT, Journal, JournalUnusable, read_journal
from engine.orders.journal_format import HEAD_BYTES, HEADER_BYTES, VERSION, pack_header, pack_record, scan
from engine.orders.journal_records import (
    Acknowledged,
    JournalError,
    RunBegan,
    Snapshot,
    Submitted,
    decode_record,
    encode_record,
)
from tests.descriptors import close_as_a_death_would, descriptor_of
from tests.orders.rig import AT, KEY, ORDER_ID, submitted

WRITERS = {"portable": journal_module.portable_write_records, "chosen": journal_module.write_records}


@pytest.fixture(autouse=True, params=WRITERS)
def write_records(request, monkeypatch):
    """Every test of this file with the records written by plain Python, and by what is chosen here."""
    monkeypatch.setattr(journal_module, "write_records", WRITERS[request.param])


RUN = RunBegan(1, "0.1.0", "abcd1234", AT)
ACK = Acknowledged(KEY, ORDER_ID, AT)
RECORDS = [RUN, submitted(), ACK]


def written(folder, records=RECORDS):
    """A closed journal with these records: its only segment."""
    journal, _, _ = Journal.open(folder)
    journal.append_all(records)
    journal.close()
    return folder / "00000001.journal"


def reopened(folder):
    """Records and torn bytes."""
    journal, records, _ = Journal.open(folder)
    torn_bytes = journal.torn_bytes
    journal.close()
    return records, torn_bytes


@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_was_appended_is_read_again(tmp_path, durability):
    """Record by record and several at once, over three openings."""
    journal, records, found = Journal.open(tmp_path / "deep" / "journal", durability=durability)
    assert (records, found.endswith("0 records")) == ([], True)
    journal.append(RUN)
    journal.append_all(RECORDS[1:])
    journal.close()
    journal, records, found = Journal.open(tmp_path / "deep" / "journal", durability=durability)
    journal.append(ACK)
    journal.close()

    assert records == RECORDS
    assert found.endswith("3 records")
    assert reopened(tmp_path / "deep" / "journal") == ([*RECORDS, ACK], 0)


def test_files_are_for_their_owner_alone(tmp_path):
    """A journal tells what somebody owns."""
    path = written(tmp_path / "journal")

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_every_truncation_is_a_torn_tail_that_is_cut_and_written_over(tmp_path):
    """Whole records before it stay; the next append is sound. At the end of a record nothing is torn."""
    whole = written(tmp_path / "whole").read_bytes()
    ends = [HEADER_BYTES]
    for record in RECORDS:
        ends.append(ends[-1] + HEAD_BYTES + len(encode_record(record)))
    assert ends[-1] == len(whole)

    for length in range(len(whole)):
        folder = tmp_path / f"cut-{length}"
        folder.mkdir()
        (folder / "00000001.journal").write_bytes(whole[:length])
        complete = sum(end <= length for end in ends[1:])
        torn = length - max((end for end in ends if end <= length), default=0)

        journal, records, found = Journal.open(folder)
        assert (records, journal.torn_bytes) == (RECORDS[:complete], torn)
        assert ("torn" in found) == bool(torn)
        journal.append(ACK)
        journal.close()
        assert reopened(folder) == ([*RECORDS[:complete], ACK], 0)


def test_zeros_at_the_end_are_a_torn_tail(tmp_path):
    """A loss of power may leave a file its new size without its content."""
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(300))

    assert reopened(tmp_path) == (RECORDS, 300)


def test_every_flipped_byte_is_found_named_and_never_replayed(tmp_path):
    """Anywhere: header, lengths, sequences, checksums, content, of the last record as of the first."""
    whole = written(tmp_path / "whole").read_bytes()
    folder = tmp_path / "flipped"
    folder.mkdir()
    path = folder / "00000001.journal"

    for offset in range(len(whole)):
        flipped = bytearray(whole)
        flipped[offset] ^= 0x41
        path.write_bytes(flipped)

        with pytest.raises(JournalUnusable) as error:
            Journal.open(folder)
        assert str(path) in str(error.value)
        assert path.read_bytes() == flipped, "a damaged journal is evidence, and is left as it is"
        found = scan(bytes(flipped))
        assert [sequence for sequence, _ in found.payloads] == list(range(1, len(found.payloads) + 1))
        if found.damage is not None and found.damage.record:
            place = re.search(r"record (\d), at byte (\d+)", str(error.value))
            assert place is not None
            record, at = map(int, place.groups())
            assert at <= offset
            assert record == len(found.payloads) + 1


@pytest.mark.parametrize("segments", [1, 2])
def test_the_mend_that_the_error_names_works(tmp_path, segments):
    """Moved aside, as the sentence says, the next start begins anew: not with an older segment, whose positions are
    those of its time.
    """
    path = written(tmp_path)
    if segments == 2:
        journal, records, _ = Journal.open(tmp_path)
        journal.compact(fold(records).snapshot(AT))
        path = journal.path
        journal.close()
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    with pytest.raises(JournalUnusable, match="move all segments of the journal aside") as error:
        Journal.open(tmp_path)
    subprocess.run(re.search(r"\((mkdir .*?)\)", str(error.value)).group(1), shell=True, check=True)

    assert reopened(tmp_path) == ([], 0)
    assert len(list((tmp_path / "aside").iterdir())) == segments


@pytest.mark.parametrize("edit", ["removed", "repeated", "swapped"])
def test_whole_records_cannot_be_removed_repeated_or_swapped(tmp_path, edit):
    """Each is sound by itself; the sequence tells."""
    path = written(tmp_path)
    content = path.read_bytes()
    cuts = [HEADER_BYTES]
    for record in RECORDS:
        cuts.append(cuts[-1] + HEAD_BYTES + len(encode_record(record)))
    parts = [content[a:b] for a, b in pairwise(cuts)]
    edits = {"removed": [0, 2], "repeated": [0, 1, 1, 2], "swapped": [0, 2, 1]}
    path.write_bytes(content[:HEADER_BYTES] + b"".join(parts[i] for i in edits[edit]))

    with pytest.raises(JournalUnusable, match="damaged at record"):
        Journal.open(tmp_path)


@pytest.mark.parametrize(("version", "whose"), [(VERSION + 1, "a newer"), (0, "an older")])
def test_a_journal_of_another_version_is_refused_in_one_sentence(tmp_path, version, whose):
    """Never half understood."""
    body = pack_header(1, 1)[:8] + version.to_bytes(4, "little") + pack_header(1, 1)[12:28]
    (tmp_path / "00000001.journal").write_bytes(body + crc32(body).to_bytes(4, "little"))

    with pytest.raises(JournalUnusable, match=f"format {version} and was written by {whose} engine"):
        Journal.open(tmp_path)


def test_a_record_of_a_kind_that_nobody_knows_is_not_skipped(tmp_path):
    """A newer engine wrote it, and what it means for the orders is unknown."""
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(pack_record(len(RECORDS) + 1, b"\x93\xa7unheard\xa1a\x01"))

    with pytest.raises(JournalUnusable, match=r"record 4 .* of a kind that this engine does not know"):
        Journal.open(tmp_path)


def test_two_routers_never_write_one_journal(tmp_path):
    """The second is told which process has it; when that ends, the journal is free."""
    journal, _, _ = Journal.open(tmp_path)
    with pytest.raises(JournalUnusable, match=f"in use by process {os.getpid()}"):
        Journal.open(tmp_path)
    journal.close()

    assert reopened(tmp_path) == ([], 0)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    """With the mend."""
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalUnusable, match="state_dir"):
        Journal.open(tmp_path / "file" / "journal")


def test_a_full_disk_stops_the_order_at_once_and_leaves_no_half_record(tmp_path):
    """What fitted is taken back; when there is room again, the next record is sound."""
    journal, _, _ = Journal.open(tmp_path)
    journal.append_all(RECORDS)
    size = journal.path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, limits[1]))  # the kernel writes 30 bytes of the record
        for _ in range(2):
            with pytest.raises(JournalError, match="cannot be written"):
                journal.append(ACK)
            assert journal.path.stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    journal.append(ACK)
    journal.close()

    assert journal.errors == 2
    assert reopened(tmp_path) == ([*RECORDS, ACK], 0)


def test_a_file_that_cannot_be_put_in_order_takes_nothing_more(tmp_path):
    """Read-only under our feet: half a record might be there, so every append fails until a fresh start."""
    journal, _, _ = Journal.open(tmp_path)
    journal.append(RUN)
    writing = descriptor_of(journal.path)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_APPEND):  # it is writable again the second time, and yet not used
        fd = os.open(journal.path, flags)
        os.dup2(fd, writing)
        os.close(fd)
        with pytest.raises(JournalError, match="start the engine again"):
            journal.append(ACK)
    journal.close()

    assert reopened(tmp_path) == ([RUN], 0)


def test_room_for_a_segment_is_reserved_and_outlives_the_process(tmp_path):
    """Blocks of the disk behind the end of the file, whose size stays what was written."""
    journal, _, _ = Journal.open(tmp_path, segment_bytes_max=100_000)
    journal.append_all(RECORDS)
    journal.close()
    found = journal.path.stat()

    assert found.st_size < 10_000
    assert found.st_blocks * 512 >= journal.reserved_to > 1_000_000
    assert reopened(tmp_path) == (RECORDS, 0)


def test_a_disk_with_little_room_is_not_taken_whole(tmp_path, monkeypatch):
    """A fourth of what is free, at most; and none at all is no error."""
    for free, most in ((400_000, 100_000), (0, 0)):
        disk = os.statvfs(tmp_path)
        fields = [*disk[:4], free // disk.f_frsize, *disk[5:]]
        monkeypatch.setattr(os, "fstatvfs", lambda _, fields=fields: os.statvfs_result(fields))
        journal, _, _ = Journal.open(tmp_path / str(free))
        journal.append_all(RECORDS)
        journal.close()

        assert max(journal.reserved_to - HEADER_BYTES, 0) <= most
        assert reopened(tmp_path / str(free)) == (RECORDS, 0)


def test_a_file_named_lock_is_somebody_elses(tmp_path):
    """The run directory and the state directory may be one: its lock is not the journal's."""
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)

        assert Path(written(tmp_path)).exists()


def test_after_kill_9_every_appended_record_is_there(tmp_path):
    """Without a wait for the disk: the kernel has what `write` took."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from engine.orders.journal import Journal\n"
        "from engine.orders.journal_records import RunBegan\n"
        "journal, _, _ = Journal.open(Path(sys.argv[1]))\n"
        "for run in range(500): journal.append(RunBegan(run, '', '', 0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    records, torn_bytes = reopened(tmp_path)

    assert died.returncode == -signal.SIGKILL
    assert [record.run for record in records] == list(range(500))
    assert torn_bytes == 0


def test_a_new_segment_begins_with_all_that_was_before(tmp_path):
    """The state is the same, the sequence goes on, and old segments are kept up to a bound."""
    journal, _, _ = Journal.open(tmp_path, segment_bytes_max=100)
    blotter = Blotter()
    for number in range(SEGMENTS_KEPT + 3):
        record = submitted(key=f"quoter00001a{number:06}")
        journal.append(record)
        blotter.apply(record)
        assert journal.wants_compaction
        journal.compact(blotter.snapshot(AT))
    journal.append(last := submitted(key="quoter00001azzzzzz"))
    blotter.apply(last)
    journal.close()
    journal, records, _ = Journal.open(tmp_path)
    journal.close()

    assert len(records) == 2
    assert fold(records).state_hash() == blotter.state_hash()
    assert len(list(tmp_path.glob("*.journal"))) == SEGMENTS_KEPT
    sequences = [sequence for sequence, _ in read_journal(tmp_path)]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert sum(isinstance(record, Submitted) for _, record in read_journal(tmp_path)) == SEGMENTS_KEPT


def test_a_long_snapshot_asks_for_no_other_one(tmp_path):
    """A segment is full by what was appended behind its snapshot, however long that is;
    also for the next router, which counts on.
    """
    journal, _, _ = Journal.open(tmp_path, segment_bytes_max=1_000)
    blotter = Blotter()
    appended = 0
    while not journal.wants_compaction:
        record = submitted(key=f"quoter00001a{appended:06}")
        journal.append(record)
        blotter.apply(record)
        appended += 1
    for number in range(10):
        blotter.apply(submitted(key=f"quoter00001b{number:06}"))
    journal.compact(blotter.snapshot(AT))
    assert journal.path.stat().st_size > 2_000
    assert not journal.wants_compaction

    for number in range(appended):
        assert not journal.wants_compaction
        journal.append(submitted(key=f"quoter00001c{number:06}"))
        journal.close()
        journal, _, _ = Journal.open(tmp_path, segment_bytes_max=1_000)
    assert journal.wants_compaction
    journal.close()


def test_room_is_reserved_for_what_follows_a_snapshot(tmp_path):
    """As much as for a segment without one."""
    journal, _, _ = Journal.open(tmp_path, segment_bytes_max=100_000)
    blotter = Blotter()
    for number in range(1_000):
        blotter.apply(submitted(key=f"quoter00001a{number:06}"))
    first = journal.reserved_to
    journal.compact(blotter.snapshot(AT))
    journal.close()

    assert (snapshot_bytes := journal.path.stat().st_size) > 100_000
    assert journal.reserved_to - snapshot_bytes == first - HEADER_BYTES


def test_a_snapshot_of_an_engine_that_knew_no_unwritten_records_is_read():
    """Nor runs or counts: it has two fields."""
    snapshot = Blotter().snapshot(AT)
    tag, blotter, at, *later = msgspec.msgpack.decode(encode_record(snapshot))

    assert later == [[], 0, {}]
    assert decode_record(msgspec.msgpack.encode([tag, blotter, at])) == snapshot


def test_a_crash_while_a_segment_begins_changes_nothing(tmp_path):
    """The unfinished one is thrown away, however much of it was written."""
    written(tmp_path)
    (tmp_path / "00000002.journal-unfinished").write_bytes(b"half")

    assert reopened(tmp_path) == (RECORDS, 0)
    assert not list(tmp_path.glob("*unfinished"))


def test_a_later_segment_without_its_snapshot_is_damage(tmp_path):
    """It would be an empty account where there was a full one."""
    written(tmp_path)
    (tmp_path / "00000002.journal").write_bytes(pack_header(2, 4) + pack_record(4, encode_record(ACK)))

    with pytest.raises(JournalUnusable, match="not the snapshot"):
        Journal.open(tmp_path)


def test_a_segment_under_anothers_name_is_damage(tmp_path):
    """An old file copied over a new one would bring dead orders back to life."""
    written(tmp_path).rename(tmp_path / "00000002.journal")

    with pytest.raises(JournalUnusable, match="segment 1"):
        Journal.open(tmp_path)


def test_a_segment_that_cannot_be_begun_leaves_the_old_one_in_use(tmp_path):
    """Compaction can wait, orders cannot."""
    journal, _, _ = Journal.open(tmp_path)
    journal.append(RUN)
    (tmp_path / "00000002.journal-unfinished").mkdir()
    with pytest.raises(JournalError, match="cannot begin a new segment"):
        journal.compact(Blotter().snapshot(AT))
    (tmp_path / "00000002.journal-unfinished").rmdir()
    journal.append(ACK)
    journal.close()

    assert reopened(tmp_path) == ([RUN, ACK], 0)


class _Died(BaseException):
    """The process is gone: nothing of it runs any more."""


STEPS = ("open the folder", "open the file", "write", "sync the file", "name it", "sync the folder")
"""Of beginning a segment, and how the system is asked for each."""


def _on_steps(monkeypatch, on_step):
    """`on_step` is called with each step before it is done; what it returns, if anything, is called after it."""
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "rename")}

    def stepping(name, step_of):
        def call(*arguments):
            after = on_step(step_of(*arguments))
            done = real[name](*arguments)
            if after is not None:
                after()
            return done

        monkeypatch.setattr(os, name, call)

    stepping("open", lambda path, flags, mode=0: STEPS[0] if flags & os.O_DIRECTORY else STEPS[1])
    stepping("write", lambda *_: STEPS[2])
    stepping("fsync", lambda fd: STEPS[5] if stat.S_ISDIR(os.fstat(fd).st_mode) else STEPS[3])
    stepping("rename", lambda *_: STEPS[4])


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("failing", STEPS)
def test_what_follows_a_segment_that_could_not_be_begun_is_read_again(tmp_path, monkeypatch, failing, code):
    """Whichever of its steps failed: what the journal has taken since is not hidden by a
    later segment, and a next try finds the way free.
    """
    journal, _, _ = Journal.open(tmp_path)
    blotter = Blotter()

    def write(record):
        journal.append(record)
        blotter.apply(record)

    def fail(step):
        if step == failing:
            raise OSError(code, os.strerror(code))

    write(submitted())
    with monkeypatch.context() as context:
        _on_steps(context, fail)
        with pytest.raises(JournalError, match="cannot begin a new segment"):
            journal.compact(blotter.snapshot(AT))
    if not (is_unsure := failing == STEPS[5] or (failing == STEPS[4] and code == errno.EIO)):
        write(ACK)
    else:  # whether it has its name is not known: so nothing follows
        with pytest.raises(JournalError, match="start the engine again"):
            journal.append(ACK)
    journal.close()
    journal, records, _ = Journal.open(tmp_path)
    assert fold(records).state_hash() == blotter.state_hash()
    assert is_unsure or journal.path.name == "00000001.journal"

    journal.compact(blotter.snapshot(AT))
    write(submitted(key="quoter00001azzzzzz"))
    journal.close()
    _, records, _ = Journal.open(tmp_path)
    assert fold(records).state_hash() == blotter.state_hash()


def test_a_segment_that_is_removed_for_certain_leaves_the_old_one_in_use(tmp_path, monkeypatch):
    """The folder could not be synced once, and could when the name was taken back."""
    journal, _, _ = Journal.open(tmp_path)
    journal.append(RUN)
    failures = iter([True])

    def fail_once(step):
        if step == STEPS[5] and next(failures, False):
            raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as context:
        _on_steps(context, fail_once)
        with pytest.raises(JournalError, match="cannot begin a new segment"):
            journal.compact(Blotter().snapshot(AT))
    journal.append(ACK)
    journal.close()

    assert reopened(tmp_path) == ([RUN, ACK], 0)


def test_a_journal_that_took_nothing_more_goes_on_with_the_next_segment(tmp_path, monkeypatch):
    """A try that succeeds has everything, on a disk that was asked for it."""
    journal, _, _ = Journal.open(tmp_path)
    blotter = Blotter()
    journal.append(RUN)
    blotter.apply(RUN)

    def fail(step):
        if step == STEPS[5]:
            raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as context:
        _on_steps(context, fail)
        with pytest.raises(JournalError):
            journal.compact(blotter.snapshot(AT))
    journal.compact(blotter.snapshot(AT))
    journal.append(ACK)
    journal.close()

    assert [type(record) for record in reopened(tmp_path)[0]] == [Snapshot, Acknowledged]


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("last", STEPS)
def test_a_death_at_any_step_of_beginning_a_segment_loses_nothing(tmp_path, monkeypatch, last, place):
    """Before it and after it, the next router finds the same."""
    journal, _, _ = Journal.open(tmp_path)
    blotter = Blotter()
    for record in RECORDS:
        journal.append(record)
        blotter.apply(record)

    def die():
        raise _Died

    def on_step(step):
        if step == last and place == "before":
            die()
        return die if step == last else None

    with monkeypatch.context() as context:
        _on_steps(context, on_step)
        with pytest.raises(_Died):
            journal.compact(blotter.snapshot(AT))
    close_as_a_death_would(tmp_path)
    _, records, _ = Journal.open(tmp_path)

    assert fold(records).state_hash() == blotter.state_hash()
    assert not list(tmp_path.glob("*unfinished"))


def test_the_name_of_a_segment_is_safe_before_records_wait_for_the_disk(tmp_path, monkeypatch):
    """Whoever began it may have died before it synced the folder; then the power may be
    lost, too, with the name and everything behind it.
    """
    written(tmp_path)
    done = []
    with monkeypatch.context() as context:
        _on_steps(context, done.append)
        journal, _, _ = Journal.open(tmp_path, durability="power")
    journal.close()

    assert STEPS[5] in done


def test_an_old_segment_that_cannot_be_removed_is_in_nobodys_way(tmp_path):
    """The others are removed, and the journal goes on."""
    journal, _, _ = Journal.open(tmp_path)
    (tmp_path / "00000000.journal").mkdir()  # the oldest
    for _ in range(SEGMENTS_KEPT + 2):
        journal.compact(Blotter().snapshot(AT))
    journal.append(RUN)
    journal.close()

    assert len(list(tmp_path.glob("*.journal"))) == SEGMENTS_KEPT + 1
    assert reopened(tmp_path)[0][1:] == [RUN]


def test_the_history_is_read_beside_a_router_that_writes(tmp_path):
    """No lock, and half a record at the end is not waited for."""
    journal, _, _ = Journal.open(tmp_path)
    journal.append_all(RECORDS)
    with journal.path.open("ab") as file:
        file.write(pack_record(4, encode_record(ACK))[:25])

    assert [record for _, record in read_journal(tmp_path)] == RECORDS
    journal.close()


@pytest.mark.parametrize("payloads", [(), (b"",), (b"one",), (b"one", bytes(300), b"\xff" * 77)])
def test_records_are_written_as_the_format_says(tmp_path, payloads):
    """Whoever writes them."""
    with (tmp_path / "records").open("wb") as file:
        size = journal_module.write_records(file.fileno(), 2**40, payloads)

    expected = b"".join(pack_record(2**40 + place, payload) for place, payload in enumerate(payloads))
    assert (tmp_path / "records").read_bytes() == expected
    assert size == len(expected)
