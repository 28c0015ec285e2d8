"""The rules that no single type expresses: how settings depend on each other, and limits
of the whole configuration. Each check raises ConfigError.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from engine.config.schema import RING_SLOTS_MAX, RING_SLOTS_MIN, Config, NoticeTargetConfig
from engine.config.symbols import checked_symbols, symbol_mistake
from engine.config.wording import Place, config_error, key_text, value_text
from engine.endpoints import check_rest_url, check_url, check_web_url
from engine.errors import ConfigError
from engine.state_directory import NAME, NAME_RULE
from engine.telemetry.log import MODULES
from engine.topology import market_bytes, plan_shards

STRATEGIES_MAX = 64  # each has its own state and callbacks on one core
NOTICE_TARGETS_MAX = 16  # each may have a request under way
MARKET_BYTES_MAX = 1 << 30  # of all rings and boards, which are allocated at the start


def check_rules(config: Config, place: Place) -> None:
    """Raise ConfigError for the first rule that the configuration breaks."""
    if not NAME.fullmatch(config.name):
        raise config_error(f"{place('name')} must be {NAME_RULE}, not {value_text(config.name)}")
    checked_symbols(config.symbols, place("symbols"))
    _check_paths(config, place)
    _check_urls(config, place)
    _check_feed(config, place)
    _check_market_bytes(config, place)
    _check_log_levels(config, place)
    connection, engine = config.connection, config.engine
    _check_order("connection.backoff", connection.backoff_min_s, connection.backoff_max_s, place)
    _check_order("engine.restart_delay", engine.restart_delay_min_s, engine.restart_delay_max_s, place)
    _check_trading(config, place)
    _check_strategies(config, place)
    _check_notices(config.notices.targets, place)


def _check_paths(config: Config, place: Place) -> None:
    for key, value in (
        ("venue.ca_file", config.venue.ca_file),
        ("trading.credentials_file", config.trading.credentials_file),
        ("trading.state_dir", config.trading.state_dir),
        *((f"notices.target[{i}].secret_file", it.secret_file) for i, it in enumerate(config.notices.targets)),
    ):
        if value is not None and not value.strip():
            raise config_error(f"{place(key)} is empty; write a path, or leave it out")
        if value is not None and value.startswith("~"):
            raise config_error(f"{place(key)} begins with ~, which stands for itself here; write the whole path")


def _check_urls(config: Config, place: Place) -> None:
    for key in ("url", "private_url", "rest_url"):
        try:
            (check_rest_url if key == "rest_url" else check_url)(getattr(config.venue, key))
        except ConfigError as error:
            raise config_error(f"{place(f'venue.{key}')}: {error}") from None


def _check_feed(config: Config, place: Place) -> None:
    feed = config.feed
    if feed.publish_levels > feed.depth:
        raise config_error(
            f"{place('feed.publish_levels')} must be at most {place.short('feed.depth')}, which is {feed.depth}, "
            f"not {feed.publish_levels}"
        )
    if twice := [one for one in set(feed.candle_intervals_min) if feed.candle_intervals_min.count(one) > 1]:
        raise config_error(
            f"{place('feed.candle_intervals_min')} must name each interval once; {min(twice)} is there twice"
        )
    if feed.ring_slots & (feed.ring_slots - 1):
        near = 1 << (feed.ring_slots.bit_length() - 1)
        raise config_error(
            f"{place('feed.ring_slots')} must be a power of two, e.g. {near} or {2 * near}, not {feed.ring_slots}"
        )


def _check_log_levels(config: Config, place: Place) -> None:
    for module in config.log.levels:
        if module not in MODULES:
            likely = get_close_matches(module, MODULES, 1)
            advice = f"did you mean {likely[0]}?" if likely else f"there are {', '.join(MODULES)}"
            raise config_error(f"{place(f'log.levels.{key_text(module)}')} is no module that logs; {advice}")


def _check_order(path: str, least: float, most: float, place: Place) -> None:
    """Check a pair of settings, `path` with `_min_s` and with `_max_s` appended."""
    if least > most:
        raise config_error(
            f"{place(f'{path}_min_s')} must be at most {place.short(f'{path}_max_s')}, which is {most:g}, not {least:g}"
        )


def _check_market_bytes(config: Config, place: Place) -> None:
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
    raise config_error(
        f"{place('feed.publish_levels')}: {feed.publish_levels} levels a side, {len(config.symbols)} pairs and "
        f"{len(shards)} of feed.shards with feed.ring_slots = {feed.ring_slots} take {needed / 1e6:,.0f} MB "
        f"of shared memory, more than {MARKET_BYTES_MAX / 1e6:,.0f} MB; set {' or '.join(mends) or 'both lower'}"
    )


def _check_trading(config: Config, place: Place) -> None:
    trading, risk = config.trading, config.risk
    if trading.dead_man_s and trading.dead_man_refresh_s * 2 > trading.dead_man_s:
        raise config_error(
            f"{place('trading.dead_man_refresh_s')} must be at most half of {place.short('trading.dead_man_s')}, "
            f"which is {trading.dead_man_s}, not {trading.dead_man_refresh_s:g}"
        )
    if trading.answer_timeout_s <= trading.deadline_s:
        raise config_error(
            f"{place('trading.answer_timeout_s')} must be more than {place.short('trading.deadline_s')}, "
            f"which is {trading.deadline_s:g}, not {trading.answer_timeout_s:g}"
        )
    _check_risk_pairs(config, place)
    for i, symbol in enumerate(risk.symbols or ()):
        if symbol not in {*config.symbols, *(pair.symbol for pair in risk.pairs)}:
            raise config_error(
                f"{place(f'risk.symbols[{i}]')} is {value_text(symbol)}, which is not one of {place.short('symbols')}; "
                "add it there, or as a [[risk.pair]] with added = true if it is subscribed at run time"
            )
    if trading.enabled:
        check_live_limits(config, place)


def _check_risk_pairs(config: Config, place: Place) -> None:
    """Check that each [[risk.pair]] names a pair of `symbols`, or one that is `added` at
    run time: a limit on any other symbol would limit nothing.
    """
    seen: set[str] = set()
    for i, pair in enumerate(config.risk.pairs):
        path, symbol = f"risk.pair[{i}].symbol", pair.symbol
        if symbol in seen:
            raise config_error(f"{place(path)} is {symbol} twice; remove one")
        seen.add(symbol)
        if pair.added and symbol in config.symbols:
            raise config_error(f"{place(path)} is {symbol}, which is one of {place.short('symbols')}; leave added out")
        if pair.added and (wrong := symbol_mistake(symbol)):
            raise config_error(f"{place(path)} is {wrong}")
        if not pair.added and symbol not in config.symbols:
            raise config_error(
                f"{place(path)} is {value_text(symbol)}, which is not one of {place.short('symbols')}; add it there, "
                "or set added = true if it is subscribed at run time"
            )


def check_live_limits(config: Config, place: Place | None = None) -> None:
    """Raise ConfigError unless the limits are set that trading with real money needs."""
    named = place or Place("")
    for key in ("order_notional_max", "position_notional_max", "daily_loss_max"):
        if getattr(config.risk, key) is None:
            raise config_error(
                f"{named(f'risk.{key}')} is missing; trading on Kraken needs it: a limit in quote currency that no "
                "strategy can go beyond"
            )


def _check_strategies(config: Config, place: Place) -> None:
    if len(config.strategies) > STRATEGIES_MAX:
        raise config_error(f"{place('strategy')} must be at most {STRATEGIES_MAX} tables, not {len(config.strategies)}")
    names: dict[str, int] = {}
    for i, strategy in enumerate(config.strategies):
        if not strategy.target.strip():
            raise config_error(
                f"{place(f'strategy[{i}].target')} is empty; give a file, package.module:Class or entry point"
            )
        if strategy.name is not None:
            if not NAME.fullmatch(strategy.name):
                raise config_error(
                    f"{place(f'strategy[{i}].name')} must be {NAME_RULE}, not {value_text(strategy.name)}"
                )
            if strategy.name == "external":
                raise config_error(
                    f"{place(f'strategy[{i}].name')} must be another one: orders of nobody's are called external"
                )
            if strategy.name in names:
                raise config_error(
                    f"{place(f'strategy[{i}].name')} must be used once, but strategy[{names[strategy.name]}] "
                    f"is {value_text(strategy.name)} too"
                )
            names[strategy.name] = i
        if strategy.symbols is not None:
            path = f"strategy[{i}].symbols"
            for symbol in checked_symbols(strategy.symbols, place(path)):
                if symbol not in config.symbols:
                    raise config_error(
                        f"{place(path)} has {symbol}, which is not one of {place.short('symbols')}; add it there"
                    )


def _check_notices(targets: Sequence[NoticeTargetConfig], place: Place) -> None:
    if len(targets) > NOTICE_TARGETS_MAX:
        raise config_error(f"{place('notices.target')} must be at most {NOTICE_TARGETS_MAX} tables, not {len(targets)}")
    names: dict[str, int] = {}
    for i, target in enumerate(targets):
        path = f"notices.target[{i}]"
        if not NAME.fullmatch(target.name):
            raise config_error(f"{place(f'{path}.name')} must be {NAME_RULE}, not {value_text(target.name)}")
        same = names.setdefault(target.name.replace("-", "_"), i)  # as the names of their variables are
        if same != i:
            raise config_error(
                f"{place(f'{path}.name')} is {value_text(target.name)}, but notices.target[{same}] is "
                f"{value_text(targets[same].name)}; give it another name"
            )
        if target.url is not None and target.kind in ("slack", "discord"):
            raise config_error(
                f"{place(f'{path}.url')}: the address of {target.kind} is a secret; put it into a file of mode 0600, "
                "and name that in secret_file"
            )
        if target.chat is not None and target.kind != "telegram":
            raise config_error(f"{place(f'{path}.chat')} is for telegram alone, not {target.kind}; leave it out")
        if target.kind == "telegram" and not target.chat:
            raise config_error(f"{place(f'{path}.chat')} is missing; give the chat's number, as text, or @channel")
        if target.url is not None:
            try:
                (check_rest_url if target.kind == "telegram" else check_web_url)(target.url)
            except ConfigError as error:
                raise config_error(f"{place(f'{path}.url')}: {error}") from None
        if not target.events:
            raise config_error(
                f"{place(f'{path}.events')} is empty; name what it is to be told of, or remove the target"
            )
