"""The version of this package, as it was installed."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

PACKAGE: Final = "kraken-engine"
UNKNOWN: Final = "unknown"


def engine_version() -> str:
    """`0.1.0`; UNKNOWN where the package is used without being installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return UNKNOWN
