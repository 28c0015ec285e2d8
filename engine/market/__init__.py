"""Pairs and their order books, in integers; no wire format and no clock."""

from engine.market.book import Book, Side
from engine.market.pair import Pair, capitals, may_be_tokenized, v2_symbol

__all__ = ["Book", "Pair", "Side", "capitals", "may_be_tokenized", "v2_symbol"]
