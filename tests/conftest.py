"""Hypothesis profiles, and a log that costs nothing.

`HYPOTHESIS_PROFILE=nightly tools/test tests/market tests/kraken` looks a hundred times as hard.
"""

import gc
import os
import resource

import pytest
import structlog
from hypothesis import settings

# Files that take longest, for tools/test gives files to its workers in this order: what begins last ends last. Some
# that compute are among those that wait for processes, for what these leave of the cores.
LONGEST_FIRST = (
    "test_pages", "test_trading_degraded", "test_trading_account", "test_simulate", "test_trading_deaths", "test_ends",
    "test_trading_retries", "test_deaths_between_steps", "test_faults", "test_trading_kills", "test_output",
    "test_trading_hangs", "test_brackets", "test_trading_journal", "test_trading_precision", "test_trading_strategies",
    "test_main_job", "test_check",
)  # fmt: skip
# Of those that compute, first of the rest.
COMPUTE_LONGEST = ("test_market_day", "test_cells_of_doubt", "test_kill", "test_update_law", "test_two_processes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait for processes first, longest first: the others, which only compute,
    fill what they leave.
    """

    def rank(item: pytest.Item) -> tuple[int, int]:
        name = item.path.stem
        if name in LONGEST_FIRST:
            return 0, LONGEST_FIRST.index(name)
        if "integration" in item.path.parts:
            return 1, 0
        return 2, COMPUTE_LONGEST.index(name) if name in COMPUTE_LONGEST else len(COMPUTE_LONGEST)

    items.sort(key=rank)


# Eight thousand tests and their modules are no garbage: nothing walks through them while they
# are collected, and no collection does ever after.
gc.disable()
# After that, with Python's own numbers, a twentieth of what the tests compute was collections:
# what they keep, such as the syntax trees of our files, is walked through again and again.
GC_THRESHOLDS = (20_000, 20, 50)


def pytest_collection_finish() -> None:
    """From here on there is garbage."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


# No more descriptors than a fresh machine allows: tests that keep them, and code that needs
# more, show here too.
DESCRIPTORS_MAX = 1024
allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
if allowed == resource.RLIM_INFINITY or allowed > DESCRIPTORS_MAX:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, most))

# Left alone structlog tells the time of each line, in columns and colors: a twentieth of what
# the tests of orders take, for lines that only a failed test shows.
structlog.configure(
    processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["level", "event"], repr_native_str=False)]
)  # fmt: skip

# The cores of a test machine are shared: a slow example is no failure.
settings.register_profile("default", max_examples=30, stateful_step_count=25, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=5_000, stateful_step_count=100, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
