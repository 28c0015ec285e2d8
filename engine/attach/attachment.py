"""The engine of one name, attached whenever it runs."""

from contextlib import suppress
from pathlib import Path

from engine.attach.engine import AttachedEngine
from engine.net.control_socket import NobodyListens


class Attachment:
    """Attaches to the engine behind a control socket, and again when another one has taken
    its place."""

    def __init__(self, control_path: Path) -> None:
        self._control_path = control_path
        self._engine: AttachedEngine | None = None

    def engine(self) -> AttachedEngine | None:
        """The running engine; None if there is none.

        Raises ConfigError for an engine of another version.
        """
        if self._engine is not None and not self._engine.is_alive:
            self.close()
        if self._engine is None:
            with suppress(NobodyListens):
                self._engine = AttachedEngine.open(self._control_path)
        return self._engine

    def close(self) -> None:
        """Detach from the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
