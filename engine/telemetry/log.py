"""Logs: structlog to standard error, for people or as JSON, never a line per frame, never a secret.

Lines that come again and again are said now and then, with how many were left out (`log_limit`); those of a strategy's
own log are its author's and are all written. Secrets are looked for twice: by the names of what is logged, and in each
finished line, tracebacks included.
"""

import atexit
import logging
import sys
import threading
import traceback
from contextlib import suppress
from types import TracebackType
from typing import Literal, TextIO, cast

import structlog

from engine.clock import SystemClock
from engine.secret import redact, redact_secrets
from engine.telemetry.log_limit import Line, LogLimit

LogFormat = Literal["console", "json"]
UNLIMITED = "_unlimited"  # bound to a logger, whose lines are all written

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_log(level: str, log_format: LogFormat, actor: str) -> None:
    """Set up the logs of this process; every line names the actor that wrote it."""
    renderer: structlog.types.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=24,
            # The default one shows the variables of every frame.
            exception_formatter=structlog.dev.plain_traceback,
        )
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_actor(actor),
        redact_secrets,
    ]
    if log_format == "json":
        processors.append(structlog.processors.format_exc_info)
    stream = _Unfailing(sys.stderr)
    limited = _Limited(_redacted(renderer), stream)
    structlog.configure(
        processors=[*processors, limited],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # One write a line: several processes share the stream.
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, stream)),
        cache_logger_on_first_use=False,
    )
    # picows and asyncio log through the standard library: warnings and worse go to the same stream.
    lines = logging.StreamHandler(cast(TextIO, stream))
    lines.addFilter(limited.admits)
    lines.setFormatter(_RedactedLines(f"%(levelname)s {actor} %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    sys.excepthook = _show_uncaught
    threading.excepthook = lambda it: _show_uncaught(it.exc_type, it.exc_value, it.exc_traceback)


def say_left_out() -> None:
    """Write the lines that were left out and whose turn has come; each process calls it about once a second."""
    if _limited is not None:
        _limited.say_left_out()


def _say_the_rest() -> None:
    if _limited is not None:
        _limited.say_left_out(all_of_them=True)


class _Limited:
    """The last processor: the line, or nothing for one that is left out."""

    def __init__(self, render: structlog.types.Processor, stream: "_Unfailing") -> None:
        global _limited
        self._render = render
        self._stream = stream
        self._limit = LogLimit()
        self._mono_ns = SystemClock().mono_ns
        # Several threads log: strategies have one of their own.
        self._lock = threading.Lock()
        if _limited is None:
            atexit.register(_say_the_rest)
        _limited = self

    def __call__(self, logger: object, method: str, event: structlog.types.EventDict) -> str:
        if event.pop(UNLIMITED, False):
            return str(self._render(logger, method, event))
        with self._lock:
            line = self._limit.take(str(event.get("event")), dict(event), self._mono_ns())
        if line is None:
            raise structlog.DropEvent
        return self._text(line, logger, method)

    def admits(self, record: logging.LogRecord) -> bool:
        """The same for a line of the standard library's logging; what is left out is said in our own form."""
        fields = {"event": f"{record.name}: {record.getMessage()}", "level": record.levelname.lower()}
        with self._lock:
            return self._limit.take(record.name, fields, self._mono_ns()) is not None

    def say_left_out(self, *, all_of_them: bool = False) -> None:
        """See the function of this name; at the end of the process all that is left."""
        with self._lock:
            lines = self._limit.due(self._mono_ns(), all_of_them=all_of_them)
        for line in lines:
            self._stream.write(self._text(line, None, str(line.fields.get("level", "info"))) + "\n")
        if lines:
            self._stream.flush()

    def _text(self, line: Line, logger: object, method: str) -> str:
        fields = line.fields | ({"left_out": line.left_out} if line.left_out else {})
        return str(self._render(logger, method, fields))


# Of this process; None before `configure_log`.
_limited: _Limited | None = None


class _Unfailing:
    """A stream whose lines may be lost: a full disk or a closed terminal must not stop who only tells of something."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it if that can be done."""
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """The same."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _redacted(renderer: structlog.types.Processor) -> structlog.types.Processor:
    def render(logger: object, method: str, event: structlog.types.EventDict) -> str:
        return redact(str(renderer(logger, method, event)))

    return render


class _RedactedLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _show_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, SystemExit):
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _name_actor(actor: str) -> structlog.types.Processor:
    def add(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["actor"] = actor
        return event

    return add
