"""NautilusTrader: a strategy in its live node, subscribed to order book deltas."""

from importlib.metadata import version
from typing import Any

from nautilus_trader.adapters.kraken import KRAKEN, KrakenDataClientConfig, KrakenLiveDataClientFactory
from nautilus_trader.config import InstrumentProviderConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy
from tally import DEPTH, SYMBOLS, Tally, called_with

call, tally = called_with(), Tally()


class Books(Strategy):  # type: ignore[misc]
    """Counts."""

    def on_start(self) -> None:
        """Subscribe."""
        for symbol in SYMBOLS:
            self.subscribe_order_book_deltas(InstrumentId.from_str(f"{symbol}.{KRAKEN}"), depth=DEPTH)

    def on_order_book_deltas(self, deltas: Any) -> None:
        """A message of Kraken's, applied to its book."""
        if tally.message():
            tally.age(deltas.ts_event)


data = KrakenDataClientConfig(
    base_url_http_spot=call.rest,
    base_url_ws_spot=call.ws,
    instrument_provider=InstrumentProviderConfig(load_all=True),
)
node = TradingNode(
    TradingNodeConfig(
        trader_id=TraderId("BENCH-001"),
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        data_clients={KRAKEN: data},
        timeout_connection=20.0,
        timeout_disconnection=2.0,
        timeout_post_stop=0.5,
    )
)
node.trader.add_strategy(Books())
node.add_data_client_factory(KRAKEN, KrakenLiveDataClientFactory)
node.build()
node.get_event_loop().call_later(call.seconds, node.stop)
try:
    node.run()
finally:
    tally.tell(version("nautilus_trader"))
    node.dispose()
