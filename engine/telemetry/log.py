"""Logs: structlog to standard error, for people or as JSON, never a line per frame, never a secret.

Secrets are looked for twice: by the names of what is logged, and in each finished line, tracebacks included.
"""

import logging
import sys
import threading
import traceback
from contextlib import suppress
from types import TracebackType
from typing import Literal, TextIO, cast

import structlog

from engine.secret import redact, redact_secrets

LogFormat = Literal["console", "json"]

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
    structlog.configure(
        processors=[*processors, _redacted(renderer)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # One write a line: several processes share the stream.
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, stream)),
        cache_logger_on_first_use=False,
    )
    # picows and asyncio log through the standard library: warnings and worse go to the same stream.
    lines = logging.StreamHandler(cast(TextIO, stream))
    lines.setFormatter(_RedactedLines(f"%(levelname)s {actor} %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    sys.excepthook = _show_uncaught
    threading.excepthook = lambda it: _show_uncaught(it.exc_type, it.exc_value, it.exc_traceback)


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
