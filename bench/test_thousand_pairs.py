"""A thousand pairs in one feed: what their books take, and how fast they go.

Target: under 5 MB.
"""

import logging
import tracemalloc
from statistics import median
from typing import Any

import structlog
from feed_path import FeedPath
from rig import CAPTURE_DEPTH_10, book_frames, decode_baseline, interleave

from engine.kraken.public.messages import decode_exact_book
from engine.market.book import CHECKSUM_LEVELS
from engine.market.books import Book

PAIRS = 1000
ROUNDS = 7
MEMORY_MB_TARGET = 5.0
CAPTURED = b'"BTC/USD"'

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def symbols() -> tuple[str, ...]:
    """P0000/USD … P0999/USD."""
    return tuple(f"P{number:04}/USD" for number in range(PAIRS))


def frames_of_all_pairs() -> list[bytes]:
    """A stretch of the genuine BTC/USD stream, once a pair, the pairs in turn."""
    stretch = [frame for frame in book_frames(CAPTURE_DEPTH_10) if CAPTURED in frame][:20]
    return [frame.replace(CAPTURED, f'"{symbol}"'.encode()) for frame in stretch for symbol in symbols()]


def test_memory_of_a_thousand_books(benchmark: Any) -> None:
    """All books at depth 10, full on both sides, with everything that they keep."""
    snapshot = next(frame for frame in book_frames(CAPTURE_DEPTH_10) if CAPTURED in frame)
    data = decode_baseline(snapshot).data[0]
    assert len(decode_exact_book(snapshot).data[0].bids) == CHECKSUM_LEVELS

    def make() -> list[Book]:
        books = []
        for _ in range(PAIRS):
            book = Book(10, 1, 8)
            book.apply(data.bids, data.asks)
            books.append(book)
        return books

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    books = make()
    megabytes = (tracemalloc.get_traced_memory()[0] - before) / 1e6
    tracemalloc.stop()
    assert all(book.checksum() == data.checksum for book in books)
    benchmark.pedantic(make, rounds=3)
    benchmark.extra_info.update(megabytes=round(megabytes, 2), megabytes_target=MEMORY_MB_TARGET)


def test_a_thousand_pairs_in_one_feed(benchmark: Any) -> None:
    """Every message is of another pair than the one before: nothing stays in the caches."""
    frames, names = frames_of_all_pairs(), symbols()
    memory = FeedPath.new_memory(names)

    def path() -> None:
        fed = FeedPath(names, memory)
        fed.take(frames)
        assert fed.verified == len(frames)

    def baseline() -> None:
        for frame in frames:
            decode_baseline(frame)

    path_s, decode_s = interleave(ROUNDS, path, baseline)
    benchmark.pedantic(path, rounds=1)
    path_us, decode_us = (median(seconds) / len(frames) * 1e6 for seconds in (path_s, decode_s))
    benchmark.extra_info.update(
        path_us=round(path_us, 2),
        decode_us=round(decode_us, 3),
        ratio=round(path_us / decode_us, 1),
        messages_per_s=round(1e6 / path_us),
    )
