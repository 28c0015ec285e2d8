"""The simulated disk: nothing of the journal is written past it."""

import pytest

from engine.orders.journal import Journal
from engine.orders.journal_records import JournalError, RunBegan
from engine.units import WallNs
from tests.simulate.disk import SimDisk
from tests.simulate.kernel import Death, Kernel, Process


@pytest.fixture
def disk():
    """The disk of a kernel, mounted."""
    kernel = Kernel(1)
    disk = SimDisk(kernel, kernel.rng("disk"))
    with disk.mounted():
        yield disk
    disk.close()


def began(run: int) -> RunBegan:
    return RunBegan(run, "simulated", "the key's", WallNs(1))


def test_a_full_disk_takes_no_record(disk):
    """Whichever implementation the records are written by."""
    journal, _, _ = Journal.open(disk.folder)
    before = disk.writes
    journal.append(began(1))
    disk.is_full = True
    with pytest.raises(JournalError):
        journal.append_all([began(2), began(3)])
    journal.close()

    assert disk.writes == before + 2


def test_a_writer_that_is_doomed_dies_in_the_middle_of_a_record(disk):
    """What it had written by then is cut off by who opens the journal next."""
    journal, _, _ = Journal.open(disk.folder)
    process = disk.writer = Process(Kernel(1), "order_router")
    process.begin()
    process.doom(1)
    with pytest.raises(Death):
        journal.append(began(1))
    journal.close()
    disk.writer = None
    journal, records, _ = Journal.open(disk.folder)
    journal.close()

    assert records == []
    assert journal.torn_bytes > 0
