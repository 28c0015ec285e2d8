"""Serves the metrics by HTTP until the process is asked to end."""

from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

from engine.attach.attachment import Attachment
from engine.errors import ConfigError
from engine.metrics.collector import EngineCollector


class MetricsServer:
    """Serves the metrics of the engine behind a control socket at http://address:port/metrics."""

    def __init__(self, control_path: Path, address: str, port: int) -> None:
        """Begin to serve, from threads of its own; port 0 takes a free one.

        Raises ConfigError when the port is taken, or the address is none of this host.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(EngineCollector(Attachment(control_path)))
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except (OSError, OverflowError, UnicodeError) as error:  # the last of a name that no host can have
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise ConfigError(
                f"the metrics cannot be served at {address}:{port} ({reason}); choose another place with --address and "
                "--port, or metrics.address and metrics.port of the configuration"
            ) from None
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
