"""What we want from Kraken, what it has confirmed, and the requests in between.

    opened(), want() ─► wanted  ┐
    renew()          ─► doubted ├─► due() paced, batched, numbered ──► the wire
    prove()          ─► quiet   ┘                │
    replied() ◄── acknowledgement or error, one a symbol ◄──┘   or overdue()

A book in doubt goes before what is merely wanted, and a quiet pair that shall only prove itself comes last: it leaves
the burst untouched, so that doubt never waits for it. What was given back is asked for before anything else.

A request for fifty symbols is answered fifty times. Each (channel, symbol) has its
own deadline, which starts when its request leaves, so a long queue is not late.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto

from msgspec import UNSET

from engine.kraken.connection import requests
from engine.kraken.connection.messages import Reply
from engine.kraken.connection.requests import SubscribeParams
from engine.units import NS_PER_S, MonoNs

REQUESTS_BURST = 10  # requests that may leave at once before pacing begins
QUIET_INTERVAL_NS = NS_PER_S  # between two requests for quiet pairs that are not full: others join them meanwhile
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


class _Lane:
    """Subscriptions that wait for their turn, each once; those alike leave together."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], dict[Subscription, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription in self._groups.get(subscription.like, {})

    def put(self, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            self._groups.setdefault(subscription.like, {})[subscription] = None

    def drop(self, subscription: Subscription) -> None:
        group = self._groups.get(subscription.like, {})
        group.pop(subscription, None)
        if not group:
            self._groups.pop(subscription.like, None)

    def take(self, count_max: int) -> list[Subscription]:
        """The next request's worth, those first that came first."""
        taken = list(next(iter(self._groups.values())))[:count_max]
        for subscription in taken:
            self.drop(subscription)
        return taken

    def clear(self) -> None:
        self._groups.clear()


class Subscriptions:
    """The ledger of one connection's subscriptions and requests."""

    def __init__(
        self, wanted: Sequence[Subscription], *, requests_per_s: float, symbols_per_request: int, deadline_ns: int
    ) -> None:
        self.all = {(s.channel, s.symbol): s for s in wanted}
        self._interval_ns = int(NS_PER_S / requests_per_s)
        self._symbols_per_request = symbols_per_request
        self._deadline_ns = deadline_ns
        # What waits for its turn, in the order of their turns; a subscription is in one of the first two and in one of
        # the others at most: given back and to be asked for at once; in doubt, to be given back; to be asked for;
        # quiet, to be given back when there is nothing else to do.
        self._given_back, self._doubted, self._wanted, self._quiet = _Lane(), _Lane(), _Lane(), _Lane()
        # When the next quiet pairs may leave, unless they fill a request.
        self._quiet_at = MonoNs(0)
        # Requests on the wire, by number, with what they have not been answered for. A request that Kraken never
        # answers is asked again under another number, and forgotten when there are too many.
        self._unanswered: dict[int, tuple[str, list[Subscription]]] = {}
        self._unanswered_max = 2 * len(wanted) + REQUESTS_BURST
        # What was asked for, in the order of the deadlines (all are as long); an entry whose subscription has another
        # deadline by now, or none, is void.
        self._deadlines: deque[tuple[MonoNs, Subscription]] = deque()
        # When the next request may leave, if the burst is spent.
        self._paced_until = MonoNs(0)
        # Numbers grow over reconnects, so a late answer is never taken for another.
        self._req_id = 0

    def opened(self) -> None:
        """A new connection: Kraken remembers nothing, so everything is wanted again."""
        for lane in (self._given_back, self._doubted, self._wanted, self._quiet):
            lane.clear()
        self._unanswered.clear()
        self._deadlines.clear()
        for subscription in self.all.values():
            self.want(subscription)

    def want(self, subscription: Subscription) -> None:
        """Ask for it (again)."""
        subscription.phase = Phase.WANTED
        subscription.deadline = MonoNs(0)
        self._wanted.put([subscription])

    def renew(self, subscription: Subscription) -> None:
        """Give it back and ask for it again: the only way to a fresh snapshot on a live connection."""
        subscription.phase = Phase.WANTED
        subscription.deadline = MonoNs(0)
        if subscription not in self._given_back:
            self.forget(subscription)
            self._doubted.put([subscription])

    def prove(self, subscription: Subscription) -> None:
        """The same, when there is nothing more urgent: there is no doubt, only silence."""
        self._quiet.put([subscription])

    def needs_no_proof(self, subscription: Subscription) -> bool:
        """It has proved itself: need it not be given back any more? No, when it already is."""
        was_waiting = subscription in self._quiet
        self._quiet.drop(subscription)
        return was_waiting

    def forget(self, subscription: Subscription) -> None:
        """Nothing is to be asked for it any more."""
        for lane in (self._given_back, self._doubted, self._wanted, self._quiet):
            lane.drop(subscription)

    @property
    def unanswered(self) -> int:
        """How many requests are remembered that Kraken has not answered."""
        return len(self._unanswered)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(map(len, (self._given_back, self._doubted, self._wanted, self._quiet)))

    def due(self, now: MonoNs) -> list[bytes]:
        """The requests that may leave now: one an interval, of which a burst may be ahead of time."""
        frames: list[bytes] = []
        while self._paced_until <= now + (REQUESTS_BURST - 1) * self._interval_ns:
            frame = self._next(now)
            if frame is None:
                break
            self._paced_until = MonoNs(max(self._paced_until, now) + self._interval_ns)
            frames.append(frame)
        return frames

    def _next(self, now: MonoNs) -> bytes | None:
        count_max = self._symbols_per_request
        if self._given_back:
            return self._subscribe(self._given_back.take(count_max), now)
        if self._doubted:
            return self._unsubscribe(self._doubted.take(count_max))
        if self._wanted:
            return self._subscribe(self._wanted.take(count_max), now)
        is_due = now >= self._quiet_at or len(self._quiet) >= count_max
        if self._quiet and is_due and self._paced_until <= now:
            self._quiet_at = MonoNs(now + QUIET_INTERVAL_NS)
            return self._unsubscribe(self._quiet.take(count_max))
        return None

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
        late, deadlines = [], self._deadlines
        while deadlines and deadlines[0][0] <= now:
            deadline, subscription = deadlines.popleft()
            if subscription.deadline == deadline:
                subscription.deadline = MonoNs(0)
                late.append(subscription)
        return late

    def slow_down(self, now: MonoNs) -> None:
        """Kraken said "Exceeded msg rate": nothing leaves for a while, then at the pace again."""
        self._paced_until = MonoNs(now + RATE_PENALTY_NS + REQUESTS_BURST * self._interval_ns)

    def _unsubscribe(self, subscriptions: list[Subscription]) -> bytes:
        for subscription in subscriptions:
            subscription.phase = Phase.WANTED
        self._given_back.put(subscriptions)
        return requests.unsubscribe(self._params("unsubscribe", subscriptions), self._req_id)

    def _subscribe(self, subscriptions: list[Subscription], now: MonoNs) -> bytes:
        params = self._params("subscribe", subscriptions)
        params.event_trigger = subscriptions[0].trigger or UNSET
        params.snapshot = subscriptions[0].snapshot
        params.include_tokenized_assets = True if subscriptions[0].channel == "instrument" else UNSET
        for subscription in subscriptions:
            subscription.phase = Phase.REQUESTED
            subscription.deadline = MonoNs(now + self._deadline_ns)
            self._deadlines.append((subscription.deadline, subscription))
        return requests.subscribe(params, self._req_id)

    def _params(self, method: str, subscriptions: list[Subscription]) -> SubscribeParams:
        """What a request of the next number names; it is remembered until it is answered."""
        self._req_id += 1
        self._unanswered[self._req_id] = (method, list(subscriptions))
        if len(self._unanswered) > self._unanswered_max:
            del self._unanswered[next(iter(self._unanswered))]
        first = subscriptions[0]
        return SubscribeParams(
            channel=first.channel,
            symbol=[s.symbol for s in subscriptions if s.symbol] or UNSET,
            depth=first.depth or UNSET,
            interval=first.interval or UNSET,
        )

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
