"""The balances in shared memory: what is stored is read, by whoever looks, and outlives the writer."""

from decimal import Decimal

from engine.orders.balances import ASSETS_MAX
from engine.orders.rings.reports import Balance
from engine.processes.balance_board import BalanceBoardReader, BalanceBoardWriter
from tests.order_router.rig import balance_board

D = Decimal


def test_a_balance_is_unknown_until_it_is_stored_or_all_are_told() -> None:
    """An asset that nobody named is then not held."""
    memory = balance_board()
    writer, reader = BalanceBoardWriter(memory), BalanceBoardReader(memory)
    assert reader.balance("USD") is None
    writer.store(usd := Balance("USD", D("1.50"), D(1), D("0.50"), D(7)))

    assert reader.balance("USD") == usd
    assert reader.balance("BTC") is None
    writer.tell_all()
    assert reader.balance("BTC") == Balance("BTC")


def test_a_successor_stores_each_asset_where_it_was() -> None:
    """So no reader sees an older one of two."""
    memory = balance_board()
    first, reader = BalanceBoardWriter(memory), BalanceBoardReader(memory)
    first.store(Balance("USD", D(1)))
    first.store(Balance("BTC", D(2)))
    assert reader.balance("BTC") == Balance("BTC", D(2))
    second = BalanceBoardWriter(memory)
    second.store(Balance("ETH", D(3)))
    second.store(Balance("BTC", D(4)))

    assert second.assets == ("USD", "BTC", "ETH")
    assert [str(reader.balance(asset).total) for asset in ("USD", "BTC", "ETH")] == ["1", "4", "3"]


def test_what_finds_no_room_leaves_the_others_as_they_were(capsys) -> None:
    """Numbers beyond a slot, and more assets than there are slots: logged once each."""
    memory = balance_board()
    writer, reader = BalanceBoardWriter(memory), BalanceBoardReader(memory)
    for number in range(ASSETS_MAX):
        writer.store(Balance(f"A{number}", D(number)))
    for _ in range(2):
        writer.store(Balance("A7", D("1" * 300)))
        writer.store(Balance("MORE", D(1)))

    assert reader.balance("A7") == Balance("A7", D(7))
    assert reader.balance(f"A{ASSETS_MAX - 1}") == Balance(f"A{ASSETS_MAX - 1}", D(ASSETS_MAX - 1))
    assert reader.balance("MORE") is None
