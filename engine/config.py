"""The configuration: a TOML file, or none, becomes frozen Structs whose defaults are safe.

    engine.toml ──► load_config ──┐
                                  ├──► Config ──► override (command line) ──► Config
                      Config() ───┘

Any error is a ConfigError of one sentence: the place, what it must be, what it is.

    engine.toml: feed.dept is not a setting; did you mean feed.depth?
    engine.toml: feed.depth must be a whole number, not "ten"
    --depth must be one of 10, 25, 100, 500, 1000, not 27

Each limit has its unit in its name and its reason in its description, which `settings()`
lists.
"""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as schema

from engine.endpoints import check_rest_url, check_url, check_web_url
from engine.errors import ConfigError
from engine.market import capitals, may_be_tokenized, v2_symbol
from engine.state_directory import NAME, NAME_RULE
from engine.telemetry.log import MODULES, LogLevel
from engine.telemetry.notice_events import USUAL, NoticeEvent
from engine.topology import market_bytes, plan_shards

CONFIG_BYTES_MAX = 1_000_000  # a file for every pair of Kraken has about 30,000
SYMBOLS_MAX = 2048  # Kraken lists about 1,500 pairs
STRATEGIES_MAX = 64  # each has its own state and callbacks on one core
NOTICE_TARGETS_MAX = 16  # each may have a request under way
MARKET_BYTES_MAX = 1 << 30  # of all rings and boards, which are allocated at the start
RING_SLOTS_MIN, RING_SLOTS_MAX = 1 << 10, 1 << 22  # 0.4 MB and 1.6 GB at ten levels
VALUE_CHARS_SHOWN_MAX = 60

Cpu = Annotated[int, Meta(ge=0, le=4095)]
Port = Annotated[int, Meta(ge=0, le=65535)]
# BASE/QUOTE in the letters that Kraken uses: 1INCH/USD, ETH2.S/ETH, AAPLx/USD. Whether the
# pair exists, Kraken decides.
SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,23}/[A-Za-z0-9][A-Za-z0-9.-]{0,23}")
QUOTES = (
    "USDT",
    "USDC",
    "USD",
    "EUR",
    "GBP",
    "CAD",
    "AUD",
    "CHF",
    "JPY",
    "BTC",
    "XBT",
    "ETH",
)  # only for advice in errors

FOLDER_FILE = "engine.toml"  # of a folder that stands for a configuration, as `engine new` writes it


class VenueConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venue]: the addresses of Kraken's services."""

    url: Annotated[
        str,
        Meta(description="Kraken's public WebSocket v2; another for its beta or the built-in venue on this machine"),
    ] = "wss://ws.kraken.com/v2"
    private_url: Annotated[
        str, Meta(description="Kraken's authenticated WebSocket v2: executions, balances, orders")
    ] = "wss://ws-auth.kraken.com/v2"
    rest_url: Annotated[
        str, Meta(description="Kraken's REST, for tokens, for orders in doubt, and as the second route for orders")
    ] = "https://api.kraken.com"
    ca_file: Annotated[
        str | None,
        Meta(
            description="PEM file of further trusted authorities, for a private setup; from the configuration's folder"
        ),
    ] = None


def is_kraken(url: str) -> bool:
    """Whether this is the address of Kraken's own public WebSocket."""
    return url == VenueConfig().url


class FeedConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[feed]: what to read of market data, and when silence counts."""

    shards: Annotated[
        int, Meta(ge=1, le=16, description="processes the pairs are spread over; one takes ten busy pairs with ease")
    ] = 1
    depth: Annotated[
        Literal[10, 25, 100, 500, 1000],
        Meta(description="book levels a side that Kraken sends; each verified by checksum, deeper costs more"),
    ] = 10
    publish_levels: Annotated[
        int, Meta(ge=1, le=1000, description="levels a side that strategies see, at most depth; sizes a ring slot")
    ] = 10
    conflate: Annotated[
        Literal["none", "burst"],
        Meta(description="none: strategies see each update; burst: a pair once per socket burst, the newest only"),
    ] = "none"
    trades: Annotated[
        bool, Meta(description="subscribe to trades; candles, which are made of them, do so in any case")
    ] = True
    tickers: Annotated[bool, Meta(description="subscribe to tickers")] = True
    ticker_trigger: Annotated[
        Literal["trades", "bbo"], Meta(description="a ticker at each trade, or at each change of the best bid or offer")
    ] = "trades"
    candle_intervals_min: Annotated[
        tuple[Literal[1, 5, 15, 30, 60, 240, 1440, 10080, 21600], ...],
        Meta(description="minutes; the candles that are made of each pair's trades, [1, 5, 60] say; [] for none"),
    ] = (1,)
    candle_history: Annotated[
        int,
        Meta(
            ge=0,
            le=720,
            description="candles from before the start, of each pair and interval, that REST is asked for",
        ),
    ] = 200
    compare_candles: Annotated[
        bool,
        Meta(description="subscribe to Kraken's own candles of the shortest interval, and compare ours with them"),
    ] = True
    ring_slots: Annotated[
        int,
        Meta(
            ge=RING_SLOTS_MIN,
            le=RING_SLOTS_MAX,
            description="records the market ring holds, a power of two; 65536 are 13 s of history at 5,000 records/s",
        ),
    ] = 65536
    heartbeat_silence_s: Annotated[
        float,
        Meta(ge=1.5, le=60.0, description="no frame for so long: reconnect; Kraken's heartbeat comes each second"),
    ] = 3.0
    book_silence_s: Annotated[
        float,
        Meta(
            ge=5.0,
            le=3600.0,
            description="no update of one book for so long: let it prove itself; 9 s is normal on thin pairs",
        ),
    ] = 60.0
    subscribe_deadline_s: Annotated[
        float, Meta(ge=1.0, le=120.0, description="a subscription unconfirmed for so long is asked for again")
    ] = 10.0
    pairs_added_max: Annotated[
        int,
        Meta(
            ge=0,
            le=SYMBOLS_MAX,
            description="pairs that may be subscribed at run time beside `symbols`, each counted once a run",
        ),
    ] = 64
    requests_per_s: Annotated[
        float,
        Meta(ge=1.0, le=50.0, description="pace of all shards together; Kraken answers excess: Exceeded msg rate"),
    ] = 20.0
    symbols_per_request: Annotated[
        int, Meta(ge=1, le=200, description="pairs in one subscribe request, so that a thousand pairs take seconds")
    ] = 50
    spin: Annotated[bool, Meta(description="never sleep: faster by some 20 µs, costs one core per shard")] = False
    cpus: Annotated[
        tuple[Cpu, ...], Meta(description="the CPUs that may run the public feeds, a shard on each in turn; none: all")
    ] = ()


class ConnectionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[connection]: how every WebSocket is opened, watched and opened again."""

    ping_interval_s: Annotated[
        float,
        Meta(
            ge=1.0,
            le=50.0,
            description="between two pings, but for the private feed's, which pings every second; Kraken closes a"
            " connection that is silent for a minute",
        ),
    ] = 15.0
    ping_timeout_s: Annotated[
        float,
        Meta(
            ge=0.5, le=60.0, description="a ping unanswered for so long: reconnect; the public feed waits three times"
        ),
    ] = 5.0
    connect_timeout_s: Annotated[
        float, Meta(ge=0.5, le=60.0, description="for TCP, and again for TLS and the handshake; usual are 0.1 to 0.5 s")
    ] = 5.0
    backoff_min_s: Annotated[
        float,
        Meta(ge=0.05, le=60.0, description="the first pause after a failed attempt is drawn from 0 to this"),
    ] = 0.5
    backoff_max_s: Annotated[
        float, Meta(ge=0.1, le=600.0, description="no pause is longer; Kraken's own longer ones are kept besides")
    ] = 30.0
    backoff_factor: Annotated[
        float, Meta(ge=1.0, le=10.0, description="each failed attempt in a row makes the pause longer by this")
    ] = 2.0
    attempts_max: Annotated[
        int,
        Meta(
            ge=0, le=100_000, description="failed attempts in a row that end the engine with a reason; 0: never give up"
        ),
    ] = 0


class FallbackConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[fallback]: REST behind the public WebSocket, and for how long data count as fresh."""

    enabled: Annotated[
        bool, Meta(description="ask REST for what the WebSocket does not serve, and for trades that it lost")
    ] = True
    book_s: Annotated[
        float, Meta(ge=1.0, le=600.0, description="a book is fresh for so long after the last sign of its connection")
    ] = 5.0
    ticker_s: Annotated[float, Meta(ge=1.0, le=600.0, description="the same of tickers")] = 10.0
    trades_s: Annotated[float, Meta(ge=1.0, le=3600.0, description="the same of trades")] = 30.0
    calls_per_s: Annotated[
        float,
        Meta(ge=0.01, le=10.0, description="public calls of REST, all shards together; Kraken allows an address one"),
    ] = 1.0
    cache_s: Annotated[
        float, Meta(ge=0.0, le=60.0, description="an answer of REST is not asked for again for so long")
    ] = 4.0
    compare_every_s: Annotated[
        float, Meta(ge=0.0, le=86_400.0, description="how often a few pairs of both sources are compared; 0: never")
    ] = 60.0
    divergence_percent: Annotated[
        float, Meta(ge=0.001, le=100.0, description="sources whose prices are further apart contradict each other")
    ] = 1.0


class EngineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[engine]: the process that runs strategies and starts the others."""

    spin: Annotated[bool, Meta(description="the strategy host never sleeps: faster, costs one core")] = False
    cpus: Annotated[
        tuple[Cpu, ...], Meta(description="the CPUs that may run the strategies of `engine run`; none: all")
    ] = ()
    restart_delay_min_s: Annotated[
        float, Meta(ge=0.01, le=60.0, description="before a dead process is started again, the first time")
    ] = 0.1
    restart_delay_max_s: Annotated[
        float, Meta(ge=0.01, le=600.0, description="the delay doubles up to this while a process keeps dying")
    ] = 30.0
    actor_silence_s: Annotated[
        float, Meta(ge=0.5, le=300.0, description="a process whose heartbeat is older hangs, and is restarted")
    ] = 10.0
    stop_deadline_s: Annotated[
        float, Meta(ge=0.1, le=60.0, description="a process that has not stopped by then is killed")
    ] = 5.0
    slow_callback_ms: Annotated[
        float, Meta(ge=0.1, le=60_000.0, description="a longer callback of a strategy is counted and logged")
    ] = 50.0
    hang_s_max: Annotated[
        float,
        Meta(ge=1.0, le=3600.0, description="a callback that has not returned by then hangs: trading.on_strategy_halt"),
    ] = 5.0
    strategy_lag_s_max: Annotated[
        float, Meta(ge=0.05, le=3600.0, description="older records are skipped, counted, and the newest state given")
    ] = 1.0
    strategy_errors_per_minute_max: Annotated[
        int, Meta(ge=0, le=10_000, description="a strategy that raises more often is stopped")
    ] = 10


OnLoss = Literal["cancel", "keep"]
Positions = Literal["own", "account"]
Limit = Annotated[float, Meta(ge=0.0, le=1e15)] | None
CountLimit = Annotated[int, Meta(ge=0, le=225)] | None


class DegradedConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[trading.degraded]: trading while a private WebSocket is out and REST answers."""

    after_s: Annotated[
        float, Meta(ge=0.1, le=600.0, description="how long it is out before REST stands in; a reconnect takes less")
    ] = 2.0
    poll_s: Annotated[
        float,
        Meta(ge=0.5, le=60.0, description="how often REST is asked what became of open orders; its budget allows"),
    ] = 2.0
    balances_s: Annotated[
        float, Meta(ge=1.0, le=600.0, description="how often it is asked for balances; also after fills")
    ] = 30.0
    open_orders_max: Annotated[int, Meta(ge=1, le=225, description="open orders per pair, of all strategies")] = 10
    orders_per_s_max: Annotated[
        float, Meta(ge=0.1, le=1000.0, description="orders and amends a second, all strategies together")
    ] = 2.0
    order_percent: Annotated[
        float, Meta(ge=0.1, le=100.0, description="largest order, as a share of risk.order_notional_max")
    ] = 50.0


class TradingConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[trading]: the account, and what becomes of its orders."""

    enabled: Annotated[
        bool, Meta(description="trade on Kraken; needs a key and [risk] limits. The local venue always trades")
    ] = False
    credentials_file: Annotated[
        str | None,
        Meta(description="file of mode 0600 with api_key and api_secret; from the configuration's folder"),
    ] = None
    keyring: Annotated[
        bool, Meta(description="look for the key in the desktop's keyring (needs the extra keyring)")
    ] = False
    state_dir: Annotated[
        str | None, Meta(description="where journal and history live; $XDG_STATE_HOME/kraken-engine/NAME when left out")
    ] = None
    durability: Annotated[
        Literal["process", "power"],
        Meta(
            description="what the journal survives: kill -9 of everything, or the loss of power too (0.1 ms an order)"
        ),
    ] = "process"
    history: Annotated[bool, Meta(description="keep orders and fills in SQLite too, for people")] = True
    deadline_s: Annotated[
        float, Meta(ge=0.5, le=60.0, description="Kraken does not begin with an order that reaches it later than this")
    ] = 1.0
    answer_timeout_s: Annotated[
        float, Meta(ge=0.1, le=60.0, description="an order unanswered for so long is in doubt, and is looked up")
    ] = 1.5
    command_ttl_s: Annotated[
        float, Meta(ge=0.05, le=60.0, description="a strategy's order that waited longer for the router is refused")
    ] = 1.0
    on_strategy_halt: Annotated[
        OnLoss,
        Meta(description="what becomes of the orders of a strategy that was halted, or hangs; stops of brackets stay"),
    ] = "cancel"
    on_engine_loss: Annotated[
        OnLoss, Meta(description="what becomes of open orders when the engine dies; stops of brackets stay")
    ] = "cancel"
    on_stop: Annotated[
        OnLoss, Meta(description="what becomes of open orders when the engine is stopped; stops of brackets stay")
    ] = "cancel"
    positions: Annotated[
        Positions,
        Meta(
            description="what positions begin with: own fills alone, or at each start what the account holds of the "
            "pair's base currency, at an unknown cost; a strategy may differ"
        ),
    ] = "own"
    dead_man_s: Annotated[
        int, Meta(ge=0, le=3600, description="Kraken cancels everything when it has not heard of us so long; 0: never")
    ] = 60
    dead_man_refresh_s: Annotated[
        float, Meta(ge=1.0, le=600.0, description="how often Kraken is told that we live; a third of dead_man_s")
    ] = 20.0
    token_refresh_min: Annotated[
        float, Meta(ge=0.01, le=13.0, description="age at which a WebSocket token is replaced; Kraken's die at 15")
    ] = 10.0
    breaker_failures: Annotated[
        int, Meta(ge=1, le=1000, description="failures in a row after which no order goes out for a while")
    ] = 5
    breaker_open_s: Annotated[float, Meta(ge=0.1, le=3600.0, description="how long; cancels pass always")] = 60.0
    rest_fallback: Annotated[
        bool, Meta(description="send orders by REST while the WebSocket is down: only what was certainly not sent yet")
    ] = True
    rest_lag_s_max: Annotated[
        float, Meta(ge=1.0, le=600.0, description="an order that REST does not know is looked for once more after this")
    ] = 60.0
    open_orders_check_s: Annotated[
        float, Meta(ge=0.0, le=3600.0, description="all open orders are compared with Kraken's so often; 0: never")
    ] = 60.0
    over_rate: Annotated[
        Literal["queue", "refuse"],
        Meta(description="an order that Kraken's rate counter has no room for waits its turn, or is refused"),
    ] = "queue"
    queue_orders_max: Annotated[
        int, Meta(ge=1, le=10_000, description="orders that may wait for the rate counter; the next one is refused")
    ] = 100
    queue_wait_s_max: Annotated[
        float, Meta(ge=0.0, le=600.0, description="an order that would have to wait longer is refused at once")
    ] = 5.0
    cancel_reserve_percent: Annotated[
        float, Meta(ge=0.0, le=90.0, description="share of the rate counter that orders and amends leave to cancels")
    ] = 20.0
    spin: Annotated[
        bool, Meta(description="the order router never sleeps: orders leave some 0.2 ms sooner, costs one core")
    ] = False
    cpus: Annotated[tuple[Cpu, ...], Meta(description="the CPUs that may run the order router; none: all")] = ()
    tier: Annotated[
        Literal["auto", "starter", "intermediate", "pro"],
        Meta(description="of the account at Kraken, for its rate limits; auto: as Kraken tells it"),
    ] = "auto"
    trade_while_unknown: Annotated[
        bool, Meta(description="let a strategy send orders on a pair on which an order of its own is in doubt")
    ] = False
    when_private_down: Annotated[
        Literal["degrade", "halt"],
        Meta(description="a private WebSocket is out: trade on by REST, within [trading.degraded]; or no new orders"),
    ] = "degrade"
    core_dumps: Annotated[
        bool, Meta(description="for debugging alone: let the process that holds the key be dumped and traced")
    ] = False
    degraded: DegradedConfig = DegradedConfig()


class PairRisk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[risk.pair]]: limits of one pair, in its own units, beside those of [risk]."""

    symbol: Annotated[str, Meta(description="the pair that these limits are for")]
    order_qty_max: Annotated[Limit, Meta(description="largest order, in the base currency")] = None
    position_qty_max: Annotated[Limit, Meta(description="largest position, long or short, in the base currency")] = None
    open_orders_max: Annotated[CountLimit, Meta(description="open orders on this pair")] = None
    added: Annotated[
        bool, Meta(description="true for a pair that is not among `symbols`: it is subscribed at run time")
    ] = False


class RiskConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[risk]: limits that no strategy can exceed. The router checks every order against
    them.
    """

    order_notional_max: Annotated[
        Limit,
        Meta(description="largest order, in quote currency; needed to trade on Kraken"),
    ] = None
    position_notional_max: Annotated[
        Limit,
        Meta(description="largest position of a pair, open orders included; needed to trade on Kraken"),
    ] = None
    daily_loss_max: Annotated[
        Limit,
        Meta(description="loss of a UTC day in quote currency that halts trading; needed on Kraken"),
    ] = None
    price_collar_percent: Annotated[
        float, Meta(ge=0.0, le=100.0, description="how far beyond the best price of the other side a limit may reach")
    ] = 5.0
    open_orders_max: Annotated[int, Meta(ge=1, le=225, description="open orders per pair, of all strategies")] = 40
    orders_per_s_max: Annotated[
        float, Meta(ge=0.1, le=1000.0, description="orders and amends a second, all strategies together")
    ] = 20.0
    book_age_s_max: Annotated[
        float,
        Meta(
            ge=0.05,
            le=3600.0,
            description="no order on a pair whose connection has brought nothing of Kraken's for so long",
        ),
    ] = 5.0
    duplicate_window_ms: Annotated[
        float,
        Meta(ge=0.0, le=60_000.0, description="two orders alike in so short a time are taken for a mistake; 0: never"),
    ] = 10.0
    self_trade_guard: Annotated[
        bool, Meta(description="refuse an order that would meet an own order of the account")
    ] = True
    symbols: Annotated[
        tuple[str, ...] | None, Meta(description="pairs that may be traded; all that are followed when left out")
    ] = None
    pairs: tuple[PairRisk, ...] = msgspec.field(default=(), name="pair")


class StrategyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[strategy]]: one strategy; write the table once for each."""

    target: Annotated[
        str,
        Meta(description="a file (from the configuration's folder), package.module:Class, or an entry point's name"),
    ]
    name: Annotated[
        str | None,
        Meta(
            description=f"names it in logs and status, once only: {NAME_RULE}; its class names it when left out, with "
            "a number when that is taken. Its orders and its positions belong to the name, from run to run"
        ),
    ] = None
    symbols: Annotated[
        tuple[str, ...] | None, Meta(description="the pairs it follows, of those above; all when left out")
    ] = None
    positions: Annotated[
        Positions | None, Meta(description="what its positions begin with; as trading.positions when left out")
    ] = None
    params: Annotated[dict[str, Any], Meta(description="its own parameters; the strategy declares and checks them")] = (
        msgspec.field(default_factory=dict)
    )


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[metrics]: a process that tells Prometheus of the engine; needs the extra metrics."""

    port: Annotated[
        Port | None,
        Meta(description="serve http://ADDRESS:PORT/metrics, 9464 say; 0 takes a free one; left out: not served"),
    ] = None
    address: Annotated[
        str,
        Meta(description="where it listens; 0.0.0.0 lets every host that reaches this one read P&L and positions"),
    ] = "127.0.0.1"


class PageConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[page]: a process that shows the engine in the browser, read-only; needs the extra
    page."""

    port: Annotated[
        Port | None,
        Meta(description="serve the page on loopback at this port; 0 takes a free one; left out: not served"),
    ] = None


class NoticeTargetConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[notices.target]]: where notices go; write the table once for each. Its secret, an
    address or a token, is never written here: see secret_file.
    """

    name: Annotated[
        str, Meta(description=f"names it in logs, status and its secret's variable KRAKEN_NOTICE_NAME: {NAME_RULE}")
    ]
    kind: Annotated[
        Literal["webhook", "slack", "discord", "telegram"],
        Meta(description="webhook: JSON by POST, of this engine's own form; the others: theirs"),
    ]
    events: Annotated[tuple[NoticeEvent, ...], Meta(description="what it is told of; see Notices for what each is")] = (
        USUAL
    )
    every_s: Annotated[
        float,
        Meta(
            ge=1.0,
            le=3600.0,
            description="a message so often at most; the first is sent at once, and what is urgent once between",
        ),
    ] = 10.0
    url: Annotated[
        str | None,
        Meta(
            description="of a webhook whose address is no secret: then the secret, if any, is its bearer token; "
            "of telegram: a Bot API server of your own"
        ),
    ] = None
    chat: Annotated[str | None, Meta(description="telegram: the chat's number, or @channel; as text")] = None
    secret_file: Annotated[
        str | None,
        Meta(
            description="file of mode 0600 that holds the address (webhook, slack, discord) or the bot's token "
            "(telegram) and nothing else; from the configuration's folder"
        ),
    ] = None
    keyring: Annotated[
        bool, Meta(description="look for it in the desktop's keyring, as notice_NAME (needs the extra keyring)")
    ] = False


class NoticesConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[notices]: a process that tells people what happened to the engine."""

    targets: tuple[NoticeTargetConfig, ...] = msgspec.field(default=(), name="target")


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[log]: which lines are written, and how."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the least important line that is shown")
    ] = "info"
    format: Annotated[
        Literal["console", "json"], Meta(description="console for people, json for machines: one object a line")
    ] = "console"
    levels: Annotated[
        dict[str, LogLevel],
        Meta(description='other levels of single modules: { order_router = "debug", websocket = "error" }'),
    ] = {}
    frames: Annotated[
        bool,
        Meta(description="log raw frames, without secrets, at most fifty a second of a process; slow, for debugging"),
    ] = False


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. `Config()` reads BTC/USD from Kraken and runs no strategy."""

    name: Annotated[
        str, Meta(description=f"names the run directory, so that two engines on one machine do not meet; {NAME_RULE}")
    ] = "default"
    symbols: Annotated[tuple[str, ...], Meta(description="pairs to follow, as Kraken's v2 writes them: BASE/QUOTE")] = (
        "BTC/USD",
    )
    venue: VenueConfig = VenueConfig()
    feed: FeedConfig = FeedConfig()
    connection: ConnectionConfig = ConnectionConfig()
    fallback: FallbackConfig = FallbackConfig()
    engine: EngineConfig = EngineConfig()
    strategies: tuple[StrategyConfig, ...] = msgspec.field(default=(), name="strategy")
    trading: TradingConfig = TradingConfig()
    risk: RiskConfig = RiskConfig()
    metrics: MetricsConfig = MetricsConfig()
    page: PageConfig = PageConfig()
    notices: NoticesConfig = NoticesConfig()
    log: LogConfig = LogConfig()


class Setting(NamedTuple):
    """One setting: its place, type, meaning and default."""

    path: str
    """feed.depth; strategy[].target"""
    kind: str
    """The values that it takes, in words: a whole number from 1 to 16."""
    meaning: str
    default: object
    """msgspec.NODEFAULT when it must be given."""


# --- the interface


def load_config(path: Path) -> Config:
    """Read and check a TOML file, or the engine.toml in a folder; its relative paths count
    from the file's folder.

    Raises ConfigError.
    """
    if path.is_dir():
        if not (path / FOLDER_FILE).is_file():
            raise _error(f"{path} is a folder without {FOLDER_FILE}; name a configuration file, or such a folder")
        path /= FOLDER_FILE
    if path.suffix == ".py":
        raise _error(f"{path} is Python, not a configuration; a strategy's file goes with --strategy {path}")
    table = _read(path)
    config = _convert(table, _Place(f"{path}: "))
    return _anchored(config, path.parent.absolute())


def override(config: Config, options: Mapping[str, str] | None = None, /, **changes: object) -> Config:
    """A copy of `config` with these settings, checked again; None leaves a setting as it
    is.

    override(config, {"feed.depth": "--depth"}, **{"feed.depth": 25, "symbols":
    ("BTC/USD",)})

    A table among them, as {"feed": {"depth": 25}}, changes what it has; the rest of the
    table stays.

    `options` gives the command line's name of a setting, which errors then use. Raises
    ConfigError.
    """
    table: dict[str, Any] = msgspec.to_builtins(config)
    place = _Place("", dict(options or {}))
    for path, value in _single_settings(config, changes):
        if value is None:
            continue
        *parents, key = path.split(".")
        inner: object = table
        for parent in parents:
            inner = inner.get(parent) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise _error(_unknown(path, place))
        inner[key] = msgspec.to_builtins(value, enc_hook=str)
    return _convert(_without_none(table), place)


def _single_settings(config: Config, changes: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The changes by setting: a table gives one for each setting that it has."""
    for path, value in changes.items():
        present: object = config
        for name in path.split("."):
            present = getattr(present, name, None)
        if isinstance(present, Struct) and isinstance(value, Mapping):
            yield from _single_settings(config, {f"{path}.{name}": each for name, each in value.items()})
        else:
            yield path, value


def parse_symbols(text: str, place: str = "symbols") -> tuple[str, ...]:
    """Parse `BTC/USD,ETH/USD`; raises ConfigError, which begins with `place`."""
    symbols = [part.strip() for part in text.split(",") if part.strip()]
    return _checked_symbols(symbols, place, place)


def settings() -> Iterator[Setting]:
    """Every setting, with its type, meaning and default, in the order of the file."""
    yield from _settings_of(Config, "")


# --- reading


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        mend = f"name a configuration file, or a folder with {FOLDER_FILE}; `engine new` makes one"
        raise _error(f"{path} cannot be read: no such file or directory; {mend}") from None
    except (OSError, ValueError) as error:
        raise _error(f"{path} cannot be read: {str(getattr(error, 'strerror', None) or error).lower()}") from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise _error(f"{path} is longer than {CONFIG_BYTES_MAX:,} bytes, which no configuration of ours is")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise _error(f"{path} is not TOML: line {line}, column {column}: not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _error(f"{path} cannot be read: it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise _error(f"{path} is not TOML: {_toml_failure(str(error), text)}") from None
    except ValueError:  # Python converts no decimal integer of more than 4300 digits
        raise _error(f"{path} cannot be read: it holds a number of more than 4300 digits") from None


def _toml_failure(message: str, text: str) -> str:
    """Reword `Invalid value (at line 1, column 6)` as `line 1, column 6: invalid value`."""
    what, _, where = message.rpartition(" (at ")
    if where.startswith("end of document"):
        written = text.rstrip()
        where = f"line {written.count(chr(10)) + 1}, column {len(written) - written.rfind(chr(10))}"
    return f"{where.rstrip(')')}: {what[:1].lower()}{what[1:]}"


def _anchored(config: Config, folder: Path) -> Config:
    """Make file paths absolute: they count from the configuration's folder, not the current
    one, which a strategy may change, and which is another's who asks the engine for them.
    """
    venue = config.venue
    if venue.ca_file is not None:
        venue = msgspec.structs.replace(venue, ca_file=str(folder / venue.ca_file))
    trading = config.trading
    for key in ("credentials_file", "state_dir"):
        if (path := getattr(trading, key)) is not None:
            trading = msgspec.structs.replace(trading, **{key: str(folder / path)})
    targets = tuple(
        target
        if target.secret_file is None
        else msgspec.structs.replace(target, secret_file=str(folder / target.secret_file))
        for target in config.notices.targets
    )
    strategies = tuple(
        msgspec.structs.replace(strategy, target=str(folder / strategy.target))
        if _is_file(strategy.target)
        else strategy
        for strategy in config.strategies
    )
    return msgspec.structs.replace(
        config, venue=venue, trading=trading, strategies=strategies, notices=NoticesConfig(targets=targets)
    )


def _is_file(target: str) -> bool:
    """Whether the target is a file: `bots/quoter.py:Quoter` is, `bots.quoter:Quoter` is
    not.
    """
    place = target.rpartition(":")[0] or target
    return place.endswith(".py") or "/" in place


# --- checking: types, one setting at a time


class _Place:
    """The user's name of a setting: its path in a file, or the option that set it."""

    def __init__(self, prefix: str, options: Mapping[str, str] | None = None) -> None:
        self._prefix = prefix
        self._options = options or {}

    def __call__(self, path: str) -> str:
        """The place at the beginning of a sentence."""
        return self._option(path) or f"{self._prefix}{path}"

    def short(self, path: str) -> str:
        """The place within a sentence that has named another one already."""
        return self._option(path) or path

    def _option(self, path: str) -> str | None:
        # symbols[2] was given by the option that gave symbols.
        return self._options.get(path) or self._options.get(path.partition("[")[0])


def _convert(table: dict[str, Any], place: _Place) -> Config:
    """The one way to a Config: shape and types first, then the rules that tie settings
    together.
    """
    _check_texts(table, "", place)
    config: Config = _convert_struct(Config, table, "", place)
    _check_rules(config, place)
    return config


def _check_texts(value: object, path: str, place: _Place) -> None:
    """No text may hold the character that ends texts of the operating system."""
    if isinstance(value, str) and "\0" in value:
        raise _error(f"{place(path)} must not hold a zero byte (\\u0000)")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(inner, f"{path}.{key}" if path else key, place)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check_texts(inner, f"{path}[{number}]", place)


def _convert_struct(cls: type[Struct], value: object, path: str, place: _Place) -> Any:
    if not isinstance(value, dict):
        raise _error(f"{place(path)} must be a table, written [{path}], not {_shown(value)}")
    fields = _fields(cls)
    inner = f"{path}." if path else ""
    for key in value:
        if key not in fields:
            raise _error(_unknown(f"{inner}{_key(key)}", place, [f"{inner}{name}" for name in fields]))
    converted = {}
    for key, field in fields.items():
        if key in value:
            converted[field.name] = _convert_value(field.type, value[key], f"{inner}{key}", place)
        elif field.required:
            raise _error(f"{place(f'{inner}{key}')} is missing; give {_meaning(field)}")
    return cls(**converted)


def _convert_value(kind: schema.Type, value: object, path: str, place: _Place) -> Any:
    match kind:
        case schema.Metadata():
            return _convert_value(kind.type, value, path, place)
        case schema.UnionType():  # X or None, which TOML expresses by leaving the key out
            return _convert_value(kind.types[0], value, path, place)
        case schema.StructType():
            return _convert_struct(kind.cls, value, path, place)
        case schema.VarTupleType():
            return _convert_list(kind, value, path, place)
        case schema.LiteralType():
            return _convert_choice(kind.values, value, path, place)
        case schema.BoolType():
            return _of_type(bool, "true or false", value, path, place)
        case schema.StrType():
            return _of_type(str, "text", value, path, place)
        case schema.DictType():
            given = _of_type(dict, f"a table, written [{path}]", value, path, place)
            if isinstance(kind.value_type, schema.AnyType):
                return given
            return {key: _convert_value(kind.value_type, each, f"{path}.{key}", place) for key, each in given.items()}
        case schema.IntType():
            return _within(kind.ge, kind.le, _of_type(int, "a whole number", value, path, place), path, place)
        case _:
            assert isinstance(kind, schema.FloatType), f"{path} has a type that the configuration does not know: {kind}"
            number = _of_type(int | float, "a number", value, path, place)
            if isinstance(number, float) and not math.isfinite(number):
                raise _error(f"{place(path)} must be a number, not {number}")
            return float(_within(kind.ge, kind.le, number, path, place))


def _convert_list(kind: schema.VarTupleType, value: object, path: str, place: _Place) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        wanted = f"written [[{path}]], once for each" if isinstance(kind.item_type, schema.StructType) else "a list"
        raise _error(f"{place(path)} must be {wanted}, not {_shown(value)}")
    return tuple(_convert_value(kind.item_type, item, f"{path}[{i}]", place) for i, item in enumerate(value))


def _convert_choice(choices: tuple[Any, ...], value: object, path: str, place: _Place) -> Any:
    kind, name = (int, "a whole number") if isinstance(choices[0], int) else (str, "text")
    chosen = _of_type(kind, name, value, path, place)
    if chosen not in choices:
        raise _error(f"{place(path)} must be one of {', '.join(map(str, choices))}, not {_shown(chosen)}")
    return chosen


def _of_type(kind: Any, name: str, value: object, path: str, place: _Place) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _error(f"{place(path)} must be {name}, not {_shown(value)}")
    return value


def _within(least: float | None, most: float | None, number: Any, path: str, place: _Place) -> Any:
    assert least is not None, f"{path} is a number without bounds"
    assert most is not None, f"{path} is a number without bounds"
    if not least <= number <= most:
        raise _error(f"{place(path)} must be from {least:g} to {most:g}, not {_shown(number)}")
    return number


# --- checking: the rules that tie settings together


def _check_rules(config: Config, place: _Place) -> None:
    feed, engine = config.feed, config.engine
    if not NAME.fullmatch(config.name):
        raise _error(f"{place('name')} must be {NAME_RULE}, not {_shown(config.name)}")
    _checked_symbols(config.symbols, place("symbols"), place.short("symbols"))
    for key, value in (
        ("venue.ca_file", config.venue.ca_file),
        ("trading.credentials_file", config.trading.credentials_file),
        ("trading.state_dir", config.trading.state_dir),
        *((f"notices.target[{i}].secret_file", it.secret_file) for i, it in enumerate(config.notices.targets)),
    ):
        if value is not None and not value.strip():
            raise _error(f"{place(key)} is empty; write a path, or leave it out")
        if value is not None and value.startswith("~"):
            raise _error(f"{place(key)} begins with ~, which stands for itself here; write the whole path")
    for key in ("url", "private_url", "rest_url"):
        try:
            (check_rest_url if key == "rest_url" else check_url)(getattr(config.venue, key))
        except ConfigError as error:
            raise _error(f"{place(f'venue.{key}')}: {error}") from None
    if feed.publish_levels > feed.depth:
        raise _error(
            f"{place('feed.publish_levels')} must be at most {place.short('feed.depth')}, which is {feed.depth}, "
            f"not {feed.publish_levels}"
        )
    if twice := [one for one in set(feed.candle_intervals_min) if feed.candle_intervals_min.count(one) > 1]:
        raise _error(f"{place('feed.candle_intervals_min')} must name each interval once; {min(twice)} is there twice")
    if feed.ring_slots & (feed.ring_slots - 1):
        near = 1 << (feed.ring_slots.bit_length() - 1)
        raise _error(
            f"{place('feed.ring_slots')} must be a power of two, e.g. {near} or {2 * near}, not {feed.ring_slots}"
        )
    _check_market_bytes(config, place)
    for module in config.log.levels:
        if module not in MODULES:
            likely = get_close_matches(module, MODULES, 1)
            told = f"did you mean {likely[0]}?" if likely else f"there are {', '.join(MODULES)}"
            raise _error(f"{place(f'log.levels.{_key(module)}')} is no module that logs; {told}")
    if config.connection.backoff_min_s > config.connection.backoff_max_s:
        raise _error(
            f"{place('connection.backoff_min_s')} must be at most {place.short('connection.backoff_max_s')}, "
            f"which is {config.connection.backoff_max_s:g}, not {config.connection.backoff_min_s:g}"
        )
    if engine.restart_delay_min_s > engine.restart_delay_max_s:
        raise _error(
            f"{place('engine.restart_delay_min_s')} must be at most {place.short('engine.restart_delay_max_s')}, "
            f"which is {engine.restart_delay_max_s:g}, not {engine.restart_delay_min_s:g}"
        )
    _check_trading(config, place)
    _check_strategies(config, place)
    _check_notices(config.notices.targets, place)


def _check_market_bytes(config: Config, place: _Place) -> None:
    """Refuse rings and boards of more memory than MARKET_BYTES_MAX, and say what would fit."""
    feed = config.feed
    shards = plan_shards(config.symbols, feed.shards, feed.candle_intervals_min, feed.pairs_added_max)
    needed = market_bytes(shards, feed.publish_levels, feed.ring_slots)
    if needed <= MARKET_BYTES_MAX:
        return

    def fits(levels: int, slots: int) -> bool:
        return market_bytes(shards, levels, slots) <= MARKET_BYTES_MAX

    powers = [1 << bits for bits in range(RING_SLOTS_MIN.bit_length() - 1, RING_SLOTS_MAX.bit_length())]
    fewer_slots = max((slots for slots in powers if fits(feed.publish_levels, slots)), default=0)
    fewer_levels = max((levels for levels in range(1, feed.publish_levels) if fits(levels, feed.ring_slots)), default=0)
    mends = [f"feed.ring_slots = {fewer_slots}"] if fewer_slots else []
    mends += [f"feed.publish_levels = {fewer_levels}"] if fewer_levels else []
    raise _error(
        f"{place('feed.publish_levels')}: {feed.publish_levels} levels a side, {len(config.symbols)} pairs and "
        f"{len(shards)} of feed.shards with feed.ring_slots = {feed.ring_slots} take {needed / 1e6:,.0f} MB "
        f"of shared memory, more than {MARKET_BYTES_MAX / 1e6:,.0f} MB; set {' or '.join(mends) or 'both lower'}"
    )


def _check_trading(config: Config, place: _Place) -> None:
    trading, risk = config.trading, config.risk
    if trading.dead_man_s and trading.dead_man_refresh_s * 2 > trading.dead_man_s:
        raise _error(
            f"{place('trading.dead_man_refresh_s')} must be at most half of {place.short('trading.dead_man_s')}, "
            f"which is {trading.dead_man_s}, not {trading.dead_man_refresh_s:g}"
        )
    if trading.answer_timeout_s <= trading.deadline_s:
        raise _error(
            f"{place('trading.answer_timeout_s')} must be more than {place.short('trading.deadline_s')}, "
            f"which is {trading.deadline_s:g}, not {trading.answer_timeout_s:g}"
        )
    _check_risk_pairs(config, place)
    for i, symbol in enumerate(risk.symbols or ()):
        if symbol not in {*config.symbols, *(pair.symbol for pair in risk.pairs)}:
            raise _error(
                f"{place(f'risk.symbols[{i}]')} is {_shown(symbol)}, which is not one of {place.short('symbols')}; "
                "add it there, or as a [[risk.pair]] with added = true if it is subscribed at run time"
            )
    if trading.enabled:
        check_live_limits(config, place)


def _check_risk_pairs(config: Config, place: _Place) -> None:
    """A limit that names no pair would limit nothing, so one of a pair to come says so."""
    seen: set[str] = set()
    for i, pair in enumerate(config.risk.pairs):
        path, symbol = f"risk.pair[{i}].symbol", pair.symbol
        if symbol in seen:
            raise _error(f"{place(path)} is {symbol} twice; remove one")
        seen.add(symbol)
        if pair.added and symbol in config.symbols:
            raise _error(f"{place(path)} is {symbol}, which is one of {place.short('symbols')}; leave added out")
        if pair.added and (wrong := symbol_mistake(symbol)):
            raise _error(f"{place(path)} is {wrong}")
        if not pair.added and symbol not in config.symbols:
            raise _error(
                f"{place(path)} is {_shown(symbol)}, which is not one of {place.short('symbols')}; add it there, or "
                "set added = true if it is subscribed at run time"
            )


def check_live_limits(config: Config, place: "_Place | None" = None) -> None:
    """Raise ConfigError unless the limits are set that trading with real money needs."""
    named = place or _Place("")
    for key in ("order_notional_max", "position_notional_max", "daily_loss_max"):
        if getattr(config.risk, key) is None:
            raise _error(
                f"{named(f'risk.{key}')} is missing; trading on Kraken needs it: a limit in quote currency that no "
                "strategy can go beyond"
            )


def _check_strategies(config: Config, place: _Place) -> None:
    if len(config.strategies) > STRATEGIES_MAX:
        raise _error(f"{place('strategy')} must be at most {STRATEGIES_MAX} tables, not {len(config.strategies)}")
    names: dict[str, int] = {}
    for i, strategy in enumerate(config.strategies):
        if not strategy.target.strip():
            raise _error(f"{place(f'strategy[{i}].target')} is empty; give a file, package.module:Class or entry point")
        if strategy.name is not None:
            if not NAME.fullmatch(strategy.name):
                raise _error(f"{place(f'strategy[{i}].name')} must be {NAME_RULE}, not {_shown(strategy.name)}")
            if strategy.name == "external":
                raise _error(
                    f"{place(f'strategy[{i}].name')} must be another one: orders of nobody's are called external"
                )
            if strategy.name in names:
                raise _error(
                    f"{place(f'strategy[{i}].name')} must be used once, but strategy[{names[strategy.name]}] "
                    f"is {_shown(strategy.name)} too"
                )
            names[strategy.name] = i
        if strategy.symbols is not None:
            path = f"strategy[{i}].symbols"
            for symbol in _checked_symbols(strategy.symbols, place(path), place.short(path)):
                if symbol not in config.symbols:
                    raise _error(
                        f"{place(path)} has {symbol}, which is not one of {place.short('symbols')}; add it there"
                    )


def _check_notices(targets: Sequence[NoticeTargetConfig], place: _Place) -> None:
    if len(targets) > NOTICE_TARGETS_MAX:
        raise _error(f"{place('notices.target')} must be at most {NOTICE_TARGETS_MAX} tables, not {len(targets)}")
    names: dict[str, int] = {}
    for i, target in enumerate(targets):
        path = f"notices.target[{i}]"
        if not NAME.fullmatch(target.name):
            raise _error(f"{place(f'{path}.name')} must be {NAME_RULE}, not {_shown(target.name)}")
        same = names.setdefault(target.name.replace("-", "_"), i)  # as the names of their variables are
        if same != i:
            raise _error(
                f"{place(f'{path}.name')} is {_shown(target.name)}, but notices.target[{same}] is "
                f"{_shown(targets[same].name)}; give it another name"
            )
        if target.url is not None and target.kind in ("slack", "discord"):
            raise _error(
                f"{place(f'{path}.url')}: the address of {target.kind} is a secret; put it into a file of mode 0600, "
                "and name that in secret_file"
            )
        if target.chat is not None and target.kind != "telegram":
            raise _error(f"{place(f'{path}.chat')} is for telegram alone, not {target.kind}; leave it out")
        if target.kind == "telegram" and not target.chat:
            raise _error(f"{place(f'{path}.chat')} is missing; give the chat's number, as text, or @channel")
        if target.url is not None:
            try:
                (check_rest_url if target.kind == "telegram" else check_web_url)(target.url)
            except ConfigError as error:
                raise _error(f"{place(f'{path}.url')}: {error}") from None
        if not target.events:
            raise _error(f"{place(f'{path}.events')} is empty; name what it is to be told of, or remove the target")


def _checked_symbols(symbols: Sequence[str], place: str, short: str) -> tuple[str, ...]:
    """Return `symbols` if each is BASE/QUOTE in v2's names and none is there twice.

    Raises ConfigError.
    """
    if not symbols:
        raise _error(f"{place} must name at least one pair, e.g. BTC/USD")
    if len(symbols) > SYMBOLS_MAX:
        raise _error(f"{place} must be at most {SYMBOLS_MAX} pairs, not {len(symbols)}")
    seen: set[str] = set()
    for symbol in symbols:
        if wrong := symbol_mistake(symbol):
            raise _error(f"{place} has {wrong}")
        if symbol in seen:
            raise _error(f"{place} has {symbol} twice; remove one")
        seen.add(symbol)
    return tuple(symbols)


def symbol_mistake(symbol: str) -> str:
    """What is wrong with a name that cannot be a pair's, and what to write; empty for one
    that can.
    """
    likely = _likely_symbol(symbol)
    if symbol == likely and SYMBOL.fullmatch(symbol):
        return ""
    mend = f"use {likely}"
    if not SYMBOL.fullmatch(likely):
        mend = "write it as BASE/QUOTE, e.g. BTC/USD"
    elif may_be_tokenized(_slashed(symbol)):
        mend = "write it in capitals, with a small x only at the end of a tokenized stock, e.g. AAPLx/USD"
    return f"{_shown(symbol)}, which is no symbol of Kraken's v2; {mend}"


def _likely_symbol(text: str) -> str:
    """The symbol that `xbt/usd`, `BTC-USD` or `BTCUSD` means: BTC/USD.

    A name that may be Kraken's stays as it is.
    """
    return v2_symbol(capitals(_slashed(text)))


def _slashed(text: str) -> str:
    """Write `BTC-USD`, `BTC / USD` and `BTCUSD` as BTC/USD."""
    if "/" in text:
        return re.sub(r"\s*/\s*", "/", text.strip())
    plain = re.sub(r"[-_: ]", "/", text.strip())
    if "/" in plain:
        return plain
    quote = next((quote for quote in QUOTES if plain.upper().endswith(quote) and len(plain) > len(quote)), "")
    return f"{plain[: -len(quote)]}/{plain[-len(quote) :]}" if quote else plain


# --- texts of errors


def _unknown(path: str, place: _Place, siblings: Sequence[str] = ()) -> str:
    """The sentence for an unknown key: `feed.dept is not a setting; did you mean
    feed.depth?`
    """
    by_leaf = {setting.path.rpartition(".")[2]: setting.path for setting in settings() if "[]" not in setting.path}
    leaf = path.rpartition(".")[2]
    near = get_close_matches(path, siblings, n=1) or [by_leaf[near] for near in get_close_matches(leaf, by_leaf, n=1)]
    mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(siblings or _fields(Config))}"
    return f"{place(path)} is not a setting; {mend}"


def _shown(value: object) -> str:
    """`value` as the user would have written it, on one line and cut."""
    match value:
        case str():
            shown = json.dumps(value)
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > 200:  # Python refuses to print very long ones
            return f"a number of {value.bit_length()} bits"
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            shown = str(value)
    return shown if len(shown) <= VALUE_CHARS_SHOWN_MAX else f"{shown[: VALUE_CHARS_SHOWN_MAX - 1]}…"


def _key(key: object) -> str:
    """A key as TOML writes it: bare where it can be."""
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", text) else _shown(text)


def _error(sentence: str) -> ConfigError:
    """A ConfigError on one line, whatever the file contains."""
    return ConfigError("".join(char if char.isprintable() else ascii(char)[1:-1] for char in sentence))


# --- the schema, read from the Structs


@cache
def _fields(cls: type[Struct]) -> dict[str, schema.Field]:
    kind = schema.type_info(cls)
    assert isinstance(kind, schema.StructType)
    return {field.encode_name: field for field in kind.fields}


def _settings_of(cls: type[Struct], prefix: str) -> Iterator[Setting]:
    for key, field in _fields(cls).items():
        match field.type:
            case schema.StructType(cls=inner):
                yield from _settings_of(inner, f"{prefix}{key}.")
            case schema.VarTupleType(item_type=schema.StructType(cls=inner)):
                yield from _settings_of(inner, f"{prefix}{key}[].")
            case _:
                default = field.default
                if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                    default = field.default_factory()
                yield Setting(f"{prefix}{key}", _kind_words(field.type), _meaning(field), default)


def _meaning(field: schema.Field) -> str:
    kind = field.type
    described = (kind.extra_json_schema or {}) if isinstance(kind, schema.Metadata) else {}
    return str(described.get("description", ""))


def _kind_words(kind: schema.Type) -> str:
    """The values that this type takes, in words."""
    match kind:
        case schema.Metadata() | schema.UnionType():
            return _kind_words(kind.type if isinstance(kind, schema.Metadata) else kind.types[0])
        case schema.VarTupleType():
            return f"a list of {_kind_words(kind.item_type)}"
        case schema.LiteralType():
            return " or ".join(", ".join(map(str, kind.values)).rsplit(", ", 1))
        case schema.BoolType():
            return "true or false"
        case schema.DictType():
            return "a table"
        case schema.IntType():
            return f"a whole number from {kind.ge:,} to {kind.le:,}"
        case schema.FloatType():
            return f"a number from {kind.ge:,g} to {kind.le:,g}"
        case _:
            return "text"


def _without_none(table: Any) -> Any:
    """Drop what is None: TOML has no null."""
    match table:
        case dict():
            return {key: _without_none(value) for key, value in table.items() if value is not None}
        case list() | tuple():
            return [_without_none(item) for item in table]
        case _:
            return table
