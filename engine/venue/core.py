"""The whole venue without a socket: markets, trading, connections, faults and maintenance.

`engine.venue.server` puts sockets around it; a simulation drives it with its own clock.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Final

import structlog

from engine.clock import Clock
from engine.errors import ConfigError
from engine.units import NS_PER_MS, NS_PER_S, WallNs
from engine.venue.market.exchange import Exchange
from engine.venue.market.listing import listing
from engine.venue.market.notices import Maintenance, Notices
from engine.venue.market.pairs import PAIRS, PairSpec, pairs_of_symbols
from engine.venue.market.pulse import NewAlarm, Pulse
from engine.venue.rest.api import RestApi
from engine.venue.setup.keys import FUNDED_ACCOUNT, KeyRing
from engine.venue.setup.settings import FaultSpec, VenueSettings
from engine.venue.trading.ledger import Ledger
from engine.venue.trading.settlement import default_funds, modest_funds, named_funds
from engine.venue.trading.trading import Trading
from engine.venue.websocket.capture import read_captures
from engine.venue.websocket.conversation import Conversation, Link
from engine.venue.websocket.faults import KINDS, check_symbols
from engine.venue.websocket.playback import CaptureSource
from engine.venue.websocket.private import PrivateConnection, TradingSide
from engine.venue.websocket.private_faults import PRIVATE_KINDS, PrivateFaults
from engine.venue.websocket.public import PublicConnection
from engine.venue.websocket.tokens import Tokens
from engine.venue.wire.stream import Source, Timer, Timers

log = structlog.get_logger(__name__)

PUBLIC, PRIVATE = "public", "private"  # the two sides
SERVICE_RESTART: Final = 1012  # close code of a maintenance, as a private socket met it on 2026-10-01
NOTICE_LAG_S: Final = 0.001  # after the time at which a notice changes
START_SLACK_NS: Final = 50 * NS_PER_MS  # a maintenance that begins this much early is the announced one
DUE_WAIT_S_MAX: Final = 3600.0  # between looks at what is due, so a clock that was set matters no longer than this
# The phases of a maintenance and their lengths, in units of cancel_only's: some 110, 100
# and 95 s on 2026-10-01.
LADDER: Final = (("maintenance", 1.1), ("cancel_only", 1.0), ("post_only", 0.95))
PRIVATE_LOSS_SHARE: Final = 11 / 95  # of post_only, after which that private socket was closed
QUIET_SHARE: Final = 0.01  # of the venue's rate, during a maintenance
QUIET_EVENTS_MIN: Final = 3  # in each phase at least
MAINTENANCE_TITLE: Final = "Spot Exchange Maintenance"


class VenueCore:
    """One venue: `open()`, `start()`, then `connect` and `connect_private` for each client,
    `rest.answer` for each REST request, and `shut()`.
    """

    def __init__(
        self,
        settings: VenueSettings,
        clock: Clock,
        timers: Timers,
        new_alarm: NewAlarm,
        mirrored: tuple[PairSpec, ...] = (),
    ) -> None:
        """`timers` calls back later, `new_alarm` makes the alarm of the pulse; both use
        `clock`. `mirrored`: pairs to list in place of the venue's own, whose markets
        something else moves.
        """
        self._settings = settings
        self._mirrored = mirrored
        self.clock = clock
        self._event_timers = timers
        self._new_alarm = new_alarm
        self._connections: dict[Conversation, None] = {}  # in the order in which they came
        self._unflushed: dict[Conversation, None] = {}  # those with frames of this tick
        self._flush_is_due = False  # at the end of this turn of the loop
        self._connection_count = 0  # ever accepted: the number of the next one
        self._rng = Random(f"{settings.seed} connections")  # ids and delays
        # Private connections have a generator of their own, so trading does not change what
        # the public sees.
        self._private_count = 0
        self._private_rng = Random(f"{settings.seed} private connections")
        self._pulse: Pulse | None = None  # None where nothing moves by itself: at rate 0, or with a capture
        self._due: Timer | None = None  # for what the trading core must do by itself next
        self._ledger = Ledger(settings.ledger)
        self._maintenance: Iterator[float] | None = None  # the one under way; yields the wait before each step
        self._maintenance_due: Timer | None = None  # its next step
        self.is_refusing = False  # connections, during the outage of a maintenance
        self._timers: list[Timer] = []  # of the timed faults
        self.notices = Notices(self._tell_all)
        self._notice_due: Timer | None = None  # when time alone changes them
        self._source: Source
        self.exchange: Exchange | None = None  # None when a capture is served
        self.trading_side: TradingSide | None = None  # None too: a capture cannot be traded
        self.keys = KeyRing(settings.seed, settings.tier, settings.keys)
        self.system = "online"
        self.rest_api: RestApi | None = None  # None too
        self.fault_counts: dict[str, int] = {}  # occurrences of each kind of fault
        self._sides_begun: set[str] = set()  # those that have had a connection

    def open(self) -> None:
        """Create the markets and the trading side; nothing happens in them yet. Raises
        ConfigError for invalid settings.
        """
        settings, timers = self._settings, self._event_timers
        self._source = self._open_source(timers)
        if self.trading_side is not None:
            self.rest_api = RestApi(
                settings,
                self.trading_side,
                self.keys,
                self.clock,
                timers,
                lambda: self.system,
                self.fault_counts,
                self.notices,
            )

    def start(self) -> None:
        """Start the markets, and the timers of trading faults."""
        if self._pulse is not None:
            self._pulse.start()
        for spec in self._settings.faults:
            if spec.at_s is not None and spec.kind in PRIVATE_KINDS and self.trading_side is not None:
                self._timers.append(self._event_timers.call_later(spec.at_s, self._script(spec.kind)))

    def shut(self) -> None:
        """Stop the markets and reset every connection."""
        if self._pulse is not None:
            self._pulse.stop()
        for timer in (*self._timers, self._notice_due, self._due, self._maintenance_due):
            if timer is not None:
                timer.cancel()
        if self.rest_api is not None:
            self.rest_api.close()
        for connection in list(self._connections):
            connection.reset()
        self._ledger.close()

    def _script(self, kind: str) -> Callable[[], None]:
        trading_side = self.trading_side
        assert trading_side is not None
        return lambda: trading_side.faults.script(kind)

    def _begin_side(self, side: str) -> None:
        """On the first connection to a side (public or private), start the timers of its
        faults.
        """
        if side in self._sides_begun:
            return
        self._sides_begun.add(side)
        for number, spec in enumerate(self._settings.faults, 1):
            if spec.at_s is not None and spec.kind in KINDS:
                strike = partial(self._strike, spec, side)
                self._timers.append(self._event_timers.call_later(spec.at_s, strike))
                if spec.kind == "maintenance" and (side == PUBLIC or PUBLIC not in self._sides_begun):
                    self._announce(number, spec.at_s)

    def _announce(self, event_id: int, in_s: float) -> None:
        """Add a future maintenance to the notices."""
        starts_at = WallNs(self.clock.wall_ns() + int(in_s * NS_PER_S))
        lasts_s = self._settings.maintenance_phase_s * sum(share for _, share in LADDER)
        ends_at = WallNs(starts_at + int(lasts_s * NS_PER_S) + 1)
        self.notices.plan(Maintenance(event_id=event_id, title=MAINTENANCE_TITLE, starts_at=starts_at, ends_at=ends_at))

    def _tell_all(self) -> None:
        """Send the status and the notices to every connection, and again when time alone
        changes the notices.
        """
        for connection in list(self._connections):
            connection.tell_status()
        if self._notice_due is not None:
            self._notice_due.cancel()
            self._notice_due = None
        now = self.clock.wall_ns()
        self.notices.begin(now)
        due_at = self.notices.next_change(now)
        if due_at is not None:
            # A little late rather than early, when nothing would have changed yet.
            wait_s = min((due_at - now) / NS_PER_S + NOTICE_LAG_S, DUE_WAIT_S_MAX)
            self._notice_due = self._event_timers.call_later(wait_s, self._tell_all)

    def _open_source(self, timers: Timers) -> Source:
        settings = self._settings
        if settings.capture:
            return CaptureSource(read_captures(settings.capture), settings, timers, self.clock, self._snapshot_delay_s)
        if self._mirrored:
            check_symbols(settings.faults, [pair.symbol for pair in self._mirrored])
            self.exchange = Exchange(
                self._mirrored, settings.seed, self.clock, timers, self._snapshot_delay_s, are_mirrored=True
            )
            self._open_trading_side(self.exchange, self._mirrored)
            return self.exchange
        listed = self.listed()
        pairs = pairs_of_symbols(settings.symbols, listed)
        check_symbols(settings.faults, [pair.symbol for pair in pairs])
        chosen = {pair.symbol for pair in pairs}
        still = tuple(pair for pair in listed if settings.also and pair.symbol not in chosen)
        self.exchange = Exchange(
            pairs, settings.seed, self.clock, timers, self._snapshot_delay_s, still, has_bursts=settings.pairs > 0
        )
        self._open_trading_side(self.exchange, pairs)
        if settings.rate > 0:
            self._pulse = Pulse(
                settings.rate, settings.seed, self.clock, self._new_alarm, self.exchange.next_event, self._flush
            )
        return self.exchange

    def listed(self) -> tuple[PairSpec, ...]:
        """Every pair that may be listed."""
        return listed_pairs(self._settings)

    def _open_trading_side(self, exchange: Exchange, pairs: Sequence[PairSpec]) -> None:
        """Create the trading side, with one funded account."""
        settings = self._settings
        trading = Trading(
            exchange,
            seed=settings.seed,
            ledger=self._ledger,
            count_rates=settings.count_rates,
            refuse_crossing_post_only=settings.crossing_post_only == "refuse",
            on_reminder=self._await_due,
        )
        markets = {pair.symbol: exchange.markets[pair.symbol] for pair in pairs}
        if settings.funds:
            funds = named_funds(settings.funds, pairs)
        else:
            funds = modest_funds(pairs, markets) if self._mirrored else default_funds(pairs, markets)
        trading.open_account(FUNDED_ACCOUNT, settings.tier, funds, settings.fee_volume_usd)
        faults = PrivateFaults(settings.faults, settings.seed, self.fault_counts)
        self.trading_side = TradingSide(exchange, trading, Tokens(settings.seed), faults)

    def _await_due(self) -> None:
        """Set a timer for what the trading core must do by itself: expiries, dead man's
        switches.
        """
        assert self.trading_side is not None
        if self._due is not None:
            self._due.cancel()
            self._due = None
        due_at = self.trading_side.trading.next_due()
        if due_at is not None:
            wait_s = min(max(0.0, (due_at - self.clock.wall_ns()) / NS_PER_S), DUE_WAIT_S_MAX)
            self._due = self._event_timers.call_later(wait_s, self._do_due)

    def _do_due(self) -> None:
        assert self.trading_side is not None
        self.trading_side.trading.advance(self.clock.wall_ns())
        self._await_due()

    def _snapshot_delay_s(self) -> float:
        return self._rng.uniform(*self._settings.snapshot_delay_ms) / 1000

    def _private_snapshot_delay_s(self) -> float:
        return self._private_rng.uniform(*self._settings.snapshot_delay_ms) / 1000

    # --- connections -------------------------------------------------------------------------------------------------

    def connect(self, link: Link) -> PublicConnection:
        """Open a public connection on this link."""
        self._begin_side(PUBLIC)
        self._connection_count += 1
        connection = PublicConnection(
            self._connection_count,
            self._rng.getrandbits(64),  # regularly beyond 2^63, as Kraken's are
            source=self._source,
            link=link,
            venue=self,
            timers=self._event_timers,
            clock=self.clock,
            settings=self._settings,
            fault_counts=self.fault_counts,
        )
        self._connections[connection] = None
        return connection

    def connect_private(self, link: Link) -> PrivateConnection:
        """Open a private connection on this link."""
        assert self.trading_side is not None
        self._begin_side(PRIVATE)
        self._private_count += 1
        connection = PrivateConnection(
            self._private_count,
            self._private_rng.getrandbits(64),
            trading_side=self.trading_side,
            link=link,
            venue=self,
            timers=self._event_timers,
            clock=self.clock,
            settings=self._settings,
            snapshot_delay_s=self._private_snapshot_delay_s,
        )
        self._connections[connection] = None
        return connection

    def disconnect(self, connection: Conversation) -> None:
        """Note that a connection has ended."""
        self._connections.pop(connection, None)
        self._unflushed.pop(connection, None)
        connection.end()

    @property
    def write_buffer_bytes_max(self) -> int:
        return self._settings.write_buffer_bytes_max

    def flush_soon(self, connection: Conversation) -> None:
        self._unflushed[connection] = None
        if not self._flush_is_due:  # for a client's trade, which no tick of the pulse flushes
            self._flush_is_due = True
            self._event_timers.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        for connection in self._unflushed:
            connection.flush()
        self._unflushed.clear()

    # --- faults and maintenance --------------------------------------------------------------------------------------

    def _strike(self, spec: FaultSpec, side: str) -> None:
        """Apply a timed fault to one side. A maintenance or a change of precision concerns
        both and waits for the public one.
        """
        log.info("fault", kind=spec.kind, symbol=spec.symbol, side=side, connections=len(self._connections))
        if spec.kind == "maintenance":
            if side == PUBLIC or PUBLIC not in self._sides_begun:
                self.fault_counts["maintenance"] = self.fault_counts.get("maintenance", 0) + 1
                self.begin_maintenance()
            return
        if spec.kind == "precision":
            if side == PUBLIC or PUBLIC not in self._sides_begun:
                self._relist(spec)
            return
        for connection in list(self._connections):
            if (connection.faults is not None) != (side == PUBLIC):
                continue
            if connection.faults is not None:
                connection.faults.arm(spec)
            elif spec.kind == "cut":
                connection.reset()
            elif spec.kind == "silent":
                connection.fall_silent()
            elif spec.kind == "close":
                connection.close(spec.close_code)

    def _relist(self, spec: FaultSpec) -> None:
        """Give a pair another precision; if that is impossible, log it and change nothing."""
        assert spec.symbol is not None
        if self.trading_side is None:
            log.error("fault cannot strike", kind=spec.kind, reason="a capture is served as it was recorded")
            return
        try:
            self.trading_side.trading.relist(spec.symbol, *spec.decimals, self.trading_side.exchange.event_time())
        except ConfigError as error:
            log.error("fault cannot strike", kind=spec.kind, reason=str(error))
            return
        self.fault_counts["precision"] = self.fault_counts.get("precision", 0) + 1

    def begin_maintenance(self) -> None:
        """Begin a maintenance and go through its phases; no effect while one is under way."""
        if self._maintenance is None:
            self._maintenance = self._maintain()
            # Later, because the caller may be in the middle of something that this changes.
            self._maintenance_due = self._event_timers.call_soon(self._go_on_maintaining)

    def _go_on_maintaining(self) -> None:
        assert self._maintenance is not None
        wait_s = next(self._maintenance, None)
        if wait_s is None:
            self._maintenance = self._maintenance_due = None
        else:
            self._maintenance_due = self._event_timers.call_later(wait_s, self._go_on_maintaining)

    def _maintain(self) -> Iterator[float]:
        """Go through Kraken's phases in order, yielding the seconds of each. Nothing is
        matched until the venue is online again, and books hardly move.
        """
        loss, unit_s = self._settings.maintenance_loss, self._settings.maintenance_phase_s
        pulse, quiet = self._pulse, self._quiet_pulse(unit_s)
        if pulse is not None and quiet is not None:
            pulse.stop()
            self._pulse = quiet
            quiet.start()
        self.notices.begin(WallNs(self.clock.wall_ns() + START_SLACK_NS))
        for system, share in LADDER:
            self.is_refusing = loss == "all" and system == "maintenance"
            self.enter(system)
            left_s = share * unit_s
            if self.is_refusing:
                self._close_connections(self._connections)
            elif loss == "private" and system == "post_only":
                yield left_s * PRIVATE_LOSS_SHARE
                left_s *= 1 - PRIVATE_LOSS_SHARE
                self._close_connections(
                    connection for connection in self._connections if isinstance(connection, PrivateConnection)
                )
            yield left_s
        if pulse is not None and quiet is not None:
            quiet.stop()
            self._pulse = pulse
            pulse.start()
        self.enter("online")

    def _quiet_pulse(self, phase_s: float) -> Pulse | None:
        """The slow pulse of the books during a maintenance; None if there is no pulse."""
        if self._pulse is None or self.exchange is None:
            return None
        rate = max(QUIET_SHARE * self._settings.rate, QUIET_EVENTS_MIN / phase_s)
        event = self.exchange.quiet_event
        rate = min(rate, self._settings.rate)
        return Pulse(rate, self._settings.seed, self.clock, self._new_alarm, event, self._flush)

    def _close_connections(self, connections: Iterable[Conversation]) -> None:
        for connection in list(connections):
            connection.close(SERVICE_RESTART)

    def enter(self, system: str) -> None:
        """Enter a state of the whole venue, in Kraken's words, and tell every connection."""
        log.info("status", system=system)
        self.system = system
        if self.trading_side is not None:
            self.trading_side.trading.system = system
            self._do_due()
        self._tell_all()


def listed_pairs(settings: VenueSettings) -> tuple[PairSpec, ...]:
    """Every pair that a venue of these settings may list: its own, or as many as asked for."""
    return listing(settings.pairs, settings.seed, settings.zipf) if settings.pairs else PAIRS
