"""What the page shows of the account, from a router that does not know all of it, or does not answer."""

import asyncio
from pathlib import Path
from typing import Any

from engine.history import rebuild
from engine.net.control_socket import serve_control
from engine.page.account import ORDER_COLUMNS, AccountReader
from tests.filled_orders import life

ORDER = {**dict.fromkeys(ORDER_COLUMNS, ""), "id": "a"}
USD = {"asset": "USD", "total": "5"}


def test_a_router_that_knows_no_balances_yet_hides_nothing_else(tmp_path: Path) -> None:
    """So it is after its restart; and without a router the last that was told stays, with a note."""
    rebuild(tmp_path / "history.sqlite", life(1))
    told: dict[str, Any] = {"balances": [USD]}
    reader = AccountReader(tmp_path / "router", str(tmp_path))

    async def main() -> None:
        commands = {"orders": lambda _: {"orders": [ORDER]}, "balances": lambda _: told}
        server = await serve_control(tmp_path / "router", commands)
        await reader.read()
        assert (reader.account.orders, reader.account.balances, reader.account.note) == ((ORDER,), (USD,), "")
        told.update(balances=None, reason="the account's snapshot has not come")
        await reader.read()
        assert (reader.account.orders, reader.account.balances) == ((ORDER,), ())
        assert len(reader.account.fills) == 2
        assert reader.account.note == "the account's snapshot has not come"
        told.update(balances=[USD], reason="")
        await reader.read()
        server.close()
        (tmp_path / "router").unlink()
        await reader.read()

    asyncio.run(main())
    assert (reader.account.orders, reader.account.balances, len(reader.account.fills)) == ((ORDER,), (USD,), 2)
    assert "the order router does not answer" in reader.account.note
    assert "the last that were told" in reader.account.note
