"""Which implementation of the hot paths runs in this process: the compiled one, or the
portable one in plain Python.

The compiled one is `engine.native.core` and `engine.native.orders`, an extension that is
built at installation where there is a C compiler. Both have the same interfaces and the
same memory formats, so that
processes of either kind work together; a package that has two implementations of something
chooses here, once, when it is imported. The fallback is never silent: `engine status`,
`engine check`, a run's summary and the benchmarks show `DESCRIPTION`.
"""

import os
import sys
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any, Final

PORTABLE_VARIABLE: Final = "ENGINE_PORTABLE"  # set to anything but 0 or nothing: the portable implementation, please


def source_hash(folder: Path) -> str:
    """A name for what an extension is built from; empty where the sources do not lie in the
    folder.
    """
    sources = sorted((*folder.glob("*.pyx"), *folder.glob("*.pxd"), *folder.glob("*.h")))
    if not sources:
        return ""
    digest = blake2b(digest_size=8)
    for path in sources:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _choose() -> tuple[Any, Any, str]:
    """The extension's modules, or None for each and why not."""
    if os.environ.get(PORTABLE_VARIABLE, "0") not in ("", "0"):
        return None, None, f"{PORTABLE_VARIABLE} is set"
    try:
        core, orders = import_module("engine.native.core"), import_module("engine.native.orders")
    except ModuleNotFoundError as error:
        if error.name not in ("engine.native.core", "engine.native.orders"):
            return None, None, f"the extension cannot be loaded: {error}"
        return None, None, "the extension is not built; tools/setup builds it where there is a C compiler"
    except ImportError as error:
        return None, None, f"the extension cannot be loaded: {error}"
    expected = source_hash(Path(__file__).parent) or core.SOURCE_HASH
    if {core.SOURCE_HASH, orders.SOURCE_HASH} != {expected}:
        return None, None, "the extension was built from other sources than those beside it; run tools/setup"
    # Records and commands are little-endian: the orders' side reads them where they lie.
    return core, orders if sys.byteorder == "little" else None, ""


def find_listener(picows_version: str) -> tuple[Any, str]:
    """The compiled listener, for whoever has imported picows, whose C interface it uses; or
    None and why not.
    """
    if CORE is None:
        return None, WHY_PORTABLE
    try:
        module = import_module("engine.native.listener")
    except ImportError as error:
        return None, f"the compiled listener cannot be loaded: {error}"
    if module.SOURCE_HASH != CORE.SOURCE_HASH:
        return None, "the compiled listener was built from other sources than the rest; run tools/setup"
    if picows_version != module.PICOWS_VERSION:
        versions = f"picows {module.PICOWS_VERSION}, and {picows_version} is installed"
        return None, f"the compiled listener was built for {versions}; run tools/setup"
    return module, ""


CORE, ORDERS, WHY_PORTABLE = _choose()  # the market's side and the rings; the orders' side
IS_NATIVE: Final[bool] = CORE is not None
DESCRIPTION: Final[str] = "yes" if IS_NATIVE else f"no ({WHY_PORTABLE})"
"""After "native: "."""
