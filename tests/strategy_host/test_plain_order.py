"""What is read at once as a plain order is what the general code reads."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from engine.market import Pair
from engine.orders.client_order_id import client_order_ids
from engine.orders.intent import IS_IOC, IS_POST_ONLY, IS_SELL, PLAIN_FLAGS
from engine.orders.rings.commands import COMMANDS, Submit, pack_plain, pack_shape, unpack_shape
from engine.strategy.order_options import make_intent, plain_limit
from engine.strategy_host.order_client import PlainCommands, PortablePlainCommands
from engine.units import DIGITS_MAX, MonoNs, WallNs
from tests.examples import times
from tests.strategy_host.rig import ClientRig

D = Decimal
PAIRS = [
    Pair("BTC/USD", 1, 8, price_increment_ticks=5, qty_increment_lots=1000),
    Pair("PEPE/USD", 12, 0),
    Pair('%s"é🪙/\0', 0, 18),
    Pair("DUST/USD", DIGITS_MAX, DIGITS_MAX),
    Pair("NO/PAIR", DIGITS_MAX + 1, 8),
]
PAIR = PAIRS[0]
NOW = WallNs(1_780_000_000_000_000_000)

numbers = st.one_of(
    st.decimals("-1", "100000", places=1),
    st.decimals("0.00001", "2", places=5),
    st.decimals(),
    st.decimals("0", "0.001", places=DIGITS_MAX),
    st.floats(),
    st.integers(-1, 2**64),
    st.sampled_from([D("1E+20"), D("1E+999999"), D("1E-999999"), D("0E+5"), D("9223372036854775807"), D("63500.50")]),
    st.sampled_from([D("922337203685477580.7"), D("922337203685477580.8"), D("0.1" + "0" * 99), D("-0"), D("sNaN")]),
    st.sampled_from(
        ["1.5", "1_0", " 2 ", "1e3", "0x1", "", "nan", "١", "1" * 5000, 10**5000, D("1" * 5000), True, None, b"1"]
    ),
)
options = st.dictionaries(
    st.sampled_from(["limit", "limit", "post_only", "time_in_force", "tag", "order_type", "reduce_only", "price"]),
    st.one_of(numbers, st.booleans(), st.sampled_from(["gtc", "ioc", "IOC", "fok", "limit", 1, None])),
    max_size=4,
)
usual = st.fixed_dictionaries(
    {"limit": numbers},
    optional={
        "post_only": st.booleans(),
        "time_in_force": st.sampled_from(["gtc", "ioc"]),
        "order_type": st.sampled_from(["limit", "iceberg"]),
        "tag": st.just("any"),
    },
)
sides = st.sampled_from(["buy", "sell", "BUY", "hold", 1])


@times(8)
@given(st.sampled_from(PAIRS), sides, numbers, st.one_of(options, usual))
def test_a_plain_order_is_the_one_that_the_general_code_makes(
    pair: Pair, side: Any, qty: Any, given_options: Any
) -> None:
    """And its record says the same; what that code refuses is never plain."""
    plain = plain_limit(pair, side, qty, given_options)
    event(f"plain: {plain is not None}")
    if plain is None:
        return
    flags, ticks, lots = plain
    shape = pack_shape("quoter", pair, flags)
    record = pack_plain(shape, "quoter000000000001", ticks, lots, MonoNs(5), MonoNs(3))

    intent = make_intent(pair, side, qty, given_options, NOW)
    assert COMMANDS.unpack(record.ljust(4088, b"\0")) == Submit("quoter", "quoter000000000001", intent, 5, 3)


@times(12)
@given(
    st.lists(st.tuples(st.sampled_from(PAIRS), sides, numbers, st.one_of(options, usual)), min_size=1, max_size=4),
    st.integers(0, 2**62),
)
def test_a_plain_order_is_packed_alike_by_both_implementations(orders: list[Any], now: int) -> None:
    """The same records, names and numbers, order after order, and the same orders are left to the general code."""
    plain = [commands("quoter", client_order_ids("quoter", 7)) for commands in (PortablePlainCommands, PlainCommands)]
    for pair, side, qty, given_options in orders:
        portable, chosen = (
            commands.pack(pair, side, qty, given_options, MonoNs(now), MonoNs(now // 2)) for commands in plain
        )
        event(f"plain: {portable is not None}")

        assert portable == chosen


@pytest.mark.parametrize("commands", [PortablePlainCommands, PlainCommands])
def test_a_number_of_half_a_character_is_left_to_the_general_code(commands: Any) -> None:
    """That refuses it with a sentence, as any text that is no number."""
    plain = commands("quoter", client_order_ids("quoter", 7))

    assert plain.pack(PAIR, "buy", "\ud800", {"limit": "1"}, MonoNs(1), MonoNs(0)) is None
    assert plain.pack(PAIR, "buy", "1", {"limit": "\ud800"}, MonoNs(1), MonoNs(0)) is None


def test_a_pair_that_has_changed_is_another_shape() -> None:
    """What was prepared is of the pair as it was."""
    for commands in (PortablePlainCommands, PlainCommands):
        plain = commands("quoter", client_order_ids("quoter", 7))
        for decimals, ticks in ((1, 635005), (2, 6350050), (1, 635005)):
            packed = plain.pack(
                Pair("BTC/USD", decimals, 8), "buy", D(1), {"limit": D("63500.5")}, MonoNs(1), MonoNs(0)
            )

            assert packed is not None
            assert packed[2] == ticks
            assert COMMANDS.unpack(packed[0]).intent.price_decimals == decimals  # type: ignore[union-attr]


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"post_only": True},
        {"time_in_force": "ioc"},
        {"tag": object()},
        {"order_type": "limit", "time_in_force": "gtc", "post_only": True},
    ],
)
@pytest.mark.parametrize("price", [D("63500.5"), "63500.5", 63500.5, 63500])
def test_the_usual_orders_are_plain(side: str, more: dict[str, Any], price: Any) -> None:
    """Limit orders, resting or immediate, whatever type a number has."""
    assert plain_limit(PAIR, side, "0.01", {"limit": price, **more}) is not None


@pytest.mark.parametrize(
    ("strategy", "symbol"),
    [("s" * 248, "BTC/USD"), ("quoter", "B" * 249), ("quoter", "é" * 125), ("a\0b", "BTC/USD"), ("quoter", "\ud800")],
)
def test_a_name_that_the_layout_cannot_hold_goes_the_general_way(strategy: str, symbol: str) -> None:
    """Nothing is cut to fit, or read as another name."""
    assert pack_shape(strategy, Pair(symbol, 1, 8), 0) == b""
    assert pack_shape("quoter", Pair("BTC/USD", 256, 8), 0) == b""


@given(
    st.text(max_size=40),
    st.text(max_size=40),
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from([*PLAIN_FLAGS]),
)
def test_a_shape_comes_back_as_it_was(strategy: str, symbol: str, prices: int, lots: int, flags: int) -> None:
    """Names may be any text."""
    packed = pack_shape(strategy, Pair(symbol, prices, lots), flags)
    if not packed:
        assert "\0" in strategy
        return
    shape = unpack_shape(packed)

    assert (shape.strategy, shape.symbol, shape.price_decimals, shape.qty_decimals) == (strategy, symbol, prices, lots)
    assert (shape.side == "sell", shape.post_only, shape.time_in_force == "ioc") == (
        bool(flags & IS_SELL),
        bool(flags & IS_POST_ONLY),
        bool(flags & IS_IOC),
    )


def test_a_full_ring_refuses_a_plain_order_with_a_sentence() -> None:
    """It is refused once, and not open."""
    rig = ClientRig(slot_count=2)
    orders = [rig.submit(D("1"), limit=D("60000.0")) for _ in range(3)]

    assert [order.state.name for order in orders] == ["NEW", "NEW", "REFUSED"]
    assert "queue is full" in orders[2].reason
    assert rig.client.open_orders == tuple(orders[:2])
    assert rig.client.refused == 1
    assert [command.key for command in rig.sent() if isinstance(command, Submit)] == [order.id for order in orders[:2]]
