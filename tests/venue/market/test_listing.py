"""The pairs that the venue makes up: as unlike as Kraken's, the same for the same seed, and
as good as its own in every channel.
"""

import json
import statistics
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.venue.market.exchange import Exchange, instruments_frame
from engine.venue.market.listing import LISTED_MAX, listing
from engine.venue.market.matching import BUY
from engine.venue.market.pairs import PAIRS, PairSpec, asset_spec
from engine.venue.rest.names import NameBook
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start
from tests.venue.market.rig import STARTED_AT, AtOnce, Reader
from tests.venue.market.update_law import LawBook, read
from tests.venue.rest_client import standing_venue

KRAKENS = 1_450
EVENTS = 12_000  # of a hundred pairs
SEED = 7
LISTED = listing(KRAKENS, SEED)
MADE_UP = LISTED[len(PAIRS) :]


def price_of(pair: PairSpec) -> float:
    return float(pair.mid_ticks / 10**pair.price_decimals)


def unlike() -> list[PairSpec]:
    """Pairs at every edge, and some of the others."""
    edges = [
        min(MADE_UP, key=price_of),
        max(MADE_UP, key=price_of),
        min(MADE_UP, key=lambda pair: pair.mid_ticks),
        max(MADE_UP, key=lambda pair: pair.typical_lots),
        min(MADE_UP, key=lambda pair: pair.typical_lots),
        min(MADE_UP, key=lambda pair: pair.levels_target),
        max(MADE_UP, key=lambda pair: pair.levels_target),
        next(pair for pair in MADE_UP if pair.qty_decimals == 0),
        next(pair for pair in MADE_UP if pair.price_decimals == 10),
    ]
    return list({pair.symbol: pair for pair in (*edges, *MADE_UP[::97])}.values())


def exchange_of(pairs: tuple[PairSpec, ...], *, has_bursts: bool = True) -> Exchange:
    clock = ManualClock(wall_ns=STARTED_AT)
    return Exchange(pairs, SEED, clock, AtOnce(), lambda: 0.0, (), has_bursts)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_pairs_and_fewer_are_the_first_of_more():
    assert listing(300, SEED) == LISTED[:300]
    assert listing(5, SEED) == LISTED[:5]
    assert [pair.symbol for pair in LISTED[: len(PAIRS)]] == [pair.symbol for pair in PAIRS]
    assert len({pair.symbol for pair in listing(KRAKENS, SEED + 1)} & {pair.symbol for pair in MADE_UP}) < KRAKENS // 20


@pytest.mark.parametrize("seed", range(5))
def test_they_are_as_unlike_as_krakens(seed: int):
    """Prices over fourteen powers of ten, all precisions, thin books and deep ones, the
    quotes in Kraken's proportions; every name is one pair's, in REST's old words too."""
    pairs = listing(LISTED_MAX, seed)[len(PAIRS) :]
    prices = [price_of(pair) for pair in pairs]
    quotes = Counter(pair.quote for pair in pairs)

    assert min(prices) < 1e-7
    assert max(prices) > 1e5
    assert {pair.price_decimals for pair in pairs} == set(range(1, 11))
    assert {pair.qty_decimals for pair in pairs} >= {0, 1, 2, 3, 4, 5, 6, 8}
    assert min(pair.levels_target for pair in pairs) < 10 < 200 < max(pair.levels_target for pair in pairs)
    assert {asset_spec(pair.base).precision for pair in pairs} == {4, 5, 6, 8, 10}
    assert quotes["USD"] > quotes["EUR"] > 5 * quotes["BTC"] > 0
    assert 0.35 < len({pair.base for pair in pairs}) / len(pairs) < 0.5
    assert all(pair.mid_ticks >= 100 and pair.typical_lots >= 100 for pair in pairs)
    names = [name for names in NameBook((*PAIRS, *pairs)).names.values() for name in {names.altname, names.pair_id}]
    assert len(names) == len(set(names))
    for pair in pairs:
        assert Decimal(pair.qty_min) > 0
        assert -Decimal(pair.qty_min).as_tuple().exponent == pair.qty_decimals  # type: ignore[operator]


def test_rates_follow_zipfs_law_and_come_in_bursts():
    """A few pairs have most messages and many hardly any; without bursts the shares are
    the law's, with them a quiet pair has forty messages at once."""
    pairs = listing(100, SEED)
    counts = {}
    for has_bursts in (False, True):
        exchange, reader = exchange_of(pairs, has_bursts=has_bursts), Reader()
        for pair in pairs:
            exchange.start(reader, StreamKey("book", pair.symbol, 10), snapshot=False)
        for _ in range(EVENTS):
            exchange.next_event()
        order = [key.symbol for key, _ in reader.texts]
        counts[has_bursts] = Counter(order)
        windows = [Counter(order[start : start + 100]) for start in range(0, len(order), 100)]
        quiet = {pair.symbol for pair in pairs[50:]}
        burst = max(count for window in windows for symbol, count in window.items() if symbol in quiet)
        assert burst > 30 if has_bursts else burst < 10

    plain = counts[False]
    law = [1 / rank**1.2 for rank in range(1, 101)]
    for rank in (1, 2, 5, 20):
        expected = law[rank - 1] / sum(law) * EVENTS
        assert abs(plain[pairs[rank - 1].symbol] - expected) < 5 * expected**0.5


@pytest.mark.parametrize("depth", [10, 100])
@pytest.mark.parametrize("pair", unlike(), ids=lambda pair: pair.symbol)
def test_their_books_obey_the_law(pair: PairSpec, depth: int):
    """Law and checksum hold for every message, whatever the prices and precisions."""
    exchange, reader = exchange_of((pair,)), Reader()
    exchange.start(reader, StreamKey("book", pair.symbol, depth), snapshot=True)
    held, told = LawBook(depth, shorter=depth > pair.levels_target // 3), 0
    for _ in range(300):
        exchange.next_event()
        for _, text in reader.texts:
            held.take(read(text))
            told += 1
        reader.texts.clear()

    assert told > 300
    exchange.markets[pair.symbol].check()


def test_every_channel_begins_for_every_pair():
    """Books, trades, tickers and candles of the quietest too: a last price, trades of the
    past, and a present book."""
    pairs = (*LISTED[:40], *LISTED[-200:])
    exchange, reader = exchange_of(pairs), Reader()
    for pair in pairs:
        for channel, parameter in (("book", 10), ("trade", ""), ("ticker", "trades"), ("ohlc", 1)):
            exchange.start(reader, StreamKey(channel, pair.symbol, parameter), snapshot=True)

    assert len(reader.texts) == 4 * len(pairs)
    for key, text in reader.texts:
        data = json.loads(text)["data"]
        assert data, key
        if key.channel == "ticker":
            assert data[0]["last"] > 0
            assert data[0]["bid"] > 0


def test_the_instrument_channel_has_krakens_size_and_shape(genuine: Path):
    """One frame of several hundred kilobytes: its keys in the order of the genuine one, its
    numbers plain text."""
    frame = instruments_frame(LISTED)
    text = frame[payload_start(frame) :].decode()
    data = json.loads(text)["data"]
    kraken = json.loads((genuine / "instrument.jsonl").read_text().splitlines()[0])["data"]

    assert 400_000 < len(frame) < 800_000
    assert len(data["pairs"]) == KRAKENS
    assert {name for pair in data["pairs"] for name in (pair["base"], pair["quote"])} == {
        asset["id"] for asset in data["assets"]
    }
    assert {tuple(pair) for pair in data["pairs"]} == {tuple(kraken["pairs"][0])}
    assert {tuple(asset) for asset in data["assets"]} == {tuple(kraken["assets"][-1])}
    assert "e-" not in text.replace("online", "")
    for pair in data["pairs"]:
        assert pair["price_increment"] == pytest.approx(10 ** -pair["price_precision"])


def test_a_book_of_a_quiet_pair_is_opened_quickly():
    """What stands before the first client is in proportion to how often a pair acts, so
    that 1,450 pairs open in the time of a hundred of the venue's own."""
    actions = [pair.warm_up_actions for pair in MADE_UP]

    assert statistics.median(actions) < 100
    assert sum(actions) < 100 * PAIRS[0].warm_up_actions


@pytest.mark.parametrize("pair", unlike()[:9], ids=lambda pair: pair.symbol)
async def test_they_are_traded_like_the_others(pair: PairSpec):
    """An order takes from the book, the balances move by what was filled at each asset's
    precision, and one that rests is canceled."""
    async with standing_venue(pairs=KRAKENS, seed=SEED, symbols=(pair.symbol,)) as (venue, client):
        assert venue.exchange is not None
        market = venue.exchange.markets[pair.symbol]
        best_bid = market.book.best(BUY)
        assert best_bid is not None
        before = await client.result("Balance")
        volume = f"{Decimal(pair.qty_min) * 2:.{pair.qty_decimals}f}"
        taken = {"pair": pair.symbol, "type": "buy", "ordertype": "market", "volume": volume}
        txid = (await client.result("AddOrder", **taken))["txid"][0]
        order = (await client.result("QueryOrders", txid=txid))[txid]
        after = await client.result("Balance")
        price = f"{Decimal(best_bid).scaleb(-pair.price_decimals):.{pair.price_decimals}f}"
        rests = {"pair": pair.symbol, "type": "buy", "ordertype": "limit", "price": price, "volume": volume}
        resting = (await client.result("AddOrder", **rests))["txid"][0]
        canceled = await client.result("CancelOrder", txid=resting)
        market.check()

        assert Decimal(order["vol_exec"]) == Decimal(volume)
        bought = Decimal(after[pair.base]) - Decimal(before[pair.base])
        assert abs(bought - Decimal(volume)) <= Decimal(1).scaleb(-asset_spec(pair.base).precision)
        assert canceled["count"] == 1


async def test_an_account_is_funded_in_their_assets_and_in_no_others():
    """A key may have funds in a made-up asset; one that nothing lists is refused by name."""
    base = MADE_UP[0].base
    async with standing_venue(pairs=30, seed=SEED, symbols=()) as (_, client):
        other = await client.with_key(account_id=2, funds={base: "12.5"})
        refused = await client.own("POST", "keys", {"account_id": 3, "funds": {"NOSUCH": "1"}})

        assert Decimal((await other.result("Balance"))[base]) == Decimal("12.5")
        assert "the funds in NOSUCH cannot be; assets are USD, EUR" in str(refused)
