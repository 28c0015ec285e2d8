"""Logs: structlog to standard error, for people or as JSON, never a line per frame."""

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["console", "json"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_log(level: str, log_format: LogFormat, actor: str) -> None:
    """Set up the logs of this process; every line names the actor that wrote it."""
    renderer: structlog.types.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_actor(actor),
    ]
    if log_format == "json":
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # One write a line: several processes share the stream.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # picows and asyncio log through the standard library: warnings and worse go to the same stream.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=f"%(levelname)s {actor} %(name)s: %(message)s")


def _name_actor(actor: str) -> structlog.types.Processor:
    def add(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["actor"] = actor
        return event

    return add
