"""The API secret and the tokens are in one process's memory, and nowhere else that anybody could look."""

import json
import subprocess
from pathlib import Path

import psutil
import pytest

from engine import strategy
from engine.units import MonoNs
from engine.venue.setup.keys import KeyRing
from engine.venue.websocket.tokens import Tokens
from tests.integration.rig import Engines, eventually, forms, places_of

SEED = 7
TOKENS = 4  # of the venue's first ones: more than a short run needs

CONFIG = """
symbols = ["BTC/USD"]
[venue]
url = "{public}"
private_url = "{private}"
rest_url = "{rest}"
[trading]
enabled = true
[risk]
order_notional_max = 1000
position_notional_max = 100000
daily_loss_max = 100000
[[strategy]]
target = "{quoter}"
[log]
level = "debug"
format = "json"
"""


def found_in(text: bytes, needles: list[bytes]) -> bool:
    return any(needle in text for needle in needles)


def test_a_canary_secret_is_in_no_log_ring_file_process_line_or_environment(engines: Engines) -> None:
    """The key comes the worst way there is, through the environment."""
    secret = KeyRing(SEED).default.secret
    issued = Tokens(SEED)
    needles = forms(secret)
    for _ in range(TOKENS):
        needles += forms(issued.issue(KeyRing(SEED).default, MonoNs(0)))
    venue = engines.spawn("venue", "--port", 0, "--seed", SEED, "--symbols", "BTC/USD", stdout=subprocess.PIPE)
    assert venue.stdout is not None
    ready = json.loads(venue.stdout.readline())
    assert ready["api_secret"] == secret
    config = engines.folder / "engine.toml"
    config.write_text(CONFIG.format(quoter=Path(strategy.__file__).parent / "examples" / "quoter.py", **ready))
    summary = engines.folder / "summary.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(engines.folder / "state"))
        patch.setenv("KRAKEN_API_KEY", ready["api_key"])
        patch.setenv("KRAKEN_API_SECRET", secret)
        engine = engines.start(config, "--summary", summary, is_new=True)
    engine.wait_for(lambda status: status["orders"]["acknowledged"] > 0, "an order is acknowledged")

    family = [psutil.Process(engine.process.pid), *engine.children()]
    seen = [(place, text) for process in family for place, text in places_of(process)]
    leaks = [place for place, text in seen if found_in(text, needles)]
    router = next(process for process in family if "order_router" in " ".join(process.cmdline()))
    limits = Path(f"/proc/{router.pid}/limits").read_text()
    assert engines.call("stop").returncode == 0
    eventually(lambda: engine.process.poll() is not None, "the engine ends")
    leaks += [
        str(path.relative_to(engines.folder))
        for path in engines.folder.rglob("*")
        if path.is_file() and found_in(path.read_bytes(), needles)
    ]

    assert leaks == []
    assert any("memfd:" in place and b"BTC/USD" in text for place, text in seen)  # so the rings have been looked into
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    assert engines.logs().count("environment") > 0  # the user was warned
