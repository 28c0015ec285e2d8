"""The optional extension; everything else of the package is in pyproject.toml.

Optional: without a C compiler the installation succeeds, and the engine runs on its portable implementation.
"""

from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("engine/native")
# As engine/native/__init__.py, which cannot be imported here: an extension that is older than its sources is refused.
SOURCES = sorted((*FOLDER.glob("*.pyx"), *FOLDER.glob("*.pxd"), *FOLDER.glob("*.h")))
DIGEST = blake2b(digest_size=8)
for path in SOURCES:
    DIGEST.update(f"{path.name} {path.stat().st_size}\n".encode())
    DIGEST.update(path.read_bytes())

setup(
    ext_modules=[
        Extension(
            f"engine.native.{name}",
            [f"engine/native/{name}.pyx"],
            depends=[str(path) for path in SOURCES],
            include_dirs=["engine/native"],
            define_macros=[
                ("ENGINE_SOURCE_HASH", f'"{DIGEST.hexdigest()}"'),
                ("ENGINE_PICOWS_VERSION", f'"{version("picows")}"'),  # whose C interface the listener is built for
            ],
            # A fused multiply and add would round otherwise than Python does.
            extra_compile_args=["-O3", "-g0", "-ffp-contract=off", "-fno-strict-aliasing"],
            optional=True,
        )
        for name in ("core", "listener")
    ]
)
