"""Where the metrics are served."""

from pathlib import Path
from urllib.request import urlopen

import pytest

from engine.errors import ConfigError
from engine.metrics.server import MetricsServer


def test_the_url_of_an_ipv6_address_can_be_asked(tmp_path: Path) -> None:
    """It has brackets."""
    server = MetricsServer(tmp_path / "control", "::1", 0)
    try:
        assert server.url.startswith("http://[::1]:")
        with urlopen(server.url, timeout=10) as answer:
            assert b"kraken_engine_up 0" in answer.read()
    finally:
        server.close()


@pytest.mark.parametrize("address", ["a..b", "x" * 64, "no such host", ""])
def test_an_address_that_is_none_is_one_sentence(tmp_path: Path, address: str) -> None:
    """Also a name that no host can have."""
    with pytest.raises(ConfigError, match=r"cannot be served at .*; choose another place with --address and --port"):
        MetricsServer(tmp_path / "control", address, 0)
