"""The launch of a child process: one JSON object in a memfd, which names the inherited
descriptors.
"""

import os
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from engine.config import (
    ConnectionConfig,
    FallbackConfig,
    LogConfig,
    NoticeTargetConfig,
    OnLoss,
    RiskConfig,
    TradingConfig,
)
from engine.kraken.public.session import PublicSettings
from engine.topology import Shard

Conflation = Literal["none", "burst"]
"""Publish every verified book, or each pair's newest once at the end of a burst of frames."""


class ActorLaunch(Struct, frozen=True, kw_only=True):
    """The launch of any child."""

    ca_file: str | None
    attempts_max: int
    """Connection attempts in ten minutes: this process's share of what Kraken allows one
    address.
    """
    connection: ConnectionConfig
    counters_fd: int
    warnings_fd: int
    """The ring in which its last warnings are kept."""
    news_fd: int
    """A socket for News to the supervisor; its other end closes when the supervisor dies."""
    cpus: tuple[int, ...] = ()
    """The CPUs that may run the process; none: all."""
    log: LogConfig


class FeedLaunch(ActorLaunch, frozen=True, kw_only=True):
    """The launch of a public feed."""

    shard: Shard
    url: str
    settings: PublicSettings
    fallback: FallbackConfig
    rest_url: str | None
    """REST of the same venue; None when it is not to be asked."""
    calls_per_s: float
    """Calls of REST: this process's share of what Kraken allows one address."""
    candle_history: int
    """Candles from before the start that REST is asked for."""
    conflate: Conflation
    spin: bool
    ring_fd: int
    board_fd: int
    pair_table_fd: int
    """Which pairs are followed, and how: see engine.processes.pair_table."""
    doorbells: list[tuple[int, int]]
    """(index, eventfd) of processes that may sleep behind the market ring."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, beside the launch itself."""
        doorbells = (fd for _, fd in self.doorbells)
        return (
            self.ring_fd,
            self.board_fd,
            self.pair_table_fd,
            self.counters_fd,
            self.warnings_fd,
            self.news_fd,
            *doorbells,
        )


class PrivateFeedLaunch(ActorLaunch, frozen=True, kw_only=True):
    """The launch of the private feed."""

    url: str
    token_path: str
    """The order router's Unix socket for tokens."""
    ring_fd: int
    doorbells: list[tuple[int, int]]
    nudge_fd: int
    """A socket on which the router asks for fresh snapshots."""
    heartbeat_silence_ns: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, beside the launch itself."""
        doorbells = (fd for _, fd in self.doorbells)
        return (self.ring_fd, self.counters_fd, self.warnings_fd, self.news_fd, self.nudge_fd, *doorbells)


class ReportPort(Struct, frozen=True):
    """The order router's connection to one strategy."""

    strategy: str
    ring_fd: int
    begins_with: tuple[str, ...] = ()
    """The pairs in which its position begins with what the account holds."""
    is_called_with_balances: bool = False
    """Whether it is called when a balance changes."""


class MarketView(Struct, frozen=True):
    """One shard's board, pair table and counters, for the order router."""

    shard: Shard
    board_fd: int
    pair_table_fd: int
    counters_fd: int
    """The counters of the shard's feed, which show that it lives."""


class RouterLaunch(ActorLaunch, frozen=True, kw_only=True):
    """The launch of the order router, without the key, which comes through
    `credentials_fd`.
    """

    url: str
    rest_url: str
    credentials_fd: int
    engine_fd: int
    """A pidfd of the engine's process, whose end the router outlives for a while."""
    engine_pid: int
    is_live: bool
    """True for real money: the key's permissions and our limits are checked before the
    first order.
    """
    run: int
    """The number of this run of the engine, a part of every client order id."""
    state_dir: str
    token_path: str
    control_path: str
    trading: TradingConfig
    risk: RiskConfig
    symbols: tuple[str, ...]
    markets: list[MarketView]
    command_fd: int
    account_fd: int
    eventfd: int
    """The eventfd that the router sleeps behind."""
    reports: list[ReportPort]
    host_counters_fd: int
    """The counters of the strategies' host, with each strategy's callback words. In the
    order of `reports`.
    """
    hang_ns_max: int
    report_doorbells: list[tuple[int, int]]
    nudge_fd: int
    status_fd: int
    positions_fd: int
    balances_fd: int
    histogram_fds: list[int]
    """In the order of topology.ROUTER_HISTOGRAMS."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, beside the launch itself."""
        return (
            self.command_fd,
            self.account_fd,
            self.counters_fd,
            self.warnings_fd,
            self.news_fd,
            self.eventfd,
            self.nudge_fd,
            self.status_fd,
            self.positions_fd,
            self.balances_fd,
            self.credentials_fd,
            self.engine_fd,
            self.host_counters_fd,
            *self.histogram_fds,
            *(port.ring_fd for port in self.reports),
            *(fd for view in self.markets for fd in (view.board_fd, view.pair_table_fd, view.counters_fd)),
            *(fd for _, fd in self.report_doorbells),
        )


class NoticesLaunch(Struct, frozen=True, kw_only=True):
    """The launch of the process that sends notices. It reads the targets' secrets itself;
    those from the environment come through `secrets_fd`. Each restart reads the same
    launch.
    """

    name: str
    """Of the engine."""
    engine_pid: int
    """Of the engine's process, which starts this one."""
    control_path: str
    targets: tuple[NoticeTargetConfig, ...]
    venue: str
    """The URL of the venue's public WebSocket."""
    is_kraken: bool
    """Whether the engine's venue is Kraken."""
    has_trading: bool
    """Whether the engine trades."""
    on_engine_loss: OnLoss
    flush_s: float
    """For the last message, when the engine ends."""
    counters_fd: int
    secrets_fd: int
    log: LogConfig

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, beside the launch itself."""
        return (self.counters_fd, self.secrets_fd)


class News(Struct, frozen=True):
    """One datagram from a child to the supervisor."""

    kind: Literal["refused", "fatal"]
    """refused: a subscription was refused for good. fatal: the child cannot run as it is
    configured.
    """
    text: str
    """One sentence for the user."""
    symbol: str = ""


Tell = Callable[[News], None]
"""Sends news to the supervisor."""

encode_news = msgspec.json.Encoder().encode
decode_news = msgspec.json.Decoder(News).decode

L = TypeVar("L", bound=Struct)


def write_launch(launch: Struct) -> int:
    """Write a launch into a memfd; returns a descriptor from which a child can read it."""
    fd = os.memfd_create("launch", 0)
    os.write(fd, msgspec.json.encode(launch))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_launch(fd: int, kind: type[L]) -> L:
    """Read the launch from an inherited descriptor, and close the descriptor."""
    with os.fdopen(fd, "rb") as file:
        return msgspec.json.decode(file.read(), type=kind)


def program_command(python: str, program: str, launch_fd: int) -> Sequence[str]:
    """The command line of a child that is started without the fork server. With -P, so that
    the user's own files cannot shadow the engine's modules.
    """
    return (python, "-P", "-m", "engine", "actor", program, "--launch-fd", str(launch_fd))
