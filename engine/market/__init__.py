"""Pairs and their order books, in integers; no wire format and no clock.

Books are imported from `engine.market.books`, which chooses their implementation.
"""

from engine.market.pair import Pair, capitals, may_be_tokenized, v2_symbol

__all__ = ["Pair", "capitals", "may_be_tokenized", "v2_symbol"]
