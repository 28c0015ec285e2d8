"""Every setting, as a field of a frozen Struct: its type, bounds, description and default.

Each limit has its unit in its name and its reason in its description.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engine.state_directory import NAME_RULE
from engine.telemetry.log import LogLevel
from engine.telemetry.notice_events import USUAL, NoticeEvent

SYMBOLS_MAX = 2048  # Kraken lists about 1,500 pairs
RING_SLOTS_MIN, RING_SLOTS_MAX = 1 << 10, 1 << 22  # 0.4 MB and 1.6 GB at ten levels
Cpu = Annotated[int, Meta(ge=0, le=4095)]
Port = Annotated[int, Meta(ge=0, le=65535)]


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
