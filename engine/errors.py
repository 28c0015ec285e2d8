"""What can go wrong, as a tree; the branch decides the reaction.

EngineError
├── UserError               bad input: one sentence that names the place and the mend, exit code 2
│   ├── ConfigError         configuration file or command line
│   ├── StrategyError       a strategy that cannot be loaded or set up
│   └── CaptureError        a capture file that cannot be replayed
├── UnreadableRecord        a slot of a ring holds no message: count it, tell it, go on with the next
├── VenueReject             Kraken said no: tell the user what to change
└── MisuseError             our own code broke a rule: crash, never retry
"""


class EngineError(Exception):
    """Any error of the engine's own."""


class UserError(EngineError):
    """Something the user gave us cannot work. Its text is one sentence, shown as it is, without a traceback."""


class ConfigError(UserError):
    """A configuration file or a command line that cannot work."""


class StrategyError(UserError):
    """A strategy that cannot be found, imported or given its parameters."""


class CaptureError(UserError):
    """A capture file that holds no Kraken messages."""


class VenueReject(EngineError):
    """The venue refused a request; the text says what to change."""


class UnreadableRecord(EngineError):
    """A record in a ring is none of the messages that belong there."""


class MisuseError(EngineError):
    """A rule of our own was broken; the process must not go on."""
