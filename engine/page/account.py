"""What the page shows of the account: open orders, balances, the last fills.

Fills are read from the history, for which the engine does nothing. The order router is
asked for open orders and balances every ASK_S, and only while somebody looks.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from engine.errors import EngineError
from engine.history import query_fills
from engine.net.control_socket import ask
from engine.state_directory import HISTORY_FILE
from engine.units import WallNs

ASK_S: Final = 2.0
FILLS_MAX: Final = 100
ORDERS_MAX: Final = 200
ANSWER_S: Final = 1.0
ORDER_COLUMNS: Final = ("id", "strategy", "symbol", "side", "type", "qty", "filled", "limit_price", "state", "reason")
FILL_COLUMNS: Final = ("exec_id", "strategy", "symbol", "side", "qty", "price", "liquidity", "kraken_time", "kraken_ns")


class Account(Struct, frozen=True):
    """The account at one moment."""

    orders: tuple[dict[str, Any], ...] = ()
    balances: tuple[dict[str, Any], ...] = ()
    fills: tuple[dict[str, Any], ...] = ()
    """The last ones, oldest first."""
    note: str = ""
    """Why something is missing: a sentence."""


class AccountReader:
    """Reads the account of one engine, in threads: it may wait for a disk, or for a router."""

    def __init__(self, router_path: Path, state_dir: str) -> None:
        self._router_path = router_path
        self._history = Path(state_dir) / HISTORY_FILE if state_dir else None
        self.account = Account()

    async def read(self) -> None:
        """Read it now; what cannot be read stays as it was, and `note` says why."""
        if self._history is not None:
            self.account = await asyncio.to_thread(self._read, self._history)

    def forget(self) -> None:
        """Nobody looks: what was read grows old."""
        self.account = Account()

    def _read(self, history: Path) -> Account:
        notes: list[str] = []
        orders, balances, fills = self.account.orders, self.account.balances, self.account.fills
        try:
            open_orders = ask(self._router_path, {"command": "orders"}, ANSWER_S).get("orders") or []
            orders = tuple({name: order[name] for name in ORDER_COLUMNS} for order in open_orders[:ORDERS_MAX])
            held = ask(self._router_path, {"command": "balances"}, ANSWER_S)
            # None while the router does not know them, as after its start.
            balances = tuple(held.get("balances") or ())
            notes.append(held.get("reason") or "")
        except EngineError as error:
            notes.append(f"the order router does not answer ({error}): orders and balances are the last that were told")
        if history.exists():
            try:
                rows = query_fills(history, WallNs(0), rows_max=FILLS_MAX)
                fills = tuple({name: fill[name] for name in FILL_COLUMNS} for fill in rows)
            except EngineError as error:
                notes.append(str(error))
        return Account(orders, balances, fills, "; ".join(note for note in notes if note))


def equity(account: Account, currency: str, mids: dict[str, float]) -> tuple[float, list[str]] | None:
    """The account's worth in a currency at these middle prices, and the assets that have
    none; None before there are balances.
    """
    if not account.balances:
        return None
    worth, unpriced = 0.0, []
    for row in account.balances:
        total = 0.0
        with suppress(TypeError, ValueError):
            total = float(row["total"])
        if row["asset"] == currency:
            worth += total
        elif (mid := mids.get(f"{row['asset']}/{currency}")) is not None:
            worth += total * mid
        elif total:
            unpriced.append(row["asset"])
    return worth, unpriced
