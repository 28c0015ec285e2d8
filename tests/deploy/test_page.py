"""The page about deployment: its files and settings exist."""

import re
import shlex
from pathlib import Path

from tests import reference

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "engine" / "docs" / "deployment.md").read_text()
BLOCKS = re.sub(r" \\\n\s*", " ", "\n".join(re.findall(r"^```\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)))


def test_every_file_is_there() -> None:
    """What is copied, built from or named."""
    named = set(re.findall(r"tools/deploy/[\w/@.-]*\w", TEXT)) | set(re.findall(r"tests/[\w/.]*\w", TEXT))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
    assert {word for line in BLOCKS.splitlines() for word in shlex.split(line) if word.startswith("tools/")} <= named


def test_every_setting_is_one() -> None:
    """`trading.on_stop` and the like."""
    words = set(re.findall(r"`((?:trading|engine|feed|metrics|log|page)\.\w+)", TEXT))
    known = {setting.path for setting in reference.settings()}
    files = {word for word in words if word.endswith((".toml", ".log"))}
    assert words - files - known == set()
