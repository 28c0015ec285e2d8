"""The two examinations that the commands offer, each a choice of the same checks.

examine_machine          this computer, its network and the key       engine doctor
examine_configuration    this configuration and live trading          engine check
"""

from engine.clock import Clock
from engine.config import Config
from engine.doctor.account import Account, configured_account, examine_account, find_key
from engine.doctor.configuration import limit_findings
from engine.doctor.installation import installation_findings, native_finding
from engine.doctor.machine import read_machine
from engine.doctor.machine_findings import machine_findings, start_findings
from engine.doctor.network import examine_network
from engine.doctor.notices import notice_findings
from engine.kraken_rest.preflight import Finding, Level


async def examine_machine(config: Config, clock: Clock) -> list[Finding]:
    """Whether this computer can run the engine: all that needs no network first, then the
    network, then the key, if there is one.
    """
    findings = installation_findings() + machine_findings(read_machine(config), config) + notice_findings(config)
    network = await examine_network(config, clock)
    findings += network.findings
    credentials, finding = find_key(config, is_needed=config.trading.enabled)
    findings.append(finding)
    if credentials is None:
        return findings
    if not network.is_rest_up:
        return [*findings, Finding("key", Level.WARNING, f"not asked: {config.venue.rest_url} cannot be reached")]
    account = configured_account(config, credentials)
    examined = await examine_account(account, (), clock, with_balances=False, each_permission=True)
    # The public WebSocket has already measured the clock, as precisely as the private one
    # would.
    known = {finding.name for finding in network.findings}
    return findings + [row for row in examined.findings if row.name not in known or row.level is not Level.OK]


async def examine_configuration(config: Config, account: Account, clock: Clock, *, is_local: bool) -> list[Finding]:
    """Whether live trading may start with this configuration and account; `is_local` for
    the built-in exchange, where money needs no limits and the journal no place.
    """
    findings = [native_finding(), *([] if is_local else start_findings(config)), *notice_findings(config)]
    examined = await examine_account(account, config.symbols, clock)
    return findings + examined.findings + limit_findings(config, examined, is_local=is_local)
