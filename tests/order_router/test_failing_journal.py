"""While the journal cannot be written nothing is sent; when it can be again, it has
everything, and trading goes on.
"""

from pathlib import Path

from engine.order_router.core.commit import SEGMENT_RETRY_NS
from engine.orders.journal import Journal
from engine.units import NS_PER_S
from tests.order_router.rig import RouterRig


def test_a_segment_that_cannot_be_begun_is_tried_again_after_a_while(tmp_path: Path) -> None:
    """Each try sums up all orders, and orders wait for it."""
    journal, _, _ = Journal.open(tmp_path, segment_bytes_max=1)
    (tmp_path / "00000002.journal-unfinished").mkdir()
    rig = RouterRig(journal=journal)
    rig.core.begin()
    rig.work_for(SEGMENT_RETRY_NS // 2)
    assert journal.errors == 1

    (tmp_path / "00000002.journal-unfinished").rmdir()
    rig.work_for(SEGMENT_RETRY_NS // 2 + NS_PER_S)
    assert journal.path.name == "00000002.journal"
    journal.close()
