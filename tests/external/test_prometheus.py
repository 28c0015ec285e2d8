"""What Prometheus' own programs say of our metrics and rules, and a real one that scrapes a run."""

import json
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.integration.rig import CALM, Engines
from tests.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.external
DEPLOY = Path(__file__).parents[2] / "tools" / "deploy"
QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"


def needed(program: str) -> str:
    """The path of a program; the test is left out when it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed: apt install prometheus")
    return path


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_the_rules_and_the_configuration_are_right():
    """promtool reads both."""
    for what in (("rules", "alert-rules.yml"), ("config", "prometheus.yml")):
        checked = subprocess.run(
            [needed("promtool"), "check", what[0], DEPLOY / what[1]], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_text_of_a_run_is_right(engines: Engines):
    """promtool's linter finds nothing in what a trading engine serves."""
    promtool, port = needed("promtool"), free_port()
    engine = engines.start(*CALM, "--metrics", port, "--strategy", QUOTER)
    engine.wait_for(lambda s: s["fills"], "it is filled")
    text = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).read()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)

    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_real_prometheus_scrapes_a_run(engines: Engines, tmp_path: Path):
    """Its own answers agree with the status; every rule is evaluated without an error, none fires that should not."""
    prometheus, metrics, port = needed("prometheus"), free_port(), free_port()
    text = (DEPLOY / "prometheus.yml").read_text().replace("127.0.0.1:9464", f"127.0.0.1:{metrics}").replace("5s", "1s")
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "alert-rules.yml", tmp_path)
    engine = engines.start(*CALM, "--metrics", metrics, "--strategy", QUOTER)
    before = engine.wait_for(lambda s: s["fills"], "it is filled")
    serving = subprocess.Popen(
        [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
         f"--web.listen-address=127.0.0.1:{port}"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(path: str):
        try:
            return json.load(urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=PATIENCE_S))["data"]
        except OSError:
            return None

    def value(query: str) -> float:
        found = (ask(f"query?query={quote(query)}") or {"result": []})["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def states():
        """The state of each rule; None until all are evaluated without an error."""
        rules = ask("rules")["groups"][0]["rules"]
        return {rule["name"]: rule["state"] for rule in rules} if all(r["health"] == "ok" for r in rules) else None

    try:
        eventually(lambda: value("kraken_engine_router_fills_total") >= before["fills"], "it has scraped the fills")
        assert value("kraken_engine_router_fills_total") <= engine.status()["fills"]
        assert value("kraken_engine_up") == value("up") == 1
        hop = 'kraken_engine_latency_seconds_bucket{hop="wire_to_on_book"}'
        p99_s = eventually(lambda: value(f"histogram_quantile(0.99, {hop})"), "there is a percentile")
        assert 0 < p99_s < 60
        # Before the first scrape there was no engine to be seen.
        found = eventually(lambda: (s := states()) and s["EngineDown"] == "inactive" and s, "every rule is evaluated")
        assert {name for name, state in found.items() if state == "firing"} == set()
    finally:
        serving.terminate()
        serving.wait(PATIENCE_S)
    assert engine.stop() == 0
