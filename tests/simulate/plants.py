"""Bugs to be found: each a small change of the engine's own code, as it might be made by mistake.

`python -m tests.simulate --plant NAME` runs the engine with one of them; README.md has a table of how many seeds each
took to be found.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine.errors import MisuseError
from engine.kraken.connection.liveness import Liveness
from engine.kraken.private.events import Purpose
from engine.kraken.private.sequencing import Sequencer
from engine.kraken.public.book_feed import BookFeed
from engine.kraken.public.session import PublicSession
from engine.kraken.public.subscriptions import Subscription, Subscriptions
from engine.kraken.trading import order_requests
from engine.kraken.trading.session import TradingSession
from engine.market.book import Side
from engine.native import IS_NATIVE, PORTABLE_VARIABLE
from engine.net.key_lock import KeyLock
from engine.order_router.core.brackets import Brackets
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.dead_man import DeadMan
from engine.order_router.core.lookup.questions import OrderQuestions
from engine.order_router.core.order_core import OrderCore
from engine.orders.blotter import Blotter
from engine.orders.journal import Journal
from engine.orders.positions import Positions
from engine.orders.rate_counter import RateCounters
from engine.orders.venue_facts import ExecutionFact, OrderLookup
from engine.private_feed.feed import PrivateFeed
from engine.processes.pair_table import PairTable
from engine.public_feed.feed import PublicFeed
from engine.public_feed.process import Follower
from engine.records import FeedState
from engine.ring.layout import CURSOR
from engine.ring.ring import Publisher, Subscriber
from engine.strategy_host.hosted_strategy import HostedStrategy
from engine.topology import Channel
from engine.units import NS_PER_S, MonoNs, WallNs

Undo = Callable[[], None]


def _patch(owner: Any, name: str, make: Callable[[Any], Any]) -> Undo:
    """Put what `make` makes of the present attribute in its place."""
    before = owner.__dict__[name]
    setattr(owner, name, make(before))
    return lambda: setattr(owner, name, before)


def _all(*undo: Undo) -> Undo:
    def undo_all() -> None:
        for each in undo:
            each()

    return undo_all


def _truncation_skipped() -> Undo:
    """A book keeps the levels that fell out of its depth."""

    def make(init: Any) -> Any:
        def deep(self: Any, *, descending: bool, depth: int, publish_levels: int) -> None:
            init(self, descending=descending, depth=100_000, publish_levels=publish_levels)

        return deep

    return _patch(Side, "__init__", make)


def _publish_before_stamp() -> Undo:
    """A record's stamp and the cursor are moved before the record is whole."""

    def hasty(self: Any, record: bytes) -> None:
        sequence = self.cursor + 1
        words = self._words
        stamp = self._slots + (sequence & self._mask) * self._slot_words
        words[stamp] = sequence
        words[CURSOR] = sequence
        self._pack(self._memory, (stamp << 3) + 8, record)
        self.cursor = sequence

    def hasty_try(self: Any, record: bytes) -> bool:
        sequence = self.cursor + 1
        if sequence > self._free_upto and not self._has_room(sequence):
            self.full_count += 1
            return False
        hasty(self, record)
        return True

    return _all(_patch(Publisher, "publish", lambda _: hasty), _patch(Publisher, "try_publish", lambda _: hasty_try))


def _unknown_resent() -> Undo:
    """An order in doubt is sent once more, at once."""

    def make(look_up: Any) -> Any:
        def look_up_and_resend(self: OrderCore, key: str, deadline: WallNs) -> None:
            look_up(self, key, deadline)
            order, soon = self.blotter.get(key), WallNs(self._now.wall + NS_PER_S)
            if order is None or order.cl_ord_id is None:
                return
            numbered = self._session.send(
                "add_order",
                Purpose("add", (key,)),
                lambda token, req_id: order_requests.add_order(
                    order.intent, cl_ord_id=key, deadline=soon, token=token, req_id=req_id
                ),
                self._now.mono,
            )
            if numbered is not None:
                self._socket.send(numbered[1])

        return look_up_and_resend

    return _patch(OrderCore, "look_up", make)


def _gap_forgotten() -> Undo:
    """A gap in the numbers of the executions' frames is passed over."""

    def make(take: Any) -> Any:
        def take_all(self: Sequencer[Any], sequence: int | None, message: Any, frame: bytes, now: Any) -> Any:
            if self.expected is not None and sequence is not None and sequence > self.expected:
                self.expected = sequence
            return take(self, sequence, message, frame, now)

        return take_all

    return _patch(Sequencer, "take", make)


def _lap_forgotten() -> Undo:
    """A lapped subscriber does not count what it has missed."""

    def jump(self: Subscriber, sequence: int) -> None:
        self.next_sequence = sequence

    return _patch(Subscriber, "jump_to", lambda _: jump)


def _late_reply_dropped() -> Undo:
    """A request whose answer is late is forgotten, and so is the answer."""

    def make(poll: Any) -> Any:
        def poll_quietly(self: TradingSession, now: Any) -> Sequence[Any]:
            poll(self, now)
            return ()

        return poll_quietly

    return _patch(TradingSession, "poll", make)


def _fill_counted_twice() -> Undo:
    """A fill that is told again is counted again."""

    def make(filled: Any) -> Any:
        def count(self: Blotter, order: Any, fact: Any, *rest: Any) -> Any:
            self._exec_ids.pop(fact.exec_id, None)
            return filled(self, order, fact, *rest)

        return count

    return _patch(Blotter, "_filled", make)


def _cancel_starved() -> Undo:
    """Cancels wait for the room in the rate counter that new orders wait for."""
    return _patch(RateCounters, "cancel_wait_ns", lambda _: RateCounters.wait_ns)


def _dead_man_missed() -> Undo:
    """The dead man's switch is armed, and refreshed no more."""

    def make(refresh: Any) -> Any:
        def refresh_once(self: DeadMan, now: Any, *, rests: bool = False) -> None:
            if not self._refresh_at:
                refresh(self, now, rests=rests)

        return refresh_once

    return _patch(DeadMan, "refresh", make)


def _exit_beside_stop() -> Undo:
    """The target of a bracket is closed while its stops still rest."""

    def make(_: Any) -> Any:
        def cancel_nothing(self: Brackets, orders: Any, pace: Any) -> None:
            for order in orders:
                bracket = self._blotter.brackets[order.parent]
                self._exit(bracket, bracket.left, pace)

        return cancel_nothing

    return _patch(Brackets, "_cancel", make)


def _journal_after_send() -> Undo:
    """Intent is written when the burst is over, behind the order's first byte."""

    def write(_: Any) -> Any:
        def write_later(self: Any, records: Sequence[Any]) -> bool:
            self.plant_later = [*getattr(self, "plant_later", ()), *records]
            return True

        return write_later

    def end(before: Any) -> Any:
        def write_now(self: OrderCore) -> None:
            later, self.records.plant_later = getattr(self.records, "plant_later", []), []  # type: ignore[attr-defined]
            if later:
                self.records.write_facts(later)
            before(self)

        return write_now

    return _all(_patch(OrderRecords, "write_intent", write), _patch(OrderCore, "end_burst", end))


def _segment_left_behind() -> Undo:
    """A segment of the journal that has its name, and could not be begun all the same, stays there."""

    def leave(self: Journal, *_: Any) -> None:
        pass

    return _patch(Journal, "_take_back", lambda _: leave)


def _snapshot_applied_twice() -> Undo:
    """Positions of a journal's snapshot are added to those that are there, and it is applied again."""

    def make(load: Any) -> Any:
        def load_twice(self: Positions, rows: Any) -> None:
            load(self, rows)
            for state in self._states.values():
                state.qty *= 2

        return load_twice

    return _patch(Positions, "load", make)


def _closing_order_mistaken() -> Undo:
    """A closing order is taken for its parent, whose userref it carries."""
    mistaken = property(lambda self: self.order_userref)

    def make(find: Any) -> Any:
        def find_by_userref(
            self: Blotter, order_id: str | None = None, cl_ord_id: str | None = None, userref: int | None = None
        ) -> Any:
            found = find(self, order_id, cl_ord_id, userref)
            return self.get(self._key_of_userref.get(userref or 0, "")) if found is None else found

        return find_by_userref

    return _all(
        _patch(Blotter, "find", make),
        _patch(ExecutionFact, "own_userref", lambda _: mistaken),
        _patch(OrderLookup, "own_userref", lambda _: mistaken),
    )


def _nonce_reused() -> Undo:
    """A nonce is the time, and nothing else."""

    def time_alone(self: KeyLock, wall_ns: WallNs) -> int:
        return wall_ns // (100 * 1_000_000) * (100 * 1_000_000)

    return _patch(KeyLock, "next_nonce", lambda _: time_alone)


def _absent_too_soon() -> Undo:
    """An order in doubt that one look does not find is taken for rejected, before its deadline too."""

    def make(look_of: Any) -> Any:
        def look_now(self: OrderQuestions, doubt: Any, now: Any) -> Any:
            look = look_of(self, doubt, now)
            return type(look)(now, asks_closed=False, is_proof=True)

        return look_now

    return _patch(OrderQuestions, "_look_of", make)


def _held_back_dropped() -> Undo:
    """What found the account ring full is dropped."""
    return _patch(PrivateFeed, "_publish_held_back", lambda _: lambda self: self._held_back.clear())


def _added_forgotten() -> Undo:
    """A feed that begins anew follows the pairs of the configuration, whatever was subscribed or given back since."""

    def make(init: Any) -> Any:
        def begin(self: Any, feed: PublicFeed, table: PairTable) -> None:
            init(self, feed, table)
            self._version = table.version

        return begin

    return _patch(Follower, "__init__", make)


def _given_back_still_told() -> Undo:
    """A strategy's ring goes on telling what the strategy has given back."""

    def make(_: Any) -> Any:
        def narrow(self: HostedStrategy, feed: Any, pair_index: int, symbol: str, channels: Channel) -> None:
            feed.beginning.pop(pair_index, None)
            if channels:
                self.context.follow(symbol, channels, None)
            else:
                self.context.drop(symbol)

        return narrow

    return _patch(HostedStrategy, "_narrow", make)


def _given_back_still_subscribed() -> Undo:
    """What the last strategy gives back stays subscribed at Kraken."""

    def make(_: Any) -> Any:
        def forget(self: Subscriptions, subscription: Subscription) -> None:
            self.all.pop((subscription.channel, subscription.symbol), None)
            self.forget(subscription)
            subscription.deadline = MonoNs(0)

        return forget

    return _patch(Subscriptions, "remove", make)


def _silence_is_doubt() -> Undo:
    """A pair that is silent is put in doubt, though the connection lives."""

    def make(_: Any) -> Any:
        def doubt(self: PublicSession, feed: BookFeed, now: MonoNs) -> Any:
            if feed.state is FeedState.LIVE and now - feed.heard_at > self.settings.book_silence_ns:
                return self._put_in_doubt(feed, "silent", now)
            return ()

        return doubt

    return _patch(PublicSession, "_watch_silence", make)


def _heartbeat_not_awaited() -> Undo:
    """A connection is given up before Kraken's next heartbeat is due."""

    def make(init: Any) -> Any:
        def hasty(self: Liveness, silence_ns_max: int, *rest: Any) -> None:
            init(self, silence_ns_max // 4, *rest)

        return hasty

    return _patch(Liveness, "__init__", make)


def _deadlines_kept() -> Undo:
    """Deadlines of requests are noted, and never looked at."""
    return _patch(Subscriptions, "overdue", lambda _: lambda self, now: [])


PLANTS: dict[str, Callable[[], Undo]] = {
    "absent-too-soon": _absent_too_soon,
    "added-forgotten": _added_forgotten,
    "cancel-starved": _cancel_starved,
    "closing-order-mistaken": _closing_order_mistaken,
    "dead-man-missed": _dead_man_missed,
    "exit-beside-stop": _exit_beside_stop,
    "fill-counted-twice": _fill_counted_twice,
    "gap-forgotten": _gap_forgotten,
    "given-back-still-subscribed": _given_back_still_subscribed,
    "given-back-still-told": _given_back_still_told,
    "held-back-dropped": _held_back_dropped,
    "journal-after-send": _journal_after_send,
    "lap-forgotten": _lap_forgotten,
    "late-reply-dropped": _late_reply_dropped,
    "nonce-reused": _nonce_reused,
    "publish-before-stamp": _publish_before_stamp,
    "segment-left-behind": _segment_left_behind,
    "snapshot-applied-twice": _snapshot_applied_twice,
    "truncation-skipped": _truncation_skipped,
    "unknown-resent": _unknown_resent,
}


# These are found by a day of quiet and bursts.
OF_MARKET: dict[str, Callable[[], Undo]] = {
    "deadlines-kept": _deadlines_kept,
    "heartbeat-not-awaited": _heartbeat_not_awaited,
    "silence-is-doubt": _silence_is_doubt,
}

# These are planted in the portable rings and books, which a process may not have.
OF_PORTABLE = {"lap-forgotten", "publish-before-stamp", "truncation-skipped"}


@contextmanager
def plant(name: str) -> Iterator[None]:
    """The engine with this bug; none for an empty name. MisuseError where the code that it
    changes is not what runs.
    """
    if name in OF_PORTABLE and IS_NATIVE:
        raise MisuseError(f"{name} changes the portable implementation: set {PORTABLE_VARIABLE}=1")
    undo = (PLANTS | OF_MARKET)[name]() if name else None
    try:
        yield
    finally:
        if undo is not None:
            undo()
