"""The pages that people read say what the code says."""

import asyncio
import inspect
import re
from pathlib import Path

import click
import pytest

from engine.cli.main import COMMANDS
from engine.config import Config, override, settings
from engine.replay import Capture, replay
from engine.strategy.api import CALLBACKS, Context, Strategy
from engine.summary import ORDER_TOTALS, PAIR_TOTALS, TOTALS
from engine.topology import ROUTER_COUNTERS, ROUTER_HISTOGRAMS
from tests import reference

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "engine"
CAPTURE = ROOT / "tests" / "data" / "kraken" / "doc_book_examples.jsonl"
PAGES = [
    ROOT / "README.md",
    ENGINE / "ARCHITECTURE.md",
    ROOT / "bench" / "README.md",
    *sorted(reference.DOCS.glob("*.md")),
]


def name_of(path: Path) -> str:
    """For test names: engine/docs/commands.md."""
    return str(path.relative_to(ROOT))


def public(cls: type) -> set[str]:
    """The public names that a class itself defines or announces."""
    return {name for name in (*vars(cls), *inspect.get_annotations(cls)) if not name.startswith("_")}


@pytest.mark.parametrize("path", reference.pages(), ids=name_of)
def test_a_page_that_is_written_from_the_code_is_up_to_date(path: Path) -> None:
    """It is what tools/write-docs would write now: no entry is missing, none is stale."""
    assert path.read_text(encoding="utf-8") == reference.pages()[path], "run tools/write-docs"


def test_every_command_and_option_is_told() -> None:
    """The page of the commands has a section for each, with its arguments and options."""
    sections = (reference.DOCS / "commands.md").read_text().split("\n## engine ")[1:]
    told = {section.split("\n", 1)[0]: section for section in sections}

    assert list(told) == list(COMMANDS)
    for name in COMMANDS:
        for parameter in reference.command_of(name).params:
            if isinstance(parameter, click.Option):
                assert f"| `{parameter.opts[0]}` |" in told[name]
            else:
                assert parameter.make_metavar(click.Context(reference.command_of(name))) in told[name]


def test_every_setting_is_told_with_type_default_and_meaning() -> None:
    """The page of the configuration has one row for each, and no cell of it is empty."""
    text = (reference.DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)

    assert [row[0] for row in rows] == [setting.path.rpartition(".")[2] for setting in settings()]


def test_every_callback_and_call_of_a_strategy_is_told() -> None:
    """The page has each callback, each call, and each member of the context, and each has a docstring."""
    strategy = {member.name: member for member in reference.members_of(Strategy)}
    context = {member.name: member for member in reference.members_of(Context)}

    assert strategy.keys() == public(Strategy)
    assert context.keys() == public(Context)
    assert set(CALLBACKS) == {name for name in strategy if name.startswith("on_")}
    assert [m.name for m in (*strategy.values(), *context.values()) if not m.text] == []


def test_every_key_of_a_replay_summary_is_told() -> None:
    """A real summary of market data has no key that the page lacks."""
    capture = Capture(CAPTURE)
    config = override(Config(), symbols=tuple(capture.symbols))
    summary = asyncio.run(replay([capture], capture.symbols, [("nobody", Strategy())], config))
    # A null price and an empty object have no keys below them; a live run has them, see test_readme.
    unseen = {"symbols.<symbol>.best_bid", "symbols.<symbol>.best_ask"}

    assert set(reference.summary_keys(summary)) - unseen <= reference.summary_keys_told()


def test_every_total_and_counter_is_told() -> None:
    """Names that the summary takes from tables of the code are on the page, and the page has no others."""
    told = reference.summary_keys_told()

    assert {f"trading.counts.{name}" for name in ROUTER_COUNTERS} == {k for k in told if "trading.counts." in k}
    assert {f"orders.{name}" for name in ORDER_TOTALS} == {k for k in told if k.startswith("orders.")}
    assert {f"symbols.<symbol>.{name}" for name in PAIR_TOTALS} <= told
    assert set(TOTALS) <= told
    assert reference.latencies_told() == {"wire_to_strategy", *ROUTER_HISTOGRAMS}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_between_pages_leads_somewhere(path: Path) -> None:
    """A link to a file of this repository names one that exists, and a link to a section one that is there."""
    broken = []
    for link in re.findall(r"\]\(([^)#\s]*#?[^)\s]*)\)", path.read_text()):
        place, _, section = link.partition("#")
        if "://" in link:
            continue
        target = path.parent / place if place else path
        headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE) if section else []
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        if not target.exists() or (section and section not in anchors):
            broken.append(link)

    assert broken == []
