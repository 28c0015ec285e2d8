"""The order router between its strategy and an exchange, in virtual time, on links of which a test says what they do.

    strategy ─► command ring ─► router ─► trading link ─► exchange          each way takes LATENCY_NS
        ▲                        │  └──► REST link ─────►   │
        └── report ring ◄────────┘ ◄──── feed link ◄────────┘               facts, whole or with a snapshot after a cut

After every step the blotter is the fold of the journal, keeps its invariants, and holds no order for over without the
exchange's evidence; and no intent ever has a second order. `World.step_to_die` ends the router's process between two
steps; the next one begins with the journal and the rings as they stand.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

import msgspec

from engine.kraken_rest.call_queue import RestCall
from engine.order_router.core.report_outbox import order_report
from engine.order_router.core.settings import CoreSettings
from engine.orders.blotter import Blotter, fold
from engine.orders.journal_records import Filled, RequestRefused, decode_record
from engine.orders.life import OrderState
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMANDS, Command
from engine.orders.venue_facts import (
    AccountFact,
    BalanceFact,
    ExecutionFact,
    FeedAlive,
    FeedLost,
    SnapshotBegan,
    SnapshotEnded,
)
from engine.private_feed.feed import SIGN_NS
from engine.ring import Publisher
from engine.strategy.orders import Fill, TradingStatus
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_MS, NS_PER_S, MonoNs
from tests.order_router.exchange import Exchange
from tests.order_router.rig import SETTINGS, STRATEGY, TICK_NS, RouterRig, asset_pairs_body, ring
from tests.orders.rig import PAIRS

LATENCY_NS: Final = 30 * NS_PER_MS
HEARTBEAT_NS: Final = NS_PER_S
QUIET_TICK_NS: Final = 250 * NS_PER_MS
RESTART_NS: Final = 200 * NS_PER_MS  # of a router that died
ENDS: Final = {OrderState.FILLED: "closed", OrderState.CANCELED: "canceled", OrderState.EXPIRED: "expired"}


class Died(BaseException):
    """The router's process ends here."""


class Way:
    """What the network does to the next requests of some names; each way takes LATENCY_NS as a rule."""

    def __init__(self, names: Sequence[str], *, there_ns: int | None = LATENCY_NS, back_ns: int | None = LATENCY_NS):
        """None: it never arrives."""
        self.names = names
        self.there_ns, self.back_ns = there_ns, back_ns
        self.struck = 0
        self.strikes_left = 1

    def takes(self, name: str) -> bool:
        """Is it this one's request?"""
        if name not in self.names or not self.strikes_left:
            return False
        self.strikes_left -= 1
        self.struck += 1
        return True


USUAL: Final = Way(())


class World:
    """One strategy, one router after the other, one exchange."""

    def __init__(
        self,
        settings: CoreSettings = SETTINGS,
        *,
        follows_amends: bool = True,
        is_private_reachable: bool = True,
        tick_ns: int = TICK_NS,
    ) -> None:
        """`follows_amends`: no order is amended twice, so the journal's word on an amend can be judged.

        Without `is_private_reachable` neither private WebSocket is there from the start. `tick_ns` is how finely time
        passes.
        """
        self._tick_ns = tick_ns
        # Which row of ticks is the present one.
        self._ticking = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        # The n-th step from now at which the router dies, and that of the next one's life; 0 and less: none. Steps so
        # far, by name.
        self.step_to_die = self.step_to_die_again = 0
        self.steps: list[str] = []
        self.way = USUAL
        self.rig = RouterRig(settings=settings, on_step=self._step)
        self.clock = self.rig.clock
        self.exchange = Exchange(self.rig.now, self._on_fact)
        self.has_feed = self.has_trading = False
        # Do the trading connection and the private feed's come up when a router begins?
        self.is_trading_reachable = self.is_feed_reachable = is_private_reachable
        self.has_rest = True
        # Which messages of the executions are lost, and no gap shows it.
        self.loses: Callable[[ExecutionFact], bool] = lambda fact: False
        self._heard_at = 0
        self._feed_epoch = self._trading_epoch = 0
        self._rest_under_way: dict[int, RestCall] = {}
        self.is_dead = False
        self.deaths = 0
        self.begun_at = 0
        self._folded, self._folded_count = Blotter(), 0
        self._fills_written: set[str] = set()
        self._follows_amends = follows_amends
        # Orders of which the journal says that their amend certainly did not happen, and why.
        self._amends_refused: dict[str, str] = {}
        self.intents: set[str] = set()
        self.fills_told: list[str] = []
        # Trading statuses, as the strategy was told them.
        self.statuses: list[TradingStatus] = []
        ports = OrderPorts(
            Publisher(ring(COMMAND_RECORD_BYTES)), self.rig.readers[STRATEGY], self.rig.balance_reader, STRATEGY, 1
        )
        self.strategy = OrderClient(STRATEGY, ports, dict(PAIRS), self.clock)
        self.rig.core.begin()
        self._tick_from_now()
        self.at(0, self._beat)
        self.at(0, self._sign)
        if not is_private_reachable:
            return
        self.connect_trading()
        self.connect_feed()
        self.rest(NS_PER_S)
        assert self.rig.core.gate.report.is_open
        assert self.rig.session.is_ready

    # --- time

    def at(self, after_ns: int, do: Callable[[], None]) -> None:
        """Have something happen so much later."""
        heapq.heappush(self._events, (self.clock.mono_ns() + after_ns, next(self._numbers), do))

    def run(self, duration_ns: int) -> None:
        """Let time pass."""
        end = self.clock.mono_ns() + duration_ns
        while self._events and self._events[0][0] <= end:
            at, _, do = heapq.heappop(self._events)
            self.clock.advance(at - self.clock.mono_ns())
            do()
        self.clock.advance(end - self.clock.mono_ns())

    def rest(self, duration_ns: int) -> None:
        """Let time pass before a deed, or when nothing should happen any more: coarser, because nobody minds when."""
        usual, self._tick_ns = self._tick_ns, QUIET_TICK_NS
        self.run(duration_ns)
        self._tick_ns = usual
        self._tick_from_now()

    def run_until(self, is_so: Callable[[], bool], within_ns: int, what: str, patience_ns: int = 0) -> None:
        """Let time pass until it is so: within so long of what it waits for.

        Which is over after `patience_ns`, or when the last router has begun.
        """
        started_at = self.clock.mono_ns()
        while not is_so():
            waited_ns = self.clock.mono_ns() - max(started_at + patience_ns, self.begun_at)
            assert self.is_dead or waited_ns <= within_ns, (
                f"not within {within_ns / NS_PER_S:g} s: {what}; {self.story()}"
            )
            self.run(self._events[0][0] - self.clock.mono_ns())

    def _tick_from_now(self) -> None:
        self._ticking += 1
        self.at(0, lambda ticking=self._ticking: self._tick(ticking))  # type: ignore[misc]

    def _tick(self, ticking: int) -> None:
        if ticking != self._ticking:
            return  # another row of ticks has begun
        self.at(self._tick_ns, lambda: self._tick(ticking))
        if self.is_dead:
            return
        self.do(lambda: self.rig.router.on_trading_events(self.rig.session.poll(self.clock.mono_ns())))

    # --- the router, and its death

    def do(self, what: Callable[[], Any]) -> None:
        """One input of the router, what it makes of what its rings hold, and the judge's look at it."""
        if self.is_dead:
            return
        try:
            what()
            self.rig.work()
            self.rig.core.end_burst()
        except Died:
            self._bury()
        else:
            self.rig.socket.send_due()
        self._carry()
        self._take_reports()
        self.judge()

    def _step(self, step: str) -> None:
        self.steps.append(step)
        self.step_to_die -= 1
        if self.step_to_die == 0:
            raise Died

    def _bury(self) -> None:
        """The process is gone: its connections are closed, answers of REST find nobody, and another begins."""
        self.is_dead = True
        self.deaths += 1
        self._trading_epoch += 1
        self.has_trading = False
        self._rest_under_way.clear()
        self.at(RESTART_NS, self._begin_anew)

    def _begin_anew(self) -> None:
        self.is_dead = False
        self.step_to_die, self.step_to_die_again = self.step_to_die_again, 0
        try:
            self.rig.begin_anew()
        except Died:
            self._bury()
        self.do(lambda: self.rig.core.begin())
        if self.is_dead:
            return
        self.begun_at = self.clock.mono_ns()
        if self.is_trading_reachable:
            self.connect_trading()
        self.cut_feed("the order router asks for a snapshot")
        if self.is_feed_reachable:
            self.at(4 * LATENCY_NS, self.connect_feed)

    # --- what the strategy does and is told

    def ask(self, *commands: Command) -> None:
        """Commands of the strategy."""
        for command in commands:
            assert self.rig.commands.try_publish(COMMANDS.pack(command))
        self.do(lambda: None)

    def _take_reports(self) -> None:
        while (news := self.strategy.next_news()) is not None:
            if isinstance(news, Fill):
                self.fills_told.append(news.exec_id)
            elif isinstance(news, TradingStatus):
                self.statuses.append(news)

    # --- the trading link

    def connect_trading(self) -> None:
        """The trading connection is up; the router has its token fetched."""
        self.has_trading = True
        self._trading_epoch += 1
        self.rig.session.opened(self.clock.mono_ns())

    def cut_trading(self, reason: str = "reset") -> None:
        """The trading connection is gone: what was on its way to the exchange arrives, answers do not."""
        if self.has_trading and not self.is_dead:
            self.has_trading = False
            self._trading_epoch += 1
            self.do(lambda: self.rig.router.on_trading_events(self.rig.session.closed(self.clock.mono_ns(), reason)))

    def _carry(self) -> None:
        """Take what the router has sent, by either route."""
        for request in self.rig.socket.take():
            self._send(request)
        try:  # a call whose time is up is told of when the next one is taken
            while not self.is_dead and (call := self.rig.calls.take_due()) is not None:
                self._call(call)
        except Died:
            self._bury()

    def _send(self, request: dict[str, Any]) -> None:
        way, epoch = self.way if self.way.takes(request["method"]) else USUAL, self._trading_epoch
        if way.there_ns is None:
            return

        def arrive() -> None:
            answer = self.exchange.request(request)
            if way.back_ns is not None:
                self.at(way.back_ns, lambda: come_back(answer))

        def come_back(answer: dict[str, Any]) -> None:
            if epoch == self._trading_epoch:
                self.do(lambda: self.rig.router.on_trading_events(
                    self.rig.session.receive(msgspec.json.encode(answer), self.clock.mono_ns())
                ))  # fmt: skip

        self.at(way.there_ns, arrive)

    # --- the REST link

    def cut_rest(self) -> None:
        """REST cannot be reached: what is under way is in doubt, and nothing else leaves."""
        self.has_rest = False
        for call in list(self._rest_under_way.values()):
            self._end_call(call, lambda call=call: self.rig.calls.failed(call, "reset", is_in_doubt=True))  # type: ignore[misc]

    def mend_rest(self) -> None:
        self.has_rest = True

    def _call(self, call: RestCall) -> None:
        request, life = call.request, self.rig.lives
        way = self.way if self.way.takes(request.name) else USUAL
        self._rest_under_way[id(call)] = call
        if not self.has_rest:
            self.at(LATENCY_NS, lambda: self._end_call(
                call, lambda: self.rig.calls.failed(call, "unreachable", is_in_doubt=False)
            ))  # fmt: skip
            return

        def time_out() -> None:
            if life == self.rig.lives:
                self._end_call(call, lambda: self.rig.calls.failed(call, "no answer in time", is_in_doubt=True))

        def arrive() -> None:
            result = self._rest_result(request.name, request.fields)
            if way.back_ns is not None:
                self.at(way.back_ns, lambda: come_back(result))

        def come_back(result: bytes) -> None:
            if life == self.rig.lives:
                self._end_call(call, lambda: self.rig.calls.answered(call, 200, result))

        self.at(int(call.left_s(self.clock.mono_ns()) * NS_PER_S), time_out)
        if way.there_ns is not None:
            self.at(way.there_ns, arrive)

    def _rest_result(self, name: str, fields: Any) -> bytes:
        if name == "AssetPairs":
            return asset_pairs_body()
        result = self.exchange.call(name, fields)
        is_error = isinstance(result, str)
        return msgspec.json.encode({"error": [result]} if is_error else {"error": [], "result": result})

    def _end_call(self, call: RestCall, end: Callable[[], None]) -> None:
        """Once: whichever comes first."""
        if self._rest_under_way.pop(id(call), None) is not None:
            self.do(lambda: (self.rig.router.look_at_clock(), end(), self.rig.router.end_answer()))

    # --- the feed link

    def connect_feed(self) -> None:
        """The private feed's connection is up: it asks for snapshots, which are as of when they are told."""
        if self.has_feed:
            return
        self.has_feed = True
        self._feed_epoch += 1
        asked_at = self.clock.mono_ns()

        def tell() -> None:
            self._heard_at = self.clock.mono_ns()
            snapshot = [
                SnapshotBegan("executions"),
                *self.exchange.snapshot(),
                SnapshotEnded("executions", None, asked_at),
                SnapshotBegan("balances"),
                BalanceFact(asset="USD", balance=self.exchange.dollars, is_snapshot=True),
                SnapshotEnded("balances"),
            ]
            self._tell(LATENCY_NS, *snapshot)

        self._in_epoch(LATENCY_NS, tell)

    def cut_feed(self, reason: str = "connection lost: reset", trouble: str = "") -> None:
        """The private feed's connection is gone, and what was on its way with it."""
        if self.has_feed:
            self.has_feed = False
            self._feed_epoch += 1
            self._publish(FeedLost(reason, trouble=trouble))

    def silence_feed(self) -> None:
        """The same, and neither end knows of it yet: a connection that is half open."""
        self.has_feed = False
        self._feed_epoch += 1

    def _on_fact(self, fact: ExecutionFact) -> None:
        if self.has_feed and not self.loses(fact):
            self._heard_at = self.clock.mono_ns()
            self._tell(LATENCY_NS, msgspec.structs.replace(fact, received_at=self.clock.mono_ns()))

    def _tell(self, after_ns: int, *facts: AccountFact) -> None:
        self._in_epoch(after_ns, lambda: self._publish(*facts))

    def _in_epoch(self, after_ns: int, do: Callable[[], None]) -> None:
        """Later, if the connection still stands by then."""
        epoch = self._feed_epoch
        self.at(after_ns, lambda: do() if epoch == self._feed_epoch else None)

    def _publish(self, *facts: AccountFact) -> None:
        for fact in facts:
            assert self.rig.account.try_publish(ACCOUNT_FACTS.pack(fact))
        self.do(lambda: None)

    def _beat(self) -> None:
        """Kraken's heartbeat."""
        self.at(HEARTBEAT_NS, self._beat)
        if self.has_feed:
            heard_at = self.clock.mono_ns()
            self._in_epoch(LATENCY_NS, lambda: self._hear(heard_at))

    def _hear(self, at: int) -> None:
        self._heard_at = max(self._heard_at, at)

    def _sign(self) -> None:
        """The private feed's process tells when Kraken was heard."""
        self.at(SIGN_NS, self._sign)
        if self.has_feed:
            # What is on its way to the ring has not been told yet.
            until = MonoNs(min(self._heard_at, self.clock.mono_ns() - LATENCY_NS))
            self._publish(FeedAlive(until, until))

    # --- the judge

    def judge(self) -> None:
        """What must be so after every step."""
        if not self.is_dead:
            self._judge_records()
        self._judge_orders()

    def _judge_records(self) -> None:
        """The blotter is the fold of its journal, and what it holds for over is so."""
        written = self.rig.memory.encoded
        if len(written) == self._folded_count:
            return
        for record in map(decode_record, written[self._folded_count :]):
            self._folded.apply(record)
            if isinstance(record, Filled):
                assert record.exec_id not in self._fills_written, f"{record.exec_id} is in the journal twice"
                self._fills_written.add(record.exec_id)
            if (
                self._follows_amends
                and type(record) is RequestRefused
                and record.is_certain
                and record.request == "amend"
            ):
                self._amends_refused[record.key] = record.reason
        self._folded_count = len(written)
        blotter = self.rig.core.blotter
        blotter.check()
        assert blotter.state_hash() == self._folded.state_hash(), "the blotter is not what its journal comes to"
        for key in self.intents:
            order = blotter.get(key)
            if order is None or order.is_open:
                continue
            made = self.exchange.of(key)
            if order.state is OrderState.REJECTED:
                assert not made, f"{key} is held to be absent ({order.reason}): {made}"
            else:
                assert [it.status for it in made] == [ENDS[order.state]], (
                    f"{key} is {order.state}, {order.reason}: {made}"
                )

    def _judge_orders(self) -> None:
        for key in self._amends_refused.keys() & self.intents:
            made, why = self.exchange.of(key), self._amends_refused[key]
            assert not made[0].amends, f"the amend of {key} was said to have failed ({why}): {made}"
        blotter = None if self.is_dead else self.rig.core.blotter
        for key, order_ids in self.exchange.made.items():  # of an intent without an order nothing can be wrong
            if key not in self.intents:
                continue
            assert len(order_ids) == 1, f"two orders for one intent: {self.exchange.of(key)}"
            if blotter is not None and (order := blotter.get(key)) is not None:
                assert order.state is not OrderState.REJECTED, (
                    f"{key} was held to be absent ({order.reason}): {self.exchange.of(key)}"
                )

    def is_settled(self, key: str) -> bool:
        """Is nothing in doubt about it, and nothing under way?"""
        if self.is_dead:
            return False
        order = self.rig.core.blotter.get(key)
        if order is None:  # our own word on an order is in no journal: it never left
            told = self.strategy.order(key)
            return told is not None and told.state is OrderState.REFUSED
        return (
            order.state not in (OrderState.SENT, OrderState.UNKNOWN)
            and not order.pending
            and not (order.is_open and order.cancel_wanted)
            and not order.fills_missing
        )

    def agree(self) -> None:
        """At rest exchange, blotter and what the strategy was told are one."""
        blotter = self.rig.core.blotter
        assert blotter.state_hash() == fold(self.rig.memory.records()).state_hash()
        for key in self.intents:
            made, order, told = self.exchange.of(key), blotter.get(key), self.strategy.order(key)
            assert told is not None, key
            if order is None:
                assert told.state is OrderState.REFUSED
                assert not made
                continue
            report, is_so = told.report, order_report(order)
            if report.reason.startswith("amend refused: "):  # our own word, which is in no journal
                is_so = msgspec.structs.replace(is_so, reason=report.reason, error=report.error)
            assert report == is_so
            if made:
                (truth,) = made
                assert (order.order_id, order.order_qty, order.filled_qty) == (truth.order_id, truth.qty, truth.filled)
                assert order.limit == truth.price
                assert order.is_open is truth.is_open
        assert sorted(self.fills_told) == sorted(self.exchange.trades)
        position = self.strategy.positions.get("BTC/USD")
        filled = sum(trade.qty for trade in self.exchange.trades.values())
        assert (position.qty if position is not None else 0) == filled
        assert blotter.positions.total_qty("BTC/USD") == filled

    def story(self) -> str:
        """Where all stand, for who reads a failure."""
        blotter = self.rig.core.blotter
        orders = {key: blotter.get(key) for key in sorted(self.intents)}
        told = {
            key: order
            and f"{order.state} pending={order.pending!r} wanted={order.cancel_wanted} "
            f"missing={order.fills_missing} {order.reason}"
            for key, order in orders.items()
        }
        return f"blotter {told}, exchange {self.exchange.orders}, feed {self.rig.core.gate.report.reason!r}"
