"""Pairs and their order books, in integers; no wire format and no clock."""

from typing import TYPE_CHECKING

from engine.market.pair import Pair, capitals, may_be_tokenized, v2_symbol
from engine.native import CORE

if TYPE_CHECKING or CORE is None:
    from engine.market.book import Book, Side
else:
    Book, Side = CORE.Book, CORE.Side

__all__ = ["Book", "Pair", "Side", "capitals", "may_be_tokenized", "v2_symbol"]
