"""Tokens: fresh for each connection, shared by those who ask together, and asked for gently when there are none."""

import asyncio
import os
import random
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import uvloop

from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.kraken_rest.tokens import (
    AGE_NS_MAX,
    BREAKER_FAILURES,
    PAUSE_NS_MIN,
    REFRESH_NS,
    NoToken,
    TokenSource,
)
from engine.net.control_socket import NobodyListens
from engine.order_router.token_server import serve_tokens
from engine.processes import token_socket
from engine.processes.token_socket import ask_token
from engine.secret import Secret
from engine.units import NS_PER_MS, NS_PER_S
from tests.clocks import ShellClock
from tests.order_router.rig import RouterRig

WRONG_KEY = "EAPI:Invalid key"
NO_ANSWER = ""  # the network's trouble, not an error of Kraken's


class Kraken:
    """Issues tokens, or refuses."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = False
        self.error = "EService:Unavailable"
        self.expires_s = 900

    def answer(self, calls: CallQueue, call: RestCall) -> None:
        """One call, at once."""
        assert call.request.name == "GetWebSocketsToken"
        self.asked += 1
        if self.refuses and self.error == NO_ANSWER:
            calls.failed(call, "connection reset", is_in_doubt=True)
        elif self.refuses:
            calls.answered(call, 200, msgspec.json.encode({"error": [self.error]}))
        else:
            token = {"token": f"canary-token-{self.asked}", "expires": self.expires_s}
            calls.answered(call, 200, msgspec.json.encode({"error": [], "result": token}))


class Rig:
    """Who asks, and a Kraken that answers at once, unless it is told to wait."""

    def __init__(self, **options: Any) -> None:
        self.kraken = Kraken()
        self.clock = ShellClock(mono_ns=10**12)
        self.calls = CallQueue(self.clock.now)
        self.tokens = TokenSource(self.calls, self.clock.now, random.Random(1).random, **options)

    def wait_s(self, seconds: float) -> None:
        self.clock.advance(round(seconds * NS_PER_S))

    def serve(self) -> None:
        """Kraken answers what is due."""
        while (call := self.calls.take_due()) is not None:
            self.kraken.answer(self.calls, call)

    def ask_due(self) -> None:
        """As the router does every few milliseconds."""
        self.tokens.ask_due()
        self.serve()

    def ask(self) -> list[Secret | NoToken]:
        """Somebody asks; what that one is given, as soon as there is something."""
        given: list[Secret | NoToken] = []
        self.tokens.give(given.append)
        return given

    def fresh(self) -> str:
        """Somebody asks, and Kraken answers; NoToken."""
        given = self.ask()
        self.serve()
        (token,) = given
        if isinstance(token, NoToken):
            raise token
        return token.reveal()

    def pause_s(self) -> float:
        """How long nothing is asked from now on."""
        asked, began_at = self.kraken.asked, self.clock.mono_ns()
        while self.kraken.asked == asked:
            self.clock.advance(10 * NS_PER_MS)
            self.ask_due()
        return (self.clock.mono_ns() - began_at) / NS_PER_S


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    def runner(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(asyncio.wait_for(scenario, 20))

    return runner


def test_each_connection_gets_a_token_that_no_other_has_had() -> None:
    """Kraken's advice, for tokens have died with the connection they were on."""
    rig = Rig()
    given = [rig.fresh(), rig.fresh()]

    assert given == ["canary-token-1", "canary-token-2"]
    assert rig.tokens.token == "canary-token-2"


def test_those_who_ask_together_share_one_request() -> None:
    """Whoever comes while it is under way waits for it."""
    rig = Rig()
    given = [rig.ask() for _ in range(5)]
    before = [list(each) for each in given]
    rig.serve()

    assert before == [[]] * 5
    assert rig.kraken.asked == 1
    assert given == [[Secret("canary-token-1")]] * 5


def test_a_token_is_replaced_ahead_of_its_end() -> None:
    """At ten minutes; who asks then is given the new one at once, without a request."""
    rig = Rig()
    rig.fresh()
    rig.wait_s(REFRESH_NS / NS_PER_S - 1)
    rig.ask_due()
    asked_before = rig.kraken.asked
    rig.wait_s(1)
    rig.ask_due()
    rig.ask_due()
    asked_then = rig.kraken.asked

    assert (asked_before, asked_then) == (1, 2)
    assert rig.fresh() == "canary-token-2"
    assert rig.kraken.asked == 2


def test_nothing_is_fetched_before_somebody_wants_a_token() -> None:
    """A router that never connects makes no calls."""
    rig = Rig()
    rig.ask_due()

    assert rig.kraken.asked == 0


@pytest.mark.parametrize(("expires_s", "dies_at_s"), [(900, AGE_NS_MAX // NS_PER_S), (60, 60)])
def test_an_old_token_is_given_to_nobody(expires_s: int, dies_at_s: int) -> None:
    """Thirteen minutes are the end, whatever the configuration says; or sooner, when Kraken says so."""
    rig = Rig(refresh_ns=10_000 * NS_PER_S)
    rig.kraken.expires_s = expires_s
    rig.fresh()
    rig.wait_s(dies_at_s - 1)
    before = rig.tokens.token
    rig.wait_s(1)

    assert before == "canary-token-1"
    assert rig.tokens.token is None
    assert rig.fresh() == "canary-token-2"


def test_a_refused_token_is_not_given_again() -> None:
    """ESession: the next one who asks gets another; an older one that is refused changes nothing."""
    rig = Rig()
    first = rig.fresh()
    rig.tokens.invalidate("canary-token-0")
    before = rig.tokens.token
    rig.tokens.invalidate(first)
    after = rig.tokens.token
    rig.ask_due()

    assert (before, after) == (first, None)
    assert rig.tokens.token == "canary-token-2"
    assert rig.tokens.statistics()["invalidated"] == 1


def test_failures_are_followed_by_growing_pauses_and_then_by_a_long_one() -> None:
    """Whoever asks meanwhile is told why, and Kraken is not asked."""
    rig = Rig()
    rig.kraken.refuses = True
    with pytest.raises(NoToken, match="Unavailable"):
        rig.fresh()
    pauses, is_open = [], []
    for attempt in range(1, BREAKER_FAILURES + 1):
        with pytest.raises(NoToken, match=r"Unavailable.*asked again in .* s"):
            rig.fresh()
        assert rig.kraken.asked == attempt
        is_open.append(rig.tokens.is_open)
        statistics = rig.tokens.statistics()
        rig.kraken.refuses = attempt < BREAKER_FAILURES
        pauses.append(rig.pause_s())

    first_s = PAUSE_NS_MIN / NS_PER_S
    assert all(
        ceiling / 2 <= pause <= ceiling + 0.01
        for pause, ceiling in zip(pauses[:-1], [first_s * 2**n for n in range(4)], strict=True)
    )
    assert pauses[-1] == pytest.approx(60, abs=0.011)
    assert is_open == [False] * (BREAKER_FAILURES - 1) + [True]
    assert {name: value for name, value in statistics.items() if name != "last_error"} == {
        "age_s": None, "refreshes": 0, "failures": 5, "invalidated": 0, "breaker": "open",
    }  # fmt: skip
    assert "EService:Unavailable" in statistics["last_error"]
    assert rig.fresh() == "canary-token-6"


@pytest.mark.parametrize("error", [WRONG_KEY, "EGeneral:Permission denied"])
def test_a_wrong_key_is_asked_with_once(error: str) -> None:
    """A person who has mended it says so; failed calls lead to a lockout."""
    rig = Rig()
    rig.kraken.refuses, rig.kraken.error = True, error
    with pytest.raises(NoToken, match=error):
        rig.fresh()
    for _ in range(100):
        rig.wait_s(600)
        rig.ask_due()
        with pytest.raises(NoToken, match="engine resume"):
            rig.fresh()
    asked = rig.kraken.asked
    rig.kraken.refuses = False
    rig.tokens.anew()

    assert asked == 1
    assert rig.fresh() == "canary-token-2"


def test_a_key_at_its_limit_is_left_alone_for_longer_each_time() -> None:
    """A night of a full counter is a few hundred calls, not one a second."""
    rig = Rig()
    rig.kraken.refuses, rig.kraken.error = True, "EAPI:Rate limit exceeded"
    for _ in range(8 * 3600):
        rig.ask()
        rig.serve()
        rig.wait_s(1)

    assert 8 * 60 <= rig.kraken.asked < 3 * 8 * 60


def test_tokens_that_are_refused_one_after_the_other_are_fetched_more_and_more_slowly() -> None:
    """The first at once: it may have died. Each costs a call, and a key of another account is refused for ever."""
    rig = Rig()
    refused_at = []
    for _ in range(3600):
        try:
            token = rig.fresh()
        except NoToken:
            assert "ESession" in rig.tokens.last_error
        else:
            refused_at.append(rig.clock.mono_ns())
            rig.tokens.invalidate(token, "Kraken refuses the token (ESession:Invalid session)")
        rig.wait_s(1)

    assert refused_at[1] - refused_at[0] == NS_PER_S
    assert len(refused_at) < 3600 / 15 + 10


@pytest.mark.parametrize(
    ("error", "asked"),
    [(NO_ANSWER, 7), ("EService:Unavailable", 7), ("EAPI:Rate limit exceeded", 6), (WRONG_KEY, 1)],
)
def test_a_connection_ends_the_pause_after_an_outage_and_no_other(error: str, asked: int) -> None:
    """After an hour without Kraken a token is asked for as soon as it takes a connection; once for each connection."""
    rig = Rig()
    rig.kraken.refuses, rig.kraken.error = True, error
    for _ in range(10):
        if rig.kraken.asked < 6:
            rig.wait_s(121)
            rig.ask()
            rig.serve()
    rig.wait_s(1)
    rig.tokens.reachable_again()
    for _ in range(5):
        rig.ask()
        rig.serve()

    assert rig.kraken.asked == asked


def test_a_token_that_lived_for_long_is_replaced_at_once_when_it_is_refused() -> None:
    """However often that happens."""
    rig = Rig()
    given = []
    for number in range(1, 10):
        given.append(rig.fresh())
        rig.wait_s(300)
        rig.tokens.invalidate(f"canary-token-{number}")

    assert given == [f"canary-token-{number}" for number in range(1, 10)]


def test_a_failed_refresh_leaves_the_old_token_for_its_time() -> None:
    """Three minutes are left to get another."""
    rig = Rig()
    rig.fresh()
    rig.kraken.refuses = True
    rig.wait_s(REFRESH_NS / NS_PER_S)
    rig.ask_due()

    assert rig.tokens.failures == 1
    assert rig.tokens.token == "canary-token-1"


# --- for the private feed's process


class Server:
    """A router whose tokens are asked for over its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kraken = Kraken()
        self.rig = RouterRig()

    async def serve(self, asking: "asyncio.Future[Any]") -> None:
        """Kraken answers, until whoever asks has an answer."""
        while not asking.done():
            while (call := self.rig.calls.take_due()) is not None:
                self.kraken.answer(self.rig.calls, call)
            await asyncio.wait([asking], timeout=0.001)

    async def token(self) -> str:
        """A process asks."""
        asking = asyncio.ensure_future(ask_token(self.path))
        await self.serve(asking)
        return await asking


def test_a_token_crosses_the_socket_to_this_users_processes_only(run: Any, tmp_path: Path) -> None:
    """The socket is closed to others; a refusal crosses it in words; a router that is away is told so."""

    async def scenario() -> None:
        server = Server(tmp_path / "token")
        with pytest.raises(NobodyListens):
            await ask_token(server.path)
        listening = await serve_tokens(server.path, server.rig.router)
        mode = stat.S_IMODE(os.stat(server.path).st_mode)
        token = await server.token()
        server.kraken.refuses, server.kraken.error = True, WRONG_KEY
        with pytest.raises(token_socket.NoToken, match="Invalid key"):
            await server.token()
        listening.close()
        await listening.wait_closed()

        assert mode == 0o600
        assert token == "canary-token-1"

    run(scenario())


def test_one_who_loses_patience_does_not_take_it_from_the_others(run: Any, tmp_path: Path) -> None:
    """Its connection is closed before the answer comes."""

    async def scenario() -> None:
        server = Server(tmp_path / "token")
        listening = await serve_tokens(server.path, server.rig.router)
        impatient = asyncio.ensure_future(ask_token(server.path))
        while (call := server.rig.calls.take_due()) is None:
            await asyncio.wait([impatient], timeout=0.001)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        patient = asyncio.ensure_future(ask_token(server.path))
        server.kraken.answer(server.rig.calls, call)
        await server.serve(patient)
        listening.close()
        await listening.wait_closed()

        assert impatient.cancelled()
        assert (await patient).startswith("canary-token-")

    run(scenario())


def test_no_token_is_ever_logged(run: Any, tmp_path: Path) -> None:
    """Nor is it in the statistics, or in an error."""
    with structlog.testing.capture_logs() as lines:

        async def scenario() -> None:
            server = Server(tmp_path / "token")
            listening = await serve_tokens(server.path, server.rig.router)
            await server.token()
            server.kraken.refuses = True
            with pytest.raises(token_socket.NoToken):
                await server.token()
            lines.append(server.rig.core.tokens.statistics())  # type: ignore[arg-type]
            listening.close()
            await listening.wait_closed()

        run(scenario())

    assert len(lines) >= 2
    assert "canary" not in repr(lines)
