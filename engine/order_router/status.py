"""The order router's status on a board for the engine, and its commands on a control
socket.

status()       mode, gate, tokens, breaker, rate counters    4 times a second
positions      each that has changed                         20 times a second
commands()     orders, balances, positions, cancel, halt, resume: for people, though a strategy hangs
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec.structs import asdict

from engine.errors import ConfigError
from engine.history import order_object, order_row
from engine.net.control_socket import Answer, Command, Request
from engine.order_router.core.ports import BoardsPort
from engine.order_router.router import OrderRouter
from engine.orders.money import plain
from engine.orders.positions import position_texts
from engine.processes.position_board import POSITIONS_WRITTEN_MAX, PositionBoardWriter
from engine.processes.status_board import store_status
from engine.ring import BoardWriter
from engine.units import NS_PER_MS, MonoNs

PUBLISH_NS: Final = 250 * NS_PER_MS
ORDERS_SHOWN_MAX: Final = 1000
ID_CHARS_SHOWN_MAX: Final = 80
PRICE_DIGITS_MAX: Final = 20  # before or behind the point, of what a person says


class RouterStatus:
    """Publishes the status and answers commands."""

    def __init__(
        self, router: OrderRouter, board: BoardWriter, positions: PositionBoardWriter, boards: BoardsPort
    ) -> None:
        self._position_board = positions
        self._router = router
        self._core = router.core
        self._board = board
        self._boards = boards
        self._published_at = MonoNs(0)
        self._published_gate = router.core.gate.report

    def publish(self, *, now_too: bool = False) -> None:
        """Write positions that have changed to their board, and the status to its own every
        PUBLISH_NS, at once if trading opens or closes or with `now_too`.
        """
        now, gate = self._router.look_at_clock(), self._core.gate.report
        changed = self._core.blotter.positions.take_changed(None if now_too else POSITIONS_WRITTEN_MAX)
        self._position_board.store(changed)
        if not now_too and now - self._published_at < PUBLISH_NS and gate == self._published_gate:
            return
        self._published_at, self._published_gate = now, gate
        if not store_status(self._board, self.status()):
            store_status(
                self._board, {"mode": gate.mode, "reason": "the status is too long for its board"}
            )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """What fits one slot, however many pairs are traded; positions have a board of
        their own."""
        core, now = self._core, self._router.look_at_clock()
        gate = core.gate.report
        return {
            "mode": gate.mode,
            "is_open": gate.is_open,
            "reason": gate.reason,
            # Pairs on which no order is taken yet: their open orders are looked up.
            "looked_up": sorted(core.gate.uncertain),
            "open_orders": len(core.blotter.open),
            "unknown": len(core.blotter.in_doubt()),
            "positions_left_out": len(self._position_board.left_out),
            # Pairs whose positions begin with what the account holds, while that is not
            # known.
            "unheld": sorted(core.gate.unheld),
            "token": self._core.tokens.statistics(),
            "breaker": {route: breaker.state(now).value for route, breaker in self._core.breakers.items()}
            | {"openings": sum(breaker.openings for breaker in self._core.breakers.values())},
            "rate": {
                "tier": self._core.rates.tier.name,
                "limit": self._core.rates.tier.threshold,
                "counts": {symbol: str(count) for symbol, count in self._core.rates.counts(now).items()},
            },
            "locked_out_s": round(self._core.calls.locked_out_s, 1),
            "hanging": dict(core.hanging),
            "oddities": [f"{odd.key}: {odd.what}" for odd in core.blotter.oddities][-10:],
        }

    def commands(self) -> Mapping[str, Command]:
        """The commands of the control socket, by name."""
        answers: dict[str, Command] = {
            "orders": self._orders,
            "balances": self._balances,
            "positions": self._positions,
            "cost": self._cost,
            "cancel": self._cancel,
            "halt": self._halt,
            "resume": self._resume,
            "status": lambda _: self.status(),
        }
        return {name: self._at_this_moment(answer) for name, answer in answers.items()}

    def _at_this_moment(self, answer: Command) -> Command:
        def answer_now(request: Request) -> Any:
            self._router.look_at_clock()
            try:
                return answer(request)
            finally:
                self._router.end_answer()

        return answer_now

    def _orders(self, _: Request) -> Answer:
        orders = sorted(self._core.blotter.open.values(), key=lambda order: order.submitted_at)
        shown = [order_object(asdict(order_row(order)), order.pending) for order in orders[:ORDERS_SHOWN_MAX]]
        return {"orders": shown, "count": len(orders)}

    def _balances(self, _: Request) -> Answer:
        balances = self._core.records.balances
        if not balances.is_told:
            why = self._core.gate.report.reason or "it is about to"
            return {"balances": None, "reason": f"Kraken has not told the balances: {why}"}
        held = balances.held(self._core.blotter.open.values())
        rows = [(asset, balances.wallet(asset, held)) for asset in sorted(balances.assets())]
        return {
            "balances": [
                {
                    "asset": asset,
                    "total": plain(wallet.total),
                    "held": plain(wallet.held),
                    "free": plain(wallet.free),
                    "earning": plain(wallet.earning),
                }
                for asset, wallet in rows
            ]
        }

    def _positions(self, _: Request) -> Answer:
        held = self._core.blotter.positions.items()
        return {
            "positions": [
                {"strategy": strategy, "symbol": symbol, **position_texts(state, self._boards.mark(symbol))}
                for strategy, symbol, state in held
                if self._core.holdings.is_known(strategy, symbol)
            ]
            + [
                {"strategy": strategy, "symbol": symbol, **position_texts(None, None)}
                for strategy, symbol in self._core.holdings.waiting
            ]
        }

    def _cost(self, request: Request) -> Answer:
        symbol, strategy = request.get("symbol"), request.get("strategy", "")
        try:
            price = Decimal(str(request.get("price")))
        except InvalidOperation:
            price = Decimal(0)
        if not price.is_finite() or price <= 0 or abs(price.adjusted()) > PRICE_DIGITS_MAX:
            raise ConfigError("the price must be a number above 0, such as 52000.5")
        if why_not := self._core.tell_cost(str(strategy), str(symbol), price):
            raise ConfigError(why_not)
        return self._positions(request)

    def _cancel(self, request: Request) -> Answer:
        if request.get("all"):
            return {"canceling": self._core.cancel_all_of(None)}
        ids = request.get("ids", [])
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise ConfigError("ids are a list of texts, as `engine orders` shows them")
        unknown = [name for name in ids if not self._core.cancel_by_id(name)]
        if unknown:
            raise ConfigError(f"no open order is called {unknown[0][:ID_CHARS_SHOWN_MAX]}; `engine orders` lists them")
        return {"canceling": len(ids)}

    def _halt(self, request: Request) -> Answer:
        if request.get("reducing"):
            self._core.reduce("as a person asked")
            return {"mode": self._core.gate.report.mode, "canceling": 0}
        canceling = self._core.halt("as a person asked")
        return {"mode": self._core.gate.report.mode, "canceling": canceling}

    def _resume(self, _: Request) -> Answer:
        self._core.resume()
        return {"mode": self._core.gate.report.mode}
