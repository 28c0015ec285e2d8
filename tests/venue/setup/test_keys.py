"""API keys and tokens: the official signature, nonces, permissions, lockouts, and how long
a token lives.
"""

import json
from pathlib import Path

import pytest

from engine.errors import ConfigError, VenueReject
from engine.units import NS_PER_S, MonoNs
from engine.venue.setup.keys import (
    INVALID_KEY,
    INVALID_NONCE,
    INVALID_SIGNATURE,
    LOCKED_OUT,
    LOCKOUT_FAILURES,
    LOCKOUT_NS,
    NONCE_MAX,
    NONCES_KEPT,
    PERMISSION_DENIED,
    ApiKey,
    KeyRing,
    KeySpec,
)
from engine.venue.websocket.tokens import LIFE_S, TOKENS_MAX, Tokens

PATH = "/0/private/Balance"
START = MonoNs(0)


def use(ring: KeyRing, api_key: ApiKey, nonce: str | None, now: MonoNs = START, sign: str | None = None) -> ApiKey:
    body = f"nonce={nonce}".encode()
    signature = api_key.signature(PATH, nonce or "", body) if sign is None else sign
    return ring.authenticate(api_key.key, signature, PATH, nonce, body, now)


def refusal(ring: KeyRing, api_key: ApiKey, nonce: str | None, now: MonoNs = START, sign: str | None = None) -> str:
    with pytest.raises(VenueReject) as caught:
        use(ring, api_key, nonce, now, sign)
    return str(caught.value)


def test_the_official_signatures(genuine: Path):
    """Kraken's own worked example, and two computed beside it, come out letter by letter."""
    examples = json.loads((genuine / "private" / "signing_example.json").read_text())
    official = examples["official_example"]
    secret = official["secret_base64"]
    api_key = KeyRing(0).add(KeySpec(key="example", secret=secret))

    signature = api_key.signature(official["path"], official["nonce"], official["encoded_body"].encode())
    assert signature == official["api_sign"]
    for example in examples["computed_here"]:
        signature = api_key.signature(example["path"], example["nonce"], example["body"].encode())
        assert signature == example["api_sign"], example["why"]


def test_the_default_key_is_that_of_the_seed():
    """The same seed makes the same key, another one another; both look like Kraken's."""
    one, again, other = KeyRing(7).default, KeyRing(7).default, KeyRing(8).default

    assert (one.key, one.secret) == (again.key, again.secret)
    assert one.key != other.key
    assert (len(one.key), len(one.secret)) == (56, 88)
    assert "withdraw-funds" not in one.permissions


def test_a_nonce_must_rise():
    """The same one again, a lower one, none, and what is no number are refused; a jump is
    not.
    """
    ring = KeyRing(0)
    use(ring, ring.default, "10")
    use(ring, ring.default, str(NONCE_MAX - 1))

    for nonce in (str(NONCE_MAX - 1), "11", None, "", "-1", "1.5", "１２", str(NONCE_MAX + 1), "9" * 5000):
        assert refusal(ring, ring.default, nonce) == INVALID_NONCE, nonce
    use(ring, ring.default, str(NONCE_MAX))


def test_a_window_lets_nonces_come_late_but_once():
    """Within the window any order will do, twice will not; the window's far edge is
    outside.
    """
    ring = KeyRing(0)
    api_key = ring.add(KeySpec(nonce_window=5))
    for nonce in ("100", "98", "96", "99"):
        use(ring, api_key, nonce)

    assert refusal(ring, api_key, "98") == INVALID_NONCE
    assert refusal(ring, api_key, "95") == INVALID_NONCE
    use(ring, api_key, "97")
    assert api_key.last_nonce == 100


def test_a_window_remembers_a_bounded_number_of_nonces():
    """What has been forgotten cannot be used again: it counts as too old."""
    api_key = KeyRing(0).add(KeySpec(nonce_window=10**9))
    for nonce in range(1, NONCES_KEPT + 10):
        api_key.use_nonce(nonce)

    with pytest.raises(VenueReject):
        api_key.use_nonce(5)


def test_a_refused_signature_does_not_use_up_its_nonce():
    """Whoever does not hold the secret cannot push the nonce of a key up."""
    ring = KeyRing(0)

    assert refusal(ring, ring.default, str(NONCE_MAX), sign="forged") == INVALID_SIGNATURE
    assert refusal(ring, ring.default, str(NONCE_MAX), sign="\udcff") == INVALID_SIGNATURE
    use(ring, ring.default, "1")


def test_an_unknown_key():
    """Nobody's key is refused before anything else is looked at."""
    with pytest.raises(VenueReject, match=INVALID_KEY):
        KeyRing(0).authenticate("nobody", "", PATH, None, b"", START)


def test_a_lockout_follows_many_failures_and_is_prolonged_by_asking():
    """Twenty failures in a row lock a key out for a quarter of an hour after the last call;
    others go on.
    """
    ring = KeyRing(0)
    other = ring.add(KeySpec())
    for _ in range(LOCKOUT_FAILURES):
        assert refusal(ring, ring.default, "1", sign="forged") == INVALID_SIGNATURE

    assert refusal(ring, ring.default, "1") == LOCKED_OUT
    use(ring, other, "1")
    almost = MonoNs(LOCKOUT_NS - 1)
    assert refusal(ring, ring.default, "1", almost) == LOCKED_OUT
    assert refusal(ring, ring.default, "1", MonoNs(LOCKOUT_NS + 1)) == LOCKED_OUT
    use(ring, ring.default, "1", MonoNs(LOCKOUT_NS + 1 + LOCKOUT_NS))


def test_a_success_ends_the_row_of_failures():
    """Failures that are not in a row lock nobody out."""
    ring = KeyRing(0)
    for nonce in range(1, LOCKOUT_FAILURES * 2):
        assert refusal(ring, ring.default, "0") == INVALID_NONCE
        use(ring, ring.default, str(nonce))


def test_permissions():
    """A key may what it was given; any one of several can be enough."""
    api_key = KeyRing(0).add(KeySpec(permissions=("close-trades",)))
    api_key.require("modify-trades", "close-trades")

    with pytest.raises(VenueReject, match=PERMISSION_DENIED):
        api_key.require("modify-trades")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (lambda: KeySpec(permissions=("fly",)), "no permission 'fly'"),
        (lambda: KeySpec(nonce_window=-1), "nonce window -1"),
        (lambda: KeySpec(account_id=0), "account 0"),
        (lambda: KeyRing(0).add(KeySpec(key="mine", secret="not base64!")), "not base64"),
        (lambda: KeyRing(0, specs=(KeySpec(key="mine"), KeySpec(key="mine"))), "one of this name"),
    ],
)
def test_keys_that_cannot_be(spec, complaint):
    """One sentence says what is wrong with them."""
    with pytest.raises(ConfigError, match=complaint):
        spec()


def test_a_key_does_not_show_its_secret():
    """Not when it is printed."""
    api_key = KeyRing(0).default

    assert api_key.secret not in repr(api_key)
    assert api_key.secret not in str(api_key)


# --- tokens


def test_a_token_lives_for_a_quarter_of_an_hour():
    """Then it is nobody's any more."""
    ring, tokens = KeyRing(0), Tokens(0)
    token = tokens.issue(ring.default, START)

    assert len(token) == 43
    assert tokens.check(token, MonoNs(LIFE_S * NS_PER_S - 1)) is ring.default
    assert tokens.check(token, MonoNs(LIFE_S * NS_PER_S)) is None
    assert tokens.check("A" * 43, START) is None


def test_a_held_token_lives_on():
    """As long as one subscription holds it; afterwards its age counts again."""
    ring, tokens = KeyRing(0), Tokens(0)
    token = tokens.issue(ring.default, START)
    late = MonoNs(2 * LIFE_S * NS_PER_S)
    tokens.pin(token)
    tokens.pin(token)
    tokens.unpin(token)

    assert tokens.check(token, late) is ring.default
    tokens.unpin(token)
    assert tokens.check(token, late) is None


def test_a_revoked_token_is_dead_though_held():
    """That is how a service upgrade ends sessions."""
    ring, tokens = KeyRing(0), Tokens(0)
    token, other = tokens.issue(ring.default, START), tokens.issue(ring.default, START)
    tokens.pin(token)

    assert tokens.revoke(token)
    assert not tokens.revoke(token)
    assert tokens.check(token, START) is None
    tokens.unpin(token)
    assert tokens.check(other, START) is ring.default
    assert tokens.revoke_all() == 1
    assert tokens.check(other, START) is None


def test_tokens_are_bounded_and_the_held_ones_stay():
    """The oldest that nobody holds goes first."""
    ring, tokens = KeyRing(0), Tokens(0)
    held, loose = tokens.issue(ring.default, START), tokens.issue(ring.default, START)
    tokens.pin(held)
    for _ in range(TOKENS_MAX - 1):
        tokens.issue(ring.default, START)

    assert tokens.check(held, START) is ring.default
    assert tokens.check(loose, START) is None
