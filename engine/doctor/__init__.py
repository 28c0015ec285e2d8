"""What stands between this computer, a configuration and trading: each question once, for
`engine doctor`, `engine check` and `engine keys test`.

    installation    Python, libraries, native extension                    doctor, check: native
    machine         CPUs, limits, shared memory, state directory           doctor, check: what keeps a run from starting
    network         DNS, TCP, TLS and SNI, the venue's clock               doctor
    account         key, permissions, private WebSocket, tier              doctor, check, keys test
    configuration   limits                                                 check

Every answer is a `Finding`: ok, advice, warning or failure, in one sentence with its mend.
Each step that waits for the network has a deadline of seconds.
"""

from collections.abc import Iterable

from engine.kraken_rest.preflight import Finding, Level

__all__ = ["Finding", "Level", "is_well"]


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing fails."""
    return all(finding.level is not Level.FAILURE for finding in findings)
