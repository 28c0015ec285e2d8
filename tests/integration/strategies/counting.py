"""A strategy that logs lines with numbers."""

from engine import BookTop, Strategy

LINES = 5  # a book


class Counting(Strategy):
    """At each book the next few numbers; its own log has no limit."""

    def on_start(self) -> None:
        self.number = 0

    def on_book(self, book: BookTop) -> None:
        for _ in range(LINES):
            self.number += 1
            self.context.log.info("counted", number=self.number)
