"""What `engine orders` and its like say when the order router does not answer."""

import asyncio
from pathlib import Path

import pytest

from engine.cli.ask import ask_router
from engine.errors import ConfigError
from engine.net.control_socket import serve_control
from engine.supervisor.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("trading", "sentence"),
    [
        (None, "the engine named bot does not trade: set [trading] in its configuration, or use --venue local"),
        ({}, "the order router of the engine named bot does not answer; is it starting or stopping?"),
    ],
)
def test_an_engine_that_trades_is_not_said_not_to(
    trading: dict[str, object] | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its router may be about to start, or to be started again: the engine itself says whether it trades."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = RunDirectory("bot")
    directory.acquire()

    async def ask() -> None:
        status = {"map": {"trading": trading}}
        async with await serve_control(directory.control_path, {"status": lambda _: status}):
            await asyncio.to_thread(ask_router, "bot", {"command": "orders"})

    try:
        with pytest.raises(ConfigError) as told:
            asyncio.run(ask())
    finally:
        directory.release()

    assert str(told.value) == sentence
