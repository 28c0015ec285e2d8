"""The public side of Kraken's WebSocket v2, without a socket or a clock.

    frame bytes ──► receive() ──► events     (what happened)
    time ─────────► poll()    ──► events     (what did not happen in time)
                        └───────► to_send()  (what we must ask)

One session outlives its connections: `opened` and `closed` tell it of them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from engine.kraken.connection.events import FRAME_BYTES_SHOWN_MAX, silence_text
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX, Heard, Liveness, Oddities
from engine.kraken.connection.messages import Reply, decode_envelope, read_reply
from engine.kraken.connection.salvage import DECODE_ERRORS, split
from engine.kraken.connection.venue_status import MAINTENANCE, VenueStatus
from engine.kraken.public import messages, rejects
from engine.kraken.public.book_feed import DECIMALS_MAX, RESYNC_INTERVAL_NS, BookFeed, state_changed
from engine.kraken.public.candle_series import CandleSeries
from engine.kraken.public.events import NO_EVENTS, BookUnproved, Event, PairChanged, Refused, TickerChanged
from engine.kraken.public.messages import AssetData, BookData, PairData, decode_book
from engine.kraken.public.subscriptions import Phase, Subscription, Subscriptions
from engine.kraken.public.trade_tape import TradeTape
from engine.market.book import UnitsTooLarge
from engine.records import FeedState
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

# How today's wire begins; another order of keys takes the slower way, with the same outcome.
BOOK_UPDATE = b'{"channel":"book","type":"update",'
BOOK_SNAPSHOT = b'{"channel":"book","type":"snapshot",'
HEARTBEAT = b'{"channel":"heartbeat"}'

TIMER_INTERVAL_NS = 100 * NS_PER_MS  # how often the deadlines of all subscriptions are looked at
SILENCE_GROWTH_MAX = 16  # a quiet pair is asked for proof 1, 2, 4 … this many times less often
PROOF_PATIENCE_NS = 2 * NS_PER_S  # a book that was given back to prove itself is live for so long without a snapshot
CLOSED_RETRY_NS = 60 * NS_PER_S  # after a snapshot that did not come while Kraken takes no orders
DELISTED: Final = "delisted"  # the instrument channel's status of a pair that is no more

_SYMBOL_IN_TEXT: Final = re.compile(rb'"symbol":"([^"]{1,40})"')


class PublicSettings(Struct, frozen=True, kw_only=True):
    """What a public session asks for, and how long it waits."""

    symbols: tuple[str, ...]
    """The pairs; a pair's place here is its index in records and on the board."""
    depth: int | None = 10
    """Book levels a side; None, in a replay, takes what the capture's acknowledgements and snapshots tell."""
    publish_levels: int = 10
    trades: bool = True
    tickers: bool = True
    ticker_trigger: str = "trades"
    candle_interval_min: int | None = 1
    heartbeat_silence_ns: int = 3 * NS_PER_S
    book_silence_ns: int = 60 * NS_PER_S
    subscribe_deadline_ns: int = 10 * NS_PER_S
    requests_per_s: float = 20.0
    symbols_per_request: int = 50


class PublicSession:
    """One connection's worth of public channels for some pairs."""

    def __init__(self, settings: PublicSettings) -> None:
        self.settings = settings
        self.feeds = {
            symbol: BookFeed(symbol, index, settings.depth, settings.publish_levels, settings.book_silence_ns)
            for index, symbol in enumerate(settings.symbols)
        }
        self._subscriptions = Subscriptions(
            self._wanted(),
            requests_per_s=settings.requests_per_s,
            symbols_per_request=settings.symbols_per_request,
            deadline_ns=settings.subscribe_deadline_ns,
        )
        # The connection's signs of life, Kraken's word on itself, and frames that could not be used.
        self._liveness = Liveness(settings.heartbeat_silence_ns)
        self._status = VenueStatus()
        self._oddities = Oddities()
        # Frames counted since the process started; of books, see the feeds.
        self.tape = TradeTape()
        self.tickers = 0
        self.candles = 0
        self.candle_series = CandleSeries()
        self.level3 = 0
        # Errors from Kraken that refuse none of our subscriptions for good.
        self.refused = 0
        # Has Kraken said on this connection that it is in maintenance? Then books are silent, and none is live.
        self._in_maintenance = False
        # When the subscriptions' deadlines are looked at next.
        self._timers_at = MonoNs(0)
        # Requests for the wire, not yet taken.
        self._outbox: list[bytes] = []
        # Every pair of the instrument channel and its status, for advice; empty before its snapshot.
        self._listed: dict[str, str] = {}
        # Of the pairs that we follow: what the channel last said of each, and of their assets' precisions.
        self._pairs_told: dict[str, PairData] = {}
        self._asset_decimals: dict[str, int | None] = {
            asset: None for symbol in settings.symbols for asset in symbol.split("/")
        }
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

    @property
    def heard_at(self) -> MonoNs:
        """When a frame other than a pong last came: pongs prove a socket, not a feed."""
        return self._liveness.heard_at

    @property
    def heard(self) -> Heard:
        """Where whoever takes frames past the session says that Kraken was heard."""
        return self._liveness

    @property
    def heartbeats(self) -> int:
        """Counted since the process started, as are the next three."""
        return self._liveness.heartbeats

    @property
    def pongs(self) -> int:
        """Answered pings."""
        return self._liveness.pongs

    @property
    def trades(self) -> int:
        """Trades told, each once."""
        return self.tape.told

    @property
    def trades_missed(self) -> int:
        """Fills that Kraken numbered and we never saw; one that comes late is missed no longer."""
        return self.tape.missed

    @property
    def trades_repeated(self) -> int:
        """Trades that came again, and were not told again."""
        return self.tape.repeated

    @property
    def candles_missed(self) -> int:
        """Intervals of an outage whose candle, or its end, nobody told."""
        return self.candle_series.missed

    @property
    def candles_repeated(self) -> int:
        """Candles that came again, or late, and were not told again."""
        return self.candle_series.repeated

    @property
    def unknown(self) -> int:
        """Frames of channels and methods that we do not know."""
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
    def system(self) -> str:
        """The venue's last word on its matching engine."""
        return self._status.system

    # --- the connection's life

    def opened(self, now: MonoNs) -> None:
        """A connection is up: Kraken restores nothing, so everything is asked for again."""
        self._liveness.opened(now)
        self._liveness.is_subscribed = True  # asked for at once, so that silence counts from now on
        self._status.connection_id = b""
        self._in_maintenance = False
        self._timers_at = now
        self._outbox.clear()
        self._subscriptions.opened()
        for feed in self.feeds.values():
            feed.end()
            feed.resync_at = MonoNs(0)
            feed.heard_at = now
        self._outbox += self._subscriptions.due(now)

    def closed(self, now: MonoNs, reason: str) -> Sequence[Event]:
        """The connection is gone: every book is in doubt."""
        self._liveness.closed()
        self._outbox.clear()
        self.candle_series.interrupt()
        return self.doubt(self.settings.symbols, f"connection lost: {reason}")

    def begin_recording(self, symbols: Sequence[str], name: str) -> Sequence[Event]:
        """A recording of these pairs begins, of another connection and perhaps another day."""
        self._status.connection_id = b""
        for symbol in symbols:
            self.tape.forget(symbol)
            self.candle_series.forget(symbol)
        return self.doubt(symbols, f"{name} begins")

    def doubt(self, symbols: Sequence[str], reason: str) -> Sequence[Event]:
        """These pairs' books end here; only a snapshot makes them live again."""
        events = NO_EVENTS
        for symbol in symbols:
            feed = self.feeds[symbol]
            feed.end()
            feed.resync_at = MonoNs(0)
            feed.depth = self.settings.depth
            events += state_changed(feed, FeedState.STALE, reason)
        return events

    def dead(self, now: MonoNs) -> str | None:
        """Why the connection must be cut: silence, where Kraken promises a heartbeat a second."""
        return self._liveness.dead(now)

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """The least pause before the next connection: Kraken asks for more after maintenance."""
        return self._status.reconnect_delay_floor_ns

    def to_send(self) -> list[bytes]:
        """The requests for the wire; they are taken, and must be sent in this order."""
        if not self._outbox:
            return []
        frames, self._outbox = self._outbox, []
        return frames

    # --- frames

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[Event]:
        """Take one text frame; the events that it means, in order."""
        # Hot: nine frames of ten are book updates of a healthy pair, and begin as they do today.
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
            feed = self.feeds.get(data.symbol)
            if feed is None or not feed.streaming:
                self._ignore(feed, received_at)
                continue
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
                    events = (*events, *state_changed(feed, FeedState.LIVE, reason), *feed.changed)
            else:
                events = (*events, *feed.changed) if events else feed.changed
        return events

    def _read_strange_book(self, frame: bytes, received_at: MonoNs) -> tuple[list[BookData], Sequence[Event] | None]:
        """An update with a value of another type than we know: its one entry, or what became of it, or of several."""
        try:
            parts = split(frame, BOOK_UPDATE)
            if len(parts) > 1:
                return [], [event for part in parts for event in self.receive(part, received_at)]
            return messages.read_book(frame).data, None
        except DECODE_ERRORS as error:
            return [], self._malformed(error, frame, received_at)

    def _receive_rare(self, frame: bytes, received_at: MonoNs) -> Sequence[Event] | None:
        """Anything but a book update of today's key order; None for one of another order."""
        if frame == HEARTBEAT:
            return self._receive_heartbeat(frame, None, received_at)
        try:
            envelope = decode_envelope(frame)
            if envelope.method is not None:
                return self._receive_reply(read_reply(frame), frame, received_at)
            self._liveness.heard_at = received_at
            if envelope.channel == "book" and envelope.type != "snapshot":
                return None
            receiver = self._receivers.get(envelope.channel or "")
            if receiver is not None:
                return receiver(frame, envelope.type, received_at)
            if envelope.channel is None and rejects.MESSAGE_RATE_EXCEEDED.encode() in frame:
                return self._rate_exceeded(frame, received_at)
            return self._oddities.count_unknown(f"channel {envelope.channel}", frame, received_at)
        except DECODE_ERRORS as error:
            self._liveness.heard_at = received_at
            return self._malformed(error, frame, received_at)

    # --- book

    def _receive_snapshot(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
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
            if feed is not None:
                events = (*events, *self._load(feed, data, received_at))
        return events

    def _load(self, feed: BookFeed, data: messages.ExactBookData, received_at: MonoNs) -> Sequence[Event]:
        feed.heard_at = received_at
        feed.resync_at = MonoNs(0)
        if feed.subscription is not None:
            feed.subscription.deadline = MonoNs(0)
        if not feed.load(data):
            return self._failed(feed, f"snapshot: {feed.describe_mismatch(data)}", received_at)
        if feed.book.crossed():
            feed.crossings += 1
            return self._failed(feed, "snapshot: best bid at or above best ask", received_at)
        feed.end()
        feed.streaming = True
        if self._in_maintenance:
            return NO_EVENTS
        return (*state_changed(feed, FeedState.LIVE, "snapshot verified"), *feed.changed)

    def _ignore(self, feed: BookFeed | None, received_at: MonoNs) -> None:
        if feed is not None:
            feed.ignored += 1
            feed.heard_at = received_at

    def _failed(self, feed: BookFeed, reason: str, now: MonoNs) -> Sequence[Event]:
        """A book is in doubt: say so, and ask for this pair's snapshot before anything else."""
        events = self._put_in_doubt(feed, reason, now)
        self._outbox += self._subscriptions.due(now)
        return events

    def _put_in_doubt(self, feed: BookFeed, reason: str, now: MonoNs) -> Sequence[Event]:
        """The same, for several at a time: `due` follows, and asks for them together."""
        state = feed.failed(now)
        if state is FeedState.UNTRUSTED:
            reason += "; third failure within a minute, retried slowly"
        events = state_changed(feed, state, reason)
        self._resynchronize_due(feed, now)
        return events

    def _resynchronize_due(self, feed: BookFeed, now: MonoNs) -> None:
        if not 0 < feed.resync_at <= now or feed.subscription is None or self._in_maintenance:
            return
        feed.resync_at = MonoNs(0)
        feed.resynced_at = now
        feed.resyncs += 1
        self._subscriptions.renew(feed.subscription)

    # --- the other channels

    def _receive_trade(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        trades, unreadable = messages.read_trades(frame)
        ours = [trade for trade in trades if trade.symbol in self.feeds]
        told = self.tape.take_snapshot(ours) if kind == "snapshot" else self.tape.take(ours)
        return [*told, *self._count_unreadable(unreadable, frame, received_at)] if unreadable else told

    def _receive_ticker(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        tickers, unreadable = messages.read_tickers(frame)
        ours = [TickerChanged(ticker) for ticker in tickers if ticker.symbol in self.feeds]
        self.tickers += len(ours)
        return [*ours, *self._count_unreadable(unreadable, frame, received_at)] if unreadable else ours

    def _receive_candle(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        candles, unreadable = messages.read_candles(frame)
        if unreadable:  # how these pairs' candles end may have been told there
            for symbol in _symbols_named(frame) or (None,):
                self.candle_series.interrupt(symbol)
        ours = [candle for candle in candles if candle.symbol in self.feeds]
        try:
            told = self.candle_series.take(ours, messages.stamp_of(frame), is_snapshot=kind == "snapshot")
        except ValueError as error:
            return self._malformed(error, frame, received_at)
        self.candles += len(ours)
        events: list[Event] = [*self._count_unreadable(unreadable, frame, received_at), *told]
        return events

    def _receive_instrument(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        instruments, unreadable = messages.read_instrument(frame)
        changed = self._note_assets(instruments.assets)
        pairs = instruments.pairs
        if kind == "snapshot":
            self._listed.clear()
        self._listed |= {pair.symbol: pair.status for pair in pairs}
        events: list[Event] = [*self._count_unreadable(unreadable, frame, received_at)]
        for pair in pairs:
            feed = self.feeds.get(pair.symbol)
            if feed is None:
                continue
            if not (0 <= pair.price_precision <= DECIMALS_MAX and 0 <= pair.qty_precision <= DECIMALS_MAX):
                error = ValueError(f"{pair.symbol}: {pair.price_precision} and {pair.qty_precision} decimals")
                events += self._malformed(error, frame[:0], received_at)
            else:
                before, feed.decimals_known = feed.decimals_known, (pair.price_precision, pair.qty_precision)
                if before not in (None, feed.decimals_known):
                    events += self._precision_changed(feed, received_at)
                self._pairs_told[pair.symbol] = pair
                events.append(self._pair_changed(pair))
                if pair.status == DELISTED:
                    events += self._gone(feed, f"Kraken has taken {pair.symbol} off its list")
        told = {pair.symbol for pair in pairs}
        for symbol, known in self._pairs_told.items():
            if symbol not in told and not changed.isdisjoint(symbol.split("/")):
                events.append(self._pair_changed(known))
        return events

    def _note_assets(self, assets: Sequence[AssetData]) -> set[str]:
        """Take note of the precisions of our pairs' assets; those that changed."""
        changed = set()
        for asset in assets:
            decimals = asset.precision
            if decimals is not None and not 0 <= decimals <= DECIMALS_MAX:
                decimals = None
            if self._asset_decimals.get(asset.id, decimals) != decimals:
                self._asset_decimals[asset.id] = decimals
                changed.add(asset.id)
        return changed

    def _pair_changed(self, pair: PairData) -> PairChanged:
        base, _, quote = pair.symbol.partition("/")
        return PairChanged(pair, self._asset_decimals.get(base), self._asset_decimals.get(quote))

    def _precision_changed(self, feed: BookFeed, now: MonoNs) -> Sequence[Event]:
        """Ticks and lots of a book mean something else from now on: a snapshot in the new ones begins it anew."""
        price_decimals, qty_decimals = feed.decimals_known or (0, 0)
        if not feed.streaming or (feed.book.price_decimals, feed.book.qty_decimals) == (price_decimals, qty_decimals):
            return NO_EVENTS
        feed.end()
        feed.resync_at = MonoNs(max(now, feed.resynced_at + RESYNC_INTERVAL_NS))
        reason = f"precision is {price_decimals} and {qty_decimals} decimals now; asking for a fresh snapshot"
        events = state_changed(feed, FeedState.STALE, reason)
        self._resynchronize_due(feed, now)
        self._outbox += self._subscriptions.due(now)
        return events

    def _gone(self, feed: BookFeed, reason: str) -> Sequence[Event]:
        """Kraken does not offer this pair: nothing is asked for it any more on this connection."""
        feed.end()
        feed.resync_at = MonoNs(0)
        if feed.subscription is not None:
            feed.subscription.phase = Phase.REFUSED
            feed.subscription.deadline = MonoNs(0)
            self._subscriptions.forget(feed.subscription)
        return state_changed(feed, FeedState.UNTRUSTED, reason)

    def _receive_status(self, frame: bytes, kind: str | None, received_at: MonoNs) -> Sequence[Event]:
        was_closed = self._status.is_closed
        changes, is_other_connection, unreadable = self._status.receive(frame)
        events: list[Event] = [*changes, *self._count_unreadable(unreadable, frame, received_at)]
        if is_other_connection:  # nothing of the old one goes on
            self.candle_series.interrupt()
            events = [*self.doubt(self.settings.symbols, "another connection begins"), *events]
        if changes:
            self._in_maintenance = self._status.system == MAINTENANCE
        if self._in_maintenance:
            for feed in self.feeds.values():
                if feed.state is FeedState.LIVE:
                    events += state_changed(feed, FeedState.STALE, "Kraken is in maintenance")
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
        self.level3 += 1  # counted only: there is no book to apply it to
        return NO_EVENTS

    # --- replies

    def _receive_reply(self, reply: Reply, frame: bytes, received_at: MonoNs) -> Sequence[Event]:
        if reply.method == "pong":
            self._liveness.ponged(received_at)
            return NO_EVENTS
        self._liveness.heard_at = received_at
        if rejects.MESSAGE_RATE_EXCEEDED in (reply.error or ""):
            return self._rate_exceeded(frame, received_at)
        concerned = self._subscriptions.replied(reply)
        if not reply.success and (reply.method != "subscribe" or not concerned):
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
        feed = self.feeds.get(subscription.symbol or "") if subscription.channel == "book" else None
        if reply.method == "unsubscribe":
            if feed is None or not feed.streaming:
                return NO_EVENTS
            if feed.is_renewed:  # to prove itself, while nothing is known against it
                feed.given_back_at = now
                return NO_EVENTS
            feed.end()
            return state_changed(feed, FeedState.STALE, "unsubscribed; waiting for a snapshot")
        subscription.phase = Phase.CONFIRMED
        if feed is None:
            subscription.deadline = MonoNs(0)
        else:
            # The deadline stays: a book is only there when its snapshot is.
            depth = reply.result.depth if reply.result else None
            feed.depth = depth if depth in rejects.BOOK_DEPTHS else feed.depth
        return NO_EVENTS

    def _rejected(self, subscription: Subscription, reply: Reply, now: MonoNs) -> Sequence[Event]:
        error = (reply.error or "no reason given")[:DETAIL_CHARS_MAX]
        if error == rejects.ALREADY_SUBSCRIBED and subscription.channel == "book":
            return NO_EVENTS  # and no snapshot comes: the deadline passes, and the pair is given back and asked again
        if error == rejects.ALREADY_SUBSCRIBED:
            subscription.phase = Phase.CONFIRMED
            subscription.deadline = MonoNs(0)
            return NO_EVENTS
        subscription.phase = Phase.REFUSED
        subscription.deadline = MonoNs(0)
        symbol = subscription.symbol or "all pairs"
        advice = rejects.advice(error, subscription.channel, symbol, self._listed)
        events: Sequence[Event] = (Refused(subscription.channel, symbol, advice),)
        feed = self.feeds.get(symbol) if subscription.channel == "book" else None
        if feed is not None:
            events = (*self._gone(feed, advice), *events)
        return events

    def _rate_exceeded(self, frame: bytes, now: MonoNs) -> Sequence[Event]:
        self._subscriptions.slow_down(now)
        self.refused += 1
        return self._oddities.report("refused", f"{rejects.MESSAGE_RATE_EXCEEDED}: sending less", frame, now)

    # --- time

    def poll(self, now: MonoNs) -> Sequence[Event]:
        """Look at the clocks: requests due, answers late, pairs silent."""
        if not self._liveness.is_open:
            return NO_EVENTS
        if self._liveness.ping_due(now):
            self._outbox.append(self._subscriptions.ping())
        events: Sequence[Event] = NO_EVENTS
        if now >= self._timers_at:
            self._timers_at = MonoNs(now + TIMER_INTERVAL_NS)
            events = self._poll_subscriptions(now)
        self._outbox += self._subscriptions.due(now)
        return events

    def _poll_subscriptions(self, now: MonoNs) -> Sequence[Event]:
        if self._in_maintenance:
            return (
                NO_EVENTS  # minutes of silence are the rule, and asking would be a storm: everything waits for its end
            )
        events: list[Event] = []
        for subscription in self._subscriptions.overdue(now):
            if subscription.channel != "book":
                self._subscriptions.want(subscription)
                continue
            waited = silence_text(self.settings.subscribe_deadline_ns)
            feed = self.feeds[subscription.symbol or ""]
            if feed.streaming and feed.state is FeedState.LIVE and not feed.is_unproved:
                feed.is_renewed = False  # an update has proved it meanwhile
            elif self._status.is_closed:  # late snapshots are no failure then: asked for again rarely, and at the end
                feed.end()
                feed.resync_at = MonoNs(now + CLOSED_RETRY_NS)
                events += state_changed(feed, FeedState.STALE, f"no snapshot: Kraken is in {self._status.system}")
            else:
                events += self._put_in_doubt(feed, f"no snapshot within {waited}", now)
        for feed in self.feeds.values():
            self._resynchronize_due(feed, now)
            if feed.streaming:
                events += self._watch_silence(feed, now)
            elif feed.is_forgotten:
                feed.resync_at = MonoNs(max(now, feed.resynced_at + RESYNC_INTERVAL_NS))
        return events

    def _watch_silence(self, feed: BookFeed, now: MonoNs) -> Sequence[Event]:
        """A quiet pair may be a mute subscription: a fresh snapshot tells, asked for ever less often.

        Until it has come the book is live and unproved, for Kraken, heard on this connection, has said nothing else.
        """
        events = NO_EVENTS
        silent_ns = now - feed.heard_at
        # Hot with a thousand pairs, ten times a second: most of them have spoken lately, and nothing is asked of them.
        if silent_ns <= self.settings.book_silence_ns and not feed.is_renewed and feed.state is FeedState.LIVE:
            feed.is_unproved = False
            return NO_EVENTS
        if feed.updates != feed.updates_at_silence:
            feed.silence_ns_max = self.settings.book_silence_ns
            if feed.is_unproved:  # an update has verified since
                feed.is_unproved = False
                if feed.is_renewed and self._needs_no_proof(feed):
                    feed.is_renewed = False
        if feed.given_back_at and now - feed.given_back_at > PROOF_PATIENCE_NS:
            feed.end()
            waited = silence_text(PROOF_PATIENCE_NS)
            return state_changed(feed, FeedState.STALE, f"no snapshot within {waited} of asking for a fresh one")
        if feed.state is FeedState.LIVE and not feed.is_unproved and silent_ns > feed.silence_ns_max:
            feed.silence_ns_max = min(2 * feed.silence_ns_max, SILENCE_GROWTH_MAX * self.settings.book_silence_ns)
            feed.updates_at_silence = feed.updates
            feed.is_unproved = True
            reason = f"unproved: book silent for {silence_text(silent_ns)}; asking for a fresh snapshot"
            events = (BookUnproved(feed.symbol, reason),)
        needs_proof = feed.is_unproved or feed.state is not FeedState.LIVE  # the latter: stale since a maintenance
        if needs_proof and not feed.is_renewed and not self._status.is_closed and feed.subscription is not None:
            feed.is_renewed = True
            feed.renewals += 1
            self._subscriptions.prove(feed.subscription)
        return events

    def _needs_no_proof(self, feed: BookFeed) -> bool:
        return feed.subscription is not None and self._subscriptions.needs_no_proof(feed.subscription)

    # --- what we do not understand

    def _malformed(self, error: Exception, frame: bytes, now: MonoNs) -> Sequence[Event]:
        """A frame that cannot be read. What it would have told is lost: live books that it names are in doubt, and how
        the candles that are forming end.
        """
        events: Sequence[Event] = self._oddities.count_malformed(error, frame, now)
        head = frame[:FRAME_BYTES_SHOWN_MAX]
        if b'"channel":"ohlc"' in head:
            for named in _symbols_named(frame) or (None,):
                self.candle_series.interrupt(named)
        if b'"channel":"book"' in head:
            for symbol in _symbols_named(frame):
                feed = self.feeds.get(symbol)
                if feed is not None and feed.streaming:
                    events = (*self._failed(feed, "a message of this book cannot be read", now), *events)
        return events

    def _count_unreadable(self, errors: Sequence[Exception], frame: bytes, now: MonoNs) -> Sequence[Event]:
        """Entries of a message that cannot be read: each is counted, and costs itself alone."""
        return [event for error in errors for event in self._oddities.count_malformed(error, frame, now)]

    # --- what we ask for

    def _wanted(self) -> list[Subscription]:
        settings = self.settings
        wanted = [Subscription("instrument", None)]
        for feed in self.feeds.values():
            feed.subscription = Subscription("book", feed.symbol, depth=settings.depth)
            wanted.append(feed.subscription)
        for symbol in self.feeds:
            if settings.trades:
                wanted.append(Subscription("trade", symbol))
            if settings.tickers:
                wanted.append(Subscription("ticker", symbol, trigger=settings.ticker_trigger))
            if settings.candle_interval_min:
                wanted.append(Subscription("ohlc", symbol, interval=settings.candle_interval_min))
        return wanted


def _exact(frame: bytes, entries: Sequence[BookData], data: BookData) -> messages.ExactBookData | None:
    """The entry `data` of a book frame, its numbers with every digit of their text; None when one is absurd."""
    position = next(index for index, entry in enumerate(entries) if entry is data)
    try:
        return messages.read_exact_book(frame).data[position]
    except DECODE_ERRORS:
        return None


def _symbols_named(frame: bytes) -> list[str]:
    """The pairs that a frame of which something cannot be read is about, as far as its text shows."""
    return [symbol.decode(errors="replace") for symbol in dict.fromkeys(_SYMBOL_IN_TEXT.findall(frame))]
