"""The configuration: a TOML file, or none, becomes frozen Structs whose defaults are safe.

    engine.toml ──► load_config ──┐
                                  ├──► Config ──► override (command line) ──► Config
                      Config() ───┘

`schema` has every setting, `reference` lists them, `loading` reads a file, `conversion`
checks types, and `rules` what no single type expresses. Any error is a ConfigError of one
sentence: the place, what it must be, what it is.

    engine.toml: feed.dept is not a setting; did you mean feed.depth?
    engine.toml: feed.depth must be a whole number, not "ten"
    --depth must be one of 10, 25, 100, 500, 1000, not 27
"""

from engine.config.loading import FOLDER_FILE, load_config, override
from engine.config.reference import Setting, settings
from engine.config.rules import STRATEGIES_MAX, check_live_limits
from engine.config.schema import (
    Config,
    ConnectionConfig,
    DegradedConfig,
    EngineConfig,
    FallbackConfig,
    FeedConfig,
    LogConfig,
    MetricsConfig,
    NoticesConfig,
    NoticeTargetConfig,
    OnLoss,
    RiskConfig,
    StrategyConfig,
    TradingConfig,
    VenueConfig,
    is_kraken,
)
from engine.config.symbols import parse_symbols, symbol_mistake

__all__ = [
    "FOLDER_FILE",
    "STRATEGIES_MAX",
    "Config",
    "ConnectionConfig",
    "DegradedConfig",
    "EngineConfig",
    "FallbackConfig",
    "FeedConfig",
    "LogConfig",
    "MetricsConfig",
    "NoticeTargetConfig",
    "NoticesConfig",
    "OnLoss",
    "RiskConfig",
    "Setting",
    "StrategyConfig",
    "TradingConfig",
    "VenueConfig",
    "check_live_limits",
    "is_kraken",
    "load_config",
    "override",
    "parse_symbols",
    "settings",
    "symbol_mistake",
]
