"""A secret is never shown: not by printing, not by copying, not through a log."""

import copy
import gc
import io
import json
import logging
import pickle
import sys

import msgspec
import pytest
import structlog

from engine.errors import MisuseError
from engine.secret import FORGOTTEN_MAX, REDACTED, Secret, fingerprint, redact, redact_secrets
from engine.telemetry.log import configure_log, drain_log

CANARY = "cAnArY+kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76=="


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>80}".format, "{!r}".format, "%s".__mod__, "%r".__mod__])
def test_a_secret_cannot_be_printed(show) -> None:
    """Every conversion to text hides the secret."""
    assert "cAnArY" not in show(Secret(CANARY))


@pytest.mark.parametrize(
    "encode",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.msgpack.encode],
    ids=lambda encode: f"{encode.__module__}.{encode.__name__}",
)
def test_a_secret_cannot_be_encoded_or_copied(encode) -> None:
    """Pickle, copy and JSON refuse a secret, alone or inside something else."""
    for value in (Secret(CANARY), {"key": [Secret(CANARY)]}):
        if encode is copy.copy and isinstance(value, dict):
            continue  # a shallow copy holds the very same secret
        with pytest.raises((MisuseError, TypeError)):
            encode(value)


def test_a_secret_has_no_hash_and_no_attributes() -> None:
    """A secret has no hash: it could be looked up in a table."""
    secret = Secret(CANARY)

    with pytest.raises(TypeError):
        hash(secret)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(MisuseError):
        type("Louder", (Secret,), {})


def test_secrets_are_equal_by_their_texts() -> None:
    """Equal secrets are equal, and unequal to the text itself."""
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY
    assert Secret(CANARY).reveal() == CANARY


def test_a_fingerprint_tells_keys_apart_and_not_what_they_are() -> None:
    """A fingerprint is short, always the same, and fit for a file name."""
    assert fingerprint("key one") == fingerprint("key one") != fingerprint("key two")
    assert fingerprint("key one").isalnum()


def test_a_living_secret_is_redacted_in_any_text() -> None:
    """A secret is redacted as it is, in a URL, and in JSON with escaped slashes."""
    secret = Secret(CANARY)
    in_url = CANARY.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    escaped = CANARY.replace("/", "\\/")

    assert redact(f"a {CANARY} b {in_url} c {escaped}") == f"a {REDACTED} b {REDACTED} c {REDACTED}"
    assert secret.reveal() == CANARY  # keeps it alive until here


def test_only_the_last_forgotten_secrets_are_looked_for() -> None:
    """Tokens that were replaced are redacted for a while, and memory does not grow."""
    for number in range(FORGOTTEN_MAX + 1):
        Secret(f"token number {number:04d}")
    gc.collect()

    assert redact("token number 0000") == "token number 0000"
    assert redact(f"token number {FORGOTTEN_MAX:04d}") == REDACTED


def test_a_short_text_is_not_looked_for() -> None:
    """A very short text is not redacted: it would match in every line."""
    secret = Secret("usd")

    assert redact("BTC/usd") == "BTC/usd"
    assert secret.reveal() == "usd"


def test_texts_under_telling_names_are_redacted_and_numbers_are_not() -> None:
    """Counts and ages of tokens are shown."""
    event = {
        "event": "x",
        "token": "abc",
        "headers": {"API-Sign": "sig", "Accept": "json"},
        "tokens": 5,
        "token_age_s": 1.5,
        "rows": [{"api_secret": b"zzz"}],
        "token_path": "/run/token",
    }

    assert redact_secrets(None, "info", event) == {
        "event": "x",
        "token": REDACTED,
        "headers": {"API-Sign": REDACTED, "Accept": "json"},
        "tokens": 5,
        "token_age_s": 1.5,
        "rows": [{"api_secret": REDACTED}],
        "token_path": "/run/token",
    }


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_canary_is_in_no_log_line(log_format, monkeypatch) -> None:
    """Neither as an event, a value, an exception's text, nor a frame's variable, nor
    through the standard library's logs.
    """
    secret = Secret(CANARY)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", None)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    try:
        configure_log("debug", log_format, "test")
        log = structlog.get_logger("x")
        log.info(f"event with {CANARY}", secret=secret, value=CANARY, error=ValueError(CANARY), raw=CANARY.encode())
        try:
            text = secret.reveal()
            raise RuntimeError(f"no good: {text}")
        except RuntimeError as error:
            log.exception("failed", detail=[error])
            sys.excepthook(type(error), error, error.__traceback__)
        logging.getLogger("aiohttp").error("could not send %s", CANARY)
        assert drain_log()
    finally:
        structlog.reset_defaults()
    shown = stream.getvalue()

    assert "no good" in shown
    assert "could not send" in shown
    assert shown.count("Traceback") >= 2
    assert "cAnArY" not in shown
