"""Tokens: fresh for each connection, shared by those who ask together, and asked for gently when there are none."""

import asyncio
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop

from engine.clock import ManualClock
from engine.kraken.connection.error_catalog import ErrorKind
from engine.net.control_socket import NobodyListens
from engine.order_router.core.tokens import AGE_S_MAX, BREAKER_FAILURES, PAUSE_S_MIN, REFRESH_S, TokenSource, serve_tokens
from engine.processes.token_socket import NoToken, ask_token
from engine.units import NS_PER_S

WRONG_KEY = "Kraken says 'EAPI:Invalid key'"


class Kraken:
    """Issues tokens, or refuses."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = False
        self.kind = ErrorKind.SERVICE
        self.expires_s = 900
        self.answer = asyncio.Event()
        self.answer.set()

    async def fetch(self) -> tuple[str, int]:
        self.asked += 1
        number = self.asked
        await self.answer.wait()
        if self.refuses:
            raise NoToken(WRONG_KEY, self.kind)
        return f"canary-token-{number}", self.expires_s


class Rig:
    def __init__(self, **options: Any) -> None:
        self.kraken = Kraken()
        self.clock = ManualClock(mono_ns=10**12)
        self.told: list[str] = []
        self.tokens = TokenSource(
            self.kraken.fetch, clock=self.clock, rng=random.Random(1), on_refresh=self.told.append, **options
        )

    def wait_s(self, seconds: float) -> None:
        self.clock.advance(int(seconds * NS_PER_S))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def run() -> Callable[..., None]:
    def runner(scenario: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(asyncio.wait_for(scenario, 20))

    return runner


def test_each_connection_gets_a_token_that_no_other_has_had(run) -> None:
    """Kraken's advice, for tokens have died with the connection they were on."""

    async def scenario() -> None:
        rig = Rig()

        assert await rig.tokens.fresh() == "canary-token-1"
        assert await rig.tokens.fresh() == "canary-token-2"
        assert rig.tokens.token == "canary-token-2"

    run(scenario())


def test_those_who_ask_together_share_one_request(run) -> None:
    """And one who loses patience does not take it from the others."""

    async def scenario() -> None:
        rig = Rig()
        rig.kraken.answer.clear()
        asking = [asyncio.ensure_future(rig.tokens.fresh()) for _ in range(5)]
        await settle()
        asking[0].cancel()
        await settle()
        rig.kraken.answer.set()
        got = await asyncio.gather(*asking, return_exceptions=True)

        assert rig.kraken.asked == 1
        assert isinstance(got[0], asyncio.CancelledError)
        assert got[1:] == ["canary-token-1"] * 4

    run(scenario())


def test_a_token_is_replaced_ahead_of_its_end(run) -> None:
    """At ten minutes; who asks then is given the new one at once, without a request."""

    async def scenario() -> None:
        rig = Rig()
        await rig.tokens.fresh()
        rig.wait_s(REFRESH_S - 1)
        rig.tokens.do_work()
        await settle()
        assert rig.kraken.asked == 1
        rig.wait_s(1)
        rig.tokens.do_work()
        rig.tokens.do_work()
        await settle()

        assert rig.kraken.asked == 2
        assert rig.told == ["canary-token-1", "canary-token-2"]
        assert await rig.tokens.fresh() == "canary-token-2"
        assert rig.kraken.asked == 2

    run(scenario())


def test_nothing_is_fetched_before_somebody_wants_a_token(run) -> None:
    """A router that never connects makes no calls."""

    async def scenario() -> None:
        rig = Rig()
        rig.tokens.do_work()
        await settle()

        assert rig.kraken.asked == 0

    run(scenario())


@pytest.mark.parametrize(("expires_s", "dies_at_s"), [(900, AGE_S_MAX), (60, 60)])
def test_an_old_token_is_given_to_nobody(run, expires_s, dies_at_s) -> None:
    """Thirteen minutes are the end, whatever the configuration says; or sooner, when Kraken says so."""

    async def scenario() -> None:
        rig = Rig(refresh_s=10_000)
        rig.kraken.expires_s = expires_s
        await rig.tokens.fresh()
        rig.wait_s(dies_at_s - 1)
        assert rig.tokens.token == "canary-token-1"
        rig.wait_s(1)

        assert rig.tokens.token is None
        assert await rig.tokens.fresh() == "canary-token-2"

    run(scenario())


def test_a_refused_token_is_not_given_again(run) -> None:
    """ESession: the next one who asks gets another; an older one that is refused changes nothing."""

    async def scenario() -> None:
        rig = Rig()
        first = await rig.tokens.fresh()
        rig.tokens.invalidate("canary-token-0")
        assert rig.tokens.token == first
        rig.tokens.invalidate(first)
        assert rig.tokens.token is None
        rig.tokens.do_work()
        await settle()

        assert rig.tokens.token == "canary-token-2"
        assert rig.tokens.statistics()["invalidated"] == 1

    run(scenario())


def test_failures_are_followed_by_growing_pauses_and_then_by_a_long_one(run) -> None:
    """Whoever asks meanwhile is told why, and Kraken is not asked."""

    async def scenario() -> None:
        rig = Rig()
        rig.kraken.refuses = True
        pauses = []
        for attempt in range(1, BREAKER_FAILURES + 1):
            with pytest.raises(NoToken, match="Invalid key"):
                await rig.tokens.fresh()
            assert rig.kraken.asked == attempt
            with pytest.raises(NoToken, match=r"asked again in .* s"):
                await rig.tokens.fresh()
            rig.tokens.do_work()
            await settle()
            assert rig.kraken.asked == attempt
            pauses.append((rig.tokens._retry_at - rig.clock.mono_ns()) / NS_PER_S)
            assert rig.tokens.is_open == (attempt == BREAKER_FAILURES)
            rig.wait_s(pauses[-1])

        assert all(
            ceiling / 2 <= pause <= ceiling
            for pause, ceiling in zip(pauses[:-1], [PAUSE_S_MIN * 2**n for n in range(4)], strict=True)
        )
        assert pauses[-1] == 60
        assert rig.tokens.statistics() == {
            "age_s": None,
            "refreshes": 0,
            "failures": 5,
            "invalidated": 0,
            "breaker": "closed",
            "last_error": WRONG_KEY,
        }
        rig.kraken.refuses = False
        assert await rig.tokens.fresh() == "canary-token-6"

    run(scenario())


@pytest.mark.parametrize("kind", [ErrorKind.AUTH, ErrorKind.PERMISSION])
def test_a_wrong_key_is_asked_with_once(run, kind: ErrorKind) -> None:
    """A person who has mended it says so; failed calls lead to a lockout."""

    async def scenario() -> None:
        rig = Rig()
        rig.kraken.refuses, rig.kraken.kind = True, kind
        with pytest.raises(NoToken, match="Invalid key"):
            await rig.tokens.fresh()
        for _ in range(100):
            rig.wait_s(600)
            rig.tokens.do_work()
            await settle()
            with pytest.raises(NoToken, match="engine resume"):
                await rig.tokens.fresh()
        assert rig.kraken.asked == 1
        rig.kraken.refuses = False
        rig.tokens.anew()

        assert await rig.tokens.fresh() == "canary-token-2"

    run(scenario())


def test_a_key_at_its_limit_is_left_alone_for_longer_each_time(run) -> None:
    """A night of a full counter is a few hundred calls, not one a second."""

    async def scenario() -> None:
        rig = Rig(breaker_failures=10_000)
        rig.kraken.refuses, rig.kraken.kind = True, ErrorKind.CALL_LIMIT
        for _ in range(8 * 3600):
            with pytest.raises(NoToken):
                await rig.tokens.fresh()
            rig.wait_s(1)

        assert 8 * 60 <= rig.kraken.asked < 3 * 8 * 60

    run(scenario())


def test_tokens_that_are_refused_one_after_the_other_are_fetched_more_and_more_slowly(run) -> None:
    """The first at once: it may have died. Each costs a call, and a key of another account is refused for ever."""

    async def scenario() -> None:
        rig = Rig()
        refused_at = []
        for _ in range(3600):
            try:
                token = await rig.tokens.fresh()
            except NoToken:
                assert "ESession" in rig.tokens.last_error
            else:
                refused_at.append(rig.clock.mono_ns())
                rig.tokens.invalidate(token, "Kraken refuses the token (ESession:Invalid session)")
            rig.wait_s(1)

        assert refused_at[1] - refused_at[0] == NS_PER_S
        assert len(refused_at) < 3600 / 15 + 10

    run(scenario())


@pytest.mark.parametrize(
    ("kind", "asked"),
    [(ErrorKind.TRANSPORT, 7), (ErrorKind.SERVICE, 7), (ErrorKind.CALL_LIMIT, 6), (ErrorKind.AUTH, 1)],
)
def test_a_connection_ends_the_pause_after_an_outage_and_no_other(run, kind: ErrorKind, asked: int) -> None:
    """After an hour without Kraken a token is asked for as soon as it takes a connection; once for each connection."""

    async def scenario() -> None:
        rig = Rig()
        rig.kraken.refuses, rig.kraken.kind = True, kind
        while rig.kraken.asked < 6 and not rig.tokens._retry.is_over:
            with pytest.raises(NoToken):
                await rig.tokens.fresh()
            rig.wait_s(61 if rig.kraken.asked < 6 else 1)
        rig.tokens.reachable_again()
        for _ in range(5):
            with pytest.raises(NoToken):
                await rig.tokens.fresh()

        assert rig.kraken.asked == asked

    run(scenario())


def test_a_token_that_lived_for_long_is_replaced_at_once_when_it_is_refused(run) -> None:
    """However often that happens."""

    async def scenario() -> None:
        rig = Rig()
        for number in range(1, 10):
            assert await rig.tokens.fresh() == f"canary-token-{number}"
            rig.wait_s(300)
            rig.tokens.invalidate(f"canary-token-{number}")

    run(scenario())


def test_a_failed_refresh_leaves_the_old_token_for_its_time(run) -> None:
    """Three minutes are left to get another."""

    async def scenario() -> None:
        rig = Rig()
        await rig.tokens.fresh()
        rig.kraken.refuses = True
        rig.wait_s(REFRESH_S)
        rig.tokens.do_work()
        await settle()

        assert rig.tokens.failures == 1
        assert rig.tokens.token == "canary-token-1"

    run(scenario())


def test_a_token_crosses_the_socket_to_this_users_processes_only(run, tmp_path: Path) -> None:
    """The socket is closed to others; a refusal crosses it in words; a router that is away is told so."""

    async def scenario() -> None:
        rig = Rig()
        path = tmp_path / "token"
        with pytest.raises(NobodyListens):
            await ask_token(path)
        server = await serve_tokens(path, rig.tokens)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert await ask_token(path) == "canary-token-1"
        rig.kraken.refuses = True
        with pytest.raises(NoToken, match="Invalid key"):
            await ask_token(path)
        server.close()
        await server.wait_closed()

    run(scenario())


def test_no_token_is_ever_logged(run, tmp_path: Path) -> None:
    """Nor is it in the statistics, or in an error."""
    with structlog.testing.capture_logs() as lines:

        async def scenario() -> None:
            rig = Rig()
            server = await serve_tokens(tmp_path / "token", rig.tokens)
            await ask_token(tmp_path / "token")
            rig.kraken.refuses = True
            with pytest.raises(NoToken):
                await ask_token(tmp_path / "token")
            lines.append(rig.tokens.statistics())  # type: ignore[arg-type]
            server.close()
            await server.wait_closed()

        run(scenario())

    assert len(lines) >= 2
    assert "canary" not in repr(lines)


def test_a_fetch_under_way_is_given_up_at_the_end(run) -> None:
    """The process need not wait for Kraken."""

    async def scenario() -> None:
        rig = Rig()
        rig.kraken.answer.clear()
        asking = asyncio.ensure_future(rig.tokens.fresh())
        await settle()
        await rig.tokens.close()
        with pytest.raises((asyncio.CancelledError, NoToken)):
            await asking

    run(scenario())
