"""What the log of a process would say of lines that a test has captured."""

from engine.telemetry.log_limit import LogLimit


class Said:
    """The lines that pass the limit of all lines, at the times that the test gives."""

    def __init__(self):
        self._limit = LogLimit()
        self.lines = []

    def take(self, entries, now):
        """Take captured lines, and those that were left out and whose turn has come."""
        for entry in entries:
            line = self._limit.take(entry["event"], dict(entry), now)
            self.lines += [] if line is None else [line]
        self.lines += self._limit.due(now)

    def of(self, event):
        """The fields of each line of an event."""
        return [line.fields for line in self.lines if line.fields["event"] == event]
