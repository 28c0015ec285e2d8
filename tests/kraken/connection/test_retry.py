"""When something is asked for again: by what the last answer meant."""

import pytest

from engine.kraken.connection.error_catalog import meaning
from engine.kraken.connection.retry import BUSY_PAUSE_NS_MAX, LOCKOUT_PAUSE_NS, NEVER, PAUSE_NS_MAX, Retry
from engine.orders.refusal import ErrorKind
from engine.units import NS_PER_S

NIGHT_NS = 8 * 3600 * NS_PER_S


def pauses(kind, count, chance=1.0, **options):
    """In seconds, of failures in a row."""
    retry, now, found = Retry(lambda: chance, **options), 10**12, []
    for _ in range(count):
        retry.failed(kind, now)
        found.append(retry.wait_ns(now) / NS_PER_S)
        now = retry.at
    return found


@pytest.mark.parametrize("kind", [ErrorKind.TRANSPORT, ErrorKind.SERVICE, ErrorKind.UNKNOWN, ErrorKind.NONCE])
def test_a_trouble_that_may_pass_has_doubling_pauses(kind):
    """From half a second to half a minute."""
    assert pauses(kind, 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_pauses_are_drawn_from_their_upper_half():
    """Clients that failed together do not come back together."""
    assert pauses(ErrorKind.TRANSPORT, 3, chance=0.0) == [0.25, 0.5, 1]


def test_too_many_calls_have_longer_pauses():
    """Kraken counts refused calls as well."""
    assert pauses(ErrorKind.CALL_LIMIT, 7) == [2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    "text", ["EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied", "EAuth:Account unconfirmed"]
)
def test_what_only_a_person_can_mend_is_not_asked_again_until_something_changes(text):
    """Failed calls of a wrong key end in a lockout."""
    retry = Retry(lambda: 1.0)
    retry.failed(meaning(text).kind, 10**12)

    assert retry.is_over
    assert not retry.is_due(10**12 + NIGHT_NS)
    retry.anew()
    assert retry.is_due(10**12)


@pytest.mark.parametrize("text", ["EAPI:Something new", "EAuth:Try again", "EAccount:Busy", "ENew:What is this"])
def test_a_text_that_nobody_has_seen_may_pass(text):
    """It proves nothing of the key, so it is not given up for ever."""
    retry = Retry(lambda: 1.0)
    retry.failed(meaning(text).kind, 10**12)

    assert not retry.is_over


def test_a_lockout_is_waited_for():
    """A quarter of an hour, or what is left of it."""
    retry = Retry(lambda: 0.0)
    retry.failed(ErrorKind.LOCKOUT, 10**12)
    assert retry.wait_ns(10**12) == LOCKOUT_PAUSE_NS
    retry.failed(ErrorKind.LOCKOUT, 10**12, 7 * NS_PER_S)

    assert retry.wait_ns(10**12) == 7 * NS_PER_S


@pytest.mark.parametrize("kind", ErrorKind)
def test_no_kind_of_error_is_asked_about_more_than_a_few_hundred_times_a_night(kind):
    """Whatever is in the catalog."""
    retry, now, count = Retry(lambda: 0.0), 10**12, 0
    while now < 10**12 + NIGHT_NS and now != NEVER:
        count += 1
        retry.failed(kind, now)
        now = retry.at

    assert count <= 2 * NIGHT_NS / min(PAUSE_NS_MAX, BUSY_PAUSE_NS_MAX) + 10


def test_a_success_begins_anew():
    """The next failure is the first again."""
    retry = Retry(lambda: 1.0)
    for _ in range(5):
        retry.failed(ErrorKind.TRANSPORT, 10**12)
    retry.succeeded()
    assert retry.is_due(0)
    retry.failed(ErrorKind.TRANSPORT, 10**12)

    assert retry.wait_ns(10**12) == NS_PER_S // 2
