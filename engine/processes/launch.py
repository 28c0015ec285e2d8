"""The launch data of a child process: one JSON object in a memfd, and inherited file
descriptors.
"""

import os
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from engine.config import RiskConfig, TradingConfig
from engine.kraken.public.session import PublicSettings
from engine.telemetry.log import LogFormat
from engine.topology import Shard

Conflation = Literal["none", "burst"]
"""Publish every verified book, or each pair's newest once at the end of a burst of frames.
"""


class ActorLaunch(Struct, frozen=True, kw_only=True):
    """The launch data of every child."""

    ca_file: str | None
    attempts_max: int
    """Connection attempts per ten minutes: this process's share of Kraken's limit for one
    IP address.
    """
    counters_fd: int
    news_fd: int
    """A socket for News to the supervisor; it closes when the supervisor dies."""
    parent_pid: int
    log_level: str
    log_format: LogFormat


class FeedLaunch(ActorLaunch, frozen=True, kw_only=True):
    """The launch data of a public feed."""

    shard: Shard
    url: str
    settings: PublicSettings
    conflate: Conflation
    spin: bool
    ring_fd: int
    board_fd: int
    doorbells: list[tuple[int, int]]
    """(index, eventfd) of each doorbell of the market ring."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, besides that of the launch data."""
        return (self.ring_fd, self.board_fd, self.counters_fd, self.news_fd, *(fd for _, fd in self.doorbells))


class PrivateFeedLaunch(ActorLaunch, frozen=True, kw_only=True):
    """The launch data of the private feed."""

    url: str
    token_path: str
    """Path of the order router's Unix socket for tokens."""
    ring_fd: int
    doorbells: list[tuple[int, int]]
    nudge_fd: int
    """A socket on which the router requests fresh snapshots."""
    heartbeat_silence_ns: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, besides that of the launch data."""
        return (self.ring_fd, self.counters_fd, self.news_fd, self.nudge_fd, *(fd for _, fd in self.doorbells))


class ReportPort(Struct, frozen=True):
    """The report ring of one strategy."""

    strategy: str
    ring_fd: int


class MarketView(Struct, frozen=True):
    """The board of one shard, for the router."""

    shard: Shard
    board_fd: int
    counters_fd: int
    """The counters of the shard's feed, with its heartbeat."""


class RouterLaunch(ActorLaunch, frozen=True, kw_only=True):
    """The launch data of the order router; the API key comes through `credentials_fd`."""

    url: str
    rest_url: str
    credentials_fd: int
    is_live: bool
    """Real money: the key's permissions and the risk limits are checked before the first
    order.
    """
    run: int
    """Number of this run of the engine, part of every client order id."""
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
    """The eventfd of the router's doorbells."""
    reports: list[ReportPort]
    host_counters_fd: int
    """The counters of the strategy host: which callback each strategy is in, in the order
    of `reports`.
    """
    hang_ns_max: int
    report_doorbells: list[tuple[int, int]]
    nudge_fd: int
    status_fd: int
    histogram_fds: list[int]
    """In the order of topology.ROUTER_HISTOGRAMS."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the child must inherit, besides that of the launch data."""
        return (
            self.command_fd,
            self.account_fd,
            self.counters_fd,
            self.news_fd,
            self.eventfd,
            self.nudge_fd,
            self.status_fd,
            self.credentials_fd,
            self.host_counters_fd,
            *self.histogram_fds,
            *(port.ring_fd for port in self.reports),
            *(fd for view in self.markets for fd in (view.board_fd, view.counters_fd)),
            *(fd for _, fd in self.report_doorbells),
        )


class News(Struct, frozen=True):
    """A message of a child to the supervisor, one per datagram."""

    kind: str
    """refused: a subscription was refused permanently. fatal: the child cannot run with
    this configuration.
    """
    text: str
    """One sentence for the user."""
    symbol: str = ""


Tell = Callable[[News], None]
"""Sends news to the supervisor."""

encode_news = msgspec.json.Encoder().encode
decode_news = msgspec.json.Decoder(News).decode

L = TypeVar("L", bound=ActorLaunch)


def write_launch(launch: ActorLaunch) -> int:
    """Write the launch data to a memfd; returns its descriptor."""
    fd = os.memfd_create("launch", 0)
    os.write(fd, msgspec.json.encode(launch))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_launch(fd: int, kind: type[L]) -> L:
    """Read the launch data from an inherited descriptor and close it."""
    with os.fdopen(fd, "rb") as file:
        return msgspec.json.decode(file.read(), type=kind)


def actor_command(python: str, actor: str, launch_fd: int) -> Sequence[str]:
    """The command line of a child; -P, so that a user's files cannot hide the engine's
    modules.
    """
    return (python, "-P", "-m", "engine", "actor", actor, "--launch-fd", str(launch_fd))
