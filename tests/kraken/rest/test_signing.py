"""Signatures, judged by Kraken's own worked example."""

import json
import pickle
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.signing import Signer
from engine.secret import Secret

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "kraken" / "private" / "signing_example.json").read_text())
OFFICIAL = VECTORS["official_example"]
SECRET = OFFICIAL["secret_base64"]


def signer(secret=SECRET):
    return Signer("the api key", Secret(secret))


def test_the_official_example_is_signed_as_kraken_signs_it():
    body = OFFICIAL["encoded_body"].encode()

    assert signer().sign(OFFICIAL["path"], int(OFFICIAL["nonce"]), body) == OFFICIAL["api_sign"]


@pytest.mark.parametrize("vector", VECTORS["computed_here"], ids=lambda vector: vector["why"][:9])
def test_json_and_form_bodies_are_signed_as_they_are_sent(vector):
    assert signer().sign(vector["path"], int(vector["nonce"]), vector["body"].encode()) == vector["api_sign"]


def test_a_signer_signs_again_and_again():
    """The started HMAC is copied, never used up."""
    one = signer()
    first = one.sign("/0/private/Balance", 1, b"{}")
    one.sign("/0/private/OpenOrders", 2, b"{}")

    assert one.sign("/0/private/Balance", 1, b"{}") == first


def test_a_call_carries_key_and_signature_and_the_body_that_was_signed():
    call = rest_requests.sign(rest_requests.get_websockets_token(), signer(), 1616492376594)

    assert call.body == b'{"nonce":"1616492376594"}'
    assert call.headers["API-Key"] == "the api key"
    assert call.headers["API-Sign"] == signer().sign("/0/private/GetWebSocketsToken", 1616492376594, call.body)


def test_a_signer_shows_no_secret():
    shown = repr(signer()) + str(signer()) + f"{signer()}"

    assert SECRET not in shown
    assert "the api key" not in shown


def test_a_signer_cannot_be_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(signer())


@pytest.mark.parametrize("text", ["", "not base64!", "abc"])
def test_a_secret_that_is_no_base64_is_refused_in_one_sentence(text):
    with pytest.raises(ConfigError, match="copy the private key again") as caught:
        signer(text)

    assert text == "" or text not in str(caught.value)
