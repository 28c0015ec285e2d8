"""Loading the modules of a process at two thirds of what it costs by itself.

A start of the engine is five processes, and most of what each of them does until it works
is importing.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import modules within this block, which may be entered again for more of them.

    No garbage collection walks through what is being imported, in this block or ever after:
    none of it is garbage. That is a fourth of a start, and most of an end.
    """
    gc.disable()
    try:
        _load_structlog()
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_aiohttp() -> None:
    """Import aiohttp without the system's certificates, which it reads twice for callers
    that bring no TLS context of their own; ours do.

    Another 30 ms of a process. For processes in which no code but ours runs: others' would
    find no certificate to trust in aiohttp's own contexts.
    """
    if "aiohttp" in sys.modules:
        return
    from ssl import SSLContext  # not for `engine --help`

    SSLContext.set_default_verify_paths = lambda _: None  # type: ignore[method-assign,assignment]
    try:
        import aiohttp  # noqa: F401
    finally:
        del SSLContext.set_default_verify_paths  # what it inherits holds again


def _load_structlog() -> None:
    """Import structlog without rich, which it would draw tracebacks with; ours are plain.

    Another 30 ms of each process. Who imports rich later gets it.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # importing it fails, as if it were not installed
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
