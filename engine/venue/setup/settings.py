"""The venue's settings as frozen Structs, each with its unit and its default."""

from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from engine.errors import ConfigError
from engine.venue.market.listing import LISTED_MAX, ZIPF
from engine.venue.setup.keys import FUNDS_MAX, KeySpec
from engine.venue.setup.rate_counter import TIERS, Tier

Pace = Literal["original", "max"]

MaintenanceLoss = Literal["none", "private", "all"]

ZIPF_MAX: Final = 4.0  # the second pair has a sixteenth of the first one's events then

PATH: Final = "/v2"  # of the public WebSocket, as on Kraken
PATHS_V1: Final = ("", "/")  # of WebSocket v1, which is not served


class FaultSpec(msgspec.Struct, frozen=True):
    """One kind of fault: at a rate per outgoing data frame, or once at a moment. Exactly
    one is set.
    """

    kind: str
    rate: float | None = None  # probability for each data frame of the symbol
    at_s: float | None = None  # once, so long after the venue began to serve
    symbol: str | None = None  # only frames of this symbol; None means of any
    close_code: int = 0  # of kind "close"
    decimals: tuple[int, int] = (0, 0)  # of kind "precision": decimals of prices and of quantities


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of one venue."""

    host: str = "127.0.0.1"  # loopback only: the venue's authentication protects nothing
    port: int = 8765  # of the public WebSocket; 0: any free one
    seed: int = 0  # of order flow, delays, connection ids and faults
    symbols: tuple[str, ...] = ()  # the pairs that are listed; empty means all that the venue knows
    # How many pairs the venue knows: its own first, then made-up ones, with rates by Zipf's
    # law and bursts; 0: its own alone, each at its own rate.
    pairs: int = 0
    zipf: float = ZIPF  # exponent of that law; 0: all pairs at the same rate
    also: bool = False  # list every other pair too, whose book begins to move when somebody follows it
    rate: float = 100.0  # book messages a second, all pairs together, at depth 10; 0: the books stand still
    faults: tuple[FaultSpec, ...] = ()

    capture: tuple[str, ...] = ()  # files of genuine frames to serve instead of the exchange
    pace: Pace = "original"
    repeat: int = 1  # rounds of the capture; 0: for ever

    snapshot_delay_ms: tuple[float, float] = (10.0, 40.0)  # from the confirmation to the snapshot, drawn evenly
    heartbeat_s: float = 1.0  # measured: 1.000 s ± 26 ms whatever else flows
    idle_close_s: float = 60.0  # a connection without subscriptions and requests is closed
    requests_per_s: float = 50.0  # of one connection, sustained; Kraken publishes no number
    requests_burst: int = 100  # that may come at once beyond that
    write_buffer_bytes_max: int = 8 * 1024 * 1024  # a client that leaves more unread is disconnected
    # The length of the phase cancel_only of the fault "maintenance"; the others keep
    # Kraken's proportion. 100 is Kraken's own pace.
    maintenance_phase_s: float = 1.0
    # The connections that a maintenance closes: none; the private ones, in post_only; or
    # all, at its start.
    maintenance_loss: MaintenanceLoss = "none"

    private_port: int | None = None  # of the private WebSocket; None: the one after `port`, or any free one
    tier: Tier = "intermediate"  # of the funded account: its rate counters, and the number of open orders
    funds: Mapping[str, Decimal] = msgspec.field(default_factory=dict)  # of the funded account; empty: ample
    fee_volume_usd: float = 0.0  # traded by the funded account in 30 days; decides its fees
    count_rates: bool = True  # False: neither a rate counter nor a limit of open orders, for measuring speed
    engine_latency_ms: tuple[float, float] = (1.0, 3.0)  # of a trading request, drawn evenly
    rest_lag_ms: tuple[float, float] = (
        500.0,
        3000.0,
    )  # how old the state is that the fault rest-lag shows, drawn evenly
    # The reply to batch_cancel: that of the wire in 2024 and 2026, or the documentation's.
    batch_cancel_shape: Literal["orders_cancelled", "count"] = "orders_cancelled"
    crossing_post_only: Literal["cancel", "refuse"] = "cancel"  # accepted and then canceled, or refused with an error
    rest_port: int | None = None  # of REST; None: the second after `port`, or any free one
    keys: tuple[KeySpec, ...] = ()  # further API keys, beside the one made from the seed
    clock_offset_s: float = 0.0  # added to REST's Time, and to nothing else
    ledger: str = ""  # file for every accepted order and every fill; empty: none

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise ConfigError(f"--host {self.host}: the venue serves loopback only, use 127.0.0.1, ::1 or localhost")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}: a port is a number from 0 (any free one) to 65535")
        if not 0 <= self.rate <= 1_000_000:
            raise ConfigError(f"--rate {self.rate:g}: messages a second must be from 0 (stand still) to 1000000")
        if not 0 <= self.pairs <= LISTED_MAX:
            raise ConfigError(f"--pairs {self.pairs}: the venue lists up to {LISTED_MAX} pairs; 0 lists its own alone")
        if not 0 <= self.zipf <= ZIPF_MAX:
            raise ConfigError(f"--zipf {self.zipf:g}: the exponent must be from 0 (all alike) to {ZIPF_MAX:g}")
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
        for asset, amount in self.funds.items():
            if not amount.is_finite() or not 0 <= amount < FUNDS_MAX:
                raise ConfigError(f"--funds {asset}={amount}: must be from 0 to {FUNDS_MAX:,}")
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
    """Whether only this machine can reach a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
