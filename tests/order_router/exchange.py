"""A Kraken for one account, as small as it can be: orders, their ends and fills, and what it says of them.

    request(frame) ─► answers of the WebSocket          call(name, fields) ─► the result, or an error, of REST
                └──────► orders ─► on_fact: rows of the executions channel, in the order in which things happened

Written for the tests from Kraken's documents, without a line of the engine's venue: it is a second witness. What it
knows is the truth; REST tells it as of `rest_lag_ns` ago.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from engine.instant import Instant
from engine.orders.venue_facts import ExecutionFact, Fee
from engine.timestamps import wall_ns
from engine.units import NS_PER_S, WallNs

D = Decimal
UNKNOWN_ORDER = "EOrder:Unknown order"
DEADLINE_ELAPSED = "EService:Deadline elapsed"
NOT_UNIQUE = "EGeneral:Invalid arguments:cl_ord_id not unique"
TRADES_TOLD = 50  # of a snapshot; others may have had more since


class Trade(NamedTuple):
    """One fill."""

    exec_id: str
    number: int
    order_id: str
    qty: Decimal
    price: Decimal
    at: WallNs


class ExchangeOrder(NamedTuple):
    """One order, as it was from one moment on."""

    order_id: str
    cl_ord_id: str | None
    userref: int | None
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    opened_at: WallNs
    status: str = "open"
    """open, closed (filled) or canceled."""
    filled: Decimal = D(0)
    trades: tuple[str, ...] = ()
    amends: int = 0
    changed_at: WallNs = WallNs(0)
    closes_at: Decimal | None = None
    """The limit of the closing order that each of its fills makes."""
    stops_at: Decimal | None = None
    """The trigger of the stop that each of its fills makes."""
    order_type: str = "limit"
    """The price of a stop is its trigger."""
    ref_id: str | None = None
    """The order whose closing order this one is."""

    @property
    def is_open(self) -> bool:
        return self.status == "open"


class Exchange:
    """All orders of the account."""

    def __init__(self, now: Instant, on_fact: Callable[[ExecutionFact], None]) -> None:
        """`on_fact` is told each row of the executions channel when it happens."""
        self._now = now
        self._on_fact = on_fact
        self.rest_lag_ns = 0
        self.dollars = D(1_000_000)
        self.trades_told = TRADES_TOLD
        # False: fills of orders with a conditional close make none.
        self.makes_closing_orders = True
        # The share of an immediate order that the book takes.
        self.takes_at_once = D(1)
        # What each order was, from which moment on; the last is what it is.
        self._lives: dict[str, list[tuple[WallNs, ExchangeOrder]]] = {}
        # By client order id, Kraken's ids of the orders that were made with it: the judge asks for them all the time.
        self.made: dict[str, list[str]] = {}
        self.trades: dict[str, Trade] = {}
        self._number = 0
        self.tokens = 0
        # What Kraken says to who asks for a token; empty: here it is.
        self.refuses_tokens = ""
        # What it says to new orders; empty: it takes them. And why it ends them.
        self.refuses = ""
        self.end_reason = "User requested"
        # Calls of REST, by name.
        self.called: dict[str, int] = {}

    # --- the truth

    @property
    def orders(self) -> list[ExchangeOrder]:
        """All that there ever were, as they are."""
        return [life[-1][1] for life in self._lives.values()]

    def of(self, cl_ord_id: str) -> list[ExchangeOrder]:
        """Those that were made for one intent."""
        return [self._lives[order_id][-1][1] for order_id in self.made.get(cl_ord_id, ())]

    def fill(self, order_id: str, share: Decimal) -> None:
        """Somebody takes this share of what is left of an open order."""
        order = self._lives[order_id][-1][1]
        if not order.is_open:
            return
        self._number += 1
        trade = Trade(
            f"TEXEC{self._number:06d}",
            self._number,
            order_id,
            (order.qty - order.filled) * share,
            order.price,
            self._at,
        )
        self.trades[trade.exec_id] = trade
        filled = order.filled + trade.qty
        order = order._replace(
            filled=filled, trades=(*order.trades, trade.exec_id), status="closed" if filled == order.qty else "open"
        )
        self._set(order)
        self._on_fact(self._trade_fact(trade))
        closes_at = order.stops_at if order.closes_at is None else order.closes_at
        if closes_at is not None and self.makes_closing_orders:
            self.make_closing_order(order, trade.qty, closes_at)
        if not order.is_open:
            self._on_fact(self._end_fact(order))

    def make_closing_order(self, parent: ExchangeOrder, qty: Decimal, price: Decimal) -> None:
        """What each fill of an order with a conditional close makes."""
        self._number += 1
        order = ExchangeOrder(
            f"OCLOSE-{self._number:05d}", None, parent.userref, parent.symbol,
            "sell" if parent.side == "buy" else "buy", qty, price, self._at, ref_id=parent.order_id,
            order_type="limit" if parent.closes_at is not None else "stop-loss",
        )  # fmt: skip
        self._set(order)
        self._on_fact(self._order_fact(order, "new"))

    def place(
        self, symbol: str, side: str, qty: str, price: str, cl_ord_id: str | None = None, userref: int | None = None
    ) -> str:
        """Another program of the account's places an order; returns Kraken's id."""
        row = {"side": side, "qty": qty, "price": price, "cl_ord_id": cl_ord_id, "userref": userref}
        order = self._add(symbol, row, WallNs(self._at + NS_PER_S))
        assert not isinstance(order, str)
        return order.order_id

    def amend(self, order_id: str, qty: str, price: str) -> None:
        """Kraken has an amend of which no answer came, or that somebody else asked for."""
        self._amend(order_id, qty, price, WallNs(self._at + NS_PER_S))

    def cancel(self, order_id: str) -> None:
        """Another program cancels an order."""
        self._cancel(order_id)

    @property
    def _at(self) -> WallNs:
        return self._now.wall

    def _set(self, order: ExchangeOrder) -> None:
        life = self._lives.get(order.order_id)
        if life is None:
            life = self._lives[order.order_id] = []
            if order.cl_ord_id is not None:
                self.made.setdefault(order.cl_ord_id, []).append(order.order_id)
        life.append((self._at, order._replace(changed_at=self._at)))

    # --- what happens to orders, by whatever route

    def _add(self, symbol: str, row: Mapping[str, Any], deadline: WallNs) -> ExchangeOrder | str:
        """A new order, or why there is none."""
        if self._at > deadline:
            return DEADLINE_ELAPSED
        if self.refuses:
            return self.refuses
        cl_ord_id = row.get("cl_ord_id")
        if cl_ord_id is not None and any(order.is_open for order in self.of(cl_ord_id)):
            return NOT_UNIQUE
        self._number += 1
        order = ExchangeOrder(
            f"OORDER-{self._number:05d}", cl_ord_id, row.get("userref"), symbol, row["side"], D(str(row["qty"])),
            D(str(row["price"])), self._at, closes_at=row.get("closes_at"), stops_at=row.get("stops_at"),
            order_type=row.get("order_type", "limit"),
        )  # fmt: skip
        self._set(order)
        self._on_fact(self._order_fact(order, "new"))
        if row.get("is_immediate"):
            if self.takes_at_once:
                self.fill(order.order_id, self.takes_at_once)
            self._cancel(order.order_id)
        return order

    def _amend(self, order_id: str, qty: Any, price: Any, deadline: WallNs) -> ExchangeOrder | str:
        if self._at > deadline:
            return DEADLINE_ELAPSED
        order = self._open(order_id)
        if order is None:
            return UNKNOWN_ORDER
        order = order._replace(
            qty=order.qty if qty is None else D(str(qty)),
            price=order.price if price is None else D(str(price)),
            amends=order.amends + 1,
        )
        self._set(order)
        self._on_fact(self._order_fact(order, "amended"))
        return order

    def _cancel(self, name: str) -> ExchangeOrder | str:
        order = self._open(name)
        if order is None:
            return UNKNOWN_ORDER
        order = order._replace(status="canceled")
        self._set(order)
        self._on_fact(self._end_fact(order))
        return order

    def _open(self, name: str) -> ExchangeOrder | None:
        """The open order of this id, whosever it is."""
        return next((it for it in self.orders if it.is_open and name in (it.order_id, it.cl_ord_id)), None)

    # --- the WebSocket

    def request(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request on the trading connection."""
        method, params, time_in = frame["method"], frame.get("params", {}), _iso(self._at)
        answer = {"method": method, "req_id": frame["req_id"], "time_in": time_in, "time_out": time_in}
        return answer | self._do(method, params)

    def _do(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        match method:
            case "subscribe":
                return {"success": True, "result": {"channel": params["channel"]}}
            case "add_order":
                return _said(self._add(params["symbol"], _row(params), wall_ns(params["deadline"])))
            case "batch_add":
                rows = [
                    self._add(params["symbol"], _row(order), wall_ns(params["deadline"])) for order in params["orders"]
                ]
                if all(isinstance(row, str) for row in rows):
                    return {"success": False, "error": rows[0]}
                return {"success": True, "result": [
                    {"error": row} if isinstance(row, str) else {"order_id": row.order_id, "cl_ord_id": row.cl_ord_id}
                    for row in rows
                ]}  # fmt: skip
            case "amend_order":
                order = self._amend(
                    params["order_id"], params.get("order_qty"), params.get("limit_price"), wall_ns(params["deadline"])
                )
                return _said(order)
            case "cancel_order" if "order_userref" in params:
                open_ids = [it.order_id for it in self.orders if it.is_open and it.userref in params["order_userref"]]
                return _said([UNKNOWN_ORDER, *map(self._cancel, open_ids)][-1])
            case "cancel_order":
                (name,) = params.get("order_id") or params["cl_ord_id"]
                return _said(self._cancel(name))
            case "batch_cancel":
                canceled = [self._cancel(name) for name in (*params.get("orders", ()), *params.get("cl_ord_id", ()))]
                return {"success": True, "orders_cancelled": sum(not isinstance(it, str) for it in canceled)}
            case _:
                return {"success": False, "error": f"Unsupported event {method}"}

    # --- the executions channel

    def snapshot(self) -> list[ExecutionFact]:
        """Open orders, and the last trades."""
        rows = [self._order_fact(order, "new", is_snapshot=True) for order in self.orders if order.is_open]
        trades = list(self.trades.values())[-self.trades_told :] if self.trades_told else []
        return rows + [self._trade_fact(trade, is_snapshot=True) for trade in trades]

    def _order_fact(self, order: ExchangeOrder, exec_type: str, *, is_snapshot: bool = False) -> ExecutionFact:
        return ExecutionFact(
            exec_type=exec_type, order_id=order.order_id, timestamp=self._at, cl_ord_id=order.cl_ord_id,
            order_userref=order.userref, symbol=order.symbol, side=order.side, order_type=order.order_type,
            order_qty=order.qty, limit_price=order.price if order.order_type == "limit" else None,
            cum_qty=order.filled, ord_ref_id=order.ref_id, is_snapshot=is_snapshot,
        )  # fmt: skip

    def _trade_fact(self, trade: Trade, *, is_snapshot: bool = False) -> ExecutionFact:
        order = self._lives[trade.order_id][-1][1]
        return ExecutionFact(
            exec_type="trade", order_id=trade.order_id, timestamp=trade.at, cl_ord_id=order.cl_ord_id,
            order_userref=order.userref, symbol=order.symbol, side=order.side, exec_id=trade.exec_id,
            trade_id=trade.number, last_qty=trade.qty, last_price=trade.price, cost=trade.qty * trade.price,
            liquidity="m", fees=(Fee("USD", D("0.1")),), is_snapshot=is_snapshot,
        )  # fmt: skip

    def _end_fact(self, order: ExchangeOrder) -> ExecutionFact:
        """The report of an end names no symbol, no side and no quantity."""
        is_filled = order.status == "closed"
        return ExecutionFact(
            exec_type="filled" if is_filled else "canceled", order_id=order.order_id, timestamp=self._at,
            cl_ord_id=order.cl_ord_id, cum_qty=order.filled,
            reason=None if is_filled else self.end_reason,
        )  # fmt: skip

    # --- REST

    def call(self, name: str, fields: Mapping[str, Any]) -> Any:
        """The result of a call; a text that begins with E is an error."""
        self.called[name] = self.called.get(name, 0) + 1
        match name:
            case "BalanceEx":
                return {"ZUSD": {"balance": str(self.dollars), "hold_trade": "0"}}
            case "GetWebSocketsToken" if self.refuses_tokens:
                return self.refuses_tokens
            case "GetWebSocketsToken":
                self.tokens += 1
                return {"token": f"WW91ciBhdXRoZW50aWNhdGlvbiB0b2tlbi{self.tokens:09d}", "expires": 900}
            case "AddOrder":
                order = self._add(_symbol(fields["pair"]), _rest_row(fields), wall_ns(fields["deadline"]))
                return order if isinstance(order, str) else {"descr": {"order": "…"}, "txid": [order.order_id]}
            case "AddOrderBatch":
                rows = [
                    self._add(_symbol(fields["pair"]), _rest_row(row), wall_ns(fields["deadline"]))
                    for row in fields["orders"]
                ]
                if all(isinstance(row, str) for row in rows):
                    return rows[0]
                return {"orders": [
                    {"error": row} if isinstance(row, str) else {"txid": row.order_id, "descr": {"order": "…"}}
                    for row in rows
                ]}  # fmt: skip
            case "AmendOrder":
                amended = self._amend(
                    fields["txid"], fields.get("order_qty"), fields.get("limit_price"), wall_ns(fields["deadline"])
                )
                return amended if isinstance(amended, str) else {"amend_id": f"TAMEND-{self._number:05d}"}
            case "CancelOrder":
                canceled = self._cancel(str(fields.get("txid") or fields["cl_ord_id"]))
                return canceled if isinstance(canceled, str) else {"count": 1}
            case "OpenOrders":
                return {"open": self._rows(order for order in self._as_of() if order.is_open and _is(order, fields))}
            case "ClosedOrders":
                start_ns = fields.get("start", 0) * NS_PER_S
                closed = [
                    order for order in self._as_of()
                    if not order.is_open and _is(order, fields) and order.changed_at > start_ns
                ]  # fmt: skip
                closed.sort(key=lambda order: -order.changed_at)
                return {"closed": self._rows(closed[fields.get("ofs", 0) :][:50])}
            case "QueryOrders":
                asked = fields["txid"].split(",")
                return self._rows(order for order in self._as_of() if order.order_id in asked)
            case "QueryTrades":
                told_at = self._at - self.rest_lag_ns
                asked = fields["txid"].split(",")
                trades = [self.trades[it] for it in asked if it in self.trades and self.trades[it].at <= told_at]
                return {trade.exec_id: self._trade_row(trade) for trade in trades}
            case _:
                return "EGeneral:Unknown method"

    def _as_of(self) -> list[ExchangeOrder]:
        """The orders as REST knows them at this moment."""
        told_at = self._at - self.rest_lag_ns
        known = []
        for life in self._lives.values():
            then = [order for at, order in life if at <= told_at]
            known += then[-1:]
        return known

    def _rows(self, orders: Any) -> dict[str, Any]:
        return {order.order_id: _rest_order(order) for order in orders}

    def _trade_row(self, trade: Trade) -> dict[str, Any]:
        order = self._lives[trade.order_id][-1][1]
        return {
            "ordertxid": trade.order_id, "pair": _pair(order.symbol), "time": trade.at / NS_PER_S, "type": order.side,
            "ordertype": "limit", "price": str(trade.price), "cost": str(trade.price * trade.qty), "fee": "0.1",
            "vol": str(trade.qty), "trade_id": trade.number, "maker": True,
        }  # fmt: skip


def _said(order: ExchangeOrder | str) -> dict[str, Any]:
    if isinstance(order, str):
        return {"success": False, "error": order}
    return {"success": True, "result": {"order_id": order.order_id, "cl_ord_id": order.cl_ord_id}}


def _row(params: Mapping[str, Any]) -> dict[str, Any]:
    """An order of the WebSocket."""
    conditional, triggers = params.get("conditional", {}), params.get("triggers", {})
    closes_at, stops_at = conditional.get("limit_price"), conditional.get("trigger_price")
    return {
        "closes_at": None if closes_at is None else D(str(closes_at)),
        "stops_at": None if stops_at is None else D(str(stops_at)),
        "order_type": params["order_type"], "is_immediate": params.get("time_in_force") == "ioc",
        "cl_ord_id": params.get("cl_ord_id"), "userref": params.get("order_userref"), "side": params["side"],
        "qty": params["order_qty"], "price": params.get("limit_price") or triggers.get("price", 0),
    }  # fmt: skip


def _rest_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An order of REST."""
    return {
        "cl_ord_id": fields.get("cl_ord_id"), "userref": fields.get("userref"), "side": fields["type"],
        "qty": fields["volume"], "price": fields["price"], "order_type": fields["ordertype"],
        "is_immediate": fields.get("timeinforce") == "IOC",
    }  # fmt: skip


def _rest_order(order: ExchangeOrder) -> dict[str, Any]:
    row: dict[str, Any] = {
        "status": order.status, "opentm": order.opened_at / NS_PER_S, "vol": str(order.qty),
        "vol_exec": str(order.filled), "cost": str(order.filled * order.price), "fee": "0", "oflags": "fciq",
        "price": str(order.price if order.filled else 0), "trades": list(order.trades),
        "descr": {"pair": _pair(order.symbol), "type": order.side, "ordertype": order.order_type,
                  "price": str(order.price)},
    }  # fmt: skip
    if order.userref is not None:
        row["userref"] = order.userref
    if order.ref_id is not None:
        row["refid"] = order.ref_id
    if order.cl_ord_id is not None:
        row["cl_ord_id"] = order.cl_ord_id
    if not order.is_open:
        row |= {"closetm": order.changed_at / NS_PER_S, "reason": "User requested"}
    return row


def _is(order: ExchangeOrder, fields: Mapping[str, Any]) -> bool:
    """Is it one of those that a call asks for?"""
    named: Sequence[tuple[Any, Any]] = (
        (fields.get("cl_ord_id"), order.cl_ord_id), (fields.get("userref"), order.userref),
    )  # fmt: skip
    return all(asked in (None, has) for asked, has in named)


def _pair(symbol: str) -> str:
    return symbol.replace("/", "")


def _symbol(pair: str) -> str:
    return f"{pair[:3]}/{pair[3:]}"


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % NS_PER_S // 1000:06d}Z"
