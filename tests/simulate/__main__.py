"""`python -m tests.simulate --seeds 1:200`: seeds, each a day of the whole engine in virtual time.

Exit code 0 when every promise held, 1 when one did not (seed, step and the first invariant that was violated are
printed), 2 for an option that makes no sense.
"""

import argparse
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TextIO

from engine.native import IS_NATIVE, PORTABLE_VARIABLE
from engine.venue.market.listing import LISTED_MAX
from tests.simulate.faults import FAULT_KINDS
from tests.simulate.market_day import MARKET_DAY_S
from tests.simulate.plants import OF_MARKET, PLANTS, plant
from tests.simulate.simulation import DAY_S, Outcome, simulate, simulate_market


def run_seed(
    seed: int,
    faults: frozenset[str],
    day_s: float,
    orders_per_s: float | None,
    gap_s: float | None,
    planted: str,
    pairs: int = 0,
    story: TextIO | None = None,
) -> Outcome:
    """One seed, in whatever process."""
    with plant(planted):
        if pairs:
            return simulate_market(seed, pairs, day_s=day_s, story=story)
        return simulate(seed, faults, day_s=day_s, orders_per_s=orders_per_s, gap_s=gap_s, story=story)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return number


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="1:200", metavar="A:B", help="from A to B, both included (1:200)")
    parser.add_argument("--seed", type=int, metavar="N", help="this one alone")
    parser.add_argument("--faults", default="all", metavar="KINDS",
                        help=f"all, none, or some of: {', '.join(sorted(FAULT_KINDS))}")  # fmt: skip
    parser.add_argument("--day", type=_positive, metavar="S", help=f"seconds of a day ({DAY_S:g})")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="a day of quiet and bursts at so many pairs "
                        f"instead: feeds alone, without faults ({MARKET_DAY_S:g} s)")  # fmt: skip
    parser.add_argument("--orders", type=_positive, metavar="PER_S", help="orders a second that strategies ask for; "
                        "drawn from the seed by default")  # fmt: skip
    parser.add_argument("--gap", type=_positive, metavar="S", help="seconds between two faults, in the mean; drawn "
                        "from the seed by default, 0.6 to 7.2")  # fmt: skip
    parser.add_argument("--trace", action="store_true", help="with --seed: tell the story")
    parser.add_argument(
        "--plant", default="", metavar="NAME", help=f"a bug to be found: {', '.join(sorted(PLANTS))}; or each"
    )
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="processes side by side")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--verify", action="store_true", help="run each seed twice: the hash must be the same")
    return parser


def _say(outcome: Outcome) -> None:
    print(
        f"seed {outcome.seed}: violated at step {outcome.steps}, {outcome.at_s:.6f} s: {outcome.violation}", flush=True
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    faults = {"all": FAULT_KINDS, "none": frozenset()}.get(options.faults)
    if faults is None:
        faults = frozenset(options.faults.split(","))
        if unknown := faults - FAULT_KINDS:
            parser.error(f"--faults {','.join(sorted(unknown))}: choose from {', '.join(sorted(FAULT_KINDS))}")
    planted = OF_MARKET if options.pairs else PLANTS
    if options.plant and options.plant not in (*planted, "each"):
        parser.error(f"--plant {options.plant}: choose from {', '.join(sorted(planted))}")
    if not 0 <= options.pairs <= LISTED_MAX:
        parser.error(f"--pairs {options.pairs}: the venue lists up to {LISTED_MAX}")
    if options.day is None:
        options.day = MARKET_DAY_S if options.pairs else DAY_S
    if options.plant and IS_NATIVE:  # some bugs are planted in the portable implementation
        given = sys.argv[1:] if arguments is None else arguments
        command = [sys.executable, "-m", "tests.simulate", *given]
        os.execve(sys.executable, command, os.environ | {PORTABLE_VARIABLE: "1"})
    if options.seed is not None:
        story = sys.stdout if options.trace else None
        outcome = run_seed(options.seed, **_of_a_day(faults, options, options.plant), story=story)
        if outcome.violation:
            _say(outcome)
        print(f"seed {outcome.seed}: {outcome.steps} steps, hash {outcome.digest}, {outcome.counts}")
        return 1 if outcome.violation else 0
    try:
        first, last = (int(text) for text in options.seeds.split(":"))
    except ValueError:
        parser.error(f"--seeds {options.seeds}: write A:B, such as 1:200")
    if options.plant == "each":
        return _each_plant(range(first, last + 1), faults, options)
    return _many(range(first, last + 1), faults, options)


def _of_a_day(faults: frozenset[str], options: argparse.Namespace, planted: str) -> dict[str, Any]:
    """What `run_seed` is told of every day alike."""
    return {"faults": faults, "day_s": options.day, "orders_per_s": options.orders, "gap_s": options.gap,
            "planted": planted, "pairs": options.pairs}  # fmt: skip


def _each_plant(seeds: range, faults: frozenset[str], options: argparse.Namespace) -> int:
    """A table: how many seeds each planted bug took to be found, and what found it."""
    missed = 0
    for name in sorted(OF_MARKET if options.pairs else PLANTS):
        work = partial(run_seed, **_of_a_day(faults, options, name))
        with ProcessPoolExecutor(options.jobs) as pool:
            outcomes = pool.map(work, seeds)
            found = next(((number, each) for number, each in enumerate(outcomes, 1) if each.violation), None)
            pool.shutdown(cancel_futures=True)
        missed += found is None
        print(f"| {name} | {found[0] if found else 'not found'} | {found[1].invariant if found else ''} |", flush=True)
    return 1 if missed else 0


def _many(seeds: range, faults: frozenset[str], options: argparse.Namespace) -> int:
    began = time.perf_counter()
    done = violated = steps = 0
    work = partial(run_seed, **_of_a_day(faults, options, options.plant))
    with ProcessPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(work, seeds, chunksize=4 if len(seeds) > 50 else 1):
            done += 1
            steps += outcome.steps
            if options.verify and work(outcome.seed).digest != outcome.digest:
                outcome.violation = outcome.invariant = "the same seed tells the same story"
            if outcome.violation:
                violated += 1
                _say(outcome)
                if not options.go_on:
                    pool.shutdown(cancel_futures=True)
                    break
    took_s = time.perf_counter() - began
    print(f"{done} seeds, {steps} steps, {violated} violated, {took_s:.1f} s")
    return 1 if violated else 0


if __name__ == "__main__":
    raise SystemExit(main())
