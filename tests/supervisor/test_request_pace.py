"""Kraken sees one address: the requests of all shards together keep to the pace that is set."""

import pytest

from engine.kraken.public.session import PublicSession, PublicSettings
from engine.kraken.public.subscriptions import REQUESTS_BURST
from engine.supervisor.supervisor import burst_of_shard
from engine.units import NS_PER_MS, MonoNs

PER_S = 20.0
SECONDS = 5


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 16])
def test_all_shards_together_send_no_more_than_one_would(shards: int):
    """A thousand pairs that are all asked for at once: the pace, and one burst ahead of it."""
    symbols = [f"P{number:04}/USD" for number in range(1_000)]
    sessions = [
        PublicSession(
            PublicSettings(
                symbols=tuple(symbols[number::shards]),
                requests_per_s=PER_S / shards,
                requests_burst=burst_of_shard(shards),
                symbols_per_request=1,
            )
        )
        for number in range(shards)
    ]
    for session in sessions:
        session.opened(MonoNs(0))
    sent = 0
    for now in range(0, SECONDS * 1_000 * NS_PER_MS, 20 * NS_PER_MS):
        for session in sessions:
            session.poll(MonoNs(now))
            sent += len(session.to_send())

    assert 0.9 * PER_S * SECONDS < sent <= PER_S * SECONDS + max(REQUESTS_BURST, shards)
