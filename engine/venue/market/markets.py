"""The market of each listed pair."""

from collections.abc import Iterator, Mapping

from engine.units import WallNs
from engine.venue.market.pair_market import PairMarket, TradesHandler
from engine.venue.market.pairs import PairSpec


class Markets(Mapping[str, PairMarket]):
    """The market of each listed pair, opened when it is first asked for.

    When that is makes no difference to what it is: a book is filled by the seed, as of the
    moment at which the venue opened. It takes 10 ms.
    """

    def __init__(
        self, pairs: tuple[PairSpec, ...], seed: int, opened_at: WallNs, *, are_mirrored: bool = False
    ) -> None:
        self._listed = {pair.symbol: pair for pair in pairs}
        self._seed = seed
        self._opened_at = opened_at
        self._are_mirrored = are_mirrored
        self._opened: dict[str, PairMarket] = {}
        self._on_trades: TradesHandler | None = None

    def __getitem__(self, symbol: str) -> PairMarket:
        market = self._opened.get(symbol)
        if market is None:
            market = self._opened[symbol] = PairMarket(
                self._listed[symbol], self._seed, self._opened_at, is_mirrored=self._are_mirrored
            )
            market.on_trades = self._on_trades
        return market

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._listed

    def __repr__(self) -> str:
        return f"Markets(opened {len(self._opened)} of {len(self._listed)})"

    def tell_trades_to(self, handler: TradesHandler) -> None:
        """Have `handler` called for every event with fills, see `PairMarket.on_trades`."""
        self._on_trades = handler
        for market in self._opened.values():
            market.on_trades = handler

    def pair(self, symbol: str) -> PairSpec:
        """A pair in its present precision; opens nothing."""
        market = self._opened.get(symbol)
        return self._listed[symbol] if market is None else market.pair

    def pairs(self) -> tuple[PairSpec, ...]:
        """All pairs, in their present precision."""
        return tuple(map(self.pair, self._listed))
