"""The order books of this process: the compiled implementation where it is installed, else
the portable one, `engine.market.book`.

Apart from the package's face, because the choice looks at files and at the environment
(`engine.native`): whoever only needs a `Pair` must not bring that in.
"""

from typing import TYPE_CHECKING

from engine.native import CORE

if TYPE_CHECKING or CORE is None:
    from engine.market.book import Book, Side
else:
    Book, Side = CORE.Book, CORE.Side

__all__ = ["Book", "Side"]
