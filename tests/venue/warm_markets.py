"""Opened markets from memory: what an order flow does before the first client depends on pair
and seed alone, and most tests of the venue open the same few.

The first market of a pair and a seed is opened by the venue's own code. The next ones get that
book, order by order, that flow's state, and the same actions, which the venue's code then puts
into tape, candles and the public view at times of their own.
"""

import pickle
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from engine.venue.market.order_flow import OrderFlow
from engine.venue.market.pair_market import PairMarket

MARKETS_MAX: Final = 64  # of up to a megabyte

WARM_UP: Final = PairMarket.warm_up
_remembered: OrderedDict[object, tuple[bytes, Any]] = OrderedDict()


def _remember(market: PairMarket, flow: OrderFlow) -> Any:
    key = (market.pair, pickle.dumps(vars(flow)))
    if (found := _remembered.get(key)) is None:
        told = WARM_UP(market, flow)
        _remembered[key] = pickle.dumps((vars(market.book), vars(flow))), told
        if len(_remembered) > MARKETS_MAX:
            _remembered.popitem(last=False)
        return told
    state, told = found
    _remembered.move_to_end(key)
    book, acting = pickle.loads(state)
    vars(market.book).update(book)
    # The flow goes on in this market's book.
    vars(flow).update(acting | {name: value for name, value in vars(flow).items() if value is market.book})
    return told


@contextmanager
def warm_markets() -> Iterator[None]:
    """Every market that is opened meanwhile is remembered, or comes from memory."""
    PairMarket.warm_up = _remember  # type: ignore[method-assign]
    try:
        yield
    finally:
        PairMarket.warm_up = WARM_UP  # type: ignore[method-assign]
