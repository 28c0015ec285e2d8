"""The libraries that the engine needs, in the versions that it needs."""

from importlib import metadata

import pytest

from engine.doctor.installation import installation_findings, library_findings, required
from engine.kraken_rest.preflight import Level


def test_this_installation_is_whole() -> None:
    """Every requirement of the package is looked up, and told with its version."""
    findings = {finding.name: finding for finding in installation_findings()}

    assert findings.keys() == {"python", "libraries", "native"}
    assert findings["libraries"].level is Level.OK
    assert len(required()) > 5
    assert all(name.partition(">=")[0] in findings["libraries"].text for name in required())


@pytest.mark.parametrize(
    ("requirement", "level", "text"),
    [
        ("no-such-library>=1.0", Level.FAILURE, "no-such-library is not installed; run: pip install"),
        ("click>=999.1", Level.FAILURE, f"click {metadata.version('click')} is older than 999.1"),
        ("click>=8", Level.OK, f"click {metadata.version('click')}"),
        (f"click>={metadata.version('click')}.0", Level.OK, "click"),
    ],
)
def test_a_library_that_is_missing_or_old_is_named(requirement: str, level: Level, text: str) -> None:
    """With the command that mends it."""
    (finding,) = library_findings([requirement])

    assert finding.level is level
    assert text in finding.text


def test_what_is_well_is_told_beside_what_is_not() -> None:
    """One line for all good ones, one for each other."""
    findings = library_findings(["click>=8", "no-such-library>=1.0", "rich>=13"])

    assert [finding.level for finding in findings] == [Level.OK, Level.FAILURE]


def test_an_engine_without_its_package_says_so() -> None:
    """Then nothing tells what it needs."""
    (finding,) = library_findings([])

    assert finding.level is Level.WARNING
