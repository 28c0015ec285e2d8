"""The trading calls of REST: what they take, what they answer, and that the engine does it."""

from decimal import Decimal
from typing import Any

import pytest

from engine.units import units_decimal
from engine.venue.server import Venue
from tests.venue.rest_client import THREE_PAIRS, RestClient, limit_buy, standing_venue

ORDER_ID = r"O[A-Z2-7]{5}-[A-Z2-7]{5}-[A-Z2-7]{6}"


def last_price(venue: Venue, symbol: str = "BTC/USD") -> Decimal:
    assert venue.exchange is not None
    market = venue.exchange.markets[symbol]
    return units_decimal(market.last, market.pair.price_decimals)


async def only_open(client: RestClient) -> dict[str, Any]:
    rows = (await client.result("OpenOrders"))["open"]
    assert len(rows) == 1
    return dict(next(iter(rows.values())))


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ({}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
        ({"price": "50000"}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
        ({"pair": "BTC/USD"}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
        ({"type": "sell", "ordertype": "market"}, "sell 0.01000000 XBTUSD @ market"),
        ({"type": "sell", "ordertype": "stop-loss"}, "sell 0.01000000 XBTUSD @ stop loss 50000.0"),
        (
            {"type": "sell", "ordertype": "stop-loss-limit", "price2": "49000"},
            "sell 0.01000000 XBTUSD @ stop loss 50000.0 -> limit 49000.0",
        ),
        ({"ordertype": "take-profit"}, "buy 0.01000000 XBTUSD @ take profit 50000.0"),
        (
            {"ordertype": "take-profit-limit", "price2": "+100"},
            "buy 0.01000000 XBTUSD @ take profit 50000.0 -> limit 50100.0",
        ),
        (
            {"type": "sell", "ordertype": "trailing-stop", "price": "+1%"},
            "sell 0.01000000 XBTUSD @ trailing stop +1.0000%",
        ),
        (
            {"type": "sell", "ordertype": "trailing-stop-limit", "price": "+100", "price2": "-5"},
            "sell 0.01000000 XBTUSD @ trailing stop +100.0 -> limit -5.0",
        ),
        ({"ordertype": "iceberg", "displayvol": "0.001"}, "buy 0.01000000 XBTUSD @ iceberg 50000.0"),
        ({"timeinforce": "IOC"}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
        ({"timeinforce": "GTD", "expiretm": "+60"}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
        ({"oflags": "post,fciq"}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
        ({"leverage": "none", "reduce_only": "false"}, "buy 0.01000000 XBTUSD @ limit 50000.0"),
    ],
)
async def test_orders_that_are_taken(order: dict[str, str], text: str):
    """Every kind of order, described in Kraken's words; the txid is a list of one."""
    async with standing_venue() as (venue, client):
        result = await client.result("AddOrder", **limit_buy(**order))
        accepted = venue.trading_side.trading.ledger.orders() if venue.trading_side is not None else []

    assert result == {"txid": [accepted[0].order_id], "descr": {"order": text}}


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ({"pair": "XBTMOON"}, "EQuery:Unknown asset pair"),
        ({"pair": ""}, "EGeneral:Invalid arguments:pair"),
        ({"ordertype": "hope"}, "EGeneral:Invalid arguments:ordertype"),
        ({"ordertype": ""}, "EGeneral:Invalid arguments:ordertype"),
        ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
        ({"volume": "much"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1e-2"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"volume": "1000"}, "EOrder:Insufficient funds"),
        ({"price": "50000.05"}, "EOrder:Tick size check failed"),
        ({"price": "0"}, "EOrder:Invalid price"),
        ({"price": ""}, "EOrder:Invalid price"),
        ({"price": "fifty"}, "EGeneral:Invalid arguments:price"),
        ({"price": "5%"}, "EOrder:Invalid price"),
        ({"timeinforce": "gtc"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"oflags": "post,free"}, "EGeneral:Invalid arguments:oflags"),
        ({"oflags": "fcib,fciq"}, "EGeneral:Invalid arguments:oflags"),
        ({"stptype": "cancel_newest"}, "EGeneral:Invalid arguments:stptype"),
        ({"leverage": "lots"}, "EGeneral:Invalid arguments:leverage"),
        ({"leverage": "3:1"}, "EOrder:Cannot open position"),
        ({"userref": "mine"}, "EGeneral:Invalid arguments:userref"),
        ({"userref": "1", "cl_ord_id": "a"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "nineteen-characters"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
        ({"deadline": "2120-01-01T00:00:00.000Z"}, "EGeneral:Invalid arguments:deadline"),
        ({"expiretm": "never"}, "EGeneral:Invalid arguments:expiretm"),
        ({"validate": "perhaps"}, "EGeneral:Invalid arguments:validate"),
        ({"close[ordertype]": "market"}, "EGeneral:Invalid arguments:close"),
    ],
)
async def test_orders_that_are_refused(order: dict[str, str], error: str):
    """Kraken's words, and nothing is placed."""
    async with standing_venue() as (venue, client):
        assert await client.error("AddOrder", **limit_buy(**order)) == error
        assert venue.trading_side is not None
        assert venue.trading_side.trading.ledger.orders() == []


@pytest.mark.parametrize(
    ("kind", "side", "price", "expected"),
    [
        ("limit", "buy", "-10", lambda last: last - 10),
        ("limit", "buy", "#10", lambda last: last - 10),
        ("limit", "sell", "#10", lambda last: last + 10),
        ("limit", "sell", "+1%", lambda last: (last * Decimal("1.01")).quantize(Decimal("0.1"))),
        ("stop-loss", "sell", "#10", lambda last: last - 10),
        ("stop-loss", "buy", "#10", lambda last: last + 10),
        ("take-profit", "sell", "#10", lambda last: last + 10),
        ("trailing-stop", "sell", "+10", lambda last: last - 10),
        ("trailing-stop", "buy", "+10", lambda last: last + 10),
    ],
)
async def test_relative_prices(kind: str, side: str, price: str, expected: Any):
    """`+` above the last trade, `-` below it, `#` on the side where such an order waits, `%` of it."""
    async with standing_venue() as (venue, client):
        last = last_price(venue)
        # A plus sign of a form's value is written %2b, which the client does.
        await client.result("AddOrder", pair="XBTUSD", ordertype=kind, type=side, price=price, volume="0.01")
        assert venue.trading_side is not None
        order = next(iter(venue.trading_side.trading.account(1).open_orders.values()))

    assert (order.limit_price if kind == "limit" else order.trigger_price) == expected(last)


async def test_a_json_body_may_hold_numbers_or_text():
    """`0.01` and `"0.01"`, nonce as number, `close` as an object: the same order."""
    close = {"ordertype": "stop-loss-limit", "price": "45000", "price2": 44000.5}
    async with standing_venue() as (_, client):
        as_json = await client.json("AddOrder", **limit_buy(volume=0.01, price=50000, close=close, validate=True))
        as_form = await client.form(
            "AddOrder",
            **limit_buy(
                validate="1",
                **{"close[ordertype]": "stop-loss-limit", "close[price]": "45000", "close[price2]": "44000.5"},
            ),
        )

    assert as_json == as_form
    assert as_json["result"]["descr"]["close"] == "close position @ stop loss 45000.0 -> limit 44000.5"
    assert "txid" not in as_json["result"]


async def test_validate_places_nothing():
    """The order is checked like any other, funds included."""
    async with standing_venue() as (_, client):
        checked = await client.result("AddOrder", **limit_buy(validate="true"))
        refused = await client.error("AddOrder", **limit_buy(validate="true", volume="1000"))
        assert (await client.result("OpenOrders"))["open"] == {}

    assert checked == {"descr": {"order": "buy 0.01000000 XBTUSD @ limit 50000.0"}}
    assert refused == "EOrder:Insufficient funds"


async def test_a_client_order_id_is_unique_among_open_orders():
    """A second one is refused while the first lives, and taken afterwards."""
    async with standing_venue() as (_, client):
        await client.result("AddOrder", **limit_buy(cl_ord_id="mine"))
        twin = await client.error("AddOrder", **limit_buy(cl_ord_id="mine"))
        await client.result("CancelOrder", cl_ord_id="mine")
        await client.result("AddOrder", **limit_buy(cl_ord_id="mine"))
        closed = await client.result("ClosedOrders", cl_ord_id="mine")

    assert twin == "EGeneral:Invalid arguments:cl_ord_id not unique"
    assert closed["count"] == 1


async def test_a_market_order_in_quote_currency():
    """`viqc`: the volume is what may be spent."""
    async with standing_venue() as (_, client):
        order = limit_buy(ordertype="market", volume="100", oflags="viqc")
        txid = (await client.result("AddOrder", **order))["txid"][0]
        row = (await client.result("QueryOrders", txid=txid))[txid]
        wrong = await client.error("AddOrder", **limit_buy(oflags="viqc"))

    assert Decimal("99.9") < Decimal(row["cost"]) <= 100
    assert row["oflags"] == "fciq,viqc"
    assert wrong == "EGeneral:Invalid arguments:viqc"


async def test_a_volume_in_quote_currency_stays_one():
    """A `viqc` order is described by its amount, validated or placed; what is filled of it is base quantity."""
    order = limit_buy(ordertype="market", volume="100.5", oflags="viqc")
    async with standing_venue() as (venue, client):
        last = last_price(venue)
        checked = await client.result("AddOrder", **order, validate="true")
        placed = await client.result("AddOrder", **order)
        row = (await client.result("QueryOrders", txid=placed["txid"][0]))[placed["txid"][0]]

    assert checked["descr"] == placed["descr"] == {"order": "buy 100.50000000 XBTUSD @ market"}
    assert row["descr"]["order"] == placed["descr"]["order"]
    assert row["vol"] == "100.50000000"
    assert abs(Decimal(row["vol_exec"]) - Decimal("100.5") / last) < Decimal("0.0001")


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ({"type": "sell", "volume": "100"}, "EGeneral:Invalid arguments:viqc"),
        ({"ordertype": "stop-loss", "volume": "100"}, "EGeneral:Invalid arguments:viqc"),
        ({"volume": "0"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-5"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.0001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"volume": "2"}, "EGeneral:Invalid arguments:volume minimum not met"),
    ],
)
async def test_quote_volumes_that_are_refused(order: dict[str, str], error: str):
    """`viqc` is for buying at the market; a volume that is none is named as such."""
    async with standing_venue() as (_, client):
        said = await client.error("AddOrder", **limit_buy(ordertype="market", oflags="viqc") | order)

    assert said == error


@pytest.mark.parametrize(
    ("order", "name"),
    [
        ({"displayvol": "0.005"}, "displayvol"),
        ({"ordertype": "iceberg", "displayvol": "0.0001"}, "displayvol"),
        ({"ordertype": "iceberg"}, "displayvol"),
        ({"expiretm": "+4"}, "expiretm"),
        ({"expiretm": "+4.9"}, "expiretm"),
        ({"expiretm": "+9000000"}, "expiretm"),
        ({"expiretm": "1"}, "expiretm"),
        ({"timeinforce": "GTD"}, "expiretm"),
        ({"starttm": "+9000000"}, "starttm"),
        ({"starttm": "+60", "expiretm": "+30"}, "starttm"),
        ({"ordertype": "market", "timeinforce": "GTD", "expiretm": "+60"}, "timeinforce"),
        ({"ordertype": "market", "timeinforce": "FOK"}, "timeinforce"),
        ({"ordertype": "iceberg", "displayvol": "0.005", "timeinforce": "IOC"}, "timeinforce"),
        ({"oflags": "post", "timeinforce": "IOC"}, "post"),
        ({"ordertype": "market", "oflags": "post"}, "post"),
        ({"close[ordertype]": "iceberg", "close[price]": "60000"}, "close"),
        ({"userref": "3000000000"}, "userref"),
    ],
)
async def test_refusals_name_the_parameters_of_rest(order: dict[str, str], name: str):
    """Never the WebSocket's names for them: AddOrder and the rows of a batch alike."""
    asked = limit_buy(**order)
    row = {key: value for key, value in asked.items() if key != "pair" and "[" not in key}
    if "close[ordertype]" in asked:
        row["close"] = {"ordertype": asked["close[ordertype]"], "price": asked["close[price]"]}
    async with standing_venue() as (_, client):
        alone = await client.error("AddOrder", **asked)
        in_batch = await client.json("AddOrderBatch", pair="XBTUSD", orders=[row, row])

    assert alone == f"EGeneral:Invalid arguments:{name}"
    assert in_batch == {"error": [alone]}


async def test_an_order_may_expire_in_five_seconds():
    """The least distance that Kraken's page names."""
    async with standing_venue() as (_, client):
        placed = await client.result("AddOrder", **limit_buy(expiretm="+5"))

    assert len(placed["txid"]) == 1


async def test_an_amends_refusal_has_the_amends_own_names():
    """AmendOrder is the one call of REST that has v2's names."""
    async with standing_venue() as (_, client):
        txid = (await client.result("AddOrder", **limit_buy()))["txid"][0]
        nothing = await client.error("AmendOrder", txid=txid, order_qty="-1")
        hidden = await client.error("AmendOrder", txid=txid, display_qty="0.001")
        trigger = await client.error("AmendOrder", txid=txid, trigger_price="40000")

    assert nothing == "EGeneral:Invalid arguments:order_qty"
    assert hidden == "EGeneral:Invalid arguments:display_qty"
    assert trigger == "EGeneral:Invalid arguments:trigger_price"


@pytest.mark.parametrize(
    ("oflags", "told"),
    [("post", "post,fciq"), ("fciq,post", "post,fciq"), ("post,fcib", "post,fcib"), ("fcib", "fcib"), ("", "fciq")],
)
async def test_flags_come_in_the_order_of_the_wire(oflags: str, told: str):
    """`post,fciq` (June 2026), whatever order they were given in."""
    async with standing_venue() as (_, client):
        txid = (await client.result("AddOrder", **limit_buy(oflags=oflags)))["txid"][0]
        row = (await client.result("QueryOrders", txid=txid))[txid]

    assert row["oflags"] == told


async def test_a_crossing_post_only_order_is_accepted_and_then_canceled():
    """An id, no refusal; the order ends in the same millisecond, unfilled, and says why."""
    async with standing_venue() as (_, client):
        txid = (await client.result("AddOrder", **limit_buy(price="90000", oflags="post")))["txid"][0]
        row = (await client.result("QueryOrders", txid=txid))[txid]

    assert (row["status"], row["reason"], row["vol_exec"]) == ("canceled", "Post only order", "0.00000000")
    assert row["closetm"] - row["opentm"] < 0.001


async def test_a_batch():
    """Rows in the order in which they were sent; their txid is a text; a bad row refuses all."""
    rows = [
        {"type": "buy", "ordertype": "limit", "price": "50000", "volume": "0.01", "cl_ord_id": "one"},
        {
            "type": "sell",
            "ordertype": "limit",
            "price": "90000",
            "volume": "0.02",
            "close": {"ordertype": "limit", "price": "80000"},
        },
    ]
    async with standing_venue() as (_, client):
        placed = (await client.json("AddOrderBatch", pair="XBTUSD", orders=rows))["result"]["orders"]
        bad = await client.json("AddOrderBatch", pair="XBTUSD", orders=[rows[1], {**rows[0], "volume": "x"}])
        few = await client.json("AddOrderBatch", pair="XBTUSD", orders=rows[:1])
        checked = await client.json("AddOrderBatch", pair="XBTUSD", orders=[rows[1], rows[1]], validate=True)
        opened = (await client.result("OpenOrders"))["open"]

    assert [row["descr"]["order"] for row in placed] == [
        "buy 0.01000000 XBTUSD @ limit 50000.0",
        "sell 0.02000000 XBTUSD @ limit 90000.0",
    ]
    assert placed[1]["close"] == "close position @ limit 80000.0"
    assert opened.keys() == {row["txid"] for row in placed}
    assert bad == {"error": ["EGeneral:Invalid arguments:volume"]}
    assert few == {"error": ["EGeneral:Invalid arguments:orders"]}
    assert all("txid" not in row for row in checked["result"]["orders"])


async def test_batches_are_json_only():
    """Kraken refuses both batch calls as forms (confirmed live in 2026), however well the form nests."""
    fields: dict[str, str] = {"pair": "XBTUSD"}
    for row, price in enumerate(("50000", "50001")):
        order = {"type": "buy", "ordertype": "limit", "price": price, "volume": "0.01"}
        fields |= {f"orders[{row}][{name}]": value for name, value in order.items()}
    async with standing_venue() as (_, client):
        added = await client.error("AddOrderBatch", **fields)
        txid = (await client.result("AddOrder", **limit_buy()))["txid"][0]
        canceled = await client.error("CancelOrderBatch", **{"orders[0]": txid})
        opened = (await client.result("OpenOrders"))["open"]
        in_json = await client.json("CancelOrderBatch", orders=[txid])

    assert added == canceled == "EGeneral:Invalid arguments"
    assert list(opened) == [txid]
    assert in_json["result"] == {"count": 1}


async def test_a_row_of_a_batch_may_be_refused_alone():
    """Without funds for it the second order is refused, the first lives."""
    row = {"type": "buy", "ordertype": "limit", "price": "50000", "volume": "15"}
    async with standing_venue() as (_, client):
        placed = (await client.json("AddOrderBatch", pair="XBTUSD", orders=[row, row]))["result"]["orders"]
        opened = (await client.result("OpenOrders"))["open"]

    assert placed[1] == {"error": "EOrder:Insufficient funds"}
    assert list(opened) == [placed[0]["txid"]]


async def test_an_amend_keeps_the_order():
    """The same txid with other terms, said to be amended; its versions are listed."""
    async with standing_venue() as (venue, client):
        txid = (await client.result("AddOrder", **limit_buy()))["txid"][0]
        amended = await client.result("AmendOrder", txid=txid, limit_price="50001.5", order_qty="0.02")
        row = await only_open(client)
        versions = await client.result("OrderAmends", order_id=txid)
        last = last_price(venue)
        await client.result("AmendOrder", txid=txid, limit_price="-1%")
        relative = await only_open(client)
        nothing = await client.error("AmendOrder", txid=txid)
        both = await client.error("AmendOrder", txid=txid, cl_ord_id="x", order_qty="1")
        unknown = await client.error("AmendOrder", cl_ord_id="x", order_qty="1")

    assert list(amended) == ["amend_id"]
    assert (row["vol"], row["descr"]["price"], row["misc"]) == ("0.02000000", "50001.5", "amended")
    assert [version["amend_type"] for version in versions["amends"]] == ["original", "user"]
    assert versions["count"] == 2
    assert Decimal(relative["descr"]["price"]) == (last * Decimal("0.99")).quantize(Decimal("0.1"))
    assert nothing == "EOrder:No amendable parameters specified"
    assert both == "EGeneral:Invalid arguments:cl_ord_id"
    assert unknown == "EOrder:Unknown order"


async def test_an_amended_trigger():
    """Of a stop order, by AmendOrder's own name for it."""
    async with standing_venue() as (_, client):
        stop = limit_buy(type="sell", ordertype="stop-loss", price="50000")
        txid = (await client.result("AddOrder", **stop))["txid"][0]
        await client.result("AmendOrder", txid=txid, trigger_price="51000")
        row = await only_open(client)
        wrong = await client.error("AmendOrder", txid=txid, limit_price="51000")

    assert row["descr"]["price"] == "51000.0"
    assert wrong == "EOrder:Invalid limit price"


async def test_an_edit_is_another_order():
    """A new txid; the old order ended as replaced."""
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        txid = (await client.result("AddOrder", **limit_buy(userref="7")))["txid"][0]
        edited = await client.result("EditOrder", pair="XBTUSD", txid="7", volume="0.03", price="50002")
        old = (await client.result("QueryOrders", txid=txid))[txid]
        row = await only_open(client)
        unknown = await client.error("EditOrder", pair="XBTUSD", txid=txid, volume="0.03")
        elsewhere = await client.error("EditOrder", pair="ETHUSD", txid=edited["txid"], volume="0.03")

    assert edited["originaltxid"] == txid
    assert (edited["status"], edited["orders_cancelled"], edited["volume"]) == ("ok", 1, "0.03000000")
    assert edited["descr"] == {"order": "buy 0.03000000 XXBTZUSD @ limit 50002"}
    assert (old["status"], old["reason"]) == ("canceled", "Order replaced")
    assert row["vol"] == "0.03000000"
    assert (unknown, elsewhere) == ("EOrder:Unknown order", "EOrder:Unknown order")


@pytest.mark.parametrize(
    ("asked", "told", "descr"),
    [
        ({"price": "60000", "price2": "59000.0"}, ("60000", "59000.0"), "stop loss 60000 -> limit 59000.0"),
        ({"price2": "59000"}, ("61000.0", "59000"), "stop loss 61000.0 -> limit 59000"),
        ({"volume": "0.02"}, ("61000.0", "58000.0"), "stop loss 61000.0 -> limit 58000.0"),
        ({"price": "60000", "price2": "-10"}, ("60000", "59990.0"), "stop loss 60000 -> limit 59990.0"),
    ],
)
async def test_an_edit_repeats_the_prices_as_they_were_asked(asked: dict[str, str], told: tuple[str, str], descr: str):
    """Kraken's answer of 2024 has `0.89` for a pair of four decimals; a distance is told as what it comes to."""
    stop = limit_buy(type="sell", ordertype="stop-loss-limit", price="61000", price2="58000")
    async with standing_venue() as (_, client):
        txid = (await client.result("AddOrder", **stop))["txid"][0]
        edited = await client.result("EditOrder", pair="XBTUSD", txid=txid, **asked)
        row = (await client.result("QueryOrders", txid=edited["txid"]))[edited["txid"]]

    assert (edited["price"], edited["price2"]) == told
    assert edited["descr"]["order"].endswith(f" XXBTZUSD @ {descr}")
    assert " XBTUSD @ stop loss 6" in row["descr"]["order"]


async def test_an_edited_trailing_limit_stays_a_distance():
    """`price2` of a trailing stop is how far its limit lies from the trigger; its unit cannot be edited."""
    trail = limit_buy(type="sell", ordertype="trailing-stop-limit", price="+500", price2="-10")
    async with standing_venue() as (_, client):
        txid = (await client.result("AddOrder", **trail))["txid"][0]
        refused = await client.error("EditOrder", pair="XBTUSD", txid=txid, price2="-1%")
        edited = await client.result("EditOrder", pair="XBTUSD", txid=txid, price="+400", price2="-20")

    assert refused == "EGeneral:Invalid arguments:price2"
    assert (edited["price"], edited["price2"]) == ("+400.0", "-20.0")


async def test_a_validated_edit_tells_what_the_order_would_be():
    """The new terms in the answer, no new txid, and the order as it was."""
    async with standing_venue() as (_, client):
        txid = (await client.result("AddOrder", **limit_buy()))["txid"][0]
        edited = await client.result(
            "EditOrder", pair="XBTUSD", txid=txid, volume="0.04", price="50003", validate="true"
        )
        row = await only_open(client)

    assert (edited["volume"], edited["price"], edited["orders_cancelled"]) == ("0.04000000", "50003", 0)
    assert edited["descr"] == {"order": "buy 0.04000000 XXBTZUSD @ limit 50003"}
    assert "txid" not in edited
    assert row["vol"] == "0.01000000"


async def test_ways_to_cancel():
    """By txid, by userref, by the client's id, several at once, all; and what is not open is unknown."""
    async with standing_venue() as (_, client):

        async def place(**more: str) -> str:
            return str((await client.result("AddOrder", **limit_buy(**more)))["txid"][0])

        assert await client.result("CancelOrder", txid=await place()) == {"count": 1}
        first = await place(userref="5")
        await place(userref="5")
        assert await client.result("CancelOrder", txid="5") == {"count": 2}
        await place(cl_ord_id="mine")
        assert await client.result("CancelOrder", cl_ord_id="mine") == {"count": 1}
        ids = [await place(), await place(), await place(cl_ord_id="third")]
        reply = await client.json("CancelOrderBatch", orders=[*ids[:2], first], cl_ord_ids=["third"])
        assert reply["result"] == {"count": 3}
        assert await client.error("CancelOrder", txid=first) == "EOrder:Unknown order"
        assert await client.error("CancelOrder", txid="nonsense") == "EOrder:Invalid order"
        assert await client.error("CancelOrder", cl_ord_id="mine") == "EOrder:Unknown order"
        # A name that no order can have: how a grid bot in daily use asks whether its key may cancel.
        assert (
            await client.error("CancelOrder", txid="", cl_ord_id="never_an_order_of_anybody") == "EOrder:Invalid order"
        )
        assert await client.error("CancelOrder", txid="") == "EOrder:Invalid order"
        assert await client.error("CancelOrder") == "EGeneral:Invalid arguments:cl_ord_id"
        await place()
        await place()
        assert await client.result("CancelAll") == {"count": 2}
        assert await client.result("CancelAll") == {"count": 0}


async def test_the_dead_mans_switch():
    """Trigger is current plus timeout, to the second; 0 disarms it; it strikes when nobody refreshes it."""
    async with standing_venue() as (venue, client):
        await client.result("AddOrder", **limit_buy())
        armed = await client.result("CancelAllOrdersAfter", timeout="60")
        disarmed = await client.result("CancelAllOrdersAfter", timeout="0")
        too_long = await client.error("CancelAllOrdersAfter", timeout="86400")
        missing = await client.error("CancelAllOrdersAfter")
        await client.result("CancelAllOrdersAfter", timeout="10")
        assert venue.trading_side is not None
        trading = venue.trading_side.trading
        due = trading.next_due()
        assert due is not None
        trading.advance(trading.account(1).dead_man_at or due)
        row = (await client.result("ClosedOrders"))["closed"]

    assert armed.keys() == {"currentTime", "triggerTime"}
    assert armed["currentTime"][17:19] == armed["triggerTime"][17:19]
    assert disarmed["triggerTime"] == "0"
    assert too_long == "EGeneral:Invalid timeout argument:above max"
    assert missing == "EGeneral:Invalid arguments:timeout"
    assert [order["status"] for order in row.values()] == ["canceled"]
