"""What Prometheus is told of a running engine is what `engine status` shows."""

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from engine.metrics.families import families
from tests.integration.rig import CALM, NOBODY_TOLD, Engines
from tests.waiting import PATIENCE_S, eventually

QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"
SERVED = re.compile(r"metrics of the engine named default at (http://\S+)")


def address_of(engines: Engines) -> str:
    """Where the metrics are served, as the process says."""
    found = eventually(lambda: SERVED.search(engines.logs()), "the metrics are served")
    return found[1]


def scrape(url: str) -> dict[tuple[str, ...], float]:
    """Each sample's value, by its name and labels."""
    text = urlopen(url, timeout=PATIENCE_S).read().decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_run_tells_its_metrics(engines: Engines):
    """Counts lie between two statuses; every family is one of the reference; it ends with the engine."""
    config = engines.folder / "engine.toml"
    config.write_text(NOBODY_TOLD)
    engine = engines.start(config, *CALM, "--metrics", 0, "--strategy", QUOTER)
    url = address_of(engines)
    before = engine.wait_for(
        lambda s: s["fills"] and s["positions"] and s["trading"]["rate"]["counts"],
        "it is filled, and the router has said so",
    )
    # The counter of a pair at rest is at 0 soon, and then it has none.
    seen = eventually(
        lambda: (told := scrape(url)) and any(name == "kraken_engine_rate_used" for name, *_ in told) and told,
        "a pair has a rate counter",
    )
    after = engine.status()

    def between(name: str, *labels: str, of) -> None:
        assert of(before) <= seen[(f"kraken_engine_{name}", *labels)] <= of(after)

    assert seen[("kraken_engine_up",)] == seen[("kraken_engine_trading_open",)] == 1
    between("router_fills_total", of=lambda s: s["fills"])
    between("router_submitted_total", of=lambda s: s["orders"]["submitted"])
    between("pair_updates_total", "BTC/USD", of=lambda s: s["symbols"]["BTC/USD"]["updates"])
    between("ring_published_total", "market-0", of=lambda s: s["rings"]["market-0"]["published"])
    between("latency_seconds_count", "wire_to_on_book", of=lambda s: s["latency_us"]["wire_to_on_book"]["count"])
    between("latency_seconds_count", "ack", of=lambda s: s["latency_us"]["ack"]["count"])
    between("public_feed_frames_total", "public_feed-0", of=lambda s: s["feeds"]["public_feed-0"]["frames"])
    between("notices_target_notices_total", "nobody", of=lambda s: s["notices"]["nobody"]["notices"])
    known = {family.name for family in families()}
    assert {re.sub("_(bucket|sum|count)$", "", name) if name not in known else name for name, *_ in seen} <= known
    assert {name for name, *_ in seen} >= {f.name for f in families() if f.type != "histogram"} - {
        "kraken_engine_private_feed_heartbeat_timestamp_seconds"
    }

    watching = next(child.pid for child in engine.children() if "metrics" in " ".join(child.cmdline()))
    assert engine.stop() == 0, engines.logs()
    assert not Path(f"/proc/{watching}").exists()


STANDS_STILL = """
import time
from pathlib import Path

from engine import Strategy


class Still(Strategy):
    def on_book(self, book):
        while self.context.trading.is_open and not Path("go").exists():
            time.sleep(0.01)
"""


def test_a_strategy_that_stands_still_is_told_by_the_router(engines: Engines):
    """From the moment that its orders are refused until it returns."""
    (engines.folder / "still.py").write_text(STANDS_STILL)
    (engines.folder / "engine.toml").write_text('engine.hang_s_max = 1.0\n[[strategy]]\ntarget = "still.py"\n')
    engines.start("engine.toml", *CALM, "--symbols", "BTC/USD", "--metrics", 0)
    url = address_of(engines)

    def hanging() -> float | None:
        return scrape(url).get(("kraken_engine_trading_hanging", "Still"))

    eventually(lambda: hanging() == 1, "its orders are refused")
    (engines.folder / "go").touch()
    eventually(lambda: hanging() == 0, "they are taken again")


def test_a_feed_that_starts_again_resets_nothing(engines: Engines):
    """Its successor counts on; only its processor time begins at 0."""
    engine = engines.start(*CALM, "--metrics", 0)
    url = address_of(engines)
    status = engine.wait_until_live()
    before = scrape(url)
    os.kill(status["processes"]["public_feed-0"], signal.SIGKILL)
    key = ("kraken_engine_process_restarts_total", "public_feed-0")
    after = eventually(lambda: (s := scrape(url))[key] and s[("kraken_engine_process_up", "public_feed-0")] and s,
                       "it has a successor")  # fmt: skip

    fallen = {
        sample: (before[sample], after[sample])
        for sample in before
        if sample[0].endswith(("_total", "_bucket", "_count", "_sum")) and "cpu_seconds" not in sample[0]
        if after[sample] < before[sample]
    }
    assert fallen == {}


def test_metrics_that_die_are_served_again_and_trading_goes_on(engines: Engines):
    """Whoever looks on is no part of trading."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = engines.start(*CALM, "--metrics", port)
    url = address_of(engines)
    engine.wait_until_live()
    watching = next(child for child in engine.children() if "metrics" in " ".join(child.cmdline()))
    watching.kill()

    def is_served() -> float:
        try:
            return scrape(url)[("kraken_engine_up",)]
        except OSError:
            return 0

    eventually(lambda: engines.logs().count("metrics of the engine") == 2 and is_served(), "they are served again")
    assert engine.status()["restarts"] == {"public_feed-0": 0, "order_router": 0, "private_feed": 0}
    assert engine.stop() == 0, engines.logs()


def test_a_process_of_its_own_waits_for_the_engine(engines: Engines):
    """It says that none is up, until one is; and again after its end."""
    engines.spawn("metrics", "--port", 0)
    url = address_of(engines)

    assert scrape(url) == {("kraken_engine_up",): 0}
    engine = engines.start(*CALM)
    engine.wait_until_live()
    eventually(lambda: scrape(url)[("kraken_engine_up",)], "the engine is seen")
    assert engine.stop() == 0
    assert scrape(url) == {("kraken_engine_up",): 0}


def test_a_program_is_told_the_address(engines: Engines):
    """As a line of JSON, as soon as it is served."""
    process = engines.spawn("metrics", "--port", 0, "--json", stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())

    assert told["name"] == "default"
    assert scrape(told["url"]) == {("kraken_engine_up",): 0}


def test_an_engine_that_may_not_be_seen_is_not_said_to_be_down(engines: Engines):
    """As one of another user: that it is not up would be an alert."""
    place = engines.runtime / "kraken-engine"
    place.symlink_to(place)  # which root may not look into either
    refused = engines.call("metrics", "--port", 0)

    assert refused.returncode == 2
    assert "whether an engine runs cannot be seen" in refused.stderr
    place.unlink()


def test_a_port_that_is_taken_is_one_sentence(engines: Engines):
    """By itself a mistake; for an engine that trades no reason to end."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        alone = engines.call("metrics", "--port", port)
        assert alone.returncode == 2
        assert alone.stderr.strip().count("\n") == 0
        assert f"127.0.0.1:{port} (address already in use)" in alone.stderr

        engine = engines.start(*CALM, "--metrics", port)
        engine.wait_until_live()
        eventually(lambda: "cannot run as it is configured" in engines.logs(), "the engine has noticed")
        assert engine.stop() == 0
