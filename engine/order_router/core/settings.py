"""What the order core can be told; see `engine.config` for what it means to a user."""

from msgspec import Struct

from engine.order_router.core.new_orders import NewOrderSettings
from engine.orders.risk import RiskLimits


class CoreSettings(Struct, frozen=True, kw_only=True):
    """All of it. Times are in nanoseconds unless they say otherwise."""

    new_orders: NewOrderSettings
    limits: RiskLimits
    queue_orders_max: int
    """Orders that may wait for Kraken's rate counter."""
    tier: str
    """A name of `rate_counter.TIERS`, or auto: as Kraken tells it."""
    cancel_reserve_percent: int
    rest_lag_ns_max: int
    dead_man_s: int
    """0: the dead man's switch is never armed."""
    dead_man_refresh_ns: int
    token_refresh_ns: int
    breaker_failures: int
    breaker_open_ns: int
    hang_ns_max: int
    cancels_on_halt: bool
    """Do the orders of a strategy end that hangs, ends or does not take its reports?"""
