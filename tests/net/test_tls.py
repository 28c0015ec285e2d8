"""TLS: what is not verified is not talked to. The certificates are in tests/data/tls."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.net.tls import client_context
from tests.descriptors import open_fds
from tests.net.rig import TLS, Peer, Rig, Server, pointing_at, server_context, text


async def greets(peer: Peer) -> None:
    await peer.accept(followed_by=text(b"hello"))
    await peer.gone()


def test_a_verified_server_is_talked_to_by_its_name(run: Callable[..., None]) -> None:
    """With its authority given the connection comes up; SNI carries the host's name although we dialed an address."""
    names: list[str | None] = []

    async def scenario() -> None:
        async with Server(greets, tls=server_context(names)) as server:
            rig = Rig("wss://venue.test/v2", resolver=pointing_at(server.port), ca_file=TLS / "ca.pem")
            async with rig:
                await rig.until(lambda: rig.session.of("frame"))

                assert rig.session.of("frame") == [b"hello"]
                assert names == ["venue.test"]

    run(scenario())


@pytest.mark.parametrize(
    ("host", "ca_file", "reason"),
    [
        ("venue.test", None, "certificate refused: unable to get local issuer certificate"),
        ("other.test", TLS / "ca.pem", "certificate refused: hostname mismatch"),
        ("127.0.0.1", TLS / "ca.pem", "certificate refused: IP address mismatch"),
    ],
)
def test_an_unverified_server_is_refused(
    run: Callable[..., None], host: str, ca_file: Path | None, reason: str
) -> None:
    """Unknown authority, or another name: one sentence, no session, no descriptor left; and we keep trying."""

    async def scenario() -> None:
        async with Server(greets, tls=server_context()) as server:
            rig = Rig(f"wss://{host}/v2", resolver=pointing_at(server.port), ca_file=ca_file)
            async with rig:
                await rig.until(lambda: rig.connection.connect_failures >= 3)

            # The standard library adds more words than aiofastnet, which picows uses where it can.
            assert rig.connection.last_error.lower().startswith(f"wss://{host}/v2: {reason}".lower())
            assert rig.session.log == []

    run(scenario())


def test_a_server_without_tls_is_refused(run: Callable[..., None]) -> None:
    """wss:// never falls back to plain text."""

    async def plain(peer: Peer) -> None:
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.left()

    async def scenario() -> None:
        async with Server(plain) as server:
            rig = Rig("wss://venue.test/v2", resolver=pointing_at(server.port), ca_file=TLS / "ca.pem")
            async with rig:
                await rig.until(lambda: rig.connection.connect_failures >= 2)

            assert rig.connection.last_error.lower().startswith("wss://venue.test/v2: tls failed: wrong")
            assert rig.session.log == []

    run(scenario())


def test_a_server_that_never_shakes_hands_is_left(run: Callable[..., None]) -> None:
    """TCP accepts, TLS never answers: the handshake's deadline holds for TLS too."""

    async def silent(peer: Peer) -> None:
        await peer.left()

    async def scenario() -> None:
        async with Server(silent) as server:
            rig = Rig("wss://venue.test/v2", resolver=pointing_at(server.port), handshake_deadline_s=0.05)
            async with rig:
                await rig.until(lambda: rig.connection.connect_failures >= 2)

            assert rig.connection.last_error == "wss://venue.test/v2: no answer to the handshake within 0.05 s"

    run(scenario())


def test_50_reconnects_over_tls_leak_nothing(run: Callable[..., None]) -> None:
    """Drops, resets and refusals under TLS: descriptors stay flat."""

    async def drops(peer: Peer) -> None:
        await peer.accept(followed_by=text(b"1"))

    async def refuses(peer: Peer) -> None:
        await peer.read_upgrade()
        peer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    async def scenario() -> None:
        async with Server(*[drops, refuses] * 25, greets, tls=server_context()) as server:
            fds = open_fds()
            rig = Rig("wss://venue.test/v2", resolver=pointing_at(server.port), ca_file=TLS / "ca.pem")
            async with rig:
                await rig.until(lambda: b"hello" in rig.session.of("frame"))
                await rig.until(lambda: open_fds() <= fds + 2)

                assert rig.connection.connect_failures == 25

    run(scenario())


def test_the_context_is_strict() -> None:
    """Verification, host name and a modern protocol, with and without a CA file of the user's."""
    for context in (client_context(), client_context(TLS / "ca.pem")):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_unusable_ca_file_is_one_sentence(tmp_path: Path) -> None:
    """Not there, or not certificates: the file is named, and what it should be."""
    garbage = tmp_path / "ca.pem"
    garbage.write_text("no certificates here")

    with pytest.raises(ConfigError, match=r"ca.pem holds no certificates in PEM form; give a file of CA certificates$"):
        client_context(garbage)
    with pytest.raises(ConfigError, match=r"missing.pem cannot be read as a CA file: No such file or directory$"):
        client_context(tmp_path / "missing.pem")
