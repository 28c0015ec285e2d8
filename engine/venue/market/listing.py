"""The pairs that the venue lists beyond its own: made up, as many and as unlike as
Kraken's.

Kraken lists some 1,450 pairs of 620 assets. Their prices span fourteen powers of ten, their
precisions 0 to 10 decimals; a few are dealt in all the time, most hardly ever (Zipf's law);
some books are thinner than the ten levels that a checksum covers.

Deterministic: the same seed gives the same pairs in the same order, and fewer pairs are the
first of more. What an asset of a made-up pair is, follows from its name alone: see
`asset_spec`.
"""

from collections.abc import Iterator
from decimal import Decimal
from math import floor, log10
from random import Random
from typing import Final

import msgspec

from engine.units import PriceTicks, QtyLots
from engine.venue.market.history import LIVELIEST_WEIGHT
from engine.venue.market.pairs import ASSETS, PAIR_OF_SYMBOL, PAIRS, PairSpec

LISTED_MAX: Final = 2_000  # pairs of one venue; Kraken has some 1,450
ZIPF: Final = 1.2  # the pair of rank r has its share of the events by 1 / r**1.2

PRICE_USD_MIN: Final = 1e-8
PRICE_USD_MAX: Final = 1e6
PRICE_DECIMALS_MAX: Final = 10
EXTREME_OF: Final = 20  # one asset in so many is worth next to nothing, or a fortune
THIN_SHARE: Final = 0.06  # of the pairs have fewer levels than a checksum covers, at times
SPAN_MAX: Final = 0.3  # of the price: how far down the last bid usually is
WARM_UP_ACTIONS_MIN: Final = 30  # of a pair that hardly ever acts

# Names that a made-up asset cannot have: those of the venue's own, and REST's older ones.
_TAKEN: Final = frozenset({*ASSETS, "XBT", "XDG", "ZUSD", "ZEUR", "ZGBP", "ZJPY", "ZCAD", "ZAUD"})
_CONSONANTS: Final = "BCDFGHJKLMNPRSTVW"  # without X and Z, REST's prefixes of its oldest assets
_VOWELS: Final = "AEIOUY"


class _Quote(msgspec.Struct, frozen=True):
    """A currency that pairs are quoted in."""

    name: str
    usd: float  # the value of one
    share: float  # of the bases are quoted in it
    cost_min: str
    cost_decimals: int


_BTC, _ETH = (PAIR_OF_SYMBOL[symbol] for symbol in ("BTC/USD", "ETH/USD"))
_QUOTES: Final = (
    _Quote("USD", 1.0, 1.0, "0.50", 5),
    _Quote("EUR", 1.168, 0.85, "0.45", 5),
    _Quote("GBP", 1.34, 0.12, "0.50", 8),
    _Quote("USDT", 1.0, 0.1, "0.5000", 6),
    _Quote("USDC", 1.0, 0.08, "0.5000", 6),
    _Quote("BTC", _BTC.mid_ticks / 10**_BTC.price_decimals, 0.1, "0.00002", 10),
    _Quote("ETH", _ETH.mid_ticks / 10**_ETH.price_decimals, 0.06, "0.0002", 10),
    _Quote("JPY", 0.00636, 0.02, "50", 3),
)


class _Base(msgspec.Struct, frozen=True):
    """A made-up asset, as what is bought with a quote."""

    name: str
    usd: float
    qty_decimals: int
    typical_usd: float  # value of the median order
    digits: int  # significant ones of its prices


def listing(count: int, seed: int, zipf: float = ZIPF) -> tuple[PairSpec, ...]:
    """The first `count` pairs of the venue with this seed, the busiest first: its own, then
    made-up ones.

    Their shares of the events are those of Zipf's law with this exponent; 0 makes all
    equal.
    """
    made = _made_up(Random(f"{seed} listed pairs"))
    pairs = [*PAIRS[:count], *(next(made) for _ in range(count - len(PAIRS)))]
    return tuple(_ranked(pair, LIVELIEST_WEIGHT / rank**zipf) for rank, pair in enumerate(pairs, 1))


def _ranked(pair: PairSpec, weight: float) -> PairSpec:
    actions = int(pair.warm_up_actions * min(1.0, weight))
    return msgspec.structs.replace(pair, weight=weight, warm_up_actions=max(WARM_UP_ACTIONS_MIN, actions))


def _made_up(rng: Random) -> Iterator[PairSpec]:
    names: set[str] = set()
    rank = len(PAIRS)
    while True:
        base = _base(rng, names)
        for quote in _QUOTES:
            if rng.random() < quote.share and (pair := _pair(rng, base, quote, rank + 1)) is not None:
                rank += 1
                yield pair


def _base(rng: Random, names: set[str]) -> _Base:
    """An asset with a name that none has had."""
    name = _name(rng)
    while name in _TAKEN or name in names:
        name = _name(rng)
    names.add(name)
    if rng.random() < 1 / EXTREME_OF:
        low, high = (-8.0, -5.5) if rng.random() < 0.6 else (4.0, 6.0)
        exponent = rng.uniform(low, high)
    else:
        exponent = rng.gauss(-0.8, 1.5)
    usd = min(max(10.0**exponent, PRICE_USD_MIN), PRICE_USD_MAX)
    typical_usd = 10.0 ** rng.gauss(2.3, 0.5)
    (decimals,) = rng.choices((8, 5, 6, 4, 3, 2, 1, 0), (50, 30, 5, 5, 3, 3, 2, 2))
    # An order has a hundred lots at least, or its quantities would hardly differ.
    decimals = max(decimals, min(8, 2 - floor(log10(typical_usd / usd))))
    return _Base(name, usd, decimals, typical_usd, rng.choice((4, 5, 5, 6)))


def _name(rng: Random) -> str:
    """A name as of a coin: consonants and vowels in turn, now and then with a digit."""
    is_vowel = rng.random() < 0.25
    letters = []
    for _ in range(rng.choice((3, 3, 4, 4, 4, 5, 6))):
        letters.append(rng.choice(_VOWELS if is_vowel else _CONSONANTS))
        is_vowel = not is_vowel
    draw = rng.random()
    digit = str(rng.randint(0, 9))
    return digit + "".join(letters) if draw < 0.03 else "".join(letters) + (digit if draw < 0.06 else "")


def _pair(rng: Random, base: _Base, quote: _Quote, rank: int) -> PairSpec | None:
    """The pair of these two; None where its price is below what ten decimals can tell."""
    price = base.usd / quote.usd
    decimals = min(max(base.digits - 1 - floor(log10(price)), 1), PRICE_DECIMALS_MAX)
    mid_ticks = round(price * 10**decimals)
    gap_share = 10.0 ** rng.uniform(-4.3, -2.7)
    levels = int(260 * (len(PAIRS) / rank) ** 0.35 * 10.0 ** rng.uniform(-0.4, 0.3))
    if rng.random() < THIN_SHARE:
        levels = rng.randint(4, 12)
    if mid_ticks < 100:
        return None
    # All bids stand above one tick.
    levels = min(max(levels, 8 if levels > 12 else 4), 400, max(4, mid_ticks // 6))
    gap_share = min(gap_share, SPAN_MAX / (levels * (1 + levels / 100)))
    lots = base.typical_usd / base.usd * 10**base.qty_decimals
    return PairSpec(
        symbol=f"{base.name}/{quote.name}",
        price_decimals=decimals,
        qty_decimals=base.qty_decimals,
        cost_decimals=max(quote.cost_decimals, min(decimals + 2, PRICE_DECIMALS_MAX)),
        qty_min=_least_qty(base),
        cost_min=quote.cost_min,
        mid_ticks=PriceTicks(mid_ticks),
        gap_ticks=max(1, int(mid_ticks * gap_share)),
        levels_target=levels,
        typical_lots=QtyLots(int(lots)),
        weight=1.0,
    )


def _least_qty(base: _Base) -> str:
    """What some five dollars buy, to one digit, at least a lot."""
    lots = 5 / base.usd * 10**base.qty_decimals
    digit = 10 ** max(0, floor(log10(max(lots, 1.0))))
    least = max(1, int(lots / digit) * digit)
    return f"{Decimal(least).scaleb(-base.qty_decimals):.{base.qty_decimals}f}"
