"""What the venue can be told, as frozen Structs, each with its unit and its default."""

from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from engine.errors import ConfigError
from engine.venue.setup.keys import KeySpec
from engine.venue.setup.rate_counter import TIERS, Tier

Pace = Literal["original", "max"]

MaintenanceLoss = Literal["none", "private", "all"]

PATH: Final = "/v2"  # of the public WebSocket, as on Kraken
PATHS_V1: Final = ("", "/")  # of WebSocket v1, which is not served


class FaultSpec(msgspec.Struct, frozen=True):
    """One kind of trouble: at a rate per outgoing data frame, or once at a moment. Exactly one of the two is set."""

    kind: str
    rate: float | None = None  # probability for each data frame of the symbol
    at_s: float | None = None  # once, that long after the venue began to serve
    symbol: str | None = None  # only frames of this symbol; None means of any
    close_code: int = 0  # of kind "close"
    decimals: tuple[int, int] = (0, 0)  # of kind "precision": of prices and of quantities


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that shapes one venue."""

    host: str = "127.0.0.1"  # loopback only: the venue has no authentication to speak of
    port: int = 8765  # 0: any free one
    seed: int = 0  # of the order flow, the delays, the connection ids and the faults
    symbols: tuple[str, ...] = ()  # the pairs that are listed; empty means all that the venue knows
    rate: float = 100.0  # book messages a second, all pairs together, seen at depth 10; 0: the books stand still
    faults: tuple[FaultSpec, ...] = ()

    capture: tuple[str, ...] = ()  # files of genuine frames to serve instead of the living exchange
    pace: Pace = "original"
    repeat: int = 1  # rounds of the capture; 0: for ever

    snapshot_delay_ms: tuple[float, float] = (10.0, 40.0)  # from the ack to the snapshot, evenly drawn between the two
    heartbeat_s: float = 1.0  # measured: 1.000 s ± 26 ms whatever else flows
    idle_close_s: float = 60.0  # a connection without subscriptions that asks nothing is closed
    requests_per_s: float = 50.0  # of one connection, sustained; Kraken publishes no number
    requests_burst: int = 100  # that may come at once on top of it
    write_buffer_bytes_max: int = 8 * 1024 * 1024  # a client that reads slower than this allows is disconnected
    # Of the phase cancel_only of the fault "maintenance", the others in Kraken's proportion; 100 is Kraken's own pace.
    maintenance_phase_s: float = 1.0
    # Which connections a maintenance costs: none; the private ones, as it comes to post_only; or all, as it begins.
    maintenance_loss: MaintenanceLoss = "none"

    private_port: int | None = None  # of the private WebSocket; None: the one after `port`, any free one where that is
    tier: Tier = "intermediate"  # of the funded account: its rate counter and how many orders it may have open
    fee_volume_usd: float = 0.0  # what the funded account is said to have traded in 30 days: its fees
    count_rates: bool = True  # False: no rate counter and no limit of open orders, for those who measure speed
    engine_latency_ms: tuple[float, float] = (1.0, 3.0)  # of a trading request, evenly drawn between the two
    rest_lag_ms: tuple[float, float] = (500.0, 3000.0)  # how far behind the fault rest-lag looks, likewise
    # The answer to batch_cancel: that of the wire in 2024 and 2026, or the page's.
    batch_cancel_shape: Literal["orders_cancelled", "count"] = "orders_cancelled"
    crossing_post_only: Literal["cancel", "refuse"] = "cancel"  # accepted and then canceled, or refused with an error
    rest_port: int | None = None  # of REST; None: the second after `port`, any free one where that is
    keys: tuple[KeySpec, ...] = ()  # further API keys, beside the one that is made from the seed
    clock_offset_s: float = 0.0  # by which REST's Time, and nothing else, is wrong
    ledger: str = ""  # file to which every accepted order and every fill is written; empty: none

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise ConfigError(f"--host {self.host}: the venue serves loopback only, use 127.0.0.1, ::1 or localhost")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}: a port is a number from 0 (any free one) to 65535")
        if not 0 <= self.rate <= 1_000_000:
            raise ConfigError(f"--rate {self.rate:g}: messages a second must be from 0 (stand still) to 1000000")
        if self.repeat < 0:
            raise ConfigError(f"--repeat {self.repeat}: rounds must be 0 (for ever) or more")
        low, high = self.snapshot_delay_ms
        if not 0 <= low <= high <= 60_000:
            raise ConfigError(f"--snapshot-delay-ms {low:g}-{high:g}: must be from 0 to 60000, the smaller first")
        if self.private_port is not None and not 0 <= self.private_port <= 65535:
            raise ConfigError(f"--private-port {self.private_port}: a port is a number from 0 (any free one) to 65535")
        if self.rest_port is not None and not 0 <= self.rest_port <= 65535:
            raise ConfigError(f"--rest-port {self.rest_port}: a port is a number from 0 (any free one) to 65535")
        if not abs(self.clock_offset_s) <= 86_400:
            raise ConfigError(f"--clock-offset-s {self.clock_offset_s:g}: must be from -86400 to 86400")
        if self.tier not in TIERS:
            raise ConfigError(f"--tier {self.tier}: there is no such tier, use {', '.join(TIERS)}")
        near, far = self.rest_lag_ms
        if not 0 <= near <= far <= 600_000:
            raise ConfigError(f"--rest-lag-ms {near:g}-{far:g}: must be from 0 to 600000, the smaller first")
        fast, slow = self.engine_latency_ms
        if not 0 <= fast <= slow <= 60_000:
            raise ConfigError(f"--engine-latency-ms {fast:g}-{slow:g}: must be from 0 to 60000, the smaller first")
        positive = {
            "--heartbeat-s": self.heartbeat_s,
            "--idle-close-s": self.idle_close_s,
            "--requests-per-s": self.requests_per_s,
            "--requests-burst": self.requests_burst,
            "--maintenance-phase-s": self.maintenance_phase_s,
        }
        for option, value in positive.items():
            if not value > 0:
                raise ConfigError(f"{option} {value:g}: must be more than 0")


def is_loopback(host: str) -> bool:
    """Can only this machine reach a server on `host`?"""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
