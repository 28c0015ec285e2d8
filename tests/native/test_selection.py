"""Which implementation runs is decided once, and said; what is not the extension of these sources is not taken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine import native

NATIVE = Path(native.__file__).parent
SHOW = "from engine import native; print(native.DESCRIPTION)"
needs_extension = pytest.mark.skipif(not native.IS_NATIVE, reason="there is no extension to be taken or refused")


def shown(path=None, **environment):
    """What another process says of its implementation, with the package of `path`."""
    variables = {name: value for name, value in os.environ.items() if name != native.PORTABLE_VARIABLE}
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    command = [sys.executable, "-P", "-c", SHOW]
    return subprocess.run(
        command, env=variables | environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A copy of the native package alone, extension and sources."""
    shutil.copytree(NATIVE, tmp_path / "engine" / "native", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "engine" / "__init__.py").touch()
    return tmp_path


@needs_extension
@pytest.mark.parametrize("value", ["", "0"])
def test_the_extension_is_taken_where_it_is_there(value):
    """Also when the variable asks for nothing."""
    assert shown(**{native.PORTABLE_VARIABLE: value}) == "yes"


def test_the_portable_implementation_can_be_asked_for():
    """And then it is said that it was."""
    assert shown(**{native.PORTABLE_VARIABLE: "1"}) == "no (ENGINE_PORTABLE is set)"


@needs_extension
def test_an_extension_of_other_sources_is_refused(package):
    """One that is older than a file it was built from, whatever the files' times say."""
    before = shown(package)
    with (package / "engine" / "native" / "crc32.h").open("a") as source:
        source.write("/* newer */\n")

    assert before == "yes"
    assert shown(package) == "no (the extension was built from other sources than those beside it; run tools/setup)"


@needs_extension
def test_an_extension_without_its_sources_is_taken(package):
    """As it is installed from a wheel that has none."""
    for source in (*(package / "engine" / "native").glob("*.h"), *(package / "engine" / "native").glob("*.pyx")):
        source.unlink()

    assert shown(package) == "yes"


def test_no_extension_is_said(package):
    """Not built, or of another Python."""
    for extension in (package / "engine" / "native").glob("*.so"):
        extension.unlink()

    assert shown(package) == ("no (the extension is not built; tools/setup builds it where there is a C compiler)")


def test_a_broken_extension_is_said(package):
    """What the loader says of it goes along."""
    for extension in (package / "engine" / "native").glob("*.so"):
        extension.unlink()
    (package / "engine" / "native" / "core.py").write_text("raise ImportError('undefined symbol: nothing')\n")

    assert shown(package) == "no (the extension cannot be loaded: undefined symbol: nothing)"
