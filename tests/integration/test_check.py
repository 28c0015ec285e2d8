"""`engine check`: from a configuration to a plain yes or no, against a venue in a process of its own."""

import json
import urllib.request

import pytest

from tests.integration.rig import PATIENCE_S, Engines
from tests.integration.venue_rig import LIMITS, TRADING, CheckedVenue


@pytest.fixture
def venue(engines: Engines) -> CheckedVenue:
    """A venue that stands still."""
    return CheckedVenue(engines)


def failures(found: dict[str, list[tuple[str, str]]]) -> dict[str, list[str]]:
    told = {name: [text for level, text in rows if level == "failure"] for name, rows in found.items()}
    return {name: texts for name, texts in told.items() if texts}


def test_a_sound_configuration_is_ready_and_nothing_was_ordered(venue: CheckedVenue) -> None:
    """For people and as JSON; the venue's ledger stays empty."""
    path = venue.config()
    code, found = venue.findings(path)
    for_people = venue.check(path)
    with urllib.request.urlopen(f"{venue.ready['rest']}/venue/ledger", timeout=PATIENCE_S) as answer:
        ledger = json.load(answer)

    assert (code, failures(found)) == (0, {})
    assert {"credentials", "system", "clock", "symbols", "key", "balances", "private", "tier", "limits"} <= found.keys()
    assert [level for level, _ in found["clock"]] == ["ok"]
    assert for_people.returncode == 0
    assert for_people.stdout.rstrip().endswith("ready to trade")
    assert for_people.stderr == ""
    assert not ledger["orders"]


def test_the_local_venue_is_checked_with_its_own_key(engines: Engines) -> None:
    """Without any configuration, and without a trace in the user's state."""
    done = engines.call("check", "--venue", "local")

    assert (done.returncode, done.stderr) == (0, "")
    assert "ready to trade" in done.stdout


@pytest.mark.parametrize(
    ("code", "params", "sentence"),
    [
        ("from engine import Strategy\nprint('hello')\nclass Bot(Strategy):\n    qty: int = 1\n", "", ""),
        ("def (\n", "", "cannot be imported: line 1: invalid syntax"),
        ("from engine import Strategy\nclass Bot(Strategy):\n    qty: int = 1\n", "params = { qtty = 5 }", "mean qty?"),
        ("import os\nos._exit(0)\n", "", "ended before they were loaded"),
        (None, "", "there is no file"),
    ],
)
def test_a_strategy_that_cannot_be_loaded_is_a_failure(
    venue: CheckedVenue, code: str | None, params: str, sentence: str
) -> None:
    """`engine run` would end with the same sentence. What its code prints is no part of the answer."""
    if code is not None:
        (venue.engines.folder / "bot.py").write_text(code)
    path = venue.config(more=f'{LIMITS}[[strategy]]\ntarget = "bot.py"\n{params}\n')
    returncode, found = venue.findings(path)
    ((level, text),) = found["strategies"]

    assert (returncode, level) == ((2, "failure") if sentence else (0, "ok"))
    assert sentence in text


def test_no_code_of_a_strategy_runs_beside_the_key(venue: CheckedVenue) -> None:
    """It finds none in its environment, and is loaded in another process."""
    (venue.engines.folder / "bot.py").write_text(
        "import os\nfrom engine import Strategy\nclass Bot(Strategy):\n    pass\n"
        "assert not [name for name in os.environ if name.startswith('KRAKEN_API')], 'the key is here'\n"
    )
    path = venue.config(more=f'{LIMITS}[[strategy]]\ntarget = "bot.py"\n')
    path.write_text(path.read_text().replace('credentials_file = "kraken.key"\n', ""))
    key = {"KRAKEN_API_KEY": venue.ready["api_key"], "KRAKEN_API_SECRET": venue.ready["api_secret"]}

    assert venue.findings(path, **key)[1]["strategies"] == [("ok", "loaded: Bot")]


def test_a_key_with_the_wrong_permissions_says_which_box(venue: CheckedVenue) -> None:
    """One sentence, and exit code 2."""
    code, found = venue.findings(venue.config(venue.key(permissions=[*TRADING, "withdraw-funds"])))

    assert code == 2
    assert list(failures(found)) == ["key"]
    assert 'untick "Funds: Withdraw"' in failures(found)["key"][0]


def test_an_unknown_symbol_says_the_likely_one(venue: CheckedVenue) -> None:
    """Of those that the venue lists."""
    code, found = venue.findings(venue.config(symbols="BTC/USX"))

    assert code == 2
    assert "did you mean BTC/USD" in failures(found)["symbols"][0]


def test_limits_that_are_missing_or_too_small_are_failures(venue: CheckedVenue) -> None:
    """Without limits, live trading does not start; with such a one, nothing could be ordered."""
    small = LIMITS.replace("order_notional_max = 1000", "order_notional_max = 0.1")
    code, found = venue.findings(venue.config(more=small))

    assert code == 2
    assert "raise it" in failures(found)["limits"][0]
    no_limits = venue.check(venue.config(more=""))
    assert no_limits.returncode == 2
    assert "risk.order_notional_max is missing" in no_limits.stderr + no_limits.stdout


def test_a_key_file_that_others_can_read_is_refused_and_the_public_side_still_checked(venue: CheckedVenue) -> None:
    """With the command that mends it."""
    path = venue.config()
    secrets = path.parent / "kraken.key"
    secrets.chmod(0o644)
    code, found = venue.findings(path)

    assert code == 2
    assert failures(found)["credentials"][0].endswith(f"run: chmod 600 {secrets}")
    assert found["symbols"][0][0] == "ok"
    assert "private" not in found


def test_a_key_from_the_environment_is_taken_with_a_warning(venue: CheckedVenue) -> None:
    """Other programs of the user can read it."""
    path = venue.config()
    path.write_text(path.read_text().replace('credentials_file = "kraken.key"\n', ""))
    key = {"KRAKEN_API_KEY": venue.ready["api_key"], "KRAKEN_API_SECRET": venue.ready["api_secret"]}
    code, found = venue.findings(path, **key)

    assert code == 0
    assert found["credentials"][0][0] == "warning"


def test_which_implementation_runs_is_said(venue: CheckedVenue) -> None:
    """The portable one with the reason, and as advice: nothing is wrong."""
    code, found = venue.findings(venue.config(), ENGINE_PORTABLE="1")

    assert code == 0
    assert found["native"] == [("advice", "no (ENGINE_PORTABLE is set)")]


def test_a_venue_that_is_not_there_is_one_sentence(engines: Engines) -> None:
    """REST that nobody answers on; and a --venue that is none."""
    done = engines.call("check", "--venue", "http://127.0.0.1:1", "--venue", "ws://127.0.0.1:1/v2")
    nonsense = engines.call("check", "--venue", "kraken")

    assert done.returncode == nonsense.returncode == 2
    assert "cannot be reached" in done.stdout
    assert "connection refused" in done.stdout
    assert "--venue must be local" in nonsense.stderr


def test_limits_that_count_two_currencies_alike_are_pointed_out(engines: Engines) -> None:
    """A thousand is another sum in BTC than in USD; limits of the pair mend it."""
    venue = CheckedVenue(engines)
    two = venue.check(venue.config(symbols='BTC/USD", "ETH/BTC'), "--json")
    pairs = "".join(
        f'[[risk.pair]]\nsymbol = "{symbol}"\norder_qty_max = 1\nposition_qty_max = 2\n'
        for symbol in ("BTC/USD", "ETH/BTC")
    )
    mended = venue.check(venue.config(symbols='BTC/USD", "ETH/BTC', more=LIMITS + pairs), "--json")

    assert "count 1 BTC as much as 1 USD; give [[risk.pair]]" in two.stdout
    assert "as much as" not in mended.stdout
