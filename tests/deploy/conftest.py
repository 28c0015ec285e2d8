"""What is under tools/deploy, tried with real engines."""

from tests.integration.conftest import commands, engines, hangups

__all__ = ["commands", "engines", "hangups"]
