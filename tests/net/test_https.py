"""HTTPS: what a failure proves. The server is a real socket that misbehaves as told."""

import asyncio
import gc
import gzip
import os
import socket
from contextlib import suppress

import pytest

from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.net.https import HttpsClient, InDoubt, NotSent, RequestFailed
from engine.net.resolver import Resolver
from engine.units import NS_PER_S
from tests.net.rig import TLS, EndsSoon, Rest, answer, pointing_at, server_context, silence
from tests.waiting import turns, until

SIGNATURE = "c2lnbmF0dXJlIG9mIGEgY2FsbA=="


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


def client(url: str, **options) -> HttpsClient:
    return HttpsClient(url, clock=SystemClock(), **options)


async def failure_of(https: HttpsClient, method: str = "POST", **options) -> RequestFailed:
    """What a request fails with; its signature must not be in it, nor in what it hangs on."""
    with pytest.raises(RequestFailed) as failed:
        await https.request(
            method, "/0/private/AddOrder", headers={"API-Sign": SIGNATURE}, body=b'{"nonce":"1"}', **options
        )
    error = failed.value
    assert error.__suppress_context__
    assert SIGNATURE not in repr(error)
    await https.close()
    return error


def test_a_complete_answer_is_an_answer_whatever_its_status(run) -> None:
    """The body as it is; redirects are not followed; the server's wish to be left alone is read."""

    async def scenario() -> None:
        steps = [
            answer(b'{"error":[]}'),
            answer(b"", status="302 Found", headers="Location: /elsewhere\r\n"),
            answer(b"<html>", status="520 Unknown", headers="Retry-After: 7\r\n"),
            answer(gzip.compress(b"squeezed"), headers="Content-Encoding: gzip\r\n"),
        ]
        async with Rest(steps) as server:
            https = client(server.url)
            got = [await https.request("POST", f"/0/private/N{n}", body=b"x") for n in range(4)]
            await https.close()

            assert [(one.status, one.body, one.retry_after_s) for one in got] == [
                (200, b'{"error":[]}', 0),
                (302, b"", 0),
                (520, b"<html>", 7),
                (200, b"squeezed", 0),
            ]
            assert all(one.took_ns > 0 for one in got)
            assert server.connections == 1

    run(scenario())


@pytest.mark.parametrize(
    ("date", "sent_at_s"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 0),  # no date of HTTP
        ("Sun, 99 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 99999999999 08:49:37 GMT", 0),
        ("Fri, 01 Jan 1960 00:00:00 GMT", 0),
        ("GMT", 0),
        (" GMT", 0),
        ("", 0),
    ],
)
def test_an_answer_tells_when_it_was_sent(run, date: str, sent_at_s: int) -> None:
    async def scenario() -> None:
        async with Rest([answer(b"{}", headers=f"Date: {date}\r\n")]) as server:
            https = client(server.url)
            told = await https.request("GET", "/0/public/Time")
            await https.close()

            assert told.sent_at == sent_at_s * NS_PER_S

    run(scenario())


def test_what_is_sent_is_what_was_signed(run) -> None:
    """Target and body byte for byte, our headers, a User-Agent, no cookie."""

    async def scenario() -> None:
        steps = [answer(b"1", headers="Set-Cookie: a=b\r\n"), answer(b"2")]
        async with Rest(steps) as server:
            https = client(server.url + "/")
            target = "/0/public/AssetPairs?pair=BTC%2FUSD,ETH%2BUSD"
            await https.request("GET", target)
            await https.request("POST", "/0/private/X", headers={"API-Key": "key"}, body=b'{"nonce":"1","a":"+%"}')
            await https.close()
            get, post = server.requests

            assert get.startswith(f"GET {target} HTTP/1.1\r\n".encode())
            assert post.endswith(b'\r\n\r\n{"nonce":"1","a":"+%"}')
            assert b"API-Key: key\r\n" in post
            assert b"User-Agent: kraken-engine" in post
            assert b"cookie" not in post.lower()

    run(scenario())


def test_nothing_has_left_when_there_is_no_connection(run) -> None:
    """DNS, a closed port, TLS: safe to send again, elsewhere or later."""

    def no_dns(_: str, __: int):
        raise OSError(-2, "name or service not known")

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        errors = [
            await failure_of(client(f"http://127.0.0.1:{port}")),
            await failure_of(client("https://api.kraken.com", resolver=Resolver(no_dns))),
        ]
        async with Rest([answer(b"")], tls=server_context()) as server:
            errors.append(await failure_of(client("https://venue.test", resolver=pointing_at(server.port))))
            other = client("https://other.test", resolver=pointing_at(server.port), ca_file=TLS / "ca.pem")
            errors.append(await failure_of(other))
            assert server.requests == []

        assert all(isinstance(error, NotSent) for error in errors)
        said = ["refused", "cannot resolve api.kraken.com", "certificate refused", "certificate refused: hostname"]
        for error, part in zip(errors, said, strict=True):
            assert part in str(error).lower(), error

    run(scenario())


def test_a_server_that_never_finishes_the_handshake_has_got_nothing(run) -> None:
    """The deadline holds while connecting too."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            error = await failure_of(
                client("https://venue.test", resolver=pointing_at(deaf.getsockname()[1])), deadline_s=0.2
            )

        assert isinstance(error, NotSent)
        assert "within 0.2 s" in str(error)

    run(scenario())


def test_a_connection_that_ends_while_it_is_made_closes_nobody_elses_descriptor(run) -> None:
    """In whichever turn of the loop: what has its number next stays open when the socket is dropped."""
    pipes: list[tuple[int, int]] = []

    async def scenario() -> None:
        async with Rest([], tls=server_context()) as server:
            resolver = EndsSoon(pointing_at(server.port))
            https = client("https://venue.test", resolver=resolver, ca_file=TLS / "ca.pem")
            for _ in range(6):
                with pytest.raises(RequestFailed):
                    await https.request("GET", "/")
                await https.close()
                pipes.append(os.pipe())
                resolver.made.clear()
                gc.collect()

    try:
        run(scenario())
        for pipe in pipes:
            os.write(pipe[1], b"1")
            assert os.read(pipe[0], 1) == b"1"
    finally:
        for end in (end for pipe in pipes for end in pipe):
            with suppress(OSError):
                os.close(end)


def test_a_verified_server_is_talked_to(run) -> None:
    """With its authority given, under the name that the address says."""

    async def scenario() -> None:
        async with Rest([answer(b"hello")], tls=server_context()) as server:
            https = client("https://venue.test", resolver=pointing_at(server.port), ca_file=TLS / "ca.pem")
            got = await https.request("GET", "/")
            await https.close()

            assert got.body == b"hello"

    run(scenario())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (silence, "no answer within 0.3 s"),
        (reset, ""),
        (hang_up, "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntorn", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", ""),
        (b"this is not HTTP\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", ""),
        (answer(b"z" * 2000), "longer than 1,000 bytes"),
    ],
    ids=["silence", "reset", "hang up", "torn", "bad gzip", "no http", "huge header", "huge body"],
)
def test_whatever_happens_after_the_first_byte_leaves_doubt(run, step, said) -> None:
    """And the request has been sent once."""

    async def scenario() -> None:
        async with Rest([step]) as server:
            error = await failure_of(client(server.url), deadline_s=0.3, body_bytes_max=1000)

            assert isinstance(error, InDoubt)
            assert said in str(error)
            assert len(server.requests) == 1

    run(scenario())


@pytest.mark.parametrize("end", [reset, hang_up])
def test_a_post_on_a_dead_kept_connection_is_not_sent_again(run, end) -> None:
    """The server closes just as the second request comes: nobody knows whether it was read."""

    async def scenario() -> None:
        async with Rest([answer(b"1"), end], [answer(b"again!")]) as server:
            https = client(server.url)
            await https.request("POST", "/first", body=b"1")
            error = await failure_of(https)

            assert isinstance(error, InDoubt)
            assert len(server.requests) == 2
            assert (https.requests, https.in_doubt, https.not_sent) == (2, 1, 0)

    run(scenario())


def test_a_connection_that_was_seen_to_close_is_not_used_again(run) -> None:
    """The next request takes a new one, and is in no doubt."""

    async def scenario() -> None:
        async with Rest([answer(b"1")], [answer(b"2")]) as server:  # the first closes after its only answer
            https = client(server.url)
            await https.request("POST", "/first", body=b"1")
            await until(lambda: server.has_hung_up)
            await turns(5)  # the client's end sees it
            second = await https.request("POST", "/second", body=b"2")
            await https.close()

            assert second.body == b"2"
            assert server.connections == 2

    run(scenario())


@pytest.mark.parametrize(
    "url", ["http://api.kraken.com", "ws://127.0.0.1", "https://user:pw@api.kraken.com", "nonsense"]
)
def test_only_tls_or_this_machine(url: str) -> None:
    """A signature in plain text could be read on its way."""
    with pytest.raises(ConfigError):
        client(url)
