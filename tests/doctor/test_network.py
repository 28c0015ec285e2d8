"""The venue's services: each step that fails is one line with its mend, and the next ones are not tried."""

import asyncio
import json
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop

from engine.clock import SystemClock
from engine.config import Config, override
from engine.doctor.network import Network, certificate_finding, examine_network
from engine.kraken_rest.preflight import Level
from engine.net.resolver import Resolver
from engine.units import NS_PER_S, WallNs
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from tests.net.rig import TLS, Peer, Server, pointing_at, server_context, text

HANG_S = 60.0


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(asyncio.wait_for(scenario, HANG_S))


def on_venue_test(ca_file: Path | None = None) -> Config:
    """All services on one host with a certificate."""
    return override(
        Config(),
        **{
            "venue.url": "wss://venue.test/v2",
            "venue.private_url": "wss://venue.test/v2",
            "venue.rest_url": "https://venue.test",
            "venue.ca_file": str(ca_file) if ca_file else None,
        },
    )


def told(network: Network) -> dict[str, list[tuple[Level, str]]]:
    """(level, text) of the findings, by name."""
    found: dict[str, list[tuple[Level, str]]] = {}
    for finding in network.findings:
        found.setdefault(finding.name, []).append((finding.level, finding.text))
    return found


async def answers_pings(peer: Peer) -> None:
    """As Kraken does, a hundred seconds ahead of us."""
    await peer.accept()
    _, ping = await peer.read()
    number = json.loads(ping)["req_id"]
    at = (datetime.now(UTC) + timedelta(seconds=100)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    peer.write(text(f'{{"method":"pong","req_id":{number},"time_in":"{at}","time_out":"{at}"}}'.encode()))
    await peer.gone()


async def says_nothing(peer: Peer) -> None:
    await peer.accept()
    await peer.gone()


def test_a_venue_that_answers_is_well_and_tells_the_time() -> None:
    """On this machine nothing is encrypted, and that is said."""

    async def scenario() -> None:
        async with Venue(VenueSettings(port=0, rate=0)) as venue:
            config = override(
                Config(),
                **{
                    "venue.url": venue.public_url,
                    "venue.private_url": venue.private_url,
                    "venue.rest_url": venue.rest.url,
                },
            )
            network = await examine_network(config, SystemClock())
            found = told(network)

            assert network.is_rest_up
            assert {finding.level for finding in network.findings} == {Level.OK}
            assert {name: len(rows) for name, rows in found.items()} == {
                "dns": 3, "tcp": 3, "tls": 3, "public": 1, "clock": 1,
            }  # fmt: skip
            assert "not encrypted" in found["tls"][0][1]

    run(scenario())


def test_a_certificate_is_told_and_a_clock_that_is_off_fails() -> None:
    """One host is tried once, whatever services it has; SNI has its name."""
    names: list[str | None] = []

    async def scenario() -> None:
        async with Server(answers_pings, tls=server_context(names)) as server:
            config = on_venue_test(TLS / "ca.pem")
            network = await examine_network(config, SystemClock(), pointing_at(server.port))
            found = told(network)

            assert network.is_rest_up
            assert names == ["venue.test", "venue.test"]
            (level, tls), *more = found["tls"]
            assert level is Level.OK
            assert "TLSv1.3 with SNI" in tls
            assert more == []
            assert found["clock"][0][0] is Level.FAILURE
            assert "timedatectl set-ntp true" in found["clock"][0][1]

    run(scenario())


def test_a_certificate_of_nobody_known_fails_and_the_websocket_is_not_asked() -> None:
    """As where a proxy reads along."""

    async def scenario() -> None:
        async with Server(says_nothing, tls=server_context()) as server:
            network = await examine_network(on_venue_test(), SystemClock(), pointing_at(server.port))
            found = told(network)

            assert not network.is_rest_up
            assert found["tls"][0][0] is Level.FAILURE
            assert "venue.ca_file" in found["tls"][0][1]
            assert found["clock"] == [(Level.WARNING, "not asked: venue.test cannot be reached")]
            assert "public" not in found

    run(scenario())


def test_a_websocket_that_gives_no_answer_is_one_sentence() -> None:
    """After its deadline."""

    async def scenario() -> None:
        async with Server(says_nothing, tls=server_context()) as server:
            config = on_venue_test(TLS / "ca.pem")
            network = await examine_network(config, SystemClock(), pointing_at(server.port), ping_deadline_s=0.2)
            found = told(network)

            assert found["public"][0][0] is Level.FAILURE
            assert "no answer to a ping within 0.2 s; check venue.url" in found["public"][0][1]

    run(scenario())


def test_without_a_network_it_says_what_it_could_not_ask() -> None:
    """A name server that is away, or that never answers, and a port where nobody listens."""
    never = threading.Event()

    def gone(host: str, port: int) -> Any:
        raise OSError(-3, "temporary failure in name resolution")

    def hangs(host: str, port: int) -> Any:
        never.wait()
        return []

    async def scenario() -> None:
        for resolver, name, mend in (
            (Resolver(gone), "dns", "/etc/resolv.conf"),
            (Resolver(hangs, lookup_deadline_s=0.05), "dns", "no answer within 0.05 s"),
            (pointing_at(1), "tcp", "check the network"),
        ):
            network = await examine_network(on_venue_test(), SystemClock(), resolver)
            found = told(network)

            assert not network.is_rest_up
            assert found[name][-1][0] is Level.FAILURE
            assert mend in found[name][-1][1]
            assert found["clock"][0][1].startswith("not asked")
            assert "tls" not in found

    run(scenario())
    never.set()


@pytest.mark.parametrize(("days", "level"), [(6, Level.WARNING), (60, Level.OK), (-1, Level.WARNING)])
def test_a_certificate_that_ends_soon_is_warned_of(days: int, level: Level) -> None:
    """A week before."""
    certificate = {
        "notAfter": "Jan  1 00:00:00 2027 GMT",
        "issuer": ((("countryName", "US"),), (("organizationName", "Let's Encrypt"),)),
    }
    end_s = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    now = WallNs(int((end_s - days * 24 * 3600) * NS_PER_S))
    finding = certificate_finding("api.kraken.com", "TLSv1.3", certificate, 12.0, now)

    assert finding.level is level
    assert f"of Let's Encrypt, and good for {days} days" in finding.text
