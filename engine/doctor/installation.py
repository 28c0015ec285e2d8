"""Whether this Python has what the engine needs, in versions that it works with."""

import platform
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Final

from engine.kraken_rest.preflight import Finding, Level
from engine.native import DESCRIPTION, IS_NATIVE
from engine.telemetry.version import PACKAGE

_REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9_.-]+)\s*>=\s*([0-9][0-9.]*)\s*$")


def installation_findings() -> list[Finding]:
    """Python, each library, and the implementation that runs."""
    return [_python(), *library_findings(required()), native_finding()]


def native_finding() -> Finding:
    """Which implementation of the hot paths runs."""
    return Finding("native", Level.OK if IS_NATIVE else Level.ADVICE, DESCRIPTION)


def required() -> list[str]:
    """What the package requires, as it was built: `picows>=2.1`; without its extras."""
    try:
        return [text for text in metadata.requires(PACKAGE) or () if ";" not in text]
    except metadata.PackageNotFoundError:
        return []


def library_findings(requirements: Sequence[str]) -> list[Finding]:
    """One finding for all libraries that are as they should be, and one for each that is
    not.
    """
    mend = f"run: pip install --upgrade {PACKAGE}"
    if not requirements:
        text = f"the package {PACKAGE} is not installed here, so nothing tells which libraries it needs; {mend}"
        return [Finding("libraries", Level.WARNING, text)]
    findings, good = [], []
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        name, least = (found[1], found[2]) if found else (requirement, "")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(Finding("libraries", Level.FAILURE, f"{name} is not installed; {mend}"))
            continue
        if least and _number(version) < _number(least):
            text = f"{name} {version} is older than {least}, which the engine needs; {mend}"
            findings.append(Finding("libraries", Level.FAILURE, text))
        else:
            good.append(f"{name} {version}")
    return [Finding("libraries", Level.OK, ", ".join(good)), *findings] if good else findings


def _python() -> Finding:
    # Nothing older than the package allows gets as far as here.
    return Finding("python", Level.OK, f"{platform.python_implementation()} {platform.python_version()}")


def _number(version: str) -> tuple[int, ...]:
    """1.24.1rc2 as (1, 24, 1): enough to compare a release with the least one."""
    numbers = []
    for part in version.split("."):
        digits = re.match(r"\d+", part)
        if digits is None:
            break
        numbers.append(int(digits[0]))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
