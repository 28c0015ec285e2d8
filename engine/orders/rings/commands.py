"""What a strategy host asks of the order router, through the command ring.

`key` is the engine's name of an order. `issued_at` is CLOCK_MONOTONIC of this host: the
router refuses an order or an amend that is older than its time to live, never a cancel.
`tick_at` is when the frame arrived that the strategy reacted to; 0 without one.

A command is MessagePack, as `framing` describes. Most orders are plain, limit orders with
at most `post_only` or ioc, and have a layout of their own, which takes no decoding:

byte  0        4           12        20      28     36     54      58
      ┌────────┬───────────┬─────────┬───────┬──────┬──────┬───────┬────────────────────┐
      │ length │ issued_at │ tick_at │ ticks │ lots │ key  │ terms │ strategy 00 symbol │  little-endian
      └────────┴───────────┴─────────┴───────┴──────┴──────┴───────┴────────────────────┘

The length is that of what follows, as in the others, with the highest bit set. The terms
are four bytes: flags, the decimals of price and quantity, and the length of the names
behind them. With the names they are the order's *shape*, which all orders have in common
that differ in price, quantity and key only.
"""

from struct import Struct as Packing
from typing import Annotated, Final

from msgspec import Meta, Struct

from engine.errors import UnreadableRecord
from engine.market import Pair
from engine.orders.client_order_id import ID_CHARS
from engine.orders.intent import IS_IOC, IS_POST_ONLY, IS_SELL, PLAIN_FLAGS, Amendment, OrderIntent, Side
from engine.orders.rings.framing import LENGTH, Framing, excerpt
from engine.units import MonoNs, PriceTicks, QtyLots

COMMAND_RECORD_BYTES = 4088  # a batch of fifteen orders with every parameter set; with its stamp, a page
COMMAND_SLOTS = 1024
BATCH_ORDERS_MAX = 15  # Kraken's
TEXT_CHARS_MAX = 200  # of a reason


class Submit(Struct, frozen=True, array_like=True, tag="s"):
    """Send a new order."""

    strategy: str
    key: str
    intent: OrderIntent
    issued_at: MonoNs
    tick_at: MonoNs


class SubmitBatch(Struct, frozen=True, array_like=True, tag="b"):
    """Send 2 to 15 orders of one pair in one request."""

    strategy: str
    orders: Annotated[list[tuple[str, OrderIntent]], Meta(min_length=2, max_length=BATCH_ORDERS_MAX)]
    issued_at: MonoNs
    tick_at: MonoNs


class Amend(Struct, frozen=True, array_like=True, tag="a"):
    """Change an open order in place."""

    key: str
    amendment: Amendment
    issued_at: MonoNs
    tick_at: MonoNs


class Cancel(Struct, frozen=True, array_like=True, tag="c"):
    """Cancel orders: a single one with cancel_order, several with batch_cancel."""

    strategy: str
    keys: list[str]


class CancelAll(Struct, frozen=True, array_like=True, tag="x"):
    """Cancel every open order of a strategy, on one pair or on all (symbol "")."""

    strategy: str
    symbol: str


class StatusRequest(Struct, frozen=True, array_like=True, tag="q"):
    """Report these orders. Earlier commands have been taken by then, so an order that the
    router does not know was never sent.
    """

    strategy: str
    keys: list[str]


class StrategyEnded(Struct, frozen=True, array_like=True, tag="e"):
    """A strategy was halted: it sends no more commands; its orders are canceled or kept as
    configured."""

    strategy: str
    reason: str


Command = Submit | SubmitBatch | Amend | Cancel | CancelAll | StatusRequest | StrategyEnded


# --- the layout of plain orders

PLAIN: Final = 0x8000_0000  # added to the length
PLAIN_NUMBERS: Final = Packing(f"<Iqqqq{ID_CHARS}s")
TERMS_BYTES: Final = 4
SHAPE_AT: Final = PLAIN_NUMBERS.size
NAMES_AT: Final = SHAPE_AT + TERMS_BYTES


class PlainShape(Struct, frozen=True):
    """What a plain order is apart from its price, its quantity and its key."""

    strategy: str
    symbol: str
    side: Side
    price_decimals: int
    qty_decimals: int
    time_in_force: str
    post_only: bool

    def intent(self, ticks: PriceTicks, lots: QtyLots) -> OrderIntent:
        """An order of this shape."""
        return OrderIntent(
            symbol=self.symbol, side=self.side, order_type="limit", price_decimals=self.price_decimals,
            qty_decimals=self.qty_decimals, qty=lots, limit_price=ticks, time_in_force=self.time_in_force,
            post_only=self.post_only,
        )  # fmt: skip


def pack_shape(strategy: str, pair: Pair, flags: int) -> bytes:
    """The end of a plain order's record; `flags` as in `intent`. Empty if this layout
    cannot say it, for which names and decimals would have to be absurd.
    """
    try:
        names = f"{strategy}\0{pair.symbol}".encode()
        terms = bytes((flags, pair.price_decimals, pair.qty_decimals, len(names)))
    except ValueError:  # beyond a byte, or no Unicode
        return b""
    return b"" if "\0" in strategy else terms + names


def unpack_shape(packed: bytes) -> PlainShape:
    """The shape that was packed; ValueError when it is none."""
    strategy, separator, symbol = packed[TERMS_BYTES:].decode().partition("\0")
    flags, price_decimals, qty_decimals, names_bytes = packed[:TERMS_BYTES]
    if not separator or names_bytes != len(packed) - TERMS_BYTES or flags not in PLAIN_FLAGS:
        raise ValueError("it has no shape of a plain order")
    return PlainShape(
        strategy,
        symbol,
        "sell" if flags & IS_SELL else "buy",
        price_decimals,
        qty_decimals,
        "ioc" if flags & IS_IOC else "gtc",
        flags & IS_POST_ONLY != 0,
    )


def pack_plain(
    shape: bytes, key: str, ticks: PriceTicks, lots: QtyLots, issued_at: MonoNs, tick_at: MonoNs
) -> bytes:  # fmt: skip
    """The record of a plain order; `shape` is of `pack_shape`, amounts have 63 bits."""
    length = PLAIN | SHAPE_AT - LENGTH.size + len(shape)
    return PLAIN_NUMBERS.pack(length, issued_at, tick_at, ticks, lots, key.encode()) + shape


def is_plain(record: bytes) -> bool:
    """Whether a record of the command ring has the layout of plain orders."""
    return len(record) >= NAMES_AT and record[3] >= PLAIN >> 24


def shape_in(record: bytes) -> bytes:
    """The packed shape in the record of a plain order."""
    return record[SHAPE_AT : NAMES_AT + record[NAMES_AT - 1]]


class _CommandFraming(Framing[Command]):
    """Reads both layouts; what it packs is MessagePack."""

    def unpack(self, record: bytes) -> Command:
        if not is_plain(record):
            return super().unpack(record)
        try:
            _, issued_at, tick_at, ticks, lots, key = PLAIN_NUMBERS.unpack_from(record)
            shape = unpack_shape(shape_in(record))
            name = key.decode("ascii")
        except (ValueError, IndexError) as error:
            raise UnreadableRecord(f"{error}; it holds {excerpt(record)}") from None
        return Submit(shape.strategy, name, shape.intent(ticks, lots), issued_at, tick_at)


COMMANDS: Framing[Command] = _CommandFraming(Command, COMMAND_RECORD_BYTES)
