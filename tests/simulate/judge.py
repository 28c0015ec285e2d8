"""What may never be, of orders: compared with what the venue really did, at the moment at which it is said.

The venue's ledger knows nothing of answers, streams or faults; it is watched here as it is written.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.ledger_check import Ledger, Told, base_fee_slack, compare, read_state
from engine.order_router.core.order_core import OrderCore
from engine.orders.blotter import Blotter
from engine.orders.journal import SUFFIX, read_journal
from engine.orders.journal_format import HEAD_BYTES, HEADER_BYTES, pack_header, scan
from engine.orders.journal_records import PositionBegan, decode_record
from engine.orders.life import OrderState
from engine.orders.rings.reports import OrderReport, Position, Report, TradingStatus
from engine.strategy.orders import Order
from engine.strategy_host.hosted_strategy import HostedStrategy
from engine.units import NS_PER_S, MonoNs
from engine.venue.setup.keys import FUNDED_ACCOUNT
from engine.venue.trading.client_order import ClientOrder, Execution
from engine.venue.trading.order_places import DEAD_MAN_REASON
from tests.simulate.disk import SimDisk
from tests.simulate.kernel import Kernel
from tests.simulate.network import Weather
from tests.simulate.orders import TRADING_ROUTE, SimRouter
from tests.simulate.venue import SimVenue

CHECK_EVERY: Final = 50  # writes of the journal, or half as many as there are orders to compare if those are more
TURNS_MAX: Final = 500  # of the router between two comparisons, if it writes nothing
RECOVERED_S: Final = 8.0  # after the last fault every connection stands, and the switch has been refreshed
STARVED_EVERY: Final = 16
STARVED_NS: Final = 3 * NS_PER_S
CANCEL_COST_MAX: Final = 8  # of a young order
TOLD_WORDS: Final = "strategies were told"  # how the sentences about callbacks begin


class Judge:
    """Watches the venue's ledger, and is told what strategies are told."""

    def __init__(
        self, kernel: Kernel, venue: SimVenue, disk: SimDisk, weather: Weather, *, is_faultless: bool = False
    ) -> None:
        """`is_faultless`: nothing goes wrong on this day, so no order may be in doubt, or rejected by the venue."""
        self._is_faultless = is_faultless
        self._kernel, self._venue, self._disk, self._weather = kernel, venue, disk, weather
        assert venue.trading_side is not None
        self.ledger = ledger = venue.trading_side.trading.ledger
        self._accept, self._change, self._fill = ledger.accepted, ledger.changed, ledger.filled
        ledger.accepted = self._accepted  # type: ignore[method-assign]
        ledger.changed = self._changed  # type: ignore[method-assign]
        ledger.filled = self._filled  # type: ignore[method-assign]
        # By the name that the engine gave it: cl_ord_id, or a userref where an order cannot carry one.
        self._orders: dict[str | int, ClientOrder] = {}
        self._by_order_id: dict[str, ClientOrder] = {}
        # By the id of the order that they close, those that the venue itself refers to it.
        self._referring: dict[str, list[ClientOrder]] = {}
        self._never: set[str] = set()  # ids of which strategies were told that there is no such order
        self.accepted_count = self.fill_count = 0
        # The router works for no engine any more: it cancels what it can, and the switch ends the rest.
        self._is_shut = False
        # Since when nothing goes wrong any more; None while it may.
        self.quiet_since: int | None = None
        # Turns of the router, and how many turns and writes there had been at the last comparison.
        self._turns = self._turns_checked = self._writes_checked = 0
        self._opened_checked = 0  # files of the disk at the last comparison
        # How many orders had been accepted when exits were looked at last, and of each order that the router has sent
        # as an exit the name of that which it closes; and the entries of all brackets.
        self._exits_judged_at = 0
        self._entries: set[str] = set()
        self._closes: dict[str, str | int] = {}
        self._journal = JournalFold(disk.folder)
        # Cancels that wait though they need not, and since when.
        self._starved: dict[str, int] = {}
        self._nonce = 0

    # --- the ledger

    def _accepted(self, order: ClientOrder) -> None:
        self._accept(order)
        self.accepted_count += 1
        self._by_order_id[order.order_id] = order
        if order.ref_order_id:
            self._referring.setdefault(order.ref_order_id, []).append(order)
        name = self._name_of(order)
        self._kernel.note("accepted", f"{order.order_id} {name} {order.symbol}")
        if name is None:
            return
        if (before := self._orders.get(name)) is not None:
            self._kernel.accuse("no two orders for one intent", f"{name}: {before.order_id}, and {order.order_id}")
        if name in self._never:
            self._kernel.accuse("no end without evidence", f"{name} was told to be rejected, and is accepted now")
        self._orders[name] = order

    def _name_of(self, order: ClientOrder) -> str | int | None:
        if order.cl_ord_id is not None:
            return order.cl_ord_id
        # A closing order has the userref of the order that it closes, and no closing order of its own.
        return order.order_userref if order.spec.conditional is not None else None

    def _changed(self, order: ClientOrder) -> None:
        self._change(order)
        if not order.is_open:
            self._kernel.note("ended", f"{order.order_id} {order.status} {order.reason}")
            if order.reason == DEAD_MAN_REASON and self.quiet_since is not None:
                quiet_s = (self._kernel.now - self.quiet_since) / NS_PER_S
                # A wire that takes requests and carries none is cut when a ping is not answered in time.
                is_deaf = any(wire.swallows_there for wire in self._weather.open_wires(TRADING_ROUTE))
                if quiet_s > RECOVERED_S and not is_deaf and not self._is_shut:
                    self._kernel.accuse(
                        "the dead man's switch strikes the dead alone",
                        f"{order.order_id} ended by it though nothing has gone wrong for {quiet_s:.0f} s",
                    )

    def _filled(self, order: ClientOrder, execution: Execution) -> None:
        self._fill(order, execution)
        self.fill_count += 1
        self._kernel.note("filled", f"{order.order_id} {execution.exec_id}")

    # --- what strategies are told

    def told(self, strategy: str, order: Order) -> None:
        """An order's state, as on_order has it."""
        state = order.state
        if self._is_faultless and state in (OrderState.UNKNOWN, OrderState.REJECTED):
            self._kernel.accuse(
                "without faults no order is in doubt", f"{strategy} {order.id}: {state.name}, {order.reason}"
            )
        if not state.is_terminal or state is OrderState.REFUSED:
            return
        there = self._by_order_id.get(order.order_id) or self._orders.get(order.id)
        if state is OrderState.REJECTED:
            if there is not None:
                self._accuse(strategy, order, f"the venue accepted it as {there.order_id}, {there.status}")
            self._never.add(order.id)
        elif there is None:
            self._accuse(strategy, order, "the venue never had it")
        elif there.is_open or there.status != state.name.lower():
            self._accuse(strategy, order, f"it is {there.status} at the venue")

    def _accuse(self, strategy: str, order: Order, found: str) -> None:
        self._kernel.accuse("no end without evidence", f"{strategy}: {order.id} {order.order_id} {order.state.name}, "
                            f"and {found}")  # fmt: skip

    # --- the router

    def after_turn(self, router: SimRouter) -> None:
        """Every so often, and with each new segment: the blotter is sound, and it is what the
        journal's bytes come to.
        """
        self._turns += 1
        if router.core is not None and router.process.is_alive and self._exits_judged_at != self.accepted_count:
            self._exits_judged_at = self.accepted_count
            self._look_at_exits(router.core.blotter)
        self._is_shut = router.core is not None and bool(router.core.gate.shut_reason)
        if self._turns % STARVED_EVERY == 0:
            self._look_for_starved(router)
        if router.core is not None and self._is_check_due(router.core.blotter):
            self._turns_checked, self._writes_checked = self._turns, self._disk.writes
            self.check_router(router)

    def _is_check_due(self, blotter: Blotter) -> bool:
        writes = self._disk.writes - self._writes_checked
        if not writes:
            return self._turns - self._turns_checked >= TURNS_MAX
        if self._disk.opened != self._opened_checked:  # a new segment begins with all that there is
            self._opened_checked = self._disk.opened
            return True
        return writes >= max(CHECK_EVERY, (len(blotter.open) + len(blotter.ended)) // 2)

    def _look_at_exits(self, blotter: Blotter) -> None:
        """Exits of brackets that have closed, and may still close, more than what opened them has filled."""
        for key in blotter.brackets:
            if (opener := blotter.get(key)) is not None and opener.userref in self._orders:
                self._entries.add(self._orders[opener.userref].order_id)
        for order in blotter.open.values():
            opener = blotter.get(order.parent) if order.parent and order.cl_ord_id else None
            if opener is not None and order.cl_ord_id is not None and opener.userref is not None:
                self._closes[order.cl_ord_id] = opener.userref
        exits = [
            (opener_id, order)
            for opener_id in self._entries
            for order in self._referring.get(opener_id, ())
            if order.cl_ord_id not in self._closes
        ]
        exits += [
            (self._orders[userref].order_id, self._orders[name])
            for name, userref in self._closes.items()
            if name in self._orders
        ]
        taken: dict[str, Decimal] = {}
        for opener_id, order in exits:
            if opener_id in self._entries:
                lots = order.qty_lots if order.is_open else order.cum_lots
                qty = Decimal(lots).scaleb(-order.pair.qty_decimals)
                taken[opener_id] = taken.get(opener_id, Decimal(0)) + qty
        for opener_id, qty in taken.items():
            there = self._by_order_id[opener_id]
            if qty > Decimal(there.cum_lots).scaleb(-there.pair.qty_decimals):
                self._kernel.accuse("exits close what was filled, once", f"{opener_id}: {qty} of {there.cum_lots} lots")

    def _look_for_starved(self, router: SimRouter) -> None:
        """A cancel that Kraken would take, and that is not sent."""
        core, side = router.core, self._venue.trading_side
        if core is None or side is None or not router.process.is_alive:
            return
        account, now = side.trading.account(FUNDED_ACCOUNT), self._kernel.now
        starved = {}
        can_send = router.connection.can_send and self._venue.system == "online"
        for key in core.cancels._due if can_send else ():
            order = core.blotter.open.get(key)
            if order is None or order.pending or core.cancels._attempts.get(key) or order.state not in _WORKING:
                continue
            # Our own count may be ahead of Kraken's: what was lost on its way was charged here.
            taken = max(
                account.counter(order.symbol).value(side.exchange.event_time()),
                float(core.rates.of(order.symbol).count(MonoNs(now))),
            )
            # And its threshold may be a smaller tier's, until Kraken has told the tier.
            if taken + CANCEL_COST_MAX > min(account.limits.threshold, core.rates.tier.threshold):
                continue
            since = starved[key] = self._starved.get(key, now)
            if now - since > STARVED_NS:
                self._kernel.accuse(
                    "cancels are never starved",
                    f"{key} waits for {(now - since) / NS_PER_S:.1f} s, and Kraken has room: {taken:.1f} of "
                    f"{account.limits.threshold}",
                )
        self._starved = starved

    def nonce(self, nonce: int) -> None:
        """A call is signed."""
        if nonce <= self._nonce and not self._disk.keys_failed:
            self._kernel.accuse("every nonce is new", f"{nonce} after {self._nonce}")
        self._nonce = max(nonce, self._nonce)

    def check_router(self, router: SimRouter) -> None:
        """Now."""
        core = router.core
        if core is None or not router.process.is_alive:
            return
        try:
            core.blotter.check()
        except AssertionError as error:
            self._kernel.accuse("the blotter is sound", str(error))
        if core.gate.journal_reason:
            return  # what the disk did not take is not in the journal yet
        folded = self._journal.now()
        if folded.state_hash() != core.blotter.state_hash():
            # A record that a failing disk took, and said that it did not, is taken back by the next router.
            self._journal = JournalFold(self._disk.folder)
            folded = self._journal.now()
        if folded.state_hash() != core.blotter.state_hash():
            self._kernel.accuse("journal fold = state", _difference(folded, core.blotter))

    # --- at rest

    def at_rest(self, router: SimRouter, hosted: Sequence[HostedStrategy], *, is_one_run: bool) -> str:
        """Why venue, journal and strategies do not agree yet; empty when they do."""
        core = router.core
        if core is None or not router.process.is_alive:
            return "there is no order router"
        if doubted := [order.key for order in core.blotter.open.values() if order.state in _IN_DOUBT]:
            return f"in doubt: {', '.join(doubted)}"
        ledger = msgspec.json.decode(self.ledger.as_json(), type=Ledger)
        told = [Told(each.order_client.fills_told, each.order_client.ends_told) for each in hosted]
        differences = compare(ledger, *read_state(self._disk.folder), told)
        if not is_one_run or self._disk.has_lost:
            # Callbacks of an engine that died, or facts that died with a broken disk, cannot be compared.
            differences = [each for each in differences if not each.startswith(TOLD_WORDS)]
        if differences:
            return "; ".join(differences[:3])
        if why := self._terms_differ(core.blotter):
            return why
        # Of a pair that only an earlier engine followed no exit can be written; a person is told. And while cancels of
        # many young orders have filled Kraken's rate counter, it takes none.
        bare = [key for key in core.brackets.unprotected if key not in core.brackets.unwritable]
        if bare := [key for key in bare if self._has_room(core.blotter.brackets[key].symbol)]:
            return f"something held has no exit: {sorted(bare)}"
        balances = core.records.balances
        held = balances.held(core.blotter.open.values())
        totals = self._funds()
        # A last message that the venue numbered and did not send shows only when another one comes.
        for asset in () if self._venue.fault_counts.get("sequence-gap") else balances.assets():
            if balances.total(asset) != totals[asset]:
                return f"the account has {totals[asset]} {asset}, the router knows of {balances.total(asset)}"
        for strategy, asset in product(hosted, balances.assets()):
            told, known = strategy.context.balance(asset), balances.wallet(asset, held)
            if told is None or (told.total, told.held, told.free) != (known.total, known.held, known.free):
                return f"{strategy.name} reads {told}, the router knows of {known}"
        begun = self._positions_begun()
        for strategy in () if self._disk.has_lost else hosted:
            if why := self._strategy_differs(strategy, core.blotter, begun) or _is_told_otherwise(strategy, core):
                return why
        return ""

    def _terms_differ(self, blotter: Blotter) -> str:
        """Price and quantity of an open order, as the venue has them and as they are known here."""
        for order in blotter.open.values():
            there = self._by_order_id.get(order.order_id)
            if there is None:
                continue
            price, qty = there.limit_ticks, Decimal(there.qty_lots).scaleb(-there.pair.qty_decimals)
            limit = None if price is None else Decimal(price).scaleb(-there.pair.price_decimals)
            if (limit, qty) != (order.limit, order.order_qty):
                return f"{order.key} is for {qty} at {limit} there, and for {order.order_qty} at {order.limit} here"
        return ""

    def _funds(self) -> Mapping[str, Decimal]:
        """What the account holds at the venue, by asset."""
        side = self._venue.trading_side
        assert side is not None
        return side.trading.account(FUNDED_ACCOUNT).balances

    def _has_room(self, symbol: str) -> bool:
        """Whether the venue's rate counter of a pair takes another order."""
        side = self._venue.trading_side
        assert side is not None
        return side.trading.account(FUNDED_ACCOUNT).counter(symbol).admits(1, side.exchange.event_time())

    def _positions_begun(self) -> dict[tuple[str, str], tuple[Decimal, set[str]]]:
        """Of each position that began with what the account held: with how much it must have begun the last time, and
        the fills before.
        """
        begun, blotter, totals = {}, Blotter(), self._funds()
        for _, record in read_journal(self._disk.folder):
            if isinstance(record, PositionBegan):
                who, asset = (record.strategy, record.symbol), record.symbol.partition("/")[0]
                before = {fill.exec_id for fill in self.ledger.fills if blotter.knows_fill(fill.exec_id)}
                later = [it for it in self.ledger.fills if it.symbol == record.symbol and it.exec_id not in before]
                total = totals[asset] - sum((Decimal(fill.base_change) for fill in later), Decimal(0))
                begun[who] = max(total - blotter.positions.claimed(asset, but=who), Decimal(0)), before
            blotter.apply(record)
        return begun

    def _strategy_differs(
        self, strategy: HostedStrategy, blotter: Blotter, begun: dict[tuple[str, str], tuple[Decimal, set[str]]]
    ) -> str:
        ours = {order.key for order in blotter.open_of(strategy.name)}
        theirs = {order.id for order in strategy.context.orders}
        if ours != theirs:
            return f"{strategy.name} has open {sorted(theirs)}, the journal {sorted(ours)}"
        nothing: tuple[Decimal, set[str]] = (Decimal(0), set())
        began = {symbol: begun.get((strategy.name, symbol), nothing) for symbol in strategy.context.symbols}
        held = {symbol: qty for symbol, (qty, _) in began.items()}
        slack = dict.fromkeys(held, Decimal(0))
        for fill in self.ledger.fills:
            order = blotter.find(order_id=fill.order_id)
            is_before = fill.exec_id in began.get(fill.symbol, nothing)[1]
            if order is not None and order.strategy == strategy.name and not is_before:
                held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + Decimal(fill.base_change)
                if order.intent.fee_preference == "base":  # REST tells of such a fee by its value alone
                    slack[fill.symbol] = slack.get(fill.symbol, Decimal(0)) + base_fee_slack(
                        Decimal(fill.fee), Decimal(fill.cost), Decimal(fill.price)
                    )
        for symbol in strategy.context.symbols:
            known, true = blotter.positions.qty(strategy.name, symbol), held.get(symbol, Decimal(0))
            if abs(known - true) > slack.get(symbol, 0):
                return (
                    f"{strategy.name} holds {known} of {symbol}, its fills credited {true} with what the account held "
                    "before"
                )
            if strategy.context.position(symbol).qty != known:
                return f"{strategy.name} is told of {strategy.context.position(symbol)}, and holds {known}"
        return ""


def _is_told_otherwise(strategy: HostedStrategy, core: OrderCore) -> str:
    """Whether a strategy knows anything else than what the router would tell a new one; empty if not."""
    for report in core.everything(strategy.name):
        match report:
            case OrderReport():
                order = strategy.order_client.order(report.key)
                known: Report | None = None if order is None else order.report
                if isinstance(known, OrderReport) and not report.state.is_terminal:
                    # Why the last amend was refused here is told once, and is not the order's.
                    report, known = (replace(each, reason="", error=None) for each in (report, known))
            case Position():
                known = strategy.order_client.position(report.symbol)
            case TradingStatus():
                known = strategy.order_client.status
            case _:
                continue
        if known != report:
            return f"{strategy.name} knows {known}, and the router {report}"
    return ""


class JournalFold:
    """The blotter that the journal's bytes come to: read on from where the last look ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment = 0
        # Where the next record begins, and its sequence.
        self._offset = self._sequence = 0
        self._blotter = Blotter()

    def now(self) -> Blotter:
        """With every record that is complete now."""
        path = max(self._folder.glob(f"*{SUFFIX}"))
        if int(path.stem) != self._segment:  # it begins with a snapshot of all before it
            self._segment, self._offset, self._blotter = int(path.stem), HEADER_BYTES, Blotter()
            header = scan(path.read_bytes()[:HEADER_BYTES]).header
            assert header is not None
            self._sequence = header.first_sequence
        with path.open("rb") as file:
            file.seek(self._offset)
            found = scan(pack_header(self._segment, self._sequence) + file.read())
        assert found.damage is None, found.damage
        for _, payload in found.payloads:
            self._blotter.apply(decode_record(payload))
            self._offset += HEAD_BYTES + len(payload)
        self._sequence += len(found.payloads)
        return self._blotter


_WORKING: Final = (OrderState.WORKING, OrderState.PARTIAL)
_IN_DOUBT: Final = (OrderState.UNKNOWN, OrderState.SENT)


def _difference(folded: Blotter, state: Blotter) -> str:
    """The first thing in which two blotters differ."""
    for name in ("open", "ended"):
        ours, theirs = getattr(state, name), getattr(folded, name)
        for key in [*ours, *theirs]:
            if ours.get(key) != theirs.get(key):
                return f"{name} {key}: {ours.get(key)} and the journal has {theirs.get(key)}"
    return "something else than orders"
