"""The assumptions behind the profit of a paper run, reported beside it."""

from typing import Any, Final
from urllib.request import urlopen

import msgspec
from msgspec import Struct

TERMS_DEADLINE_S: Final = 10.0

ASSUMPTIONS: Final = (
    "An order waits behind all that stood at its price when it came, and only trades bring it forward.",
    "What your orders take stays taken until its level has gone; otherwise they move nothing, and nobody reacts.",
    "Orders that Kraken does not show, and levels beyond the hundredth, are not there to trade with.",
    "While a book is not verified nothing is filled, and new orders are refused.",
)


class Terms(Struct, frozen=True):
    """The fees and delays that the paper venue applied."""

    maker_fee_percent: float
    taker_fee_percent: float
    engine_latency_ms: tuple[float, float]
    """Of Kraken's engine, assumed: the least and the most."""
    round_trip_ms: float
    """To Kraken and back, measured last; an order's way takes as long."""


def paper_report(rest_url: str) -> dict[str, Any]:
    """The terms of the paper venue, which still runs, and the assumptions in words."""
    with urlopen(f"{rest_url}/venue/terms", timeout=TERMS_DEADLINE_S) as answer:
        terms = msgspec.json.decode(answer.read(), type=Terms)
    return {**msgspec.to_builtins(terms), "assumptions": list(ASSUMPTIONS)}
