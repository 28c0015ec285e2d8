"""What another user of this computer may not see."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def as_somebody_else(folder: Path) -> Iterator[None]:
    """For who is root, as another user; else the folder is closed to its owner, too."""
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    else:
        folder.chmod(0)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        else:
            folder.chmod(0o700)
