"""Symbols of pairs as a user writes them: checks, and advice for another notation."""

import re
from collections.abc import Sequence

from engine.config.schema import SYMBOLS_MAX
from engine.config.wording import config_error, value_text
from engine.market import capitals, may_be_tokenized, v2_symbol

# BASE/QUOTE in the letters that Kraken uses: 1INCH/USD, ETH2.S/ETH, AAPLx/USD. Whether the
# pair exists, Kraken decides.
SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,23}/[A-Za-z0-9][A-Za-z0-9.-]{0,23}")
QUOTES = (
    "USDT",
    "USDC",
    "USD",
    "EUR",
    "GBP",
    "CAD",
    "AUD",
    "CHF",
    "JPY",
    "BTC",
    "XBT",
    "ETH",
)  # only for advice in errors


def parse_symbols(text: str, place: str = "symbols") -> tuple[str, ...]:
    """Parse `BTC/USD,ETH/USD`; raises ConfigError, which begins with `place`."""
    symbols = [part.strip() for part in text.split(",") if part.strip()]
    return checked_symbols(symbols, place)


def checked_symbols(symbols: Sequence[str], place: str) -> tuple[str, ...]:
    """Return `symbols` if each is BASE/QUOTE in v2's names and none is there twice.

    Raises ConfigError.
    """
    if not symbols:
        raise config_error(f"{place} must name at least one pair, e.g. BTC/USD")
    if len(symbols) > SYMBOLS_MAX:
        raise config_error(f"{place} must be at most {SYMBOLS_MAX} pairs, not {len(symbols)}")
    seen: set[str] = set()
    for symbol in symbols:
        if wrong := symbol_mistake(symbol):
            raise config_error(f"{place} has {wrong}")
        if symbol in seen:
            raise config_error(f"{place} has {symbol} twice; remove one")
        seen.add(symbol)
    return tuple(symbols)


def symbol_mistake(symbol: str) -> str:
    """What is wrong with a name that cannot be a pair's, and what to write; empty for one
    that can.
    """
    likely = _likely_symbol(symbol)
    if symbol == likely and SYMBOL.fullmatch(symbol):
        return ""
    mend = f"use {likely}"
    if not SYMBOL.fullmatch(likely):
        mend = "write it as BASE/QUOTE, e.g. BTC/USD"
    elif may_be_tokenized(_slashed(symbol)):
        mend = "write it in capitals, with a small x only at the end of a tokenized stock, e.g. AAPLx/USD"
    return f"{value_text(symbol)}, which is no symbol of Kraken's v2; {mend}"


def _likely_symbol(text: str) -> str:
    """The symbol that `xbt/usd`, `BTC-USD` or `BTCUSD` means: BTC/USD.

    A name that may be Kraken's stays as it is.
    """
    return v2_symbol(capitals(_slashed(text)))


def _slashed(text: str) -> str:
    """Write `BTC-USD`, `BTC / USD` and `BTCUSD` as BTC/USD."""
    if "/" in text:
        return re.sub(r"\s*/\s*", "/", text.strip())
    plain = re.sub(r"[-_: ]", "/", text.strip())
    if "/" in plain:
        return plain
    quote = next((quote for quote in QUOTES if plain.upper().endswith(quote) and len(plain) > len(quote)), "")
    return f"{plain[: -len(quote)]}/{plain[-len(quote) :]}" if quote else plain
