"""What a strategy sees of its orders, fills, positions and balances: the router's reports.

Amounts are exact Decimals in the pair's own currencies: quantities in the base, prices,
costs and fees in the quote unless a fee says otherwise.
"""

from engine.orders.intent import Conditional
from engine.orders.life import OrderState
from engine.orders.rings.reports import Balance, Fill, Order, Position, TradingStatus

__all__ = ["Balance", "Conditional", "Fill", "Order", "OrderState", "Position", "TradingStatus"]
