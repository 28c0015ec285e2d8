"""What the order router says of itself: its status on a board for the engine, and its answers on a control socket.

status()       mode, gate, positions, profit and loss, tokens, breaker, rate counters    4 times a second
commands()     orders, balances, cancel, halt, resume: for people, though a strategy hangs
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from engine.clock import Clock
from engine.errors import ConfigError
from engine.history import order_object, order_row
from engine.kraken_rest.calls import RestCalls
from engine.net.control_socket import Answer, Command, Request
from engine.order_router.market_boards import MarketBoards
from engine.order_router.router import OrderRouter
from engine.order_router.tokens import TokenSource
from engine.orders.breaker import Breaker
from engine.orders.positions import PositionState
from engine.orders.rate_counter import RateCounters
from engine.ring import BoardWriter
from engine.topology import ROUTER_STATUS_BYTES
from engine.units import NS_PER_MS, MonoNs

PUBLISH_NS: Final = 250 * NS_PER_MS
LENGTH_BYTES: Final = 4
ORDERS_SHOWN_MAX: Final = 1000
ID_CHARS_SHOWN_MAX: Final = 80

_encode = msgspec.json.Encoder().encode


class RouterStatus:
    """The router as others see it."""

    def __init__(
        self,
        router: OrderRouter,
        board: BoardWriter,
        tokens: TokenSource,
        rest: RestCalls,
        breakers: Mapping[str, Breaker],
        boards: MarketBoards,
        rates: RateCounters,
        clock: Clock,
    ) -> None:
        self._router = router
        self._board = board
        self._tokens = tokens
        self._rest = rest
        self._breakers = breakers
        self._boards = boards
        self._rates = rates
        self._mono_ns = clock.mono_ns
        self._published_at = MonoNs(0)
        self._published_gate = router.gate.report

    def publish(self, *, now_too: bool = False) -> None:
        """Put the status on its board, when it is time for it: at once when trading opens or closes, or `now_too`."""
        now, gate = self._mono_ns(), self._router.gate.report
        if not now_too and now - self._published_at < PUBLISH_NS and gate == self._published_gate:
            return
        self._published_at, self._published_gate = now, gate
        text = _encode(self.status())
        if len(text) > ROUTER_STATUS_BYTES - LENGTH_BYTES:
            text = _encode({"mode": self._router.gate.report.mode, "reason": "the status is too long for its board"})
        self._board.store(0, len(text).to_bytes(LENGTH_BYTES, "little") + text)

    def status(self) -> dict[str, Any]:
        """Everything, as the summary shows it."""
        router, now = self._router, self._mono_ns()
        gate = router.gate.report
        held = _total_positions(router)
        by_currency = self._profit(held)
        main = next(iter(by_currency), "")
        return {
            "mode": gate.mode,
            "is_open": gate.is_open,
            "reason": gate.reason,
            "open_orders": len(router.blotter.open),
            "unknown": len(router.blotter.in_doubt()),
            "positions": {
                symbol: {"qty": _text(state.qty), "avg_price": _text(state.avg_price)} for symbol, state in held.items()
            },
            # Several quote currencies are never added up: the first is shown here, all of them beside it.
            "pnl": by_currency.get(main, {"realized": "0", "unrealized": "0", "fees": "0"})
            | {"currency": main, "by_currency": by_currency},
            "by_strategy": {
                f"{strategy} {symbol}": {
                    "qty": _text(state.qty),
                    "avg_price": _text(state.avg_price),
                    "realized": _text(state.realized),
                    "fees": _text(state.fees),
                }
                for strategy, symbol, state in router.blotter.positions.items()
            },
            "token": self._tokens.statistics(),
            "breaker": {route: breaker.state(now).value for route, breaker in self._breakers.items()}
            | {"openings": sum(breaker.openings for breaker in self._breakers.values())},
            "rate": {
                "tier": self._rates.tier.name,
                "counts": {symbol: str(count) for symbol, count in self._rates.counts(now).items()},
            },
            "locked_out_s": round(self._rest.locked_out_s, 1),
            "hanging": dict(router.hanging),
            "oddities": [f"{odd.key}: {odd.what}" for odd in router.blotter.oddities][-10:],
        }

    def commands(self) -> Mapping[str, Command]:
        """What the control socket answers."""
        return {
            "orders": self._orders,
            "balances": self._balances,
            "cancel": self._cancel,
            "halt": self._halt,
            "resume": self._resume,
            "status": lambda _: self.status(),
        }

    def _orders(self, _: Request) -> Answer:
        orders = sorted(self._router.blotter.open.values(), key=lambda order: order.submitted_at)
        shown = [order_object(asdict(order_row(order)), order.pending) for order in orders[:ORDERS_SHOWN_MAX]]
        return {"orders": shown, "count": len(orders)}

    def _balances(self, _: Request) -> Answer:
        balances = self._router.records.balances
        held = balances.held(self._router.blotter.open.values())
        rows = [(asset, balances.wallet(asset, held)) for asset in sorted(balances.assets())]
        return {
            "balances": [
                {
                    "asset": asset,
                    "total": _text(wallet.total),
                    "held": _text(wallet.held),
                    "free": _text(wallet.free),
                    "earning": _text(wallet.earning),
                }
                for asset, wallet in rows
            ]
        }

    def _cancel(self, request: Request) -> Answer:
        if request.get("all"):
            return {"canceling": self._router.cancel_all_of(None)}
        ids = request.get("ids", [])
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise ConfigError("ids are a list of texts, as `engine orders` shows them")
        unknown = [name for name in ids if not self._router.cancel_by_id(name)]
        if unknown:
            raise ConfigError(f"no open order is called {unknown[0][:ID_CHARS_SHOWN_MAX]}; `engine orders` lists them")
        return {"canceling": len(ids)}

    def _halt(self, request: Request) -> Answer:
        if request.get("reducing"):
            self._router.reduce("as a person asked")
            return {"mode": self._router.gate.report.mode, "canceling": 0}
        canceling = self._router.halt("as a person asked")
        return {"mode": self._router.gate.report.mode, "canceling": canceling}

    def _resume(self, _: Request) -> Answer:
        self._router.resume()
        return {"mode": self._router.gate.report.mode}

    def _profit(self, held: Mapping[str, PositionState]) -> dict[str, dict[str, str]]:
        sums: dict[str, list[Decimal]] = {}
        for symbol, state in held.items():
            quote = symbol.partition("/")[2]
            realized, unrealized, fees = sums.setdefault(quote, [Decimal(0), Decimal(0), Decimal(0)])
            mark = self._boards.mark(symbol)
            sums[quote] = [realized + state.realized, unrealized + state.unrealized(mark), fees + state.fees]
        return {
            quote: {"realized": _text(realized), "unrealized": _text(unrealized), "fees": _text(fees)}
            for quote, (realized, unrealized, fees) in sums.items()
        }


def _total_positions(router: OrderRouter) -> dict[str, PositionState]:
    """What all strategies together hold, pair by pair."""
    totals: dict[str, PositionState] = {}
    for _, symbol, state in router.blotter.positions.items():
        total = totals.setdefault(symbol, PositionState())
        total.qty += state.qty
        total.cost += state.cost
        total.realized += state.realized
        total.fees += state.fees
    return totals


def _text(number: Decimal) -> str:
    """Exact, without an exponent and without zeros that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
