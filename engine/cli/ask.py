"""Requests to a running engine, or to its order router, found by the engine's name."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from msgspec import convert

from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.net.control_socket import Answer, NobodyListens, Request, ask, ask_shared
from engine.processes.run_view import RunFacts, RunMap, attach
from engine.processes.scheduling import give_way
from engine.ring.layout import LayoutMismatch
from engine.state_directory import NAME, NAME_RULE
from engine.summary import build_summary
from engine.supervisor.run_directory import RunDirectory


def _checked_name(context: click.Context, _: click.Parameter, name: str) -> str:
    # A name becomes a part of paths.
    if not context.resilient_parsing and not NAME.fullmatch(name):
        raise ConfigError(f"--name must be {NAME_RULE}, not {name!r}")
    return name


name_option = click.option(
    "--name", default="default", show_default=True, callback=_checked_name, help="The engine's name."
)


def ask_engine(name: str, request: Request) -> Answer:
    """Ask the engine; returns its answer, raises ConfigError with a remedy when there is
    none.
    """
    try:
        return _unless_error(ask(RunDirectory(name).control_path, request))
    except NobodyListens:
        raise ConfigError(why_silent(name)) from None


def summary_of(name: str) -> dict[str, Any]:
    """The summary of a running engine, built in this process from the engine's memory."""
    give_way()
    try:
        return summary_at(RunDirectory(name).control_path)
    except NobodyListens:
        raise ConfigError(why_silent(name)) from None
    except (LayoutMismatch, KeyError, ValueError):
        raise ConfigError(
            f"the engine named {name} is of another version than this command; ask with the one that started it"
        ) from None


def summary_at(control_path: Path) -> dict[str, Any]:
    """The summary of the engine behind a control socket. Raises NobodyListens if there is
    none, and LayoutMismatch, KeyError or ValueError for an engine of another version.
    """
    answer, descriptors = ask_shared(control_path, {"command": "status"})
    try:
        _unless_error(answer)
        mapped, facts = convert(answer["map"], RunMap), convert(answer["facts"], RunFacts)
        view = attach(mapped, dict(zip(mapped.descriptors, descriptors, strict=True)))
    except BaseException:
        for fd in descriptors:
            with suppress(OSError):
                os.close(fd)
        raise
    return build_summary(view, facts, SystemClock().mono_ns())


def ask_router(name: str, request: Request) -> Answer:
    """Ask the order router; returns its answer, raises ConfigError with a remedy when there
    is none.
    """
    try:
        return _unless_error(ask(RunDirectory(name).router_path, request))
    except NobodyListens:
        if ask_engine(name, {"command": "status"}).get("map", {}).get("trading") is None:
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
        return nobody(name, "; start one with `engine run`")
    return (
        f"the engine named {name} (pid {holder}) does not answer: it starts, stops, or a library that a strategy uses "
        f"keeps the interpreter's lock; `engine orders` and `engine halt` ask its order router, and `kill -9 {holder}` "
        "ends it"
    )


def nobody(name: str, otherwise: str = "") -> str:
    """A sentence: no engine of this name runs, and which others do, or `otherwise` if none
    does.
    """
    others = RunDirectory(name).others()
    if not others:
        return f"no engine named {name} is running{otherwise}"
    return (
        f"no engine named {name} is running, but {', '.join(others)} {'is' if len(others) == 1 else 'are'}: "
        f"ask with `--name {others[0]}`"
    )


def _unless_error(answer: Answer) -> Answer:
    if "error" in answer:
        raise ConfigError(str(answer["error"]))
    return answer
