"""Logs: structlog to standard error, for people or as JSON, never a line per frame, never a
secret.

Repeated lines are written less and less often, with the number that was left out
(`log_limit`); those of a strategy's own log are all written. Secrets are searched for
twice: by the names of what is logged, and in each finished line, tracebacks included.

Lines are written by a thread of their own. A terminal that is stopped (Ctrl-S), a pipe that
nobody reads, a full disk or a closed stream delays or loses lines of the log, and nothing
else.
"""

import atexit
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Literal, TextIO, cast

import structlog

from engine.clock import SystemClock
from engine.ring import Memory
from engine.secret import redact, redact_secrets
from engine.telemetry.log_file import FollowedFile, followed
from engine.telemetry.log_limit import Line, LogLimit
from engine.telemetry.warning_ring import WarningRing

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
# The modules that log, each under its own name; `FRAMES` are the raw frames of connections.
FRAMES: Final = "frames"
MODULES: Final = (
    "actor", "control_socket", "core", "engine", FRAMES, "history", "key_lock", "link", "metrics", "notices",
    "order_resolver", "order_router", "page", "paper", "preflight", "private_feed", "program", "public_feed",
    "replay", "rest", "ring", "server", "strategy", "strategy_host", "supervisor", "tokens", "view", "websocket",
)  # fmt: skip
UNLIMITED = "_unlimited"  # bound to a logger all of whose lines are written

LINES_WAITING_MAX: Final = 10_000  # for a stream that takes none; about 2 MB
EXIT_WAIT_S: Final = 1.0  # for a stream to take the last lines
STDERR: Final = 2

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_log(
    level: str,
    log_format: LogFormat,
    actor: str,
    *,
    levels: Mapping[str, str] | None = None,
    is_guest: bool = False,
) -> None:
    """Set up the logs of this process; every line names `actor`.

    `levels` are those of single modules, in place of `level`. `is_guest`: the process is a
    program of the user's, whose own logging and uncaught errors are left alone.
    """
    renderer: structlog.types.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=_is_terminal(sys.stderr),
            pad_event_to=24,
            # The default one shows the variables of every frame.
            exception_formatter=structlog.dev.plain_traceback,
        )
    levels = dict(levels or {})
    processors: list[structlog.types.Processor] = [
        *([_level_by_module(level, levels)] if levels else []),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_actor(actor),
        redact_secrets,
    ]
    if log_format == "json":
        processors.append(structlog.processors.format_exc_info)
    stream = log_stream(is_guest=is_guest)
    limited = _Limited(_redacted(renderer), stream)
    structlog.configure(
        processors=[*processors, limited],
        wrapper_class=structlog.make_filtering_bound_logger(min(_LEVELS[each] for each in (level, *levels.values()))),
        # One write a line: several processes share the stream.
        logger_factory=lambda *names: _NamedLogger(stream, names[0] if names else ""),
        cache_logger_on_first_use=False,
    )
    if is_guest:
        return
    # picows and asyncio log through the standard library: warnings and worse go to the same
    # stream.
    lines = logging.StreamHandler(stream)
    lines.addFilter(limited.admits)
    lines.setFormatter(_RedactedLines(f"%(levelname)s {actor} %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    sys.excepthook = _show_uncaught
    # These may come again and again, so they pass the limit of all lines.
    threading.excepthook = _log_of_thread
    sys.unraisablehook = _log_unraisable


def _is_terminal(stream: object) -> bool:
    """False, too, for None, as standard error is when it is closed, and for an object of
    the user's that does not say."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())


class _NamedLogger(structlog.WriteLogger):
    """What writes the lines of one module, whose level it decides by its name."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.module = name.rpartition(".")[2]


def _level_by_module(level: str, levels: Mapping[str, str]) -> structlog.types.Processor:
    """Drop a line whose module has another level, and a higher one than the line."""
    least = {module: _LEVELS[each] for module, each in levels.items()}
    usual = _LEVELS[level]

    def judge(logger: object, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        if _LEVELS.get(method, logging.ERROR) < least.get(getattr(logger, "module", ""), usual):
            raise structlog.DropEvent
        return event

    return judge


def keep_warnings(memory: Memory) -> Callable[[], None]:
    """Have the warnings and errors that this process writes kept in this ring, too; returns
    what ends that. No effect where the log is not ours."""
    limited = _limited
    if limited is None:
        return lambda: None
    ring = WarningRing(memory)
    limited.warning_rings.append(ring)
    return lambda: limited.warning_rings.remove(ring) if ring in limited.warning_rings else None


def say_left_out() -> None:
    """Write the lines that were left out and are due; each process calls it about once a
    second.
    """
    if _limited is not None:
        _limited.say_left_out()


def _say_the_rest() -> None:
    if _limited is not None:
        _limited.say_left_out(all_of_them=True)


class _Limited:
    """The last processor: passes a line on, or drops one that is left out."""

    def __init__(self, render: structlog.types.Processor, stream: TextIO) -> None:
        global _limited
        self._render = render
        self._stream = stream
        self._limit = LogLimit()
        clock = SystemClock()
        self._mono_ns, self._wall_ns = clock.mono_ns, clock.wall_ns
        # A program may open several engines, each with a ring for its own watchers.
        self.warning_rings: list[WarningRing] = [*_limited.warning_rings] if _limited is not None else []
        # Several threads log: strategies have one of their own.
        self._lock = threading.Lock()
        if _limited is None:
            atexit.register(_say_the_rest)
        _limited = self

    def __call__(self, logger: object, method: str, event: structlog.types.EventDict) -> str:
        if event.pop(UNLIMITED, False):
            self._keep(event)
            return str(self._render(logger, method, event))
        with self._lock:
            line = self._limit.take(str(event.get("event")), dict(event), self._mono_ns())
        if line is None:
            raise structlog.DropEvent
        self._keep(line.fields)
        return self._text(line, logger, method)

    def _keep(self, fields: Mapping[str, object]) -> None:
        """Keep a warning or an error for those who watch."""
        level = str(fields.get("level"))
        if not self.warning_rings or level in ("debug", "info"):
            return
        with self._lock:
            for ring in self.warning_rings:
                ring.publish(level, fields, self._wall_ns())

    def forked(self) -> None:
        """In a process that was forked off: another thread may have held the lock, and the
        rings for those who watch have one publisher, the other process."""
        self._lock = threading.Lock()
        self.warning_rings.clear()

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether to write a line of the standard library's logging; lines left out are
        reported in our own form.
        """
        fields = {"event": f"{record.name}: {record.getMessage()}", "level": record.levelname.lower()}
        with self._lock:
            return self._limit.take(record.name, fields, self._mono_ns()) is not None

    def say_left_out(self, *, all_of_them: bool = False) -> None:
        """See the function of this name; `all_of_them` is for the end of the process."""
        with self._lock:
            lines = self._limit.due(self._mono_ns(), all_of_them=all_of_them)
        for line in lines:
            self._stream.write(self._text(line, None, str(line.fields.get("level", "info"))) + "\n")

    def _text(self, line: Line, logger: object, method: str) -> str:
        fields = line.fields | ({"left_out": line.left_out} if line.left_out else {})
        return str(self._render(logger, method, fields))


# Of this process; None before `configure_log`.
_limited: _Limited | None = None


class LineWriter:
    """A text stream that never blocks and never fails: a daemon thread writes what `write`
    queues.

    Beyond `LINES_WAITING_MAX` waiting lines the newest are lost; their number is written
    when the stream takes lines again.
    """

    def __init__(self, stream: TextIO, file: FollowedFile | None = None) -> None:
        """`file` is what is behind the stream, if that may be renamed while it is written."""
        self._stream = stream
        self._file = file
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        # Lines that found the queue full: in all, and by the last report of them.
        self.lost = 0
        self._lost_told = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue a line; it is lost, and counted, when too many wait already."""
        if self._lines.qsize() >= LINES_WAITING_MAX:
            self.lost += 1
            return len(text)
        self._lines.put(text)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        return len(text)

    def flush(self) -> None:
        """No effect: the thread flushes whenever no line waits."""

    def drain(self, timeout_s: float = EXIT_WAIT_S) -> bool:
        """Wait until every queued line is written; False when the stream did not take it in
        time.
        """
        if self._thread is None:
            return True
        is_written = threading.Event()
        self._lines.put(is_written)
        return is_written.wait(timeout_s)

    def forked(self) -> None:
        """In a process that was forked off: the thread is not there, and what waits is the
        other process's to write."""
        self._lines = SimpleQueue()
        self._thread = None

    def _run(self) -> None:
        while True:
            item = self._lines.get()
            while True:
                if isinstance(item, threading.Event):
                    self._flush_stream()
                    item.set()
                else:
                    self._write_out(item)
                try:
                    item = self._lines.get_nowait()
                except Empty:
                    break
            self._flush_stream()

    def _write_out(self, text: str) -> None:
        if (lost := self.lost) != self._lost_told:
            text += f"({lost - self._lost_told} lines of the log were lost: standard error took none)\n"
            self._lost_told = lost
        if self._file is not None:
            self._file.follow()
        with suppress(Exception):  # whatever stream the user has put there, or none
            self._stream.write(text)

    def _flush_stream(self) -> None:
        with suppress(Exception):
            self._stream.flush()


_uncaught = structlog.get_logger("actor")
# Of this process; None before `configure_log`.
_writer: LineWriter | None = None


def log_stream(*, is_guest: bool = False) -> TextIO:
    """Standard error, behind the thread that writes this process's log. A file there is
    opened again when it was renamed, unless it is another program's to open.
    """
    global _writer
    before, _writer = _writer, LineWriter(sys.stderr, None if is_guest else followed(STDERR))
    if before is None:
        atexit.register(_end_log)
    else:
        before.drain()
    return cast(TextIO, _writer)


def _forked() -> None:
    """A strategy or a program may fork, and open an engine there."""
    if _writer is not None:
        _writer.forked()
    if _limited is not None:
        _limited.forked()


os.register_at_fork(after_in_child=_forked)


def drain_log(timeout_s: float = EXIT_WAIT_S) -> bool:
    """Write the waiting lines before the process ends; False when they were not all taken
    in time.
    """
    return True if _writer is None else _writer.drain(timeout_s)


def end_log() -> None:
    """What is done at the end of the process, for one that ends by os._exit: the waiting
    lines are written, and how many were left out.
    """
    _say_the_rest()
    drain_log()


def _end_log() -> None:
    if not drain_log():
        # The thread is blocked in a write: flushing that stream at the end of the process
        # would block too.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def write_line(text: str) -> None:
    """Copy a finished line of another process, with its line feed, to the stream of the
    log.
    """
    if _writer is None:
        with suppress(Exception):
            sys.stderr.write(text)
    else:
        _writer.write(text)


def _redacted(renderer: structlog.types.Processor) -> structlog.types.Processor:
    def render(logger: object, method: str, event: structlog.types.EventDict) -> str:
        return redact(str(renderer(logger, method, event)))

    return render


class _RedactedLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _show_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, SystemExit):
        write_line(redact("".join(traceback.format_exception(kind, error, trace))))


def _log_of_thread(raised: threading.ExceptHookArgs) -> None:
    if not issubclass(raised.exc_type, SystemExit):
        name = "" if raised.thread is None else raised.thread.name
        _uncaught.error("a thread raised", thread=name, error=repr(raised.exc_value), exc_info=raised.exc_value)


def _log_unraisable(raised: "sys.UnraisableHookArgs") -> None:
    """What a destructor or a callback of another library raises, where nobody can catch it."""
    where = raised.err_msg or "Exception ignored in"
    _uncaught.error(
        "an error that nobody can catch", place=f"{where} {raised.object!r}", error=repr(raised.exc_value),
        exc_info=raised.exc_value,
    )  # fmt: skip


def _name_actor(actor: str) -> structlog.types.Processor:
    def add(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["actor"] = actor
        return event

    return add
