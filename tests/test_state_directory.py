"""The number of a run: it grows, whatever the file holds."""

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.orders import client_order_id
from engine.orders.client_order_id import client_order_ids
from engine.state_directory import RUN_MAX, next_run, state_root


@pytest.mark.parametrize("content", [b"\xff", "²".encode(), b"9999999999", b"9" * 5000, b"", b"-1", b"2176782335\n"])
def test_a_damaged_file_is_taken_for_none(tmp_path: Path, content: bytes) -> None:
    """The clock tells a number that fits into a client order id."""
    (tmp_path / "run").write_bytes(content)
    run = next_run(tmp_path)

    assert next(client_order_ids("quotes", run))
    assert next_run(tmp_path) > run
    assert RUN_MAX == client_order_id.RUN_MAX


def test_a_home_that_is_empty_is_none() -> None:
    """It would be the root of the file system."""
    with pytest.raises(ConfigError, match="no home directory"):
        state_root({"HOME": ""})
