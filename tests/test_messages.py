"""Every line of the log is explained, and every explanation is of a line."""

import re
from collections import Counter

from engine.telemetry.log import MODULES
from engine.telemetry.messages import MESSAGES
from tests import reference


def test_every_line_that_the_engine_can_log_is_explained() -> None:
    """Whoever adds one says in engine/telemetry/messages.py what it means."""
    told = {message.event for message in MESSAGES}

    assert [f"{each.place}: {each.event}" for each in reference.logged() if each.event not in told] == []


def test_every_explanation_is_of_a_line_and_there_once() -> None:
    """Nothing is left of a line that is gone or was renamed."""
    events = Counter(message.event for message in MESSAGES)
    written = {each.event for each in reference.logged()}

    assert [event for event, count in events.items() if count > 1 or event not in written] == []


def test_what_asks_for_attention_says_what_the_engine_does() -> None:
    """A warning or an error without that would leave its reader alone."""
    levels = {each.event: each.level for each in reference.logged()}

    assert [each.event for each in MESSAGES if levels[each.event] in ("warning", "error") and not each.does] == []
    assert [each.event for each in MESSAGES if levels[each.event] == "error" and not each.mend] == []


def test_every_text_is_made_of_sentences() -> None:
    """With a full stop each, in plain letters."""
    texts = [(each.event, text) for each in MESSAGES for text in (each.meaning, each.does, each.mend) if text]

    assert [event for event, text in texts if not re.fullmatch(r"[A-Z`'].*[.?]", text)] == []


def test_every_line_has_a_module_that_can_be_given_a_level() -> None:
    """By the name that `log.levels` takes; the venue alone has its own."""
    modules = {each.module for each in reference.logged() if not each.place.startswith("engine/venue/")}

    assert modules - set(MODULES) == set()


def test_the_collector_finds_every_way_to_write_a_line() -> None:
    """Plain, conditional, put together, bound, and made on the spot."""
    places = {(each.event, each.module) for each in reference.logged()}

    assert {
        ("connected", "websocket"),
        ("callback does not return", "supervisor"),
        ("book… live", "public_feed"),
        ("callback raised", "strategy"),
        ("unreadable record", "ring"),
        ("frame …", "frames"),
        ("strategy loaded", "engine"),
    } <= places
    assert len(places) > 100
