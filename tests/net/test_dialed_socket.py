"""A descriptor is closed by whom it belongs to, and by nobody else."""

import gc
import os
from pathlib import Path

import pytest

from engine.net.dialed_socket import DialedSocket


@pytest.mark.parametrize("end", ["dropped", "closed", "shut"])
def test_what_has_its_number_by_now_stays_open(tmp_path: Path, end: str) -> None:
    """The number of a socket that somebody else has closed."""
    sock = DialedSocket()
    number = sock.fileno()
    os.close(number)
    with (tmp_path / "journal").open("wb") as journal:
        assert journal.fileno() == number
        assert not sock.is_open
        if end == "closed":
            sock.close()
        elif end == "shut":
            sock.shut()
            sock.let_go()
        del sock
        gc.collect()

        assert os.fstat(number)
        journal.write(b"written")
    assert (tmp_path / "journal").read_bytes() == b"written"


def test_its_own_is_closed_once() -> None:
    """As any socket's; and another close changes nothing."""
    sock = DialedSocket()
    number = sock.fileno()
    assert sock.is_open
    sock.close()
    sock.close()

    assert sock.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
