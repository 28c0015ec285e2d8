"""Find a strategy's class, and make the strategy with its parameters.

A target is a file (`bots/quoter.py`, or `bots/quoter.py:Quoter` when it holds
several), a class of an installed package (`bots.quoter:Quoter`), or the name of an
entry point in the group `engine.strategies`. Whatever is wrong with it is one
sentence that names the place.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, get_origin, get_type_hints

import msgspec

from engine.errors import StrategyError
from engine.strategy.api import CALLBACKS, Strategy
from engine.strategy.raised import raised_text
from engine.strategy.timer import timer_ns

ENTRY_POINT_GROUP = "engine.strategies"

_folders: set[str] = set()  # of the files that were loaded: Python has one module of a name, wherever it lies


def load_class(target: str) -> type[Strategy]:
    """The strategy class that `target` names; StrategyError says why there is none."""
    place, colon, class_name = target.rpartition(":")
    if not colon:
        place, class_name = target, ""
    if place.endswith(".py") or "/" in place:
        return _class_of(_import_file(Path(place), target), class_name, place)
    if colon:
        return _class_of(_import_module(place, target), class_name, place)
    return _class_of_entry_point(target)


def make_strategy(cls: type[Strategy], params: dict[str, Any], name: str) -> Strategy:
    """A strategy with its parameters set, every one of its declared type; StrategyError
    names the one that is not."""
    fields = parameters(cls)
    for key in params:
        if key not in fields:
            near = get_close_matches(key, fields, n=1)
            mend = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(fields)) or 'none'}"
            raise StrategyError(f"strategy {name}: {key} is not a parameter of {cls.__name__}; {mend}")
    try:
        strategy = cls()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise StrategyError(f"strategy {name}: {cls.__name__}() failed: {raised_text(error)}") from error
    for key, kind in fields.items():
        if key in params:
            try:
                value = msgspec.convert(params[key], kind, strict=True)
            except (msgspec.ValidationError, TypeError) as error:
                raise StrategyError(f"strategy {name}: params.{key} = {params[key]!r} does not fit: {error}") from None
            try:
                setattr(strategy, key, value)
            except Exception as error:
                raise StrategyError(
                    f"strategy {name}: params.{key} = {params[key]!r} cannot be set: {raised_text(error)}"
                ) from error
        elif not hasattr(strategy, key):
            raise StrategyError(f"strategy {name}: {cls.__name__} needs a value for params.{key}")
    check_strategy(strategy, name)
    return strategy


def check_strategy(strategy: Strategy, name: str) -> None:
    """Raise StrategyError for a callback that would never be called, and for a `timer_s`
    that is no time.
    """
    cls = type(strategy)
    for attribute in dir(cls):
        if attribute.startswith("on_") and attribute not in CALLBACKS and callable(getattr(cls, attribute)):
            near = get_close_matches(attribute, CALLBACKS, n=1, cutoff=0.75)
            if near:
                raise StrategyError(
                    f"strategy {name}: {cls.__name__}.{attribute} is never called; did you mean {near[0]}?"
                )
    # Which callbacks there are is asked of the class, once.
    if own := [callback for callback in CALLBACKS if callback in getattr(strategy, "__dict__", ())]:
        raise StrategyError(
            f"strategy {name}: {own[0]} is set on the object, and is never called; define it in {cls.__name__}"
        )
    try:
        timer_ns(strategy.timer_s)
    except ValueError as error:
        raise StrategyError(f"strategy {name}: {error}") from None


def parameters(cls: type[Strategy]) -> dict[str, Any]:
    """The parameters that a class declares, with their types."""
    try:
        hints = get_type_hints(cls, include_extras=True)  # msgspec checks what Annotated says
    except Exception as error:
        raise StrategyError(f"{cls.__name__}: its fields' types cannot be read: {raised_text(error)}") from error
    return {
        key: kind
        for key, kind in hints.items()
        if not key.startswith("_") and key != "context" and get_origin(kind) is not ClassVar and kind is not ClassVar
    }


def fingerprint(cls: type[Strategy]) -> str:
    """The first 12 digits of the SHA-256 of the file that defines a class; empty if it has
    none.
    """
    try:
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()[:12]
    except (OSError, TypeError):
        return ""


def _import_file(path: Path, target: str) -> ModuleType:
    if not path.is_file():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        mend = f"did you mean {path.parent / near[0]}?" if near else "check the path"
        raise StrategyError(f"strategy {target}: there is no file {path}; {mend}")
    name = f"engine_strategy_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise StrategyError(f"strategy {target}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and get_type_hints look their module up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise StrategyError(f"strategy {target} cannot be imported: {raised_text(error, path)}") from error
    if taken := _of_another_strategy(folder):
        raise StrategyError(
            f"strategy {target}: the engine has imported {taken} for another strategy, and Python knows one module of "
            f"a name; give the one beside {path} another name"
        )
    _folders.add(folder)
    return module


def _of_another_strategy(folder: str) -> str | None:
    """The file of an imported module that lies beside another strategy's file although this
    folder has a module of the same name; None if there is none.
    """
    for name, module in list(sys.modules.items()):
        file, place = getattr(module, "__file__", None) or "", name.replace(".", "/")
        for end in (f"/{place}.py", f"/{place}/__init__.py"):
            other = file.removesuffix(end)
            if other != file and other != folder and other in _folders and Path(folder + end).exists():
                return file
    return None


def _import_module(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise StrategyError(f"strategy {target}: there is no module {name}; install it, or give a file") from error
        raise StrategyError(f"strategy {target} cannot be imported: {raised_text(error)}") from error


def _class_of(module: ModuleType, class_name: str, place: str) -> type[Strategy]:
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Strategy) and value.__module__ == module.__name__
    }
    if class_name:
        value = getattr(module, class_name, None)
        if inspect.isclass(value) and issubclass(value, Strategy) and value is not Strategy:
            return value
        near = get_close_matches(class_name, own, n=1)
        mend = f"did you mean {near[0]}?" if near else "it must be a class that derives from engine.Strategy"
        raise StrategyError(f"{place} has no strategy {class_name}; {mend}")
    if len(own) == 1:
        return next(iter(own.values()))
    if not own:
        raise StrategyError(f"{place} holds no strategy; write a class that derives from engine.Strategy")
    raise StrategyError(f"{place} holds {len(own)} strategies; say which: {place}:{min(own)}")


def _class_of_entry_point(name: str) -> type[Strategy]:
    known = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        mend = f"did you mean {near[0]}?" if near else "give a file (bot.py), a class (package.module:Class) or a name"
        raise StrategyError(f"strategy {name}: no installed package offers it; {mend}")
    try:
        value = known[name].load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise StrategyError(f"strategy {name} cannot be imported: {raised_text(error)}") from error
    if inspect.isclass(value) and issubclass(value, Strategy):
        return value
    raise StrategyError(f"strategy {name}: {known[name].value} is not a class that derives from engine.Strategy")
