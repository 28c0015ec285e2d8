"""What a child process is handed: one JSON object in a memfd, beside the descriptors that it names."""

import os
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from engine.actors.public_feed import Conflation
from engine.kraken.public_session import PublicSettings
from engine.telemetry.log import LogFormat
from engine.topology import Shard


class FeedLaunch(Struct, frozen=True, kw_only=True):
    """Everything that a public feed needs to run."""

    shard: Shard
    url: str
    ca_file: str | None
    settings: PublicSettings
    conflate: Conflation
    spin: bool
    attempts_max: int
    """Connection attempts in ten minutes: this feed's share of what Kraken allows one address."""
    ring_fd: int
    board_fd: int
    counters_fd: int
    doorbells: list[tuple[int, int]]
    """(index, eventfd) of who may sleep behind the market ring."""
    news_fd: int
    """A socket for News to the supervisor."""
    parent_pid: int
    log_level: str
    log_format: LogFormat

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child must inherit, beside the launch itself."""
        return (self.ring_fd, self.board_fd, self.counters_fd, self.news_fd, *(fd for _, fd in self.doorbells))


class News(Struct, frozen=True):
    """What a child tells the supervisor, one datagram each."""

    kind: str
    """refused: a subscription was refused for good. fatal: the child cannot run as it is configured."""
    text: str
    """One sentence for the user."""
    symbol: str = ""


encode_news = msgspec.json.Encoder().encode
decode_news = msgspec.json.Decoder(News).decode


def write_launch(launch: FeedLaunch) -> int:
    """A descriptor that a child can read the launch from."""
    fd = os.memfd_create("launch", 0)
    os.write(fd, msgspec.json.encode(launch))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_launch(fd: int) -> FeedLaunch:
    """The launch behind an inherited descriptor, which is closed."""
    with os.fdopen(fd, "rb") as file:
        return msgspec.json.decode(file.read(), type=FeedLaunch)


def actor_command(python: str, actor: str, launch_fd: int) -> Sequence[str]:
    """The command line of a child. -P: a user's own files must not hide the engine's modules."""
    return (python, "-P", "-m", "engine", "actor", actor, "--launch-fd", str(launch_fd))
