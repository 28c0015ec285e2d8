"""Hypothesis profiles.

`HYPOTHESIS_PROFILE=nightly tools/test tests/market tests/kraken` looks a hundred times as hard.
"""

import os

from hypothesis import settings

# The cores of a test machine are shared: a slow example is no failure.
settings.register_profile("default", max_examples=50, stateful_step_count=25, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=5_000, stateful_step_count=100, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
