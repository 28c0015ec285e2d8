"""The strategies of a configuration, loaded and named."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from engine.config import Config
from engine.errors import ConfigError
from engine.strategy.api import Strategy
from engine.strategy.loader import fingerprint, load_class, make_strategy


class NamedStrategy(Struct):
    """A loaded strategy, and the pairs that it follows."""

    name: str
    strategy: Strategy
    symbols: tuple[str, ...]
    positions: str
    """What its positions begin with: own or account; see `trading.positions`."""


def make_strategies(config: Config, symbols: Sequence[str], say: Callable[..., object]) -> list[NamedStrategy]:
    """Load every strategy of the configuration. Raises StrategyError or ConfigError, which
    names the strategy that cannot be loaded.
    """
    strategies: list[NamedStrategy] = []
    taken: set[str] = set()
    for entry in config.strategies:
        cls = load_class(entry.target)
        name = entry.name or free_name(cls.__name__, taken)
        if name in taken:
            raise ConfigError(f"two strategies are named {name}; give one of them another name")
        taken.add(name)
        strategies.append(
            NamedStrategy(
                name,
                make_strategy(cls, entry.params, name),
                entry.symbols or tuple(symbols),
                entry.positions or config.trading.positions,
            )
        )
        say("strategy loaded", name=name, target=entry.target, sha256=fingerprint(cls))
    return strategies


def holders(strategies: Sequence[NamedStrategy]) -> dict[str, tuple[str, ...]]:
    """The strategies whose positions begin with the account's holdings, each with its
    pairs. Raises ConfigError if two positions would begin with the same holding.
    """
    found: dict[str, tuple[str, ...]] = {}
    taken: dict[str, str] = {}
    for named in strategies:
        if named.positions != "account":
            continue
        found[named.name] = named.symbols
        for symbol in named.symbols:
            asset, own = symbol.partition("/")[0], f"{named.name}'s in {symbol}"
            if (other := taken.setdefault(asset, own)) != own:
                raise ConfigError(
                    f'with positions = "account", the positions {other} and {own} would both begin with the account\'s '
                    f'{asset}; leave one of them out of the symbols, or set positions = "own" in its [[strategy]]'
                )
    return found


def free_name(name: str, taken: set[str]) -> str:
    """The name, with a number appended if it is taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
