"""Client order ids: strategy, run and number of an order, in 18 characters that Kraken
takes.

    quoter 1k8f2a 00002r
    tag    run    number        six lower-case letters and digits each; base 36

Kraken takes free text of up to 18 ASCII characters as `cl_ord_id`; letters and digits alone
are safe with every known client. The run differs for every start of an engine, so an id is
never used twice, and the journal, a snapshot or Kraken's own page shows whose order it was.
In the engine, a client order id is the order's `key`.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice, product

from engine.errors import MisuseError

PART_CHARS = 6
ID_CHARS = 3 * PART_CHARS
RUN_MAX = 36**PART_CHARS - 1  # as many orders has a run: two thousand million
EXIT_TAG = "EXIT00"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NOT_PLAIN = re.compile(r"[^0-9a-z]")
# What Kraken takes as `cl_ord_id`. Letters of a UUID or of hexadecimal digits are small,
# because Kraken stores the number and may tell it back so; free text has no more characters
# than clients are known to send.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}")
_FREE = re.compile(rf"[0-9A-Za-z_.-]{{1,{ID_CHARS}}}")


def client_order_ids(tag: str, run: int) -> Iterator[str]:
    """The ids of the first, second, … order of the strategy with this tag in an engine's
    run.

    No two threads are given the same one. MisuseError when tag or run does not fit an id:
    it is never cut to fit, for then it would not be unique.
    """
    # Hot: an id is made while an order is. Made of parts by C code alone, it takes a
    # quarter of the time.
    return islice(map("".join, product((id_prefix(tag, run),), _PAIRS, _PAIRS, _PAIRS)), 1, None)


def id_prefix(tag: str, run: int) -> str:
    """The beginning of all ids of a strategy in a run; MisuseError as `client_order_ids`."""
    if len(tag) != PART_CHARS or not 0 <= run <= RUN_MAX:
        raise MisuseError(f"no client order id for tag {tag!r}, run {run}")
    return tag + _base36(run)


def exit_id(run: int, number: int) -> str:
    """The id of the exit with this number, over all runs, which the router sends in this
    run for a bracket. No strategy's tag has capitals.
    """
    return EXIT_TAG + _base36(run) + _base36(number)


def is_made_here(key: str, run: int) -> bool:
    """True if an id is one that `client_order_ids` makes in this run: no other program has
    it.
    """
    return len(key) == ID_CHARS and key[PART_CHARS : 2 * PART_CHARS] == _base36(run)


def is_client_order_id(text: str) -> bool:
    """True if Kraken takes this as a client order id and tells it back as it is: a UUID, 32
    hexadecimal digits, or up to 18 letters, digits, dashes, dots and underlines.
    """
    return any(form.fullmatch(text) for form in (_UUID, _HEX, _FREE))


def order_tags(strategies: Iterable[str]) -> dict[str, str]:
    """A tag of six characters for each strategy, from its name; similar names get a number,
    except the first."""
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


_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_PAIR = len(_PAIRS)


def _base36(number: int) -> str:
    upper, low = divmod(number, _PAIR)
    high, middle = divmod(upper, _PAIR)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
