"""The lane publishes what the session's way would have published, byte for byte, and leaves it the rest."""

import json
import os
import re
import weakref
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.clock import ManualClock
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.native import CORE
from engine.orders.rings.account_ring import ACCOUNT_RECORD_BYTES
from engine.private_feed.feed import PrivateFeed
from engine.ring import Doorbell, GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.ring import ring as portable_ring
from engine.telemetry import new_counters
from engine.topology import PRIVATE_FEED_COUNTERS
from engine.units import NS_PER_MS
from tests.examples import times

pytestmark = pytest.mark.skipif(CORE is None, reason="the lane is compiled")

PRIVATE = Path(__file__).parents[1] / "data" / "kraken" / "private"
GENUINE = [
    line
    for path in sorted(PRIVATE.glob("executions_*.jsonl"))
    for line in path.read_bytes().splitlines()
    if line.startswith(b'{"channel":"executions","type":"update"')
]
SNAPSHOT = b'{"channel":"executions","type":"snapshot","data":[],"sequence":1}'
BALANCE = b'{"channel":"balances","type":"update","data":[{"asset":"BTC","balance":%d}],"sequence":%d}'
NOW_NS = 10**12


def numbered(frame: bytes, sequence: int) -> bytes:
    """The frame with this number, whatever it had."""
    return b'%b,"sequence":%d}' % (re.sub(rb',"sequence":\d+\}$', b"}", frame)[:-1], sequence)


class Rig:
    """A private feed and its ring, with the lane or without."""

    def __init__(self, *, has_lane: bool, slots: int = 256) -> None:
        self.ring = bytearray(ring_bytes(ACCOUNT_RECORD_BYTES, slots, gate_count=1, doorbell_count=1))
        format_ring(self.ring, record_bytes=ACCOUNT_RECORD_BYTES, slot_count=slots, gate_count=1, doorbell_count=1)
        self.router = GatedSubscriber(self.ring)
        eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, eventfd)
        self.bell = Doorbell(self.ring, 0, eventfd)
        self.clock = ManualClock(mono_ns=NOW_NS)
        self.counters = new_counters(PRIVATE_FEED_COUNTERS)
        self.session = PrivateSession(PrivateSettings())
        self.publisher = (Publisher if has_lane else portable_ring.Publisher)(self.ring, [(0, self.bell.eventfd)])
        self.feed = PrivateFeed(
            self.session,
            publisher=self.publisher,
            counters=self.counters,
            clock=self.clock,
            ask_token=_no_token,
        )
        assert (self.feed.lane is not None) == has_lane
        self.cuts: list[str] = []
        self.feed.connection = self
        self.last_error = ""
        self.session.opened(self.clock.mono_ns())
        self.session.authorise("token", self.clock.mono_ns())

    def cut(self, reason: str) -> None:
        """The feed ends the connection."""
        self.cuts.append(reason)

    def send_due(self) -> None:
        """Not looked at here."""

    def take(self, *frames: bytes) -> None:
        """One burst."""
        for frame in frames:
            if events := self.feed.receive(frame, self.clock.mono_ns()):
                self.feed.on_events(events)
        self.feed.on_burst_end()

    def poll(self, ns: int) -> None:
        """Time passes."""
        self.clock.advance(ns)
        self.feed.on_events(self.session.poll(self.clock.mono_ns()))
        self.feed.do_work()

    def state(self) -> object:
        """All that others see, and all that it goes on from."""
        streams = {
            name: (stream.phase, stream.updates, stream.snapshots, stream.resyncs, vars(stream.sequencer))
            for name, stream in self.session.streams.items()
        }
        self.feed.do_work()
        counters = self.counters.snapshot()
        return streams, vars(self.session.liveness), counters, self.cuts, self.session.to_send()

    @property
    def rows(self) -> int:
        """How many rows the lane has taken."""
        assert self.feed.lane is not None
        return self.feed.lane.rows


async def _no_token() -> str:
    raise AssertionError


def both(slots: int = 256) -> tuple[Rig, Rig]:
    """The same feed with the lane and without."""
    return Rig(has_lane=True, slots=slots), Rig(has_lane=False, slots=slots)


def assert_same(ours: Rig, theirs: Rig) -> None:
    """Every byte of the ring, the session and the counters."""
    assert records_of(ours) == records_of(theirs)
    assert ours.state() == theirs.state()


def assert_row_is_plain(row: str) -> None:
    """The lane takes an update of this row, and makes the record of it that the session's path makes."""
    ours, theirs = both(slots=16)
    for rig in (ours, theirs):
        rig.take(SNAPSHOT, f'{{"channel":"executions","type":"update","data":[{row}],"sequence":2}}'.encode())

    assert ours.rows == 1
    assert_same(ours, theirs)


def records_of(rig: Rig) -> list[bytes]:
    """What the router has not read yet; it has afterwards."""
    found = []
    while records := rig.router.poll_many(64):
        found += records
    return found


def test_every_genuine_row_is_the_same_record() -> None:
    """Of all captures, in the order of their files; only those with a trigger are the session's."""
    ours, theirs = both()
    for rig in (ours, theirs):
        rig.take(SNAPSHOT, *(numbered(frame, 2 + k) for k, frame in enumerate(GENUINE)))
    triggered = sum(b'"triggers"' in frame for frame in GENUINE)

    assert ours.rows == len(GENUINE) - triggered == 19
    assert_same(ours, theirs)


SNIPPETS = st.sampled_from(
    [b"", b"0", b"00", b".", b"-", b"1e5", b"E", b" ", b",", b":", b'"', b"\\", b"{", b"}", b"[", b"]", b"\0", b"\xc3",
     b"9" * 19, b"9" * 31, b"0.00000001", b"0.0000000", b"null", b"true", b'"post_only":false,', b'"cl_ord_id":"None",',
     b'"order_userref":7,', b'"rate_count":12.5,', b'"ratecount":1.5,', b'"cash_order_qty":10.0,', b'"reason":"",',
     b'"cancel_reason":"x",', b'"fee_ccy_pref":"fcib",', b'"limit_price_type":"quote",', b'"_is_snapshot":true,',
     b'"fact":"b",', b'"ord_ref_id":"ABCDEF-1",', b'"fees":[],', b'"fees":[{"asset":"BTC","qty":0.00000010}],',
     b'"time_in_force":"IOC",', b'"timestamp":"2024-02-30T00:00:00.1Z",', b'"' + b"a" * 70 + b'"', b"a" * 40,
     b'"symbol":"A/B",', b'{"exec_type":"new","order_id":"A","timestamp":"2100-02-28T23:59:59.999999999Z"},']
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A genuine update with some bytes replaced, cut out or put in, often where a key begins."""
    frame = numbered(draw(st.sampled_from(GENUINE)), 2)
    for _ in range(draw(st.integers(1, 3))):
        starts = [m.start() for m in re.finditer(rb'"[a-z_]+":', frame)] or [0]
        start = draw(st.sampled_from(starts) | st.integers(0, len(frame)))
        length = draw(st.sampled_from([0, 0, 0, 1, 1, 2, 5, 20]))
        frame = frame[:start] + draw(SNIPPETS | st.binary(max_size=2)) + frame[start + length :]
    return frame


def test_the_rows_of_the_local_venue_are_plain() -> None:
    """All of an order's, as it writes them for who asks for the rate counter."""
    rows = [
        b'{"timestamp":"2026-11-29T19:01:15.985407Z","order_status":"new","exec_type":"new","cl_ord_id":'
        b'"trader0zw7i0000001","order_id":"OXGRUB-5AQVP-A3SUXV","ratecount":0.00}',
        b'{"order_id":"OXGRUB-5AQVP-A3SUXV","cl_ord_id":"trader0zw7i0000001","exec_id":"TGGU4L-CGJJL-KN3DLR",'
        b'"exec_type":"trade","trade_id":107249206,"symbol":"BTC/USD","side":"buy","last_qty":0.00100000,'
        b'"last_price":63509.7,"liquidity_ind":"t","cost":63.50970,"order_type":"limit",'
        b'"timestamp":"2026-11-29T19:01:15.985408Z","order_status":"partially_filled","cum_qty":0.00100000,'
        b'"cum_cost":63.50970,"avg_price":63509.7,"fee_usd_equiv":0.25404,"fees":[{"asset":"USD","qty":0.25404}],'
        b'"ratecount":1.25}',
    ]
    ours, theirs = both()
    for rig in (ours, theirs):
        rig.take(SNAPSHOT, b'{"channel":"executions","type":"update","data":[%b],"sequence":2}' % b",".join(rows))

    assert ours.rows == len(rows)
    assert_same(ours, theirs)


@times(20)
@given(mutated())
@example(numbered(GENUINE[0].replace(b'{"', b'{"_received_at":5,"', 2), 2))
def test_whatever_a_frame_holds_the_lane_changes_nothing(frame: bytes) -> None:
    """What it does not recognise is the session's; what it does, it reads as the session does."""
    ours, theirs = both(slots=16)
    for rig in (ours, theirs):
        rig.take(SNAPSHOT, frame)

    assert_same(ours, theirs)


@times(8)
@given(st.integers(0, 10**14), st.integers(0, 20))
@example(0, 8)
@example(0, 6)
@example(0, 7)
@example(12, 8)
@example(10, 8)
def test_a_number_keeps_its_text(digits: int, decimals: int) -> None:
    """As Decimal writes what it has read, exponent and all."""
    text = f"{Decimal(digits).scaleb(-decimals):f}"
    row = f'{{"exec_type":"filled","order_id":"OABCDE-1","timestamp":"2026-01-01T00:00:00.5Z","cum_qty":{text}}}'
    assert_row_is_plain(row)


@times(8)
@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 12, 31)),
    st.integers(1, 9),
)
def test_a_time_is_the_same_moment(moment, digits: int) -> None:
    """Leap years, leap centuries, and any number of decimals."""
    fraction = f"{moment.microsecond:06d}000"[:digits]
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z"
    row = f'{{"exec_type":"new","order_id":"OABCDE-1","timestamp":"{text}"}}'
    assert_row_is_plain(row)


HAPPENINGS = st.sampled_from(
    ["next", "next", "next", "skip", "twice", "late", "two rows", "balance", "unknown", "cut off", "poll", "wait",
     "snapshot", "reconnect", "router reads"]
)  # fmt: skip


@times(4)
@given(st.lists(HAPPENINGS, max_size=40), st.sampled_from([4, 16, 256]))
def test_whatever_happens_the_lane_changes_nothing(happenings: list[str], slots: int) -> None:
    """Gaps, duplicates, late messages, a ring that is full, new connections: the same facts in the same order."""
    ours, theirs = both(slots)
    told: list[list[bytes]] = [[], []]
    for rig in (ours, theirs):
        rig.take(SNAPSHOT)
    sequence = 2
    for step, what in enumerate(happenings):
        frame = numbered(GENUINE[step % len(GENUINE)], sequence)
        for number, rig in enumerate((ours, theirs)):
            happen(rig, what, frame, sequence)
            if what == "router reads" or step % 5 == 0:
                told[number] += rig.router.poll_many(64)
        sequence += {"skip": 2, "next": 1, "twice": 1, "two rows": 1, "late": 2}.get(what, 0)
        if what in ("snapshot", "reconnect"):
            sequence = 2
    for number, rig in enumerate((ours, theirs)):
        while records := rig.router.poll_many(64):
            told[number] += records
            rig.feed.do_work()

    assert told[0] == told[1]
    assert ours.state() == theirs.state()


def happen(rig: Rig, what: str, frame: bytes, sequence: int) -> None:
    """One thing that the wire, the router or time may do."""
    match what:
        case "next":
            rig.take(frame)
        case "skip":
            rig.take(numbered(frame, sequence + 1))
        case "twice":
            rig.take(frame, frame)
        case "late":
            rig.take(numbered(frame, sequence + 1), frame)
        case "two rows":
            row = frame[frame.index(b"[") + 1 : frame.rindex(b"]")]
            rig.take(frame.replace(row, row + b"," + row))
        case "balance":
            rig.take(BALANCE % (sequence, sequence))
        case "unknown":
            rig.take(b'{"channel":"news","type":"update"}')
        case "cut off":
            rig.take(frame[:60])
        case "poll" | "wait":
            rig.poll((20 if what == "poll" else 300) * NS_PER_MS)
        case "snapshot":
            rig.take(SNAPSHOT)
        case "reconnect":
            now = rig.clock.mono_ns()
            rig.feed.on_events(rig.session.closed(now, "cut"))
            rig.session.opened(now)
            rig.session.authorise("token", now)
            rig.take(SNAPSHOT)


@pytest.mark.parametrize("has_lane", [True, False])
def test_the_router_is_woken_by_each_execution_of_a_burst(has_lane: bool) -> None:
    """It works on the first while the rest is read; balances can wait for the end."""
    rig = Rig(has_lane=has_lane)
    rig.take(SNAPSHOT, BALANCE.replace(b"update", b"snapshot") % (1, 1))

    def rings(frame: bytes) -> bool:
        rig.bell.disarm()
        rig.bell.arm()
        if events := rig.feed.receive(frame, NOW_NS):
            rig.feed.on_events(events)
        with suppress(BlockingIOError):
            return os.eventfd_read(rig.bell.eventfd) > 0
        return False

    assert [rings(numbered(GENUINE[0], number)) for number in (2, 3)] == [True, True]
    assert not rings(BALANCE % (2, 2))
    rig.feed.on_burst_end()
    assert os.eventfd_read(rig.bell.eventfd) > 0


def test_rows_of_other_fields_are_refused_when_the_lane_is_made() -> None:
    """A field that the fact gets must come into the scanner, too."""
    rig = Rig(has_lane=True)
    with pytest.raises(Exception, match="other fields"):
        CORE.AccountLane(rig.publisher, rig.session.receive, rig.session.take_next, [], fields=["exec_type"])


def test_a_frame_of_json_that_is_laid_out_otherwise_is_the_sessions() -> None:
    """Blanks say nothing, and are none of the lane's business."""
    ours, theirs = both()
    for rig in (ours, theirs):
        rig.take(SNAPSHOT, json.dumps(json.loads(numbered(GENUINE[0], 2))).encode())

    assert ours.rows == 0
    assert_same(ours, theirs)
