"""Checks before live trading and for `engine check`: few calls to Kraken, and no orders.

    system ─► clock ─► symbols ─► key ─► balances            each a Finding: ok, advice, warning or failure

A wrong key is used once only, since failed authenticated calls lead to a lockout of fifteen
minutes. Each failure is one sentence that says what to change.
"""

import asyncio
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Final, NamedTuple

import structlog
from msgspec import Struct

from engine.clock import Clock
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import ApiKeyInfo, RestRefusal, SystemStatus
from engine.kraken_rest.calls import RestCalls
from engine.orders.refusal import ErrorKind
from engine.units import NS_PER_MS, NS_PER_S, WallNs

OFFSET_WARNING_NS: Final = 250 * NS_PER_MS  # of our clock to Kraken's: a quarter of the usual deadline of an order
OFFSET_FAILURE_NS: Final = 2 * NS_PER_S
EXPIRY_WARNING_NS: Final = 7 * 24 * 3600 * NS_PER_S  # before the key expires
PAUSE_S_MIN: Final = 1.0  # between two tries while Kraken cannot be reached
PAUSE_S_MAX: Final = 30.0
NOTICES_SHOWN_MAX: Final = 5  # of a kind
NOTICE_CHARS_MAX: Final = 400

# The labels on Kraken's page of a key, by the permission that each grants.
BOXES: Final = {
    "query-funds": "Funds: Query",
    "query-open-trades": "Orders and trades: Query open orders & trades",
    "query-closed-trades": "Orders and trades: Query closed orders & trades",
    "modify-trades": "Orders and trades: Create & modify orders",
    "close-trades": "Orders and trades: Cancel & close orders",
    "create-ws-token": "WebSocket interface: On",
}
WITHDRAW: Final = "withdraw-funds"
WITHDRAW_BOX: Final = "Funds: Withdraw"
HARMLESS: Final = frozenset({"query-ledger"})  # reads only, and people's bookkeeping wants it

# Errors that pass with time, or that at least say nothing of key and configuration.
_PASSING: Final = (ErrorKind.TRANSPORT, ErrorKind.SERVICE, ErrorKind.CALL_LIMIT)

log = structlog.get_logger("preflight")


class Level(StrEnum):
    """How much a finding matters; a failure keeps live trading from starting."""

    OK = "ok"
    ADVICE = "advice"
    WARNING = "warning"
    FAILURE = "failure"


class Finding(Struct, frozen=True):
    """The result of one check."""

    name: str
    level: Level
    text: str
    """The finding in one sentence."""
    is_passing: bool = False
    """True for a failure that may be gone at the next try: Kraken could not be asked."""


class Preflight(NamedTuple):
    """The results of all checks."""

    findings: list[Finding]
    pairs: RestPairs

    @property
    def failure(self) -> Finding | None:
        """The first failure; None if trading may start."""
        return next((finding for finding in self.findings if finding.level is Level.FAILURE), None)


class ClockOffset(NamedTuple):
    """How far our clock is ahead of Kraken's: at least and at most, as the network's delay
    leaves it open.
    """

    low_ns: int
    high_ns: int

    @classmethod
    def of_exchange(cls, sent_at: WallNs, kraken_in: WallNs, kraken_out: WallNs, received_at: WallNs) -> "ClockOffset":
        """The offset from one exchange: Kraken received after we sent, and replied before
        we received.
        """
        return cls(sent_at - kraken_in, received_at - kraken_out)

    @property
    def certain_ns(self) -> int:
        """The least that the clocks differ; 0 if they may agree."""
        return max(self.low_ns, -self.high_ns, 0)


def clock_finding(offset: ClockOffset) -> Finding:
    """The finding about our clock, with which orders' deadlines are made; Kraken compares
    them with its own.
    """
    certain_ns = offset.certain_ns
    if certain_ns < OFFSET_WARNING_NS:
        middle_ms = (offset.low_ns + offset.high_ns) / 2 / NS_PER_MS
        doubt_ms = (offset.high_ns - offset.low_ns) / 2 / NS_PER_MS
        return Finding(
            "clock", Level.OK, f"this computer's clock is {middle_ms:+.0f} ± {doubt_ms:.0f} ms from Kraken's"
        )
    direction = "ahead of" if offset.low_ns > 0 else "behind"
    is_failure = certain_ns >= OFFSET_FAILURE_NS
    return Finding(
        "clock",
        Level.FAILURE if is_failure else Level.WARNING,
        f"this computer's clock is {certain_ns / NS_PER_S:.2f} s {direction} Kraken's, so deadlines of orders "
        f"{'are' if is_failure else 'may be'} wrong; set it right, for example with: timedatectl set-ntp true",
    )


async def run_preflight(rest: RestCalls, symbols: Sequence[str], clock: Clock) -> str | None:
    """Why live trading must not start, in one sentence; None if it may. Waits while Kraken
    cannot be reached.

    It makes one call of the key: a start must fit into what earlier ones left of the key's
    counter, and balances come by the feed.
    """
    pause_s = PAUSE_S_MIN
    while True:
        findings = (await examine(rest, symbols, clock, with_balances=False)).findings
        for finding in findings:
            log.log(_LOG_LEVELS[finding.level], "checked", what=finding.name, found=finding.text)
        failures = [finding for finding in findings if finding.level is Level.FAILURE]
        lasting = [finding for finding in failures if not finding.is_passing]
        if not failures:
            return None
        if lasting:
            return lasting[0].text
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_S_MAX)


async def examine(
    rest: RestCalls,
    symbols: Sequence[str],
    clock: Clock,
    *,
    with_key: bool = True,
    with_balances: bool = True,
    each_permission: bool = False,
    may_withdraw: bool = False,
) -> Preflight:
    """Check everything that REST can tell; without a key, what is public, and without
    symbols nothing of pairs.

    `each_permission`: tell of every box on the key's page, beside what they come to.
    `may_withdraw`: a key that can withdraw is warned of, and no failure.
    """
    findings: list[Finding] = []
    status = await rest.ask(rest_requests.system_status(), rest_replies.read_system_status)
    if isinstance(status, RestRefusal):
        return Preflight([_unreachable(status)], RestPairs())
    findings += _status_findings(status)
    findings.append(await _examine_clock(rest, clock))
    pairs = await rest.ask_pairs() if symbols else RestPairs()
    if isinstance(pairs, RestRefusal):
        findings.append(_refused("symbols", pairs))
        pairs = RestPairs()
    elif symbols:
        findings += _symbol_findings(symbols, pairs)
    if with_key:
        withdrawing = Level.WARNING if may_withdraw else Level.FAILURE
        findings += await _examine_key(rest, clock, with_balances, each_permission, withdrawing)
    return Preflight(findings, pairs)


async def _examine_clock(rest: RestCalls, clock: Clock) -> Finding:
    sent_at = clock.wall_ns()
    kraken_time = await rest.ask(rest_requests.time(), rest_replies.read_time)
    received_at = clock.wall_ns()
    if isinstance(kraken_time, RestRefusal):
        return _refused("clock", kraken_time)
    # Kraken tells whole seconds, so its time is anywhere in the second that follows.
    return clock_finding(ClockOffset.of_exchange(sent_at, WallNs(kraken_time + NS_PER_S), kraken_time, received_at))


async def _examine_key(
    rest: RestCalls, clock: Clock, with_balances: bool, each_permission: bool, withdrawing: Level
) -> list[Finding]:
    info = await rest.ask(rest_requests.get_api_key_info(), rest_replies.read_api_key_info)
    if isinstance(info, RestRefusal):
        return [_refused("key", info)]
    findings = [_permission_finding(info.permissions, withdrawing), *_key_findings(info, clock.wall_ns())]
    if each_permission:
        findings += permission_findings(info.permissions, withdrawing)
    if findings[0].level is Level.FAILURE or not with_balances:
        return findings  # more calls would fail too
    balances = await rest.ask(rest_requests.balance_ex(), rest_replies.read_balance_ex)
    if isinstance(balances, RestRefusal):
        return [*findings, _refused("balances", balances)]
    held = sorted(row.asset for row in balances if row.balance)
    if not held:
        return [*findings, Finding("balances", Level.WARNING, "the account is empty; deposit something to trade with")]
    return [*findings, Finding("balances", Level.OK, f"the account holds {_listed(held)}")]


def _unreachable(refusal: RestRefusal) -> Finding:
    if refusal.status:
        return _refused("rest", refusal)
    return Finding(
        "rest",
        Level.FAILURE,
        f"Kraken's REST cannot be reached ({refusal.error}); check the network and venue.rest_url",
        is_passing=True,
    )


def _refused(name: str, refusal: RestRefusal) -> Finding:
    kind = refusal.meaning.kind
    text = refusal.error if kind is ErrorKind.LOCKOUT and not refusal.status else refusal.sentence
    return Finding(name, Level.FAILURE, text, is_passing=kind in _PASSING)


def _status_findings(system: SystemStatus) -> list[Finding]:
    if system.status == "online":
        findings = [Finding("system", Level.OK, "Kraken is online")]
    else:
        text = f"Kraken is in the state {system.status} and does not take every order; wait until it is online"
        findings = [Finding("system", Level.WARNING, text)]
    for notice in system.emergency[:NOTICES_SHOWN_MAX]:
        restart = f"; a restart is expected at {notice.expected_restart_utc}" if notice.expected_restart_utc else ""
        text = f"Kraken has an emergency: {notice.title} (impact {notice.impact or 'not told'}{restart})"
        findings.append(Finding("system", Level.WARNING, text[:NOTICE_CHARS_MAX]))
    for notice in system.upcoming[:NOTICES_SHOWN_MAX]:
        text = f"Kraken announces {notice.title}, from {notice.expected_start_utc} to {notice.expected_end_utc}"
        findings.append(Finding("system", Level.ADVICE, text[:NOTICE_CHARS_MAX]))
    return findings


def _symbol_findings(symbols: Sequence[str], pairs: RestPairs) -> list[Finding]:
    findings = []
    for symbol in symbols:
        pair = pairs.find(symbol)
        if pair is None:
            near = get_close_matches(symbol, pairs.all, n=1, cutoff=0.5)
            mend = f"did you mean {near[0]}?" if near else "see https://www.kraken.com for its pairs"
            findings.append(Finding("symbols", Level.FAILURE, f"{symbol} is not a pair of Kraken's; {mend}"))
        elif pair.status != "online":
            findings.append(
                Finding(
                    "symbols", Level.WARNING, f"{symbol} is {pair.status} at Kraken, so it does not take every order"
                )
            )
    return findings or [Finding("symbols", Level.OK, f"Kraken trades {_listed(symbols)}")]


def permission_findings(permissions: Iterable[str], withdrawing: Level) -> list[Finding]:
    """One finding for each box on the key's page that matters: as it should be, or what to
    do about it. `withdrawing` is how much it matters that the key can withdraw.
    """
    given = frozenset(permissions)
    findings = [
        Finding("permission", Level.OK, f'"{box}" is ticked')
        if permission in given
        else Finding("permission", Level.FAILURE, f'"{box}" is not ticked; tick it on the key\'s page at Kraken')
        for permission, box in BOXES.items()
    ]
    if WITHDRAW in given:
        text = f'"{WITHDRAW_BOX}" is ticked, so whoever has the key has the money; untick it on the key\'s page'
        findings.append(Finding("permission", withdrawing, text))
    else:
        findings.append(Finding("permission", Level.OK, f'"{WITHDRAW_BOX}" is not ticked'))
    spare = sorted(given - BOXES.keys() - {WITHDRAW, *HARMLESS})
    if spare:
        text = f"the key may also {_listed(spare)}, which the engine does not need; untick what nothing else needs"
        findings.append(Finding("permission", Level.ADVICE, text))
    return findings


def _permission_finding(permissions: Iterable[str], withdrawing: Level) -> Finding:
    given = frozenset(permissions)
    missing = [f'"{box}"' for permission, box in BOXES.items() if permission not in given]
    if WITHDRAW in given and (withdrawing is Level.FAILURE or not missing):
        text = f'the API key may withdraw money, which no engine needs; untick "{WITHDRAW_BOX}" on its page at Kraken'
        return Finding("key", withdrawing, text)
    if missing:
        return Finding(
            "key", Level.FAILURE, f"the API key lacks a permission; tick {_listed(missing)} on its page at Kraken"
        )
    return Finding("key", Level.OK, "the API key may trade, and may not withdraw")


def _key_findings(info: ApiKeyInfo, now: WallNs) -> list[Finding]:
    findings = []
    if info.valid_until and info.valid_until - now < EXPIRY_WARNING_NS:
        days = max(0.0, (info.valid_until - now) / (24 * 3600 * NS_PER_S))
        findings.append(
            Finding("key", Level.WARNING, f"the API key ends in {days:.1f} days; give it a later end, or make another")
        )
    if not info.ip_allowlist:
        findings.append(
            Finding(
                "key",
                Level.ADVICE,
                "the API key may be used from any address; enter this computer's under IP whitelisting on its page",
            )
        )
    return findings


def _listed(names: Sequence[str], names_max: int = 8) -> str:
    """`A, B and C`; of more than `names_max` the first ones."""
    if len(names) > names_max:
        return f"{', '.join(names[:names_max])} and {len(names) - names_max} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


_LOG_LEVELS: Final = {Level.OK: 20, Level.ADVICE: 20, Level.WARNING: 30, Level.FAILURE: 40}
