"""Converts a user's configuration to the order core's settings."""

from collections.abc import Collection, Mapping
from decimal import Decimal

from engine.config import RiskConfig, TradingConfig
from engine.order_router.core.degraded import DegradedSettings
from engine.order_router.core.new_orders import NewOrderSettings
from engine.order_router.core.settings import CoreSettings
from engine.orders.risk import PairLimits, RiskLimits, TightLimits
from engine.units import NS_PER_MS, NS_PER_S


def core_settings(
    trading: TradingConfig,
    risk: RiskConfig,
    hang_ns_max: int,
    holders: Mapping[str, tuple[str, ...]] | None = None,
    balance_callers: Collection[str] = (),
) -> CoreSettings:
    """The settings of the order core. `holders`, `balance_callers`: see `CoreSettings`."""
    return CoreSettings(
        new_orders=NewOrderSettings(
            deadline_ns=int(trading.deadline_s * NS_PER_S),
            command_ttl_ns=int(trading.command_ttl_s * NS_PER_S),
            rest_fallback=trading.rest_fallback,
            queues_over_rate=trading.over_rate == "queue",
            queue_wait_ns_max=int(trading.queue_wait_s_max * NS_PER_S),
        ),
        limits=_limits(risk, trading),
        queue_orders_max=trading.queue_orders_max,
        tier=trading.tier,
        cancel_reserve_percent=int(trading.cancel_reserve_percent),
        rest_lag_ns_max=int(trading.rest_lag_s_max * NS_PER_S),
        open_orders_check_ns=int(trading.open_orders_check_s * NS_PER_S),
        dead_man_s=trading.dead_man_s,
        dead_man_refresh_ns=int(trading.dead_man_refresh_s * NS_PER_S),
        token_refresh_ns=int(trading.token_refresh_min * 60 * NS_PER_S),
        breaker_failures=trading.breaker_failures,
        breaker_open_ns=int(trading.breaker_open_s * NS_PER_S),
        hang_ns_max=hang_ns_max,
        degraded=DegradedSettings(
            is_allowed=trading.when_private_down == "degrade" and trading.rest_fallback,
            after_ns=int(trading.degraded.after_s * NS_PER_S),
            poll_ns=int(trading.degraded.poll_s * NS_PER_S),
            balances_ns=int(trading.degraded.balances_s * NS_PER_S),
            limits=TightLimits(
                open_orders_max=trading.degraded.open_orders_max,
                orders_per_s_max=_exact(trading.degraded.orders_per_s_max),
                order_percent=_exact(trading.degraded.order_percent),
            ),
        ),
        holders=holders or {},
        balance_callers=frozenset(balance_callers),
        cancels_on_halt=trading.on_strategy_halt == "cancel",
    )


def _limits(risk: RiskConfig, trading: TradingConfig) -> RiskLimits:
    return RiskLimits(
        order_notional_max=_decimal(risk.order_notional_max),
        position_notional_max=_decimal(risk.position_notional_max),
        daily_loss_max=_decimal(risk.daily_loss_max),
        price_collar_percent=_exact(risk.price_collar_percent),
        open_orders_max=risk.open_orders_max,
        orders_per_s_max=_exact(risk.orders_per_s_max),
        book_age_ns_max=int(risk.book_age_s_max * NS_PER_S),
        duplicate_window_ns=int(risk.duplicate_window_ms * NS_PER_MS),
        self_trade_guard=risk.self_trade_guard,
        trade_while_unknown=trading.trade_while_unknown,
        symbols=None if risk.symbols is None else frozenset(risk.symbols),
        pairs={
            pair.symbol: PairLimits(
                order_qty_max=_decimal(pair.order_qty_max),
                position_qty_max=_decimal(pair.position_qty_max),
                open_orders_max=pair.open_orders_max,
            )
            for pair in risk.pairs
        },
    )


def _exact(number: float) -> Decimal:
    """The shortest decimal that a float prints as, which is what the user wrote."""
    return Decimal(repr(number))


def _decimal(number: float | None) -> Decimal | None:
    return None if number is None else _exact(number)
