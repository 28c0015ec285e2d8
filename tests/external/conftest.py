"""Tests with programs that pip cannot bring; `tools/check` runs them, `tools/test` leaves them out."""

from tests.integration.conftest import commands, engines

__all__ = ["commands", "engines"]
