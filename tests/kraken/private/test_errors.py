"""Kraken's error texts: all that are known, judged by the catalogue of captures, documents and clients."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.connection.error_catalog import UNKNOWN_TEXT, meaning, throttled_until_s
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome

DATA = Path(__file__).parents[2] / "data" / "kraken" / "private"
CATALOG = json.loads((DATA / "error_catalog.json").read_text())

# What the catalogue's words mean for us. Where it says "nominally", "partly" or nothing, we ask Kraken.
OUTCOMES = {
    "not_placed": Outcome.NOT_PLACED,
    "not_placed (this attempt); an earlier attempt is live": Outcome.ALREADY_PLACED,
    "n/a": Outcome.NOT_PLACED,
    "unknown": Outcome.UNKNOWN,
    "not_placed nominally, confirm": Outcome.UNKNOWN,
    "partly_filled": Outcome.UNKNOWN,
    "target not open": Outcome.NOT_OPEN,
    "order_unchanged": Outcome.NOT_PLACED,
    "cancel in progress": Outcome.NOT_PLACED,
}
KINDS = {
    "new_token": {ErrorKind.TOKEN},
    "new_token_and_reconnect": {ErrorKind.TOKEN},
    "wait_decay": {ErrorKind.RATE_LIMIT},
    "stop_and_wait": {ErrorKind.LOCKOUT},
    "reconcile": {ErrorKind.SERVICE, ErrorKind.TRANSPORT},
    "reconcile_then_backoff": {ErrorKind.SERVICE},
    "wait_for_status": {ErrorKind.MARKET_MODE},
    "cancel_some_first": {ErrorKind.ORDER_LIMIT},
    "requote": {ErrorKind.POST_ONLY},
    "wait_until_timestamp": {ErrorKind.CALL_LIMIT},
    "query_state": {ErrorKind.NOT_OPEN, ErrorKind.UNCHANGED},
    "fix_request": {ErrorKind.ARGUMENT, ErrorKind.MINIMUM, ErrorKind.PRECISION, ErrorKind.UNCHANGED},
}


def test_the_catalogue_is_the_whole_one():
    assert len(CATALOG) == 81


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry["error"])
def test_every_known_error_means_what_the_catalogue_says(entry):
    what = meaning(entry["error"])

    assert what is not UNKNOWN_TEXT
    assert what.outcome is OUTCOMES[entry["order_outcome"]]
    assert what.kind in KINDS.get(entry["action"], set(ErrorKind) - {ErrorKind.UNKNOWN})
    assert len(what.advice.split()) >= 3
    assert what.advice[0].islower() or what.advice.startswith(("Kraken", "REST"))
    assert not what.advice.endswith(".")


@pytest.mark.parametrize("line", (DATA / "ws_errors.jsonl").read_text().splitlines())
def test_no_captured_error_is_unknown(line):
    assert meaning(json.loads(line)["error"]).kind is not ErrorKind.UNKNOWN


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("EService: Throttled: 1750000000", ErrorKind.CALL_LIMIT),
        ("EService:Throttled:1750000000", ErrorKind.CALL_LIMIT),
        ("EGeneral:Internal error:520", ErrorKind.SERVICE),
        ("EGeneral:Invalid arguments: something new", ErrorKind.ARGUMENT),
        ("EOrder:Invalid price:Invalid price argument.", ErrorKind.ARGUMENT),
        ("EAccount:Invalid permissions:XYZ trading restricted for US:TX.", ErrorKind.ACCOUNT),
        ("Unsupported field: 'leverage' for the given msg type: add_order", ErrorKind.ARGUMENT),
        ("Limit_price(s) not found", ErrorKind.ARGUMENT),
        ("Order_qty field must be a number_float", ErrorKind.ARGUMENT),
        ("Timeout field must be a number_integer", ErrorKind.ARGUMENT),
        ("Currency pair not supported XBT/USD", ErrorKind.ARGUMENT),
        ("EService:Market in reduce_only mode", ErrorKind.MARKET_MODE),
        ("HTTP 520", ErrorKind.TRANSPORT),
    ],
)
def test_details_behind_a_known_beginning_change_nothing(text, kind):
    assert meaning(text).kind is kind


def test_the_longest_match_wins():
    assert meaning("EGeneral:Invalid arguments:cl_ord_id not unique").kind is ErrorKind.DUPLICATE
    assert meaning("EGeneral:Invalid arguments:cl_ord_id").kind is ErrorKind.ARGUMENT


@pytest.mark.parametrize(
    "text",
    [
        "EOrder:Something new",
        "EOrder:Invalid order book",
        "EOrder:Reduce only:Something new",
        "EGeneral:Something new",
        "EService:Something new",
        "a text without a category",
        "Order not found",
        "",
    ],
)
def test_a_text_that_nobody_has_seen_leaves_an_order_in_doubt(text):
    assert meaning(text).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("text", ["EAPI:Something new", "EAuth:Something new", "ESession:Something new"])
def test_a_category_of_before_the_matching_engine_proves_that_nothing_was_placed(text):
    assert meaning(text).outcome is Outcome.NOT_PLACED


@given(st.text())
def test_any_text_has_a_meaning(text):
    assert meaning(text).advice


def test_the_time_of_a_throttle_is_read():
    assert throttled_until_s("EService: Throttled: 1750000000") == 1_750_000_000
    assert throttled_until_s("EService:Throttled:1750000000") == 1_750_000_000
    assert throttled_until_s("EService:Throttled") is None
