"""The checksum in C is zlib's, on any machine."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.native import CORE

pytestmark = pytest.mark.skipif(CORE is None, reason="there is no extension")


def test_every_length_of_two_tops():
    """With carry-less multiplication and without: whole blocks, rests of them, nothing."""
    text = bytes(range(256)) * 4
    for size in range(900):
        expected = crc32(text[:size])
        assert CORE.crc32(text[:size]) == CORE.crc32_by_tables(text[:size]) == expected


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_it_continues_another(text, before):
    """As the bids' text continues the asks'."""
    assert CORE.crc32(text, before) == CORE.crc32_by_tables(text, before) == crc32(text, before)
