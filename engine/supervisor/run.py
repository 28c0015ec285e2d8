"""One run of the engine: what surrounds its supervisor, for `engine run` and for programs.

    configuration ─► Run.begin: run directory, local venue, key ─► Run.supervisor ─► Run.end

The local venue starts while strategies are imported, because both take a while. Keys and
tokens in the environment are taken out of it before any strategy's code runs, whether the
run has a use for them or not.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from engine.config import Config, NoticeTargetConfig, VenueConfig, is_kraken
from engine.credentials import checked, hand_over, no_core_dumps, take_environment
from engine.errors import ConfigError
from engine.ledger_check import compare_with_ledger
from engine.processes.notice_secrets import ENVIRONMENT_MEND, place_of_secret, take_variables
from engine.processes.notice_secrets import hand_over as hand_over_secrets
from engine.processes.pinning import check_cpus
from engine.secret.private_text import ENVIRONMENT, forget_variables
from engine.state_directory import default_state_dir, next_run
from engine.strategy_host.loading import NamedStrategy
from engine.supervisor.descriptors import ensure_descriptors
from engine.supervisor.extras import need_extra
from engine.supervisor.local_venue import LOCAL, PAPER, LocalVenue, VenuePlan, VenueReady
from engine.supervisor.paper import paper_report
from engine.supervisor.run_directory import RunDirectory
from engine.supervisor.supervisor import Supervisor
from engine.supervisor.trading import Account

LIVE: Final = "live"
VENUE_LOOK_S: Final = 0.2  # how often it is looked whether the local venue lives

log = structlog.get_logger("engine")


def venue_settings(venue: str | None) -> dict[str, object]:
    """The settings that a venue implies: `local`, `paper`, `live`, or the URL of a public
    WebSocket. None leaves a setting as it is.

    Raises ConfigError for any other word.
    """
    names = (LOCAL, PAPER, LIVE)
    if venue is not None and venue not in names and "://" not in venue:
        raise ConfigError(
            f"there is no venue {venue!r}: it is local (play money, a made-up market), paper (play money, Kraken's "
            "market), live (Kraken, real money), or the URL of a public WebSocket such as wss://ws.kraken.com/v2; "
            "without one, it is Kraken's books without orders"
        )
    return {
        "venue.url": venue if venue not in names else None,
        "trading.enabled": True if venue == LIVE else None,
    }


class Run:
    """The run directory, the built-in venue and the account of one run."""

    def __init__(self, config: Config, plan: VenuePlan | None = None, *, trades: bool = True) -> None:
        """`plan` is the built-in venue to trade on; None for a run on the configured
        addresses. A run that never `trades` does not use the local venue's account.

        Raises ConfigError if books come from one venue and orders go to another.
        """
        if plan is None:
            _check_one_venue(config)
        self.config = config
        self._plan = plan
        self._trades = trades
        self._directory = RunDirectory(config.name)
        self._local: LocalVenue | None = None
        self._ready: VenueReady | None = None
        self._credentials_fd: int | None = None
        self._notice_secrets_fd: int | None = None
        self._account: Account | None = None

    def begin(self, strategies: int, *, beside: int = 0) -> None:
        """Acquire the engine's name, start the local venue, and move key and tokens out of
        the environment.

        `strategies` is the number of strategies, `beside` the number of files that this
        process has open for other purposes. Raises ConfigError if an engine of this name
        runs, or this process may open too few files.
        """
        config = self.config
        check_cpus((
            ("feed.cpus", config.feed.cpus), ("engine.cpus", config.engine.cpus), ("trading.cpus", config.trading.cpus),
        ))  # fmt: skip
        if config.metrics.port is not None:
            need_extra("prometheus_client", "metrics", "metrics.port")
        if config.page.port is not None:
            need_extra("plotly", "page", "page.port")
        ensure_descriptors(shards=config.feed.shards, strategies=strategies, beside=beside)
        self._directory.acquire()
        if config.notices.targets:
            self._notice_secrets_fd = _hand_over_notice_secrets(config.notices.targets)
        if self._plan is None and self.config.trading.enabled:
            self._credentials_fd = _hand_over_environment()
        forget_variables()  # also those that this run has no use for, such as the key in one for play money
        if self._plan is not None:
            self._local = LocalVenue(self.config.symbols, self._plan)

    def wait_for_venue(self) -> None:
        """Wait until the local venue accepts connections. Raises ConfigError if it cannot
        start.
        """
        if self._local is not None:
            self._ready = self._local.ready()

    def supervisor(self, strategies: Sequence[NamedStrategy], *, in_loop: bool = False) -> Supervisor:
        """Create the supervisor of this run. With `in_loop` the strategies run on the
        supervisor's own event loop.
        """
        self._account = self._make_account()
        is_local = self._ready is not None and not self._is_paper
        url = self._ready.public if self._ready is not None and is_local else self.config.venue.url
        return Supervisor(
            self.config,
            url,
            strategies,
            self._directory,
            self._account,
            in_loop=in_loop,
            notice_secrets_fd=self._notice_secrets_fd,
        )

    async def watch_venue(self, supervisor: Supervisor) -> None:
        """Stop the supervisor when the local venue ends; returns at once without one."""
        if self._local is None:
            return
        while self._local.process.poll() is None:
            await asyncio.sleep(VENUE_LOOK_S)
        supervisor.request_stop(f"the {self._local.kind} venue ended with exit code {self._local.process.returncode}")

    def venue_facts(self, supervisor: Supervisor) -> dict[str, Any]:
        """The built-in venue's part of the summary after the run: `ledger`, the comparison
        of its ledger with journal and callbacks; and `paper`, the assumptions behind a
        paper run's profit. Empty without a built-in venue.

        An error in journal or ledger is reported there; nothing is raised.
        """
        if self._ready is None or self._account is None:
            return {}
        facts: dict[str, Any] = {}
        if self._is_paper:
            try:
                facts["paper"] = paper_report(self._ready.rest)
                _tell_profit(supervisor.summary()["pnl"], facts["paper"])
            except OSError as error:
                log.error("the paper venue does not tell its terms", error=repr(error))
        try:
            facts["ledger"] = compare_with_ledger(self._ready.rest, self._account.state_dir, supervisor.told())
        except Exception as error:
            log.error("the ledger cannot be compared", error=repr(error), exc_info=error)
            reason = f"it cannot be compared: {error!r}"
            facts["ledger"] = {"orders": 0, "fills": 0, "agree": False, "differences": [reason]}
        else:
            _tell_ledger(facts["ledger"])
        return facts

    @property
    def _is_paper(self) -> bool:
        return self._plan is not None and self._plan.kind == PAPER

    def end(self) -> None:
        """End the local venue, wipe key and tokens, and release the name."""
        if self._local is not None:
            self._local.end()
        for fd in (self._credentials_fd, self._notice_secrets_fd):
            if fd is not None:
                os.close(fd)
        self._credentials_fd = self._notice_secrets_fd = None
        self._directory.release()

    def _make_account(self) -> Account | None:
        """The account to trade with: the local venue's always, Kraken's if configured, else
        None.
        """
        config, ready = self.config, self._ready
        if not self._trades:
            return None
        if ready is not None and self._plan is not None:
            # The venue's account begins and ends with this run, and so does its journal.
            state_dir = self._directory.state_path
            self._credentials_fd = hand_over(checked(ready.api_key, ready.api_secret, f"the {self._plan.kind} venue"))
            return Account(
                private_url=ready.private,
                rest_url=ready.rest,
                credentials_fd=self._credentials_fd,
                is_live=False,
                state_dir=state_dir,
                run=next_run(state_dir),
                is_paper=self._is_paper,
            )
        if self._credentials_fd is None:
            return None
        # Commands ask where it is, and are given from other directories.
        state_dir = (
            Path(config.trading.state_dir).absolute() if config.trading.state_dir else default_state_dir(config.name)
        )
        return Account(
            private_url=config.venue.private_url,
            rest_url=config.venue.rest_url,
            credentials_fd=self._credentials_fd,
            is_live=True,
            state_dir=state_dir,
            run=next_run(state_dir),
        )


def _tell_ledger(ledger: dict[str, Any]) -> None:
    """Log whether venue, journal and callbacks agree."""
    counts = {"orders": ledger["orders"], "fills": ledger["fills"]}
    if ledger["agree"]:
        log.info("the venue's ledger, the journal and the callbacks agree", **counts)
    else:
        differences = ledger["differences"]
        log.error(
            "the venue's ledger, the journal and the callbacks differ", **counts,
            differences=len(differences), first=differences[:1],
        )  # fmt: skip


def _tell_profit(pnl: dict[str, Any], paper: dict[str, Any]) -> None:
    """Log the profit of a paper run with its assumptions."""
    terms = {key: value for key, value in paper.items() if key != "assumptions"}
    profit = {key: pnl[key] for key in ("realized", "unrealized", "fees")}
    log.info("paper profit", **profit, **terms, assumptions=" ".join(paper["assumptions"]))


def _check_one_venue(config: Config) -> None:
    """Raise ConfigError if books come from one venue and orders go to another: such a
    mistake costs money.
    """
    venue, kraken = config.venue, VenueConfig()
    orders_at_kraken = kraken.private_url == venue.private_url or kraken.rest_url == venue.rest_url
    if config.trading.enabled and not is_kraken(venue.url) and orders_at_kraken:
        raise ConfigError(
            f"the public feed is {venue.url}, but trading.enabled would send orders to Kraken; set venue.private_url "
            "and venue.rest_url too, or trading.enabled = false"
        )


def _hand_over_environment() -> int:
    """Move an API key from the environment into a memfd for the router alone; returns its
    descriptor.

    This process can no longer be dumped then, because it has held the key.
    """
    credentials = take_environment()
    if credentials is not None:
        no_core_dumps()
    return hand_over(credentials)


def _hand_over_notice_secrets(targets: Sequence[NoticeTargetConfig]) -> int:
    """Move the secrets of these targets from the environment into a memfd for the process
    that sends notices; returns its descriptor.

    Raises ConfigError for a target whose secret is missing, or readable by others.
    """
    places = {target.name: place_of_secret(target) for target in targets}
    taken = take_variables(targets)
    if taken:
        no_core_dumps()
    if exposed := [name for name, place in places.items() if place == ENVIRONMENT]:
        log.warning("secrets of notices come from the environment", targets=exposed, mend=ENVIRONMENT_MEND)
    return hand_over_secrets(taken)
