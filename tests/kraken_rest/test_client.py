"""REST for one key: nonces in their order, nothing sent twice in doubt, silence after a lockout."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from engine.clock import ManualClock, SystemClock
from engine.errors import MisuseError, VenueReject
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.requests import RestRequest
from engine.kraken.rest.signing import Signer
from engine.kraken_rest.call_counter import Urgency
from engine.kraken_rest.calls import RestCalls
from engine.kraken_rest.client import KrakenRest
from engine.net.https import HttpsClient, InDoubt, NotSent
from engine.net.key_lock import KeyLock
from engine.net.lockout import LOCKOUT_NS, LockedOut
from engine.secret import Secret
from engine.units import NS_PER_S
from engine.venue.server import Venue
from engine.venue.setup.keys import KeySpec
from engine.venue.setup.settings import VenueSettings
from tests.net.rig import Rest, answer, silence
from tests.waiting import until

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
CANCEL_ALL = rest_requests.cancel_all()
BALANCE = rest_requests.balance()
NOW = 1_795_000_000 * NS_PER_S


@pytest.fixture
def run() -> Callable[..., None]:
    def runner(scenario: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(asyncio.wait_for(scenario, 30))

    return runner


class Desk:
    """A KrakenRest with all that it needs, for one `async with`."""

    def __init__(self, url: str, folder: Path, *, key: str = "key", secret: str = SECRET, clock: Any = None) -> None:
        self.clock = clock or ManualClock(mono_ns=10**12, wall_ns=NOW)
        self.lock = KeyLock(key, folder)
        self.https = HttpsClient(url, clock=SystemClock())
        self.rest = KrakenRest(self.https, self.clock, signer=Signer(key, Secret(secret)), key=self.lock)

    async def __aenter__(self) -> "Desk":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rest.close()
        self.lock.release()


def refusal(error: str) -> bytes:
    return answer(b'{"error":["%s"]}' % error.encode())


DONE = answer(b'{"error":[],"result":{}}')


def nonces(requests: list[bytes]) -> list[int]:
    return [int(msgspec.json.decode(request.partition(b"\r\n\r\n")[2])["nonce"]) for request in requests]


def test_twenty_calls_at_once_arrive_in_the_order_of_their_nonces(run, tmp_path: Path) -> None:
    """The venue refuses any that is not above the last, and none is refused."""

    async def scenario() -> None:
        async with Venue(VenueSettings(port=0, rate=0, count_rates=False)) as venue:
            default = venue.keys.default
            async with Desk(
                venue.rest.url, tmp_path, key=default.key, secret=default.secret, clock=SystemClock()
            ) as desk:
                answers = await asyncio.gather(*(desk.rest.call(BALANCE) for _ in range(20)))
                token, expires_s = await desk.rest.websockets_token()

        assert all(b'"error":[]' in got.body for got in answers)
        assert (len(token), expires_s) == (43, 900)

    run(scenario())


def test_a_refused_token_is_a_sentence(run, tmp_path: Path) -> None:
    """It names what Kraken says and what to do."""

    async def scenario() -> None:
        async with Venue(VenueSettings(port=0, rate=0)) as venue:
            poor = venue.keys.add(KeySpec(permissions=("query-funds",)))
            async with Desk(venue.rest.url, tmp_path, key=poor.key, secret=poor.secret, clock=SystemClock()) as desk:
                with pytest.raises(VenueReject, match=r"Permission denied.*engine check"):
                    await desk.rest.websockets_token()

    run(scenario())


@pytest.mark.parametrize(("request_", "times"), [(BALANCE, 2), (CANCEL_ALL, 1)], ids=["reads", "changes"])
def test_a_refused_nonce_is_tried_once_more_where_nothing_is_changed(
    run, tmp_path: Path, request_: RestRequest, times: int
) -> None:
    """With a fresh nonce; the second refusal is the answer."""

    async def scenario() -> None:
        async with Rest([refusal("EAPI:Invalid nonce")] * 3) as server, Desk(server.url, tmp_path) as desk:
            got = await desk.rest.call(request_)
            used = nonces(server.requests)

            assert b"Invalid nonce" in got.body
            assert len(used) == times
            assert all(earlier < later for earlier, later in itertools.pairwise(used))

    run(scenario())


def test_no_authenticated_call_is_made_for_a_quarter_of_an_hour_after_a_lockout(run, tmp_path: Path) -> None:
    """Not by this process and not by its successor; public calls go on."""

    async def scenario() -> None:
        steps = [refusal("EGeneral:Temporary lockout"), answer(b"{}"), DONE]
        async with Rest(steps) as server:
            async with Desk(server.url, tmp_path) as desk:
                await desk.rest.call(BALANCE)
                for request in (BALANCE, CANCEL_ALL):
                    with pytest.raises(LockedOut, match="15 minutes"):
                        await desk.rest.call(request)
                await desk.rest.call(rest_requests.time())
            assert len(server.requests) == 2
            async with Desk(
                server.url, tmp_path, clock=ManualClock(mono_ns=5, wall_ns=NOW + LOCKOUT_NS // 3)
            ) as successor:
                with pytest.raises(LockedOut, match="10 minutes"):
                    await successor.rest.call(BALANCE)
                successor.clock.advance(LOCKOUT_NS)
                await successor.rest.call(BALANCE)
            assert len(server.requests) == 3

    run(scenario())


def test_a_call_that_never_got_its_turn_was_not_sent(run, tmp_path: Path) -> None:
    """One that hangs holds the others up; they are in no doubt."""

    async def scenario() -> None:
        async with Rest([silence]) as server, Desk(server.url, tmp_path, clock=SystemClock()) as desk:
            hanging = asyncio.ensure_future(desk.rest.call(CANCEL_ALL, deadline_s=0.6))
            await until(lambda: server.requests)
            with pytest.raises(NotSent, match="earlier calls"):
                await desk.rest.call(CANCEL_ALL, deadline_s=0.1)
            with pytest.raises(InDoubt):
                await hanging

            assert len(server.requests) == 1

    run(scenario())


def test_the_most_urgent_call_goes_next(run, tmp_path: Path) -> None:
    """The dead man's switch does not wait behind lookups; of equal ones the first that came."""

    async def scenario() -> None:
        async with Rest([DONE] * 5) as server, Desk(server.url, tmp_path, clock=SystemClock()) as desk:
            calls = (
                (BALANCE, Urgency.TRUTH),
                (rest_requests.closed_orders(), Urgency.LATER),
                (rest_requests.open_orders(), Urgency.LOOK),
                (rest_requests.query_orders(["OQCLML-BW3P3-BUCMWZ"]), Urgency.LOOK),
                (rest_requests.cancel_all_orders_after(60), Urgency.DEAD_MAN),
            )
            await asyncio.gather(*(desk.rest.call(request, urgency=urgency) for request, urgency in calls))
            names = [request.split(b" ")[1].rpartition(b"/")[2].decode() for request in server.requests]

        assert names == ["Balance", "CancelAllOrdersAfter", "OpenOrders", "QueryOrders", "ClosedOrders"]

    run(scenario())


def test_a_call_that_is_given_up_while_it_waits_costs_nobody_a_turn(run, tmp_path: Path) -> None:
    """Those behind it go on."""

    async def scenario() -> None:
        async with Rest([DONE] * 3) as server, Desk(server.url, tmp_path, clock=SystemClock()) as desk:
            calls = [asyncio.ensure_future(desk.rest.call(BALANCE)) for _ in range(3)]
            await asyncio.sleep(0)
            calls[1].cancel()
            got = await asyncio.gather(*calls, return_exceptions=True)
            await desk.rest.call(BALANCE)

        assert isinstance(got[1], asyncio.CancelledError)
        assert len(server.requests) == 3

    run(scenario())


def test_what_calls_have_used_of_krakens_counter_is_known_to_the_next_process(run, tmp_path: Path) -> None:
    """Refused calls count as well: the belief goes above the limit, and so does the wait of a process that begins."""

    async def scenario() -> None:
        steps = [refusal("EAPI:Rate limit exceeded")] * 2
        async with Rest(steps) as server, Desk(server.url, tmp_path) as desk:
            rest = RestCalls(desk.rest, desk.clock)
            rest.set_tier("pro")
            for _ in range(2):
                await rest.ask(BALANCE, rest_replies.read_balance)
                desk.clock.advance(10 * NS_PER_S)
            wait_ns = rest.counter.wait_ns(1, desk.clock.mono_ns())
        async with Desk(server.url, tmp_path, clock=desk.clock) as successor:
            counter = RestCalls(successor.rest, successor.clock).counter

            assert counter.level(desk.clock.mono_ns()).tier == "pro"
            assert counter.wait_ns(1, desk.clock.mono_ns()) == pytest.approx(wait_ns, abs=NS_PER_S // 100)
            assert counter.wait_ns(20, desk.clock.mono_ns()) > 10 * NS_PER_S

    run(scenario())


@pytest.mark.parametrize(
    ("step", "wait_s"),
    [
        (refusal(f"EService: Throttled: {NOW // NS_PER_S + 40}"), 40),
        (answer(b"<html>", status="429 Too Many Requests", headers="Retry-After: 25\r\n"), 25),
    ],
    ids=["throttled", "retry after"],
)
def test_a_moment_that_kraken_names_is_waited_for_by_all_calls(run, tmp_path: Path, step: bytes, wait_s: int) -> None:
    """Whatever the belief of the counter is."""

    async def scenario() -> None:
        async with Rest([step]) as server, Desk(server.url, tmp_path) as desk:
            rest = RestCalls(desk.rest, desk.clock)
            await rest.ask(rest_requests.cancel_all_orders_after(60), rest_replies.read_balance)

            assert rest.counter.wait_ns(1, desk.clock.mono_ns()) == wait_s * NS_PER_S

    run(scenario())


def test_a_private_call_without_a_key_is_a_fault_of_ours(run) -> None:
    """Public ones need none."""

    async def scenario() -> None:
        https = HttpsClient("http://127.0.0.1:1", clock=SystemClock())
        with pytest.raises(MisuseError):
            await KrakenRest(https, SystemClock()).call(BALANCE)
        with pytest.raises(NotSent):
            await KrakenRest(https, SystemClock()).call(rest_requests.time())
        await https.close()

    run(scenario())
