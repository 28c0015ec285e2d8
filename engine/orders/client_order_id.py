"""Client order ids: which strategy, which run, which order, in 18 characters that Kraken takes.

    quoter 1k8f2a 00002r
    tag    run    number        lower-case letters and digits, six each; run and number in base 36

Kraken takes free text of up to 18 ASCII characters as `cl_ord_id`; letters and digits alone are safe with every
client that we know. The run differs for every start of an engine, so an id is never used twice, and a journal, a
snapshot or Kraken's own page says whose order it was.
"""

import re
from collections.abc import Iterable

from engine.errors import MisuseError

PART_CHARS = 6
NUMBER_MAX = 36**PART_CHARS - 1  # two thousand million orders in one run
RUN_MAX = NUMBER_MAX
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NOT_PLAIN = re.compile(r"[^0-9a-z]")


def client_order_id(tag: str, run: int, number: int) -> str:
    """The id of an engine run's `number`th order of the strategy with this tag."""
    if len(tag) != PART_CHARS or not 0 <= run <= RUN_MAX or not 0 <= number <= NUMBER_MAX:
        raise MisuseError(f"no client order id for tag {tag!r}, run {run}, order {number}")
    return f"{tag}{_base36(run)}{_base36(number)}"


def order_tags(strategies: Iterable[str]) -> dict[str, str]:
    """A tag of six characters for each strategy, from its name; of names alike, all but the first get a number."""
    tags: dict[str, str] = {}
    taken: set[str] = set()
    for name in strategies:
        plain = _NOT_PLAIN.sub("", name.lower())[:PART_CHARS]
        tag = plain.ljust(PART_CHARS, "0")
        for twin in range(1, 36 * 36):
            if tag not in taken:
                break
            suffix = _base36(twin).lstrip("0")
            tag = plain[: PART_CHARS - len(suffix)].ljust(PART_CHARS - len(suffix), "0") + suffix
        taken.add(tag)
        tags[name] = tag
    return tags


# Hot: an id is made while an order is, and three looks at a table take a third of six divisions.
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_PAIR = len(_PAIRS)


def _base36(number: int) -> str:
    upper, low = divmod(number, _PAIR)
    high, middle = divmod(upper, _PAIR)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
