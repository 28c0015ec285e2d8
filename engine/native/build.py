"""How the extensions are compiled.

pyproject.toml names this class, and setuptools loads this file by itself, with nothing of
the engine imported.
"""

from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext


class BuildExtensions(build_ext):
    """Writes into each extension what it is built from, so that one that does not fit is
    refused when it is loaded.
    """

    parallel: int | None

    def finalize_options(self) -> None:
        """Compile the extensions side by side: one takes two thirds of the time of all."""
        super().finalize_options()
        self.parallel = self.parallel or len(self.extensions)

    def build_extension(self, ext: Extension) -> None:
        """Compile one extension; as an optional one, it may fail without failing the
        installation.
        """
        folder = Path("engine/native")
        # As `engine.native.source_hash`, which cannot be imported here.
        sources = sorted((*folder.glob("*.pyx"), *folder.glob("*.pxd"), *folder.glob("*.h")))
        digest = blake2b(digest_size=8)
        for path in sources:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
        ext.depends = [str(path) for path in sources]
        ext.define_macros = [
            ("ENGINE_SOURCE_HASH", f'"{digest.hexdigest()}"'),
            # Whose C interface the listener is built for.
            ("ENGINE_PICOWS_VERSION", f'"{version("picows")}"'),
        ]
        super().build_extension(ext)
