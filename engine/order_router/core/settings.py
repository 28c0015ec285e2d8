"""The settings of the order core; see `engine.config` for their meaning to a user."""

from collections.abc import Mapping

from msgspec import Struct

from engine.order_router.core.degraded import DegradedSettings
from engine.order_router.core.new_orders import NewOrderSettings
from engine.orders.risk import RiskLimits


class CoreSettings(Struct, frozen=True, kw_only=True):
    """The settings of the order core. Times are in nanoseconds unless the name says
    otherwise.
    """

    new_orders: NewOrderSettings
    limits: RiskLimits
    queue_orders_max: int
    """The number of orders that may wait for Kraken's rate counter."""
    tier: str
    """A name of `rate_counter.TIERS`, or "auto": the one that Kraken tells."""
    cancel_reserve_percent: int
    rest_lag_ns_max: int
    open_orders_check_ns: int
    """Between two comparisons of all open orders with Kraken's; 0: never."""
    dead_man_s: int
    """Timeout of the dead man's switch in seconds; 0: never armed."""
    dead_man_refresh_ns: int
    token_refresh_ns: int
    breaker_failures: int
    breaker_open_ns: int
    hang_ns_max: int
    degraded: DegradedSettings = DegradedSettings()
    holders: Mapping[str, tuple[str, ...]] = {}
    """The strategies whose positions begin with what the account holds, each with the
    pairs.
    """
    balance_callers: frozenset[str] = frozenset()
    """The strategies that are called when a balance changes."""
    cancels_on_halt: bool
    """Whether the orders of a strategy that hangs, ends or does not read its reports are
    canceled.
    """
