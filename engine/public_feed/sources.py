"""Where each pair's book, ticker and trades come from: the WebSocket, REST behind it, or
nowhere. Pure; time is passed in.

    evidence (session, books, tickers) ─► look() ─► the source of each kind and pair, marked
                                             └────► next_ask() ─► what REST is to be asked for now

Evidence decides, not silence: a quiet pair on a connection that brings heartbeats is as
fresh as its last heartbeat. The WebSocket no longer serves

    every kind     when there is no connection, or it has brought no frame for the kind's freshness limit
    a book         while it is not live
    a ticker       from the end of a connection until the first ticker of the next
    trades         from the end of a connection until the subscription is confirmed on the next

A pair or channel that nobody follows has no source, and REST is not asked for it. Without
a connection REST is asked at once; on a connection that lives, what is missing has its
freshness limit to come by itself. A book is live again when its checksum has verified.

    websocket ── no longer served ──► none ── REST has answered ──► rest ── its answers are too old ──► none
        ▲                              │                             │
        └────── served again ──────────┴─────────────────────────────┘
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct

from engine.kraken.connection.venue_status import MAINTENANCE
from engine.kraken.public.session import PublicSession
from engine.kraken.rest import market_data
from engine.kraken.rest.requests import RestRequest
from engine.records import FeedState, Source
from engine.topology import Channel
from engine.units import NS_PER_S, MonoNs

COMPARED_PAIRS: Final = 3  # at a time, in turn
START_GRACE_NS: Final = NS_PER_S  # for the first connection; then REST is asked
GAP_INTERVAL_NS: Final = NS_PER_S  # between two requests for the missing trades of a pair
RETRY_NS: Final = NS_PER_S  # after an answer that did not come or could not be used
RENEWALS_PER_LIMIT: Final = 2  # how often data of REST are asked for within their freshness limit
# Of a freshness limit: so old may be what a comparison has asked for before, when it is
# told in the socket's stead.
KNOWN_PER_LIMIT: Final = 0.2


class Kind(IntEnum):
    """A kind of data with a source of its own."""

    BOOK = 0
    TICKER = 1
    TRADES = 2


CHANNEL_OF: Final = {Kind.BOOK: Channel.BOOK, Kind.TICKER: Channel.TICKER, Kind.TRADES: Channel.TRADE}


class SourceSettings(Struct, frozen=True, kw_only=True):
    """Freshness limits, and which data REST is asked for."""

    limits_ns: tuple[int, int, int] = (5 * NS_PER_S, 10 * NS_PER_S, 30 * NS_PER_S)
    """In the order of `Kind`."""
    book_symbols: tuple[str, ...] = ()
    """Of the pairs from the start, those whose unverified book some strategy takes."""
    publish_levels: int = 10
    compare_ns: int = 60 * NS_PER_S
    """How often REST is compared with what the WebSocket serves; 0 for never."""


class Ask(NamedTuple):
    """A request for REST."""

    kind: Kind
    symbols: tuple[str, ...]
    request: RestRequest
    read: Callable[[int, bytes], Any]
    age_ns_max: int
    """How old an answer may be that is known already."""
    is_first: bool = True
    """Whether nothing serves what it asks for; False where an answer is only renewed."""


class _KindState:
    """One kind of data, by pair index."""

    def __init__(self, kind: Kind, limit_ns: int) -> None:
        self.kind = kind
        self.limit_ns = limit_ns
        self.renew_ns = limit_ns // RENEWALS_PER_LIMIT
        # Pairs of which this kind of data is followed; and of them, those of which REST is
        # asked for it.
        self.indices: set[int] = set()
        self.wanted: set[int] = set()
        self.source: list[Source] = []
        # The last source that was not none: a switch is a change of it.
        self.served_by: list[Source] = []
        # When it lost the WebSocket; when the last answer of REST arrived, 0 without one;
        # when REST may be asked again.
        self.lost_at: list[MonoNs] = []
        self.rest_at: list[MonoNs] = []
        self.ask_at: list[MonoNs] = []
        # Pairs whose source is not the WebSocket, or that have changed: looked at each
        # time.
        self.unsettled: set[int] = set()
        self.had_link = False

    def reserve(self, count: int) -> None:
        """Make room for this number of pairs."""
        missing = count - len(self.source)
        for sources in (self.source, self.served_by):
            sources += [Source.NONE] * missing
        for times in (self.lost_at, self.rest_at, self.ask_at):
            times += [MonoNs(0)] * missing


class Sources:
    """The sources of one feed's data."""

    def __init__(self, session: PublicSession, settings: SourceSettings, now: MonoNs) -> None:
        self._session = session
        self._settings = settings
        # By pair index; empty for an index that is free.
        self._symbols: list[str] = []
        self._kinds = [_KindState(kind, settings.limits_ns[kind]) for kind in Kind]
        self._started_at = now
        # Of the present connection: its number, when it was first heard of, and the pairs
        # without a ticker yet.
        self._connections = 0
        self._opened_at = now
        self._without_ticker: set[str] = set()
        # When the connection was found lost and REST has not answered yet; 0 otherwise. And
        # when the gaps of a pair may be asked for again.
        self._lost_at = MonoNs(0)
        self._gap_ask_at: dict[str, MonoNs] = {}
        # When both sources are compared next, and with which pair that begins.
        self._compare_at = MonoNs(now + settings.compare_ns)
        self._compare_from = 0
        # Sources of pairs that changed since `take_changed`: (kind, pair index).
        self._changed: dict[tuple[Kind, int], None] = {}
        # Counted since the process started: changes between the two sources; nanoseconds
        # that kinds of pairs were served by none, the WebSocket and REST; and the time from
        # finding the connection lost to the first record of REST, the last and the longest.
        self.switches = 0
        self.served_ns = [0, 0, 0]
        self.failover_ns = 0
        self.failover_ns_max = 0
        self._looked_at = now
        # Kinds of pairs by their source.
        self._counts = [0, 0, 0]
        for feed in session.feeds.values():
            takes_books = feed.symbol in settings.book_symbols
            self.follow(feed.pair_index, feed.symbol, feed.channels, takes_books=takes_books, now=MonoNs(0))

    def source(self, kind: Kind, symbol_index: int) -> Source:
        """Where the newest data of this kind and pair come from."""
        return self._kinds[kind].source[symbol_index]

    def take_changed(self) -> list[tuple[Kind, int, Source]]:
        """The (kind, pair index, source) that changed since the last call."""
        changed = [(kind, index, self.source(kind, index)) for kind, index in self._changed]
        self._changed.clear()
        return changed

    # --- pairs at run time

    def follow(self, pair_index: int, symbol: str, channels: Channel, *, takes_books: bool, now: MonoNs) -> None:
        """Look at these channels of a pair and at no others. What is new has its freshness
        limit to come by itself.
        """
        self._symbols += [""] * (pair_index + 1 - len(self._symbols))
        self._symbols[pair_index] = symbol
        for each in self._kinds:
            each.reserve(len(self._symbols))
            is_followed = CHANNEL_OF[each.kind] in channels
            if is_followed and pair_index not in each.indices:
                self._begin(each, pair_index, now)
            elif not is_followed and pair_index in each.indices:
                self._end(each, pair_index)
            if is_followed and (takes_books or each.kind is not Kind.BOOK):
                each.wanted.add(pair_index)
            else:
                each.wanted.discard(pair_index)

    def is_followed(self, kind: Kind, symbol: str) -> bool:
        """Whether this kind of data of a pair is looked at."""
        feed = self._session.feeds.get(symbol)
        return feed is not None and feed.pair_index in self._kinds[kind].indices

    def _begin(self, each: _KindState, index: int, now: MonoNs) -> None:
        each.indices.add(index)
        each.unsettled.add(index)
        each.lost_at[index] = now
        each.rest_at[index] = each.ask_at[index] = MonoNs(0)
        self._counts[Source.NONE] += 1
        if each.kind is Kind.TICKER:
            self._without_ticker.add(self._symbols[index])

    def _end(self, each: _KindState, index: int) -> None:
        self._set(each, index, Source.NONE)
        self._counts[Source.NONE] -= 1
        each.indices.discard(index)
        each.unsettled.discard(index)
        each.served_by[index] = Source.NONE

    # --- evidence

    def book_changed_state(self, pair_index: int) -> None:
        """Note that a book became live, stale, untrusted, or is not followed any more."""
        books = self._kinds[Kind.BOOK]
        if pair_index in books.indices:
            books.unsettled.add(pair_index)

    def ticker_came(self, symbol: str) -> None:
        """Note a ticker of the WebSocket."""
        if self._session.connections != self._connections:
            self._begin_connection()
        self._without_ticker.discard(symbol)

    def _begin_connection(self) -> None:
        self._connections, self._opened_at = self._session.connections, self._session.heard_at
        self._without_ticker = set(self._symbols)
        for each in self._kinds:
            each.unsettled |= each.indices

    def look(self, now: MonoNs) -> None:
        """Find the source of every kind of every pair."""
        for source, count in enumerate(self._counts):
            self.served_ns[source] += count * (now - self._looked_at)
        self._looked_at = now
        session = self._session
        if session.connections != self._connections:
            self._begin_connection()
        for each in self._kinds:
            has_link = session.is_open and now - session.heard_at <= each.limit_ns
            if has_link != each.had_link:
                each.had_link = has_link
                each.unsettled |= each.indices
                self._lost_at = MonoNs(0) if has_link else self._lost_at or now
            for index in list(each.unsettled):
                self._look_at(each, index, has_link, now)

    def _look_at(self, each: _KindState, index: int, has_link: bool, now: MonoNs) -> None:
        before = each.source[index]
        if has_link and self._is_served(each.kind, self._symbols[index]):
            source = Source.WEBSOCKET
            each.unsettled.discard(index)
        elif each.rest_at[index] and now - each.rest_at[index] <= each.limit_ns:
            source = Source.REST
        else:
            source = Source.NONE
        if source is before:
            return
        if before is Source.WEBSOCKET:
            each.lost_at[index] = now
            each.rest_at[index] = each.ask_at[index] = MonoNs(0)
            source = Source.NONE
        self._set(each, index, source)

    def _set(self, each: _KindState, index: int, source: Source) -> None:
        self._counts[each.source[index]] -= 1
        self._counts[source] += 1
        each.source[index] = source
        self._changed[each.kind, index] = None
        if source is not Source.NONE:
            self.switches += each.served_by[index] not in (Source.NONE, source)
            each.served_by[index] = source

    def _is_served(self, kind: Kind, symbol: str) -> bool:
        """Whether the WebSocket serves this, on a connection that lives."""
        if kind is Kind.BOOK:
            return self._session.feeds[symbol].state is FeedState.LIVE
        if kind is Kind.TICKER:
            return symbol not in self._without_ticker
        return self._session.is_confirmed("trade", symbol)

    # --- what to ask for

    def next_ask(self, now: MonoNs) -> Ask | None:
        """The most urgent thing to ask REST for now; None when nothing is due. Call `asked`
        when it was.
        """
        if self._session.is_open and self._session.system == MAINTENANCE:
            return None  # the market stands still, and requests are refused
        for gap in self._session.tape.gaps:
            if now >= self._gap_ask_at.get(gap.symbol, now):
                return self._ask_trades(gap.symbol, 0)
        books, tickers, trades = self._kinds
        due = [(each, self._due(each, now)) for each in (tickers, books, trades)]
        for each, indices in due:
            if first := [index for index in indices if each.source[index] is Source.NONE]:
                return self._ask_of(each, first)
        for each, indices in due:
            if indices:
                return self._ask_of(each, indices)._replace(is_first=False)
        if self._settings.compare_ns and now >= self._compare_at:
            return self._ask_for_comparison(now)
        return None

    def _ask_of(self, each: _KindState, due: list[int]) -> Ask:
        """What is due of a kind: tickers together, of the others the one that is due first."""
        if each.kind is Kind.TICKER:
            return self._ask_tickers(due)
        symbol = self._symbols[min(due, key=each.ask_at.__getitem__)]
        if each.kind is Kind.TRADES:
            return self._ask_trades(symbol, 0)
        request = market_data.depth(symbol, self._settings.publish_levels)
        return Ask(Kind.BOOK, (symbol,), request, market_data.read_depth, int(each.limit_ns * KNOWN_PER_LIMIT))

    def _ask_for_comparison(self, now: MonoNs) -> Ask | None:
        """Ask for the tickers of some pairs, in turn, whose books are live."""
        self._compare_at = MonoNs(now + self._settings.compare_ns)
        count = len(self._symbols)
        turn = [(self._compare_from + step) % count for step in range(min(COMPARED_PAIRS, count))]
        self._compare_from = (turn[-1] + 1) % count
        live = [index for index in turn if self.source(Kind.BOOK, index) is Source.WEBSOCKET]
        return self._ask_tickers(live)._replace(is_first=False) if live else None

    def _due(self, each: _KindState, now: MonoNs) -> list[int]:
        """The pairs of this kind that REST is to be asked for now."""
        if not each.unsettled or (not self._connections and now - self._started_at < START_GRACE_NS):
            return []
        symbols = self._symbols
        channel = ("book", "ticker", "trade")[each.kind]
        is_patient = each.had_link
        return [
            index
            for index in each.unsettled & each.wanted
            if now >= each.ask_at[index]
            and each.source[index] is not Source.WEBSOCKET
            and not (is_patient and now - max(each.lost_at[index], self._opened_at) <= each.limit_ns)
            and not self._session.is_refused(channel, symbols[index])
            # One name that is no pair would spoil the answer about all: what was added must
            # be known to Kraken.
            and (index < len(self._session.settings.symbols) or self._session.is_known(symbols[index]))
        ]

    def _ask_tickers(self, due: list[int]) -> Ask:
        names = [self._symbols[index] for index in sorted(due)]
        is_tokenized = market_data.is_tokenized(names[0])
        alike = tuple(name for name in names if market_data.is_tokenized(name) == is_tokenized)
        symbols = alike[: market_data.TICKER_PAIRS_MAX]

        def read(status: int, body: bytes) -> Any:
            return market_data.read_tickers(status, body, symbols)

        limit_ns = self._kinds[Kind.TICKER].limit_ns
        return Ask(Kind.TICKER, symbols, market_data.ticker(symbols), read, int(limit_ns * KNOWN_PER_LIMIT))

    def _ask_trades(self, symbol: str, age_ns_max: int) -> Ask:
        def read(status: int, body: bytes) -> Any:
            return market_data.read_trades(status, body, symbol)

        since = self._session.tape.gap_of(symbol).since
        return Ask(Kind.TRADES, (symbol,), market_data.trades(symbol, since), read, age_ns_max)

    def asked(self, ask: Ask, now: MonoNs) -> None:
        """Note that REST is being asked, or that the answer was known."""
        each = self._kinds[ask.kind]
        for index in self._indices_of(ask):
            each.ask_at[index] = MonoNs(now + each.renew_ns)
        if ask.kind is Kind.TRADES:
            self._gap_ask_at[ask.symbols[0]] = MonoNs(now + GAP_INTERVAL_NS)

    def answered(self, ask: Ask, symbols: Iterable[str], received_at: MonoNs, now: MonoNs) -> list[str]:
        """Record an answer about these pairs; returns those whose source is REST now, and
        whose data are to be published.
        """
        each = self._kinds[ask.kind]
        ours = []
        for symbol in symbols:
            if not self.is_followed(ask.kind, symbol):
                continue
            index = self._session.feeds[symbol].pair_index
            if each.source[index] is Source.WEBSOCKET:
                continue
            each.rest_at[index] = received_at
            ours.append(symbol)
            if each.source[index] is not Source.REST:
                if self._lost_at:
                    self.failover_ns, self._lost_at = now - self._lost_at, MonoNs(0)
                    self.failover_ns_max = max(self.failover_ns_max, self.failover_ns)
                self._set(each, index, Source.REST)
        return ours

    def failed(self, ask: Ask, now: MonoNs) -> None:
        """Record that an answer did not come, or cannot be used; it is requested again
        soon.
        """
        each = self._kinds[ask.kind]
        for index in self._indices_of(ask):
            each.ask_at[index] = MonoNs(now + min(RETRY_NS, each.renew_ns))

    def _indices_of(self, ask: Ask) -> list[int]:
        feeds = self._session.feeds
        return [feeds[symbol].pair_index for symbol in ask.symbols if symbol in feeds]

    def check(self) -> None:
        """Assert that every pair that the WebSocket does not serve is looked at."""
        for each in self._kinds:
            for index in each.indices:
                assert each.source[index] is Source.WEBSOCKET or index in each.unsettled
        counted = [0, 0, 0]
        for each in self._kinds:
            for index in each.indices:
                counted[each.source[index]] += 1
        assert counted == self._counts
