"""The errors of the engine as a tree; the branch decides the reaction.

EngineError
├── UserError               bad input: one sentence with place and remedy, exit code 2
│   ├── ConfigError         configuration file or command line
│   ├── StrategyError       a strategy that cannot be loaded or set up
│   ├── CaptureError        a capture file that cannot be replayed
│   └── CallError           a call of a program that cannot work
├── OrderRefused            a program's order that was refused or rejected
├── NotAvailable            a program asked for something that did not come in time
├── EngineStopped           a program asked an engine that has ended
├── UnreadableRecord        a ring's slot holds no message: count it, report it, skip it
├── VenueReject             Kraken said no: tell the user what to change
└── MisuseError             our own code broke a rule: crash, never retry
"""

from typing import Any


class EngineError(Exception):
    """The base of every error that the engine raises."""


class UserError(EngineError):
    """The user's input cannot work. Its text is one sentence, shown without a traceback."""


class ConfigError(UserError):
    """A configuration file or a command line that cannot work."""


class StrategyError(UserError):
    """A strategy that cannot be found, imported or given its parameters."""


class CaptureError(UserError):
    """A capture file that holds no Kraken messages."""


class CallError(UserError, ValueError):
    """A call of a program that cannot work; the text says which argument to change."""


class OrderRefused(EngineError):
    """The engine or Kraken refused an order, or a change of one; the text says why, and
    `order.error` of what kind that is and whether trying again can help."""

    def __init__(self, reason: str, order: Any) -> None:
        super().__init__(reason)
        self.order = order
        """The order, as it stands; its `error` has the kind, and says whether trying again
        can help."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.order)


class NotAvailable(EngineError, TimeoutError):
    """Something did not come in time; the text says what, and what stood in the way."""


class EngineStopped(EngineError):
    """The engine has ended; the text says why."""


class VenueReject(EngineError):
    """The venue refused a request; the text says what to change."""


class UnreadableRecord(EngineError):
    """A record in a ring is none of the messages that belong there."""


class MisuseError(EngineError):
    """A rule of our own was broken; the process must not continue."""
