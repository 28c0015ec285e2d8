"""REST for one key over HTTPS: nonces in their order, nothing sent twice in doubt, silence after a lockout.

Which call goes when is tried in `test_call_queue`, without a socket.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from engine.clock import ManualClock, SystemClock
from engine.errors import MisuseError, VenueReject
from engine.kraken.connection.error_catalog import Outcome
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.kraken.rest.signing import Signer
from engine.kraken_rest.call_queue import RestCall
from engine.kraken_rest.calls import RestCalls
from engine.kraken_rest.client import KrakenRest
from engine.net.https import HttpsClient, NotSent
from engine.net.key_lock import KeyLock
from engine.net.lockout import LOCKOUT_NS
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


class RestRig:
    """A KrakenRest with all that it needs, for one `async with`."""

    def __init__(self, url: str, folder: Path, *, key: str = "key", secret: str = SECRET, clock: Any = None) -> None:
        self.clock = clock or ManualClock(mono_ns=10**12, wall_ns=NOW)
        self.lock = KeyLock(key, folder)
        self.https = HttpsClient(url, clock=SystemClock())
        self.rest = KrakenRest(self.https, self.clock, signer=Signer(key, Secret(secret)), key=self.lock)
        self.calls = RestCalls(self.rest, self.clock)

    async def ask(self, request: RestRequest) -> RestRefusal | bytes:
        """The text of Kraken's result, or why there is none."""
        return await self.calls.ask(request, rest_replies.refusal_or_result)

    async def __aenter__(self) -> "RestRig":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rest.close()
        self.lock.release()


def refusal(error: str) -> bytes:
    return answer(b'{"error":["%s"]}' % error.encode())


DONE = answer(b'{"error":[],"result":{}}')


def nonces(requests: list[bytes]) -> list[int]:
    return [int(msgspec.json.decode(request.partition(b"\r\n\r\n")[2])["nonce"]) for request in requests]


def test_many_calls_at_once_arrive_in_the_order_of_their_nonces(run, tmp_path: Path) -> None:
    """The venue refuses any that is not above the last, and none is refused."""

    async def scenario() -> None:
        async with Venue(VenueSettings(port=0, rate=0, count_rates=False)) as venue:
            default = venue.keys.default
            async with RestRig(
                venue.rest.url, tmp_path, key=default.key, secret=default.secret, clock=SystemClock()
            ) as rig:
                rig.calls.queue.set_tier("pro")
                answers = await asyncio.gather(*(rig.ask(BALANCE) for _ in range(19)))
                token, expires_s = await rig.rest.websockets_token()

        assert all(isinstance(got, bytes) for got in answers)
        assert (len(token), expires_s) == (43, 900)

    run(scenario())


def test_a_refused_token_is_a_sentence(run, tmp_path: Path) -> None:
    """It names what Kraken says and what to do."""

    async def scenario() -> None:
        async with Venue(VenueSettings(port=0, rate=0)) as venue:
            poor = venue.keys.add(KeySpec(permissions=("query-funds",)))
            async with RestRig(venue.rest.url, tmp_path, key=poor.key, secret=poor.secret, clock=SystemClock()) as rig:
                with pytest.raises(VenueReject, match=r"Permission denied.*engine check"):
                    await rig.rest.websockets_token()

    run(scenario())


def test_a_nonce_that_was_refused_is_followed_by_a_fresh_one(run, tmp_path: Path) -> None:
    """Of a call that only reads; the second refusal is the answer."""

    async def scenario() -> None:
        async with Rest([refusal("EAPI:Invalid nonce")] * 3) as server, RestRig(server.url, tmp_path) as rig:
            got = await rig.ask(BALANCE)
            used = nonces(server.requests)

        assert isinstance(got, RestRefusal)
        assert "Invalid nonce" in got.error
        assert len(used) == 2
        assert used[0] < used[1]

    run(scenario())


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Take the request, and close without an answer."""
    writer.close()


@pytest.mark.parametrize(
    "what_comes",
    [hang_up, answer(b"<html>520</html>", status="520 Unknown"), refusal("EService:Unavailable"), answer(b"{")],
    ids=["nothing", "HTML of a proxy", "unavailable", "half an answer"],
)
def test_a_request_that_left_and_was_not_answered_rightly_is_in_doubt(run, tmp_path: Path, what_comes: Any) -> None:
    """Kraken may have carried it out: it is never taken for one that was not sent, and not sent again."""

    async def scenario() -> None:
        async with Rest([what_comes]) as server, RestRig(server.url, tmp_path) as rig:
            got = await rig.ask(CANCEL_ALL)

            assert isinstance(got, RestRefusal)
            assert got.meaning.outcome is Outcome.UNKNOWN
            assert len(server.requests) == 1

    run(scenario())


def test_a_request_to_a_server_that_is_not_there_was_certainly_not_sent(run, tmp_path: Path) -> None:
    """So it may go by another route at once."""

    async def scenario() -> None:
        async with Rest([]) as server:
            url = server.url
        async with RestRig(url, tmp_path) as rig:
            got = await rig.ask(CANCEL_ALL)

        assert isinstance(got, RestRefusal)
        assert got.meaning.outcome is Outcome.NOT_PLACED

    run(scenario())


def test_the_next_process_of_a_key_keeps_silent_for_the_rest_of_a_lockout(run, tmp_path: Path) -> None:
    """Every call would prolong it."""

    async def scenario() -> None:
        async with Rest([refusal("EGeneral:Temporary lockout"), DONE], [DONE]) as server:
            async with RestRig(server.url, tmp_path) as rig:
                await rig.ask(BALANCE)
                refused = [await rig.ask(request) for request in (BALANCE, CANCEL_ALL)]
                await rig.ask(rest_requests.time())
            sent_before = len(server.requests)
            clock = ManualClock(mono_ns=10**12 + LOCKOUT_NS // 3, wall_ns=NOW)
            async with RestRig(server.url, tmp_path, clock=clock) as successor:
                refused.append(await successor.ask(BALANCE))
                clock.advance(LOCKOUT_NS)
                last = await successor.ask(BALANCE)
            sent = len(server.requests)

        texts = [got.error for got in refused if isinstance(got, RestRefusal)]
        assert ["15 minutes" in text for text in texts] == [True, True, False]
        assert "10 minutes" in texts[2]
        assert (sent_before, sent) == (2, 3)
        assert last == b"{}"

    run(scenario())


def test_one_who_does_not_wait_any_longer_holds_up_nobody(run, tmp_path: Path) -> None:
    """The call is not sent, and those behind it go on."""

    async def scenario() -> None:
        async with Rest([DONE] * 3) as server, RestRig(server.url, tmp_path, clock=SystemClock()) as rig:
            asking = [asyncio.ensure_future(rig.ask(BALANCE)) for _ in range(3)]
            await asyncio.sleep(0)
            asking[1].cancel()
            got = await asyncio.gather(*asking, return_exceptions=True)
            await rig.ask(BALANCE)

        assert isinstance(got[1], asyncio.CancelledError)
        assert len(server.requests) == 3

    run(scenario())


def test_a_call_under_way_is_given_up_at_the_end(run, tmp_path: Path) -> None:
    """The process need not wait for Kraken."""

    async def scenario() -> None:
        async with Rest([silence]) as server, RestRig(server.url, tmp_path, clock=SystemClock()) as rig:
            told: list[object] = []
            rig.calls.queue.put(RestCall(BALANCE, rest_replies.read_balance, told.append))
            await until(lambda: server.requests, "the call is under way")
            await rig.calls.close(0.01)

        assert told == []

    run(scenario())


def test_what_calls_have_used_of_krakens_counter_is_known_to_the_next_process(run, tmp_path: Path) -> None:
    """Refused calls count as well: the belief goes above the limit, and so does the wait of a process that begins."""

    async def scenario() -> None:
        steps = [refusal("EAPI:Rate limit exceeded")] * 2
        async with Rest(steps) as server, RestRig(server.url, tmp_path) as rig:
            rig.calls.queue.set_tier("pro")
            for _ in range(2):
                await rig.ask(BALANCE)
                rig.clock.advance(10 * NS_PER_S)
            wait_ns = rig.calls.queue.counter.wait_ns(1, rig.clock.mono_ns())
        async with RestRig(server.url, tmp_path, clock=rig.clock) as successor:
            counter = successor.calls.queue.counter

            assert counter.level(rig.clock.mono_ns()).tier == "pro"
            assert counter.wait_ns(1, rig.clock.mono_ns()) == pytest.approx(wait_ns, abs=NS_PER_S // 100)
            assert counter.wait_ns(20, rig.clock.mono_ns()) > 10 * NS_PER_S

    run(scenario())


def test_the_pause_that_a_server_wishes_for_is_waited_for_by_all_calls(run, tmp_path: Path) -> None:
    """Retry-After, of whatever answer."""

    async def scenario() -> None:
        step = answer(b"<html>", status="429 Too Many Requests", headers="Retry-After: 25\r\n")
        async with Rest([step]) as server, RestRig(server.url, tmp_path) as rig:
            await rig.ask(rest_requests.cancel_all_orders_after(60))

            assert rig.calls.queue.counter.wait_ns(1, rig.clock.mono_ns()) == 25 * NS_PER_S

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
