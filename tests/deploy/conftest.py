"""What is under tools/deploy, tried with real engines."""

from tests.integration.conftest import commands, engines

__all__ = ["commands", "engines"]
