"""The market's other traders: a seeded stream of orders into one pair's matching engine.

The flow is shaped after genuine captures: most actions are limit orders and cancels near
the top of the book; sizes are heavy-tailed with some round and some tiny ones (0.00000029
BTC has been seen at the best ask); a few per cent of the actions take, some of these sweep
several levels, and some aggressive limit orders rest their remainder. A fair price that
returns to its mean keeps the price from drifting away.

Deterministic: the same pair, seed and book give the same actions. Time plays no part.
"""

from itertools import pairwise
from math import exp
from random import Random
from typing import Final

from engine.units import PriceTicks, QtyLots
from engine.venue.market.matching import BUY, SELL, Order, OrderBook, Outcome, Side
from engine.venue.market.pairs import PairSpec
from engine.venue.market.precision import Change

FLOW_OWNER: Final = 0  # the owner of the flow's orders; the flow never touches others

NEAR_LEVELS: Final = 10  # the levels that the flow calls near: the depth that most clients subscribe to
NEAR_SHARE: Final = 0.72  # of the actions are near, the rest deeper, so that deep windows change more often
MARKET_SHARE: Final = 0.04  # takers: enough for a lively tape, few enough that most updates are quotes, as at Kraken
AGGRESSIVE_SHARE: Final = 0.02  # takers that rest a remainder: messages with both sides
AMEND_SHARE: Final = 0.22
SWEEP_LEVELS_MAX: Final = 6

FAIR_RETURN: Final = 0.0005  # per action: the fair price forgets within some 2,000 actions
FAIR_SPREAD_OF_MID: Final = 0.01  # the fair price rarely goes further than 1 % from its mean

assert MARKET_SHARE + AGGRESSIVE_SHARE + AMEND_SHARE < 1


class OrderFlow:
    """The order flow of one pair."""

    def __init__(self, pair: PairSpec, book: OrderBook, seed: int) -> None:
        self._book = book
        self._rng = Random(f"{seed} {pair.symbol}")
        self._random = self._rng.random  # hot: one load
        self._fair = float(pair.mid_ticks)  # what the flow takes for the fair price, in ticks
        self._scale_to(pair)

    def _scale_to(self, pair: PairSpec) -> None:
        self._pair = pair
        # Standard deviation of one step of the fair price; its stationary deviation is
        # 1/sqrt(2 × FAIR_RETURN) as much.
        self._fair_step = min(2.0 * pair.gap_ticks, FAIR_SPREAD_OF_MID * pair.mid_ticks * (2 * FAIR_RETURN) ** 0.5)
        self._levels_min = max(3, min(pair.levels_target // 3, 120))  # a side never gets fewer levels by the flow
        self._near_span = NEAR_LEVELS * pair.gap_ticks  # usual distance from the first to the tenth level

    def relist(self, change: Change) -> None:
        """Continue in another precision."""
        self._fair = max(1.0, self._fair * 10.0 ** (change.after.price_decimals - change.before.price_decimals))
        self._scale_to(change.after)

    def open_book(self) -> list[Outcome]:
        """Fill an empty book to the pair's usual depth, with some junk orders far away."""
        outcomes = []
        mid = self._pair.mid_ticks
        for side, sign in ((BUY, -1), (SELL, +1)):
            price = mid + sign
            for rank in range(self._pair.levels_target):
                if price <= 1:
                    break
                orders = 1 if self._random() < 0.8 else 2 + int(2 * self._random())
                outcomes += [self._place(side, price) for _ in range(orders)]
                price += sign * (1 + int(self._rng.expovariate(1.0) * self._pair.gap_ticks * (1 + rank / 50)))
            # Junk orders are real: an ask of 886110000000.00 has been seen in a deep book,
            # and a bid at one tick.
            junk_prices = (1, max(1, mid // 20)) if side is BUY else (mid * 40, mid * 1_000_000)
            outcomes += [self._place(side, price) for price in junk_prices]
        return outcomes

    def act(self) -> Outcome:
        """Take one action. An outcome without changes means that it was not possible."""
        self._fair += FAIR_RETURN * (self._pair.mid_ticks - self._fair)
        self._fair += self._fair_step * 3.46 * (self._random() - 0.5)  # uniform with a deviation of one step
        draw = self._random()
        if draw < MARKET_SHARE:
            return self._market()
        draw -= MARKET_SHARE
        if draw < AGGRESSIVE_SHARE:
            return self._aggressive_limit()
        side = BUY if self._random() < 0.5 else SELL
        draw -= AGGRESSIVE_SHARE
        if draw < AMEND_SHARE:
            return self._amend(side)
        near = self._random() < NEAR_SHARE
        if self._random() < self._add_share(side, near):
            return self._add(side, near)
        return self._cancel(side, near)

    def withdraw(self) -> Outcome:
        """Cancel an order of the flow, or add one that rests: all that happens while
        nothing is matched.
        """
        return self._cancel(BUY if self._random() < 0.5 else SELL, near=True)

    # --- actions

    def _place(self, side: Side, price: int) -> Outcome:
        return self._book.limit(FLOW_OWNER, side, PriceTicks(price), self._qty())

    def _add(self, side: Side, near: bool) -> Outcome:
        """Rest an order: inside the spread, among the levels, or behind the last one."""
        best_bid, best_ask = self._book.best(BUY), self._book.best(SELL)
        if best_bid is None or best_ask is None:  # emptied by clients: start again around the fair price
            own_far = self._fair - 1 if side is BUY else self._fair + 1
            return self._place_uncrossed(side, int(own_far))
        spread = best_ask - best_bid
        if near and spread > 1 and self._random() < (0.75 if spread > 2 * self._pair.gap_ticks else 0.15):
            return self._improve(best_bid, best_ask)
        count = self._book.level_count(side)
        rank = self._rank(count, near)
        anchor = self._book.price_at(side, rank)
        outward = -1 if side is BUY else 1
        if not near and rank >= count - 3:  # behind all others, except junk
            rank = max(0, count - 4)
            anchor = self._book.price_at(side, rank)
            return self._place_uncrossed(side, anchor + outward * (1 + int(self._random() * 3 * self._pair.gap_ticks)))
        reach = 1 + self._pair.gap_ticks * (1 if near else 1 + rank // 50)
        return self._place_uncrossed(side, anchor + int((2 * self._random() - 0.8) * reach) * outward)

    def _improve(self, best_bid: PriceTicks, best_ask: PriceTicks) -> Outcome:
        """Place a better quote than the best, more likely on the side that the fair price
        favors.
        """
        mid = (best_bid + best_ask) / 2
        step = 1 + int(self._random() ** 2 * min(best_ask - best_bid - 1, 3 * self._pair.gap_ticks))
        if self._random() < (0.8 if self._fair > mid else 0.2):
            return self._place_uncrossed(BUY, best_bid + step)
        return self._place_uncrossed(SELL, best_ask - step)

    def _place_uncrossed(self, side: Side, price: int) -> Outcome:
        """Rest an order at a price, or as near to it as the other side allows."""
        if side is BUY:
            best_ask = self._book.best(SELL)
            return self._place(side, max(1, price if best_ask is None else min(price, best_ask - 1)))
        return self._place(side, max(price, (self._book.best(BUY) or 0) + 1))

    def _cancel(self, side: Side, near: bool) -> Outcome:
        if self._book.level_count(side) <= self._levels_min:
            return self._add(side, near)
        order = self._some_order(side, near)
        return self._add(side, near) if order is None else self._book.cancel(order.order_id)

    def _amend(self, side: Side) -> Outcome:
        """Amend an order: less, more, or another price, a third each, roughly."""
        near = self._random() < NEAR_SHARE
        order = self._some_order(side, near)
        if order is None:
            return self._add(side, near)
        draw = self._random()
        if draw < 0.4 and order.open_qty > 1:
            less = 1 + int(self._random() * (order.open_qty - 1))
            return self._book.amend(order.order_id, qty=QtyLots(order.filled_qty + less))
        if draw < 0.65:
            return self._book.amend(order.order_id, qty=QtyLots(order.filled_qty + order.open_qty + self._qty()))
        shift = int((2 * self._random() - 1) * (1 + 2 * self._pair.gap_ticks))
        price = order.price + (shift or 1)
        if side is BUY:
            price = max(1, min(price, (self._book.best(SELL) or price + 1) - 1))
        else:
            price = max(price, (self._book.best(BUY) or 0) + 1)
        return self._book.amend(order.order_id, price=PriceTicks(price))

    def _market(self) -> Outcome:
        """Take part of the best level, or sweep some. Half of the takers use a limit at the
        touch instead.
        """
        side = self._taker_side()
        makers = SELL if side is BUY else BUY
        room = self._book.level_count(makers) - self._levels_min
        if room < 1:
            return self._add(makers, near=True)
        swept = 0 if self._random() < 0.6 else min(room, int(SWEEP_LEVELS_MAX * self._random() ** 2))
        levels = self._book.levels(makers, swept + 1)
        last = levels[-1][1]
        qty = sum(qty for _, qty in levels[:-1]) + 1 + int(min(self._random() * 1.2, 1.0) * (last - 1))
        if self._random() < 0.5:
            return self._book.market(FLOW_OWNER, side, QtyLots(qty))
        return self._book.limit(FLOW_OWNER, side, levels[-1][0], QtyLots(qty))

    def _aggressive_limit(self) -> Outcome:
        """Take whole levels of the other side and rest the remainder at the last one's
        price.
        """
        side = self._taker_side()
        makers = SELL if side is BUY else BUY
        room = self._book.level_count(makers) - self._levels_min
        if room < 1:
            return self._add(makers, near=True)
        levels = self._book.levels(makers, min(room, 1 + int(2.5 * self._random() ** 2)))
        qty = sum(qty for _, qty in levels) + self._qty()
        return self._book.limit(FLOW_OWNER, side, levels[-1][0], QtyLots(qty))

    # --- choices

    def _taker_side(self) -> Side:
        """Choose the taker's side: buyers prevail below the fair price, which turns the
        price back.
        """
        best_bid, best_ask = self._book.best(BUY), self._book.best(SELL)
        if best_bid is None or best_ask is None:
            return BUY if best_bid is None else SELL
        lean = (self._fair - (best_bid + best_ask) / 2) / (20 * self._pair.gap_ticks)
        return BUY if self._random() < 0.5 + max(-0.4, min(0.4, lean)) else SELL

    def _add_share(self, side: Side, near: bool) -> float:
        """The probability of an order instead of a cancel, which keeps the book at its
        usual depth.
        """
        count = self._book.level_count(side)
        lack = (self._pair.levels_target - count) / self._pair.levels_target
        if near and count >= 2 * NEAR_LEVELS:
            span = abs(self._book.price_at(side, NEAR_LEVELS - 1) - self._book.price_at(side, 0))
            lack = 0.5 * (span / self._near_span - 1)
        return 0.5 + max(-0.4, min(0.4, lack))

    def _rank(self, count: int, near: bool) -> int:
        """Choose a rank: evenly among the near levels, a tenth as often for every tenfold
        beyond them.
        """
        if near or count <= NEAR_LEVELS:
            return min(count - 1, int(NEAR_LEVELS * self._random()))
        return min(count - 1, int(NEAR_LEVELS * (count / NEAR_LEVELS) ** self._random()))

    def _some_order(self, side: Side, near: bool) -> Order | None:
        """One of the flow's own orders, or None where it has none."""
        count = self._book.level_count(side)
        if not count:
            return None
        price = self._book.price_at(side, self._rank(count, near))
        own = [order for order in self._book.orders_at(side, price) if order.owner == FLOW_OWNER]
        return own[int(self._random() * len(own))] if own else None

    def _qty(self) -> QtyLots:
        """Choose a quantity: heavy-tailed about the pair's typical one, some round, some of
        a few lots.
        """
        draw = self._random()
        if draw < 0.02:
            return QtyLots(1 + int(self._random() * 100))
        if draw < 0.15:
            return QtyLots(max(1, int(self._pair.typical_lots * _ROUND_SHARES[int(self._random() * 4)])))
        # The sum of three uniforms is near enough to a normal deviate, and three times as
        # fast.
        deviate = 2.0 * (self._random() + self._random() + self._random() - 1.5)
        return QtyLots(max(1, int(self._pair.typical_lots * exp(1.4 * deviate))))


_ROUND_SHARES: Final = (0.001, 0.1, 1.0, 10.0)  # of the typical quantity: round sizes
assert all(less < more for less, more in pairwise(_ROUND_SHARES))
