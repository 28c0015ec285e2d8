"""All pairs of the venue: which one acts next, the time of each event, and who is
subscribed.

The sequence of engine events is a function of the seed and the pairs alone. Time appears
only in timestamps, and the server decides the pace of the events.
"""

from collections.abc import Callable
from typing import Final

from engine.clock import Clock
from engine.units import NS_PER_US, WallNs
from engine.venue.market.book_feed import CHECKSUM_LEVELS
from engine.venue.market.markets import Markets
from engine.venue.market.pairs import PairSpec, asset_spec
from engine.venue.market.turns import Turns
from engine.venue.wire.stream import StreamKey, Subscriber, Timers
from engine.venue.wire.text import asset_row, instrument_text, pair_row
from engine.venue.wire.wire import text_frame

# Some 60 % of all actions change the ten best levels of their pair. So many in a row that
# do not would mean that the flow has stopped working; the limit keeps the server's tick
# finite even then.
ACTIONS_PER_EVENT_MAX: Final = 200

INSTRUMENT = StreamKey("instrument", "")


def unsupported(symbol: str) -> str:
    """Kraken's error for a symbol that it does not list, v1 and lower-case names included."""
    return f"Currency pair not supported {symbol}"


class Exchange:
    """The source of all streams of the living venue."""

    def __init__(
        self,
        pairs: tuple[PairSpec, ...],
        seed: int,
        clock: Clock,
        timers: Timers,
        snapshot_delay_s: Callable[[], float],
        still: tuple[PairSpec, ...] = (),
        has_bursts: bool = False,
        are_mirrored: bool = False,
    ) -> None:
        """`still`: pairs that are listed too, and take no turns before the first
        subscription to one of their streams. `has_bursts`: see `Turns`. `are_mirrored`:
        what happens in the markets comes from another venue, and no order flow acts."""
        self._clock = clock
        self._timers = timers
        self._snapshot_delay_s = snapshot_delay_s
        self._last_event_at = clock.wall_ns()  # no two events of the venue share a microsecond
        self.markets = Markets((*pairs, *still), seed, self._last_event_at, are_mirrored=are_mirrored)
        # How long a request to the venue that is mirrored takes there and back; 0 where
        # the market is here.
        self.round_trip_ns = 0
        self._turns = Turns((self.markets[pair.symbol] for pair in pairs), seed, has_bursts=has_bursts)
        self._still = {pair.symbol for pair in still}
        self._instrument_subscribers: dict[Subscriber, None] = {}

    def next_event(self) -> None:
        """Let the order flow act until some pair's ten best levels have changed.

        One call is one book message at depth 10, which is the unit of the venue's rate.
        Actions deeper in the book happen on the way; they make deeper windows change more
        often than shallow ones.
        """
        market = self._turns.next()
        for _ in range(ACTIONS_PER_EVENT_MAX):
            if market.act(self.event_time()) < CHECKSUM_LEVELS:
                return

    def quiet_event(self) -> None:
        """As `next_event`, without a trade: what still happens to the books during a
        maintenance.
        """
        market = self._turns.next()
        for _ in range(ACTIONS_PER_EVENT_MAX):
            if market.act_quietly(self.event_time()) < CHECKSUM_LEVELS:
                return

    def event_time(self) -> WallNs:
        """Now, but at least a microsecond after the event before."""
        return self.after(self._clock.wall_ns())

    def after(self, at: WallNs) -> WallNs:
        """This time, but at least a microsecond after the event before."""
        if at // NS_PER_US <= self._last_event_at // NS_PER_US:
            at = WallNs(self._last_event_at + NS_PER_US)
        self._last_event_at = at
        return at

    # --- the source of streams

    def refusal(self, key: StreamKey) -> str | None:
        """Kraken's error for a stream that does not exist; None for one that does."""
        if key.channel != "instrument" and key.symbol not in self.markets:
            return unsupported(key.symbol)
        return None

    def start(self, subscriber: Subscriber, key: StreamKey, snapshot: bool) -> Callable[[], None]:
        """Start a stream: its snapshot after the usual delay, then updates; updates at once
        without one.

        Returns a function that ends it.
        """
        if key == INSTRUMENT:
            return self._start_instruments(subscriber, snapshot)
        market = self.markets[key.symbol]
        if key.symbol in self._still:
            self._still.discard(key.symbol)
            self._turns.add(market)

        def begin() -> None:
            if snapshot:
                subscriber.deliver(key, market.snapshot(key, self._clock.wall_ns()))
            market.join(key, subscriber)
            subscriber.flush()

        def stop() -> None:
            if timer is not None:
                timer.cancel()
            market.leave(key, subscriber)

        timer = self._timers.call_later(self._snapshot_delay_s(), begin) if snapshot else None
        if timer is None:
            begin()
        return stop

    def tell_pair(self, symbol: str) -> None:
        """Publish an update of the instrument channel: a pair's listing has changed."""
        frame = instruments_frame((self.markets[symbol].pair,), "update")
        for subscriber in self._instrument_subscribers:
            subscriber.deliver(INSTRUMENT, frame)
            subscriber.flush()

    def _start_instruments(self, subscriber: Subscriber, snapshot: bool) -> Callable[[], None]:
        def begin() -> None:
            if snapshot:
                subscriber.deliver(INSTRUMENT, instruments_frame(self.markets.pairs()))
            self._instrument_subscribers[subscriber] = None
            subscriber.flush()

        def stop() -> None:
            if timer is not None:
                timer.cancel()
            self._instrument_subscribers.pop(subscriber, None)

        timer = self._timers.call_later(self._snapshot_delay_s(), begin) if snapshot else None
        if timer is None:
            begin()
        return stop


def instruments_frame(pairs: tuple[PairSpec, ...], kind: str = "snapshot") -> bytes:
    """The instrument channel's snapshot, or an update with the pairs that changed, without
    assets.
    """
    names = dict.fromkeys(name for pair in pairs for name in (pair.quote, pair.base)) if kind == "snapshot" else {}
    assets = [asset_spec(name) for name in names]
    return text_frame(
        instrument_text(
            kind,
            [
                asset_row(asset.name, asset.precision, asset.precision_display, asset.collateral_value)
                for asset in assets
            ],
            [
                pair_row(
                    pair.symbol,
                    "online",
                    price_decimals=pair.price_decimals,
                    qty_decimals=pair.qty_decimals,
                    cost_decimals=pair.cost_decimals,
                    qty_min=pair.qty_min,
                    cost_min=pair.cost_min,
                )
                for pair in pairs
            ],
        )
    )
