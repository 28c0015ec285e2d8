"""The limits of a strategy, as they are configured."""

from engine.config import EngineConfig
from engine.strategy_host.hosted_strategy import HostLimits
from engine.units import NS_PER_MS, NS_PER_S


def test_the_limits_are_the_configured_ones_in_nanoseconds():
    """Milliseconds and seconds of the configuration; what nobody configures is the same in both."""
    settings = EngineConfig(slow_callback_ms=2.5, strategy_errors_per_minute_max=3, strategy_lag_s_max=0.25)

    assert HostLimits.of(settings) == HostLimits(
        slow_callback_ns=5 * NS_PER_MS // 2, errors_per_minute_max=3, lag_ns_max=NS_PER_S // 4
    )
    assert HostLimits.of(EngineConfig()) == HostLimits()
