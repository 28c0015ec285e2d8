"""The names of the metrics keep Prometheus' conventions, and what is counted is told."""

import json
import re
from pathlib import Path

import pytest

from engine.metrics.families import PREFIX, families
from engine.telemetry import measures
from engine.telemetry.histogram import Histogram, edges_ns, new_histogram

DEPLOY = Path(__file__).parents[2] / "tools" / "deploy"
FAMILIES = {family.name: family for family in families()}
UNITS = ("_ns", "_ppm", "_percent", "_ms", "_us")
NAME = re.compile(r"kraken_engine_[a-z0-9_]+")
PARTS_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def test_names_follow_the_conventions():
    """One prefix, base units, `_total` for counters alone, and each name once."""
    names = [family.name for family in families()]

    assert len(set(names)) == len(names) > 150
    assert [name for name in names if not re.fullmatch(f"{PREFIX}(_[a-z0-9]+)+", name)] == []
    assert {name for name in names if name.endswith("_total")} == {f.name for f in families() if f.type == "counter"}
    assert [name for name in names if any(f"{unit}_" in f"{name}_" for unit in UNITS)] == []


def test_each_says_what_it_means():
    """A sentence; labels are lower case words."""
    for family in families():
        assert family.text[0].isupper() or family.text[0].isdigit(), family
        assert family.text.endswith("."), family
        assert all(re.fullmatch("[a-z]+", label) for label in family.labels), family


def test_only_counts_that_never_go_down_are_counters():
    """What a later trade takes back again would look like a restart to Prometheus."""
    gauges = {family.name for family in families() if family.type == "gauge"}

    assert {f"{PREFIX}_public_feed_trades_missed", f"{PREFIX}_router_open", f"{PREFIX}_router_parked"} <= gauges
    assert f"{PREFIX}_public_feed_heartbeat_timestamp_seconds" in gauges


def expressions(path: Path) -> str:
    """What a file of tools/deploy asks Prometheus for, as text."""
    if path.suffix == ".json":
        panels = json.loads(path.read_text())["panels"]
        return "\n".join(target["expr"] for panel in panels for target in panel.get("targets", ()))
    return path.read_text()


@pytest.mark.parametrize("name", ["alert-rules.yml", "grafana-dashboard.json"])
def test_what_is_deployed_asks_for_metrics_that_exist(name: str):
    """A metric that was renamed would leave a panel empty and an alert silent."""
    asked = set(NAME.findall(expressions(DEPLOY / name)))

    def exists(metric: str) -> bool:
        stems = {metric.removesuffix(part) for part in PARTS_OF_HISTOGRAMS if metric.endswith(part)}
        return metric in FAMILIES or any(FAMILIES[stem].type == "histogram" for stem in stems & FAMILIES.keys())

    assert len(asked) > 10
    assert sorted(metric for metric in asked if not exists(metric)) == []


def test_every_alert_says_what_to_do():
    """Each rule has a summary and a mend."""
    text = (DEPLOY / "alert-rules.yml").read_text()

    assert text.count("- alert:") == text.count("summary:") == text.count("mend:") == text.count("severity:")


def test_the_counts_up_to_each_edge_are_exact():
    """A duration of an edge is counted in it, one that is a nanosecond longer is not."""
    edges = edges_ns()
    assert edges == sorted(edges)

    for place, edge in enumerate(edges):
        histogram: Histogram = new_histogram()
        histogram.record(edge)
        histogram.record(edge + 1)
        cumulative = histogram.cumulative()

        assert cumulative.counts == [0] * place + [1] + [2] * (len(edges) - place - 1)
        assert (cumulative.total, cumulative.sum_ns) == (2, 2 * edge + 1)


def test_no_counter_is_forgotten():
    """Each measure of each process is told, but for those that mean something to the engine alone."""
    untold = {"confirmed", "pid"}
    of_rings = {"gaps", "next"}  # told of each ring, as gaps and lag
    rooms = (measures.FEED, measures.PAIR, measures.SOURCE, measures.PRIVATE_FEED, measures.ROUTER, measures.HOST,
             measures.STRATEGY, measures.SUPERVISOR, measures.CHILD, measures.WATCHED)  # fmt: skip
    texts = {family.text for family in families()}

    assert {m.name for room in rooms for m in room if m.text not in texts} == untold
    assert {m.name for m in measures.STRATEGY_RING} == of_rings
