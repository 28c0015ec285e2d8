"""Takes the facts of the private feed: executions, balances, and whether the feed is
complete.

FeedLost ─► no orders ─► SnapshotBegan ─► rows ─► SnapshotEnded ─► orders again, but on pairs with open orders that
                                                               were not listed: these are looked up ─► there too

Orders stop as well when the feed has told nothing for three seconds; Kraken sends a
heartbeat every second. When the feed stays away, REST may stand in; see `degraded`.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import structlog

from engine.instant import Instant
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.rest.pairs import WALLET_SUFFIXES
from engine.kraken.rest.replies import AssetBalance
from engine.order_router.core.cancels import OrderCancels
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.gate import TradingGate
from engine.order_router.core.lookup.questions import DEADLINE_MARGIN_NS, LAG_NS, PONG_PATIENCE_NS
from engine.order_router.core.ports import BoardsPort
from engine.order_router.core.replies import Resolver
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.blotter import missing_from
from engine.orders.life import OrderState
from engine.orders.money import add
from engine.orders.rate_counter import RateCounters, tier_of
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.risk import Risk
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import (
    AccountFact,
    BalanceFact,
    ExecutionFact,
    FeedAlive,
    FeedLost,
    OrderLookup,
    SnapshotBegan,
    SnapshotEnded,
)
from engine.units import NS_PER_S, MonoNs

FEED_SILENCE_NS: Final = 3 * NS_PER_S  # as the public feeds are watched: Kraken's heartbeat comes every second
EARNING_SUFFIXES: Final = tuple(suffix for suffix in WALLET_SUFFIXES if suffix != ".T")  # that one is traded
NOT_RECEIVED: Final = Refusal(ErrorKind.TRANSPORT, "Kraken did not get it")
UNSEEN: Final = Refusal(
    ErrorKind.TRANSPORT, "no answer came, and Kraken does not tell whether it did it; amend again, or cancel"
)
FREE: Final = ("dead_man", "dead_man_off")  # requests that cost nothing in a pair's rate counter
FEED_SILENT: Final = "the private feed's process gives no sign of life"
ANSWERED_NS_MAX: Final = 5 * NS_PER_S  # from a question to its answer: its deadline, with some room
END_PATIENCE_NS: Final = 2 * NS_PER_S  # for the end of an order that is filled

log = structlog.get_logger("order_router")


class AccountFacts:
    """Turns the account's facts into journal records, and opens or closes the gate."""

    def __init__(
        self,
        records: OrderRecords,
        gate: TradingGate,
        boards: BoardsPort,
        websocket: WebSocketRoute,
        cancels: OrderCancels,
        rates: RateCounters,
        risk: Risk,
        resolver: Resolver,
        now: Instant,
        kraken: KrakenTime,
        *,
        lag_ns_max: int,
        is_tier_fixed: bool,
        on_tier: Callable[[str], None],
    ) -> None:
        """`lag_ns_max` is the longest time that REST may lag behind the executions.
        `on_tier` is called with the name of the tier that Kraken reports; with
        `is_tier_fixed` that report is ignored.
        """
        self._lag_ns_max = lag_ns_max
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._boards = boards
        self._websocket = websocket
        self._cancels = cancels
        self._rates = rates
        self._risk = risk
        self._resolver = resolver
        self._now = now
        self._kraken = kraken
        self._is_tier_fixed = is_tier_fixed
        # Kraken's order ids, or assets, in the snapshot being received; None outside a
        # snapshot.
        self._listed: set[str] | None = None
        # Since when every execution was received (since the last snapshot); None while some
        # may be missing. Monotonic, since the wall clock may be set back in between.
        self.unbroken_since: MonoNs | None = None
        # Since when the executions have been out, and what Kraken or the network says to
        # that; None while they come.
        self.out_since: MonoNs | None = now.mono
        self.trouble = ""
        # When REST began to stand in, and whether balances come on their channel.
        self._stood_in_at = MonoNs(0)
        self._has_balances = False
        # Open orders that the last snapshot did not list, each with its pair.
        self._unaccounted: dict[str, str] = {}
        # When the feed's process was last heard, and whether it has been silent for so long
        # that no orders are taken.
        self._told_at = MonoNs(0)
        self._is_silent = False
        # Up to when everything that Kraken sent was received.
        self._complete_until = MonoNs(0)
        self._on_tier = on_tier
        self._assets: list[str] | None = None
        self.counts = dict.fromkeys(("snapshots_reconciled", "resolved"), 0)

    def take(self, fact: AccountFact) -> None:
        """Take one fact of the account ring."""
        self._told_at = self._now.mono
        if self._is_silent:
            self._end_silence(fact)
        match fact:
            case ExecutionFact():
                self._take_execution(fact)
            case BalanceFact():
                if self._assets is not None:
                    self._assets.append(fact.asset)
                if self._records.balances.apply(fact):
                    self._records.balance_changed(fact.asset)
            case FeedAlive():
                self._complete_until = fact.complete_until
            case FeedLost(reason, channel):
                if channel != "executions":
                    self._records.balances.doubt()
                    self._assets, self._has_balances = None, False
                # Balances serve reports only; whether an order may be sent depends on
                # executions and limits.
                if channel != "balances":
                    self._lose(f"private WebSocket {fact.trouble or 'has told no snapshot yet'}: {reason}")
                    self.trouble = fact.trouble
                    self._listed = self.unbroken_since = None
            case SnapshotBegan(channel):
                if channel == "executions":
                    self._listed = set()
                else:
                    self._assets = []
            case SnapshotEnded():
                if fact.channel == "executions":
                    self._end_executions(fact)
                else:
                    self._has_balances = self._assets is not None
                    self._end_balances()

    def _lose(self, reason: str) -> None:
        self._gate.feed_reason = reason
        if self.out_since is None:
            self.out_since = self._now.mono

    def _regain(self) -> None:
        """Handle the return of the executions: REST no longer stands in for them."""
        self._gate.feed_reason = self._gate.rest_reason = self.trouble = ""
        self._gate.rest_stands_in = False
        self.out_since = None

    def _take_execution(self, fact: ExecutionFact) -> None:
        if self._listed is not None and fact.is_snapshot and fact.exec_type != "trade":
            self._listed.add(fact.order_id)
        order = self._blotter.order_of(fact)
        was_unknown = order is not None and order.state is OrderState.UNKNOWN
        records = self._blotter.on_execution(fact, self._boards.pair, self._now.wall, order)
        self._records.commit(records, received_at=fact.received_at)
        # The strategy has it; what follows can wait.
        if fact.rate_count is not None and fact.symbol is not None:
            # Rows come on another connection than answers, and may be much later than
            # these.
            has_all = fact.timestamp >= self._rates.counts_all_from and self._has_counted_all(order)
            self._rates.of(fact.symbol).correct(fact.rate_count, self._now.mono, has_all=has_all)
        if not fact.is_snapshot:
            self._kraken.told(fact.timestamp, fact.received_at)
        if was_unknown and order is not None:
            self._note_resolved(order.key)
        if order is not None and fact.exec_type == "trade" and not order.remaining and order.key in self._blotter.open:
            # Its end follows at once. If that is the last that Kraken tells for a while and
            # is lost, no number shows it.
            self._resolver.settle(order.key, MonoNs(self._now.mono + END_PATIENCE_NS))

    def _has_counted_all(self, order: TrackedOrder | None) -> bool:
        """True if the rate count that came with a row of this order includes all requests:
        none is under way except the one that created the order, whose reply may come later.
        """
        costly = [each.purpose for each in self._websocket.session.pending if each.purpose.kind not in FREE]
        if not costly:
            return True
        return order is not None and len(costly) == 1 and (costly[0].kind, costly[0].keys) == ("add", (order.key,))

    def _end_balances(self) -> None:
        if self._assets is not None:
            self._records.balance_changed(*self._records.balances.forget_others(self._assets))
            self._records.tell_all_balances(self._now.mono)
            # After the reports, so that a strategy told that it may trade knows its
            # balances already.
            self._gate.has_balances = True
        self._assets = None

    def _end_executions(self, fact: SnapshotEnded) -> None:
        now = self._now.mono
        if fact.max_rate_count is not None and not self._is_tier_fixed:
            self._note_tier(fact.max_rate_count, now)
        listed, self._listed = self._listed or set(), None
        self.unbroken_since = now
        # An order sent after the snapshot was requested may be missing in it, and its own
        # reports follow; or it had ended before the snapshot was taken, and none ever
        # comes.
        asked_at = fact.asked_at or now
        unlisted = [order.key for order in missing_from(self._blotter.open.values(), listed)]
        gone = [key for key in unlisted if (self.sent_at(key) or 0) < asked_at]
        for key in unlisted:
            if key not in gone:
                self._resolver.settle(key, MonoNs(now + LAG_NS))
        self._regain()
        self._gate.uncertain = frozenset()
        self._look_after(gone)

    def _look_after(self, gone: Sequence[str]) -> None:
        """Look up open orders that nothing has reported; trading on their pairs waits for
        the answer.
        """
        self._unaccounted = {key: self._blotter.open[key].symbol for key in gone}
        self._note_accounted()
        if gone:
            log.warning("open orders that Kraken does not list are looked up", orders=len(gone))
            self._resolver.reconcile(gone)

    def watch(self, now: MonoNs) -> None:
        """Close the gate if the feed's process has been silent too long. Call it when the
        account ring is empty.
        """
        if not self._gate.feed_reason and now - self._told_at > FEED_SILENCE_NS:
            self._is_silent = True
            self._lose(FEED_SILENT)

    def _end_silence(self, fact: AccountFact) -> None:
        """End the silence once the feed is current again: facts it was late with come
        before a recent `FeedAlive`.
        """
        if isinstance(fact, FeedAlive) and self._now.mono - fact.heard_at > FEED_SILENCE_NS:
            return
        if isinstance(fact, FeedAlive | FeedLost):
            self._is_silent = False
            is_out = isinstance(fact, FeedLost) and fact.channel != "balances"  # it says so itself, with its reason
            if self._gate.feed_reason == FEED_SILENT and not is_out:
                self._regain()

    def _note_tier(self, max_rate_count: int, now: MonoNs) -> None:
        tier = tier_of(max_rate_count)
        if tier != self._rates.tier:
            log.info("account's tier", name=tier.name, open_orders_max=tier.open_orders_max)
        self._rates.set_tier(tier, now)
        self._on_tier(tier.name)
        self._risk.open_orders_cap = tier.open_orders_max

    def is_complete_until(self, at: MonoNs) -> bool:
        """True if everything that Kraken had sent before `at` was received: it answered a
        ping that was sent later. A frame that arrived later may have been sent earlier.
        """
        return self._complete_until >= at

    def sent_at(self, key: str) -> MonoNs | None:
        """When an open order was sent; None when that was in an earlier life of the router."""
        return self._records.sent_at(key)

    def note_acknowledged(self, key: str) -> None:
        """Note an acknowledgement that came before any execution report of its order.

        If a snapshot came since the order was sent, the order may have ended before it, and
        then no report ever comes; so its state is asked for.
        """
        order, since = self._blotter.open.get(key), self.unbroken_since
        if order is not None and since is not None and since >= (self.sent_at(key) or 0):
            self._resolver.settle(key, MonoNs(since + LAG_NS))

    # --- what REST found out

    def stand_in(self) -> None:
        """Let REST stand in for the executions until they return: open orders are looked up
        before their pairs are traded on.
        """
        self._gate.rest_stands_in = True
        self._stood_in_at = self._now.mono
        self._look_after([order.key for order in self._blotter.open.values() if order.order_id])

    @property
    def listed_since(self) -> MonoNs | None:
        """The moment from which it is known which open orders must be looked up: the last
        snapshot, or when REST began to stand in for it.
        """
        if self.unbroken_since is None and self._gate.rest_stands_in:
            return self._stood_in_at
        return self.unbroken_since

    def take_balances(self, rows: Sequence[AssetBalance]) -> None:
        """Apply all balances of a REST reply, unless the balances channel is live."""
        if self._has_balances or self._assets is not None:
            return
        self._assets = []
        for fact in _balance_facts(rows):
            self._assets.append(fact.asset)
            if self._records.balances.apply(fact):
                self._records.balance_changed(fact.asset)
        self._end_balances()
        self._records.balances.doubt()  # what is booked from now on is told by nobody

    def adopt(self, rows: Sequence[ExecutionFact]) -> None:
        """Take orders that REST listed and that are unknown here, or presumed absent.

        REST may lag, and reports of these orders that came earlier were dropped. So their
        state is looked up, both now and after REST's longest lag.
        """
        for fact in rows:
            order = self._blotter.order_of(fact)
            if order is None or order.state is OrderState.REJECTED:
                self._take_execution(fact)
                if (order := self._blotter.order_of(fact)) is not None:
                    self._resolver.settle(order.key)

    def compare_open(self, rows: Sequence[ExecutionFact], asked_at: MonoNs) -> None:
        """Compare all open orders, as REST listed them, with the executions; look up the
        state of each order that differs.

        `asked_at` is when the list was requested.
        """
        self.adopt(rows)
        listed = {row.order_id: row for row in rows}
        for order in list(self._blotter.open.values()):
            if order.order_id and self._is_told_otherwise(order, listed.get(order.order_id), asked_at):
                self._resolver.settle(order.key)

    def _is_told_otherwise(self, order: TrackedOrder, row: ExecutionFact | None, asked_at: MonoNs) -> bool:
        """True if a list of open orders, requested at `asked_at`, differs from what is
        known of an order, and not because the list is older.
        """
        if row is None:
            return (self.sent_at(order.key) or 0) < asked_at - LAG_NS
        if (row.cum_qty or 0) > order.filled_in_all:
            return True
        is_other = self._blotter.differs_in_terms(order, row.order_qty, row.limit_price)
        return is_other and self._is_newer(order.key, asked_at)

    def accounted_for(self, keys: Sequence[str]) -> None:
        """Remove orders from the list of those that the last snapshot did not have: REST
        has reported their state.
        """
        known = [key for key in keys if key in self._unaccounted]
        for key in known:
            del self._unaccounted[key]
        if known:
            self._note_accounted()

    def _note_accounted(self) -> None:
        """Open the gate for the pairs whose open orders are all accounted for; the others
        stay closed.
        """
        before, self._gate.uncertain = self._gate.uncertain, frozenset(self._unaccounted.values())
        if not self._unaccounted and self.out_since is None:
            self.counts["snapshots_reconciled"] += 1
        for order in self._blotter.open.values():
            if order.symbol in self._gate.uncertain or (before and order.symbol not in before):
                continue  # not yet, or done before
            if order.pending == "amend":
                self._resolver.settle(order.key)
            self._cancels.retry(order.key)

    def found(self, lookup: OrderLookup, fills: list[ExecutionFact]) -> None:
        """Apply an order's state and its missing fills, as REST reported them."""
        at = self._now.wall
        order = self._blotter.order_of(lookup)
        if order is None:
            return
        was_unknown, was_canceling = order.state is OrderState.UNKNOWN, order.pending == "cancel"
        was_amending = order.pending == "amend"
        if not order.order_id:
            self._records.commit(self._blotter.on_acknowledged(order.key, lookup.order_id, at))
        for fill in fills:
            self._records.commit(self._blotter.on_execution(fill, self._boards.pair, at))
        self._records.commit(self._blotter.on_lookup(lookup, at, is_newer=self._is_newer(order.key)))
        if was_unknown:
            self._note_resolved(order.key)
        if order.is_open and was_amending and order.pending == "amend":
            self._take_unseen(order, lookup)
        # REST lags: an order that it shows open may have been canceled. So that says
        # nothing of a cancel that was sent, which has a pause of its own.
        if was_unknown or not was_canceling:
            self._cancels.retry(order.key)

    def _is_newer(self, key: str, asked_at: MonoNs | None = None) -> bool:
        """True if REST, which was asked at `asked_at` (None: just now), cannot but know an
        order's terms as they are known here.
        """
        asked_at = MonoNs(self._now.mono - ANSWERED_NS_MAX) if asked_at is None else asked_at
        return asked_at - self._lag_ns_max >= self._records.terms_known_since(key)

    def _take_unseen(self, order: TrackedOrder, lookup: OrderLookup) -> None:
        """Decide about an amend that a lookup does not show. Kraken may apply it until its
        deadline, and REST lags.

        So the executions decide: if all of them until after the deadline were received and
        none shows it, it did not happen.
        """
        now, over_at = self._now.mono, MonoNs(self._kraken.reached_at(order.amend_deadline) + DEADLINE_MARGIN_NS)
        is_told = self.unbroken_since is not None and self.is_complete_until(over_at)
        if now < over_at or (not is_told and now < over_at + PONG_PATIENCE_NS):
            self._resolver.settle(order.key, MonoNs(max(over_at, now + LAG_NS)))
            return
        is_certain = is_told and self._blotter.would_show_amend(order, lookup)
        why = NOT_RECEIVED if is_certain else UNSEEN
        self._records.commit(
            self._blotter.on_request_refused(order.key, "amend", why, self._now.wall, is_certain=is_certain)
        )

    def absent(self, key: str) -> None:
        """End an order that was not found after its deadline: Kraken never received it."""
        reason = "it never reached Kraken: after its deadline it is neither open nor in what was told of the account"
        self._records.commit(self._blotter.on_absent(key, reason, self._now.wall))
        self._note_resolved(key)

    def _note_resolved(self, key: str) -> None:
        order = self._blotter.get(key)
        if order is not None and order.state is not OrderState.UNKNOWN:
            self.counts["resolved"] += 1
            log.info("order resolved", id=key, state=str(order.state), filled=f"{order.filled_qty:f}")


def _balance_facts(rows: Sequence[AssetBalance]) -> list[BalanceFact]:
    """The balance of each asset in the spot wallet, and in those that earn."""
    spot: dict[str, Decimal] = {}
    earning: dict[str, Decimal] = {}
    for row in rows:
        asset, _, _ = row.asset.rpartition(".") if row.asset.endswith(EARNING_SUFFIXES) else (row.asset, "", "")
        wallets = spot if asset == row.asset else earning
        wallets[asset] = add(wallets.get(asset, Decimal(0)), row.balance)
    return [
        BalanceFact(
            asset=asset, balance=spot.get(asset, Decimal(0)), earning=earning.get(asset, Decimal(0)), is_snapshot=True
        )
        for asset in {**spot, **earning}
    ]
