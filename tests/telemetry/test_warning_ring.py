"""The last warnings of a process's log, for who watches."""

import io

import structlog

from engine.secret import Secret
from engine.telemetry import log
from engine.telemetry.log import configure_log, keep_warnings
from engine.telemetry.warning_ring import (
    WARNING_RECORD_BYTES,
    WARNINGS_KEPT,
    WarningRing,
    last_warnings,
    warning_segment,
)


def kept(*lines):
    """What a ring holds after these (level, fields)."""
    segment = warning_segment("test")
    ring = WarningRing(segment.memory)
    for at, (level, fields) in enumerate(lines):
        ring.publish(level, fields, at)
    return last_warnings(segment.memory)


def test_a_line_is_its_event_and_its_fields():
    """What every line has is left out."""
    (warned,) = kept(
        ("warning", {"event": "call failed", "level": "warning", "actor": "x", "call": "Time", "tries": 2})
    )

    assert (warned.at, warned.level, warned.text) == (0, "warning", "call failed call=Time tries=2")


def test_no_text_moves_the_cursor_of_a_terminal():
    """A part of it may be from elsewhere: Kraken's words, a strategy's."""
    (warned,) = kept(("warning", {"event": "odd", "reason": "\x1b[2Jgone\r\nand\u009b1m on, µ"}))

    assert warned.text == "odd reason= [2Jgone  and 1m on, µ"


def test_the_newest_are_kept_and_a_long_one_is_cut():
    """Within a letter of several bytes, too."""
    lines = kept(*(("error", {"event": f"e{number}"}) for number in range(3 * WARNINGS_KEPT)))
    assert [line.text for line in lines] == [f"e{number}" for number in range(2 * WARNINGS_KEPT, 3 * WARNINGS_KEPT)]

    (long,) = kept(("warning", {"event": "µ" * WARNING_RECORD_BYTES}))
    assert set(long.text) == {"µ"}
    assert WARNING_RECORD_BYTES / 2 - 10 < len(long.text) < WARNING_RECORD_BYTES / 2


def test_what_the_log_writes_of_level_warning_is_kept_and_nothing_else(monkeypatch):
    """What is left out of the log is left out here, and so are secrets."""
    monkeypatch.setattr(log, "_limited", None)
    monkeypatch.setattr(log, "log_stream", lambda **_: io.StringIO())
    segment = warning_segment("test")
    configured = structlog.get_config()
    secret = Secret("c2VjcmV0LW9mLXRoZS10ZXN0LXdhcm5pbmc=")
    try:
        configure_log("info", "console", "test", is_guest=True)
        keep_no_more = keep_warnings(segment.memory)
        logger = structlog.get_logger("server")
        logger.info("nothing")
        for _ in range(5):
            logger.warning("careful", why="c2VjcmV0LW9mLXRoZS10ZXN0LXdhcm5pbmc=")
        logger.error("wrong")
        keep_no_more()
        logger.error("later")
    finally:
        structlog.configure(**configured)
    texts = [(line.level, line.text) for line in last_warnings(segment.memory)]

    assert [level for level, _ in texts] == ["warning", "error"]
    assert secret is not None
    assert "c2Vjc" not in texts[0][1]
    assert texts[1][1] == "wrong"
