"""What we want from Kraken, what it has confirmed, and the requests in between.

    want() ──► queue ──► due() paced, batched, numbered ──► the wire
                              │
    replied() ◄── acknowledgement or error, one a symbol ◄──┘   or overdue()

A request for fifty symbols is answered fifty times. Each (channel, symbol) has its
own deadline, which starts when its request leaves, so a long queue is not late.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from msgspec import UNSET

from engine.kraken import requests
from engine.kraken.messages import Reply
from engine.kraken.requests import SubscribeParams
from engine.units import NS_PER_S, MonoNs

REQUESTS_BURST = 10  # requests that may leave at once before pacing begins
RATE_PENALTY_NS = 5 * NS_PER_S  # silence on our side after Kraken's "Exceeded msg rate"


class Phase(Enum):
    """Where a subscription stands."""

    WANTED = auto()  # queued, or to be queued again
    REQUESTED = auto()  # on the wire, unanswered
    CONFIRMED = auto()
    REFUSED = auto()


class Subscription:
    """One channel of one pair (or of all, for the instrument channel)."""

    __slots__ = ("channel", "deadline", "depth", "interval", "phase", "snapshot", "symbol", "trigger")

    def __init__(
        self,
        channel: str,
        symbol: str | None,
        *,
        depth: int | None = None,
        interval: int | None = None,
        trigger: str | None = None,
        snapshot: bool = True,
    ) -> None:
        self.channel = channel
        # None: the channel has no pairs.
        self.symbol = symbol
        self.depth = depth
        self.interval = interval
        self.trigger = trigger
        self.snapshot = snapshot
        self.phase = Phase.WANTED
        # When the answer is late; 0 while none is awaited.
        self.deadline = MonoNs(0)

    @property
    def like(self) -> tuple[object, ...]:
        """What subscriptions of one request have in common."""
        return self.channel, self.depth, self.interval, self.trigger, self.snapshot


class _Order:
    """A request not yet sent."""

    __slots__ = ("method", "subscriptions")

    def __init__(self, method: str, subscriptions: list[Subscription]) -> None:
        self.method = method
        self.subscriptions = subscriptions


class Subscriptions:
    """The ledger of one connection's subscriptions and requests."""

    def __init__(
        self, wanted: Sequence[Subscription], *, requests_per_s: float, symbols_per_request: int, deadline_ns: int
    ) -> None:
        self.all = {(s.channel, s.symbol): s for s in wanted}
        self._interval_ns = int(NS_PER_S / requests_per_s)
        self._symbols_per_request = symbols_per_request
        self._deadline_ns = deadline_ns
        # Requests that wait for their turn. Never more than two a subscription: one to give back, one to ask.
        self._queue: deque[_Order] = deque()
        # Requests on the wire, by number, with what they have not been answered for. A request that Kraken never
        # answers is asked again under another number, and forgotten when there are too many.
        self._unanswered: dict[int, tuple[str, list[Subscription]]] = {}
        self._unanswered_max = 2 * len(wanted) + REQUESTS_BURST
        # When the next request may leave, if the burst is spent.
        self._paced_until = MonoNs(0)
        # Numbers grow over reconnects, so a late answer is never taken for another.
        self._req_id = 0

    def opened(self) -> None:
        """A new connection: Kraken remembers nothing, so everything is wanted again."""
        self._queue.clear()
        self._unanswered.clear()
        batches: dict[tuple[object, ...], list[Subscription]] = {}
        for subscription in self.all.values():
            subscription.phase = Phase.WANTED
            subscription.deadline = MonoNs(0)
            batches.setdefault(subscription.like, []).append(subscription)
        for batch in batches.values():
            for start in range(0, len(batch), self._symbols_per_request):
                self._queue.append(_Order("subscribe", batch[start : start + self._symbols_per_request]))

    def want(self, subscription: Subscription) -> None:
        """Ask for it (again)."""
        subscription.phase = Phase.WANTED
        subscription.deadline = MonoNs(0)
        self._queue.append(_Order("subscribe", [subscription]))

    def renew(self, subscription: Subscription) -> None:
        """Give it back and ask for it again: the only way to a fresh snapshot on a live connection."""
        self._queue.append(_Order("unsubscribe", [subscription]))
        self.want(subscription)

    def due(self, now: MonoNs) -> list[bytes]:
        """The requests that may leave now, taken from the queue."""
        # The requests leave at one an interval, of which a burst may be ahead of time.
        frames: list[bytes] = []
        while self._queue and self._paced_until <= now + (REQUESTS_BURST - 1) * self._interval_ns:
            self._paced_until = MonoNs(max(self._paced_until, now) + self._interval_ns)
            frames.append(self._send(self._queue.popleft(), now))
        return frames

    def ping(self) -> bytes:
        """An application ping, numbered like the other requests."""
        self._req_id += 1
        return requests.ping(self._req_id)

    def replied(self, reply: Reply) -> list[Subscription]:
        """The subscriptions that this acknowledgement or error is about."""
        result = reply.result
        symbol = reply.symbol or (result.symbol if result else None)
        channel = result.channel if result else reply.channel
        if reply.req_id is not None and reply.req_id in self._unanswered:
            answered = self._answered(reply.req_id, reply.method, channel, symbol)
            if answered:
                return answered
        found = self.all.get((channel, symbol)) if channel else None
        return [found] if found else []

    def overdue(self, now: MonoNs) -> list[Subscription]:
        """Subscriptions whose answer is late; each is named once."""
        late = [s for s in self.all.values() if 0 < s.deadline <= now]
        for subscription in late:
            subscription.deadline = MonoNs(0)
        return late

    def slow_down(self, now: MonoNs) -> None:
        """Kraken said "Exceeded msg rate": nothing leaves for a while, then at the pace again."""
        self._paced_until = MonoNs(now + RATE_PENALTY_NS + REQUESTS_BURST * self._interval_ns)

    def _send(self, order: _Order, now: MonoNs) -> bytes:
        self._req_id += 1
        first = order.subscriptions[0]
        params = SubscribeParams(
            channel=first.channel,
            symbol=[s.symbol for s in order.subscriptions if s.symbol] or UNSET,
            depth=first.depth or UNSET,
            interval=first.interval or UNSET,
        )
        self._unanswered[self._req_id] = (order.method, list(order.subscriptions))
        if len(self._unanswered) > self._unanswered_max:
            del self._unanswered[next(iter(self._unanswered))]
        if order.method == "unsubscribe":
            return requests.unsubscribe(params, self._req_id)
        params.event_trigger = first.trigger or UNSET
        params.snapshot = first.snapshot
        params.include_tokenized_assets = True if first.channel == "instrument" else UNSET
        for subscription in order.subscriptions:
            subscription.phase = Phase.REQUESTED
            subscription.deadline = MonoNs(now + self._deadline_ns)
        return requests.subscribe(params, self._req_id)

    def _answered(self, req_id: int, method: str, channel: str | None, symbol: str | None) -> list[Subscription]:
        # Numbers are ours alone on a live connection; in a capture they are its recorder's, and mean other requests.
        asked, waiting = self._unanswered[req_id]
        answered = [
            s for s in waiting if asked == method and channel in (None, s.channel) and symbol in (None, s.symbol)
        ]
        for subscription in answered:
            waiting.remove(subscription)
        if not waiting:
            del self._unanswered[req_id]
        return answered
