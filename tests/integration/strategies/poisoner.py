"""A plugin that reaches round the API, and writes to the command ring what is no command."""

from pathlib import Path
from typing import Any

from engine import Strategy
from engine.orders.intent import OrderIntent
from engine.orders.rings.commands import COMMANDS, CancelAll, Submit, SubmitBatch
from engine.units import MonoNs, QtyLots


class Poisoner(Strategy):
    """Does it once, when there is a file at `path`."""

    path: str
    timer_s: float = 0.02

    def on_start(self) -> None:
        self.is_done = False

    def on_timer(self) -> None:
        if self.is_done or not Path(self.path).exists():
            return
        self.is_done = True
        client = self.context._orders  # type: ignore[attr-defined]
        now = self.context.now()
        wrong: Any = "tomorrow"
        order = OrderIntent(
            symbol="BTC/USD",
            side="buy",
            order_type="limit",
            price_decimals=1,
            qty_decimals=8,
            qty=QtyLots(10**6),
            expire_at=wrong,
        )
        commands = client._ports.commands
        for record in (
            COMMANDS.pack(Submit("poisoner", "poison", order, now, MonoNs(0))),
            COMMANDS.pack(SubmitBatch("poisoner", [], now, MonoNs(0))),
            COMMANDS.pack(CancelAll("poisoner", now)),
            b"\xff" * 1000,
        ):
            assert commands.try_publish(record)
        commands.flush()
