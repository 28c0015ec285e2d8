"""Watches one run by the memory that its processes write anyway: at each look what has
happened since the one before.

    status board of the order router ─► halt · resume · degraded · trading · strategy_hang
    report ring of each strategy     ─► fill · rejected · refused
    counters of feeds and router     ─► connection
    counters of the supervisor       ─► restart
    counters of the strategies' host ─► strategy_error · strategy_halt
    warning ring of each process     ─► error

Nothing is asked of anybody. What began and ended between two looks is told where it is
counted or kept in a ring; of the status the newest is told.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from engine.attach.engine import AttachedEngine
from engine.notices.notice import Notice, notice
from engine.orders.life import OrderState
from engine.orders.rings.framing import RingRecords
from engine.orders.rings.reports import REPORTS, Fill, OrderReport, Report
from engine.processes.status_board import STOPPING
from engine.ring import OLDEST, Subscriber
from engine.telemetry import Counters
from engine.telemetry.notice_events import NoticeEvent
from engine.telemetry.warning_ring import WARNINGS_KEPT, Warned, read_warning
from engine.topology import ORDER_ROUTER, PRIVATE_FEED
from engine.units import NS_PER_S, MonoNs, WallNs, units_decimal

Told = tuple[NoticeEvent, str]

LOOKS_UNTIL_TOLD: Final = 2  # the supervisor notes an end within one
RECORDS_AT_ONCE: Final = 512  # of a ring, copied in one pass
RECORDS_A_LOOK_MAX: Final = 16_384  # of a ring; the rest is read at the next look
TOLD_ONCE_MAX: Final = 40_000  # fills and orders that are not told again; the router repeats 10,000 fills a strategy
# Lines of level error that other events tell better.
TOLD_BY_OTHERS: Final = (
    "actor died", "actor gives no sign of life", "callback raised", "strategy ended", "strategy halted",
    "strategy hangs", "trading halted",
)  # fmt: skip
# States of orders that were not accepted: the event, and who refused.
NOS: Final[dict[OrderState, Told]] = {
    OrderState.REJECTED: ("rejected", "Kraken rejected"),
    OrderState.REFUSED: ("refused", "the order router refused"),
}
CONSEQUENCES: Final = {
    PRIVATE_FEED: "orders are taken again when the account's snapshot has come",
    ORDER_ROUTER: "it goes on from its journal",
}
BOOKS_ARE_STALE: Final = "its books are stale until they verify again"


class RunWatch:
    """Looks at one attached engine."""

    def __init__(self, engine: AttachedEngine, *, from_the_beginning: bool) -> None:
        """`from_the_beginning`: report what the rings already hold, too; otherwise only
        what comes later.
        """
        self._engine = engine
        view, supervisor = engine.view, engine.view.supervisor
        assert supervisor is not None
        first = OLDEST if from_the_beginning else None
        self._orders = OrderWatch({name: Subscriber(ring, first) for name, ring in view.reports.items()})
        self._warnings = {name: Subscriber(ring, first) for name, ring in supervisor.warning_rings.items()}
        connected = {shard.shard.actor_name: shard.counters for shard in view.shards}
        if view.trading is not None:
            connected |= {PRIVATE_FEED: view.trading.private_feed, ORDER_ROUTER: view.trading.counters}
        self._connections = [
            ConnectionWatch(name, counters, supervisor.counters, from_the_beginning=from_the_beginning)
            for name, counters in connected.items()
        ]

        def counted(counters: Counters, names: Iterable[str], what: str) -> CountWatch:
            return CountWatch(
                counters, {name: f"{name} {what}" for name in names}, from_the_beginning=from_the_beginning
            )

        names = [strategy.name for strategy in view.strategies]
        self._restarts = counted(supervisor.counters, engine.identity.children, "restarts")
        self._errors = counted(view.host, names, "errors")
        self._halts = counted(view.host, names, "halted")
        self._status = StatusWatch(from_the_beginning=from_the_beginning)

    @property
    def reports_missed(self) -> int:
        """Reports of orders that were overwritten before they were read."""
        return self._orders.missed

    def look(self, now: MonoNs, wall: WallNs) -> list[Notice]:
        """What has happened since the last look, in no particular order."""
        told = [notice(event, wall, text) for event, text in self._changes(now)]
        return [*told, *self._orders.look(wall), *self._errors_logged()]

    def _changes(self, now: MonoNs) -> Iterator[Told]:
        view = self._engine.view
        for child, count, times in self._restarts.look():
            what = CONSEQUENCES.get(child, BOOKS_ARE_STALE)
            yield "restart", f"{child} died and was started again (restart {count}{_times(times)}); {what}"
        for connection in self._connections:
            yield from connection.look(now)
        for name, count, times in self._errors.look():
            what = "a callback" if times == 1 else f"{times} callbacks"
            yield "strategy_error", f"{what} of strategy {name} raised ({count} in all); the log has the traceback"
        for name, _, _ in self._halts.look():
            yield "strategy_halt", f"strategy {name} was halted: too many of its callbacks raised; a new run starts it"
        if view.trading is not None:
            yield from self._status.look(view.trading.status())

    def _errors_logged(self) -> Iterator[Notice]:
        for process, reader in self._warnings.items():
            for record in reader.poll_many(WARNINGS_KEPT):
                warned = read_warning(record)
                if _is_error(warned):
                    yield notice("error", warned.at, f"{process}: {warned.text}")


def _is_error(warned: Warned) -> bool:
    return warned.level == "error" and not warned.text.startswith(TOLD_BY_OTHERS)


def _times(times: int) -> str:
    return f", {times} since the last look" if times > 1 else ""


class CountWatch:
    """Counters that only grow, each of something that has a name."""

    def __init__(self, counters: Counters, names: Mapping[str, str], *, from_the_beginning: bool) -> None:
        """`names`: of each name its counter; see RunWatch for the last."""
        self._counters = counters
        self._names = dict(names)
        self._seen = {name: 0 if from_the_beginning else counters.get(each) for name, each in names.items()}

    def look(self) -> Iterator[tuple[str, int, int]]:
        """Name, count and growth of those that have grown since the last look."""
        for name, counter in self._names.items():
            count, seen = self._counters.get(counter), self._seen[name]
            if count > seen:
                self._seen[name] = count
                yield name, count, count - seen


class ConnectionWatch:
    """The connection of one process to Kraken.

    A loss is told two looks later, if the process still runs then: one that ends loses its
    connection, too, and that is told by `restart` or `stop`.
    """

    def __init__(self, name: str, counters: Counters, supervisor: Counters, *, from_the_beginning: bool) -> None:
        self._name = name
        self._counters = counters
        self._supervisor = supervisor
        # Numbers of losses seen, and reported.
        self._seen = self._told = 0 if from_the_beginning else counters.get("disconnects")
        # When the last loss was seen, and the number of looks until it is reported.
        self._lost_at = MonoNs(0)
        self._looks_left = 0
        # True between the report of a loss and that of its end.
        self._is_lost = False

    def look(self, now: MonoNs) -> Iterator[Told]:
        """A loss, and the end of one."""
        losses = self._counters.get("disconnects")
        if losses > self._seen and self._seen == self._told:
            self._lost_at, self._looks_left = now, LOOKS_UNTIL_TOLD
        self._seen = losses
        if losses > self._told:
            if self._looks_left > 0:
                self._looks_left -= 1
                return
            count, self._told = losses - self._told, losses
            if self._supervisor.get(f"{self._name} pid"):
                self._is_lost = True
                often = "" if count == 1 else f" {count} times"
                yield "connection", f"{self._name} lost its connection to Kraken{often}, and connects again"
        if self._is_lost and self._counters.get("connected"):
            self._is_lost = False
            took_s = (now - self._lost_at) / NS_PER_S
            yield "connection", f"{self._name} is connected to Kraken again, within {took_s:.1f} s"


class StatusWatch:
    """Watches the order router's status."""

    def __init__(self, *, from_the_beginning: bool) -> None:
        """`from_the_beginning`: that orders are taken at the first look already is news."""
        self._tells_first = from_the_beginning
        # At the last look; None before the router has spoken.
        self._mode: str | None = None
        self._is_open = False
        self._hanging: dict[str, str] = {}

    def look(self, status: Mapping[str, Any]) -> Iterator[Told]:
        """Changes of mode, of whether orders are taken, and of strategies that hang."""
        if not status:
            return
        mode, is_open, reason = status["mode"], bool(status.get("is_open")), status.get("reason", "")
        before, self._mode = self._mode, mode
        was_open, self._is_open = self._is_open, is_open
        yield from self._modes(before, mode, reason)
        # A halt says it all, and so does the end of a run; before the first opening it is
        # about to begin.
        if reason == STOPPING:
            return
        if before is None and not self._tells_first:
            was_open = is_open
        if mode != "HALTED" and before != "HALTED" and is_open != was_open:
            if is_open:
                yield "trading", "orders are taken"
            else:
                yield "trading", f"no order is taken but cancels: {reason}"
        yield from self._hangs(status.get("hanging", {}))

    def _modes(self, before: str | None, mode: str, reason: str) -> Iterator[Told]:
        if mode == before:
            return
        why = reason or "no reason was told"
        if mode == "HALTED":
            yield (
                "halt",
                (
                    f"trading is halted: {why}; no order is taken but cancels, until `engine resume`; open orders are "
                    "canceled, stops of brackets stay"
                ),
            )
        elif mode == "REDUCING":
            yield "halt", f"only orders that make a position smaller are taken: {why}; until `engine resume`"
        elif before in ("HALTED", "REDUCING"):
            yield "resume", "trading was resumed" + (f"; {reason}" if reason else "")
        if mode == "DEGRADED":
            yield "degraded", f"trading goes on by REST, within [trading.degraded]: {why}"
        elif before == "DEGRADED" and mode == "ACTIVE":
            yield "degraded", "trading by REST has ended" + (f": {reason}" if reason else "")

    def _hangs(self, hanging: Mapping[str, str]) -> Iterator[Told]:
        seen, self._hanging = self._hanging, dict(hanging)
        for name in hanging.keys() - seen.keys():
            yield "strategy_hang", f"strategy {name}: {hanging[name]}; its orders are refused until it returns"
        for name in seen.keys() - hanging.keys():
            yield "strategy_hang", f"strategy {name} has returned, and trades again"


class OrderWatch:
    """Fills, and orders that Kraken or the router said no to, from the report rings."""

    def __init__(self, readers: Mapping[str, Subscriber]) -> None:
        """`readers`: of the report ring of each strategy."""
        self._readers = dict(readers)
        self._records = {name: RingRecords(REPORTS, name) for name in readers}
        # A report may be sent again: by a router that starts again, or after a gap.
        # Refusals apart: a strategy may be refused any number of orders.
        self._told, self._told_refused = _Remembered(), _Remembered()

    @property
    def missed(self) -> int:
        """Reports that were overwritten before they were read."""
        return sum(reader.gap_count for reader in self._readers.values())

    def look(self, now: WallNs) -> Iterator[Notice]:
        """What is new in the rings."""
        for name, reader in self._readers.items():
            left = RECORDS_A_LOOK_MAX
            while left > 0 and (records := reader.poll_many(RECORDS_AT_ONCE)):
                left -= len(records)
                for report in self._records[name].read_all(records):
                    yield from self._of(name, report, now)

    def _of(self, strategy: str, report: Report, now: WallNs) -> Iterator[Notice]:
        if isinstance(report, Fill):
            if self._told.add(report.exec_id):
                yield notice("fill", report.kraken_time or now, fill_text(strategy, report))
        elif isinstance(report, OrderReport) and report.symbol and report.state in NOS:
            told = self._told_refused if report.state is OrderState.REFUSED else self._told
            if told.add(report.key):
                event, who = NOS[report.state]
                yield notice(event, report.changed_at or now, f"{who} {order_text(strategy, report)}")


class _Remembered:
    """The last TOLD_ONCE_MAX keys."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def add(self, key: str) -> bool:
        """Remember a key; False of one that is remembered already."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > TOLD_ONCE_MAX:
            self._keys.popitem(last=False)
        return True


def fill_text(strategy: str, fill: Fill) -> str:
    """`bought 0.01 BTC/USD at 65000.1, maker, fee 0.26 USD; strategy Quoter, order …`."""
    done = "bought" if fill.side == "buy" else "sold"
    fees = " and ".join(f"{amount:f} {asset}" for asset, amount in fill.fees.items())
    liquidity = f", {fill.liquidity}" if fill.liquidity else ""
    return (
        f"{done} {fill.qty:f} {fill.symbol} at {fill.price:f}{liquidity}{f', fee {fees}' if fees else ''}; "
        f"strategy {strategy}, order {fill.key}"
    )


def order_text(strategy: str, report: OrderReport) -> str:
    """`buy 0.01 BTC/USD limit at 65000.1: reason; strategy Quoter, order …`."""
    ticks = report.limit_price_ticks
    at = "" if ticks is None else f" at {units_decimal(ticks, report.price_decimals):f}"
    qty = units_decimal(report.qty_lots, report.qty_decimals)
    what = f"{report.side} {qty:f} {report.symbol} {report.order_type}{at}"
    return f"{what}: {report.reason or 'no reason was told'}; strategy {strategy}, order {report.key}"
