"""The belief of Kraken's counter of REST calls, judged by the venue's counter, under a clock by hand."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import ManualClock
from engine.errors import VenueReject
from engine.kraken_rest.call_counter import COUNTER_DECAY_PER_S, COUNTER_MAX, CallCounter, Urgency, call_cost
from engine.net.key_lock import KeyLock
from engine.units import NS_PER_MS, NS_PER_S
from engine.venue.rest.counter import RestCounter

TIERS = sorted(COUNTER_MAX)
NOW = 1_795_000_000 * NS_PER_S


class Key:
    """One key: Kraken's counter of it, and what we believe."""

    def __init__(self, tier: str, *, spent: int = 0) -> None:
        self.now = 10**12
        # How long the next call is on its way.
        self.latency_ns = 0
        self.kraken = RestCounter(tier)
        self.ours = CallCounter(tier)
        self.refused = 0
        for _ in range(spent):
            self._ask_kraken("Balance")

    def ask(self, name: str, urgency: Urgency = Urgency.TRUTH) -> bool:
        """Ask when our counter says so, as RestCalls does; was it answered?"""
        while wait_ns := self.ours.wait_ns(call_cost(name), self.now, urgency):
            self.now += wait_ns
        self.ours.charge(call_cost(name), self.now)
        answered = self._ask_kraken(name)
        if answered:
            self.ours.accepted(self.now)
        else:
            self.refused += 1
            self.ours.refused(call_cost(name), self.now)
        return answered

    def _ask_kraken(self, name: str) -> bool:
        try:
            self.kraken.charge(name, self.now + self.latency_ns)
        except VenueReject:
            return False
        return True


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["QueryOrders", "ClosedOrders"])
def test_a_counter_that_others_have_filled_lets_us_through_after_a_few_refusals(tier: str, name: str) -> None:
    """Each refusal makes the next pause longer: a belief that was wrong is made good within minutes, not never."""
    key = Key(tier, spent=100)
    began_at = key.now
    answered_after = next(attempt for attempt in range(1, 100) if key.ask(name))

    assert answered_after <= 7
    assert (key.now - began_at) / NS_PER_S < 3 * COUNTER_MAX[tier] / COUNTER_DECAY_PER_S[tier]


def test_pauses_grow_with_each_refusal_and_begin_anew_after_an_answer() -> None:
    """Asking again after one point of decay would be refused for ever."""
    counter, now, pauses = CallCounter("starter"), 10**12, []
    for _ in range(4):
        counter.charge(1, now)
        counter.refused(1, now)
        pauses.append(counter.wait_ns(1, now))
        now += pauses[-1]
    counter.charge(1, now)
    counter.accepted(now)

    assert all(later > earlier for earlier, later in itertools.pairwise(pauses))
    assert pauses[0] > 1.9 / 0.33 * NS_PER_S
    assert counter.wait_ns(1, now) < 4 * NS_PER_S


@given(
    tier=st.sampled_from(TIERS),
    calls=st.lists(st.tuples(st.sampled_from(["Balance", "QueryTrades"]), st.integers(0, 20_000), st.integers(0, 400))),
)
def test_a_belief_that_began_right_is_never_refused(tier: str, calls: list[tuple[str, int, int]]) -> None:
    """Whatever is asked for when, and however long each call is on its way."""
    key = Key(tier)
    for name, pause_ms, latency_ms in calls:
        key.now += pause_ms * NS_PER_MS
        key.latency_ns = latency_ms * NS_PER_MS
        key.ask(name)
        key.now += key.latency_ns

    assert key.refused == 0


@pytest.mark.parametrize("tier", TIERS)
def test_a_call_that_arrives_sooner_than_the_one_before_is_not_refused(tier: str) -> None:
    """Calls leave as soon as there is room; Kraken sees some of them closer together than we do."""
    key = Key(tier)
    for number in range(100):
        key.latency_ns = (5 if number % 2 else 300) * NS_PER_MS
        key.ask("Balance")
        key.now += key.latency_ns

    assert key.refused == 0


def test_what_is_urgent_goes_through_while_lookups_wait() -> None:
    """Lookups leave room for a reconciliation with its history, and what nobody waits for leaves twice that."""
    counter, now = CallCounter("starter"), 10**12
    while not counter.wait_ns(4, now, Urgency.LOOK):
        counter.charge(4, now)

    assert counter.wait_ns(4, now, Urgency.TRUTH) == 0
    assert counter.wait_ns(1, now, Urgency.LATER) > counter.wait_ns(1, now, Urgency.LOOK)


def test_a_moment_that_kraken_names_is_waited_for() -> None:
    """Of a throttling, or of an HTTP answer; a wish beyond ten minutes is held for a mistake."""
    counter = CallCounter("pro")
    counter.hold(7 * NS_PER_S, 10**12)
    assert counter.wait_ns(1, 10**12) == 7 * NS_PER_S
    counter.hold(10**15, 10**12)

    assert counter.wait_ns(1, 10**12) == 600 * NS_PER_S


# --- over lives of the process


def life(folder: Path, clock: ManualClock, *, boot: str = "one-boot") -> tuple[KeyLock, CallCounter]:
    """A process begins: its lock of the key, and what it believes of the counter."""
    lock = KeyLock("key", folder, boot=boot)
    tier, points, age_ns = lock.calls_before(clock)
    return lock, CallCounter(tier, points=points, now=clock.mono_ns() - age_ns)


def spend(lock: KeyLock, counter: CallCounter, clock: ManualClock, points: int) -> None:
    """Calls are made and noted."""
    counter.tier = "pro"
    counter.charge(points, clock.mono_ns())
    level = counter.level(clock.mono_ns())
    lock.note_calls(level.tier, level.points, clock)


STEPS = {"forward": 10**6, "back": -(10**6), "not at all": 0}


@pytest.mark.parametrize("step_s", STEPS.values(), ids=STEPS)
def test_a_killed_process_leaves_its_belief_to_the_next(tmp_path: Path, step_s: int) -> None:
    """With the tier, less what has decayed since by the monotonic clock; the wall clock may be set meanwhile."""
    clock = ManualClock(mono_ns=10**12, wall_ns=NOW)
    if (pid := os.fork()) == 0:
        try:
            spend(*life(tmp_path, clock), clock, 18)
        finally:
            os._exit(0)  # nothing is released in order
    os.waitpid(pid, 0)
    clock.advance(5 * NS_PER_S)
    clock = ManualClock(mono_ns=clock.mono_ns(), wall_ns=clock.wall_ns() + step_s * NS_PER_S)
    lock, counter = life(tmp_path, clock)

    assert counter.level(clock.mono_ns()) == ("pro", 13.0)
    lock.release()


@pytest.mark.parametrize(("step_s", "points"), [(5, 13.0), (-(10**6), 18.0), (10**6, 0.0)])
def test_after_a_boot_the_wall_clock_tells_how_long_ago_it_was(tmp_path: Path, step_s: int, points: float) -> None:
    """One that has stepped back tells nothing, and costs a wait that has a bound."""
    clock = ManualClock(mono_ns=10**15, wall_ns=NOW)
    lock, counter = life(tmp_path, clock)
    spend(lock, counter, clock, 18)
    lock.release()
    clock = ManualClock(mono_ns=10**9, wall_ns=NOW + step_s * NS_PER_S)
    lock, counter = life(tmp_path, clock, boot="another-boot")

    assert counter.level(clock.mono_ns()).points == pytest.approx(points)
    assert counter.wait_ns(4, clock.mono_ns()) <= 40 * NS_PER_S
    lock.release()


def test_a_first_process_believes_in_an_empty_counter_of_the_smallest_tier(tmp_path: Path) -> None:
    """Nothing was noted; and a file of an older kind, without a counter, is read as well."""
    clock = ManualClock(mono_ns=10**12, wall_ns=NOW)
    lock, counter = life(tmp_path, clock)

    assert counter.level(clock.mono_ns()) == ("starter", 0.0)
    lock.release()


def test_five_restarts_in_a_row_do_not_hold_up_the_sixth(tmp_path: Path) -> None:
    """With a starter key, killed ten seconds after each start: two tokens, the key's check, a reconciliation."""
    clock = ManualClock(mono_ns=10**12, wall_ns=NOW)
    kraken, waits_s = RestCounter("starter"), []
    for _ in range(6):
        lock, counter = life(tmp_path, clock)
        began_at = clock.mono_ns()
        for name in ("GetWebSocketsToken", "GetApiKeyInfo", "GetWebSocketsToken", "QueryOrders"):
            clock.advance(counter.wait_ns(call_cost(name), clock.mono_ns()))
            counter.charge(call_cost(name), clock.mono_ns())
            kraken.charge(name, clock.mono_ns())  # is refused never
            counter.accepted(clock.mono_ns())
            level = counter.level(clock.mono_ns())
            lock.note_calls(level.tier, level.points, clock)
        waits_s.append((clock.mono_ns() - began_at) / NS_PER_S)
        lock.release()
        clock.advance(10 * NS_PER_S)

    assert waits_s[:5] == [0] * 5
    assert waits_s[5] < 5
