"""What Kraken's refusals mean, and what to change.

Texts as Kraken sends them, word for word.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from engine.market import capitals, may_be_tokenized, v2_symbol

BOOK_DEPTHS = (10, 25, 100, 500, 1000)

ALREADY_SUBSCRIBED = "Already subscribed"
MESSAGE_RATE_EXCEEDED = "Exceeded msg rate"
PAIR_NOT_SUPPORTED = "Currency pair not supported"

DELISTED = "delisted"  # status of a pair that is gone, as the instrument channel tells it


def advice(error: str, channel: str, symbol: str, listed: Mapping[str, str]) -> str:
    """One sentence: which subscription was refused, in Kraken's words, and what to do.

    `listed` is what the instrument channel told of each pair's status; empty before its snapshot.
    """
    return f"Kraken refuses {channel} of {symbol} ({error}): {_mend(error, symbol, listed)}"


def _mend(error: str, symbol: str, listed: Mapping[str, str]) -> str:
    if error.startswith(PAIR_NOT_SUPPORTED):
        return _mend_symbol(symbol, listed)
    if error == "Subscription depth not supported":
        return f"set feed.depth to one of {', '.join(map(str, BOOK_DEPTHS))}"
    if error.startswith("Already subscribed to one ohlc interval"):
        return "ask for one candle interval only"
    if error.startswith("Private data and trading are unavailable"):
        return "this channel is not a public one, use another endpoint"
    if error.startswith("Public market data subscriptions are unavailable"):
        return "set venue.url to the public endpoint, wss://ws.kraken.com/v2"
    return "see https://docs.kraken.com/api/docs/guides/spot-ws-intro"


def _mend_symbol(symbol: str, listed: Mapping[str, str]) -> str:
    """Names what Kraken lists, or what is plainly meant by a name of v1 or one that is not in capitals."""
    if symbol in listed:
        return f"Kraken lists the pair as {listed[symbol]} and does not offer it; take it out of `symbols`"
    offered = [name for name, status in listed.items() if status != DELISTED]
    meant = v2_symbol(symbol.upper()).upper()
    if alike := [name for name in offered if name.upper() == meant]:
        return f"use {' or '.join(alike)}"
    plain = v2_symbol(capitals(symbol))
    if plain not in (symbol, *listed) and not may_be_tokenized(symbol):
        return f"use {plain}"
    if not listed:  # as a rule: Kraken refuses at once, and tells its pairs a moment later
        return "check its letters (tokenized stocks have a small x, as AAPLx/USD), or take it out of `symbols`"
    near = get_close_matches(symbol, offered, n=1)
    return f"did you mean {near[0]}?" if near else "it is not a pair of this venue, take it out of `symbols`"
