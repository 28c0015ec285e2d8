"""A market from memory is the market that the venue would open."""

import pytest

from engine.units import NS_PER_S, PriceTicks, WallNs
from engine.venue.market.matching import BUY, SELL, Side
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PAIR_OF_SYMBOL
from engine.venue.wire.stream import StreamKey
from tests.venue import warm_markets
from tests.venue.market.rig import STARTED_AT, Reader

CHANNELS = (("book", 25), ("trade", ""), ("ticker", "bbo"), ("ohlc", 1))
ACTIONS = 300


def told(symbol: str, opened_at: int) -> list[object]:
    """What a market is and says, from its opening on."""
    market, reader = PairMarket(PAIR_OF_SYMBOL[symbol], 11, WallNs(opened_at)), Reader()
    keys = [StreamKey(channel, symbol, parameter) for channel, parameter in CHANNELS]
    snapshots = [market.snapshot(key, WallNs(opened_at)) for key in keys]
    trades, spreads = market.last_trades(ACTIONS), list(market.spreads)
    changed_s = [market.level_changed_s(side, price) for side, price, _ in levels_of(market)]
    for key in keys:
        market.join(key, reader)
    for action in range(ACTIONS):
        market.act(WallNs(opened_at + action * NS_PER_S))
    market.check()
    return [snapshots, trades, spreads, changed_s, reader.texts, levels_of(market), market.last]


def levels_of(market: PairMarket) -> list[tuple[Side, PriceTicks, int]]:
    return [(side, price, qty) for side in (BUY, SELL) for price, qty in market.book.levels(side)]


@pytest.mark.parametrize("symbol", ["SOL/USD", "MINA/GBP"])
def test_a_market_from_memory_is_the_one_that_would_be_opened(symbol: str, monkeypatch: pytest.MonkeyPatch):
    """Opened now, from memory, and from memory at another time than the one remembered."""
    later = STARTED_AT + 1_234_567_891_234
    monkeypatch.setattr(PairMarket, "warm_up", warm_markets.WARM_UP)
    opened = [told(symbol, STARTED_AT), told(symbol, later)]
    with warm_markets.warm_markets():
        remembered = [told(symbol, at) for at in (STARTED_AT, STARTED_AT, later)]

    assert remembered == [opened[0], *opened]
    assert opened[0] != opened[1]
