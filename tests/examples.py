"""How many examples a test looks at: a multiple of the profile's, so that a nightly run looks harder everywhere."""

from typing import Any, Final

from hypothesis import settings

OF_PROFILE: Final = settings.default.max_examples


def times(factor: int, **more: Any) -> settings:
    """Settings of a test whose cases are so many times as many as those of a usual one."""
    return settings(max_examples=factor * OF_PROFILE, **more)
