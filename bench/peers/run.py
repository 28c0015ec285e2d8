"""Other clients on the same load as this engine, in turn with it: `tools/bench --peers`.

Two loads, both from `engine venue` on loopback. *Saturated*: a genuine capture of depth 10
as fast as the client reads it; book messages a second. *Paced*: a living market at a steady
rate; microseconds from the venue's stamp of a message to the user's code that has its book.
*Orders*: a book update sent on by a relay, to the order that it caused at the relay, 50 a
second; of the clients that have a strategy which sends some. NautilusTrader's go by REST,
which the relay counts when the request's first bytes have come.

Ours is the engine as a user runs it: three processes, every checksum verified.

Each peer is installed into an environment of its own below the user's cache directory
(`$XDG_CACHE_HOME/kraken-engine/peers`); the project's is not touched. A peer that cannot be
installed or run is left out, and one sentence says why. No part of the tests.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

PEERS = Path(__file__).parent
sys.path.insert(0, str(PEERS.parent))

from rig import CAPTURE_DEPTH_10, Relay, Venue, percentiles, run_engine, trading_settings  # noqa: E402
from tally import SYMBOLS, WARM_UP_S  # noqa: E402
from test_orders_live import AT_ONCE, SYMBOL, WARM_UP_SHARE, books_of, stretches_us  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kraken-engine" / "peers"
SETTINGS = "[feed]\ntrades = false\ntickers = false\ncandle_intervals_min = []\n"
INSTALL_TIMEOUT_S = 600
START_AND_END_S = 60.0  # beyond the seconds that a client reads
OURS = "this engine"
SPIN = "[engine]\nspin = true\n"
ORDER_EVERY_MS = 20
ORDER_BOOKS_PER_S = 100
REST_RELAY = PEERS / "rest_relay.py"


class Peer(NamedTuple):
    """A client that pip installs."""

    name: str
    requirement: str
    script: str
    python_min: tuple[int, int]
    orders_script: str = ""


KNOWN = (
    Peer("ccxt Pro", "ccxt==4.5.90", "ccxt_pro.py", (3, 11)),
    Peer("python-kraken-sdk", "python-kraken-sdk==3.5.1", "kraken_sdk.py", (3, 11)),
    Peer("NautilusTrader", "nautilus_trader==1.231.0", "nautilus.py", (3, 12), "nautilus_orders.py"),
)


class Result(NamedTuple):
    """Of one run of one client."""

    version: str
    per_s: float
    took_us: Sequence[float]
    seconds: float = 0.0
    wrong: int = 0


class Missing(Exception):
    """A peer that cannot take part; the message is the sentence."""


def find_python(least: tuple[int, int], given: Sequence[str]) -> str:
    """An interpreter of at least this version, of those given and those on the PATH."""
    names = (*given, sys.executable, *(f"python3.{minor}" for minor in (13, 12, 11, 14)), "python3")
    for name in names:
        if shutil.which(name) is None:
            continue
        check = f"import sys; sys.exit(sys.version_info < {least})"
        if subprocess.run((name, "-c", check), capture_output=True, check=False).returncode == 0:
            return name
    raise Missing(f"it needs Python {least[0]}.{least[1]} or newer, and none is on the PATH; name one with --python")


def installed(peer: Peer, pythons: Sequence[str]) -> Path:
    """The interpreter of the peer's environment, made and filled when it is not there yet."""
    folder = CACHE / peer.requirement
    interpreter, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return interpreter
    base = find_python(peer.python_min, pythons)
    print(f"peers: installing {peer.requirement} into {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        (base, "-m", "venv", folder),
        (interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer.requirement),
    ):
        run_or_say([str(part) for part in command], INSTALL_TIMEOUT_S, "it cannot be installed")
    done.touch()
    return interpreter


def run_or_say(
    command: Sequence[str], timeout_s: float, what: str, environment: Mapping[str, str] | None = None
) -> str:
    """Its standard output; Missing with the last line of its errors."""
    try:
        own = os.environ | dict(environment or {})
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, env=own)
    except subprocess.TimeoutExpired:
        raise Missing(f"{what}: no end after {timeout_s:.0f} s") from None
    if ran.returncode:
        said = [line for line in ran.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise Missing(f"{what}: {said[-1].strip() if said else f'exit code {ran.returncode}'}")
    return ran.stdout


def run_peer(interpreter: Path, script: str, ws: str, rest: str, seconds: float) -> Result:
    """One run of a peer on one load."""
    command = (interpreter, PEERS / script, ws, rest, seconds)
    said = run_or_say([str(part) for part in command], seconds + START_AND_END_S, "it did not run").splitlines()
    if not said or not said[-1].startswith("{"):
        raise Missing("it did not run: it told nothing")
    result = Result(**json.loads(said[-1]))
    if not result.per_s:
        raise Missing("it did not run: no book message reached it")
    if result.wrong:
        raise Missing(f"it took its books for wrong {result.wrong} times")
    if result.seconds < (seconds - WARM_UP_S) / 2:
        raise Missing(f"it read books for {result.seconds:.1f} s of {seconds:g} s: it lost its connection")
    return result


def run_ours(ws: str, seconds: float, strategy: str, settings: str) -> Result:
    """The engine with a strategy of bench/strategies.py that notes the same."""
    with tempfile.TemporaryDirectory() as folder:
        summary, told = run_engine(Path(folder), ws, strategy, seconds, settings, SYMBOLS)
    took_us = told.get("took_us", [])
    rates = told.get("rates") or [len(took_us) / summary["seconds"]]
    share = min(0.9, WARM_UP_S / seconds)
    return Result("", median(rates), took_us[int(len(took_us) * share) :])


def order_venue() -> Venue:
    """The venue of the orders: it answers at once, and has no rate counter."""
    return Venue(*AT_ONCE, "--symbols", SYMBOL, "--rate", ORDER_BOOKS_PER_S)


def orders_of_ours(seconds: float, more: str) -> Result:
    """The engine's orders on ticks."""
    with tempfile.TemporaryDirectory() as name, order_venue() as venue:
        folder = Path(name)
        with Relay(venue, folder) as relay:
            settings, key = trading_settings(relay.ready, more)
            _, told = run_engine(
                folder, relay.ready["public"], "Trader", seconds, settings, [SYMBOL],
                params=f"every_ms = {ORDER_EVERY_MS}", environment=key,
            )  # fmt: skip
        found = stretches_us(told["calls"], told["working"], told["filled"], relay.notes, books_of(relay.notes))
    return Result("", 0.0, found["tick"])


def orders_of_peer(interpreter: Path, script: str, seconds: float) -> Result:
    """A peer's; its requests are told apart by their order."""
    with tempfile.TemporaryDirectory() as name, order_venue() as venue:
        folder = Path(name)
        out = folder / "orders.json"
        key = {"KRAKEN_API_KEY": venue.ready["api_key"], "KRAKEN_API_SECRET": venue.ready["api_secret"]}
        with Relay(venue, folder) as relay:
            command = (sys.executable, str(REST_RELAY), venue.ready["rest"], str(out))
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rest_relay:
                assert rest_relay.stdout is not None
                try:
                    rest = json.loads(rest_relay.stdout.readline())["rest"]
                    public, private = relay.ready["public"], relay.ready["private"]
                    call = (interpreter, PEERS / script, public, private, rest, seconds, ORDER_EVERY_MS)
                    timeout_s = seconds + START_AND_END_S
                    said = run_or_say([str(part) for part in call], timeout_s, "it did not run", key).splitlines()
                finally:
                    rest_relay.terminate()
        arrived, books = json.loads(out.read_text()), books_of(relay.notes)
    told = json.loads(said[-1]) if said and said[-1].startswith("{") else {"version": "", "stamps": []}
    stamps = told["stamps"]
    if not stamps or len(stamps) != len(arrived):
        raise Missing(f"it sent {len(stamps)} orders, and {len(arrived)} came")
    took_us = [(at - books[stamp]) / 1000 for stamp, at in zip(stamps, arrived, strict=True) if stamp in books]
    return Result(told["version"], 0.0, took_us[int(len(took_us) * WARM_UP_SHARE) :])


def table(results: dict[str, dict[str, list[Result]]]) -> str:
    """A line a client; medians of its rounds, and × of this engine's."""

    def cells(name: str) -> list[Any]:
        per_s = median(run.per_s for run in results[name]["saturated"]) if results[name]["saturated"] else None
        found = [per_s]
        for load in ("paced", "orders"):
            runs = [percentiles(run.took_us) for run in results[name][load] if run.took_us]
            found += [median(run[key] for run in runs) if runs else None for key in ("p50", "p99")]
        return found

    def shown(name: str) -> list[str]:
        per_s, p50, p99, order_p50, order_p99 = cells(name)
        return [
            f"{per_s:,.0f}" if per_s else "–",
            f"{per_s / ours[0]:.2f}" if per_s and ours[0] else "–",
            *(
                text
                for median_us, late_us, our_us in ((p50, p99, ours[1]), (order_p50, order_p99, ours[3]))
                for text in (
                    f"{median_us:,.0f} / {late_us:,.0f}" if median_us else "–",
                    f"{median_us / our_us:.2f}" if median_us and our_us else "–",
                )
            ),
        ]

    ours = cells(OURS)
    lines = [
        "| client | saturated, messages/s | × of ours | paced, p50 / p99 µs | × of ours "
        "| tick → order, p50 / p99 µs | × of ours |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, loads in results.items():
        version = next((run.version for runs in loads.values() for run in runs if run.version), "")
        lines.append(f"| {f'{name} {version}'.strip()} | {' | '.join(shown(name))} |")
    return "\n".join(lines)


def main() -> int:
    """Install, measure in turn, print."""
    parser = argparse.ArgumentParser(prog="tools/bench --peers", description="Other clients on the same load.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each client takes its turn")
    parser.add_argument("--seconds", type=float, default=8.0, help="that a client reads, each time")
    parser.add_argument("--rate", type=float, default=2000.0, help="book messages a second of the paced load")
    parser.add_argument("--python", action="append", default=[], help="an interpreter that peers may be installed for")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 2 * WARM_UP_S:
        parser.error(f"--rounds is at least 1, --seconds more than {2 * WARM_UP_S:g}")

    clients: dict[str, Callable[[str, str, str], Result]] = {}

    def ours(settings: str) -> Callable[[str, str, str], Result]:
        strategies = {"saturated": "Throughput", "paced": "WireLatency"}

        def run(load: str, ws: str, _rest: str) -> Result:
            if load == "orders":
                return orders_of_ours(options.seconds, settings)
            return run_ours(ws, options.seconds, strategies[load], SETTINGS + settings)

        return run

    def theirs(interpreter: Path, peer: Peer) -> Callable[[str, str, str], Result]:
        def run(load: str, ws: str, rest: str) -> Result:
            if load == "orders":
                return orders_of_peer(interpreter, peer.orders_script, options.seconds)
            return run_peer(interpreter, peer.script, ws, rest, options.seconds)

        return run

    clients[OURS] = ours("")
    clients[f"{OURS}, spinning"] = ours(SPIN)
    without_orders = {peer.name for peer in KNOWN if not peer.orders_script}
    missing: dict[str, str] = {}
    for peer in KNOWN:
        try:
            clients[peer.name] = theirs(installed(peer, options.python), peer)
        except Missing as reason:
            missing[peer.name] = str(reason)

    results: dict[str, dict[str, list[Result]]] = {name: defaultdict(list) for name in clients}
    listed = ",".join(SYMBOLS)
    with (
        Venue("--rate", options.rate, "--symbols", listed) as living,
        Venue("--capture", CAPTURE_DEPTH_10, "--pace", "max", "--repeat", 0) as replay,
    ):
        for load, ws in (("saturated", replay.url), ("paced", living.url), ("orders", "")):
            for number in range(options.rounds):
                for name, client in clients.items():
                    if name in missing or (load == "orders" and name in without_orders):
                        continue
                    print(f"peers: {load}, round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
                    try:
                        results[name][load].append(client(load, ws, living.ready["rest"]))
                    except Missing as reason:
                        missing[name] = f"{load}: {reason}"
    print(table({name: loads for name, loads in results.items() if loads}))
    for name, reason in missing.items():
        print(f"\n{name} is missing: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
