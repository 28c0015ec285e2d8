"""The subscriptions of one connection: wanted, requested, confirmed, and the requests for
them.

    opened(), add(), want() ─► wanted  ┐
    renew()                 ─► doubted ├─► due() paced, batched, numbered ──► the wire
    remove()                ─► leaving │                │
    renew_idly()            ─► silent  ┘                │
    refuse(), withdraw() ─► pausing ─► retry(), resubscribe_refused(): wanted again
    replied() ◄── acknowledgement or error, one a symbol ◄──┘   or overdue()

Priorities: first subscribe what has just been unsubscribed, then books in doubt, then give
back what nobody wants, then what was never requested; renewals of silent books come last
and leave the burst unused, so that they never delay a book in doubt. What is given back and
wanted again is so unsubscribed first, whatever waits.

What is given back without an answer is given back again, for Kraken would stream it until
the connection ends.

A request for fifty symbols is answered fifty times. Each (channel, symbol) has its own
deadline, which starts when its request is sent, so waiting in the queue does not count.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from itertools import islice

from msgspec import UNSET

from engine.kraken.connection import requests
from engine.kraken.connection.messages import Reply
from engine.kraken.connection.requests import SubscribeParams
from engine.kraken.connection.retry import NEVER
from engine.units import NS_PER_S, MonoNs

REQUESTS_BURST = 10  # requests that may be sent at once before pacing begins
# Between two requests for silent pairs that are not full, so that more pairs share one.
QUIET_INTERVAL_NS = NS_PER_S
# After a refusal, the first time and at most: each further one in a row doubles the pause.
REFUSED_PAUSE_NS = 60 * NS_PER_S
REFUSED_PAUSE_NS_MAX = 16 * REFUSED_PAUSE_NS
REFUSED_PAUSE_NS_MIN = 5 * NS_PER_S  # whatever Kraken says of the pair meanwhile
NOT_SUBSCRIBED = "Subscription Not Found"  # to a request to unsubscribe: it is done
RATE_PENALTY_NS = 5 * NS_PER_S  # without requests after Kraken's "Exceeded msg rate"


class Phase(Enum):
    """The progress of a subscription."""

    WANTED = auto()  # queued, or to be queued again
    REQUESTED = auto()  # on the wire, unanswered
    CONFIRMED = auto()
    REFUSED = auto()  # and wanted again after a pause


class Subscription:
    """One channel of one pair (or of all, for the instrument channel)."""

    __slots__ = (
        "channel", "deadline", "depth", "interval", "pauses", "phase", "refusals", "refused_at", "snapshot", "symbol",
        "trigger", "unanswered",
    )  # fmt: skip

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
        # None for a channel without pairs.
        self.symbol = symbol
        self.depth = depth
        self.interval = interval
        self.trigger = trigger
        self.snapshot = snapshot
        self.phase = Phase.WANTED
        # When the awaited answer is late; 0 while none is awaited.
        self.deadline = MonoNs(0)
        # Refusals in a row on this connection; after how many of them the whole pause is
        # waited; and when it was refused last, or withdrawn.
        self.refusals = 0
        self.pauses = 0
        self.refused_at = MonoNs(0)
        # How often it was given back since Kraken said that it had ended it.
        self.unanswered = 0

    @property
    def like(self) -> tuple[object, ...]:
        """What the subscriptions of one request have in common: the key to group them by."""
        return self.channel, self.depth, self.interval, self.trigger, self.snapshot


class _Lane:
    """A queue of subscriptions, each at most once; those of the same kind share requests."""

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
        """Remove and return up to `count_max` subscriptions for one request, in order of
        arrival.
        """
        like, group = next(iter(self._groups.items()))
        taken = list(islice(group, count_max))
        for subscription in taken:
            del group[subscription]
        if not group:
            del self._groups[like]
        return taken

    def clear(self) -> None:
        self._groups.clear()


class Subscriptions:
    """The subscriptions of one connection, its unanswered requests and their pacing."""

    def __init__(
        self,
        wanted: Sequence[Subscription],
        *,
        requests_per_s: float,
        symbols_per_request: int,
        deadline_ns: int,
        requests_burst: int = REQUESTS_BURST,
    ) -> None:
        self.all = {(s.channel, s.symbol): s for s in wanted}
        self._interval_ns = int(NS_PER_S / requests_per_s)
        self._requests_burst = requests_burst
        self._symbols_per_request = symbols_per_request
        self._deadline_ns = deadline_ns
        # The queues, by priority. A subscription is in at most one of the first two, and in
        # at most one of the others: to subscribe after their unsubscription; in doubt, to
        # unsubscribe; to subscribe; silent, to unsubscribe when nothing else waits.
        self._resubscribe, self._doubted, self._wanted, self._silent = _Lane(), _Lane(), _Lane(), _Lane()
        # To unsubscribe: removed, or of a pair that Kraken does not offer any more.
        self._leaving = _Lane()
        # Given back, and when the answer to that is late.
        self._ending: dict[Subscription, MonoNs] = {}
        # Refused or withdrawn, and when each is wanted again.
        self._pausing: dict[Subscription, MonoNs] = {}
        # When the next request for silent pairs may be sent; a full one need not wait.
        self._silent_at = MonoNs(0)
        # Sent requests by number, with the subscriptions that are not answered yet. What
        # Kraken never answers is requested again under another number; beyond two for each
        # subscription the oldest entry is dropped.
        self._unanswered: dict[int, tuple[str, list[Subscription]]] = {}
        # (deadline, subscription) in the order of the deadlines, for all have the same
        # length. An entry whose subscription has another deadline by now, or none, is void.
        self._deadlines: deque[tuple[MonoNs, Subscription]] = deque()
        # When the next request may be sent once the burst is used up.
        self._paced_until = MonoNs(0)
        # Numbers keep growing across reconnects, so a late answer is never matched with
        # another request.
        self._req_id = 0

    def opened(self) -> None:
        """Queue every subscription: Kraken keeps none across connections."""
        for lane in (self._resubscribe, self._doubted, self._leaving, self._wanted, self._silent):
            lane.clear()
        self._unanswered.clear()
        self._deadlines.clear()
        self._ending.clear()
        self._pausing.clear()
        for subscription in self.all.values():
            subscription.refusals = subscription.pauses = subscription.unanswered = 0
            self.want(subscription)

    def add(self, subscription: Subscription) -> None:
        """Request a subscription on every later connection; `want` requests it on the
        present one.
        """
        self.all[subscription.channel, subscription.symbol] = subscription

    def remove(self, subscription: Subscription) -> None:
        """Stop wanting a subscription, and queue its unsubscription if it may have been
        requested.
        """
        self.all.pop((subscription.channel, subscription.symbol), None)
        # In the last queue it was unsubscribed, but perhaps in vain.
        is_queued = subscription in self._doubted or subscription in self._resubscribe
        is_requested = is_queued or subscription.phase in (Phase.REQUESTED, Phase.CONFIRMED)
        self.forget(subscription)
        self._pausing.pop(subscription, None)
        subscription.deadline = MonoNs(0)
        if is_requested:
            self._leaving.put([subscription])

    def refuse(self, subscription: Subscription, now: MonoNs) -> None:
        """Record that Kraken refuses a subscription; it is requested again after a pause of
        a minute, which grows with each further refusal.
        """
        pause_ns = min(REFUSED_PAUSE_NS << min(subscription.pauses, 16), REFUSED_PAUSE_NS_MAX)
        subscription.refusals += 1
        subscription.pauses += 1
        is_withdrawn = self._pausing.get(subscription) == NEVER
        self._pause(subscription, now, NEVER if is_withdrawn else MonoNs(now + pause_ns))

    def withdraw(self, subscription: Subscription, now: MonoNs) -> None:
        """Unsubscribe because Kraken has delisted the pair. The subscription is requested
        again by `resubscribe_refused`, or on the next connection.
        """
        if subscription in self._doubted or subscription.phase in (Phase.REQUESTED, Phase.CONFIRMED):
            self._leaving.put([subscription])
        self._pause(subscription, now, NEVER)

    def _pause(self, subscription: Subscription, now: MonoNs, until: MonoNs) -> None:
        self.forget(subscription)
        subscription.phase = Phase.REFUSED
        subscription.deadline = MonoNs(0)
        subscription.refused_at = now
        self._pausing[subscription] = until

    def resubscribe_refused(self, symbol: str, now: MonoNs) -> None:
        """Request refused subscriptions of this pair as soon as REFUSED_PAUSE_NS_MIN have
        passed since the refusal. If one is refused again then, its present pause is still
        due.
        """
        for subscription, until in self._pausing.items():
            soon = MonoNs(max(now, subscription.refused_at + REFUSED_PAUSE_NS_MIN))
            if subscription.symbol == symbol and soon < until:
                self._pausing[subscription] = soon
                subscription.pauses -= until != NEVER

    def retry(self, now: MonoNs) -> None:
        """Queue refused subscriptions whose pause is over, and unsubscriptions whose answer
        is late.
        """
        for subscription in [each for each, until in self._pausing.items() if now >= until]:
            del self._pausing[subscription]
            self.want(subscription)
        for subscription in [each for each, until in self._ending.items() if now >= until]:
            wanted = self.all.get((subscription.channel, subscription.symbol))
            if wanted is None or wanted.phase is Phase.REFUSED:
                self._leaving.put([subscription])
            if wanted is None or wanted.phase in (Phase.REFUSED, Phase.CONFIRMED):
                del self._ending[subscription]  # else it waits for what Kraken says of the wanted one

    def accepted(self, subscription: Subscription) -> None:
        """Record that Kraken serves a subscription: earlier refusals no longer count."""
        subscription.refusals = subscription.pauses = 0
        self._pausing.pop(subscription, None)
        if subscription.phase is Phase.REFUSED:  # served without an answer
            subscription.phase = Phase.CONFIRMED

    def want(self, subscription: Subscription) -> None:
        """Queue a subscription to be requested."""
        subscription.phase = Phase.WANTED
        subscription.deadline = MonoNs(0)
        self._wanted.put([subscription])

    def renew(self, subscription: Subscription) -> None:
        """Queue it to be unsubscribed and subscribed again: the only way to a fresh
        snapshot on a live connection.
        """
        subscription.phase = Phase.WANTED
        subscription.deadline = MonoNs(0)
        if subscription not in self._resubscribe:
            self.forget(subscription)
            self._doubted.put([subscription])

    def renew_idly(self, subscription: Subscription) -> None:
        """Renew with the lowest priority, for a book that is only silent."""
        self._silent.put([subscription])

    def cancel_idle_renewal(self, subscription: Subscription) -> bool:
        """Drop a renewal of lowest priority. False if its request has been sent already, or
        there is none.
        """
        was_waiting = subscription in self._silent
        self._silent.drop(subscription)
        return was_waiting

    def forget(self, subscription: Subscription) -> None:
        """Remove a subscription from every queue."""
        for lane in (self._resubscribe, self._doubted, self._wanted, self._silent):
            lane.drop(subscription)

    @property
    def is_any_confirmed(self) -> bool:
        """Whether Kraken has confirmed one, so that its heartbeats are due."""
        return any(subscription.phase is Phase.CONFIRMED for subscription in self.all.values())

    @property
    def unanswered(self) -> int:
        """How many requests are remembered that Kraken has not answered."""
        return len(self._unanswered)

    @property
    def waiting(self) -> int:
        """Number of subscriptions in the queues."""
        return sum(map(len, (self._resubscribe, self._doubted, self._leaving, self._wanted, self._silent)))

    def due(self, now: MonoNs) -> list[bytes]:
        """The requests that may be sent now: one per interval, and up to a burst ahead of
        that.
        """
        frames: list[bytes] = []
        while self._paced_until <= now + (self._requests_burst - 1) * self._interval_ns:
            frame = self._next(now)
            if frame is None:
                break
            self._paced_until = MonoNs(max(self._paced_until, now) + self._interval_ns)
            frames.append(frame)
        return frames

    def _next(self, now: MonoNs) -> bytes | None:
        count_max = self._symbols_per_request
        if self._resubscribe:
            return self._subscribe(self._resubscribe.take(count_max), now)
        if self._doubted:
            return self._unsubscribe(self._doubted.take(count_max))
        if self._leaving:
            return self._end(self._leaving.take(count_max), now)
        if self._wanted:
            return self._subscribe(self._wanted.take(count_max), now)
        is_due = now >= self._silent_at or len(self._silent) >= count_max
        if self._silent and is_due and self._paced_until <= now:
            self._silent_at = MonoNs(now + QUIET_INTERVAL_NS)
            return self._unsubscribe(self._silent.take(count_max))
        return None

    def ping(self) -> bytes:
        """The bytes of an application ping, numbered like the other requests."""
        self._req_id += 1
        return requests.ping(self._req_id)

    def replied(self, reply: Reply) -> list[Subscription]:
        """The subscriptions that an acknowledgement or error is about."""
        result = reply.result
        symbol = reply.symbol or (result.symbol if result else None)
        channel = result.channel if result else reply.channel
        if reply.req_id is not None and reply.req_id in self._unanswered:
            answered = self._answered(reply.req_id, reply.method, channel, symbol)
            if reply.method == "unsubscribe" and (reply.success or (reply.error or "").startswith(NOT_SUBSCRIBED)):
                for subscription in answered:
                    self._ending.pop(subscription, None)
                    subscription.unanswered = 0
            if answered:
                return answered
        found = self.all.get((channel, symbol)) if channel else None
        return [found] if found else []

    def overdue(self, now: MonoNs) -> list[Subscription]:
        """Subscriptions whose answer is late; each is returned once."""
        late, deadlines = [], self._deadlines
        while deadlines and deadlines[0][0] <= now:
            deadline, subscription = deadlines.popleft()
            if subscription.deadline == deadline:
                subscription.deadline = MonoNs(0)
                late.append(subscription)
        return late

    def expect_answer(self, subscription: Subscription, now: MonoNs) -> None:
        """Give the answer to its request, if one is under way, a full deadline from now."""
        if subscription.phase is Phase.REQUESTED:
            subscription.deadline = MonoNs(now + self._deadline_ns)
            self._deadlines.append((subscription.deadline, subscription))

    def slow_down(self, now: MonoNs) -> MonoNs:
        """After Kraken's "Exceeded msg rate": send nothing for RATE_PENALTY_NS, then at the
        usual pace without a burst. Returns when the next request may be sent.
        """
        next_at = now + RATE_PENALTY_NS + self._interval_ns
        self._paced_until = MonoNs(next_at + (self._requests_burst - 1) * self._interval_ns)
        return MonoNs(next_at)

    def _unsubscribe(self, subscriptions: list[Subscription]) -> bytes:
        for subscription in subscriptions:
            subscription.phase = Phase.WANTED
        self._resubscribe.put(subscriptions)
        return self._give_back(subscriptions)

    def _end(self, subscriptions: list[Subscription], now: MonoNs) -> bytes:
        """Unsubscribe what is no longer wanted; without an answer this is repeated ever
        more rarely.
        """
        for subscription in subscriptions:
            late_ns = min(self._deadline_ns << min(subscription.unanswered, 16), REFUSED_PAUSE_NS_MAX)
            subscription.unanswered += 1
            self._ending[subscription] = MonoNs(now + late_ns)
        return self._give_back(subscriptions)

    def _give_back(self, subscriptions: list[Subscription]) -> bytes:
        params = self._params("unsubscribe", subscriptions)
        params.event_trigger = subscriptions[0].trigger or UNSET
        return requests.unsubscribe(params, self._req_id)

    def _subscribe(self, subscriptions: list[Subscription], now: MonoNs) -> bytes:
        params = self._params("subscribe", subscriptions)
        params.event_trigger = subscriptions[0].trigger or UNSET
        params.snapshot = subscriptions[0].snapshot
        params.include_tokenized_assets = True if subscriptions[0].channel == "instrument" else UNSET
        for subscription in subscriptions:
            subscription.phase = Phase.REQUESTED
            self.expect_answer(subscription, now)
        return requests.subscribe(params, self._req_id)

    def _params(self, method: str, subscriptions: list[Subscription]) -> SubscribeParams:
        """The parameters of a request under the next number; it is remembered until it is
        answered.
        """
        self._req_id += 1
        self._unanswered[self._req_id] = (method, list(subscriptions))
        if len(self._unanswered) > 2 * len(self.all) + REQUESTS_BURST:
            del self._unanswered[next(iter(self._unanswered))]
        first = subscriptions[0]
        return SubscribeParams(
            channel=first.channel,
            symbol=[s.symbol for s in subscriptions if s.symbol] or UNSET,
            depth=first.depth or UNSET,
            interval=first.interval or UNSET,
        )

    def _answered(self, req_id: int, method: str, channel: str | None, symbol: str | None) -> list[Subscription]:
        # On a live connection all numbers are ours; in a capture they are its recorder's
        # and mean other requests.
        asked, waiting = self._unanswered[req_id]
        answered = [
            s for s in waiting if asked == method and channel in (None, s.channel) and symbol in (None, s.symbol)
        ]
        for subscription in answered:
            waiting.remove(subscription)
        if not waiting:
            del self._unanswered[req_id]
        return answered
