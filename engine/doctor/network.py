"""Whether the venue's services can be reached, and are who they say: name, connection,
certificate, clock.

    dns ─► tcp ─► tls ─► public WebSocket: a ping, the clock       each host once, all at the same time

What is asked later is left out when an earlier step failed, so that a computer without a
network has its answer after DEADLINE_S at most.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.clock import Clock
from engine.config import Config
from engine.doctor.public_probe import probe_public
from engine.endpoints import Endpoint, check_rest_url, check_url
from engine.kraken_rest.preflight import Finding, Level
from engine.net.reasons import connect_failure_text
from engine.net.resolver import Resolver, Unreachable
from engine.net.tls import client_context
from engine.units import NS_PER_MS, NS_PER_S, WallNs

LOOKUP_DEADLINE_S: Final = 3.0
CONNECT_DEADLINE_S: Final = 2.0  # for each address
TLS_DEADLINE_S: Final = 3.0
PING_DEADLINE_S: Final = 4.0
DEADLINE_S: Final = 8.0  # for a host, all its addresses together
EXPIRY_WARNING_S: Final = 7 * 24 * 3600
CHECK_NETWORK: Final = "check the network, and whether a firewall or a proxy stands between"


class Network(NamedTuple):
    """What was found, and which services can be asked."""

    findings: list[Finding]
    is_rest_up: bool


async def examine_network(
    config: Config, clock: Clock, resolver: Resolver | None = None, *, ping_deadline_s: float = PING_DEADLINE_S
) -> Network:
    """Try every service of the configuration, without a key; `resolver` finds their
    addresses, the system's way unless given.
    """
    venue = config.venue
    ca_file = Path(venue.ca_file) if venue.ca_file else None
    context = client_context(ca_file)
    resolver = resolver or Resolver(lookup_deadline_s=LOOKUP_DEADLINE_S, connect_deadline_s=CONNECT_DEADLINE_S)
    public, rest = check_url(venue.url), check_rest_url(venue.rest_url)
    endpoints = dict.fromkeys((public, check_url(venue.private_url), rest))
    hosts = {(endpoint.host, endpoint.port): endpoint for endpoint in endpoints}
    tried = await asyncio.gather(*(_try(endpoint, resolver, context, clock) for endpoint in hosts.values()))
    found = dict(zip(hosts, tried, strict=True))
    findings = [finding for of_host in tried for finding in of_host]
    if _is_up(found[public.host, public.port]):
        findings += await probe_public(venue.url, clock, resolver, ca_file=ca_file, deadline_s=ping_deadline_s)
    else:
        findings.append(Finding("clock", Level.WARNING, f"not asked: {public.host} cannot be reached"))
    return Network(findings, _is_up(found[rest.host, rest.port]))


def certificate_finding(
    host: str, version: str, certificate: Mapping[str, Any], took_ms: float, now: WallNs
) -> Finding:
    """The finding on a verified certificate, as `ssl` tells it."""
    issuer = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    by = issuer.get("organizationName") or issuer.get("commonName") or "an unnamed authority"
    left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - now / NS_PER_S
    text = (
        f"{host}: {version} with SNI in {took_ms:.0f} ms; the certificate names it, is of {by}, and good for "
        f"{left_s / (24 * 3600):.0f} days"
    )
    if left_s < EXPIRY_WARNING_S:
        return Finding("tls", Level.WARNING, f"{text}; a proxy of yours may have to renew its own")
    return Finding("tls", Level.OK, text)


def _is_up(findings: list[Finding]) -> bool:
    return all(finding.level is not Level.FAILURE for finding in findings)


async def _try(endpoint: Endpoint, resolver: Resolver, context: ssl.SSLContext, clock: Clock) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            await _try_steps(endpoint, resolver, context, clock, findings)
    except TimeoutError:
        text = f"{endpoint.host} port {endpoint.port} gave no connection within {DEADLINE_S:g} s; {CHECK_NETWORK}"
        findings.append(Finding("tcp", Level.FAILURE, text, is_passing=True))
    return findings


async def _try_steps(
    endpoint: Endpoint, resolver: Resolver, context: ssl.SSLContext, clock: Clock, findings: list[Finding]
) -> None:
    """Try one step after the other, until one fails; what each found is added."""
    host, port = endpoint.host, endpoint.port
    began = clock.mono_ns()
    try:
        addresses = await resolver.addresses(host, port)
    except Unreachable as error:
        text = f"{error}; check the network, and the name servers in /etc/resolv.conf"
        findings.append(Finding("dns", Level.FAILURE, text, is_passing=True))
        return
    shown = ", ".join(address.sockaddr[0] for address in addresses)
    findings.append(Finding("dns", Level.OK, f"{host} is {shown} ({_ms(clock, began):.0f} ms)"))
    began = clock.mono_ns()
    try:
        sock = await resolver.connect(host, port)
    except Unreachable as error:
        findings.append(Finding("tcp", Level.FAILURE, f"{error}; {CHECK_NETWORK}", is_passing=True))
        return
    findings.append(Finding("tcp", Level.OK, f"{host} port {port} connects in {_ms(clock, began):.0f} ms"))
    if not endpoint.is_secure:
        sock.close()
        findings.append(Finding("tls", Level.OK, f"{host} port {port} is on this computer, and not encrypted"))
        return
    began = clock.mono_ns()
    try:
        _, writer = await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname=host, ssl_handshake_timeout=TLS_DEADLINE_S
        )
    except (OSError, ssl.SSLError) as error:
        sock.close()
        why = connect_failure_text(error)
        text = f"{host}: {why}; if a proxy of yours reads along, name its authority in venue.ca_file"
        findings.append(Finding("tls", Level.FAILURE, text))
        return
    secured = writer.get_extra_info("ssl_object")
    certificate, version = secured.getpeercert(), secured.version()
    writer.transport.abort()
    findings.append(certificate_finding(host, version, certificate, _ms(clock, began), clock.wall_ns()))


def _ms(clock: Clock, began: int) -> float:
    return (clock.mono_ns() - began) / NS_PER_MS
