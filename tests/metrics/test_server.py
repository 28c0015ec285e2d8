"""Where the metrics are served."""

from pathlib import Path
from urllib.request import urlopen

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
