"""The REST door: whose requests it takes, what it says to all others, its faults, and the venue's own paths."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UserError
from engine.units import NS_PER_S, MonoNs
from engine.venue.rest.counter import HISTORY_COST, LIMIT_EXCEEDED, RestCounter
from engine.venue.rest.params import Params, read_body
from engine.venue.server import Venue
from engine.venue.setup.keys import PERMISSIONS, TRADING_PERMISSIONS, KeySpec
from engine.venue.setup.settings import VenueSettings
from tests.venue.rest_client import RestClient, api_sign, limit_buy, standing_venue
from tests.waiting import until

EVERY_CALL = {
    "Balance": "query-funds",
    "BalanceEx": "query-funds",
    "TradeBalance": "query-funds",
    "TradeVolume": "query-funds",
    "OpenOrders": "query-open-trades",
    "OpenPositions": "query-open-trades",
    "ClosedOrders": "query-closed-trades",
    "TradesHistory": "query-closed-trades",
    "QueryTrades": "query-closed-trades",
    "Ledgers": "query-ledger",
    "QueryLedgers": "query-ledger",
    "GetWebSocketsToken": "create-ws-token",
    "AddOrder": "modify-trades",
    "AmendOrder": "modify-trades",
    "AddOrderBatch": "modify-trades",
    "EditOrder": "close-trades",
}
EITHER_WAY = {
    "QueryOrders": ("query-open-trades", "query-closed-trades"),
    "OrderAmends": ("query-open-trades", "query-closed-trades"),
    "CancelOrder": ("modify-trades", "close-trades"),
    "CancelOrderBatch": ("modify-trades", "close-trades"),
    "CancelAll": ("modify-trades", "close-trades"),
    "CancelAllOrdersAfter": ("modify-trades", "close-trades"),
}
DENIED = "EGeneral:Permission denied"


async def orders_of(client: RestClient) -> list[dict[str, Any]]:
    return list((await client.own("GET", "ledger"))["orders"])


# --- who is listened to ----------------------------------------------------------------------------------------------


async def test_requests_that_are_not_signed_are_refused():
    """Without key, with a key that nobody has, with a wrong signature, over another body, over another path."""
    async with standing_venue() as (_, client):
        body, form = b"nonce=1", "application/x-www-form-urlencoded"
        sign = api_sign(client.secret, "/0/private/Balance", "1", body)

        async def error(name: str = "Balance", sent: bytes = body, **headers: str) -> str:
            return str((await client.post(name, sent, form, **headers))["error"][0])

        assert await error(**{"API-Key": ""}) == "EAPI:Invalid key"
        assert await error(**{"API-Key": "nobody", "API-Sign": sign}) == "EAPI:Invalid key"
        assert await error() == "EAPI:Invalid signature"
        assert await error(**{"API-Sign": "x"}) == "EAPI:Invalid signature"
        assert await error(sent=body + b"&x=1", **{"API-Sign": sign}) == "EAPI:Invalid signature"
        assert await error("BalanceEx", **{"API-Sign": sign}) == "EAPI:Invalid signature"
        assert (await client.post("Balance", body, form, **{"API-Sign": sign}))["error"] == []
        assert await error(**{"API-Sign": sign}) == "EAPI:Invalid nonce"


async def test_calls_that_kraken_has_and_the_venue_has_not():
    """A good key may not; a bad one is refused as anywhere; a name that Kraken does not know is unknown."""
    async with standing_venue() as (_, client):
        every = await client.with_key(permissions=list(PERMISSIONS))
        stranger = RestClient(client.session, client.url, "nobody", client.secret)
        for name in ("Withdraw", "DepositMethods", "Earn/Strategies", "AddExport", "Level3", "CreateSubaccount"):
            assert await every.error(name) == DENIED
            assert await stranger.error(name) == "EAPI:Invalid key"
        assert await every.error("Earn/Weather") == "EGeneral:Unknown method"


async def test_nonces_over_the_wire():
    """They must rise, as text or as number; one that is missing or unreadable is refused."""
    async with standing_venue() as (_, client):
        assert (await client.form("Balance", nonce="1616492376594"))["error"] == []
        for nonce in ("1616492376594", "7", "", "seven", "-1"):
            assert (await client.form("Balance", nonce=nonce))["error"] == ["EAPI:Invalid nonce"]
        client.nonce = 1616492376594
        assert (await client.json("Balance"))["error"] == []


async def test_a_body_that_cannot_be_read():
    """Neither form nor JSON object: it has no nonce."""
    async with standing_venue() as (_, client):
        for body in (b"[1]", b"{", b'{"nonce":1.5}', b"\xff\xfe", b""):
            reply = await client.post("Balance", body, "application/json")
            assert reply == {"error": ["EAPI:Invalid nonce"]}


@pytest.mark.parametrize("name", EVERY_CALL)
async def test_every_call_needs_its_permission(name: str):
    """A key that may everything else is denied."""
    async with standing_venue() as (_, client):
        permissions = [permission for permission in TRADING_PERMISSIONS if permission != EVERY_CALL[name]]
        lacking = await client.with_key(permissions=permissions)
        having = await client.with_key()

        assert await lacking.error(name) == DENIED
        assert (await having.form(name))["error"] != [DENIED]


@pytest.mark.parametrize("name", EITHER_WAY)
async def test_some_calls_need_one_of_two_permissions(name: str):
    """Either is enough; without both they are denied."""
    async with standing_venue() as (_, client):
        for permission in EITHER_WAY[name]:
            one = await client.with_key(permissions=[permission])
            assert (await one.form(name))["error"] != [DENIED]
        others = [permission for permission in TRADING_PERMISSIONS if permission not in EITHER_WAY[name]]
        none = await client.with_key(permissions=others)
        assert await none.error(name) == DENIED


async def test_what_is_not_offered():
    """Kraken's words for a method that it does not have, signed or not."""
    async with standing_venue() as (_, client):
        assert await client.error("Teleport", asset="XBT") == "EGeneral:Unknown method"
        async with client.session.get(f"{client.url}/elsewhere") as response:
            assert response.status == 404
            assert await response.json() == {"error": ["EGeneral:Unknown method"]}


# --- how often -------------------------------------------------------------------------------------------------------


def test_the_counter_fills_and_decays():
    """Twenty plain calls, then one every second (tier pro); history counts more, trading not at all."""
    counter, now = RestCounter("pro"), MonoNs(NS_PER_S)
    for _ in range(20):
        counter.charge("Balance", now)
    with pytest.raises(Exception, match=LIMIT_EXCEEDED):
        counter.charge("Balance", now)
    counter.charge("AddOrder", now)
    counter.charge("Balance", MonoNs(now + 2 * NS_PER_S))

    history = RestCounter("pro")
    for _ in range(20 // HISTORY_COST):
        history.charge("ClosedOrders", now)
    with pytest.raises(Exception, match=LIMIT_EXCEEDED):
        history.charge("Balance", now)


def test_whoever_goes_on_asking_waits_longer():
    """Refused calls count too, up to a bound."""
    counter, now = RestCounter("intermediate"), MonoNs(NS_PER_S)
    for _ in range(1000):
        with contextlib.suppress(Exception):
            counter.charge("Balance", now)

    with pytest.raises(Exception, match=LIMIT_EXCEEDED):
        counter.charge("Balance", MonoNs(now + 38 * NS_PER_S))
    counter.charge("Balance", MonoNs(now + 45 * NS_PER_S))


async def test_each_key_has_its_own_counter():
    """One that is used up leaves others and trading alone."""
    async with standing_venue() as (_, client):
        other = await client.with_key()
        replies = [await client.form("Balance") for _ in range(25)]

        assert replies[0]["error"] == []
        assert replies[-1] == {"error": ["EAPI:Rate limit exceeded"]}
        await client.result("AddOrder", **limit_buy())
        await other.result("Balance")


# --- trouble ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def unanswered(venue: Venue, kind: str, call: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """A call that the fault has struck. What is asked in the block is answered before it;
    then it is given up.
    """
    waiting = asyncio.ensure_future(call)
    await until(lambda: venue.fault_counts.get(kind), "the fault has struck")
    yield
    assert not waiting.done()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


async def test_an_answer_that_never_comes_though_the_order_lives():
    """`drop-answer`: the client waits in vain, the ledger has the order; the next one is answered again."""
    async with standing_venue() as (venue, client):
        await client.own("POST", "faults", {"kind": "drop-answer", "method": "AddOrder"})
        async with unanswered(venue, "drop-answer", client.form("AddOrder", **limit_buy(cl_ord_id="lost"))):
            orders = await orders_of(client)
            await client.result("AddOrder", **limit_buy())

    assert [order["cl_ord_id"] for order in orders] == ["lost"]


async def test_a_request_that_never_arrives():
    """`lost`: no answer and no order."""
    async with standing_venue() as (venue, client):
        await client.own("POST", "faults", {"kind": "lost", "method": "add_order"})
        async with unanswered(venue, "lost", client.form("AddOrder", **limit_buy())):
            assert await orders_of(client) == []


@pytest.mark.parametrize(("kind", "count"), [("unavailable", 0), ("unavailable-done", 1)])
async def test_a_service_that_says_it_is_unavailable(kind: str, count: int):
    """The same words whether or not the order was placed."""
    async with standing_venue() as (_, client):
        await client.own("POST", "faults", {"kind": kind})
        assert await client.error("AddOrder", **limit_buy()) == "EService:Unavailable"
        assert len(await orders_of(client)) == count


async def test_an_order_that_is_executed_late():
    """`late`: the answer comes, but not at once."""
    async with standing_venue(faults=()) as (venue, client):
        await client.own("POST", "faults", {"kind": "late"})
        async with unanswered(venue, "late", client.form("AddOrder", **limit_buy())):
            before = await orders_of(client)

    assert before == []


async def test_cloudflares_page():
    """`html-520`: HTML instead of JSON, the order placed or not, by coin."""
    placed = set()
    async with standing_venue(count_rates=False) as (_, client):
        await client.own("POST", "faults", {"kind": "html-520", "rate": 1})
        for number in range(20):
            client.nonce += 1
            body = f"nonce={client.nonce}&cl_ord_id={number}&" + "&".join(f"{k}={v}" for k, v in limit_buy().items())
            headers = {
                "API-Key": client.key,
                "API-Sign": api_sign(client.secret, "/0/private/AddOrder", str(client.nonce), body.encode()),
                "Content-Type": "application/x-www-form-urlencoded",
            }
            url = f"{client.url}/0/private/AddOrder"
            async with client.session.post(url, data=body, headers=headers) as response:
                assert (response.status, response.content_type) == (520, "text/html")
            placed.add(any(order["cl_ord_id"] == str(number) for order in await orders_of(client)))
        async with client.session.get(f"{client.url}/0/public/Time") as response:
            assert response.status == 520

    assert placed == {True, False}


async def test_a_look_at_the_past():
    """`rest-lag`: OpenOrders does not know an order yet that QueryOrders and the ledger know."""
    async with standing_venue() as (_, client):
        await client.own("POST", "faults", {"kind": "rest-lag", "count": 3})
        txid = (await client.result("AddOrder", **limit_buy()))["txid"][0]
        behind = (await client.result("OpenOrders"))["open"]
        await client.result("CancelOrder", txid=txid)
        closed_behind = (await client.result("ClosedOrders"))["closed"]
        await client.result("OpenOrders")
        closed = (await client.result("ClosedOrders"))["closed"]

    assert behind == {}
    assert closed_behind == {}
    assert list(closed) == [txid]


async def test_a_batch_of_which_one_row_is_refused():
    """`batch-refusal` takes one of the rows."""
    row = {"type": "buy", "ordertype": "limit", "price": "50000", "volume": "0.01"}
    async with standing_venue() as (_, client):
        await client.own("POST", "faults", {"kind": "batch-refusal"})
        rows = (await client.json("AddOrderBatch", pair="XBTUSD", orders=[row, row, row]))["result"]["orders"]
        orders = await orders_of(client)

    assert sum("error" in placed for placed in rows) == 1
    assert [placed["txid"] for placed in rows if "txid" in placed] == [order["order_id"] for order in orders]


# --- the venue's own paths -------------------------------------------------------------------------------------------


async def test_the_ledger_tells_what_happened():
    """Every accepted order and every fill, of all accounts or of one."""
    async with standing_venue() as (_, client):
        other = await client.with_key(account_id=9)
        await client.result("AddOrder", **limit_buy(cl_ord_id="mine"))
        await other.result("AddOrder", pair="XBTUSD", type="sell", ordertype="market", volume="0.01")
        everything = await client.own("GET", "ledger")
        first = await client.own("GET", "ledger?account=1")

    assert everything.keys() >= {"orders", "fills"}
    assert [order["account_id"] for order in everything["orders"]] == [1, 9]
    assert {fill["order_id"] for fill in everything["fills"]} == {everything["orders"][1]["order_id"]}
    assert [order["cl_ord_id"] for order in first["orders"]] == ["mine"]
    assert first["fills"] == []


async def test_tokens_can_be_killed():
    """One of them, or all."""
    async with standing_venue() as (venue, client):
        one, two, three = [(await client.result("GetWebSocketsToken"))["token"] for _ in range(3)]
        assert await client.own("POST", "tokens/revoke", {"token": one}) == {"revoked": 1}
        assert await client.own("POST", "tokens/revoke", {"token": one}) == {"revoked": 0}
        assert await client.own("POST", "tokens/revoke", {}) == {"revoked": 2}
        assert venue.trading_side is not None
        alive = [venue.trading_side.tokens.check(token, MonoNs(0)) for token in (one, two, three)]

    assert alive == [None, None, None]


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("POST", "keys", {"permissions": ["fly"]}, "no permission 'fly'"),
        ("POST", "keys", {"permission": []}, "unknown field"),
        ("POST", "keys", {"tier": "gold"}, "gold"),
        ("POST", "keys", [1], "JSON object"),
        ("POST", "faults", {"kind": "rain"}, "rain"),
        ("POST", "faults", {"kind": "lost", "rate": 2}, "from 0 to 1"),
        ("POST", "faults", {}, "name a kind"),
        ("GET", "keys", None, "no such thing"),
    ],
)
async def test_wishes_that_cannot_be_met(method: str, path: str, body: Any, complaint: str):
    """One sentence says why."""
    async with standing_venue() as (_, client):
        answer = await client.own(method, path, body)

    assert complaint in answer["error"]


async def test_faults_are_counted_and_cleared():
    """How often each has struck; clearing ends rates and scripts."""
    async with standing_venue() as (_, client):
        await client.own("POST", "faults", {"kind": "unavailable", "rate": 1})
        await client.error("AddOrder", **limit_buy())
        counts = await client.own("GET", "faults")
        await client.own("POST", "faults", {"clear": True})
        await client.result("AddOrder", **limit_buy())

    assert counts == {"counts": {"unavailable": 1}}


async def test_keys_of_the_settings():
    """Further keys can be given when the venue is made, with their texts."""
    spec = KeySpec(key="watcher", secret="c2VjcmV0", permissions=("query-funds",), account_id=3)
    async with standing_venue(keys=(spec,)) as (_, client):
        watcher = RestClient(client.session, client.url, "watcher", "c2VjcmV0")
        assert "ZUSD" in await watcher.result("Balance")
        assert await watcher.error("AddOrder", **limit_buy()) == DENIED


async def test_a_port_that_is_taken():
    """One sentence names the option; nothing stays open."""
    async with standing_venue() as (venue, _):
        assert venue.rest is not None
        port = int(venue.rest.url.rpartition(":")[2])
        with pytest.raises(UserError, match=f"--rest-port {port}"):
            async with Venue(VenueSettings(port=0, rest_port=port, rate=0, symbols=("BTC/USD",))):
                pass


async def test_prices_move_in_the_books_that_the_websocket_shows():
    """An order by REST is in the book at once."""
    async with standing_venue() as (_, client):
        best = (await client.public("Depth", pair="XBTUSD", count=1))["result"]["XXBTZUSD"]["bids"][0]
        price = f"{float(best[0]) - 0.1:.1f}"
        await client.result("AddOrder", **limit_buy(price=price, volume="1.5"))
        levels = (await client.public("Depth", pair="XBTUSD", count=2))["result"]["XXBTZUSD"]["bids"]

    assert levels[1][0] == f"{price}0000"
    assert float(levels[1][1]) >= 1.5


# --- whatever comes --------------------------------------------------------------------------------------------------


async def test_nonsense_is_refused_and_never_breaks_the_venue():
    """Random parameters of all types: every answer is JSON with status 200, and the venue goes on."""
    rng = random.Random(5)
    names = (  # noqa: SIM905
        "pair type ordertype volume price price2 oflags leverage timeinforce expiretm starttm deadline validate "
        "userref cl_ord_id close displayvol stptype trigger reduce_only txid orders cl_ord_ids timeout limit_price "
        "order_qty trigger_price start end ofs count asset id since"
    ).split()
    values: tuple[Any, ...] = (
        "", "x", "XBTUSD", "BTC/USD", "buy", "sell", "limit", "stop-loss-limit", "trailing-stop", "iceberg", "-1", "0",
        "1e5", "+5%", "#1%", "%", "+", "99999999999999999999999999999999999999", "0." + "0" * 38 + "1", None, True,
        False, 0, 1, -1, 1.5, 1e300, 10**30, [], {}, [{}], [[]], {"ordertype": "limit", "price": "5"}, ["x", 5],
        "\u0000", "é", [{"type": "buy", "ordertype": "limit", "price": "5", "volume": "5"}] * 2, "OAAAAA-AAAAA-AAAAAA",
        "2030-01-01T00:00:00Z", "2030-13-45T99:00:00Z",
    )  # fmt: skip
    async with standing_venue(count_rates=False) as (venue, client):
        assert venue.rest is not None
        calls = [*EVERY_CALL, *EITHER_WAY, "GetApiKeyInfo"]
        for _ in range(600):
            params = {name: rng.choice(values) for name in rng.sample(names, rng.randint(0, 8))}
            if rng.random() < 0.5:
                params |= limit_buy() | {rng.choice(list(limit_buy())): rng.choice(values)}
            reply = await client.json(rng.choice(calls), **params)
            assert reply["error"] == [] or reply.keys() == {"error"}, reply
        assert "ZUSD" in await client.result("Balance")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"POST /0/private/Balance HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nnon",
        b"POST /0/private/Balance HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"POST /0/private/Balance HTTP/1.1\r\nHost: x\r\nAPI-Key: \xff\r\nContent-Length: 7\r\n\r\nnonce=1",
    ],
)
async def test_broken_requests_hurt_nobody_else(sent: bytes, caplog: pytest.LogCaptureFixture):
    """They end their own connection, without a traceback in the log."""
    async with standing_venue() as (_, client):
        host, port = client.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        await client.public("Time")
        writer.close()
        await writer.wait_closed()
        assert (await client.public("Time"))["error"] == []

    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"a=1&b=&a=2", {"a": "1", "b": ""}),
        (b"close%5Bprice%5D=%2b5", {"close": {"price": "+5"}}),
        (b"o[0][p]=1&o[1][p]=2&o[0][q]=3", {"o": {"0": {"p": "1", "q": "3"}, "1": {"p": "2"}}}),
        (b"o[]=A&o[]=B", {"o": {"0": "A", "1": "B"}}),
        (b"a=1&a[b]=2&[c]=3&d]=4&e[f[=5", {"a": "1"}),
        (b"a[b][c][d][e][f]=1", {}),
        (b'{"a":[1,"2"],"b":null}', {"a": [1, "2"], "b": None}),
        (b"[]", {}),
    ],
)
def test_bodies(body: bytes, fields: dict[str, Any]):
    """Forms nest with brackets; what is not understood is left out."""
    assert read_body(body, "application/x-www-form-urlencoded") == fields


def test_flags_and_lists():
    """In the ways in which clients write them."""
    params = Params(
        {"a": "TRUE", "b": 0, "c": "1", "list": "x, y,", "none": "", "one": 5, "form": {"0": "p", "1": "q"}}
    )

    assert [params.flag(name) for name in "abcd"] == [True, False, True, False]
    assert params.texts("list") == ["x", "y"]
    assert params.texts("one") == ["5"]
    assert params.texts("form") == ["p", "q"]
    assert not params.has("none")


async def test_a_capture_has_no_rest(genuine: Path):
    """What was recorded cannot be traded: the public WebSocket stands alone."""
    capture = next(genuine.glob("*.jsonl"))
    async with Venue(VenueSettings(port=0, capture=(str(capture),))) as venue:
        assert list(venue.addresses()) == ["public"]


async def test_two_clients_of_one_venue():
    """Keep-alive and many at once."""
    async with standing_venue(count_rates=False) as (_, client):
        keys = [await client.with_key() for _ in range(4)]
        tokens = await asyncio.gather(*(key.result("GetWebSocketsToken") for key in keys))

    assert len({answer["token"] for answer in tokens}) == 4
