"""Finding a strategy's class and giving it its parameters; whatever is wrong is one
sentence that names the place.
"""

from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Annotated

import msgspec
import pytest

from engine.errors import StrategyError
from engine.strategy import Strategy
from engine.strategy.loader import fingerprint, load_class, make_strategy, parameters

EXAMPLES = Path(__file__).parent.parent.parent / "engine" / "strategy" / "examples"

QUOTER = """
    from engine import Strategy

    class Quoter(Strategy):
        symbol: str = "BTC/USD"
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file below a folder that packages are found in; returns its path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write_file(name, text=QUOTER):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return path

    return write_file


def refusal(target):
    """The sentence that refuses a target."""
    with pytest.raises(StrategyError) as refused:
        load_class(str(target))
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


# --- the four ways to name one


def test_a_file_with_one_strategy(write):
    """The path alone will do."""
    assert load_class(str(write("bot.py"))).__name__ == "Quoter"


def test_a_file_imports_what_lies_beside_it(tmp_path):
    """A module and a package, at the top of the file or later; none hides one of Python's own."""
    text = """
        import json
        from beside_it import QTY
        from engine import Strategy

        class Bot(Strategy):
            qty = QTY

            def on_start(self):
                from beside_too.later import NAME
                return json.dumps(NAME)
    """
    for name, content in {
        "bot.py": text, "beside_it.py": "QTY = 3", "beside_too/later.py": "NAME = 'x'", "json.py": "x",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(content))

    bot = make_strategy(load_class(str(tmp_path / "bot.py")), {}, "bot")

    assert (bot.qty, bot.on_start()) == (3, '"x"')


def test_two_files_never_share_a_module_that_only_one_of_them_means(tmp_path):
    """Python has one module of a name: the second file would be given the first one's numbers."""
    for folder, qty in (("first", 1), ("second", 2), ("third", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bot.py").write_text(
            f"from engine import Strategy\nfrom beside_{'both' if qty < 3 else 'third'} import QTY\n"
            "class Bot(Strategy):\n    qty = QTY\n"
        )
        (tmp_path / folder / f"beside_{'both' if qty < 3 else 'third'}.py").write_text(f"QTY = {qty}")

    assert load_class(str(tmp_path / "first" / "bot.py")).qty == 1
    sentence = refusal(tmp_path / "second" / "bot.py")
    assert str(tmp_path / "first" / "beside_both.py") in sentence
    assert "give the one beside" in sentence
    assert load_class(str(tmp_path / "third" / "bot.py")).qty == 3
    assert load_class(str(tmp_path / "first" / "bot.py")).qty == 1


def test_a_class_of_a_file(write):
    """Of several, the one that is named; also one that the file imports."""
    write("bases.py", QUOTER.replace("Quoter", "Base"))
    path = write("bots.py", "from bases import Base\nclass One(Base): ...\nclass Two(Base): ...\n")

    assert load_class(f"{path}:Two").__name__ == "Two"
    assert load_class(f"{path}:Base").__name__ == "Base"


def test_a_class_of_a_package(write):
    """As installed: package.module:Class."""
    write("shop_a/__init__.py", "")
    write("shop_a/quoter.py")

    assert load_class("shop_a.quoter:Quoter").__name__ == "Quoter"


def test_an_entry_point(write):
    """A name that an installed distribution offers in the group engine.strategies."""
    write("shop_b.py")
    write("shop_b-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shop-b\nVersion: 1.0\n")
    write(
        "shop_b-1.0.dist-info/entry_points.txt",
        "[engine.strategies]\nquoter = shop_b:Quoter\nnumber = shop_b:__name__\n",
    )

    assert load_class("quoter").__name__ == "Quoter"
    assert refusal("quoted") == "strategy quoted: no installed package offers it; did you mean quoter?"
    assert "number: shop_b:__name__ is not a class that derives from engine.Strategy" in refusal("number")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_examples_load_with_their_defaults(example):
    """What we show works."""
    assert isinstance(make_strategy(load_class(str(example)), {}, "example"), Strategy)


def test_two_files_of_one_name_are_two_modules(write):
    """a/bot.py and b/bot.py do not shadow each other."""
    first, second = (
        load_class(str(write("a/bot.py"))),
        load_class(str(write("b/bot.py", QUOTER.replace("Quoter", "Other")))),
    )

    assert (first.__name__, second.__name__) == ("Quoter", "Other")


# --- nothing there


def test_a_missing_file_names_its_neighbour(write):
    """A slip of the pen: the nearest name in the same folder."""
    path = write("quoter.py")
    missing = path.with_name("qouter.py")

    assert refusal(missing) == f"strategy {missing}: there is no file {missing}; did you mean {path}?"


@pytest.mark.parametrize("target", ["nowhere/at/all.py", "nowhere/at/all"])
def test_a_missing_folder(target):
    """No neighbours to name."""
    assert refusal(target) == f"strategy {target}: there is no file {target}; check the path"


def test_a_file_that_is_no_python(write):
    """A path without .py cannot be imported."""
    path = write("notes.txt")

    assert refusal(path) == f"strategy {path}: {path} is not a Python file"


@pytest.mark.parametrize("target", ["no_such_package_x:Bot", "no_such_package_x.deeper:Bot"])
def test_a_missing_module(target):
    """Not installed."""
    assert refusal(target) == f"strategy {target}: there is no module {target[:-4]}; install it, or give a file"


def test_a_missing_import_inside_a_module_is_not_a_missing_module(write):
    """`shop_c` is there; what it imports is not, though the name begins alike."""
    write("shop_cc.py", "import shop_c_\n")

    assert "there is no module" not in refusal("shop_cc:Bot")
    assert "No module named 'shop_c_'" in refusal("shop_cc:Bot")


@pytest.mark.parametrize("target", ["", "quoter", "my.package.quoter"])
def test_a_bare_name_is_an_entry_point_or_nothing(target):
    """The sentence says how strategies are named."""
    assert "no installed package offers it; give a file (bot.py), a class (package.module:Class) or a name" in refusal(
        target
    )


@pytest.mark.parametrize("target", [":Bot", "..:Bot", ".relative:Bot", "/:Bot", "a b:Bot", "\0.py"])
def test_nonsense_is_a_sentence_too(target):
    """Whatever stands on the command line."""
    assert refusal(target)


# --- something else there


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nraise ValueError('no key')\n", "line 2: ValueError: no key"),
        ("x = 1\n\nimport no_such_module\n", "line 3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f(:\n    pass\n", "line 1: invalid syntax"),
        ("class A:\npass\n", "line 2: expected an indented block"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
        ("import sys\n\n\nsys.exit('bye')\n", "line 4: SystemExit: bye"),
        ("raise ValueError('one\\ntwo')\n", "line 1: ValueError: one"),
        ("raise ValueError\n", "line 1: ValueError"),
        ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E\n", "line 3: E"),
        (b"x = '\xff\xfe'\n", "codec can't decode byte 0xff"),
        (b"x = 1\0\n", "null bytes"),
        ("def f():\n    return g()\ndef g():\n    return 1 / 0\nf()\n", "line 4: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_imported_names_the_line(write, text, words):
    """The user's own line, not one of ours or of the import machinery; an exit is no exit
    of the engine.
    """
    path = write("broken.py", text)
    sentence = refusal(path)

    assert sentence.startswith(f"strategy {path} cannot be imported: ")
    assert words in sentence
    assert "None" not in sentence


def test_the_line_of_another_file_is_not_taken_for_one_of_this(write):
    """The error lies in a module that the strategy imports: that file is named."""
    write("half_written.py", "\n\ndef f(:\n")
    write("half_working.py", "\n\n\nraise OSError('disk')\n")
    syntax, runtime = write("uses_one.py", "import half_written\n"), write("uses_two.py", "import half_working\n")

    assert "half_written.py, line 3: invalid syntax" in refusal(syntax)
    assert "line 1: OSError: disk" in refusal(runtime)


@pytest.mark.parametrize("text", ["raise SystemExit(1)\n", "raise RuntimeError('no')\n", "def f(:\n"])
def test_a_module_that_cannot_be_imported_names_its_file_and_line(write, text):
    """As with files; SystemExit included, for packages and entry points too."""
    path = write(f"shop_{abs(hash(text))}.py", text)
    write("shop_d-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shop-d\nVersion: 1.0\n")
    write("shop_d-1.0.dist-info/entry_points.txt", f"[engine.strategies]\nbroken = {path.stem}:Bot\n")

    for target in (f"{path.stem}:Bot", "broken"):
        sentence = refusal(target)
        assert f"strategy {target} cannot be imported: " in sentence
        assert f"{path}, line 1: " in sentence


@pytest.mark.parametrize("text", ["", "class Quoter:\n    pass\n", "from engine import Strategy\n"])
def test_a_file_without_a_strategy(write, text):
    """Nothing that derives from engine.Strategy; the base itself is none."""
    path = write("empty.py", text)

    assert refusal(path) == f"{path} holds no strategy; write a class that derives from engine.Strategy"
    assert refusal(f"{path}:Strategy").startswith(f"{path} has no strategy Strategy")


def test_a_file_with_several_strategies_asks_which(write):
    """It shows how to say it."""
    path = write("two.py", "from engine import Strategy\nclass B(Strategy): ...\nclass A(Strategy): ...\n")

    assert refusal(path) == f"{path} holds 2 strategies; say which: {path}:A"


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("Qouter", "did you mean Quoter?"),
        ("Something", "it must be a class that derives from engine.Strategy"),
        ("helper", "it must be a class that derives from engine.Strategy"),
    ],
)
def test_a_wrong_class_name(write, name, mend):
    """The nearest strategy, or what would be one."""
    path = write("bot.py", dedent(QUOTER) + "\nhelper = 5\n")

    assert refusal(f"{path}:{name}") == f"{path} has no strategy {name}; {mend}"


# --- parameters


class Bot(Strategy):
    """Every kind of parameter; and what is none."""

    symbol: str
    depth: int = 5
    edge: Decimal = Decimal("0.10")
    share: float = 0.5
    is_eager: bool = False
    symbols: list[str] = ["BTC/USD"]  # noqa: RUF012
    note: str | None = None
    _hidden: int = 1
    constant = 7

    def on_start(self):
        self.started = True


def test_parameters_are_the_annotated_fields_of_the_class_and_its_bases():
    """ClassVars, names with an underscore, unannotated names and the context are none."""
    from typing import ClassVar

    class Child(Bot):
        registry: ClassVar[dict[str, int]] = {}
        bare: ClassVar = 3
        extra: int = 1

    assert set(parameters(Child)) == {
        "symbol",
        "depth",
        "edge",
        "share",
        "is_eager",
        "symbols",
        "note",
        "timer_s",
        "extra",
    }


@pytest.mark.parametrize(
    ("key", "toml", "value"),
    [
        ("depth", 25, 25),
        ("edge", "0.25", Decimal("0.25")),
        ("edge", 3, Decimal(3)),
        ("edge", 0.1, Decimal("0.1")),
        ("share", 1, 1.0),
        ("share", 0.25, 0.25),
        ("is_eager", True, True),
        ("symbols", ["ETH/USD", "XRP/USD"], ["ETH/USD", "XRP/USD"]),
        ("note", "hello", "hello"),
        ("timer_s", 2, 2.0),
    ],
)
def test_values_of_toml_become_the_declared_types(key, toml, value):
    """A decimal as text, whole number or decimal fraction; never a binary one."""
    strategy = make_strategy(Bot, {"symbol": "BTC/USD", key: toml}, "bot")

    assert getattr(strategy, key) == value
    assert type(getattr(strategy, key)) is type(value)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({}, "strategy bot: Bot needs a value for params.symbol"),
        ({"symbol": "A", "dept": 5}, "strategy bot: dept is not a parameter of Bot; did you mean depth?"),
        ({"symbol": "A", "zzzz": 5}, "strategy bot: zzzz is not a parameter of Bot; it has depth, edge, "),
        ({"symbol": "A", "_hidden": 5}, "strategy bot: _hidden is not a parameter of Bot; "),
        ({"symbol": "A", "constant": 5}, "strategy bot: constant is not a parameter of Bot; "),
        ({"symbol": "A", "context": 5}, "strategy bot: context is not a parameter of Bot; "),
        ({"symbol": 5}, "strategy bot: params.symbol = 5 does not fit: Expected `str`, got `int`"),
        ({"symbol": "A", "depth": "5"}, "strategy bot: params.depth = '5' does not fit: Expected `int`, got `str`"),
        ({"symbol": "A", "depth": 1.5}, "strategy bot: params.depth = 1.5 does not fit: Expected `int`, got `float`"),
        ({"symbol": "A", "depth": True}, "strategy bot: params.depth = True does not fit: Expected `int`, got `bool`"),
        ({"symbol": "A", "edge": "many"}, "strategy bot: params.edge = 'many' does not fit: Invalid decimal string"),
        ({"symbol": "A", "symbols": "B"}, "strategy bot: params.symbols = 'B' does not fit: Expected `array`"),
        ({"symbol": "A", "symbols": [1]}, "strategy bot: params.symbols = [1] does not fit: Expected `str`, got `int`"),
    ],
)  # fmt: skip
def test_a_parameter_that_does_not_fit_is_one_sentence(params, sentence):
    """Unknown, missing or of another type: the strategy, the name, and what was expected."""
    with pytest.raises(StrategyError) as refused:
        make_strategy(Bot, params, "bot")

    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_a_parameter_given_to_a_child_belongs_to_its_base_too():
    """Inherited fields are set like own ones; defaults of the child win."""

    class Child(Bot):
        symbol: str = "ETH/USD"

    strategy = make_strategy(Child, {"depth": 7}, "child")

    assert (strategy.symbol, strategy.depth) == ("ETH/USD", 7)
    assert Bot.depth == 5


def test_a_type_that_no_file_can_express_is_a_sentence(write):
    """A protocol, or a name that does not exist: not a traceback."""
    odd = load_class(str(write("odd.py", """
        from typing import Protocol
        from engine import Strategy

        class Port(Protocol): ...

        class Odd(Strategy):
            port: Port = None
    """)))  # fmt: skip
    unknown = load_class(str(write("unknown.py", """
        from engine import Strategy

        class Unknown(Strategy):
            price: "NoSuchType" = None
    """)))  # fmt: skip

    with pytest.raises(StrategyError, match=r"strategy odd: params\.port = 5 does not fit: "):
        make_strategy(odd, {"port": 5}, "odd")
    with pytest.raises(StrategyError, match=r"Unknown: its fields' types cannot be read: .*NoSuchType"):
        make_strategy(unknown, {}, "unknown")


@pytest.mark.parametrize("cause", ["raise ValueError('no')", "raise SystemExit(1)", "1 / 0"])
def test_a_constructor_that_fails_is_a_sentence(write, cause):
    """Also one that wants to exit."""
    path = write(
        "bad.py", f"from engine import Strategy\nclass Bad(Strategy):\n    def __init__(self):\n        {cause}\n"
    )
    with pytest.raises(StrategyError, match=r"^strategy bad: Bad\(\) failed: .*line 4: "):
        make_strategy(load_class(str(path)), {}, "bad")


@pytest.mark.parametrize(
    ("name", "meant"), [("on_boook", "on_book"), ("on_trades", "on_trade"), ("on_feedstate", "on_feed_state")]
)
def test_a_misspelt_callback_is_refused(name, meant):
    """It would be silence for ever."""
    cls = type("Deaf", (Strategy,), {name: lambda self, book: None})
    with pytest.raises(StrategyError) as refused:
        make_strategy(cls, {}, "deaf")

    assert str(refused.value) == f"strategy deaf: Deaf.{name} is never called; did you mean {meant}?"


def test_a_callback_that_is_set_on_the_object_is_refused():
    """Which callbacks there are is asked of the class: it would be silence for ever, too."""

    def construct(self):
        self.on_book = lambda book: None

    cls = type("Deaf", (Strategy,), {"__init__": construct})
    with pytest.raises(StrategyError) as refused:
        make_strategy(cls, {}, "deaf")

    assert str(refused.value) == ("strategy deaf: on_book is set on the object, and is never called; define it in Deaf")


def test_a_method_of_ones_own_may_begin_like_a_callback():
    """`on_signal` is nobody's misspelling."""
    cls = type("Own", (Strategy,), {"on_signal": lambda self: None})

    assert isinstance(make_strategy(cls, {}, "own"), Strategy)


def test_a_fingerprint_tells_one_version_of_a_file_from_another(write):
    """Twelve digits of the file's hash; nothing for a class without a file."""
    first = fingerprint(load_class(str(write("one.py"))))
    second = fingerprint(load_class(str(write("two.py", QUOTER + "    # another\n"))))

    assert len(first) == len(second) == 12
    assert first != second
    assert fingerprint(type("Made", (Strategy,), {"__module__": "builtins"})) == ""


@pytest.mark.parametrize("timer_s", [float("nan"), float("inf"), 1e300, 10**400, -1, 1e-10, None, "5", True])
def test_a_timer_that_is_no_time_is_refused(timer_s):
    """Before anything runs; 0 is never."""
    cls = type("Timed", (Strategy,), {"timer_s": timer_s})
    with pytest.raises(StrategyError, match="strategy timed: timer_s must be a number of seconds from 0"):
        make_strategy(cls, {}, "timed")

    assert make_strategy(type("Never", (Strategy,), {"timer_s": 0}), {}, "never").timer_s == 0


class Guarded(Strategy):
    """A parameter that its own code checks, and one whose type says what it may be."""

    depth: Annotated[int, msgspec.Meta(ge=0)] = 1

    def __init__(self):
        self.kept = 0

    def set_port(self, port):
        if port < 1024:
            raise ValueError("a port below 1024")
        self.kept = port

    port: int = property(lambda self: self.kept, set_port)


def test_a_value_that_the_strategy_itself_refuses_is_one_sentence():
    """With the line that refused it."""
    with pytest.raises(StrategyError, match=r"params.port = 5 cannot be set: .*test_loader.py, line \d+: ValueError"):
        make_strategy(Guarded, {"port": 5}, "guarded")
    with pytest.raises(StrategyError, match=r"params.depth = -1 does not fit: Expected `int` >= 0"):
        make_strategy(Guarded, {"depth": -1}, "guarded")

    assert make_strategy(Guarded, {"port": 5000}, "guarded").kept == 5000
