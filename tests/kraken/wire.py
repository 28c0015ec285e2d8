"""Kraken's side of the wire, for the tests of a session: genuine frames, a tape of made ones, an obedient venue.

Texts are made here and by `NaiveBook`, never by the engine's own code.
"""

import json
from pathlib import Path

from engine.kraken.public.book_feed import BookChanged, StateChanged
from engine.kraken.public.events import BookUnproved
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.units import NS_PER_MS, NS_PER_S
from tests.market.naive_book import NaiveBook, text

DATA = Path(__file__).parent.parent / "data" / "kraken"
D25 = "capture_crossbook_kraken_btcusd_sample.jsonl"
D10 = "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"

T0 = 1_000 * NS_PER_S  # when sessions of these tests open
MS, S = NS_PER_MS, NS_PER_S


def frames(file):
    """The frames of one file, in order."""
    return [line for line in (DATA / file).read_bytes().splitlines() if line]


def book_frame(kind, *entries):
    """A book message as Kraken writes it; an entry is (symbol, bids, asks, checksum[, timestamp])."""
    return f'{{"channel":"book","type":"{kind}","data":[{",".join(map(_entry, entries))}]}}'.encode()


def _entry(entry):
    symbol, bids, asks, checksum, *timestamp = entry
    sides = [",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side) for side in (bids, asks)]
    end = f',"timestamp":"{timestamp[0]}"' if timestamp else ""
    bids, asks = sides
    return f'{{"symbol":"{symbol}","bids":[{bids}],"asks":[{asks}],"checksum":{checksum}{end}}}'


def entry_of(frame):
    """The one entry of a book frame, for another frame to carry."""
    (data,) = json.loads(frame, parse_float=str, parse_int=str)["data"]
    sides = ([(level["price"], level["qty"]) for level in data[side]] for side in ("bids", "asks"))
    return (data["symbol"], *sides, int(data["checksum"]), data["timestamp"])


def with_wrong_checksum(frame):
    """The same message, its checksum off by one."""
    head, _, tail = frame.partition(b'"checksum":')
    number, comma, rest = tail.partition(b",")
    return head + b'"checksum":%d' % ((int(number) + 1) % 2**32) + comma + rest


class Tape:
    """One pair's book as Kraken would stream it: `NaiveBook` keeps the truth, methods return frames."""

    def __init__(self, symbol="BTC/USD", depth=10, decimals=(1, 8), mid=50_000):
        self.symbol = symbol
        self.decimals = decimals
        self.book = NaiveBook(depth)
        self.mid = mid
        self.written = 0
        self.fill(depth)

    def level(self, ticks, lots):
        return (text(ticks, self.decimals[0]), text(lots, self.decimals[1]))

    def fill(self, levels):
        """So many levels a side, of different quantities."""
        self.book = NaiveBook(self.book.depth)
        self.book.apply(
            [self.level(self.mid - 1 - i, 1000 + i) for i in range(levels)],
            [self.level(self.mid + 1 + i, 2000 + i) for i in range(levels)],
        )

    def snapshot(self):
        """The whole book."""
        return self.frame("snapshot", self.book.levels("bids"), self.book.levels("asks"))

    def update(self, bids=(), asks=()):
        """A message of these texts."""
        self.book.apply(bids, asks)
        return self.frame("update", bids, asks)

    def nudge(self, index=0):
        """The commonest message: one bid's quantity changes."""
        price, _ = self.book.levels("bids")[index]
        return self.update([(price, text(5000 + self.written, self.decimals[1]))])

    def frame(self, kind, bids, asks):
        self.written += 1
        stamp = f"2026-11-21T08:00:00.{self.written:06d}Z"
        return book_frame(kind, (self.symbol, bids, asks, self.book.checksum(), stamp))


def new_session(*symbols, **settings):
    """A session whose connection has just been opened; its first requests wait in `to_send`."""
    session = PublicSession(PublicSettings(symbols=symbols or ("BTC/USD",), **settings))
    session.opened(T0)
    return session


def quiet_session(*symbols, **settings):
    """A session that asks for books (and the instruments) only."""
    return new_session(*symbols, trades=False, tickers=False, candle_interval_min=None, **settings)


NO_INSTRUMENTS = b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[]}}'


def acks(request, **changed):
    """Kraken's answers to one request of ours: one a symbol, keys in alphabetical order; of the instrument channel with
    its snapshot, of no pair.
    """
    asked = json.loads(request)
    params = asked["params"]
    answers = []
    for symbol in params.get("symbol", [None]):
        result = {k: v for k, v in params.items() if k != "symbol"} | ({"symbol": symbol} if symbol else {})
        if asked["method"] == "unsubscribe":
            result.pop("snapshot", None)
        answer = {"method": asked["method"], "req_id": asked["req_id"], "result": dict(sorted(result.items()))}
        answer |= {"success": True, "time_in": "2026-11-21T08:00:00.000000Z", "time_out": "2026-11-21T08:00:00.000050Z"}
        answers.append(json.dumps(answer | changed, separators=(",", ":")).encode())
    if (asked["method"], params["channel"]) == ("subscribe", "instrument"):
        answers.append(NO_INSTRUMENTS)
    return answers


def error(request, message, symbol=None, **changed):
    """Kraken's refusal of one request of ours."""
    asked = json.loads(request)
    answer = {"error": message, "method": asked["method"], "req_id": asked["req_id"], "success": False}
    answer |= ({"symbol": symbol} if symbol else {}) | changed
    return json.dumps(answer, separators=(",", ":")).encode()


def sent(session):
    """The requests taken from a session, as objects."""
    return [json.loads(request) for request in session.to_send()]


def asked(requests, method, channel="book"):
    """Symbols that these requests name, for one method and channel."""
    return [
        symbol
        for request in requests
        if request["method"] == method and request["params"]["channel"] == channel
        for symbol in request["params"].get("symbol", [None])
    ]


def obey(session, now):
    """Acknowledge everything that the session asks."""
    events = []
    for request in session.to_send():
        if json.loads(request)["method"] == "ping":
            session.receive(b'{"method":"pong"}', now)
            continue
        for answer in acks(request):
            events += session.receive(answer, now)
    return events


def live(*tapes, **settings):
    """A session whose books, one a tape, are live at T0."""
    session = quiet_session(*(tape.symbol for tape in tapes), **({"depth": tapes[0].book.depth} | settings))
    obey(session, T0)
    for tape in tapes:
        session.receive(tape.snapshot(), T0)
        assert str(session.feeds[tape.symbol].state) == "live"
    return session


def states(events):
    """(symbol, state) of the state changes among some events."""
    return [(event.symbol, str(event.state)) for event in events if isinstance(event, StateChanged)]


def unproved(events):
    """Symbols of the quiet books among some events."""
    return [event.symbol for event in events if isinstance(event, BookUnproved)]


def changed(events):
    """Symbols of the verified books among some events."""
    return [event.feed.symbol for event in events if isinstance(event, BookChanged)]


def poll(session, begin, end, step=100 * MS):
    """Let time pass, a tenth of a second at a time; what happened."""
    events = []
    for now in range(begin, end + 1, step):
        events += session.poll(now)
    return events
