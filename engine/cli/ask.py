"""Requests to a running engine, or to its order router, found by the engine's name."""

import click

from engine.errors import ConfigError
from engine.net.control_socket import Answer, NobodyListens, Request, ask
from engine.supervisor.run_directory import RunDirectory

name_option = click.option("--name", default="default", show_default=True, help="The engine's name.")


def ask_engine(name: str, request: Request) -> Answer:
    """Ask the engine; returns its answer, raises ConfigError with a remedy when there is
    none.
    """
    try:
        return _unless_error(ask(RunDirectory(name).control_path, request))
    except NobodyListens:
        raise ConfigError(why_silent(name)) from None


def ask_router(name: str, request: Request) -> Answer:
    """Ask the order router; returns its answer, raises ConfigError with a remedy when there
    is none.
    """
    try:
        return _unless_error(ask(RunDirectory(name).router_path, request))
    except NobodyListens:
        if ask_engine(name, {"command": "status"}).get("trading", {}).get("mode") == "off":
            raise ConfigError(
                f"the engine named {name} does not trade: set [trading] in its configuration, or use --venue local"
            ) from None
        raise ConfigError(
            f"the order router of the engine named {name} does not answer; is it starting or stopping?"
        ) from None


def why_silent(name: str) -> str:
    """Why the engine of this name does not answer, and what to do: a sentence."""
    holder = RunDirectory(name).holder()
    if holder is None:
        return f"no engine named {name} is running; start one with `engine run`"
    return (
        f"the engine named {name} (pid {holder}) does not answer: it starts, stops, or a library that a strategy uses "
        f"keeps the interpreter's lock; `engine orders` and `engine halt` ask its order router, and `kill -9 {holder}` "
        "ends it"
    )


def _unless_error(answer: Answer) -> Answer:
    if "error" in answer:
        raise ConfigError(str(answer["error"]))
    return answer
