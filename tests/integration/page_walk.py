"""Walks through a page as a reader does, in an empty folder: writes its files, types its commands on a terminal, and
compares what is shown with what the page shows.

    $ command            typed; what must be shown stands below it, each line somewhere and in this order
    …                    in a line: anything. A number stands for any number, a blank for any blanks
    ^C                   Ctrl-C, once the lines above it have been shown
    engine: …            only a command that shows this, a failed test or `not ready` may end with another code than 0

A command that only looks is typed again until it shows what the page shows: the reader may have been slower. One that
runs until it is stopped, and has no ^C, runs on: the reader types the next one on another terminal. At the end of the
page none may run any more.

Where the page speaks of Kraken, an `engine venue` stands in for it: its addresses are written into each configuration,
and `--venue URL` is added to a command that has none. Its key is typed where a key is asked for.
"""

import ast
import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from pathlib import Path
from typing import Any

from engine.readable import is_readable
from tests.integration.rig import COMMANDS, Engines, Process
from tests.integration.venue_rig import CheckedVenue
from tests.snippets import Snippet
from tests.waiting import PATIENCE_S, eventually

LINES, COLUMNS = 50, 200  # of the terminal
PROMPT, INTERRUPT = "$ ", "^C"
LOOKS = re.compile(r"engine (status|sources|orders|fills|positions|balances)\b")
RUNS_ON = re.compile(r"engine (run|venue|page|metrics)\b(?!.*(--seconds|--list|--help))")
FAILS = re.compile(r"^engine: |^not ready|\d failed")
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()].|[=>78cM])")
VARIES = re.compile(r"(…|\d[\d,.:TZ-]*|\s+)")
KRAKEN = "wss://ws.kraken.com/v2"


class TypedCommand:
    """A command, and what the page shows of it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.shown: list[str] = []
        self.shown_after: list[str] = []
        self.is_interrupted = False


def commands_in(text: str) -> list[TypedCommand]:
    """The commands of a block of a terminal."""
    commands: list[TypedCommand] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith(PROMPT):
            commands.append(TypedCommand(line.removeprefix(PROMPT)))
        elif line == INTERRUPT:
            commands[-1].is_interrupted = True
        elif commands[-1].is_interrupted:
            commands[-1].shown_after.append(line)
        else:
            commands[-1].shown.append(line)
    return commands


def pattern_of(line: str) -> re.Pattern[str]:
    """What matches a line that a page shows."""
    parts = []
    for part in VARIES.split(line.strip()):
        if part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        elif part[:1].isdigit():
            parts.append(r"\d[\d,.:TZ-]*")
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))


def shows(text: str, lines: list[str]) -> bool:
    """Whether each of these lines is in the text, one after the other."""
    left = iter([line.strip() for line in text.splitlines()])
    return all(any(pattern_of(line).fullmatch(each) for each in left) for line in lines)


def engine_arguments(command: str) -> list[str] | None:
    """The arguments of a command that a shell would only pass on to `engine`; None for another."""
    return shlex.split(command)[1:] if re.fullmatch(r"""engine [^|&;<>()$`\\*?{}~#!\n]*""", command) else None


class Terminal:
    """A terminal on which one command runs."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        streams |= {"cwd": folder, "env": environment, "start_new_session": True}
        self.process: Process
        if (arguments := engine_arguments(command)) is not None:
            self.process = COMMANDS.start(arguments, has_terminal=True, **streams)
        else:
            self.process = subprocess.Popen(["bash", "-c", command], preexec_fn=take_terminal, **streams)
        os.close(theirs)
        self._raw = b""
        self._is_open = True
        self._next_line = 0

    def read(self) -> str:
        """What it has shown so far, without colors."""
        while self._is_open and is_readable(self._ours):
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # every other end is closed
                chunk = b""
            self._is_open = bool(chunk)
            self._raw += chunk
        return ESCAPES.sub("", self._raw.decode(errors="replace")).replace("\r", "")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def expect(self, lines: list[str]) -> None:
        """Wait until each of these lines has been shown, one after the other."""
        for line in lines:
            eventually(lambda line=line: self._has_shown(line), f"{self.command} shows {line!r}")

    def _has_shown(self, line: str) -> bool:
        pattern = pattern_of(line)
        has_ended = self.process.poll() is not None
        shown = self.read().split("\n")
        complete = shown if has_ended else shown[:-1]
        for number in range(self._next_line, len(complete)):
            if pattern.fullmatch(complete[number].strip()):
                self._next_line = number + 1
                return True
        assert not has_ended, f"{self.command} did not show {line!r}, but:\n{self.read()[-4000:]}"
        return False

    def end(self) -> int:
        """Wait for its end; the exit code."""
        code: list[int] = []

        def has_ended() -> bool:
            self.read()  # a full terminal would stop it
            if self.process.poll() is not None:
                code.append(self.process.returncode)
            return bool(code)

        eventually(has_ended, f"{self.command} ends")
        self.read()
        return code[0]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        os.close(self._ours)


class PageWalk:
    """A reader with an empty folder."""

    def __init__(self, engines: Engines) -> None:
        self.folder = engines.folder / "reader"
        self.folder.mkdir()
        self._engines = engines
        self._kraken: CheckedVenue | None = None
        self._terminals: list[Terminal] = []

    @property
    def kraken(self) -> CheckedVenue:
        """The venue that stands in for Kraken; started when it is first needed."""
        if self._kraken is None:
            self._kraken = CheckedVenue(self._engines, "--rate", 500)
        return self._kraken

    def take(self, snippet: Snippet) -> None:
        """Do what a block asks for."""
        if snippet.kind == "console":
            for command in commands_in(snippet.text):
                self.type(command)
        elif snippet.file:
            self._write(snippet)
        else:
            assert snippet.kind != "python" or snippet.is_of_another_client, f"{snippet.place} names no file"

    def _write(self, snippet: Snippet) -> None:
        path = self.folder / snippet.file
        if not path.exists():
            path.write_text(snippet.text)
        elif snippet.kind == "python":
            path.write_text(with_functions(path.read_text(), snippet.text))
        else:
            path.write_text(with_settings(path.read_text(), snippet.text))

    def type(self, command: TypedCommand) -> None:
        """Type a command, and see what the page shows of it."""
        if command.text.startswith("cd "):
            self.folder = (self.folder / command.text.removeprefix("cd ")).resolve()
            assert self.folder.is_dir()
            return
        if command.text == "source .venv/bin/activate":  # as the environment below has it
            return
        if LOOKS.match(command.text):
            self._look(command)
            return
        terminal = Terminal(self._at_stand_in(command.text), self.folder, self._environment)
        self._terminals.append(terminal)
        if command.text.startswith("engine keys add"):
            for prompt, text in (("API key: ", "api_key"), ("Private key: ", "api_secret")):
                eventually(lambda prompt=prompt: terminal.read().endswith(prompt), f"it asks for {prompt}")
                terminal.type(f"{self.kraken.ready[text]}\n")
        if command.text.startswith("engine top"):
            eventually(lambda: "BTC/USD" in terminal.read(), "the screen is drawn")
            terminal.type("q")
        terminal.expect(command.shown)
        if command.is_interrupted:
            terminal.type("\x03")
            terminal.expect(command.shown_after)
        elif RUNS_ON.match(command.text) and not any(FAILS.search(line) for line in command.shown):
            return
        code = terminal.end()
        may_fail = any(FAILS.search(line) for line in (*command.shown, *command.shown_after))
        assert (code != 0) == may_fail, f"{command.text} ended with {code}:\n{terminal.read()[-4000:]}"

    def _look(self, command: TypedCommand) -> None:
        seen = ""

        def shows_all() -> bool:
            nonlocal seen
            terminal = Terminal(command.text, self.folder, self._environment | {"COLUMNS": str(COLUMNS)})
            try:
                code = terminal.end()
                seen = terminal.read()
            finally:
                terminal.close()
            may_fail = any(FAILS.search(line) for line in command.shown)
            return (code != 0) == may_fail and shows(seen, command.shown)

        try:
            eventually(shows_all, f"{command.text} shows what the page shows")
        except AssertionError as error:
            raise AssertionError(f"{error}, but:\n{seen}") from None

    @property
    def _environment(self) -> dict[str, str]:
        tools = Path(sys.executable).parent
        return self._engines.environment | {
            "PATH": f"{tools}:{os.environ['PATH']}", "TERM": "xterm-256color", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def _at_stand_in(self, command: str) -> str:
        for path in (*self.folder.glob("*.toml"), *self.folder.glob("*/engine.toml")):
            text = path.read_text()
            if "[venue]" not in text and "api_secret" not in text and not command.startswith("engine new"):
                ready = self.kraken.ready
                path.write_text(
                    f'{text}\n[venue]\nurl = "{ready["public"]}"\nprivate_url = "{ready["private"]}"\n'
                    f'rest_url = "{ready["rest"]}"\n'
                )
        if command.startswith("engine watch") and "--venue" not in command:
            command = f"{command} --venue {KRAKEN}"
        return command.replace(KRAKEN, self.kraken.ready["public"]) if KRAKEN in command else command

    def end(self) -> None:
        """The page is over: whatever was started on it has been stopped on it, and well."""
        was_killed = any("kill -9" in terminal.command for terminal in self._terminals)
        for terminal in self._terminals:
            code = terminal.end()
            assert code in (0, 1, 2) or (was_killed and code == -signal.SIGKILL), (
                f"{terminal.command} ended with {code}:\n{terminal.read()[-4000:]}"
            )
            assert "Traceback" not in terminal.read() or "failed" in terminal.read(), terminal.read()[-4000:]

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()


def with_functions(text: str, block: str) -> str:
    """A file's text with the functions of a block in place of those of the same name, wherever they stand; new ones
    stand at its end.
    """
    lines = text.splitlines()
    for new in ast.parse(textwrap.dedent(block)).body:
        assert isinstance(new, ast.FunctionDef | ast.AsyncFunctionDef), "a block that changes a file holds functions"
        named = [
            node
            for node in ast.walk(ast.parse("\n".join(lines)))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == new.name
        ]
        source = textwrap.dedent(block).splitlines()[first_line(new) - 1 : new.end_lineno]
        if not named:
            lines += ["", "", *source]
            continue
        (old,) = named
        first, last = first_line(old), old.end_lineno or 0
        lines[first - 1 : last] = textwrap.indent("\n".join(source), " " * old.col_offset).splitlines()
    return "\n".join(lines) + "\n"


def first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Of a function with its decorators."""
    return min([node.lineno, *(mark.lineno for mark in node.decorator_list)])


def with_settings(text: str, block: str) -> str:
    """A configuration with the settings of a block, in place of those that are there, commented out or not; tables that
    it lacks stand behind it.
    """
    wanted = re.findall(r"^(\w+) = .*$", block, flags=re.MULTILINE)
    if not all(re.search(rf"^#? ?{name} = ", text, flags=re.MULTILINE) for name in wanted):
        return f"{text}\n{block}"
    for line in block.splitlines():
        if name := re.match(r"(\w+) = ", line):
            text, count = re.subn(rf"^#? ?{name[1]} = .*$", line.replace("\\", r"\\"), text, flags=re.MULTILINE)
            assert count == 1, f"{name[1]} stands there {count} times"
    return text
