"""What Kraken's refusals mean, and what to change.

Texts as Kraken sends them, word for word.
"""

from difflib import get_close_matches

from engine.market import v2_symbol

BOOK_DEPTHS = (10, 25, 100, 500, 1000)

ALREADY_SUBSCRIBED = "Already subscribed"
MESSAGE_RATE_EXCEEDED = "Exceeded msg rate"
PAIR_NOT_SUPPORTED = "Currency pair not supported"


def advice(error: str, channel: str, symbol: str, known_symbols: list[str]) -> str:
    """One sentence: which subscription was refused, in Kraken's words, and what to do."""
    return f"Kraken refuses {channel} of {symbol} ({error}): {_mend(error, symbol, known_symbols)}"


def _mend(error: str, symbol: str, known_symbols: list[str]) -> str:
    if error.startswith(PAIR_NOT_SUPPORTED):
        renamed = v2_symbol(symbol.upper())
        if renamed != symbol:
            return f"use {renamed}"
        if symbol in known_symbols:
            return "this venue has taken the pair off its list, take it out of `symbols`"
        near = get_close_matches(symbol, known_symbols, n=1)
        return f"did you mean {near[0]}?" if near else "it is not a pair of this venue, take it out of `symbols`"
    if error == "Subscription depth not supported":
        return f"set feed.depth to one of {', '.join(map(str, BOOK_DEPTHS))}"
    if error.startswith("Already subscribed to one ohlc interval"):
        return "ask for one candle interval only"
    if error.startswith("Private data and trading are unavailable"):
        return "this channel is not a public one, use another endpoint"
    if error.startswith("Public market data subscriptions are unavailable"):
        return "set venue.url to the public endpoint, wss://ws.kraken.com/v2"
    return "see https://docs.kraken.com/api/docs/guides/spot-ws-intro"
