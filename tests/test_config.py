"""Configuration: TOML in, frozen Structs out, or one sentence that says what to change."""

import json
import re
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import config as config_module
from engine.config import Config, StrategyConfig, load_config, override, parse_symbols
from engine.config import settings as all_settings
from engine.errors import ConfigError
from engine.order_router.settings import core_settings
from engine.strategy.loader import load_class

EXAMPLE = Path(config_module.__file__).parent.parent / "strategy" / "examples" / "engine.toml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config")


def load(folder: Path, toml: str | bytes) -> Config:
    path = folder / "engine.toml"
    path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    return load_config(path)


def refusal(folder: Path, toml: str | bytes) -> str:
    """The sentence of the error, without the folder."""
    with pytest.raises(ConfigError) as refused:
        load(folder, toml)
    return str(refused.value).replace(f"{folder}/", "")


# --- what works


def test_an_empty_file_is_the_defaults(folder: Path) -> None:
    """Every setting has a default."""
    assert load(folder, "") == Config()


def test_values_of_a_file_replace_defaults(folder: Path) -> None:
    """A setting that is given replaces its default, the others keep theirs; an integer is a
    number.
    """
    config = load(
        folder,
        """
        name = "paper"
        symbols = ["ETH/USD", "BTC/USD"]
        feed = { depth = 100, heartbeat_silence_s = 4, candle_intervals_min = [] }
        log.format = "json"
        [[strategy]]
        target = "bots.quoter:Quoter"
        symbols = ["BTC/USD"]
        params = { spread_bps = 12.5, nested = { deep = [1, "two"] } }
        """,
    )

    assert (config.name, config.symbols) == ("paper", ("ETH/USD", "BTC/USD"))
    assert (config.feed.depth, config.feed.heartbeat_silence_s, config.feed.candle_intervals_min) == (100, 4.0, ())
    assert type(config.feed.heartbeat_silence_s) is float
    assert config.feed.publish_levels == Config().feed.publish_levels
    assert config.log.format == "json"
    assert config.strategies == (
        StrategyConfig(
            target="bots.quoter:Quoter",
            symbols=("BTC/USD",),
            params={"spread_bps": 12.5, "nested": {"deep": [1, "two"]}},
        ),
    )


def test_paths_count_from_the_folder_of_the_file(folder: Path) -> None:
    """`target = "bot.py"` means a file beside engine.toml, wherever the engine is started;
    a module does not.
    """
    tables = "".join(
        f'[[strategy]]\ntarget = "{t}"\n' for t in ("bot.py", "bots/a.py:A", "/abs/b.py", "bots.a:A", "quoter")
    )
    config = load(folder, f'venue.ca_file = "ca.pem"\n{tables}')

    assert config.venue.ca_file == str(folder / "ca.pem")
    assert [strategy.target for strategy in config.strategies] == [
        str(folder / "bot.py"),
        str(folder / "bots/a.py:A"),
        "/abs/b.py",
        "bots.a:A",
        "quoter",
    ]


def test_paths_of_a_file_that_is_named_from_here_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks the engine for its state directory does so from another place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engine.toml").write_text('trading.state_dir = "state"\n[[strategy]]\ntarget = "bot.py"\n')
    for path in (Path("engine.toml"), Path()):
        config = load_config(path)

        assert config.trading.state_dir == str(tmp_path / "state")
        assert config.strategies[0].target == str(tmp_path / "bot.py")


def test_the_example_shows_every_setting_at_its_default() -> None:
    """The documented example loads, has every key, and is the defaults except for pairs and
    strategy.
    """
    config = load_config(EXAMPLE)
    # Settings without a default are comments there: `# key = value`, or a table's `#
    # [[table]]`.
    written = tomllib.loads(re.sub(r"^# (?=\[\[|\w+ = )", "", EXAMPLE.read_text(), flags=re.M))

    def keys(table: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for key, value in table.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                found |= keys(value[0], f"{prefix}{key}[].")
            elif isinstance(value, dict) and key not in ("params", "levels"):
                found |= keys(value, f"{prefix}{key}.")
            else:
                found.add(f"{prefix}{key}")
        return found

    assert keys(written) == {setting.path for setting in all_settings()}
    assert msgspec.structs.replace(config, symbols=Config().symbols, strategies=()) == Config()
    assert load_class(config.strategies[0].target).__name__ == "SpreadWatch"


def test_every_setting_says_what_it_means() -> None:
    """Every setting has a meaning, and every path exists once."""
    paths = [setting.path for setting in all_settings()]

    assert len(paths) == len(set(paths))
    assert all(len(setting.meaning) > 10 for setting in all_settings())


UNITS = r"_(s|ms|min)(_min|_max)?$|_per_(s|minute)(_max)?$|_delay_m\w+_s$|_percent$|_(qty|notional|loss|orders)_max$"


def test_every_number_says_its_unit() -> None:
    """A number's name ends in its unit, or counts things: a silence of 3 what?"""
    counts = {
        "shards", "depth", "publish_levels", "ring_slots", "symbols_per_request", "breaker_failures", "candle_history",
        "backoff_factor", "attempts_max", "pairs_added_max",
    }  # fmt: skip
    for setting in all_settings():
        name = setting.path.rpartition(".")[2]
        if isinstance(setting.default, int | float) and not isinstance(setting.default, bool):
            assert name in counts or re.search(UNITS, name)


def test_configuration_is_frozen() -> None:
    """A setting cannot be assigned to."""
    with pytest.raises(AttributeError):
        Config().feed.depth = 25  # type: ignore[misc]


# --- what does not


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("feed.dept = 10", "engine.toml: feed.dept is not a setting; did you mean feed.depth?"),
        ("depth = 10", "engine.toml: depth is not a setting; did you mean feed.depth?"),
        ("dept = 10", "engine.toml: dept is not a setting; did you mean feed.depth?"),
        (
            "zzz = 10",
            "engine.toml: zzz is not a setting; there are name, symbols, venue, feed, connection, fallback, engine, "
            "strategy, trading, risk, metrics, page, notices, log",
        ),
        ('"a\\nb\\u2028" = 1', 'engine.toml: "a\\nb\\u2028" is not a setting; there are name, symbols, '),
        (
            'log.levels = { order_ruter = "debug" }',
            "engine.toml: log.levels.order_ruter is no module that logs; did you mean order_router?",
        ),
        (
            'log.levels = { rest = "loud" }',
            'engine.toml: log.levels.rest must be one of debug, error, info, warning, not "loud"',
        ),
        (
            "connection.backoff_min_s = 60",
            "engine.toml: connection.backoff_min_s must be at most connection.backoff_max_s, which is 30, not 60",
        ),
        ('feed.depth = "ten"', 'engine.toml: feed.depth must be a whole number, not "ten"'),
        ("feed.depth = 10.0", "engine.toml: feed.depth must be a whole number, not 10.0"),
        ("feed.depth = true", "engine.toml: feed.depth must be a whole number, not true"),
        ("feed.depth = 27", "engine.toml: feed.depth must be one of 10, 25, 100, 500, 1000, not 27"),
        ("feed.depth = [10]", "engine.toml: feed.depth must be a whole number, not a list"),
        ("feed.depth = 2026-01-01", "engine.toml: feed.depth must be a whole number, not 2026-01-01"),
        ("feed.trades = 1", "engine.toml: feed.trades must be true or false, not 1"),
        ("feed.conflate = 1", "engine.toml: feed.conflate must be text, not 1"),
        ('feed.conflate = "all"', 'engine.toml: feed.conflate must be one of burst, none, not "all"'),
        ("feed.shards = 0", "engine.toml: feed.shards must be from 1 to 16, not 0"),
        ("feed.shards = 0x" + "f" * 9999, "engine.toml: feed.shards must be from 1 to 16, not a number of 39996 bits"),
        ("feed.book_silence_s = nan", "engine.toml: feed.book_silence_s must be a number, not nan"),
        ("feed.book_silence_s = inf", "engine.toml: feed.book_silence_s must be a number, not inf"),
        ("feed.book_silence_s = 1", "engine.toml: feed.book_silence_s must be from 5 to 3600, not 1"),
        ("feed = 3", "engine.toml: feed must be a table, written [feed], not 3"),
        ("symbols = 'BTC/USD'", 'engine.toml: symbols must be a list, not "BTC/USD"'),
        ("symbols = ['BTC/USD', 7]", "engine.toml: symbols[1] must be text, not 7"),
        ("symbols = []", "engine.toml: symbols must name at least one pair, e.g. BTC/USD"),
        ("symbols = ['BTC/USD', 'BTC/USD']", "engine.toml: symbols has BTC/USD twice; remove one"),
        (
            "symbols = ['XBT/USD']",
            'engine.toml: symbols has "XBT/USD", which is no symbol of Kraken\'s v2; use BTC/USD',
        ),
        (
            "symbols = ['XDG/EUR']",
            'engine.toml: symbols has "XDG/EUR", which is no symbol of Kraken\'s v2; use DOGE/EUR',
        ),
        (
            "symbols = ['eth/xbt']",
            'engine.toml: symbols has "eth/xbt", which is no symbol of Kraken\'s v2; use ETH/BTC',
        ),
        (
            "symbols = ['BTC-USD']",
            'engine.toml: symbols has "BTC-USD", which is no symbol of Kraken\'s v2; use BTC/USD',
        ),
        (
            "symbols = ['XBTUSDT']",
            'engine.toml: symbols has "XBTUSDT", which is no symbol of Kraken\'s v2; use BTC/USDT',
        ),
        (
            "symbols = ['AAPLx/usd']",
            'engine.toml: symbols has "AAPLx/usd", which is no symbol of Kraken\'s v2; use AAPLx/USD',
        ),
        (
            "symbols = ['AAPLxUSD']",
            'engine.toml: symbols has "AAPLxUSD", which is no symbol of Kraken\'s v2; use AAPLx/USD',
        ),
        (
            "symbols = ['aaplx/usd']",
            'engine.toml: symbols has "aaplx/usd", which is no symbol of Kraken\'s v2; write it in capitals, '
            "with a small x only at the end of a tokenized stock, e.g. AAPLx/USD",
        ),
        (
            "symbols = ['Btc/Eur']",
            'engine.toml: symbols has "Btc/Eur", which is no symbol of Kraken\'s v2; use BTC/EUR',
        ),
        (
            "symbols = ['BTC / USD']",
            'engine.toml: symbols has "BTC / USD", which is no symbol of Kraken\'s v2; use BTC/USD',
        ),
        (
            "symbols = ['bitcoin']",
            'engine.toml: symbols has "bitcoin", which is no symbol of Kraken\'s v2; '
            "write it as BASE/QUOTE, e.g. BTC/USD",
        ),
        ("name = 'My Bot'", 'engine.toml: name must be 1 to 32 characters of a-z, 0-9, _ and -, not "My Bot"'),
        ("name = '../../etc'", 'engine.toml: name must be 1 to 32 characters of a-z, 0-9, _ and -, not "../../etc"'),
        ('name = "a\\n"', 'engine.toml: name must be 1 to 32 characters of a-z, 0-9, _ and -, not "a\\n"'),
        (
            "venue.url = 'ws://ws.kraken.com/v2'",
            "engine.toml: venue.url: ws://ws.kraken.com/v2 is not encrypted, which is allowed on this machine only; "
            "use wss:// instead of ws://",
        ),
        (
            "feed = { publish_levels = 25 }",
            "engine.toml: feed.publish_levels must be at most feed.depth, which is 10, not 25",
        ),
        (
            "feed.candle_intervals_min = [1, 5, 1]",
            "engine.toml: feed.candle_intervals_min must name each interval once; 1 is there twice",
        ),
        (
            "feed.candle_intervals_min = [2]",
            "engine.toml: feed.candle_intervals_min[0] must be one of 1, 5, 15, 30, 60, 240, 1440, 10080, 21600, not 2",
        ),
        (
            "feed = { depth = 1000, publish_levels = 1000 }",
            "engine.toml: feed.publish_levels: 1000 levels a side, 1 pairs and 1 of feed.shards with feed.ring_slots "
            "= 65536 take 2,126 MB of shared memory, more than 1,074 MB; set feed.ring_slots = 16384 or "
            "feed.publish_levels = 502",
        ),
        (
            "feed.ring_slots = 4194304",
            "engine.toml: feed.publish_levels: 10 levels a side, 1 pairs and 1 of feed.shards with feed.ring_slots "
            "= 4194304 take 1,611 MB of shared memory, more than 1,074 MB; set feed.ring_slots = 2097152",
        ),
        (
            "feed.ring_slots = 65535",
            "engine.toml: feed.ring_slots must be a power of two, e.g. 32768 or 65536, not 65535",
        ),
        (
            "engine = { restart_delay_min_s = 5, restart_delay_max_s = 1 }",
            "engine.toml: engine.restart_delay_min_s must be at most engine.restart_delay_max_s, which is 1, not 5",
        ),
        (
            "[strategy]\ntarget = 'a'",
            "engine.toml: strategy must be written [[strategy]], once for each, not a table",
        ),
        ("[[strategy]]", "engine.toml: strategy[0].target is missing; give a file "),
        ("[[strategy]]\ntarget = ' '", "engine.toml: strategy[0].target is empty; give a file"),
        (
            "[[strategy]]\ntarget = 'a'\nparam = {}",
            "engine.toml: strategy[0].param is not a setting; did you mean strategy[0].params?",
        ),
        (
            "[[strategy]]\ntarget = 'a'\nparams = 3",
            "engine.toml: strategy[0].params must be a table, written [strategy[0].params], not 3",
        ),
        (
            "[[strategy]]\ntarget = 'a'\nsymbols = ['ETH/USD']",
            "engine.toml: strategy[0].symbols has ETH/USD, which is not one of symbols; add it there",
        ),
        (
            "[[strategy]]\ntarget = 'a'\nname = 'x'\n[[strategy]]\ntarget = 'b'\nname = 'x'",
            'engine.toml: strategy[1].name must be used once, but strategy[0] is "x" too',
        ),
        (
            "[[strategy]]\ntarget = 'a'\n" * 65,
            "engine.toml: strategy must be at most 64 tables, not 65",
        ),
        ("a = ", "engine.toml is not TOML: line 1, column 4: invalid value"),
        ("a = 1\nb = 2\na = 3\n", "engine.toml is not TOML: line 3, column 6: cannot overwrite a value"),
        ("a = 1\n\n  b ! 2", "engine.toml is not TOML: line 3, column 5: "),
        (b"a = 1\nb = '\xff'", "engine.toml is not TOML: line 2, column 6: not UTF-8 text"),
        ("a = " + "[" * 5000, "engine.toml cannot be read: it is nested too deeply"),
        ("a = " + "1" * 5000, "engine.toml cannot be read: it holds a number of more than 4300 digits"),
        (
            '[[notices.target]]\nname = "Phone"\nkind = "slack"',
            'engine.toml: notices.target[0].name must be 1 to 32 characters of a-z, 0-9, _ and -, not "Phone"',
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "sms"',
            'engine.toml: notices.target[0].kind must be one of discord, slack, telegram, webhook, not "sms"',
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "slack"\nevents = ["halt", "fills"]',
            "engine.toml: notices.target[0].events[1] must be one of connection, degraded, error, ",
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "slack"\nevents = []',
            "engine.toml: notices.target[0].events is empty; name what it is to be told of, or remove the target",
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "slack"\nurl = "https://hooks.slack.com/services/T0/B0/x"',
            "engine.toml: notices.target[0].url: the address of slack is a secret; put it into a file of mode 0600",
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "webhook"\nurl = "http://example.com/hook"',
            "engine.toml: notices.target[0].url: http://example.com/hook is not encrypted, which is allowed on this "
            "machine only; use https:// instead of http://",
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "telegram"',
            "engine.toml: notices.target[0].chat is missing; give the chat's number, as text, or @channel",
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "telegram"\nchat = -100123',
            "engine.toml: notices.target[0].chat must be text, not -100123",
        ),
        (
            '[[notices.target]]\nname = "p"\nkind = "slack"\nchat = "1"',
            "engine.toml: notices.target[0].chat is for telegram alone, not slack; leave it out",
        ),
        (
            '[[notices.target]]\nname = "a-b"\nkind = "slack"\n[[notices.target]]\nname = "a_b"\nkind = "slack"',
            'engine.toml: notices.target[1].name is "a_b", but notices.target[0] is "a-b"; give it another name',
        ),
        ("#" * 1_000_001, "engine.toml is longer than 1,000,000 bytes, which no configuration of ours is"),
    ],
)
def test_one_sentence(folder: Path, toml: str | bytes, sentence: str) -> None:
    """An error has file, place, what it must be and what it is, on one line."""
    told = refusal(folder, toml)

    assert told.startswith(sentence)
    assert told.isprintable()


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    """A file that is missing, an empty folder, or no possible name gives one sentence."""
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    for path, words in [
        (folder / "nope.toml", "nope.toml cannot be read: no such file or directory; name a configuration file"),
        (folder / "bot.py", "bot.py is Python, not a configuration; a strategy's file goes with --strategy"),
        (empty, "empty is a folder without engine.toml"),
        (Path("a\0b"), "a\\x00b cannot be read: embedded null byte"),
    ]:
        with pytest.raises(ConfigError, match=re.escape(words)):
            load_config(path)


def test_a_folder_stands_for_the_engine_toml_in_it(tmp_path: Path) -> None:
    """As `engine new` writes one; paths count from it."""
    (tmp_path / "engine.toml").write_text('name = "bot"\n[trading]\ncredentials_file = "key.toml"\n')
    config = load_config(tmp_path)

    assert config == load_config(tmp_path / "engine.toml")
    assert (config.name, config.trading.credentials_file) == ("bot", str(tmp_path / "key.toml"))


# --- the command line


def test_override_replaces_and_checks() -> None:
    """Options win over the file; None is an option that was not given."""
    config = override(
        Config(name="paper"),
        **{
            "feed.depth": 100,
            "feed.publish_levels": 25,
            "symbols": parse_symbols("ETH/USD, BTC/USD"),
            "venue.ca_file": Path("/ca.pem"),
            "strategy": [{"target": "bot.py"}],
            "log.level": None,
        },
    )

    assert (config.name, config.feed.depth, config.feed.publish_levels) == ("paper", 100, 25)
    assert config.symbols == ("ETH/USD", "BTC/USD")
    assert config.venue.ca_file == "/ca.pem"
    assert config.strategies == (StrategyConfig(target="bot.py"),)
    assert override(config) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"feed.depth": 27}, "--depth must be one of 10, 25, 100, 500, 1000, not 27"),
        ({"feed.publish_levels": 25}, "--levels must be at most --depth, which is 10, not 25"),
        ({"symbols": ("BTC/USD", 3)}, "--symbols must be text, not 3"),
        ({"symbols": ("XBT/USD",)}, '--symbols has "XBT/USD", which is no symbol of Kraken\'s v2; use BTC/USD'),
        ({"feed.shards": 99}, "feed.shards must be from 1 to 16, not 99"),
        ({"feed.dpth": 10}, "feed.dpth is not a setting; did you mean feed.depth?"),
        ({"feed.depth.deeper": 10}, "feed.depth.deeper is not a setting; there are name, "),
        ({"nowhere.depth": 10}, "nowhere.depth is not a setting; did you mean feed.depth?"),
    ],
)
def test_override_names_the_option(changes: dict[str, object], sentence: str) -> None:
    """If the user wrote --depth, the sentence says --depth."""
    options = {"feed.depth": "--depth", "feed.publish_levels": "--levels", "symbols": "--symbols"}
    with pytest.raises(ConfigError) as refused:
        override(Config(), options, **changes)

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    "symbol",
    [
        *("AAPLx/USD", "Vx/USD", "BRK.Bx/USD", "TSLAx/EUR", "1INCH/USD", "ETH2.S/ETH", "AVAX/USD", "USDT/USDC"),
        *("X/USD", "USDe/EUR", "A-B/USD"),
    ],
)
def test_symbols_are_taken_as_kraken_writes_them(symbol: str) -> None:
    """Digits first, dots, the small x of tokenized stocks: symbols are taken letter for
    letter, everywhere.
    """
    config = override(
        Config(),
        symbols=parse_symbols(symbol, "--symbols"),
        strategy=[{"target": "a", "symbols": [symbol]}],
        risk={"symbols": [symbol], "pair": [{"symbol": symbol, "order_qty_max": 1}]},
    )

    assert config.symbols == config.strategies[0].symbols == config.risk.symbols == (symbol,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--symbols must name at least one pair, e.g. BTC/USD"),
        (" , ", "--symbols must name at least one pair, e.g. BTC/USD"),
        ("BTC/USD,BTC/USD", "--symbols has BTC/USD twice; remove one"),
        ("XBT/USD", '--symbols has "XBT/USD", which is no symbol of Kraken\'s v2; use BTC/USD'),
    ],
)
def test_parse_symbols_refuses(text: str, sentence: str) -> None:
    """--symbols has the same rules and words as the file."""
    with pytest.raises(ConfigError) as refused:
        parse_symbols(text, "--symbols")

    assert str(refused.value) == sentence


# --- properties

symbols = st.lists(st.from_regex(r"[A-Z]{3,5}/(USD|EUR)", fullmatch=True), min_size=1, max_size=5, unique=True).filter(
    lambda found: not any(symbol.startswith(("XBT/", "XDG/")) for symbol in found)
)
toml_values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from([10, 27, "BTC/USD", "ws://x", "burst"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["depth", "target", "x", "a\nb"]), inner)
    ),
    max_leaves=8,
)
keys = st.sampled_from([setting.path.split(".")[0].removesuffix("[]") for setting in all_settings()]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A valid configuration, as tables."""
    pairs = draw(symbols)
    depth = draw(st.sampled_from([10, 25, 100, 500, 1000]))
    delay_s = draw(st.floats(0.01, 60.0))
    shards, levels = draw(st.integers(1, 16)), draw(st.integers(1, depth))
    most_slots = 2**29 // (shards * (32 * levels + 128))  # with room for the boards, within MARKET_BYTES_MAX
    return {
        "name": draw(st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True)),
        "symbols": pairs,
        "venue": {"url": draw(st.sampled_from(["wss://beta-ws.kraken.com/v2", "ws://127.0.0.1:9000/v2"]))},
        "feed": {
            "shards": shards,
            "depth": depth,
            "publish_levels": levels,
            "conflate": draw(st.sampled_from(["none", "burst"])),
            "trades": draw(st.booleans()),
            "candle_intervals_min": draw(st.sampled_from([[], [1], [21600], [60, 1, 5]])),
            "ring_slots": 1 << draw(st.integers(10, max(10, most_slots.bit_length() - 1))),
            "heartbeat_silence_s": draw(st.floats(1.5, 60.0)),
        },
        "engine": {"restart_delay_min_s": delay_s, "restart_delay_max_s": draw(st.floats(delay_s, 600.0))},
        "strategy": [
            {
                "target": "bots.quoter:Quoter",
                "symbols": draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True)),
                "params": draw(st.dictionaries(st.sampled_from(["a", "b"]), st.integers() | st.text("abc"))),
            }
            for _ in range(draw(st.integers(0, 3)))
        ],
        "log": {"level": draw(st.sampled_from(["debug", "error"]))},
    }


def to_toml(table: dict[str, Any]) -> str:
    """Every value inline: TOML in the shortest form."""

    def value(of: Any) -> str:
        match of:
            case bool():
                return str(of).lower()
            case str():  # escapes of JSON are escapes of TOML, except for DEL and characters beyond the first plane
                return "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08X}" for c in of).join('""')
            case list():
                return f"[{', '.join(map(value, of))}]"
            case dict():
                return f"{{{', '.join(f'{json.dumps(k)} = {value(v)}' for k, v in of.items())}}}"
            case _:
                return str(of)

    return "\n".join(f"{value(key)} = {value(of)}" for key, of in table.items())


def assert_config_or_sentence(make: Callable[[], Config]) -> None:
    """The text is a configuration, or raises a ConfigError of one line."""
    outcome: Config | ConfigError
    try:
        outcome = make()
    except ConfigError as refused:
        outcome = refused

    assert isinstance(outcome, Config) or str(outcome).isprintable()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(configs())
def test_round_trip(folder: Path, table: dict[str, Any]) -> None:
    """What is written is what is read; and overriding everything with itself changes
    nothing.
    """
    config = load(folder, to_toml(table))
    read = msgspec.to_builtins(config)

    def assert_within(expected: Any, actual: Any) -> None:
        if isinstance(expected, dict):
            for key, value in expected.items():
                assert_within(value, actual[key])
        elif isinstance(expected, list):
            assert len(expected) == len(actual)
            for one, other in zip(expected, actual, strict=True):
                assert_within(one, other)
        else:
            assert expected == actual

    assert_within(table, read)
    flat = {
        f"{section}.{key}": value
        for section, inner in read.items()
        if isinstance(inner, dict)
        for key, value in inner.items()
    }
    whole = {key: value for key, value in read.items() if not isinstance(value, dict)}
    assert override(Config(), **whole, **flat) == config


@settings(deadline=None)
@given(st.dictionaries(keys, toml_values, max_size=5))
def test_any_table_is_a_configuration_or_one_sentence(folder: Path, table: dict[str, Any]) -> None:
    """Right keys with wrong values, wrong keys, anything nested: never another exception or
    a second line.
    """
    assert_config_or_sentence(lambda: load(folder, to_toml(table)))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_configuration_or_one_sentence(folder: Path, raw: bytes) -> None:
    """Bytes that are not even TOML give one sentence."""
    assert_config_or_sentence(lambda: load(folder, raw))


@settings(deadline=None)
@given(st.text(), st.text(max_size=8))
def test_any_text_is_symbols_or_one_sentence(text: str, place: str) -> None:
    """So does any text of --symbols."""
    assert_config_or_sentence(lambda: override(Config(), symbols=parse_symbols(text, place)))


def test_a_limit_may_be_of_a_pair_that_is_subscribed_at_run_time(folder: Path) -> None:
    """It says so, since a limit that names no pair would limit nothing; the router has it by the pair's name."""
    added = '[risk]\nsymbols = ["BTC/USD", "SOL/USD"]\n[[risk.pair]]\nsymbol = "SOL/USD"\norder_qty_max = 2.5\n'
    config = load(folder, f"{added}added = true\n")
    limits = core_settings(config.trading, config.risk, 1).limits
    assert limits.pairs["SOL/USD"].order_qty_max == Decimal("2.5")

    no_such = "which is not one of symbols; add it there, or"
    for text, said in (
        (added, f'risk.pair[0].symbol is "SOL/USD", {no_such} set added = true if it is subscribed at run time'),
        (
            added.replace("SOL/USD", "SOLUSD") + "added = true\n",
            'risk.pair[0].symbol is "SOLUSD", which is no symbol of Kraken\'s v2; use SOL/USD',
        ),
        (
            '[[risk.pair]]\nsymbol = "BTC/USD"\nadded = true\n',
            "risk.pair[0].symbol is BTC/USD, which is one of symbols; leave added out",
        ),
        (
            '[risk]\nsymbols = ["SOL/USD"]\n',
            f'risk.symbols[0] is "SOL/USD", {no_such} as a [[risk.pair]] with added = true if it is subscribed at run '
            "time",
        ),
    ):
        with pytest.raises(ConfigError) as told:
            load(folder, text)
        assert str(told.value) == f"{folder / 'engine.toml'}: {said}"


def test_a_table_among_the_changes_leaves_the_rest_of_the_table() -> None:
    """A setting whose value is a table itself is replaced, as any value is."""
    config = override(Config(), **{"feed.publish_levels": 5, "log.levels": {"rest": "debug"}})
    changed = override(config, feed={"depth": 25}, log={"levels": {"link": "error"}})

    assert (changed.feed.depth, changed.feed.publish_levels) == (25, 5)
    assert changed.log.levels == {"link": "error"}
    with pytest.raises(ConfigError, match=r"feed\.dept is not a setting"):
        override(config, feed={"dept": 25})
