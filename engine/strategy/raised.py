"""Formats an exception of user code for a sentence, with the line that raised it."""

import importlib
import traceback
from contextlib import suppress
from pathlib import Path

OURS = (Path(__file__).parent.parent, Path(importlib.__file__).parent)  # lines of these say nothing to the user


def raised_text(error: BaseException, path: Path | None = None) -> str:
    """An exception as part of a sentence, with the line that raised it and, if that is not
    in the user's file, the file's name.
    """
    if isinstance(error, SyntaxError):
        text, file, line = error.msg, error.filename, error.lineno
    else:
        text = type(error).__name__
        with suppress(BaseException):  # its text may be the next thing that fails
            text = f"{text}: {error}".splitlines()[0].removesuffix(": ")
        raised = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
        own = [f for f in raised if path is not None and Path(f.filename) == path.resolve()] or raised
        file, line = (own[-1].filename, own[-1].lineno) if own else (None, None)
    if not file or not line:
        return text
    if path is not None and Path(file) == path.resolve():
        return f"line {line}: {text}"
    return text if any(Path(file).is_relative_to(ours) for ours in OURS) else f"{file}, line {line}: {text}"
