"""Before the first order: every mistake with key, clock or symbols is one sentence that says what to change."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from engine.clock import ManualClock, SystemClock
from engine.kraken.rest import requests
from engine.kraken.rest.order_replies import read_cancel
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.signing import Signer
from engine.kraken_rest import preflight
from engine.kraken_rest.calls import RestCalls
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.preflight import BOXES, ClockOffset, Level, clock_finding, examine, run_preflight
from engine.kraken_rest.private_probe import Probe, probe_private
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.secret import Secret
from engine.units import NS_PER_MS, NS_PER_S, WallNs
from engine.venue.server import Venue
from engine.venue.setup.keys import LOCKOUT_FAILURES, PERMISSIONS, TRADING_PERMISSIONS, KeySpec
from engine.venue.setup.settings import VenueSettings
from tests.net.rig import Rest, answer

WRONG_SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
SYMBOLS = ("BTC/USD", "ETH/USD")


def run(scenario: Awaitable[None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(asyncio.wait_for(scenario, 30))


Ask = Callable[[RestCalls, Venue], Awaitable[None]]


def with_venue(folder: Path, ask: Ask, *, key: KeySpec | None = None, texts: Any = None, **settings: Any) -> None:
    """Ask the venue with one of its keys, or with texts that are none."""

    async def scenario() -> None:
        async with Venue(VenueSettings(port=0, rate=0, **settings)) as venue:
            chosen = venue.keys.add(key) if key is not None else venue.keys.default
            api_key, secret = texts or (chosen.key, chosen.secret)
            lock = KeyLock(api_key, folder)
            https = HttpsClient(venue.rest.url, clock=SystemClock())
            kraken = KrakenRest(https, SystemClock(), signer=Signer(api_key, Secret(secret)), key=lock)
            try:
                await ask(RestCalls(kraken, SystemClock()), venue)
            finally:
                await https.close()
                lock.release()

    run(scenario())


def refusal(folder: Path, symbols: tuple[str, ...] = SYMBOLS, **options: Any) -> str:
    """The sentence for which live trading would not start."""
    found: list[str | None] = []

    async def ask(rest: RestCalls, _: Venue) -> None:
        found.append(await run_preflight(rest, symbols, SystemClock()))

    with_venue(folder, ask, **options)
    assert found[0] is not None
    assert "\n" not in found[0]
    return found[0]


def test_a_key_that_may_trade_and_no_more_is_let_through(tmp_path: Path) -> None:
    """And everything that was looked at is told."""

    async def ask(rest: RestCalls, _: Venue) -> None:
        assert await run_preflight(rest, SYMBOLS, SystemClock()) is None
        findings = (await examine(rest, SYMBOLS, SystemClock())).findings
        assert [finding.name for finding in findings] == ["system", "clock", "symbols", "key", "key", "balances"]
        assert {finding.level for finding in findings} <= {Level.OK, Level.ADVICE}

    with_venue(tmp_path, ask)


def test_a_wrong_key_is_asked_with_once(tmp_path: Path) -> None:
    """Each further failed call would bring the lockout nearer."""
    told = []

    async def ask(rest: RestCalls, _: Venue) -> None:
        told.append(await run_preflight(rest, SYMBOLS, SystemClock()))
        for _ in range(LOCKOUT_FAILURES):  # so many, and the one of before, are too many
            answer = await rest.ask(requests.cancel_all(), read_cancel)  # which no counter of ours holds up
            assert isinstance(answer, RestRefusal)
            told.append(answer.error)

    with_venue(tmp_path, ask, texts=("not a key of Kraken", WRONG_SECRET))
    text, *errors = told

    assert text is not None
    assert "EAPI:Invalid key" in text
    assert "copy it again" in text
    assert ["lockout" in error for error in errors] == [False] * (LOCKOUT_FAILURES - 1) + [True]


def test_a_wrong_secret_says_that_the_two_do_not_belong_together(tmp_path: Path) -> None:
    """The key is known, the signature is not."""
    key = KeySpec(key="a key", secret="c2VjcmV0")

    assert "does not belong to the API key" in refusal(tmp_path, key=key, texts=("a key", WRONG_SECRET))


def test_a_key_that_may_withdraw_is_refused(tmp_path: Path) -> None:
    """It could take the money away; the engine never needs it."""
    text = refusal(tmp_path, key=KeySpec(permissions=(*TRADING_PERMISSIONS, "withdraw-funds")))

    assert 'untick "Funds: Withdraw"' in text
    assert "withdraw" in refusal(tmp_path, key=KeySpec(permissions=PERMISSIONS))


@pytest.mark.parametrize("missing", sorted(BOXES))
def test_each_missing_permission_is_named_by_its_box(tmp_path: Path, missing: str) -> None:
    """As Kraken's page of the key calls it."""
    given = tuple(name for name in TRADING_PERMISSIONS if name != missing)

    assert f'tick "{BOXES[missing]}"' in refusal(tmp_path, key=KeySpec(permissions=given))


def test_several_missing_permissions_are_one_sentence(tmp_path: Path) -> None:
    """So that the page is opened once."""
    text = refusal(tmp_path, key=KeySpec(permissions=()))

    assert all(f'"{box}"' in text for box in BOXES.values())


def test_a_symbol_that_kraken_has_not_is_named_with_the_likely_one(tmp_path: Path) -> None:
    """Before the first order is refused for it."""
    assert refusal(tmp_path, ("BTC/USD", "ETH/UDS")) == "ETH/UDS is not a pair of Kraken's; did you mean ETH/USD?"


@pytest.mark.parametrize(
    ("tokenized", "level", "text"),
    [
        (
            b'{"error":[],"result":{"AAPLxUSD":{"altname":"AAPLxUSD","wsname":"AAPLx/USD","base":"AAPLx",'
            b'"quote":"ZUSD","pair_decimals":2,"lot_decimals":8,"aclass_base":"tokenized_asset"}}}',
            Level.OK,
            "Kraken trades ETH/USD and AAPLx/USD",
        ),
        (
            b'{"error":["EGeneral:Invalid arguments:aclass_base"]}',
            Level.FAILURE,
            "AAPLx/USD is not a pair of Kraken's; did you mean ETH/USD?",
        ),
    ],
)
def test_tokenized_stocks_are_pairs_too(tokenized: bytes, level: Level, text: str) -> None:
    """REST tells them when they are asked for; where it refuses that, the others are known all the same."""
    status = b'{"error":[],"result":{"status":"online","timestamp":""}}'
    time = b'{"error":[],"result":{"unixtime":1}}'
    currencies = (
        b'{"error":[],"result":{"XETHZUSD":{"altname":"ETHUSD","wsname":"ETH/USD","base":"XETH","quote":"ZUSD",'
        b'"pair_decimals":2,"lot_decimals":8}}}'
    )
    found: dict[str, tuple[Level, str]] = {}

    async def scenario() -> None:
        async with Rest([answer(body) for body in (status, time, currencies, tokenized)]) as server:
            https = HttpsClient(server.url, clock=SystemClock())
            rest = RestCalls(KrakenRest(https, SystemClock()), SystemClock())
            told = await examine(rest, ("ETH/USD", "AAPLx/USD"), SystemClock(), with_key=False)
            found.update({finding.name: (finding.level, finding.text) for finding in told.findings})
            assert told.pairs.find("ETH/USD") is not None
            await https.close()

    run(scenario())

    assert found["symbols"] == (level, text)


@pytest.mark.parametrize(("offset_s", "direction"), [(10.0, "behind"), (-10.0, "ahead of")])
def test_a_clock_that_is_ten_seconds_off_is_refused(tmp_path: Path, offset_s: float, direction: str) -> None:
    """Kraken's Time is moved, which is the same from here."""
    text = refusal(tmp_path, clock_offset_s=offset_s)

    assert f"s {direction} Kraken's" in text
    assert "timedatectl set-ntp true" in text


@pytest.mark.parametrize(
    ("offset_ms", "level"),
    [
        (0, Level.OK),
        (249, Level.OK),
        (-249, Level.OK),
        (260, Level.WARNING),
        (-1999, Level.WARNING),
        (2001, Level.FAILURE),
    ],
)
def test_a_quarter_of_a_second_is_warned_of_and_two_seconds_are_refused(offset_ms: int, level: Level) -> None:
    """Only what is certain counts: the network's time is given to the clock's favor."""
    sent = WallNs(NS_PER_S + offset_ms * NS_PER_MS)
    offset = ClockOffset.of_exchange(sent, WallNs(NS_PER_S), WallNs(NS_PER_S + 10), WallNs(sent + 10))

    assert clock_finding(offset).level is level
    assert clock_finding(ClockOffset(-5 * NS_PER_S, 5 * NS_PER_S)).level is Level.OK


def test_a_kraken_that_cannot_be_reached_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network at home comes back; the key is not blamed for it."""
    monkeypatch.setattr(preflight, "PAUSE_S_MIN", 0.01)

    async def scenario() -> None:
        html = answer(b"<html>", status="520 Unknown")
        wrong = [answer(b'{"error":["EAPI:Invalid key"]}')] * 4
        status = answer(b'{"error":[],"result":{"status":"online","timestamp":""}}')
        async with Rest([html, html, status, *wrong]) as server:
            https = HttpsClient(server.url, clock=SystemClock())
            lock = KeyLock("key", tmp_path)
            kraken = KrakenRest(https, SystemClock(), signer=Signer("key", Secret(WRONG_SECRET)), key=lock)
            text = await run_preflight(RestCalls(kraken, SystemClock()), SYMBOLS, SystemClock())
            await https.close()
            lock.release()

        assert text is not None
        assert "Invalid key" in text

    run(scenario())


def probed(folder: Path, change: Callable[[str], str] = str, url: str = "", **settings: Any) -> Probe:
    """What the private WebSocket says to a token, changed on its way or not."""
    found: list[Probe] = []

    async def ask(rest: RestCalls, venue: Venue) -> None:
        token, _ = await rest.rest.websockets_token()
        found.append(await probe_private(url or venue.private_url, change(token), SystemClock(), deadline_s=2.0))

    with_venue(folder, ask, **settings)
    return found[0]


def test_the_private_websocket_tells_the_tier_and_the_time(tmp_path: Path) -> None:
    """With the session and the connection of the private feed itself."""
    probe = probed(tmp_path, tier="pro")

    assert [(row.name, row.level) for row in probe.findings] == [
        ("clock", Level.OK),
        ("private", Level.OK),
        ("tier", Level.OK),
    ]
    assert (probe.max_rate_count, probe.open_orders_max) == (180, 225)


def test_a_refused_token_and_a_dead_address_are_failures(tmp_path: Path) -> None:
    """Each in one sentence."""
    refused = probed(tmp_path, lambda token: token[::-1])
    nowhere = probed(tmp_path, url="ws://127.0.0.1:1/v2")

    assert "refuses the WebSocket token" in refused.findings[-1].text
    assert "check venue.private_url" in nowhere.findings[-1].text
    assert {probe.findings[-1].level for probe in (refused, nowhere)} == {Level.FAILURE}


def test_times_come_from_the_clock_that_is_given() -> None:
    """A clock that is off is seen in the offset, whatever the network takes."""
    clock = ManualClock(wall_ns=20 * NS_PER_S)
    offset = ClockOffset.of_exchange(clock.wall_ns(), WallNs(10 * NS_PER_S), WallNs(10 * NS_PER_S), clock.wall_ns())

    assert offset.certain_ns == 10 * NS_PER_S
