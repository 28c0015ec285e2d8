"""engine/docs/json.md tells what `--json` prints: each key, with its type, of each command that has it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from engine.cli.main import COMMANDS
from tests import reference
from tests.integration.rig import CALM, NOBODY_TOLD, Engines
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.integration.venue_rig import CheckedVenue
from tests.waiting import PATIENCE_S, eventually

PAGE = reference.DOCS / "json.md"
# Of these another page tells.
ELSEWHERE = {"engine status", "engine sources"}
# What only some of the commands under one heading print, or only some of the time.
PARTIAL = {
    "engine halt": {"mode", "canceling"},
    "engine resume": {"mode"},
    "engine cancel": {"canceling"},
    "engine backup": {"directory", "records", "history"},
    "engine restore": {"state_dir", "records", "history"},
    "engine doctor": {"ok", "checks[].name", "checks[].level", "checks[].text"},
    "engine keys test": {"ok", "checks[].name", "checks[].level", "checks[].text"},
    "engine notices test": {"ok", "checks[].name", "checks[].level", "checks[].text"},
}


def told() -> dict[str, dict[str, set[str]]]:
    """Of each command the keys of its table, and the types that each may have."""
    tables = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        rows = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \| [^|]+ \|$", section, flags=re.MULTILINE)
        keys = {key: set(kinds.split(" or ")) for key, kinds in rows}
        for command in section.split("\n", 1)[0].split(", "):
            tables[command] = {key: kinds for key, kinds in keys.items() if key in PARTIAL.get(command, keys)}
    return tables


def kind_of(value: object) -> str:
    """As the page calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {str: "text", int: "number", float: "number", list: "list"}[type(value)]


def keys_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(key, type) of every value of an object, as the page writes them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            step = "<asset>" if path.endswith("fees") else key
            yield from keys_of(inner, f"{path}.{step}" if path else step)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from keys_of(inner, f"{path}[]")
    else:
        yield path, kind_of(value)


def compare(command: str, *answers: Any) -> None:
    """Every key that was printed is told with this type, and every key that is told was printed."""
    keys = told()[command]
    found = [pair for answer in answers for pair in keys_of(answer)]

    assert [pair for pair in found if pair[0] not in keys or pair[1] not in keys[pair[0]]] == [], command
    assert keys.keys() - {key for key, _ in found} == set(), command


def commands_with_json() -> Iterator[str]:
    """Every command that has --json."""

    def look(name: str, command: click.Command) -> Iterator[str]:
        if isinstance(command, click.Group):
            for part, inner in command.commands.items():
                yield from look(f"{name} {part}", inner)
        elif any("--json" in parameter.opts for parameter in command.params):
            yield name

    for name in COMMANDS:
        yield from look(f"engine {name}", reference.command_of(name))


def test_every_command_with_json_is_told() -> None:
    """Here, or on the page of the summary."""
    assert set(commands_with_json()) == told().keys() | ELSEWHERE


def test_a_running_engine_prints_what_is_told(engines: Engines) -> None:
    """Orders and fills, positions, balances, sources, and what was asked for."""
    engine = engines.start("--venue", "local", "--symbols", "BTC/USD", "--strategy",
                           "engine.strategy.examples.quoter:Quoter")  # fmt: skip
    engine.wait_for(lambda status: status["fills"] >= 2 and status["trading"]["open_orders"], "it trades")

    def answer(*arguments: str) -> Any:
        done = engines.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    history = answer("orders", "--since", "1h")
    compare("engine orders", history)
    found = eventually(lambda: (now := answer("orders"))["orders"] and now, "an order is open")
    assert dict(keys_of(found)).keys() <= told()["engine orders"].keys()
    compare("engine fills", answer("fills"))
    compare("engine positions", answer("positions"))
    compare("engine balances", answer("balances"))
    assert answer("sources").keys() == answer("status")["sources"].keys()
    compare("engine cancel", answer("cancel", "--all"))
    compare("engine halt", answer("halt"))
    compare("engine resume", answer("resume"))
    compare("engine stop", answer("stop"))
    assert engine.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("engine check", ("check",)),
        ("engine doctor", ("doctor",)),
        ("engine keys test", ("keys", "test")),
    ],
)
def test_an_examination_prints_what_is_told(engines: Engines, command: str, arguments: tuple[str, ...]) -> None:
    """Of the computer, of a configuration, of a key."""
    venue = CheckedVenue(engines)

    compare(command, json.loads(engines.call(*arguments, venue.config(), "--json").stdout))


def test_a_key_that_comes_and_goes_prints_what_is_told(engines: Engines) -> None:
    """Stored where no configuration looks for it, so that a setting is named; and removed."""
    venue = CheckedVenue(engines)
    config, file = venue.config(), engines.folder / "kraken.key"
    file.unlink()
    lines = f"{venue.ready['api_key']}\n{venue.ready['api_secret']}\n"

    compare("engine keys add", json.loads(engines.call("keys", "add", config, "--json", lines=lines).stdout))
    compare("engine keys remove", json.loads(engines.call("keys", "remove", config, "--yes", "--json").stdout))


def test_a_target_that_nobody_is_behind_prints_what_is_told(engines: Engines) -> None:
    """A finding for each target."""
    config = engines.folder / "notices.toml"
    config.write_text(NOBODY_TOLD)

    compare("engine notices test", json.loads(engines.call("notices", "test", config, "--json").stdout))


def test_what_writes_and_lists_prints_what_is_told(engines: Engines) -> None:
    """A new folder, and every setting."""
    compare("engine new", json.loads(engines.call("new", "my-bot", "--json").stdout))
    compare("engine settings", json.loads(engines.call("settings", "--json").stdout))


def test_what_serves_prints_what_is_told(engines: Engines) -> None:
    """Page and metrics of a running engine."""
    engines.start(*CALM, "--symbols", "BTC/USD").wait_until_live()

    for command in ("page", "metrics"):
        serving = engines.spawn(command, "--port", 0, "--json", stdout=subprocess.PIPE)
        assert serving.stdout is not None
        compare(f"engine {command}", json.loads(serving.stdout.readline()))


def test_a_copy_of_the_state_prints_what_is_told(engines: Engines, tmp_path: Path) -> None:
    """Made of a running engine, and put in the place of another's."""
    engine = TradingEngine(TradingVenue(engines), tmp_path / "engine", relay=False).start()
    try:
        compare("engine backup", json.loads(engine.engines.call("backup", tmp_path / "copy", "--json").stdout))
    finally:
        engine.close()

    compare("engine restore", json.loads(engines.call("restore", tmp_path / "copy", "--json").stdout))


def test_a_watched_market_prints_what_is_told(engines: Engines) -> None:
    """A line for each trade and each book."""
    watch = engines.spawn(
        "watch", "BTC/USD", "--venue", "local", "--venue-options", "--rate 500", "--json", stdout=subprocess.PIPE
    )
    assert watch.stdout is not None
    lines: list[dict[str, Any]] = []
    while {line["type"] for line in lines} != {"book", "trade"} or len(lines) < 10:
        lines.append(json.loads(watch.stdout.readline()))
    watch.terminate()

    compare("engine watch", *lines)
    assert watch.wait(PATIENCE_S) == 0
