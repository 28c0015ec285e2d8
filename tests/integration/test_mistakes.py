"""Bad input of every kind: one sentence that names the place and the mend, exit code 2, never a traceback."""

import socket
from pathlib import Path

import pytest

from tests.integration.rig import CAPTURES, Engines

BROKEN = {
    "unknown_key.toml": "[feed]\ndept = 10\n",
    "wrong_type.toml": '[feed]\ndepth = "ten"\n',
    "impossible.toml": "[feed]\ndepth = 27\n",
    "not_toml.toml": "[feed\n",
    "plain_ws.toml": '[venue]\nurl = "ws://ws.kraken.com/v2"\n',
    "syntax.py": "class Bot(:\n",
    "raises.py": "import engine\nraise RuntimeError('no')\n",
    "empty.py": "x = 1\n",
    "start.py": "from engine import Strategy\nclass Bot(Strategy):\n    def on_start(self):\n        int('bad')\n",
    "needs.py": "from engine import Strategy\nclass Bot(Strategy):\n    qty: int\n",
    "trades.toml": (
        "[trading]\nenabled = true\n"
        "[risk]\norder_notional_max = 1\nposition_notional_max = 1\ndaily_loss_max = 1\n"
    ),
    "zero.toml": '[trading]\nstate_dir = "a\\u0000b"\n',
    "empty.toml": '[trading]\nstate_dir = ""\n',
    "home.toml": '[trading]\nstate_dir = "~/st"\n',
    "external.toml": '[[strategy]]\ntarget = "empty.py"\nname = "external"\n',
    "needs.toml": '[[strategy]]\ntarget = "needs.py"\nparams = { qty = 1 }\n',
    "nobody.toml": 'venue.url = "ws://127.0.0.1:9/v2"\nconnection = { attempts_max = 2, backoff_max_s = 0.5 }\n',
    "garbage.jsonl": "\x00\x01 not json\nmore of it\n",
    "nothing.jsonl": "",
    "wrong.jsonl": '{"some":"json"}\n',
}  # fmt: skip

LOCAL = ("run", "--venue", "local")
CAPTURE = CAPTURES / "capture_crossbook_kraken_btcusd_sample.jsonl"

MISTAKES = {
    "no such command": (("fly",), "fly"),
    "no such option": ((*LOCAL, "--symbol", "BTC/USD"), "--symbol"),
    "unknown key": (("run", "unknown_key.toml"), "feed.depth"),
    "wrong type": (("run", "wrong_type.toml"), "feed.depth"),
    "impossible value": (("run", "impossible.toml"), "27"),
    "impossible option": ((*LOCAL, "--depth", "27"), "--depth"),
    "not TOML": (("run", "not_toml.toml"), "line 1"),
    "no such file": (("run", "nowhere.toml"), "nowhere.toml"),
    "plain socket": (("run", "plain_ws.toml"), "wss://"),
    "no venue": (("run", "--venue", "demo"), "there is no venue 'demo': it is local (play money, a made-up"),
    "nothing made up on paper": (
        ("run", "--venue", "paper", "--venue-options", "--rate 5"),
        "the paper venue cannot run: --rate",
    ),
    "funds of no pair": (
        ("run", "--venue", "paper", "--venue-options", "--funds USD=ten"),
        "the paper venue cannot run: --funds USD=ten",
    ),
    "no venue to watch": (("watch", "BTC/USD", "--venue", "kraken"), "there is no venue 'kraken'"),
    "orders elsewhere": (("run", "trades.toml", "--venue", "ws://127.0.0.1:9/v2"), "venue.private_url"),
    "nobody there": (("run", "nobody.toml"), "given up after 2 attempts"),
    "v1 name": ((*LOCAL, "--symbols", "XBT/USD"), "BTC/USD"),
    "no symbol": ((*LOCAL, "--symbols", "bitcoin"), "bitcoin"),
    "unlisted symbol": ((*LOCAL, "--symbols", "FOO/BAR"), "FOO/BAR"),
    "no strategy file": ((*LOCAL, "--strategy", "nowhere.py"), "nowhere.py"),
    "no strategy module": ((*LOCAL, "--strategy", "no_such_package.bot:Bot"), "no_such_package"),
    "no strategy name": ((*LOCAL, "--strategy", "spreadwatch"), "spreadwatch"),
    "syntax error": ((*LOCAL, "--strategy", "syntax.py"), "line 1"),
    "import error": ((*LOCAL, "--strategy", "raises.py"), "line 2"),
    "no strategy in it": ((*LOCAL, "--strategy", "empty.py"), "empty.py"),
    "start fails": ((*LOCAL, "--strategy", "start.py"), "bad"),
    "parameter missing": ((*LOCAL, "--strategy", "needs.py"), "qty"),
    "parameter unknown": ((*LOCAL, "--strategy", "needs.py", "--param", "qyt=1"), "qty"),
    "parameter of a wrong type": ((*LOCAL, "--strategy", "needs.py", "--param", "qty=much"), "qty"),
    "summary nowhere": ((*LOCAL, "--summary", "no/such/place.json"), "no/such"),
    "no capture": (("replay", "nowhere.jsonl"), "nowhere.jsonl"),
    "garbage capture": (("replay", "garbage.jsonl"), "line 1"),
    "empty capture": (("replay", "nothing.jsonl"), "nothing.jsonl"),
    "another's JSON": (("replay", "wrong.jsonl"), "wrong.jsonl"),
    "pair not in capture": (("replay", CAPTURE, "--symbols", "ETH/USD"), "ETH/USD"),
    "binary capture": (("replay", "/bin/true"), "/bin/true"),
    "venue options with half a quotation": (
        ("run", "--venue", "local", "--venue-options", '"--rate 5'), "cannot be read as a command line",
    ),
    "venue capture missing": (("venue", "--port", 0, "--capture", "nowhere.jsonl"), "nowhere.jsonl"),
    "venue fault unknown": (("venue", "--port", 0, "--fault", "fire=1"), "fire"),
    "venue symbol unknown": (("venue", "--port", 0, "--symbols", "FOO/BAR"), "FOO/BAR"),
    "venue options of none": (
        ("run", "--venue", "ws://127.0.0.1:9/v2", "--venue-options", "--seed 7"), "--venue-options are those of",
    ),
    "venue options that ask for help": ((*LOCAL, "--venue-options", "--help"), "look at --venue-options"),
    "venue options that list": ((*LOCAL, "--venue-options", "--list"), "look at --venue-options"),
    "check of two venues": (("check", "--venue", "local", "--venue", "live"), "name it alone"),
    "no number of seconds": ((*LOCAL, "--seconds", "nan"), "nan is not a finite number"),
    "no number of seconds to watch": (("watch", "BTC/USD", "--seconds", "inf"), "inf is not a finite number"),
    "no level of a log": (("venue", "--log-level", "nope"), "'nope' is not one of"),
    "no number of dollars": (("venue", "--fee-volume-usd", "nan"), "nan is not a finite number"),
    "a negative number of dollars": (("venue", "--fee-volume-usd", "-1"), "x>=0"),
    "no number of heartbeats": (("venue", "--heartbeat-s", "inf"), "inf is not a finite number"),
    "a parameter twice": (
        (*LOCAL, "--strategy", "needs.py", "--param", "qty=1", "--param", "qty=2"), "--param qty is given twice",
    ),
    "a parameter of no strategy": ((*LOCAL, "--param", "qty=1"), "there are none; name one: --strategy"),
    "a parameter of two strategies": (
        (*LOCAL, "--strategy", "needs.py", "--strategy", "start.py", "--param", "qty=1"),
        "--param belongs to one strategy, and there are 2",
    ),
    "an unknown parameter beside a file": (("run", "needs.toml", "--venue", "local", "--param", "qyt=1"), "mean qty?"),
    "a parameter too deep": ((*LOCAL, "--strategy", "needs.py", "--param", "qty=" + "[" * 9999), "qty"),
    "a path with a zero byte": (("run", "zero.toml"), "trading.state_dir must not hold a zero byte"),
    "an empty path": (("run", "empty.toml"), "trading.state_dir is empty"),
    "a path from home": (("run", "home.toml"), "trading.state_dir begins with ~"),
    "a strategy called external": (("run", "external.toml"), "orders of nobody's are called external"),
    "a pair of no case": (("fills", "--symbol", "btc/usd"), "BTC/USD"),
    "several pairs": (("fills", "--symbol", "BTC/USD,ETH/USD"), "must be one pair"),
    "nobody to ask": (("status",), "engine run"),
    "a name that is none": (("metrics", "--port", 0, "--name", "No Such"), "--name must be 1 to 32 characters"),
    "a name that leads out": (("restore", ".", "--name", "../../esc"), "--name must be 1 to 32 characters"),
    "nobody to stop": (("stop", "--name", "other"), "other"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "names"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(engines: Engines, tmp_path: Path, arguments: tuple[str, ...], names: str):
    """Exit code 2, one line on standard error that names the place."""
    for name, text in BROKEN.items():
        (tmp_path / name).write_text(text)
    call = engines.call(*arguments, *(("--log-level", "error") if arguments[0] in ("run", "replay") else ()))

    assert call.returncode == 2, call.stderr
    assert "Traceback" not in call.stderr
    assert len(call.stderr.strip().splitlines()) == 1, call.stderr
    assert call.stderr.startswith("engine: ")
    assert names in call.stderr


def test_a_port_in_use_is_named(engines: Engines):
    """`engine venue` on a taken port says which, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        call = engines.call("venue", "--port", port)

    assert call.returncode == 2
    assert str(port) in call.stderr
    assert len(call.stderr.strip().splitlines()) == 1


def test_a_pair_that_the_venue_does_not_list_ends_the_run(engines: Engines):
    """Kraken's refusal of a subscription is a start-up failure with the pair named."""
    _, url = engines.venue("--symbols", "BTC/USD")
    call = engines.call("run", "--venue", url, "--symbols", "BTC/USD,ETH/USD", "--log-level", "error")

    assert call.returncode == 2
    assert "ETH/USD" in call.stderr.splitlines()[-1]
    assert "Traceback" not in call.stderr
