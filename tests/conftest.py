"""Hypothesis profiles, and a log that costs nothing.

`HYPOTHESIS_PROFILE=nightly tools/test tests/market tests/kraken` looks a hundred times as hard.
"""

import os

import structlog
from hypothesis import settings

# Left alone structlog draws each traceback with rich, its source in colors: 50 ms for a line that nobody reads.
structlog.configure(
    processors=[*structlog.get_config()["processors"][:-1],
                structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
)  # fmt: skip

# The cores of a test machine are shared: a slow example is no failure.
settings.register_profile("default", max_examples=50, stateful_step_count=25, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=5_000, stateful_step_count=100, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
