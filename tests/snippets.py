"""The fenced blocks of the pages, and what each kind of them promises.

```python     code of ours: its first line names its file (`# my_bot.py`), and the page's walk runs it;
              `# ccxt` and the like name another client, whose code is compiled alone
```toml       settings; a first line `# my.toml` names the file
```console    what is typed after `$ `, and what is then shown: the page's walk types it
```           anything else: its lines that are commands are parsed
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests import reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "bench" / "README.md", ROOT / "engine" / "ARCHITECTURE.md",
         *sorted((ROOT / ".github").glob("*.md")), *sorted(reference.DOCS.glob("*.md")),
         *sorted((ROOT / "engine" / "strategy" / "templates").rglob("README.md"))]  # fmt: skip
OTHER_CLIENTS = ("ccxt", "python-kraken-sdk", "freqtrade")


class Snippet(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The file that its first line names; empty when it names none."""
        found = re.match(r"# (\S+\.(?:py|toml))\b.*\n", self.text)
        return found[1] if found else ""

    @property
    def is_of_another_client(self) -> bool:
        return self.text.startswith(tuple(f"# {name}\n" for name in OTHER_CLIENTS))


def snippets_of(page: Path) -> Iterator[Snippet]:
    """The fenced blocks of a page."""
    text = page.read_text()
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield Snippet(page, text.count("\n", 0, block.start()) + 1, block[1], block[2])


def walked_pages() -> list[Path]:
    """The pages that have something to type or to run: tests/integration/test_pages.py walks through each."""
    return [
        page
        for page in PAGES
        if any(
            snippet.kind == "console" or (snippet.kind == "python" and not snippet.is_of_another_client)
            for snippet in snippets_of(page)
        )
    ]
