"""Markdown as the pages of engine/docs are written."""

import inspect
import re
import textwrap
from collections.abc import Iterable

PROSE_COLUMNS = 92
WRITTEN = "<!-- Written from the code by tools/write-docs; edit the code, not this page. -->"


def page(parts: Iterable[str]) -> str:
    """A page of these blocks, with a remark that it is written."""
    title, *rest = parts
    return "\n\n".join([title, WRITTEN, *rest]) + "\n"


def prose(text: str) -> str:
    """A paragraph, wrapped."""
    return textwrap.fill(" ".join(text.split()), PROSE_COLUMNS, break_long_words=False, break_on_hyphens=False)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.cleandoc(text or ""))]


def first_paragraph(text: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return paragraphs(text)[0]


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]
