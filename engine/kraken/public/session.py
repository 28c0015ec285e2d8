"""The public side of Kraken's WebSocket v2, without a socket or a clock.

    frame bytes ──► receive() ──► events     (what happened)
    time ─────────► poll()    ──► events     (what did not happen in time)
                        └───────► to_send()  (requests)

One session outlives its connections; `opened` and `closed` mark their beginning and end.
"""

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import msgspec
from msgspec import Struct

from engine.kraken.connection.error_catalog import MESSAGE_RATE_EXCEEDED, meaning
from engine.kraken.connection.events import FRAME_BYTES_SHOWN_MAX, silence_text
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX, PING_INTERVAL_NS, PONG_DEADLINE_NS, Liveness, Oddities
from engine.kraken.connection.messages import HEARTBEAT, Reply, decode_envelope, read_reply
from engine.kraken.connection.requests import BOOK_DEPTHS
from engine.kraken.connection.salvage import DECODE_ERRORS, split
from engine.kraken.connection.venue_status import MAINTENANCE, VenueStatus
from engine.kraken.public import messages
from engine.kraken.public.book_feed import DECIMALS_MAX, RESYNC_INTERVAL_NS, BookFeed, StateChanged, state_changed
from engine.kraken.public.book_status import Heard
from engine.kraken.public.candle_rows import checked
from engine.kraken.public.events import (
    ALL_PAIRS,
    NO_EVENTS,
    BookUnproved,
    CandleTold,
    Event,
    PairChanged,
    Refused,
    TickerChanged,
    TradesBefore,
)
from engine.kraken.public.feed_watch import FeedWatch
from engine.kraken.public.messages import AssetData, BookData, PairData, decode_book
from engine.kraken.public.refusals import DELISTED, refusal_text
from engine.kraken.public.subscriptions import REQUESTS_BURST, Phase, Subscription, Subscriptions
from engine.kraken.public.trade_tape import TradeTape
from engine.market.book import UnitsTooLarge
from engine.orders.refusal import ErrorKind
from engine.records import FeedState
from engine.topology import NO_CHANNELS, Channel
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

# How frames begin today; another order of keys is decoded more slowly, with the same
# result.
BOOK_UPDATE = b'{"channel":"book","type":"update",'
BOOK_SNAPSHOT = b'{"channel":"book","type":"snapshot",'

POLL_INTERVAL_NS: Final = 20 * NS_PER_MS
TIMER_INTERVAL_NS = 100 * NS_PER_MS  # between two checks of the deadlines
SILENCE_GROWTH_MAX = 16  # a silent pair is renewed 1, 2, 4 … this many times less often
PONG_PATIENCE: Final = 3  # times longer for a pong: snapshots of a thousand books may stand before it
# How long a book stays live between its unsubscription for renewal and the new snapshot.
PROOF_PATIENCE_NS = 2 * NS_PER_S
PAIRS_TOLD_MAX: Final = 32  # of the instrument channel's snapshot at a time: some 0.2 ms with their publication
CLOSED_RETRY_NS = 60 * NS_PER_S  # after a missing snapshot while Kraken takes no orders

# A subscription of these succeeds with its snapshot, and is overdue until then.
WITH_SNAPSHOT: Final = frozenset(("book", "instrument"))
PASSING: Final = frozenset({ErrorKind.SERVICE, ErrorKind.MARKET_MODE, ErrorKind.TRANSPORT})
"""Errors of Kraken's own that pass: the subscription is requested again after its deadline.
"""

SUBSCRIBING: Final = "subscribing"  # the reason why a book is stale that is followed anew
CHANNEL_NAMES: Final = {
    Channel.BOOK: "book",
    Channel.TRADE: "trade",
    Channel.TICKER: "ticker",
    Channel.CANDLE: "ohlc",
}
"""Kraken's names of the channels of a pair."""
CHANNEL_OF_NAME: Final = {name: channel for channel, name in CHANNEL_NAMES.items()}
CONFIRMED_BY: Final = {
    Channel.BOOK: Channel.BOOK,
    Channel.TRADE: Channel.TRADE | Channel.CANDLE,
    Channel.TICKER: Channel.TICKER,
    Channel.CANDLE: NO_CHANNELS,
}
"""What a strategy is served when Kraken has confirmed a channel: candles are made of
trades, and Kraken's own are only compared with them.
"""

_SYMBOL_IN_TEXT: Final = re.compile(rb'"symbol":"([^"]{1,40})"')


class PublicSettings(Struct, frozen=True, kw_only=True):
    """What a public session subscribes to from its start, how, and its time limits."""

    symbols: tuple[str, ...]
    """The pairs from the start; a pair's place here is its index in records and on the
    board.
    """
    depth: int | None = 10
    """Book levels a side; None, in a replay, takes the depth from the capture's
    acknowledgements and snapshots.
    """
    publish_levels: int = 10
    trades: bool = True
    tickers: bool = True
    ticker_trigger: str = "trades"
    candle_interval_min: int | None = 1
    """Of Kraken's own candles, with which ours are compared; it gives one interval a pair
    and connection. None: without them.
    """
    heartbeat_silence_ns: int = 3 * NS_PER_S
    book_silence_ns: int = 60 * NS_PER_S
    ping_interval_ns: int = PING_INTERVAL_NS
    pong_deadline_ns: int = PONG_PATIENCE * PONG_DEADLINE_NS
    subscribe_deadline_ns: int = 10 * NS_PER_S
    requests_per_s: float = 20.0
    requests_burst: int = REQUESTS_BURST
    """Requests that may be sent at once before pacing begins."""
    symbols_per_request: int = 50
    fills_gaps: bool = False
    """Whether REST is asked for missing trades: then those behind a gap wait for them."""


class PublicLiveness(Heard, Liveness):
    """The liveness of a connection, of which the compiled lane writes a part."""


class PublicSession:
    """The public channels of some pairs, on one connection after another."""

    def __init__(self, settings: PublicSettings) -> None:
        self.settings = settings
        # The pairs that are followed, or were: one keeps its book's counters.
        self.feeds = {symbol: self._new_feed(symbol, index) for index, symbol in enumerate(settings.symbols)}
        # Which pairs have a deadline to check; and the feeds whose counters or state
        # changed since `take_counted`.
        self._watch = FeedWatch(tuple(self.feeds.values()))
        self._counted = set(self.feeds.values())
        # Marks such a feed; also for code that changes a feed's counters outside `receive`.
        # Hot: bound once.
        self.note_counted = self._counted.add
        self._feed_of = self.feeds.get  # hot: bound once
        self._instruments = Subscription("instrument", None)
        self._subscriptions = Subscriptions(
            [self._instruments],
            requests_per_s=settings.requests_per_s,
            requests_burst=settings.requests_burst,
            symbols_per_request=settings.symbols_per_request,
            deadline_ns=settings.subscribe_deadline_ns,
        )
        # The connection's signs of life, Kraken's status messages, and frames that could
        # not be used.
        self._liveness = PublicLiveness(
            settings.heartbeat_silence_ns, settings.pong_deadline_ns, settings.ping_interval_ns
        )
        self._status = VenueStatus()
        self._oddities = Oddities()
        # Counted since the process started; for books, see the feeds.
        self.tape = TradeTape(holds=settings.fills_gaps)
        self.tickers = 0
        self.candles_received = 0
        self.level3 = 0
        # Errors from Kraken that are not reported as the refusal of a subscription, or
        # repeat one.
        self.refused = 0
        # Connections so far; a change says that nothing of the last one holds any more.
        self.connections = 0
        # True while Kraken, by its status on this connection, is in maintenance: books are
        # silent, and none is live.
        self._in_maintenance = False
        # When the deadlines are checked next.
        self._timers_at = MonoNs(0)
        # Requests to be sent, not yet taken by `to_send`.
        self._outbox: list[bytes] = []
        # The instrument channel's data of every pair, of which any may be followed next;
        # empty before its snapshot. And the precisions of all assets.
        self._listed: dict[str, PairData] = {}
        self._asset_decimals: dict[str, int | None] = {}
        # The snapshot's data of followed pairs that have not been reported yet; one entry a
        # pair, unless Kraken has sent several.
        self._untold: dict[str, list[PairData]] = {}
        # The channel's last data of each followed pair that can be used.
        self._pairs_told: dict[str, PairData] = {}
        # Names that were added, and refused before Kraken had listed such a pair, with the
        # number of that connection. Nothing is reported of one until it is forgotten,
        # followed again, or served after all: its index may already belong to another pair.
        self._disowned: dict[str, int] = {}
        self._receivers: dict[str, Callable[[bytes, str | None, MonoNs], Sequence[Event]]] = {
            "book": self._receive_snapshot,
            "trade": self._receive_trade,
            "ticker": self._receive_ticker,
            "ohlc": self._receive_candle,
            "instrument": self._receive_instrument,
            "status": self._receive_status,
            "heartbeat": self._receive_heartbeat,
            "level3": self._receive_level3,
        }
        for feed in self.feeds.values():  # the books of all pairs first
            self._begin_channel(feed, Channel.BOOK, MonoNs(0))
        for feed in self.feeds.values():
            self._begin_others(feed, _first_channels(settings), MonoNs(0))

    @property
    def heard_at(self) -> MonoNs:
        """When a frame other than a pong was last received: a pong only proves that the
        socket works.
        """
        return self._liveness.heard_at

    @property
    def is_open(self) -> bool:
        """Whether a connection is open."""
        return self._liveness.is_open

    def is_confirmed(self, channel: str, symbol: str) -> bool:
        """Whether Kraken has confirmed this subscription on the present connection."""
        asked = self._subscriptions.all.get((channel, symbol))
        return asked is not None and asked.phase is Phase.CONFIRMED

    def is_known(self, symbol: str) -> bool:
        """Whether Kraken's instrument channel has told of this pair."""
        return symbol in self._pairs_told or symbol in self._untold

    def is_refused(self, channel: str, symbol: str) -> bool:
        """Whether Kraken has refused this subscription on the present connection, or does
        not list its pair any more, and has not served it since.
        """
        asked = self._subscriptions.all.get((channel, symbol))
        return asked is not None and (asked.phase is Phase.REFUSED or asked.refusals > 0)

    @property
    def heard(self) -> Heard:
        """Where the compiled lane, which takes frames past the session, writes when Kraken
        was heard.
        """
        return self._liveness

    @property
    def heartbeats(self) -> int:
        """Heartbeats of Kraken, counted since the process started, as all that follow."""
        return self._liveness.heartbeats

    @property
    def pongs(self) -> int:
        """Pings that were answered."""
        return self._liveness.pongs

    @property
    def trades(self) -> int:
        """Trades reported, each once."""
        return self.tape.reported

    @property
    def trades_filled(self) -> int:
        """Those of `trades` that only REST delivered."""
        return self.tape.filled

    @property
    def trades_missed(self) -> int:
        """Trade ids that were never received; one that comes late is subtracted."""
        return self.tape.missed

    @property
    def trades_repeated(self) -> int:
        """Trades that were received again, and not reported again."""
        return self.tape.repeated

    @property
    def unknown(self) -> int:
        """Frames of unknown channels and methods."""
        return self._oddities.unknown

    @property
    def malformed(self) -> int:
        """Frames, and entries of frames, that cannot be read."""
        return self._oddities.malformed

    @property
    def ping_rtt_ns(self) -> int:
        """Round trip of the last answered application ping; 0 before."""
        return self._liveness.ping_rtt_ns

    @property
    def requests_waiting(self) -> int:
        """The number of queued subscriptions and unsubscriptions."""
        return self._subscriptions.waiting

    @property
    def requests_unanswered(self) -> int:
        """The number of unanswered requests that are remembered."""
        return self._subscriptions.unanswered

    @property
    def system(self) -> str:
        """State of the matching engine, as Kraken last reported it; empty before its first
        status.
        """
        return self._status.system

    def take_counted(self) -> list[BookFeed]:
        """The feeds whose counters or state changed since the last call, in no order."""
        counted = list(self._counted)
        self._counted.clear()
        return counted

    # --- the connection's life

    def opened(self, now: MonoNs) -> None:
        """Begin a connection: queue all subscriptions, for Kraken restores none; no book is
        live.
        """
        self._liveness.opened(now)
        self.connections += 1
        # Requests are sent at once, so silence counts from now on.
        self._liveness.is_subscribed = True
        self._status.connection_id = b""
        self._in_maintenance = False
        self._timers_at = now
        self._outbox.clear()
        self._subscriptions.opened()
        self.tape.begin_connection()
        for feed in self.feeds.values():
            self._end(feed)
            feed.resync_at = MonoNs(0)
            feed.heard_at = now
        self._outbox += self._subscriptions.due(now)

    def closed(self, now: MonoNs, reason: str) -> Sequence[Event]:
        """End a connection: every book becomes stale."""
        self._liveness.closed()
        self._outbox.clear()
        for feed in self.feeds.values():
            self._set_confirmed(feed, NO_CHANNELS)
        return self.doubt(tuple(self.feeds), f"connection lost: {reason}")

    def begin_recording(self, symbols: Sequence[str], name: str) -> Sequence[Event]:
        """Begin a recording of these pairs, which another connection made, perhaps on
        another day.
        """
        self._status.connection_id = b""
        for symbol in symbols:
            self.tape.forget(symbol)
        return self.doubt(symbols, f"{name} begins")

    def doubt(self, symbols: Sequence[str], reason: str) -> Sequence[Event]:
        """Make these pairs' books stale until a snapshot; returns the events."""
        events: list[Event] = []
        for symbol in symbols:
            feed = self.feeds[symbol]
            self._end(feed)
            feed.resync_at = MonoNs(0)
            feed.depth = self.settings.depth
            if feed.subscription is not None:
                events += self._change_state(feed, FeedState.STALE, reason)
        return events

    def dead(self, now: MonoNs) -> str | None:
        """The reason to cut the connection, which is silence although Kraken sends a
        heartbeat per second; else None.
        """
        return self._liveness.dead(now)

    @property
    def poll_interval_ns(self) -> int:
        """The pace of requests, and of snapshots of all pairs, is told in such steps."""
        return POLL_INTERVAL_NS

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """Shortest pause before the next connection, in ns: 5 s while Kraken takes no
        orders, as it asks; else 0.
        """
        return self._status.reconnect_delay_floor_ns

    def to_send(self) -> list[bytes]:
        """Take the requests that are due; they must be sent in this order."""
        if not self._outbox:
            return []
        frames, self._outbox = self._outbox, []
        return frames

    # --- pairs at run time

    def follow(self, symbol: str, pair_index: int, channels: Channel, now: MonoNs) -> Sequence[Event]:
        """Follow exactly these channels of a pair, on this connection and on every later
        one; returns the events. The next `poll` requests them, several pairs at once.

        A pair without channels keeps its index, for a later `follow`.
        """
        feed = self.feeds.get(symbol)
        events: Sequence[Event] = NO_EVENTS
        if feed is None:
            feed = self.feeds[symbol] = self._new_feed(symbol, pair_index)
        wanted_before = feed.channels
        if channels & ~wanted_before:
            self._disowned.pop(symbol, None)  # the index that it is wanted at is its own
        if Channel.BOOK in channels & ~wanted_before:
            self._begin_channel(feed, Channel.BOOK, now)
            events = (StateChanged(symbol, FeedState.STALE, SUBSCRIBING),)
        self._begin_others(feed, channels & ~wanted_before, now)
        for channel in wanted_before & ~channels:
            events = (*events, *self._end_channel(feed, channel))
        pair = self._listed.get(symbol)
        if pair is not None and symbol not in self._pairs_told and symbol not in self._disowned:
            self._untold.pop(symbol, None)
            events = (*events, *self._pair_listed(feed, pair, now))
        return events

    def forget(self, symbol: str, now: MonoNs) -> None:
        """Stop following a pair and release its index."""
        self.follow(symbol, self.feeds[symbol].pair_index, NO_CHANNELS, now)
        self._untold.pop(symbol, None)
        self._pairs_told.pop(symbol, None)
        self._disowned.pop(symbol, None)
        self._counted.discard(self.feeds.pop(symbol))

    def _follows(self, symbol: str, channel: Channel) -> bool:
        feed = self._feed_of(symbol)
        return feed is not None and channel in feed.channels and symbol not in self._disowned

    def _new_feed(self, symbol: str, pair_index: int) -> BookFeed:
        settings = self.settings
        return BookFeed(symbol, pair_index, settings.depth, settings.publish_levels, settings.book_silence_ns)

    def _begin_others(self, feed: BookFeed, channels: Channel, now: MonoNs) -> None:
        for channel in channels & ~Channel.BOOK:
            self._begin_channel(feed, channel, now)

    def _begin_channel(self, feed: BookFeed, channel: Channel, now: MonoNs) -> None:
        subscription = self._new_subscription(feed.symbol, channel)
        feed.channels |= channel
        self.note_counted(feed)
        self._subscriptions.add(subscription)
        if channel is Channel.BOOK:
            feed.follow(subscription, now)
            self._watch.watch(feed)
        if self.is_open:
            self._subscriptions.want(subscription)

    def _end_channel(self, feed: BookFeed, channel: Channel) -> Sequence[Event]:
        feed.channels &= ~channel
        self._set_confirmed(feed, feed.confirmed & ~CONFIRMED_BY[channel])
        subscription = self._subscriptions.all.get((CHANNEL_NAMES[channel], feed.symbol))
        if subscription is not None:
            self._subscriptions.remove(subscription)
        if channel is Channel.TRADE:
            self.tape.forget(feed.symbol)
        elif channel is Channel.BOOK:
            feed.subscription = None
            feed.end()
            feed.resync_at = MonoNs(0)
            self._watch.drop(feed)
            return self._change_state(feed, FeedState.UNSUBSCRIBED, "unsubscribed")
        return NO_EVENTS

    def _new_subscription(self, symbol: str, channel: Channel) -> Subscription:
        settings, name = self.settings, CHANNEL_NAMES[channel]
        match channel:
            case Channel.BOOK:
                return Subscription(name, symbol, depth=settings.depth)
            case Channel.TICKER:
                return Subscription(name, symbol, trigger=settings.ticker_trigger)
            case Channel.CANDLE:
                return Subscription(name, symbol, interval=settings.candle_interval_min)
        return Subscription(name, symbol)

    def _set_confirmed(self, feed: BookFeed, channels: Channel) -> None:
        if feed.confirmed != channels:
            feed.confirmed = channels
            self.note_counted(feed)

    # --- frames

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[Event]:
        """Process one text frame; returns its events, in order."""
        # Hot: nine frames of ten are book updates of a healthy pair.
        if not frame.startswith(BOOK_UPDATE):
            events = self._receive_rare(frame, received_at)
            if events is not None:
                return events
        self._liveness.heard_at = received_at
        try:
            entries = decode_book(frame).data
        except msgspec.ValidationError:
            entries, told = self._read_strange_book(frame, received_at)
            if told is not None:
                return told
        except DECODE_ERRORS as error:
            return self._malformed(error, frame, received_at)
        events = NO_EVENTS
        for data in entries:
            feed = self._feed_of(data.symbol)
            if feed is None or not feed.streaming:
                self._ignore(feed, received_at)
                continue
            self.note_counted(feed)
            feed.heard_at = received_at
            feed.timestamp = data.timestamp
            book = feed.book
            try:
                checksum = book.apply(data.bids, data.asks)
            except (ValueError, OverflowError) as error:
                exact = _exact(frame, entries, data) if isinstance(error, UnitsTooLarge) else None
                if exact is None or not feed.apply_exact(exact):
                    reason = f"a number of the book makes no sense: {error}"
                    events = (*events, *self._failed(feed, reason, received_at))
                    events = (*events, *self._malformed(error, frame, received_at))
                    continue
                checksum = book.checksum()
            feed.updates += 1
            if checksum != data.checksum:
                if not (feed.is_guess and feed.reread(_exact(frame, entries, data))):
                    feed.mismatches += 1
                    events = (*events, *self._failed(feed, feed.describe_mismatch(data), received_at))
                    continue
                book = feed.book
            if book.crossed():
                feed.crossings += 1
                events = (*events, *self._failed(feed, "best bid at or above best ask", received_at))
            elif feed.state is not FeedState.LIVE:
                if not self._in_maintenance:
                    reason = "an update after maintenance verified"
                    events = (*events, *self._change_state(feed, FeedState.LIVE, reason), *feed.changed)
            else:
                events = (*events, *feed.changed) if events else feed.changed
        return events

    def _read_strange_book(self, frame: bytes, received_at: MonoNs) -> tuple[list[BookData], Sequence[Event] | None]:
        """Read an update with a value of an unexpected type.

        Returns its one entry and None; or no entry and the events, when it has several or
        cannot be read.
        """
        try:
            parts = split(frame, BOOK_UPDATE)
            if len(parts) > 1:
                return [], [event for part in parts for event in self.receive(part, received_at)]
            return messages.read_book(frame).data, None
        except DECODE_ERRORS as error:
            return [], self._malformed(error, frame, received_at)

    def _receive_rare(self, frame: bytes, received_at: MonoNs) -> Sequence[Event] | None:
        """Process any other frame; None for a book update whose keys have another order."""
        if frame == HEARTBEAT:
            return self._receive_heartbeat(frame, None, received_at)
        try:
            if frame.startswith(BOOK_SNAPSHOT):  # by the hundred when many pairs are followed
                self._liveness.heard_at = received_at
                told = self._tell_named(frame, received_at)
                return (*told, *self._receive_snapshot(frame, None, received_at))
            envelope = decode_envelope(frame)
            if envelope.method is not None:
                return self._receive_reply(read_reply(frame), frame, received_at)
            self._liveness.heard_at = received_at
            if envelope.channel == "book" and envelope.type != "snapshot":
                return None
            receiver = self._receivers.get(envelope.channel or "")
            if receiver is not None:
                is_of_pairs = envelope.channel != "instrument"
                told = self._tell_named(frame, received_at) if is_of_pairs else NO_EVENTS
                events = receiver(frame, envelope.type, received_at)
                return (*told, *events) if told else events
            if envelope.channel is None and MESSAGE_RATE_EXCEEDED.encode() in frame:
                return self._rate_exceeded(MESSAGE_RATE_EXCEEDED, frame, received_at)
            return self._oddities.count_unknown(f"channel {envelope.channel}", frame, received_at)
        except DECODE_ERRORS as error:
            self._liveness.heard_at = received_at
            return self._malformed(error, frame, received_at)

    # --- book

    def _receive_snapshot(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        if (told := self._receive_known_snapshot(frame, received_at)) is not None:
            return told
        events: Sequence[Event] = NO_EVENTS
        try:
            entries = messages.decode_exact_book(frame).data
        except msgspec.ValidationError:
            parts = split(frame, BOOK_SNAPSHOT)
            if len(parts) > 1:
                return [event for part in parts for event in self.receive(part, received_at)]
            entries = messages.read_exact_book(frame).data
        for data in entries:
            feed = self.feeds.get(data.symbol)
            if feed is not None and self._follows(data.symbol, Channel.BOOK):
                events = (*events, *self._load(feed, data, received_at))
        return events

    def _receive_known_snapshot(self, frame: bytes, received_at: MonoNs) -> Sequence[Event] | None:
        """Take a snapshot that verifies in the precision that Kraken has told of its pair;
        None for any other, which has to be read digit by digit.
        """
        try:
            entries = decode_book(frame).data
        except DECODE_ERRORS:
            return None
        if len(entries) != 1 or (feed := self.feeds.get(entries[0].symbol)) is None:
            return None
        if not self._follows(feed.symbol, Channel.BOOK) or not feed.load_known(entries[0]):
            return None
        return self._loaded(feed, received_at)

    def _load(self, feed: BookFeed, data: messages.ExactBookData, received_at: MonoNs) -> Sequence[Event]:
        if feed.load(data):
            return self._loaded(feed, received_at)
        self._note_snapshot(feed, received_at)
        return self._failed(feed, f"snapshot: {feed.describe_mismatch(data)}", received_at)

    def _note_snapshot(self, feed: BookFeed, received_at: MonoNs) -> None:
        self.note_counted(feed)
        feed.heard_at = received_at
        feed.resync_at = MonoNs(0)
        assert feed.subscription is not None
        feed.subscription.deadline = MonoNs(0)
        self._subscriptions.accepted(feed.subscription)

    def _loaded(self, feed: BookFeed, received_at: MonoNs) -> Sequence[Event]:
        """Stream a pair whose snapshot has verified, unless its book is crossed."""
        self._note_snapshot(feed, received_at)
        if feed.book.crossed():
            feed.crossings += 1
            return self._failed(feed, "snapshot: best bid at or above best ask", received_at)
        self._end(feed)
        feed.streaming = True
        if self._in_maintenance:
            return NO_EVENTS
        return (*self._change_state(feed, FeedState.LIVE, "snapshot verified"), *feed.changed)

    def _end(self, feed: BookFeed) -> None:
        """Ignore a pair's updates until a snapshot, and check its deadlines on every tick
        until it is at rest again.
        """
        feed.end()
        if feed.subscription is not None:
            self._watch.watch(feed)

    def _change_state(self, feed: BookFeed, state: FeedState, reason: str) -> tuple[StateChanged, ...]:
        """Set a feed's state; returns the event, or nothing when the feed is in that state
        already.
        """
        self.note_counted(feed)
        return state_changed(feed, state, reason)

    def _ignore(self, feed: BookFeed | None, received_at: MonoNs) -> None:
        if feed is not None:
            self.note_counted(feed)
            feed.ignored += 1
            feed.heard_at = received_at

    def _failed(self, feed: BookFeed, reason: str, now: MonoNs) -> Sequence[Event]:
        """Put a book in doubt and queue its resynchronization before other requests;
        returns the events.
        """
        events = self._put_in_doubt(feed, reason, now)
        self._outbox += self._subscriptions.due(now)
        return events

    def _put_in_doubt(self, feed: BookFeed, reason: str, now: MonoNs) -> Sequence[Event]:
        """As `_failed`, but without sending: the caller collects the due requests, several
        pairs in one.
        """
        self._watch.watch(feed)
        state = feed.failed(now)
        if state is FeedState.UNTRUSTED:
            reason += "; third failure within a minute, retried slowly"
        events = self._change_state(feed, state, reason)
        self._resynchronize_due(feed, now)
        return events

    def _resynchronize_due(self, feed: BookFeed, now: MonoNs) -> None:
        if not 0 < feed.resync_at <= now or feed.subscription is None or self._in_maintenance:
            return
        feed.resync_at = MonoNs(0)
        feed.resynced_at = now
        feed.resyncs += 1
        self.note_counted(feed)
        self._subscriptions.renew(feed.subscription)

    # --- the other channels

    def _receive_trade(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        trades, unreadable = messages.read_trades(frame)
        ours = [trade for trade in trades if self._follows(trade.symbol, Channel.TRADE)]
        if kind == "snapshot":
            reported = self.tape.take_snapshot(ours, received_at)
            told: Sequence[Event] = [*map(TradesBefore, self.tape.take_before()), *reported]
        else:
            told = self.tape.take(ours, received_at)
        return [*told, *self._count_unreadable(unreadable, frame, received_at)] if unreadable else told

    def _receive_ticker(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        tickers, unreadable = messages.read_tickers(frame)
        is_trade = kind == "update" and self.settings.ticker_trigger == "trades"
        ours = [TickerChanged(ticker, is_trade) for ticker in tickers if self._follows(ticker.symbol, Channel.TICKER)]
        self.tickers += len(ours)
        return [*ours, *self._count_unreadable(unreadable, frame, received_at)] if unreadable else ours

    def _receive_candle(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        candles, unreadable = messages.read_candles(frame)
        try:
            followed = [candle for candle in candles if self._follows(candle.symbol, Channel.CANDLE)]
            ours = checked(followed, messages.stamp_of(frame))
        except ValueError as error:
            return self._malformed(error, frame, received_at)
        self.candles_received += len(ours)
        return [*self._count_unreadable(unreadable, frame, received_at), *map(CandleTold, ours)]

    def _receive_instrument(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        instruments, unreadable = messages.read_instrument(frame)
        changed = self._note_assets(instruments.assets)
        pairs = instruments.pairs
        if kind == "snapshot":
            self._listed.clear()
            self._instruments.deadline = MonoNs(0)
        self._listed |= {pair.symbol: pair for pair in pairs}
        events: list[Event] = [*self._count_unreadable(unreadable, frame, received_at)]
        if kind == "snapshot":
            self._untold.clear()
        for pair in pairs:
            feed = self.feeds.get(pair.symbol)
            if feed is None or pair.symbol in self._disowned:
                continue
            if kind == "snapshot":
                self._untold.setdefault(pair.symbol, []).append(pair)
            else:
                self._untold.pop(pair.symbol, None)
                events += self._pair_listed(feed, pair, received_at)
        if kind == "snapshot":
            events += self.tell_pairs(received_at)
        if changed:
            told = {pair.symbol for pair in pairs}
            for symbol, known in self._pairs_told.items():
                if symbol not in told and not changed.isdisjoint(symbol.split("/")):
                    events.append(self._pair_changed(known))
        return events

    def tell_pairs(self, now: MonoNs) -> Sequence[Event]:
        """Report the next pairs of the instrument channel's snapshot; returns the events.
        Each `poll` does so: all pairs at once would delay live books.
        """
        if not self._untold:
            return NO_EVENTS
        symbols = list(islice(self._untold, PAIRS_TOLD_MAX))
        return [event for symbol in symbols for event in self._tell_pair(symbol, now)]

    def _tell_named(self, frame: bytes, now: MonoNs) -> Sequence[Event]:
        """Report the pairs that a frame is about, before the frame is read."""
        if not self._untold:
            return NO_EVENTS
        return [event for symbol in _symbols_named(frame) for event in self._tell_pair(symbol, now)]

    def _tell_pair(self, symbol: str, now: MonoNs) -> Sequence[Event]:
        pairs = self._untold.pop(symbol, ())
        return [event for pair in pairs for event in self._pair_listed(self.feeds[symbol], pair, now)]

    def _pair_listed(self, feed: BookFeed, pair: PairData, now: MonoNs) -> Sequence[Event]:
        """Apply the instrument channel's data of a followed pair; returns the events."""
        if not (0 <= pair.price_precision <= DECIMALS_MAX and 0 <= pair.qty_precision <= DECIMALS_MAX):
            error = ValueError(f"{pair.symbol}: {pair.price_precision} and {pair.qty_precision} decimals")
            return self._malformed(error, b"", now)
        events: list[Event] = []
        before, feed.decimals_known = feed.decimals_known, (pair.price_precision, pair.qty_precision)
        if before not in (None, feed.decimals_known):
            events += self._precision_changed(feed, now)
        self._pairs_told[pair.symbol] = pair
        events.append(self._pair_changed(pair))
        if pair.status != DELISTED:
            self._subscriptions.resubscribe_refused(pair.symbol, now)
        elif feed.subscription is not None:
            self._subscriptions.withdraw(feed.subscription, now)
            events += self._gone(feed, f"Kraken has taken {pair.symbol} off its list")
        return events

    def _note_assets(self, assets: Sequence[AssetData]) -> set[str]:
        """Store the precisions of assets; returns the assets whose precision changed."""
        changed = set()
        for asset in assets:
            decimals = asset.precision
            if decimals is not None and not 0 <= decimals <= DECIMALS_MAX:
                decimals = None
            if self._asset_decimals.get(asset.id) != decimals:
                self._asset_decimals[asset.id] = decimals
                changed.add(asset.id)
        return changed

    def _pair_changed(self, pair: PairData) -> PairChanged:
        base, _, quote = pair.symbol.partition("/")
        return PairChanged(pair, self._asset_decimals.get(base), self._asset_decimals.get(quote))

    def _precision_changed(self, feed: BookFeed, now: MonoNs) -> Sequence[Event]:
        """Make a book stale whose precision changed, and request a snapshot in the new one."""
        price_decimals, qty_decimals = feed.decimals_known or (0, 0)
        if not feed.streaming or (feed.book.price_decimals, feed.book.qty_decimals) == (price_decimals, qty_decimals):
            return NO_EVENTS
        self._end(feed)
        feed.resync_at = MonoNs(max(now, feed.resynced_at + RESYNC_INTERVAL_NS))
        reason = f"precision is {price_decimals} and {qty_decimals} decimals now; asking for a fresh snapshot"
        events = self._change_state(feed, FeedState.STALE, reason)
        self._resynchronize_due(feed, now)
        self._outbox += self._subscriptions.due(now)
        return events

    def _gone(self, feed: BookFeed, reason: str) -> Sequence[Event]:
        """Make a pair untrusted whose book Kraken does not offer: it is asked for again
        after a pause, and when Kraken says something else of the pair.
        """
        self._end(feed)
        feed.resync_at = MonoNs(0)
        return self._change_state(feed, FeedState.UNTRUSTED, reason)

    def _receive_status(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        was_closed = self._status.is_closed
        changes, is_other_connection, unreadable = self._status.receive(frame)
        events: list[Event] = [*changes, *self._count_unreadable(unreadable, frame, received_at)]
        if is_other_connection:  # nothing of the old one continues
            events = [*self.doubt(tuple(self.feeds), "another connection begins"), *events]
        if changes:
            self._in_maintenance = self._status.system == MAINTENANCE
        if self._in_maintenance:
            for feed in self.feeds.values():
                if feed.is_renewed and self._cancel_idle_renewal(feed):
                    feed.is_renewed = False  # asked for afterwards
                if feed.state is FeedState.LIVE:
                    self._watch.watch(feed)
                    events += self._change_state(feed, FeedState.STALE, "Kraken is in maintenance")
        elif was_closed and not self._status.is_closed:
            for feed in self.feeds.values():
                if feed.resync_at and feed.state is FeedState.STALE:
                    feed.resync_at = MonoNs(max(received_at, feed.resynced_at + RESYNC_INTERVAL_NS))
        return events

    def _receive_heartbeat(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        self._liveness.heartbeats += 1
        self._liveness.heard_at = received_at
        return NO_EVENTS

    def _receive_level3(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        self.level3 += 1  # only counted: there is no level3 book
        return NO_EVENTS

    # --- replies

    def _receive_reply(self, reply: Reply, frame: bytes, received_at: MonoNs) -> Sequence[Event]:
        if reply.method in ("pong", "ping"):  # a refused ping is answered as such
            self._liveness.ponged(received_at)
        if reply.method == "pong":
            return NO_EVENTS
        self._liveness.heard_at = received_at
        kind = None if reply.success else meaning(reply.error or "").kind
        if kind is ErrorKind.CALL_LIMIT:
            return self._rate_exceeded(reply.error or "", frame, received_at)
        concerned = self._subscriptions.replied(reply)
        if kind in PASSING or (not reply.success and (reply.method != "subscribe" or not concerned)):
            # A refused subscription keeps its deadline and is requested again after it.
            self.refused += 1
            return self._oddities.report("refused", f"{reply.method}: {reply.error}", frame, received_at)
        events: Sequence[Event] = NO_EVENTS
        for subscription in concerned:
            if reply.success:
                events = (*events, *self._confirmed(subscription, reply, received_at))
            else:
                events = (*events, *self._rejected(subscription, reply, received_at))
        return events

    def _confirmed(self, subscription: Subscription, reply: Reply, now: MonoNs) -> Sequence[Event]:
        if reply.method == "unsubscribe":
            return self._given_back(subscription, now)
        if not self._is_wanted(subscription):
            return NO_EVENTS
        self._note_served(subscription)
        feed = self.feeds.get(subscription.symbol or "") if subscription.channel == "book" else None
        if feed is not None:
            depth = reply.result.depth if reply.result else None
            feed.depth = depth if depth in BOOK_DEPTHS else feed.depth
        return NO_EVENTS

    def _given_back(self, subscription: Subscription, now: MonoNs) -> Sequence[Event]:
        """Handle Kraken's confirmation of an unsubscription: no book streams by it any
        more.
        """
        feed = self.feeds.get(subscription.symbol or "") if subscription.channel == "book" else None
        asked = feed.subscription if feed is not None else None
        if feed is None or asked is None or not feed.streaming:
            return NO_EVENTS
        if asked is not subscription:
            if asked.phase is Phase.CONFIRMED:
                return NO_EVENTS
            # It was unsubscribed and is wanted again, and a snapshot of the old
            # subscription came in between.
            # It was not the answer that the new request waits for.
            self._subscriptions.expect_answer(asked, now)
        elif feed.is_renewed:  # a renewal of a silent book: it stays live
            feed.given_back_at = now
            return NO_EVENTS
        self._end(feed)
        return self._change_state(feed, FeedState.STALE, "unsubscribed; waiting for a snapshot")

    def _is_wanted(self, subscription: Subscription) -> bool:
        """False for one that was removed since it was requested, wanted again or not."""
        return self._subscriptions.all.get((subscription.channel, subscription.symbol)) is subscription

    def _note_served(self, subscription: Subscription) -> None:
        symbol = subscription.symbol or ""
        refused_on = self._disowned.get(symbol)
        if refused_on is not None and (subscription.refusals or refused_on != self.connections):
            del self._disowned[symbol]
            if symbol in self._listed:
                self._untold[symbol] = [self._listed[symbol]]
        subscription.phase = Phase.CONFIRMED
        self._liveness.silent_until = MonoNs(0)
        self._subscriptions.accepted(subscription)
        if subscription.channel not in WITH_SNAPSHOT:
            subscription.deadline = MonoNs(0)
        feed = self.feeds.get(symbol)
        if feed is not None:
            self._set_confirmed(feed, feed.confirmed | CONFIRMED_BY[CHANNEL_OF_NAME[subscription.channel]])

    def _rejected(self, subscription: Subscription, reply: Reply, now: MonoNs) -> Sequence[Event]:
        if not self._is_wanted(subscription):
            return NO_EVENTS
        error = (reply.error or "no reason given")[:DETAIL_CHARS_MAX]
        kind = meaning(error).kind
        if kind is ErrorKind.SUBSCRIBED and subscription.channel == "book":
            # No snapshot comes: after the deadline it is unsubscribed and subscribed again.
            return NO_EVENTS
        if kind is ErrorKind.SUBSCRIBED:
            self._note_served(subscription)
            return NO_EVENTS
        is_told = subscription.refusals > 0
        self._subscriptions.refuse(subscription, now)
        symbol = subscription.symbol or ALL_PAIRS
        listed = {pair.symbol: pair.status for pair in self._listed.values()}
        is_configured = symbol in (*self.settings.symbols, ALL_PAIRS)
        advice = refusal_text(error, subscription.channel, symbol, listed, is_configured=is_configured)
        events: Sequence[Event] = (Refused(subscription.channel, symbol, advice),)
        if is_told:
            self.refused += 1
            events = NO_EVENTS
        if symbol in self.feeds and symbol not in self.settings.symbols and not self.is_known(symbol):
            self._disowned[symbol] = self.connections
        feed = self.feeds.get(symbol) if subscription.channel == "book" else None
        if feed is not None:
            gone = self._gone(feed, advice)
            if symbol not in self._disowned:
                events = (*gone, *events)
        return events

    def _rate_exceeded(self, error: str, frame: bytes, now: MonoNs) -> Sequence[Event]:
        next_at = self._subscriptions.slow_down(now)
        if not self._subscriptions.is_any_confirmed:
            # No heartbeat comes, nor any answer to what was not taken: that is asked for
            # again after its deadline.
            self._liveness.silent_until = MonoNs(max(next_at, now + self.settings.subscribe_deadline_ns))
        self.refused += 1
        return self._oddities.report("refused", f"{error}: sending less", frame, now)

    # --- time

    def poll(self, now: MonoNs) -> Sequence[Event]:
        """Check the time: requests that are due, answers that are late, pairs that are
        silent; returns the events.
        """
        if not self._liveness.is_open:
            return NO_EVENTS
        if self._liveness.ping_due(now):
            self._outbox.append(self._subscriptions.ping())
        events = self.tell_pairs(now)
        if now >= self._timers_at:
            self._timers_at = MonoNs(now + TIMER_INTERVAL_NS)
            events = [*events, *self._poll_subscriptions(now)]
            if self._watch.is_behind:
                self._timers_at = now  # the rest at the next tick, frames first
        self._outbox += self._subscriptions.due(now)
        return events

    def _poll_subscriptions(self, now: MonoNs) -> Sequence[Event]:
        if self._in_maintenance:
            # Silence is normal then, and requests would be a storm: all waits for its end.
            return NO_EVENTS
        events: list[Event] = []
        self._subscriptions.retry(now)
        for subscription in self._subscriptions.overdue(now):
            self._liveness.doubt_requests()
            if subscription.channel != "book":
                if subscription.phase is Phase.CONFIRMED:  # and its snapshot has not come
                    self._subscriptions.renew(subscription)
                else:
                    self._subscriptions.want(subscription)
                continue
            waited = silence_text(self.settings.subscribe_deadline_ns)
            feed = self.feeds[subscription.symbol or ""]
            if feed.streaming and feed.state is FeedState.LIVE and not feed.is_unproved:
                feed.is_renewed = False  # an update has verified since
            elif self._status.is_closed:  # a late snapshot is no failure then
                self._end(feed)
                feed.resync_at = MonoNs(now + CLOSED_RETRY_NS)
                events += self._change_state(feed, FeedState.STALE, f"no snapshot: Kraken is in {self._status.system}")
            else:
                events += self._put_in_doubt(feed, f"no snapshot within {waited}", now)
        for feed in self._watch.due(now):
            self._resynchronize_due(feed, now)
            if feed.streaming:
                events += self._watch_silence(feed, now)
                if feed.is_at_rest:
                    self._watch.rest(feed, self._silent_for_too_long_at(feed, now))
            elif feed.is_forgotten:
                feed.resync_at = MonoNs(max(now, feed.resynced_at + RESYNC_INTERVAL_NS))
        return events

    def _watch_silence(self, feed: BookFeed, now: MonoNs) -> Sequence[Event]:
        """Mark a silent book as unproved and have it renewed, at growing intervals: its
        subscription may be dead.

        Until the snapshot the book stays live, for the connection lives and nothing
        contradicts it.
        """
        events = NO_EVENTS
        silent_ns = now - feed.heard_at
        if silent_ns <= self.settings.book_silence_ns and not feed.is_renewed and feed.state is FeedState.LIVE:
            feed.is_unproved = False
            return NO_EVENTS
        if feed.updates != feed.updates_at_silence:
            feed.silence_ns_max = self.settings.book_silence_ns
            if feed.is_unproved:  # an update has verified since
                feed.is_unproved = False
                if feed.is_renewed and self._cancel_idle_renewal(feed):
                    feed.is_renewed = False
        if feed.given_back_at and now - feed.given_back_at > PROOF_PATIENCE_NS:
            self._end(feed)
            waited = silence_text(PROOF_PATIENCE_NS)
            return self._change_state(feed, FeedState.STALE, f"no snapshot within {waited} of asking for a fresh one")
        if feed.state is FeedState.LIVE and not feed.is_unproved and silent_ns > feed.silence_ns_max:
            feed.silence_ns_max = min(2 * feed.silence_ns_max, SILENCE_GROWTH_MAX * self.settings.book_silence_ns)
            feed.updates_at_silence = feed.updates
            feed.is_unproved = True
            reason = f"unproved: book silent for {silence_text(silent_ns)}; asking for a fresh snapshot"
            events = (BookUnproved(feed.symbol, reason),)
        # Not live: stale since a maintenance.
        needs_proof = feed.is_unproved or feed.state is not FeedState.LIVE
        if needs_proof and not feed.is_renewed and not self._status.is_closed and feed.subscription is not None:
            feed.is_renewed = True
            feed.renewals += 1
            self.note_counted(feed)
            self._subscriptions.renew_idly(feed.subscription)
        return events

    def _silent_for_too_long_at(self, feed: BookFeed, now: MonoNs) -> MonoNs:
        """When to check a feed at rest again: no later than its silence can be too long,
        whatever arrives until then.
        """
        shortest_ns = self.settings.book_silence_ns  # the limit after a further update
        allowed_ns = feed.silence_ns_max if feed.updates == feed.updates_at_silence else shortest_ns
        return MonoNs(min(feed.heard_at + allowed_ns, now + shortest_ns) + 1)

    def _cancel_idle_renewal(self, feed: BookFeed) -> bool:
        return feed.subscription is not None and self._subscriptions.cancel_idle_renewal(feed.subscription)

    # --- frames that cannot be read

    def _malformed(self, error: Exception, frame: bytes, now: MonoNs) -> Sequence[Event]:
        """Count and report a frame that cannot be read; its content is lost, so the live
        books that it names become stale.
        """
        events: Sequence[Event] = self._oddities.count_malformed(error, frame, now)
        head = frame[:FRAME_BYTES_SHOWN_MAX]
        if b'"channel":"book"' in head:
            for symbol in _symbols_named(frame):
                feed = self.feeds.get(symbol)
                if feed is not None and feed.streaming:
                    events = (*self._failed(feed, "a message of this book cannot be read", now), *events)
        return events

    def _count_unreadable(self, errors: Sequence[Exception], frame: bytes, now: MonoNs) -> Sequence[Event]:
        """Count and report the entries of a message that cannot be read; the others are
        used.
        """
        return [event for error in errors for event in self._oddities.count_malformed(error, frame, now)]


def _exact(frame: bytes, entries: Sequence[BookData], data: BookData) -> messages.ExactBookData | None:
    """The entry `data` of a book frame with every digit of its numbers; None when one is
    out of bounds.
    """
    position = next(index for index, entry in enumerate(entries) if entry is data)
    try:
        return messages.read_exact_book(frame).data[position]
    except DECODE_ERRORS:
        return None


def _first_channels(settings: PublicSettings) -> Channel:
    """The channels of a pair from the start."""
    return (
        Channel.BOOK
        | (Channel.TRADE if settings.trades else NO_CHANNELS)
        | (Channel.TICKER if settings.tickers else NO_CHANNELS)
        | (Channel.CANDLE if settings.candle_interval_min else NO_CHANNELS)
    )


def _symbols_named(frame: bytes) -> list[str]:
    """The pairs named in a frame that cannot be read, found in its text."""
    return [symbol.decode(errors="replace") for symbol in dict.fromkeys(_SYMBOL_IN_TEXT.findall(frame))]
