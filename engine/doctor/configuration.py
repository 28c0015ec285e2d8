"""Whether the limits of a configuration let live trading start, and fit its pairs and its
account.
"""

from engine.config import Config, check_live_limits
from engine.doctor.account import Examined
from engine.errors import ConfigError
from engine.kraken_rest.preflight import Finding, Level
from engine.kraken_rest.private_probe import Probe


def limit_findings(config: Config, examined: Examined, *, is_local: bool) -> list[Finding]:
    """Check that the limits are set, and that an order of each pair fits into them;
    `is_local`: for play money, which needs none.
    """
    findings = _are_set(config, is_local=is_local) + _smallest_orders(config, examined)
    findings += _currencies(config) + _open_orders(config, examined.probe)
    if not is_local and not config.trading.enabled:
        text = "trading.enabled is false: `engine run` trades on Kraken with --venue live alone"
        findings.append(Finding("trading", Level.ADVICE, text))
    return findings or [Finding("limits", Level.OK, "every limit that live trading needs is set")]


def _are_set(config: Config, *, is_local: bool) -> list[Finding]:
    try:
        check_live_limits(config)
    except ConfigError as error:
        return [Finding("limits", Level.ADVICE if is_local else Level.FAILURE, str(error))]
    return []


def _smallest_orders(config: Config, examined: Examined) -> list[Finding]:
    findings = []
    notional_max = config.risk.order_notional_max
    for symbol in config.symbols:
        pair = examined.pairs.find(symbol)
        if pair is not None and notional_max is not None and notional_max < pair.cost_min:
            text = (
                f"risk.order_notional_max is {notional_max:g}, but Kraken's smallest order of {symbol} costs "
                f"{pair.cost_min:f} {pair.quote}; raise it"
            )
            findings.append(Finding("limits", Level.FAILURE, text))
    return findings


def _currencies(config: Config) -> list[Finding]:
    quotes = sorted({symbol.partition("/")[2] for symbol in config.symbols})
    limited = {pair.symbol for pair in config.risk.pairs if pair.order_qty_max and pair.position_qty_max}
    unlimited = [symbol for symbol in config.symbols if symbol not in limited]
    if len(quotes) < 2 or not unlimited:
        return []
    text = (
        f"the limits of [risk] count {' as much as '.join(f'1 {quote}' for quote in quotes)}; "
        f"give [[risk.pair]] order_qty_max and position_qty_max for {', '.join(unlimited)}"
    )
    return [Finding("limits", Level.WARNING, text)]


def _open_orders(config: Config, probe: Probe | None) -> list[Finding]:
    if probe is None or not probe.max_rate_count or config.risk.open_orders_max <= probe.open_orders_max:
        return []
    text = (
        f"risk.open_orders_max is {config.risk.open_orders_max}, but the account's tier allows "
        f"{probe.open_orders_max} open orders a pair; lower it"
    )
    return [Finding("limits", Level.WARNING, text)]
