"""NautilusTrader sends an order on a book update, once in a while: `PYTHON FILE PUBLIC
PRIVATE REST SECONDS EVERY_MS`, with the key in KRAKEN_API_KEY and KRAKEN_API_SECRET.

Each is an IOC limit order of 0.001 at the best price, each side in turn, as bench/strategies.py's
Trader. Prints the stamps of the books that caused them, in order.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

from nautilus_trader.adapters.kraken import (
    KRAKEN,
    KrakenDataClientConfig,
    KrakenExecClientConfig,
    KrakenLiveDataClientFactory,
    KrakenLiveExecClientFactory,
    execution,
)
from nautilus_trader.config import InstrumentProviderConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy

PUBLIC, PRIVATE, REST, SECONDS, EVERY_MS = sys.argv[1:]
PAIR = InstrumentId.from_str(f"BTC/USD.{KRAKEN}")
QTY = 0.001
STILL_S = 1.0  # the books of the start are left out

stamps: list[int] = []


class Sockets:
    """The module of clients that the adapter looks into, but that its WebSocket client asks
    the configured REST for its token: the adapter hands that address to the data side alone.
    """

    def __init__(self, clients: Any) -> None:
        self._clients = clients

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clients, name)

    def KrakenSpotWebSocketClient(self, **settings: Any) -> Any:
        """The adapter's."""
        return self._clients.KrakenSpotWebSocketClient(**settings | {"base_url_http": REST})


execution.nautilus_pyo3 = Sockets(execution.nautilus_pyo3)


class Trader(Strategy):  # type: ignore[misc]
    """Sends."""

    def on_start(self) -> None:
        """Subscribe."""
        self._next_at = time.monotonic() + STILL_S
        self._pair = self.cache.instrument(PAIR)
        self.subscribe_order_book_deltas(PAIR, depth=10)

    def on_order_book_deltas(self, deltas: Any) -> None:
        """Send, when it is time."""
        now, book = time.monotonic(), self.cache.order_book(PAIR)
        bid, ask = book.best_bid_price(), book.best_ask_price()
        if now < self._next_at or bid is None or ask is None:
            return
        self._next_at = now + float(EVERY_MS) / 1000
        side, price = (OrderSide.SELL, bid) if len(stamps) % 2 else (OrderSide.BUY, ask)
        stamps.append(deltas.ts_event)
        qty = self._pair.make_qty(QTY)
        self.submit_order(self.order_factory.limit(PAIR, side, qty, price, time_in_force=TimeInForce.IOC))


common: dict[str, Any] = {
    "api_key": os.environ["KRAKEN_API_KEY"],
    "api_secret": os.environ["KRAKEN_API_SECRET"],
    "base_url_http_spot": REST,
    "max_requests_per_second": 1000,
    "instrument_provider": InstrumentProviderConfig(load_all=True),
}
node = TradingNode(
    TradingNodeConfig(
        trader_id=TraderId("BENCH-001"),
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        data_clients={KRAKEN: KrakenDataClientConfig(base_url_ws_spot=PUBLIC, **common)},
        exec_clients={KRAKEN: KrakenExecClientConfig(base_url_ws_spot=PRIVATE, **common)},
        timeout_connection=20.0,
        timeout_disconnection=2.0,
        timeout_post_stop=0.5,
    )
)
node.trader.add_strategy(Trader())
node.add_data_client_factory(KRAKEN, KrakenLiveDataClientFactory)
node.add_exec_client_factory(KRAKEN, KrakenLiveExecClientFactory)
node.build()
node.get_event_loop().call_later(float(SECONDS), node.stop)
try:
    node.run()
finally:
    print(json.dumps({"version": version("nautilus_trader"), "stamps": stamps}), flush=True)
    node.dispose()
