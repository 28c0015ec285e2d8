"""Whether notices can be sent: each target's secret and address. Nothing is sent:
`engine notices test` does that.
"""

from typing import Final, NamedTuple

from engine.config import Config, NoticeTargetConfig
from engine.credentials import no_core_dumps
from engine.errors import ConfigError
from engine.kraken_rest.preflight import Finding, Level
from engine.notices.formats import Route, route_of
from engine.processes.notice_secrets import (
    ENVIRONMENT_MEND,
    load_secret,
    place_of_secret,
    take_variables,
)
from engine.secret import Secret
from engine.secret.private_text import ENVIRONMENT

NAME: Final = "notices"


class Examined(NamedTuple):
    """A target, and what is to be said of it."""

    finding: Finding
    secret: Secret | None = None
    """None where there is none, or it cannot be used."""
    route: Route | None = None
    """None where it cannot be sent to."""


def notice_findings(config: Config) -> list[Finding]:
    """What is to be said of each target of a configuration."""
    return [examine_target(target).finding for target in config.notices.targets]


def examine_target(target: NoticeTargetConfig) -> Examined:
    """Find a target's secret and address; from now on this process leaves no core dump."""
    no_core_dumps()
    try:
        place = place_of_secret(target)
        secret = load_secret(target, take_variables([target]))
        route = route_of(target, secret)
    except ConfigError as error:
        return Examined(Finding(NAME, Level.FAILURE, str(error)))
    if place == ENVIRONMENT:
        text = f"the secret of {target.name} comes from the environment; {ENVIRONMENT_MEND}"
        return Examined(Finding(NAME, Level.WARNING, text), secret, route)
    source = "" if place is None else f", its secret from {place}"
    text = f"{target.name}: {target.kind} at {route.origin}{source}; `engine notices test` sends to it"
    return Examined(Finding(NAME, Level.OK, text), secret, route)
