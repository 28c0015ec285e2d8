"""The reading calls of REST, held against genuine answers, and what they tell of orders as they live and end."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.venue.setup.keys import PERMISSIONS
from tests.venue.rest_client import THREE_PAIRS, RestClient, limit_buy, standing_venue


def captured(genuine: Path, name: str) -> Any:
    return json.loads((genuine / "private" / "rest_private" / f"{name}.json").read_text())["result"]


def first(rows: dict[str, Any]) -> dict[str, Any]:
    return dict(next(iter(rows.values())))


async def place(client: RestClient, **more: Any) -> str:
    return str((await client.result("AddOrder", **limit_buy(**more)))["txid"][0])


async def sell_at_market(client: RestClient, volume: str = "0.5") -> str:
    order = {"pair": "XBTUSD", "type": "sell", "ordertype": "market", "volume": volume}
    return str((await client.result("AddOrder", **order))["txid"][0])


async def test_an_open_order_looks_like_a_genuine_one(genuine: Path):
    """Field by field the capture of 2026: an amended order with a client order id."""
    expected = first(captured(genuine, "OpenOrders_2026")["open"])
    async with standing_venue() as (_, client):
        txid = await place(client, price="60000", volume="0.0001", cl_ord_id="aff1f7b04d000200")
        await client.result("AmendOrder", txid=txid, limit_price="61818")
        rows = (await client.result("OpenOrders"))["open"]

    row = rows[txid]
    assert list(row) == list(expected)
    assert list(row["descr"]) == list(expected["descr"])
    changed = {"opentm": row["opentm"], "descr": row["descr"]}
    assert row | changed == expected | changed
    assert row["descr"] == expected["descr"] | {
        "pair": "XBTUSD",
        "price": "61818.0",
        "order": "buy 0.00010000 XBTUSD @ limit 61818.0",
    }


async def test_orders_have_a_userref_even_without_one():
    """0 for an order that was given neither, its own for one that was, none beside a client order id."""
    async with standing_venue() as (_, client):
        await place(client)
        await place(client, userref="-7")
        await place(client, cl_ord_id="mine")
        rows = (await client.result("OpenOrders"))["open"].values()
        chosen = (await client.result("OpenOrders", userref="-7"))["open"]
        named = (await client.result("OpenOrders", cl_ord_id="mine"))["open"]

    assert [row["userref"] for row in rows] == [None, -7, 0]
    assert [row["userref"] for row in chosen.values()] == [-7]
    assert [row["cl_ord_id"] for row in named.values()] == ["mine"]


async def test_a_closed_order_looks_like_a_genuine_one(genuine: Path):
    """The fields of the captures, with reason and time of the end."""
    expected = captured(genuine, "ClosedOrders")["closed"]["1OX8PJ-DOX9B-1TAW4M"]
    async with standing_venue() as (_, client):
        txid = await place(client)
        await client.result("CancelOrder", txid=txid)
        result = await client.result("ClosedOrders")

    row = result["closed"][txid]
    assert row.keys() == expected.keys()
    assert (row["status"], row["reason"], result["count"]) == ("canceled", "User requested", 1)
    assert row["closetm"] > row["opentm"] > 1.7e9
    assert (row["cost"], row["price"], row["vol_exec"]) == ("0.00000", "0.00000", "0.00000000")


async def test_a_filled_order_adds_up():
    """Quantity, cost, fee and mean price are those of its trades; the balances moved by as much."""
    async with standing_venue() as (_, client):
        before = await client.result("Balance")
        txid = await sell_at_market(client)
        row = (await client.result("QueryOrders", txid=txid, trades="true"))[txid]
        trades = (await client.result("TradesHistory", consolidate_taker="false"))["trades"]
        merged = (await client.result("TradesHistory", ledgers="true"))["trades"]
        ledger = (await client.result("Ledgers"))["ledger"]
        after = await client.result("Balance")

    assert (row["status"], row["reason"], row["vol_exec"]) == ("closed", None, "0.50000000")
    assert sorted(row["trades"]) == sorted(trades)
    assert len(trades) > 1
    for field, whole in (("vol", "vol_exec"), ("cost", "cost"), ("fee", "fee")):
        assert sum(Decimal(trade[field]) for trade in trades.values()) == Decimal(row[whole])
    (one,) = merged.values()
    assert (one["vol"], one["cost"], one["fee"]) == (row["vol_exec"], row["cost"], row["fee"])
    assert sorted(one["ledgers"]) == sorted(ledger)
    assert Decimal(before["XXBT"]) - Decimal(after["XXBT"]) == Decimal("0.5")
    moved = sum(
        Decimal(entry["amount"]) - Decimal(entry["fee"]) for entry in ledger.values() if entry["asset"] == "ZUSD"
    )
    assert Decimal(after["ZUSD"]) - Decimal(before["ZUSD"]) == moved


@pytest.mark.parametrize("source", ["TradesHistory", "QueryTrades"])
async def test_a_trade_looks_like_a_genuine_one(genuine: Path, source: str):
    """The fields of the captures, the pair as its id, money to the cost precision."""
    expected = captured(genuine, source)
    expected = first(expected.get("trades", expected))
    async with standing_venue() as (_, client):
        await sell_at_market(client, "0.001")
        trades = (await client.result("TradesHistory", ledgers="true"))["trades"]
        if source == "QueryTrades":
            trades = await client.result("QueryTrades", txid=",".join(trades))

    row = first(trades)
    older = {key: type(value) for key, value in row.items() if key not in ("aclass", "tradeordertype")}
    assert older == {key: type(value) for key, value in expected.items()}
    assert row["pair"] == "XXBTZUSD"
    assert [len(row[field].partition(".")[2]) for field in ("price", "cost", "fee", "margin")] == [5, 5, 5, 5]
    assert row["maker"] is False


# A row of TradesHistory, with its entries, as it was on the wire on 2026-06-27.
TRADE_OF_2026 = json.loads(
    """{"ordertxid":"OSGGLD-7L567-4KBIUT","postxid":"TKH2SE-M7IF5-CFI7LT","pair":"XBTUSDC","aclass":"forex",
    "time":1782587828.681409,"type":"sell","ordertype":"market","tradeordertype":"market","price":"60508.75000",
    "cost":"3.63053","fee":"0.02904","vol":"0.00006000","margin":"0.00000","leverage":"0","misc":"",
    "trade_id":6820254,"maker":false,"ledgers":["LZWWII-S4VAD-FTRBPE","LTKOJ5-JWDZ4-3EQOER"]}"""
)


async def test_a_trade_looks_like_one_of_2026():
    """Key by key in the same order and of the same type, with the same words where a word is fixed."""
    async with standing_venue() as (_, client):
        await sell_at_market(client, "0.001")
        row = first((await client.result("TradesHistory", ledgers="true"))["trades"])

    assert [(key, type(value)) for key, value in row.items()] == [
        (key, type(value)) for key, value in TRADE_OF_2026.items()
    ]
    fixed = ("postxid", "aclass", "type", "ordertype", "tradeordertype", "margin", "leverage", "misc", "maker")
    assert {key: row[key] for key in fixed} == {key: TRADE_OF_2026[key] for key in fixed}


@pytest.mark.parametrize(
    ("kind", "prices", "traded_as"),
    [
        ("stop-loss", {"price": "90000"}, "market"),
        ("stop-loss-limit", {"price": "90000", "price2": "60000"}, "limit"),
        ("limit", {"price": "60000"}, "limit"),
    ],
)
async def test_a_triggered_order_trades_as_another_kind(kind: str, prices: dict[str, str], traded_as: str):
    """`ordertype` is what was asked, `tradeordertype` what took."""
    async with standing_venue() as (_, client):
        await client.result("AddOrder", pair="XBTUSD", type="sell", ordertype=kind, volume="0.001", **prices)
        row = first((await client.result("TradesHistory"))["trades"])

    assert (row["ordertype"], row["tradeordertype"]) == (kind, traded_as)


async def test_trades_can_be_those_of_one_pair():
    """By any of its names; the count is that pair's; a name that is none is refused, even before a fill was made."""
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        early = await client.error("TradesHistory", pair="NOPE")
        await sell_at_market(client, "0.001")
        await client.result("AddOrder", pair="ETHUSD", type="sell", ordertype="market", volume="0.1")
        found = [await client.result("TradesHistory", pair=name) for name in ("XETHZUSD", "ETHUSD", "ETH/USD")]
        none_yet = await client.result("TradesHistory", pair="DOGE/USD")
        of_class = await client.result("TradesHistory", pair="ETHUSD", aclass="forex")
        wrong_class = await client.error("TradesHistory", pair="ETHUSD", aclass="equity_pair")
        no_class = await client.error("TradesHistory", aclass="currency")
        everything = await client.result("TradesHistory", aclass="equity_pair")
        wrong = await client.error("TradesHistory", pair="NOPE", type="any position")

    assert all(first(answer["trades"])["pair"] == "XETHZUSD" and answer["count"] == 1 for answer in found)
    assert none_yet == {"trades": {}, "count": 0}
    assert of_class == found[0]
    assert {early, wrong, wrong_class} == {"EQuery:Unknown asset pair"}
    assert no_class == "EGeneral:Invalid arguments:aclass"
    assert everything["count"] == 2


async def test_trades_come_in_pages_of_the_size_asked_for():
    """50 of them, or `limit` up to 100, from `ofs` on; the count stays that of all."""
    async with standing_venue(count_rates=False) as (_, client):
        for _ in range(102):
            await sell_at_market(client, "0.0001")
        plain = await client.result("TradesHistory", consolidate_taker="false")
        sizes = {
            limit: len((await client.result("TradesHistory", limit=limit))["trades"])
            for limit in ("1", "7", "100", "5000")
        }
        rest = await client.result("TradesHistory", limit="100", ofs="100")
        two, one = [await client.result("TradesHistory", limit=limit) for limit in ("2", "1")]
        refused = [await client.error("TradesHistory", limit=limit) for limit in ("0", "-3", "many")]

    assert len(plain["trades"]) == 50
    assert sizes == {"1": 1, "7": 7, "100": 100, "5000": 100}
    assert (len(rest["trades"]), rest["count"]) == (2, 102)
    assert next(iter(one["trades"])) == next(iter(two["trades"]))
    assert set(refused) == {"EGeneral:Invalid arguments:limit"}


async def test_a_ledger_entry_looks_like_a_documented_one(genuine: Path):
    """Both legs of a trade, newest first; one can be asked for by its id."""
    expected = first(captured(genuine, "Ledgers_doc")["ledger"])
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        await sell_at_market(client, "0.001")
        result = await client.result("Ledgers")
        euros = await client.result("Ledgers", asset="XETH")
        trades = await client.result("Ledgers", type="trade", asset="ZUSD,XXBT")
        entry_id = next(iter(result["ledger"]))
        one = await client.result("QueryLedgers", id=entry_id)

    assert [row.keys() for row in result["ledger"].values()] == [expected.keys()] * result["count"]
    assert [row["asset"] for row in result["ledger"].values()] == ["ZUSD", "XXBT"]
    assert euros == {"ledger": {}, "count": 0}
    assert trades == result
    assert one == {entry_id: result["ledger"][entry_id]}


async def test_balances_look_like_genuine_ones(genuine: Path):
    """REST's own asset names, each padded to its asset; what open orders hold is told by BalanceEx alone."""
    genuine_decimals = {
        asset: len(text.partition(".")[2]) for asset, text in captured(genuine, "Balance").items() if asset != "USDC"
    }
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        await place(client, price="50000", volume="0.1")
        balances = await client.result("Balance")
        extended = await client.result("BalanceEx")

    for asset, text in balances.items():
        assert asset not in genuine_decimals or len(text.partition(".")[2]) == genuine_decimals[asset], asset
        assert extended[asset]["balance"] == text
    assert list(balances) == ["XETH", "XXBT", "XXDG", "ZUSD"]
    assert extended["XXBT"]["hold_trade"] == "0.0000000000"
    held = Decimal(extended["ZUSD"]["hold_trade"])
    assert 5000 <= held < 5000 * Decimal("1.005")


async def test_the_account_as_a_whole(genuine: Path):
    """TradeBalance and TradeVolume have the genuine fields; a pair is found by the documented `XXBT/ZUSD` too."""
    async with standing_venue(symbols=THREE_PAIRS, fee_volume_usd=60_000.0) as (_, client):
        worth = await client.result("TradeBalance", asset="ZUSD")
        in_bitcoin = await client.result("TradeBalance", asset="XBT")
        fees = await client.result("TradeVolume", pair="XXBT/ZUSD, XETH/ZUSD")
        bare = await client.result("TradeVolume")

    assert worth.keys() == captured(genuine, "TradeBalance_2026").keys()
    assert Decimal(in_bitcoin["eb"]) < Decimal(worth["eb"]) / 10_000
    expected = captured(genuine, "TradeVolume_pair")
    assert list(fees) == ["currency", "asset_class", "volume", "inputs", "fees", "fees_maker"]  # since 2026-06
    assert list(fees["inputs"].values()) == ["60000.0000", "0.0000", worth["eb"]]
    assert fees["fees"]["XXBTZUSD"].keys() == expected["fees"]["XXBTZUSD"].keys()
    assert list(fees["fees_maker"]) == ["XXBTZUSD", "XETHZUSD"]
    assert (fees["fees"]["XXBTZUSD"]["fee"], fees["fees_maker"]["XXBTZUSD"]["fee"]) == ("0.2400", "0.1400")
    assert (fees["fees"]["XXBTZUSD"]["tiervolume"], bare["volume"]) == ("50000.0000", "60000.0000")


async def test_the_fees_of_every_tier():
    """`fee_schedule` tells all of them and which one holds; pairs may be objects with their class."""
    async with standing_venue(fee_volume_usd=60_000.0) as (_, client):
        by_name = await client.result("TradeVolume", pair="XBTUSD", fee_schedule="true")
        pairs = [{"asset": "XBTUSD", "aclass": "forex"}]
        by_object = (await client.json("TradeVolume", pair=pairs, fee_schedule=True))["result"]
        form = {"pair[0][asset]": "XBTUSD", "pair[0][aclass]": "forex", "fee_schedule": "true"}
        as_form = await client.result("TradeVolume", **form)
        derivative = await client.json("TradeVolume", pair=[{"asset": "PF_XBTUSD", "aclass": "derivatives"}])
        strange = await client.json("TradeVolume", pair=[{"asset": "XBTUSD", "aclass": "weather"}])
        nameless = await client.json("TradeVolume", pair=[{"aclass": "forex"}])

    (schedule,) = by_name["schedules"]
    assert by_name == by_object == as_form
    assert (schedule["pair"], schedule["class"]) == ("XXBTZUSD", "forex")
    assert schedule["tiers"][0] == {"maker_fee": "0.2500", "taker_fee": "0.4000"}
    assert [tier for tier in schedule["tiers"] if tier.get("active")] == [
        {"maker_fee": "0.1400", "taker_fee": "0.2400", "min_spot_volume": "50000.0000", "active": True}
    ]
    assert by_name["fees"]["XXBTZUSD"]["fee"] == "0.2400"
    assert derivative == {"error": ["EQuery:Unknown asset pair"]}
    assert strange == {"error": ["EGeneral:Invalid arguments:aclass"]}
    assert nameless == {"error": ["EGeneral:Invalid arguments:asset"]}


async def test_amends_look_like_genuine_ones(genuine: Path):
    """First the original terms, then each change, with times in milliseconds."""
    expected = captured(genuine, "OrderAmends")
    async with standing_venue() as (_, client):
        txid = await place(client)
        before = await client.result("OrderAmends", order_id=txid)
        await client.result("AmendOrder", txid=txid, order_qty="0.02")
        after = await client.result("OrderAmends", order_id=txid)
        unknown = await client.error("OrderAmends", order_id="OAAAAA-AAAAA-AAAAAA")

    assert after.keys() == expected.keys()
    assert [list(row) for row in after["amends"]] == [list(row) for row in expected["amends"]]
    assert before["amends"] == after["amends"][:1]
    assert unknown == "EOrder:Unknown order"


async def test_closed_orders_come_in_pages():
    """Fifty at a time, the last to end first; `count` is of all that were asked for."""
    async with standing_venue(count_rates=False) as (_, client):
        ids = [await place(client) for _ in range(53)]
        for txid in ids:
            await client.result("CancelOrder", txid=txid)
        page = await client.result("ClosedOrders")
        rest = await client.result("ClosedOrders", ofs="50")
        uncounted = await client.result("ClosedOrders", ofs="50", without_count="true")
        middle = page["closed"][ids[30]]["closetm"]
        since = await client.result("ClosedOrders", start=f"{middle:.6f}", closetime="close")
        until = await client.result("ClosedOrders", end=ids[0], closetime="open")
        refused = await client.error("ClosedOrders", closetime="sometime")

    assert list(page["closed"]) == ids[:2:-1]
    assert list(rest["closed"]) == ids[2::-1]
    assert (page["count"], rest["count"]) == (53, 53)
    assert "count" not in uncounted
    # `middle` is rounded to the microsecond, so its own order may fall on either side of it.
    assert since["count"] in (22, 23)
    assert list(until["closed"]) == ids[:1]
    assert refused == "EGeneral:Invalid arguments:closetime"


async def test_orders_by_id():
    """Open ones and closed ones; what never was is left out; nonsense and too many are refused."""
    async with standing_venue() as (_, client):
        opened, closed = await place(client, userref="3"), await place(client)
        await client.result("CancelOrder", txid=closed)
        rows = await client.result("QueryOrders", txid=f"{opened},{closed},OAAAAA-AAAAA-AAAAAA")
        by_userref = await client.result("QueryOrders", txid=f"{opened},{closed}", userref="3")
        never = await client.result("QueryOrders", txid="OAAAAA-AAAAA-AAAAAA")
        nonsense = await client.error("QueryOrders", txid="nonsense")
        many = await client.error("QueryOrders", txid=",".join([opened] * 51))

    assert [row["status"] for row in rows.values()] == ["open", "canceled"]
    assert list(by_userref) == [opened]
    assert never == {}
    assert nonsense == "EOrder:Invalid order"
    assert many == "EGeneral:Invalid arguments:txid"


async def test_what_a_stop_order_tells():
    """Its trigger, and where a trailing one stands: its stop moves with the peak."""
    async with standing_venue() as (_, client):
        stop = await place(client, type="sell", ordertype="stop-loss-limit", price="50000", price2="49000")
        trail = await place(client, type="sell", ordertype="trailing-stop", price="+1%")
        rows = (await client.result("OpenOrders"))["open"]

    assert (rows[stop]["descr"]["price"], rows[stop]["descr"]["price2"]) == ("50000.0", "49000.0")
    assert (rows[stop]["trigger"], rows[stop]["stopprice"]) == ("last", "0.00000")
    peak, now = Decimal(rows[trail]["limitprice"]), Decimal(rows[trail]["stopprice"])
    assert rows[trail]["descr"]["price"] == "+1.0000%"
    assert abs(now / peak - Decimal("0.99")) < Decimal("0.00001")


async def test_the_key_tells_about_itself(genuine: Path):
    """Nonce, window and permissions, in the genuine fields; no permission is needed for it."""
    async with standing_venue() as (_, client):
        poor = await client.with_key(permissions=[], nonce_window=15)
        info = await poor.result("GetApiKeyInfo")
        rich = await (await client.with_key(permissions=list(PERMISSIONS))).result("GetApiKeyInfo")

    expected = captured(genuine, "GetApiKeyInfo")
    assert info.keys() == expected.keys()
    assert {key: type(value) for key, value in info.items()} == {key: type(value) for key, value in expected.items()}
    assert (info["api_key"], info["nonce"], info["nonce_window"]) == (poor.key, "1", "15")
    assert info["permissions"] == []
    assert sorted(rich["permissions"]) == sorted(PERMISSIONS)


async def test_a_token(genuine: Path):
    """43 characters for 900 seconds, good for the key that asked."""
    async with standing_venue() as (venue, client):
        answer = await client.result("GetWebSocketsToken")
        assert venue.trading_side is not None
        holder = venue.trading_side.tokens.check(answer["token"], venue.clock.mono_ns())

    assert answer.keys() == captured(genuine, "GetWebSocketsToken").keys()
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}", answer["token"])
    assert answer["expires"] == 900
    assert holder is venue.keys.default


async def test_an_id_that_is_none_is_refused_by_its_parameters_name():
    """QueryTrades has `txid`, QueryLedgers `id`."""
    async with standing_venue() as (_, client):
        trades = await client.error("QueryTrades", txid="L4UESK")
        entries = await client.error("QueryLedgers", id="L4UESK")

    assert (trades, entries) == ("EGeneral:Invalid arguments:txid", "EGeneral:Invalid arguments:id")


async def test_there_are_no_positions():
    """A map by position, a list by market: clients read the one as well as the other."""
    async with standing_venue() as (_, client):
        plain = await client.result("OpenPositions", docalcs="true")
        by_market = await client.result("OpenPositions", consolidation="market")
        wrong = await client.error("OpenPositions", consolidation="year")

    assert (plain, by_market) == ({}, [])
    assert wrong == "EGeneral:Invalid arguments:consolidation"


async def test_accounts_are_apart():
    """A key of another account sees its own orders and balances, and cannot touch those of the first."""
    async with standing_venue() as (_, client):
        other = await client.with_key(account_id=2)
        txid = await place(client)
        assert (await other.result("OpenOrders"))["open"] == {}
        assert await other.error("CancelOrder", txid=txid) == "EOrder:Unknown order"
        assert (await other.result("BalanceEx"))["ZUSD"]["hold_trade"] == "0.0000"
        assert await other.result("QueryOrders", txid=txid) == {}
        assert await other.result("OpenPositions") == {}
