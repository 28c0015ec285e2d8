"""Texts that must not be shown: how they are held, where they come from, and how they reach
the one process that needs them.
"""

from engine.secret.secret import FORGOTTEN_MAX, REDACTED, Secret, fingerprint, redact, redact_secrets

__all__ = ["FORGOTTEN_MAX", "REDACTED", "Secret", "fingerprint", "redact", "redact_secrets"]
