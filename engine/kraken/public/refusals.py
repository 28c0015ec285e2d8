"""The sentence about a refused subscription: Kraken's words, and what to change.

The meaning of an error is in the catalogue; this adds the pair, and names that Kraken
lists.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from engine.kraken.connection.error_catalog import PAIR_NOT_SUPPORTED, UNKNOWN_TEXT, meaning
from engine.market import capitals, may_be_tokenized, v2_symbol

# Status of a pair that is gone, as the instrument channel tells it.
DELISTED: Final = "delisted"
GUIDE: Final = "see https://docs.kraken.com/api/docs/guides/spot-ws-intro"


def refusal_text(
    error: str, channel: str, symbol: str, listed: Mapping[str, str], *, is_configured: bool = True
) -> str:
    """Which subscription was refused, in Kraken's words, and what to change; `symbol` is
    "all pairs" for none.

    `listed` is the status of each pair that the instrument channel told of; empty before
    its snapshot. `is_configured`: the pair is one of the configuration's `symbols`.
    """
    what = meaning(error)
    if what is PAIR_NOT_SUPPORTED:
        mend, joint = _symbol_mend(symbol, listed)
        if joint and is_configured:
            mend += f"{joint}take it out of `symbols`"
    else:
        mend = GUIDE if what is UNKNOWN_TEXT else what.advice
    return f"Kraken refuses {channel} of {symbol} ({error}): {mend}"


def _symbol_mend(symbol: str, listed: Mapping[str, str]) -> tuple[str, str]:
    """What to write for a pair that Kraken does not offer: a listed name, or what a v1 name
    or wrong case means; and what joins the advice to do without the pair, empty for none.
    """
    if symbol in listed:
        return f"Kraken lists the pair as {listed[symbol]} and does not offer it", "; "
    offered = [name for name, status in listed.items() if status != DELISTED]
    meant = v2_symbol(symbol.upper()).upper()
    if alike := [name for name in offered if name.upper() == meant]:
        return f"use {' or '.join(alike)}", ""
    plain = v2_symbol(capitals(symbol))
    if plain not in (symbol, *listed) and not may_be_tokenized(symbol):
        return f"use {plain}", ""
    if not listed:  # as a rule: Kraken refuses at once, and tells its pairs a moment later
        return "check its letters (tokenized stocks have a small x, as AAPLx/USD)", ", or "
    near = get_close_matches(symbol, offered, n=1)
    return (f"did you mean {near[0]}?", "") if near else ("it is not a pair of this venue", ", ")
