"""The one TLS context of the engine: verification on, host name checked, TLS 1.2 or newer.

No certificate is pinned: Kraken is behind Cloudflare, which rotates them.
"""

import ssl
from pathlib import Path

from engine.errors import ConfigError


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the system's authorities, and those in `ca_file` (PEM).

    Raises ConfigError when the file cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise ConfigError(f"{ca_file} holds no certificates in PEM form; give a file of CA certificates") from None
        except OSError as error:
            raise ConfigError(f"{ca_file} cannot be read as a CA file: {error.strerror or error}") from None
    return context
