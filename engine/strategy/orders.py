"""What a strategy sees of its orders, fills, positions and balances: the router's reports.

Amounts are exact Decimals in the pair's own currencies: quantities in the base, prices,
costs and fees in the quote unless a fee says otherwise.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from engine.errors import EngineStopped, OrderRefused
from engine.orders.intent import Conditional
from engine.orders.life import OrderState
from engine.orders.refusal import ErrorKind
from engine.orders.rings.reports import Balance, Fill, OrderError, Position, TradingStatus
from engine.orders.rings.reports import Order as OrderView
from engine.strategy.seconds import check_seconds

__all__ = [
    "Balance", "Conditional", "ErrorKind", "Fill", "Order", "OrderError", "OrderState", "Position", "TradingStatus",
]  # fmt: skip


class Order(OrderView, eq=False):
    """One order: what was asked for, and its current state.

    The engine keeps it up to date; strategies and programs only read it. Two orders never
    compare equal.

    `until`, `until_acknowledged` and `until_over` wait for it, on the thread that sent it:
    in a program, or in a task that a strategy's callback has started. An `async` callback
    must not await an order of its own strategy: while the callback runs the strategy
    receives no events, so the wait cannot end.
    """

    _waiting: list[Any] | None = None
    _fills: deque[Fill] | None = None
    _is_told_last: bool = False

    @property
    def fills(self) -> Sequence[Fill]:
        """Its fills, oldest first, as `on_fill` received them: those of this run, among the
        last 20,000 of the strategy or program.

        `engine fills` lists all of them. Their sum may be less than `filled_qty` for a
        moment, because Kraken's total may arrive first.
        """
        return tuple(self._fills or ())

    async def until(self, condition: Callable[[Self], bool], timeout_s: float | None = None) -> Self:
        """Wait until the order fulfils a condition; returns the order.

        Raises TimeoutError, which describes the order, after `timeout_s` seconds;
        EngineStopped if the engine ends first; and CallError if `timeout_s` is not a
        number.
        """
        check_seconds("timeout_s", timeout_s)
        # Here, for every command of `engine` imports this module, and most need no loop.
        import asyncio

        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    if self._is_told_last:
                        raise EngineStopped(f"the engine has ended, and nothing more is told of {self!r}")
                    changed = asyncio.get_running_loop().create_future()
                    if self._waiting is None:
                        self._waiting = []
                    self._waiting.append(changed)
                    try:
                        await changed
                    finally:
                        if changed.cancelled() and self._waiting is not None and changed in self._waiting:
                            self._waiting.remove(changed)
        except TimeoutError:
            raise TimeoutError(f"nothing came of it in {timeout_s:g} s: {self!r}") from None
        return self

    async def until_acknowledged(self, timeout_s: float | None = 10.0) -> Self:
        """Wait until Kraken has acknowledged the order.

        Raises OrderRefused if the engine refuses or Kraken rejects it; TimeoutError and
        EngineStopped as `until`.
        """
        await self.until(lambda order: bool(order.order_id) or not order.is_open, timeout_s)
        if self.state in (OrderState.REFUSED, OrderState.REJECTED):
            raise OrderRefused(self.reason, self)
        return self

    async def until_over(self, timeout_s: float | None = None) -> Self:
        """Wait until the order has ended, in whatever way; see `state` and `reason`.

        Raises TimeoutError and EngineStopped as `until`.
        """
        return await self.until(lambda order: not order.is_open, timeout_s)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled or deep copy has the order's state and fills, but no waiting tasks."""
        # The fills name the order, so they are given to it when it is known already.
        return type(self), (self.report, self.tag), self._fills

    def __setstate__(self, fills: deque[Fill]) -> None:
        self._fills = fills

    def add_fill(self, fill: Fill) -> None:
        """Append to `fills`; for the engine alone."""
        if self._fills is None:
            self._fills = deque()
        self._fills.append(fill)

    def forget_fill(self) -> None:
        """Drop the oldest of `fills`; for the engine alone."""
        if self._fills:
            self._fills.popleft()

    def tell_last(self) -> None:
        """Wake all waiters with EngineStopped: no further reports of the order will come.
        For the engine alone.
        """
        self._is_told_last = True
        self.tell_change()

    def tell_change(self) -> None:
        """Wake the tasks that wait for the order. For the engine alone."""
        waiting, self._waiting = self._waiting, None
        for changed in waiting or ():
            if not changed.done():
                changed.set_result(None)
