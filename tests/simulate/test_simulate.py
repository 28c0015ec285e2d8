"""Two hundred days of the whole engine; and that the simulator would notice.

A violation is reproduced with `python -m tests.simulate --seed N --trace`.
"""

import os
import subprocess
import sys

import pytest

from engine.native import CORE, PORTABLE_VARIABLE
from engine.units import NS_PER_S
from tests.simulate.faults import FAULT_KINDS
from tests.simulate.feeds import NOTICED_NS_MAX
from tests.simulate.kernel import BEGAN_MONO_NS
from tests.simulate.plants import plant
from tests.simulate.simulation import Simulation, simulate

SEEDS_A_TEST = 10
# Shorter than the days of the command line, so that two hundred take less than a minute of work.
DAY_S = 5.0


@pytest.mark.parametrize("first", range(1, 201, SEEDS_A_TEST))
def test_every_promise_holds_on_a_day_of_faults(first):
    """Nothing is violated at any step, and at rest the venue's ledger, the journal and the strategies agree."""
    outcomes = [simulate(seed, FAULT_KINDS, day_s=DAY_S) for seed in range(first, first + SEEDS_A_TEST)]

    assert [(outcome.seed, outcome.violation) for outcome in outcomes if outcome.violation] == []


def test_on_a_day_without_faults_no_order_is_in_doubt():
    """Nor rejected, for a deadline that was over before it arrived, say."""
    outcomes = [simulate(seed, frozenset(), day_s=DAY_S) for seed in range(1, SEEDS_A_TEST + 1)]

    assert [(outcome.seed, outcome.violation) for outcome in outcomes if outcome.violation] == []


def test_the_same_seed_tells_the_same_story():
    """Byte for byte: the hash of all events of a day, and their number."""
    once, again = (simulate(7, FAULT_KINDS, day_s=DAY_S) for _ in range(2))

    assert (once.digest, once.steps) == (again.digest, again.steps)


@pytest.mark.skipif(CORE is None, reason="there is no extension to compare with")
def test_either_implementation_tells_the_same_story():
    """Rings, boards, books, the lane and the host's loop are compiled here and portable
    there: the hash of all events of a day is the same, with a disk that is full, and
    strategies that follow some of the pairs.
    """
    seed, day_s, orders_per_s = 5, 20.0, 20.0
    outcome = simulate(seed, FAULT_KINDS, day_s=day_s, orders_per_s=orders_per_s)
    command = [sys.executable, "-m", "tests.simulate", "--seed", str(seed), "--day", str(day_s), "--orders",
               str(orders_per_s)]  # fmt: skip
    told = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {PORTABLE_VARIABLE: "1"}, check=True
    )

    assert outcome.counts["disk"]
    assert f"seed {seed}: {outcome.steps} steps, hash {outcome.digest}," in told.stdout


def test_a_feed_that_died_before_its_engine_does_not_come_back():
    """Nobody is there any more who would notice its death, or start another."""
    simulation = Simulation(3, frozenset())
    kernel, run = simulation.kernel, simulation.run
    with kernel.running(), simulation.disk.mounted():
        simulation.venue.start()
        run.start()
        kernel.run_until(BEGAN_MONO_NS + 2 * NS_PER_S)
        feed = run.feeds[0]
        feed.process.die()
        kernel.run_until(kernel.now + NOTICED_NS_MAX)  # a successor is on its way
        run.die()
        kernel.run_until(kernel.now + 5 * NS_PER_S)
    simulation.disk.close()

    assert not feed.process.is_alive


def test_another_seed_tells_another_story():
    """The hash is one of what happened."""
    assert simulate(7, day_s=1).digest != simulate(8, day_s=1).digest


# Those that are found soon; README.md has a table of all.
FOUND_SOON = ("absent-too-soon", "fill-counted-twice", "given-back-still-told", "journal-after-send", "nonce-reused")
SEEDS_MAX = 15
TABLES_DAY_S = 8.0


@pytest.mark.parametrize("name", FOUND_SOON)
def test_a_planted_bug_is_found(name):
    """The simulator is able to find bugs."""
    with plant(name):
        is_found = any(simulate(seed, day_s=TABLES_DAY_S).violation for seed in range(1, SEEDS_MAX + 1))

    assert is_found
